use std::{fmt::Write as _, path::PathBuf};

use esplice_chip::Chip;
use esplice_image::build_image;
use esplice_link::{PieceChange, Pieces, compare_pieces};
use serde_json::{Value, json};

use crate::{
    cli::args::TargetArgs,
    config::project::{Flags, Project},
    files::{of_file, read},
    firmware::{image_options, sectors::Sectors},
    ui::{exit::Failure, shell::Shell},
};

/// Maximum number of functions and variables listed in text for each fate.
const LISTED: usize = 20;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Old ELF
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// New ELF
    #[arg(value_name = "NEW")]
    new: PathBuf,
    #[command(flatten)]
    target: TargetArgs,
}

pub fn run(args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    let flags = Flags { target: args.target.clone(), ..Flags::default() };
    let project = Project::settle(".".as_ref(), flags)?;
    let (old, _) = super::map_of(&project, &args.old)?;
    let (new, chip) = super::map_of(&project, &args.new)?;
    let difference = esplice_link::diff(&old, &new);
    let (old_elf, new_elf) = (read::read(&args.old)?, read::read(&args.new)?);
    let pieces = compare_pieces(&old_elf, &new_elf).map_err(|e| of_file(&args.new, e.into()))?;
    let sectors = sectors(&project, &chip, &old_elf, &new_elf);
    let unchanged = difference.is_empty() && pieces.pieces.is_empty();
    let mut text = if unchanged { "nothing has moved\n".into() } else { difference.to_text() };
    if !pieces.pieces.is_empty() {
        text.push_str(&list(&pieces));
    }
    if let Some(sectors) = &sectors {
        let _ = writeln!(text, "{sectors} differ");
    }
    let range = |range: Option<(u32, u32)>| {
        range.map_or(Value::Null, |(addr, len)| json!({ "addr": addr, "len": len }))
    };
    let changes = difference.changes.iter().map(|change| {
        json!({
            "region": change.region,
            "kind": change.kind.name(),
            "name": change.name,
            "old": range(change.old),
            "new": range(change.new),
        })
    });
    let regions = difference
        .regions
        .iter()
        .map(|(region, old, new)| json!({ "region": region, "old_used": old, "new_used": new }));
    let value = json!({
        "changes": changes.collect::<Vec<_>>(),
        "regions": regions.collect::<Vec<_>>(),
        "kept": pieces.kept,
        "pieces": pieces.pieces.iter().map(|piece| json!({
            "fate": piece.fate.name(),
            "symbol": piece.symbol,
            "old": range(piece.old),
            "new": range(piece.new),
        })).collect::<Vec<_>>(),
        "sectors": sectors.map(|sectors| json!({
            "differ": sectors.differ,
            "total": sectors.total,
        })),
    });
    shell.summary.chip = Some(chip.display_name.clone());
    shell.result("layout-diff", &text, value);
    Ok(())
}

/// Lists the fates of functions and variables.
fn list(pieces: &Pieces) -> String {
    let mut text = String::from("functions and variables: ");
    let _ = write!(text, "{} unchanged", pieces.kept);
    for fate in [
        PieceChange::Changed,
        PieceChange::Moved,
        PieceChange::Evicted,
        PieceChange::New,
        PieceChange::Gone,
    ] {
        let _ = write!(text, ", {} {}", pieces.count(fate), fate.name());
    }
    text.push('\n');
    for fate in [
        PieceChange::Changed,
        PieceChange::Moved,
        PieceChange::Evicted,
        PieceChange::New,
        PieceChange::Gone,
    ] {
        let of_fate = || pieces.pieces.iter().filter(|piece| piece.fate == fate);
        for piece in of_fate().take(LISTED) {
            let places = match (piece.old, piece.new) {
                (Some((a, x)), Some((b, y))) if a == b => format!("at {a:#010x}, {x} -> {y} bytes"),
                (Some((a, x)), Some((b, y))) => format!("{a:#010x} -> {b:#010x}, {x} -> {y} bytes"),
                (Some((a, x)), None) | (None, Some((a, x))) => format!("at {a:#010x}, {x} bytes"),
                (None, None) => continue,
            };
            let name = rustc_demangle::demangle(&piece.symbol);
            let _ = writeln!(text, "  {:8} {places}  {name:#}", fate.name());
        }
        let more = of_fate().count().saturating_sub(LISTED);
        if more > 0 {
            let _ = writeln!(text, "  {:8} and {more} more", fate.name());
        }
    }
    text
}

/// Returns the flash sectors that differ between the images of two ELFs, or `None` if one of them
/// cannot become an image.
fn sectors(project: &Project, chip: &Chip, old: &[u8], new: &[u8]) -> Option<Sectors> {
    let options = image_options(chip, project).ok()?;
    let image = |elf: &[u8]| build_image(elf, chip, &options).ok().map(|image| image.bytes);
    Some(Sectors::between(&image(old)?, &image(new)?))
}
