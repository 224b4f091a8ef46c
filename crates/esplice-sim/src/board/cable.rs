//! The cable between board and host: at the UART's bridge or at the chip's own USB.

use super::{Board, Lines, State};
use crate::{
    cpu::Bus,
    rom::output::{BUFF_UART_NO, USB_SERIAL_JTAG},
    soc::{Cable, ResetReason, usb_serial_jtag as usb},
};

/// Cycles in a microsecond at the chip's highest clock. Limits the ROM's value, which is in RAM.
const MOST_TICKS: u32 = 160;

impl Board {
    /// Plugs the host's cable into the bridge at UART0 (the initial state) or into the chip's own
    /// USB-Serial-JTAG. The host sends and receives there from now on. Bytes on the line are lost.
    pub fn plug(&mut self, cable: Cable) {
        let fabric = &mut self.soc.fabric;
        if fabric.cable != cable {
            fabric.cable = cable;
            fabric.line.to_board.clear();
            fabric.line.to_host.clear();
            self.line_free = fabric.now();
            self.usb_download = false;
            self.usb_held = false;
            self.soc.refresh_all();
        }
    }

    /// Returns where the host's cable is plugged in.
    pub fn cable(&self) -> Cable {
        self.soc.fabric.cable
    }

    /// Applies DTR and RTS set by the host over USB. DTR without RTS requests download mode, RTS
    /// without DTR holds the chip in reset, and its release starts the chip in the requested mode;
    /// neither withdraws the request (TRM, "USB Serial/JTAG Controller", table "Reset SoC into
    /// Download Mode").
    pub(super) fn set_usb_lines(&mut self, before: Lines, now: Lines) {
        let held = std::mem::take(&mut self.usb_held);
        match (now.dtr, now.rts) {
            (false, true) if before != now => {
                let download = self.usb_download || self.boot_pin_held;
                self.soc.fabric.strap =
                    if download { self.download_strap } else { self.boot_strap };
                self.soc.reset(ResetReason::UsbUart);
                self.state = State::Held;
                self.usb_held = true;
            }
            (false, true) => self.usb_held = held,
            _ if held => self.reset(ResetReason::UsbUart),
            _ => {}
        }
        match (now.dtr, now.rts) {
            (true, false) => self.usb_download = true,
            (false, false) => self.usb_download = false,
            _ => {}
        }
    }

    /// Prints on USB what the ROM prints on the UART. Returns whether the endpoint had room.
    pub(super) fn print_on_usb(&mut self, byte: u8) -> bool {
        if self.soc.fabric.cable != Cable::Usb {
            return true;
        }
        let Some(base) = self.soc.base_of("usb-serial-jtag") else { return true };
        if self.soc.load32(base + usb::EP1_CONF).unwrap_or(0) & usb::IN_FREE == 0 {
            let _ = self.soc.store32(base + usb::EP1_CONF, usb::WR_DONE);
            return false;
        }
        let _ = self.soc.store32(base + usb::EP1, byte.into());
        true
    }

    /// Stores the port the ROM's loader was reached on. Flasher stubs and their host programs read
    /// it.
    pub(super) fn note_loaders_port(&mut self) {
        if self.soc.fabric.cable == Cable::Usb
            && let Some(device) = self.table.data("UartDev")
        {
            let _ = self.soc.store8(device + BUFF_UART_NO, USB_SERIAL_JTAG);
        }
    }

    /// Returns whether the ROM waits for the host on USB. The ROM hands over each line on USB. If
    /// no host takes the first line, it waits for a while and then never again (ROM:
    /// `usb_uart_tx_one_char`).
    pub(super) fn waits_for_usb(&mut self, now: crate::soc::clock::Tick) -> bool {
        if self.soc.fabric.cable == Cable::Usb {
            return false;
        }
        if self.rom_state.line_ended && self.rom_state.usb_given_up.is_none() {
            let texts = self.table.facts();
            let ticks_per_us = self.table.data("s_ticks_per_us");
            let ticks_per_us =
                ticks_per_us.map_or(0, |at| self.soc.load32(at).unwrap_or(0).min(MOST_TICKS));
            let patience = texts.usb_polls * (texts.usb_poll_cycles + u64::from(ticks_per_us));
            let clock = &self.soc.fabric.clock;
            self.rom_state.usb_given_up = Some(clock.tick_at(clock.cycle + patience));
        }
        self.rom_state.usb_given_up.is_some_and(|until| until > now)
    }

    /// Extra cycles a character takes as long as the ROM expects a host on USB.
    pub(super) fn usb_byte_cycles(&self) -> u64 {
        let counts_with = self.cable() == Cable::Usb || self.rom_state.usb_given_up.is_none();
        if counts_with { self.table.facts().usb_byte_cycles } else { 0 }
    }

    /// Hands over what was printed on USB.
    pub(super) fn flush_usb(&mut self) {
        if self.soc.fabric.cable == Cable::Usb
            && let Some(base) = self.soc.base_of("usb-serial-jtag")
        {
            let _ = self.soc.store32(base + usb::EP1_CONF, usb::WR_DONE);
        }
    }

    /// Resets the chip for the given reason, and lets it run if it was held.
    pub fn reset_as(&mut self, reason: ResetReason) {
        if !matches!(self.state, State::Held | State::Rising(_)) {
            self.reset(reason);
        }
    }
}
