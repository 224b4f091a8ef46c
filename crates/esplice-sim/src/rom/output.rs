//! ROM functions that print, and those that read from the UART.

use super::{Call, Flow, Hook, Work, printf};
use crate::soc::{clock::periods, uart, usb_serial_jtag};

/// Offset of the field `buff_uart_no` in `uartdevice`, and the channel number of USB-Serial-JTAG
/// (ESP-IDF, `esp_rom_uart.h` for this chip).
pub(crate) const BUFF_UART_NO: u32 = 24;
pub(crate) const USB_SERIAL_JTAG: u8 = 3;

pub(super) const HOOKS: &[(&str, Hook)] = &[
    ("ets_printf", ets_printf),
    ("ets_install_uart_printf", |call| {
        call.state.uart_printf = true;
        Flow::after(10)
    }),
    ("ets_install_putc1", |call| {
        // The firmware's own function is not called. Firmware passes 0 to silence output, and
        // otherwise its wrapper around the UART.
        call.state.uart_printf = call.arg(0) != 0;
        Flow::after(10)
    }),
    ("ets_install_putc2", |_| Flow::after(10)),
    ("ets_get_printf_channel", |call| {
        call.set_result(0);
        Flow::after(10)
    }),
    ("uart_tx_one_char", one_char),
    ("uart_tx_one_char2", one_char),
    ("usb_uart_tx_one_char", |call| {
        call.set_result(0);
        Flow::after(40)
    }),
    ("uart_tx_flush", wait_empty),
    ("uart_tx_wait_idle", wait_idle),
    ("uartAttach", |_| Flow::after(40)),
    ("Uart_Init", |_| Flow::after(100)),
    ("GetUartDevice", |call| {
        let device = call.data("UartDev").unwrap_or(0);
        call.set_result(device);
        Flow::after(10)
    }),
    ("uart_div_modify", uart_div_modify),
    ("uart_rx_one_char", uart_rx_one_char),
];

/// Prints a character to the loader's channel if that is USB, else to all channels.
fn one_char(call: &mut Call<'_>) -> Flow {
    let byte = call.arg(0) as u8;
    let usb_alone = channel(call) == USB_SERIAL_JTAG;
    call.set_result(0);
    Flow { out: [byte].into(), usb_alone, ..Flow::default() }
}

struct Variadic<'a, 'b> {
    call: &'a mut Call<'b>,
    next: usize,
}

impl printf::Source for Variadic<'_, '_> {
    fn word(&mut self) -> u32 {
        self.next += 1;
        self.call.arg(self.next - 1)
    }

    fn long(&mut self) -> u64 {
        // Variadic 64-bit arguments start at an even position (RISC-V psABI).
        self.next = self.next.next_multiple_of(2) + 2;
        self.call.arg64(self.next - 2)
    }

    fn text(&mut self, addr: u32, most: u32) -> Vec<u8> {
        self.call.text(addr, most)
    }
}

fn ets_printf(call: &mut Call<'_>) -> Flow {
    let format = call.arg(0);
    let format = call.text(format, 0x1000);
    let mut work = Work::default();
    let (out, count) = printf::format(&format, &mut Variadic { call, next: 1 }, &mut work);
    call.set_result(count as u32);
    let sent = with_returns(&out);
    work.units = out.len() as u64;
    if !call.state.uart_printf {
        return Flow::doing(work);
    }
    // A line feed counts as two characters, a carriage return as none.
    Flow::printing(sent.clone(), work.and("sent", sent.len() as u64))
}

/// Converts text for the ROM's console, which sends a line feed as carriage return and line feed
/// and drops carriage returns of the text (ROM, `ets_write_char_uart`).
pub(super) fn with_returns(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    for byte in text {
        match byte {
            b'\n' => out.extend(b"\r\n"),
            b'\r' => {}
            _ => out.push(*byte),
        }
    }
    out
}

/// Waits until the FIFO of the given UART is empty. The last byte may still be on its way, and a
/// reset then cuts it off. On USB, hands over what was printed.
fn wait_empty(call: &mut Call<'_>) -> Flow {
    let channel = call.arg(0);
    if channel == u32::from(USB_SERIAL_JTAG)
        && let Some(base) = call.soc.base_of("usb-serial-jtag")
    {
        call.store(base + usb_serial_jtag::EP1_CONF, usb_serial_jtag::WR_DONE);
    }
    if channel != 0 {
        return Flow::after(30);
    }
    let now = call.now();
    let begun = call.soc.fabric.line.to_host.back().map_or(now, |byte| match byte.baud {
        0 => byte.done,
        baud => byte.done.saturating_sub(periods(10, baud.into())),
    });
    Flow::at(begun)
}

/// Waits until the last byte has been sent.
fn wait_idle(call: &mut Call<'_>) -> Flow {
    let now = call.now();
    let last = call.soc.fabric.line.to_host.back().map_or(now, |byte| byte.done);
    call.set_result(0);
    Flow::at(last)
}

fn uart_div_modify(call: &mut Call<'_>) -> Flow {
    // The divider has 4 fractional bits.
    let divider = call.arg(1);
    if call.arg(0) == 0 {
        let base = call.soc.console();
        call.store(base + uart::CLKDIV, uart::clkdiv(divider));
    }
    Flow::after(60)
}

/// Reads a byte that has come on the loader's channel. Returns 1 if there is none.
fn uart_rx_one_char(call: &mut Call<'_>) -> Flow {
    let usb = call.soc.base_of("usb-serial-jtag").filter(|_| channel(call) == USB_SERIAL_JTAG);
    let (fifo, is_there) = match usb {
        Some(base) => {
            let state = call.load(base + usb_serial_jtag::EP1_CONF);
            (base + usb_serial_jtag::EP1, state & usb_serial_jtag::OUT_AVAIL != 0)
        }
        None => {
            let base = call.soc.console();
            (base, call.load(base + uart::STATUS) & 0x3ff != 0)
        }
    };
    if is_there {
        let byte = call.load(fifo) as u8;
        let to = call.arg(0);
        call.store_byte(to, byte);
    }
    call.set_result(u32::from(!is_there));
    Flow::at(call.now() + periods(20, call.soc.fabric.clock.cpu_hz()))
}

/// Returns the channel that the loader was reached on.
fn channel(call: &mut Call<'_>) -> u8 {
    let device = call.data("UartDev");
    device.map_or(0, |device| call.load_byte(device + BUFF_UART_NO))
}
