use std::path::PathBuf;

use esplice_layout::{Extent, Layout};
use serde_json::{Value, json};

use crate::{
    cli::args::TargetArgs,
    config::project::Flags,
    files::of_file,
    firmware::layout,
    ui::{exit::Failure, shell::Shell},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The project's directory
    #[arg(value_name = "PATH", default_value = ".")]
    path: PathBuf,
    /// ELF to check against the layout
    #[arg(long, value_name = "FILE")]
    elf: Option<PathBuf>,
    #[command(flatten)]
    target: TargetArgs,
}

pub fn run(args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    let flags = Flags { target: args.target.clone(), ..Flags::default() };
    let elf = args.elf.as_deref().map(|path| crate::files::read::read(path).map(|elf| (path, elf)));
    let elf = elf.transpose()?;
    let given = elf.as_ref().map(|(path, elf)| (*path, elf.as_slice()));
    let (project, chip) = super::settle(&args.path, flags, given)?;
    let settled = super::layout(&project, &args.path, &chip)?;
    if let Some((path, elf)) = &elf {
        layout::hold(elf, &settled, shell).map_err(|failure| of_file(path, failure))?;
    }
    shell.summary.chip = Some(chip.display_name.clone());
    shell.result("layout-check", &text(&settled), value(&settled));
    Ok(())
}

fn text(layout: &Layout) -> String {
    let mut text = String::new();
    for room in &layout.rooms {
        let note = match (room.bootloader, room.kept) {
            (true, _) => "free once the program runs",
            (_, true) => "outlives a reset",
            _ => "",
        };
        let line = format!("{:10} {:#010x}  {:>8} bytes  {note}", room.key, room.addr, room.len);
        text.push_str(line.trim_end());
        text.push('\n');
        let mut row = |kind: &str, name: &str, size: &str, align: u32| {
            text.push_str(&format!("  {kind:8} {name:16} {size:>24}  aligned to {align}\n"));
        };
        for arena in layout.arenas.iter().filter(|arena| arena.region == room.key) {
            row("arena", &arena.name, &arena.size.to_string(), arena.align);
        }
        for heap in layout.heap.iter().filter(|heap| heap.region == room.key) {
            row("heap", "", &extent(&heap.extent), heap.align);
        }
        if room.key == "dram" {
            row("stack", "", &layout.stack.to_string(), 16);
        }
    }
    text
}

fn extent(extent: &Extent) -> String {
    match extent {
        Extent::Size(size) => size.to_string(),
        Extent::Rest => "the rest".to_owned(),
    }
}

fn value(layout: &Layout) -> Value {
    let arenas = layout.arenas.iter().map(|arena| {
        json!({
            "name": arena.name,
            "region": arena.region,
            "len": arena.size.bytes,
            "align": arena.align,
            "place": arena.place.to_string(),
        })
    });
    let heap = layout.heap.as_ref().map(|heap| {
        let len = match &heap.extent {
            Extent::Size(size) => Some(size.bytes),
            Extent::Rest => None,
        };
        json!({
            "region": heap.region,
            "len": len,
            "align": heap.align,
            "place": heap.place.to_string(),
        })
    });
    let regions = layout
        .rooms
        .iter()
        .map(|room| json!({ "region": room.key, "addr": room.addr, "len": room.len }));
    json!({
        "chip": layout.chip.name,
        "base": layout.base.name(),
        "regions": regions.collect::<Vec<_>>(),
        "heap": heap,
        "arenas": arenas.collect::<Vec<_>>(),
        "stack": layout.stack.bytes,
    })
}
