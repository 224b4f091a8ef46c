//! The udev rule that lets the local user open boards' ports.

use std::collections::BTreeSet;

use esplice_chip::ChipDb;

use crate::usb::KINDS;

/// Where the rule belongs: before systemd's `73-seat-late.rules`, which acts on the tag.
pub const RULE_PATH: &str = "/etc/udev/rules.d/70-esplice.rules";

/// Returns the rule's text: devices of known boards get the tag `uaccess`, so that logind gives them
/// to the user at the computer, and are ignored by ModemManager.
pub fn udev_rule(chips: &ChipDb) -> String {
    let mut ids: BTreeSet<(u16, Option<u16>)> = BTreeSet::new();
    for kind in KINDS {
        match kind.pids {
            [] => drop(ids.insert((kind.vid, None))),
            pids => ids.extend(pids.iter().map(|pid| (kind.vid, Some(*pid)))),
        }
    }
    let boards = chips.boards().flat_map(|board| &board.usb).filter_map(|usb| usb.id);
    for id in boards {
        if !ids.contains(&(id.vid, None)) {
            ids.insert((id.vid, Some(id.pid)));
        }
    }
    let mut text = String::from(
        "# Boards with ESP32 chips: the user at the computer may open them, ModemManager does not.\n",
    );
    for (vid, pid) in ids {
        let pid =
            pid.map_or_else(String::new, |pid| format!(", ATTRS{{idProduct}}==\"{pid:04x}\""));
        text.push_str(&format!(
            "SUBSYSTEMS==\"usb\", ATTRS{{idVendor}}==\"{vid:04x}\"{pid}, TAG+=\"uaccess\", \
             ENV{{ID_MM_DEVICE_IGNORE}}=\"1\"\n"
        ));
    }
    text
}
