use esplice_flash::{ChipInfo, FlashEvent, Security, Survey, survey};
use serde_json::{Value, json};

use crate::{
    cli::args::BoardArgs,
    device::{
        at_board::{FlashAccess, with_options},
        flashing,
    },
    ui::{
        exit::{Exit, Failure},
        interrupt::Interrupt,
        shell::Shell,
    },
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    board: BoardArgs,
}

/// Selects which facts of a board are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    All,
    /// The MAC address.
    Mac,
    /// The flash chip.
    Flash,
}

pub fn run(
    args: &Args,
    shown: Shown,
    shell: &mut Shell,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let found = with_options(
        &args.board,
        FlashAccess::Reads,
        shell,
        interrupt,
        |board, options, shell| {
            // The ROM loader reports everything at its own baud rate, in fewer round trips than
            // uploading a stub takes.
            let options = options.clone().baud(None).stub(esplice_flash::StubSource::none());
            let found = survey(board.port.as_mut(), &options, &mut |event| match event {
                FlashEvent::Chip(info) => {
                    shell.summary.chip = Some(info.chip.display_name.clone());
                    shell.event(&flashing::chip_event(info));
                }
                event => flashing::print_event(event, shell),
            });
            let chip = found.as_ref().ok().and_then(|found| match found {
                Survey::Full(info) => Some(info.chip.clone()),
                Survey::Secure { .. } => None,
            });
            (chip, found)
        },
    )?;
    match found {
        Survey::Full(info) => {
            let text = match shown {
                Shown::All => text(&info),
                Shown::Mac => format!("MAC: {}\n", info.mac_text()),
                Shown::Flash => flash_text(&info),
            };
            shell.result("board", &text, value(&info));
        }
        Survey::Secure { .. } if shown != Shown::All => {
            return Err(Failure::new(
                Exit::Security,
                "in secure download mode the loader reports neither MAC address nor flash chip",
            ));
        }
        Survey::Secure { chip, security } => {
            let name = chip.as_ref().map(|chip| &*chip.display_name);
            let shown = name.unwrap_or("a chip that does not report its name");
            let text = format!(
                "chip      {shown}\nsecurity  {}\n\
                 The loader reports nothing else in secure download mode.\n",
                security_text(security)
            );
            let value = json!({ "chip": name, "security": security_value(security) });
            shell.result("board", &text, value);
        }
    }
    Ok(())
}

fn text(info: &ChipInfo) -> String {
    let [maker, kind, capacity] = info.flash_id;
    let others = match info.chip.other_xtal_mhz.as_slice() {
        [] => String::new(),
        others => {
            let others: Vec<String> = others.iter().map(|mhz| format!("{mhz} MHz")).collect();
            format!(" on most boards, {} on some", others.join(" or "))
        }
    };
    let lines = [
        ("chip", format!("{} (revision {})", info.chip.display_name, info.revision_text())),
        ("features", info.features.join(", ")),
        ("mac", info.mac_text()),
        ("crystal", format!("{} MHz{others}", info.chip.xtal_mhz)),
        (
            "flash",
            format!("{} KB, id {maker:02x} {kind:02x} {capacity:02x}", info.flash_size / 1024),
        ),
        ("security", security_text(info.security)),
    ];
    lines.into_iter().map(|(name, value)| format!("{name:9} {value}\n")).collect()
}

fn flash_text(info: &ChipInfo) -> String {
    let [maker, kind, capacity] = info.flash_id;
    let size = match info.flash_size % (1 << 20) {
        0 => format!("{}MB", info.flash_size >> 20),
        _ => format!("{}KB", info.flash_size >> 10),
    };
    format!("Manufacturer: {maker:02x}\nDevice: {kind:02x}{capacity:02x}\nFlash size: {size}\n")
}

fn security_text(security: Security) -> String {
    let word = |is_on: bool| if is_on { "on" } else { "off" };
    format!(
        "secure boot {}, flash encryption {}, secure download mode {}",
        word(security.secure_boot),
        word(security.flash_encryption),
        word(security.secure_download)
    )
}

fn security_value(security: Security) -> Value {
    json!({
        "secure_boot": security.secure_boot,
        "flash_encryption": security.flash_encryption,
        "secure_download": security.secure_download,
    })
}

fn value(info: &ChipInfo) -> Value {
    json!({
        "chip": info.chip.name,
        "revision": info.revision_text(),
        "features": info.features,
        "mac": info.mac_text(),
        "xtal_mhz": info.chip.xtal_mhz,
        "flash_id": flash_id(info.flash_id),
        "flash_size": info.flash_size,
        "security": security_value(info.security),
    })
}

fn flash_id(id: [u8; 3]) -> String {
    id.map(|byte| format!("{byte:02x}")).join("")
}
