use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::ValueEnum;
use esplice_chip::Chip;
use esplice_link::{SizeBy, SizeChange, Sizes, Usage, compare_sizes, sizes};
use esplice_monitor::readable_name;
use serde_json::{Value, json};

use crate::{
    cli::args::{FirmwareArgs, SizeArgs},
    config::{
        project::{Flags, Project},
        settings::Settled,
    },
    files::{elf_file::Wanted, of_file, read},
    firmware::{Firmware, applicable, elf_chip, no_chip, source::Source},
    ui::{
        exit::{Exit, Failure},
        interrupt::Interrupt,
        shell::Shell,
    },
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    firmware: FirmwareArgs,
    /// Groups the list by section, crate or symbol
    #[arg(long, value_name = "WHAT", default_value = "section", hide_possible_values = true)]
    by: By,
    /// Number of rows to list; the totals always count all [default: 30, all in JSON]
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// List what changed since this ELF
    #[arg(long, value_name = "ELF")]
    diff: Option<PathBuf>,
    #[command(flatten)]
    budget: SizeArgs,
}

/// Grouping of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    Section,
    Crate,
    Symbol,
}

/// Rows in text, by default.
const TOP: usize = 30;

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    let source = Source::from_args(&args.firmware.source, Wanted::Whole)?;
    let flags = Flags { size: args.budget.clone(), ..Flags::default() };
    let mut project = args.firmware.settle(flags)?;
    project.flash.fits_later = true;
    let Program { path, elf, chip } = program(source, &project, shell, interrupt)?;
    let by = match args.by {
        By::Section => SizeBy::Section,
        By::Crate => SizeBy::Crate,
        By::Symbol => SizeBy::Symbol,
    };
    let measure = |path: &Path, bytes: &[u8]| {
        let readable = |name: &str| readable_name(name.as_bytes());
        sizes(bytes, &chip, by, &readable).map_err(|error| of_file(path, error.into()))
    };
    let new = measure(&path, &elf)?;
    let old = match &args.diff {
        Some(path) => Some(measure(path, &read::read(path)?)?),
        None => None,
    };
    let changes = old.as_ref().map(|old| compare_sizes(old, &new));
    let budgets = [
        ("flash", new.total.flash, &project.size.flash),
        ("ram", new.total.ram, &project.size.ram),
    ];

    let mut text = String::new();
    for (memory, used, budget) in budgets {
        let _ = match budget {
            Some(budget) => writeln!(text, "{memory:5} {used:>9} of {} bytes", budget.value),
            None => writeln!(text, "{memory:5} {used:>9} bytes"),
        };
    }
    let top = args.top.unwrap_or(TOP);
    let name = args.by.to_possible_value().map(|value| value.get_name().to_owned());
    let name = name.unwrap_or_default();
    match &changes {
        Some(changes) => text.push_str(&changed(changes, &name, top)),
        None => text.push_str(&listed(&new, &name, top)),
    }
    let top = args.top.unwrap_or(usize::MAX);
    let value = json!({
        "chip": chip.name,
        "by": name,
        "flash": new.total.flash,
        "ram": new.total.ram,
        "max_flash": project.size.flash.as_ref().map(|budget| budget.value),
        "max_ram": project.size.ram.as_ref().map(|budget| budget.value),
        "rows": new.rows.iter().take(top).map(|row| json!({
            "name": row.name, "flash": row.usage.flash, "ram": row.usage.ram, "count": row.count,
        })).collect::<Vec<_>>(),
        "old": old.as_ref().map(|old| usage(old.total)),
        "changes": changes.as_ref().map(|changes| changes.iter().take(top).map(|change| json!({
            "name": change.name, "old": usage(change.old), "new": usage(change.new),
        })).collect::<Vec<_>>()),
    });
    shell.summary.chip = Some(chip.display_name.clone());
    shell.result("size", &text, value);
    let mut over = budgets
        .iter()
        .filter_map(|(memory, used, budget)| exceeded(memory, *used, budget.as_ref()));
    over.next().map_or(Ok(()), Err)
}

