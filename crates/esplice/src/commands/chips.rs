use std::path::PathBuf;

use esplice_chip::{Board, Chip, ChipDb, RegionKind};
use esplice_sim::spec::needs_rom;
use serde_json::{Value, json};

use crate::{
    cli::{args::TargetArgs, complete},
    config::project::{Flags, Project},
    ui::{exit::Failure, shell::Shell},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show all data of this chip
    #[arg(value_name = "CHIP", add = complete::chips())]
    name: Option<String>,
    /// File describing a custom chip or board, added to the known ones
    #[arg(long, value_name = "FILE")]
    target_file: Option<PathBuf>,
}

pub fn run(args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    let known = known(args.target_file.as_deref())?;
    if let Some(name) = &args.name {
        let chip = known.find(name)?;
        shell.result("chip", &details(chip, &known), value(chip, &known));
        return Ok(());
    }
    let text: String = known
        .chips()
        .map(|chip| {
            let offers = [
                ("Rust", true),
                ("Go", chip.toolchain.tinygo.is_some()),
                ("virtual board", chip.sim.is_some() && !needs_rom(chip)),
                ("virtual board with a ROM file", needs_rom(chip)),
            ];
            let offers: Vec<&str> =
                offers.iter().filter(|(_, has)| *has).map(|(n, _)| *n).collect();
            let (name, shown, isa) = (&chip.name, &chip.display_name, &chip.isa);
            format!("{name:10} {shown:10} {isa:12} {}\n", offers.join(", "))
        })
        .collect();
    shell.result("chips", &text, known.chips().map(|chip| value(chip, &known)).collect());
    Ok(())
}

/// Returns the known chips and boards, including that of a file.
pub fn known(file: Option<&std::path::Path>) -> Result<ChipDb, Failure> {
    let Some(file) = file else { return Ok(ChipDb::default()) };
    let target = TargetArgs { target_file: Some(file.to_owned()), ..TargetArgs::default() };
    Ok(Project::settle(".".as_ref(), Flags { target, ..Flags::default() })?.chips)
}

fn boards_of<'a>(chip: &'a Chip, known: &'a ChipDb) -> impl Iterator<Item = &'a Board> {
    let boards = known.boards().filter(|board| board.chip.name == chip.name);
    boards.map(|board| &**board)
}

/// Returns the data of a chip that matters to users, one fact per line.
fn details(chip: &Chip, known: &ChipDb) -> String {
    let image = &chip.image;
    let mut lines = vec![
        format!("chip        {} ({})", chip.display_name, chip.name),
        format!("cpu         {}, crystal {} MHz", chip.isa, chip.xtal_mhz),
        format!("features    {}", chip.features.always.join(", ")),
        format!("image       chip id {}, UF2 family 0x{:08x}", image.chip_id, image.uf2_family),
        format!(
            "flash       image at {}, partition table at {}",
            image.boot_offset, image.partition_table_offset
        ),
        format!(
            "defaults    {}, {}, {}",
            image.default_flash_mode, image.default_flash_freq, image.default_flash_size
        ),
        format!("clocks      {}", list(image.flash_frequencies.keys().map(String::as_str))),
    ];
    let mut sizes: Vec<&str> = image.flash_sizes.keys().map(String::as_str).collect();
    sizes.sort_by_key(|size| esplice_chip::parse_size(size));
    lines.push(format!("sizes       {}", sizes.join(", ")));
    for region in &chip.regions {
        let (key, addr, len) = (&region.key, region.addr, region.len);
        lines.push(format!("memory      {key:10} {addr} {len:>9} bytes, {}", kind(region.kind)));
    }
    let toolchain = &chip.toolchain;
    lines.push(format!("rust        {}", toolchain.rust_target));
    if let Some(tinygo) = &toolchain.tinygo {
        let boots = if tinygo.start.is_some() { "rom, idf" } else { "rom" };
        lines.push(format!("go          TinyGo's {}; boot {boots}", tinygo.targets.join(" or ")));
    }
    let boards: Vec<&str> = boards_of(chip, known).map(|board| board.name.as_str()).collect();
    if !boards.is_empty() {
        lines.push(format!("boards      {}", boards.join(", ")));
    }
    let board = match &chip.sim {
        Some(_) if needs_rom(chip) => "yes, with the mask ROM (rom=FILE)",
        Some(_) => "yes",
        None => "no",
    };
    lines.push(format!("virtual     {board}"));
    lines.join("\n") + "\n"
}

fn kind(kind: RegionKind) -> &'static str {
    match kind {
        RegionKind::Ram => "RAM",
        RegionKind::Flash => "flash, mapped",
        RegionKind::Psram => "external RAM",
        RegionKind::Rom => "ROM",
    }
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

fn value(chip: &Chip, known: &ChipDb) -> Value {
    let image = &chip.image;
    let regions = chip.regions.iter().map(|region| {
        json!({
            "key": region.key,
            "addr": region.addr.0,
            "len": region.len,
            "kind": kind(region.kind),
        })
    });
    json!({
        "name": chip.name,
        "display_name": chip.display_name,
        "isa": chip.isa,
        "xtal_mhz": chip.xtal_mhz,
        "chip_id": image.chip_id,
        "uf2_family": image.uf2_family,
        "boot_offset": image.boot_offset.0,
        "partition_table_offset": image.partition_table_offset.0,
        "flash_mode": image.default_flash_mode,
        "flash_freq": image.default_flash_freq,
        "flash_size": image.default_flash_size,
        "flash_freqs": image.flash_frequencies.keys().collect::<Vec<_>>(),
        "flash_sizes": image.flash_sizes.keys().collect::<Vec<_>>(),
        "regions": regions.collect::<Vec<_>>(),
        "rust_target": chip.toolchain.rust_target,
        "tinygo_targets": chip.toolchain.tinygo.as_ref().map(|tinygo| &tinygo.targets),
        "boards": boards_of(chip, known).map(|board| board.name.as_str()).collect::<Vec<_>>(),
        "sim": chip.sim.is_some(),
    })
}
