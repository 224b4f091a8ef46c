//! Adapts an example's `Cargo.toml` to a project.

use esplice_chip::UsbKind;

use crate::{Project, TemplateError};

/// Console of the project's firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Console {
    /// UART0, usually through a USB bridge.
    Uart,
    /// The chip's own USB-Serial-JTAG.
    UsbSerialJtag,
}

impl Console {
    /// Returns the console of the socket that is used for flashing.
    pub(crate) fn of(project: &Project<'_>) -> Console {
        let board = project.target.board();
        match board.and_then(|board| board.usb.first()).map(|usb| usb.kind) {
            Some(UsbKind::SerialJtag) => Console::UsbSerialJtag,
            _ => Console::Uart,
        }
    }
}

/// The lines of the examples about the console.
const UART_COMMENT: &str = "# `uart` instead of the default `auto`: the output goes to UART0 and never to USB-Serial-JTAG.";
const USB_COMMENT: &str = "# The board's USB socket is the chip's own USB-Serial-JTAG.";
const UART_FEATURE: &str = "\"uart\"]";
const USB_FEATURE: &str = "\"jtag-serial\"]";

/// Returns the project's manifest.
pub(crate) fn manifest(example: &str, project: &Project<'_>) -> Result<String, TemplateError> {
    let name = &project.name;
    if example.lines().any(|line| line.split_once(" = ").is_some_and(|(key, _)| key == name)) {
        let reason = "it is the name of a dependency".to_owned();
        return Err(TemplateError::BadName { name: name.clone(), reason });
    }
    let (before, rest) = example.split_once("[features]\n").unwrap_or((example, ""));
    let (features, after) = rest.split_once("\n[").unwrap_or((rest, ""));
    let mut lines: Vec<String> =
        before.lines().filter(|line| !is_of_example(line)).map(str::to_owned).collect();
    lines.extend(feature_lines(features, &project.target.chip().name));
    lines.extend(format!("\n[{after}").lines().map(without_path));
    let mut text = lines.join("\n") + "\n";
    text = text.replacen(&format!("\"{}\"", project.template.example()), &format!("{name:?}"), 1);
    if Console::of(project) == Console::UsbSerialJtag {
        text = text.replace(UART_COMMENT, USB_COMMENT).replace(UART_FEATURE, USB_FEATURE);
    }
    Ok(text)
}

/// Returns whether a line is about the example only.
fn is_of_example(line: &str) -> bool {
    line.starts_with("description = ") || line.starts_with("license = ")
}

/// Returns the line, with a version only instead of a version and a path in the repository.
fn without_path(line: &str) -> String {
    match line.split_once(", path = ") {
        Some((before, _)) => before.replace("{ version = ", ""),
        None => line.to_owned(),
    }
}

/// Returns the features of a project for one chip, from those of an example for several.
fn feature_lines(features: &str, chip: &str) -> Vec<String> {
    let mut lines = vec!["[features]".to_owned(), format!("default = [{chip:?}]")];
    lines.extend(features.lines().filter(|line| line.starts_with('#')).map(str::to_owned));
    lines.push(format!("{chip} = ["));
    let lists = features.lines().skip_while(|line| !line.ends_with(" = ["));
    let first = lists.skip(1).take_while(|line| *line != "]");
    let dependencies = first.filter_map(|line| line.trim().strip_prefix('"')?.split_once('/'));
    lines.extend(dependencies.map(|(dependency, _)| format!("  \"{dependency}/{chip}\",")));
    lines.push("]".to_owned());
    lines
}