/// An ELF and its chip.
struct Program {
    /// The path, or the name of the binary if it was compiled.
    path: PathBuf,
    elf: Arc<Vec<u8>>,
    chip: Arc<Chip>,
}

/// Returns the ELF that the source is, or that it is compiled to.
fn program(
    source: Source,
    project: &Project,
    shell: &mut Shell,
    interrupt: &Interrupt,
) -> Result<Program, Failure> {
    match source {
        Source::Elf { path, elf } => {
            let given = Source::Elf { path: path.clone(), elf: elf.clone() };
            applicable::check(&project.build.given, &given)?;
            let chip = match project.chip() {
                Some(chip) => Some(chip.clone()),
                None => elf_chip(&path, &elf.bytes, &project.chips)?,
            };
            let chip = chip.ok_or_else(|| no_chip(&path))?;
            Ok(Program { path, elf: elf.bytes, chip })
        }
        Source::Image { path, .. } | Source::Places { path, .. } => {
            Err(Failure::usage(format!("{} is an image, which has no symbols", path.display()))
                .hint("give the ELF that it was made from"))
        }
        source @ (Source::Project { .. } | Source::Go(_)) => {
            let mut ask = |_: &mut Shell| Ok(None);
            let firmware = Firmware::from_source(source, project, &mut ask, shell, interrupt)?;
            let Firmware { name, elf, chip, .. } = firmware;
            Ok(Program { path: name.into(), elf: elf.bytes, chip })
        }
    }
}

/// Returns the failure for a budget that is exceeded.
fn exceeded(memory: &str, used: u64, budget: Option<&Settled<u32>>) -> Option<Failure> {
    let budget = budget?;
    let over = used.checked_sub(budget.value.into()).filter(|over| *over > 0)?;
    let message = format!(
        "the program takes {used} bytes of {memory}, {over} more than its budget of {} ({})",
        budget.value, budget.origin
    );
    Some(
        Failure::new(Exit::PlanRefused, message)
            .hint("`esplice size --by crate` and `--by symbol` list what takes them"),
    )
}

fn listed(sizes: &Sizes, by: &str, top: usize) -> String {
    let mut text = format!("\n{:>9} {:>9}  {by}\n", "flash", "ram");
    for row in sizes.rows.iter().take(top) {
        let (flash, ram) = (row.usage.flash, row.usage.ram);
        let count = if by == "symbol" && row.count > 1 && !row.name.starts_with('(') {
            format!(" (×{})", row.count)
        } else {
            String::new()
        };
        let _ = writeln!(text, "{flash:>9} {ram:>9}  {}{count}", row.name);
    }
    text + &more(sizes.rows.len(), top)
}

fn changed(changes: &[SizeChange], by: &str, top: usize) -> String {
    if changes.is_empty() {
        return "\nno size has changed\n".into();
    }
    let mut text = format!("\n{:>9} {:>9}  {by}\n", "flash", "ram");
    let signed = |old: u64, new: u64| match new.abs_diff(old) {
        0 => "0".to_owned(),
        by if new > old => format!("+{by}"),
        by => format!("-{by}"),
    };
    for change in changes.iter().take(top) {
        let (old, new) = (change.old, change.new);
        let (flash, ram) = (signed(old.flash, new.flash), signed(old.ram, new.ram));
        let _ = writeln!(text, "{flash:>9} {ram:>9}  {}", change.name);
    }
    text + &more(changes.len(), top)
}

fn more(count: usize, top: usize) -> String {
    match count.saturating_sub(top) {
        0 => String::new(),
        more => format!("{:>19}  and {more} more\n", ""),
    }
}

fn usage(usage: Usage) -> Value {
    json!({ "flash": usage.flash, "ram": usage.ram })
}
