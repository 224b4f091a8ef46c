//! Tests of findings with recorded machines. Each `systems/*.toml` is a machine; the findings are
//! compared with its `expected`.

use std::{collections::BTreeMap, fs, path::Path};

use esplice_chip::ChipDb;
use esplice_doctor::{Finding, Fix, Os, SerialPort, System, examine, udev_rule};
use serde::Deserialize;

/// A recorded machine.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    os: String,
    /// Serial ports: name, and `vid:pid`.
    #[serde(default)]
    ports: BTreeMap<String, String>,
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    links: BTreeMap<String, String>,
    /// Command lines with their output.
    #[serde(default)]
    commands: BTreeMap<String, String>,
    #[serde(default)]
    variables: BTreeMap<String, String>,
    /// Files that the user may not use.
    #[serde(default)]
    denied: Vec<String>,
    expected: String,
}

impl System for Recorded {
    fn os(&self) -> Os {
        match self.os.as_str() {
            "linux" => Os::Linux,
            "macos" => Os::MacOs,
            "windows" => Os::Windows,
            other => panic!("{other}"),
        }
    }

    fn text(&self, path: &str) -> Option<String> {
        self.files.get(path).cloned()
    }

    fn entries(&self, directory: &str) -> Vec<String> {
        let start = if directory == "/" { "/".to_owned() } else { format!("{directory}/") };
        let paths = self.files.keys().chain(self.links.keys());
        let inside = paths.filter_map(|path| path.strip_prefix(&start));
        let mut names: Vec<String> =
            inside.filter_map(|rest| rest.split('/').next()).map(str::to_owned).collect();
        names.sort();
        names.dedup();
        names
    }

    fn link(&self, path: &str) -> Option<String> {
        self.links.get(path).cloned()
    }

    fn may_use(&self, path: &str) -> bool {
        !self.denied.iter().any(|denied| denied == path)
    }

    fn output(&self, program: &str, args: &[&str]) -> Option<String> {
        self.commands.get(&[&[program], args].concat().join(" ")).cloned()
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
}

impl Recorded {
    fn serial_ports(&self) -> Vec<SerialPort> {
        let id = |text: &str| {
            let (vid, pid) = text.split_once(':')?;
            Some((u16::from_str_radix(vid, 16).ok()?, u16::from_str_radix(pid, 16).ok()?))
        };
        let ports = self.ports.iter();
        ports.map(|(name, text)| SerialPort { name: name.clone(), usb: id(text) }).collect()
    }
}

fn shown(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let kind = if finding.is_problem { "problem" } else { "note" };
        let fix = if finding.fix == Some(Fix::UdevRule) { " [rule]" } else { "" };
        text.push_str(&format!("{kind} {}{fix}: {}\n", finding.id, finding.text));
        finding.remedies.iter().for_each(|remedy| text.push_str(&format!("  {remedy}\n")));
    }
    text
}

#[test]
fn recorded_machines() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems");
    let mut ids = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let machine: Recorded =
            toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let findings = examine(&machine, &machine.serial_ports());
        assert_eq!(shown(&findings), machine.expected, "{}", path.display());
        ids.extend(findings.iter().map(|finding| finding.id));
        count += 1;
    }
    assert!(count >= 15, "{count}");
    // Each finding has a machine.
    for id in [
        "brltty",
        "device-problem",
        "hubs",
        "idf",
        "modem-manager",
        "no-driver",
        "no-port",
        "port-busy",
        "port-permission",
        "tty-port",
    ] {
        assert!(ids.contains(&id), "{id}");
    }
}

#[test]
fn the_rule_names_all_boards() {
    let rule = udev_rule(ChipDb::embedded());
    assert!(rule.lines().skip(1).all(|line| {
        line.starts_with("SUBSYSTEMS==\"usb\", ATTRS{idVendor}==\"")
            && line.ends_with(", TAG+=\"uaccess\", ENV{ID_MM_DEVICE_IGNORE}=\"1\"")
    }));
    for board in ChipDb::embedded().boards() {
        for id in board.usb.iter().filter_map(|usb| usb.id) {
            let line = |line: &str| {
                line.contains(&format!("idVendor}}==\"{:04x}\"", id.vid))
                    && (!line.contains("idProduct")
                        || line.contains(&format!("\"{:04x}\", TAG", id.pid)))
            };
            assert!(rule.lines().any(line), "{} {:04x}:{:04x}", board.name, id.vid, id.pid);
        }
    }
    // Nobody else gets the ports.
    assert!(!rule.contains("MODE") && !rule.contains("0666"), "{rule}");
}
