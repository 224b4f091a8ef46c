use std::{path::PathBuf, sync::Arc};

use esplice_chip::{Board, BoardUsb, LedKind, Target, UsbKind};
use serde_json::{Value, json};

use crate::{
    cli::complete,
    commands::chips,
    ui::{exit::Failure, shell::Shell},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show all data of this board, or list the boards with this chip
    #[arg(value_name = "NAME", add = complete::targets())]
    name: Option<String>,
    /// File describing a custom chip or board, added to the known ones
    #[arg(long, value_name = "FILE")]
    target_file: Option<PathBuf>,
}

pub fn run(args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    let known = chips::known(args.target_file.as_deref())?;
    let target = args.name.as_deref().map(|name| known.find_target(name)).transpose()?;
    if let Some(board) = target.as_ref().and_then(Target::board) {
        shell.result("board", &details(board), value(board));
        return Ok(());
    }
    let chip = target.as_ref().map(|target| &target.chip().name);
    let of_chip = |board: &&Arc<Board>| chip.is_none_or(|chip| board.chip.name == *chip);
    let boards: Vec<&Arc<Board>> = known.boards().filter(of_chip).collect();
    let text: String = boards
        .iter()
        .map(|board| {
            let (name, chip, flash) = (&board.name, &board.chip.display_name, &board.flash_size);
            format!("{name:28} {chip:10} {flash:>5}  {}\n", board.display_name)
        })
        .collect();
    shell.result("boards", &text, boards.iter().map(|board| value(board)).collect());
    Ok(())
}

/// Returns all data of a board, one fact per line.
fn details(board: &Board) -> String {
    let mut lines = vec![
        format!("board       {} ({})", board.display_name, board.name),
        format!("vendor      {}, {}", board.vendor, board.url),
        format!("chip        {} ({})", board.chip.display_name, board.chip.name),
        format!("flash       {}", board.flash_size),
    ];
    lines.extend(board.psram.map(|bytes| format!("psram       {bytes} bytes")));
    lines.extend(board.xtal_mhz.map(|mhz| format!("crystal     {mhz} MHz")));
    for usb in &board.usb {
        let id = usb.id.map(|id| format!(", {:04x}:{:04x}", id.vid, id.pid)).unwrap_or_default();
        lines.push(format!("usb         {}{id}", usb_name(usb)));
    }
    for led in &board.leds {
        let low = if led.active_low { ", on while low" } else { "" };
        lines.push(format!("led         GPIO{}, {}{low}", led.gpio, led_name(led.kind)));
    }
    if !board.tinygo_targets.is_empty() {
        lines.push(format!("go          TinyGo's {}", board.tinygo_targets.join(" or ")));
    }
    lines.join("\n") + "\n"
}

fn usb_name(usb: &BoardUsb) -> String {
    match usb.kind {
        UsbKind::Bridge => {
            format!(
                "UART bridge{}",
                usb.bridge.as_ref().map(|b| format!(" {b}")).unwrap_or_default()
            )
        }
        UsbKind::SerialJtag => "the chip's USB-Serial-JTAG".into(),
        UsbKind::Otg => "the chip's USB-OTG".into(),
    }
}

fn led_name(kind: LedKind) -> &'static str {
    match kind {
        LedKind::Plain => "plain",
        LedKind::Ws2812 => "WS2812",
    }
}

fn value(board: &Board) -> Value {
    let usb = board.usb.iter().map(|usb| {
        json!({
            "kind": match usb.kind {
                UsbKind::Bridge => "bridge",
                UsbKind::SerialJtag => "serial-jtag",
                UsbKind::Otg => "otg",
            },
            "bridge": usb.bridge,
            "vid": usb.id.map(|id| id.vid),
            "pid": usb.id.map(|id| id.pid),
        })
    });
    let leds = board.leds.iter().map(
        |led| json!({ "gpio": led.gpio, "kind": led_name(led.kind), "active_low": led.active_low }),
    );
    json!({
        "name": board.name,
        "display_name": board.display_name,
        "vendor": board.vendor,
        "url": board.url,
        "chip": board.chip.name,
        "flash_size": board.flash_size,
        "flash_mode": board.flash_mode,
        "flash_freq": board.flash_freq,
        "psram": board.psram,
        "xtal_mhz": board.xtal_mhz,
        "usb": usb.collect::<Vec<_>>(),
        "leds": leds.collect::<Vec<_>>(),
        "tinygo_targets": board.tinygo_targets,
    })
}
