//! Uses only USB-Serial-JTAG: prints a line, then sends back received text in capitals.

#![no_std]
#![no_main]

use esp_backtrace as _;
use esp_hal::{main, usb::usb_serial_jtag::UsbSerialJtag};

esp_bootloader_esp_idf::esp_app_desc!();

#[main]
fn main() -> ! {
    let peripherals = esp_hal::init(esp_hal::Config::default());
    let mut usb = UsbSerialJtag::new(peripherals.USB_DEVICE);
    let _ = usb.write(b"usb ready\r\n");

    loop {
        if let Ok(byte) = usb.read_byte() {
            let _ = usb.write(&[byte.to_ascii_uppercase()]);
        }
    }
}
