mod machine;

use std::{fmt::Write as _, fs, io, path::Path, process::Command};

use esplice_chip::{Chip, ChipDb};
use esplice_doctor::{Finding, RULE_PATH, SerialPort, examine, udev_rule};
use esplice_flash::list_ports;
use esplice_toolchain::{Machine, ToolchainError, find_rust, find_tinygo};
use serde_json::json;

use self::machine::ThisMachine;
use crate::{
    cli::args::{PortArgs, TargetArgs},
    config::project::{Flags, Project},
    device::flashing,
    ui::{
        exit::{Exit, Failure},
        interrupt::Interrupt,
        shell::Shell,
    },
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Install the udev rule if a finding needs it and you may write it, else print the command
    #[arg(long)]
    fix: bool,
    /// Print the udev rule for boards, and do nothing else
    #[arg(long, conflicts_with = "fix")]
    rule: bool,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    port: PortArgs,
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    let flags = Flags { target: args.target.clone(), port: args.port.clone(), ..Flags::default() };
    let project = Project::settle(".".as_ref(), flags)?;
    if args.rule {
        let rule = udev_rule(&project.chips);
        shell.result("doctor-rule", &rule, json!({ "path": RULE_PATH, "text": rule }));
        return Ok(());
    }
    let listed = list_ports().into_iter();
    let ports: Vec<SerialPort> = listed
        .map(|port| SerialPort {
            name: port.name,
            usb: port.usb.map(|usb| (usb.id.vid, usb.id.pid)),
        })
        .collect();
    let mut sound = Vec::new();
    let mut findings = examine(&ThisMachine, &ports);
    for port in ports.iter().filter(|port| port.usb.is_some()) {
        sound.push(format!("port {}", port.name));
    }
    findings.extend(compilers(&project, &mut sound));
    if let Some(port) = &project.port {
        findings.extend(answer(&port.value, &project.chips, &mut sound, shell, interrupt)?);
    }
    findings.sort_by_key(|finding| !finding.is_problem);

    let fixed = args.fix && findings.iter().any(|finding| finding.fix.is_some());
    let fixed = fixed && install_rule(&udev_rule(&project.chips), shell)?;
    let is_left = |finding: &&Finding| {
        let is_fixed = fixed && finding.fix.is_some();
        !is_fixed && (finding.is_problem || (args.fix && finding.fix.is_some()))
    };
    let left = findings.iter().filter(is_left).count();
    let value = json!({
        "sound": sound,
        "findings": findings.iter().map(|finding| json!({
            "id": finding.id,
            "problem": finding.is_problem,
            "text": finding.text,
            "remedies": finding.remedies,
            "fixable": finding.fix.is_some(),
            "fixed": fixed && finding.fix.is_some(),
        })).collect::<Vec<_>>(),
        "left": left,
    });
    shell.result("doctor", &text(&sound, &findings), value);
    match left {
        0 => Ok(()),
        1 => Err(Failure::new(Exit::Unfixed, "one problem is left")),
        _ => Err(Failure::new(Exit::Unfixed, format!("{left} problems are left"))),
    }
}

fn text(sound: &[String], findings: &[Finding]) -> String {
    let mut text = String::new();
    for fact in sound {
        let _ = writeln!(text, "ok  {fact}");
    }
    for (number, finding) in (1..).zip(findings) {
        let kind = if finding.is_problem { "problem" } else { "note" };
        let _ = writeln!(text, "\n{number}. {kind}: {}", finding.text);
        for remedy in &finding.remedies {
            let _ = writeln!(text, "   - {remedy}");
        }
    }
    text
}

/// Examines the compilers. A missing one is a problem only in a project that needs it.
fn compilers(project: &Project, sound: &mut Vec<String>) -> Vec<Finding> {
    let here = Machine::in_directory(".");
    let mut findings = Vec::new();
    let finding = |id: &'static str, error: &ToolchainError, is_needed: bool| {
        let text = error.to_string();
        let finding = if is_needed { Finding::problem(id, text) } else { Finding::note(id, text) };
        match error.hint() {
            Some(hint) => finding.remedy(hint),
            None => finding,
        }
    };
    let is_rust = Path::new("Cargo.toml").exists();
    let mut first_error = None;
    let mut compiled = Vec::new();
    for chip in chips_to_try(project) {
        match find_rust(chip, &project.chips, &here) {
            Ok(_) => compiled.push(chip.toolchain.rust_target.as_str()),
            Err(error) => drop(first_error.get_or_insert(error)),
        }
    }
    if !compiled.is_empty() {
        sound.push(format!("Rust for {}", compiled.join(", ")));
    } else if let Some(error) = &first_error {
        findings.push(finding("rust", error, is_rust || project.target.is_some()));
    }
    let is_go = Path::new("go.mod").exists();
    match find_tinygo(&here) {
        Ok(tinygo) => {
            let (major, minor, patch) = tinygo.version;
            sound.push(format!("TinyGo {major}.{minor}.{patch}"));
        }
        Err(error) if is_go => findings.push(finding("tinygo", &error, true)),
        Err(_) => {}
    }
    findings
}

/// Returns the project's chip, or else one chip for each of the compiler's targets.
fn chips_to_try(project: &Project) -> Vec<&Chip> {
    if let Some(chip) = project.chip() {
        return vec![chip];
    }
    let mut chips: Vec<&Chip> = Vec::new();
    for chip in project.chips.chips() {
        let target = &chip.toolchain.rust_target;
        if !chips.iter().any(|known| known.toolchain.rust_target == *target) {
            chips.push(chip);
        }
    }
    chips
}

/// Examines whether a board answers at the port. Fails only if the user wants to stop.
fn answer(
    port: &str,
    chips: &ChipDb,
    sound: &mut Vec<String>,
    shell: &mut Shell,
    interrupt: &Interrupt,
) -> Result<Option<Finding>, Failure> {
    match flashing::probe(port, chips, shell, interrupt) {
        Ok(info) => {
            let (chip, revision) = (&info.chip.display_name, info.revision_text());
            sound.push(format!("board at {port}: {chip} (revision {revision})"));
            Ok(None)
        }
        Err(failure) if failure.exit == Exit::Interrupted => Err(failure),
        Err(failure) => {
            let finding = Finding::problem("board", failure.message);
            Ok(Some(match failure.hint {
                Some(hint) => finding.remedy(hint),
                None => finding,
            }))
        }
    }
}

/// Installs the udev rule, or prints the command that does. Returns whether it was installed.
fn install_rule(rule: &str, shell: &mut Shell) -> Result<bool, Failure> {
    match fs::write(RULE_PATH, rule) {
        Ok(()) => {
            shell.status(&format!("Installed {RULE_PATH}: plug the board in again"));
            // Without udev, as in a container, there is nothing to reload.
            let _ = Command::new("udevadm").args(["control", "--reload"]).status();
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            shell.status(&format!(
                "The rule needs root. Run:\n    esplice doctor --rule | sudo tee {RULE_PATH} >/dev/null && \
                 sudo udevadm control --reload"
            ));
            Ok(false)
        }
        Err(error) => {
            Err(Failure::new(Exit::Internal, format!("cannot write {RULE_PATH}: {error}")))
        }
    }
}
