//! Prints `ready`, then copies the level of pin 4 to pin 5, and answers each line received over
//! UART0 by repeating it with a random number.

#![no_std]
#![no_main]

use esp_backtrace as _;
use esp_hal::{
    gpio::{Input, InputConfig, Level, Output, OutputConfig, Pull},
    main,
    rng::Rng,
    uart::{Config, Uart},
};
use esp_println::print;

esp_bootloader_esp_idf::esp_app_desc!();

#[main]
fn main() -> ! {
    let peripherals = esp_hal::init(esp_hal::Config::default());
    let button = Input::new(peripherals.GPIO4, InputConfig::default().with_pull(Pull::Down));
    let mut lamp = Output::new(peripherals.GPIO5, Level::Low, OutputConfig::default());
    let mut uart = Uart::new(peripherals.UART0, Config::default())
        .unwrap()
        .with_rx(peripherals.GPIO20)
        .with_tx(peripherals.GPIO21);
    let rng = Rng::new();
    print!("ready\r\n");

    let mut line = [0; 64];
    let mut len = 0;
    loop {
        lamp.set_level(button.level());
        let mut byte = [0];
        if uart.read_ready() && uart.read(&mut byte).is_ok() {
            match byte[0] {
                b'\n' => {
                    let text = core::str::from_utf8(&line[..len]).unwrap_or("?");
                    print!("you said {text}, I say {}\r\n", rng.random());
                    len = 0;
                }
                b'\r' => {}
                byte if len < line.len() => {
                    line[len] = byte;
                    len += 1;
                }
                _ => {}
            }
        }
    }
}
