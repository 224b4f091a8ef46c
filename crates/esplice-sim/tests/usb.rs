//! Tests of a board with the host's cable in the chip's own USB: the ROM's output there, resets by
//! DTR and RTS, and the serial loader.

use esplice_chip::ChipDb;
use esplice_protocol::{Moment, Port, slip};
use esplice_sim::{Board, Cable, SimPort, TimeMode, millis};

fn port(spec: &str) -> SimPort {
    SimPort::open(&format!("sim:esp32c3,line=usb{spec}")).unwrap()
}

fn read(port: &mut SimPort, time: Moment) -> Vec<u8> {
    let mut got = Vec::new();
    let mut buf = [0; 256];
    loop {
        match port.read(&mut buf, time).unwrap() {
            0 => return got,
            len => got.extend_from_slice(&buf[..len]),
        }
    }
}

fn later(port: &SimPort, ms: u64) -> Moment {
    Moment::at(port.now().since_start() + millis(ms))
}

#[test]
fn the_rom_prints_over_usb_and_loads_over_it() {
    for time in ["", ",time=none"] {
        let mut port = port(time);
        let until = later(&port, 50);
        let printed = String::from_utf8(read(&mut port, until)).unwrap();
        assert!(printed.starts_with("ESP-ROM:esp32c3-api1-20210207\r\n"), "{printed}");
        assert!(printed.contains("rst:0x1 (POWERON)"), "{printed}");
        // Enter download mode as the vendor's tool does.
        for (dtr, rts) in
            [(false, false), (true, false), (true, true), (false, true), (false, false)]
        {
            port.set_lines(dtr, rts).unwrap();
            let until = later(&port, 100);
            port.wait_until(until).unwrap();
        }
        let until = later(&port, 50);
        let printed = String::from_utf8(read(&mut port, until)).unwrap();
        assert!(printed.contains("rst:0x15 (USB_UART_CHIP_RESET),boot:0x4 (DOWNLOAD"), "{printed}");
        assert!(printed.ends_with("waiting for download\r\n"), "{printed}");
        // The host's baud rate does not matter.
        port.set_baud(9600).unwrap();
        port.write(&slip::encode(&[0, 8, 4, 0, 0, 0, 0, 0, 7, 7, 0x12, 0x20])).unwrap();
        let until = later(&port, 100);
        assert_eq!(read(&mut port, until).len(), 8 * 14);
        // Leave download mode.
        port.set_lines(false, true).unwrap();
        port.set_lines(false, false).unwrap();
        let until = later(&port, 20);
        let printed = String::from_utf8(read(&mut port, until)).unwrap();
        assert!(printed.contains("rst:0x15 (USB_UART_CHIP_RESET),boot:0xc (SPI"), "{printed}");
    }
}

#[test]
fn the_cable_can_be_moved() {
    let chip = ChipDb::embedded().find("esp32c3").unwrap();
    let timing = &chip.sim.as_ref().unwrap().flash;
    let nor = esplice_sim::nor::Nor::in_memory(timing.size(), timing);
    let mut board = Board::with_flash(chip, nor, TimeMode::Virtual).unwrap();
    assert_eq!(board.cable(), Cable::Uart);
    assert!(!board.run_for(millis(50)).unwrap().is_empty());
    board.plug(Cable::Usb);
    let printed = board.run_for(millis(1500)).unwrap();
    let printed = String::from_utf8(printed).unwrap();
    assert!(printed.contains("invalid header: 0xffffffff\r\nESP-ROM:"), "{}", printed.len());
}
