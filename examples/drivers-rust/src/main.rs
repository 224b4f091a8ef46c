//! A sensor node for an ESP32-C3, -C6 or -H2: a temperature sensor (TMP102) and an EEPROM (24C32)
//! on I2C, a voltage at an analog input, a button, and a second UART that answers each line.
//!
//! | pin | connected to |
//! |-----|--------------|
//! | 0, 1 | RX and TX of the second UART |
//! | 2 | analog input |
//! | 3 | button to ground |
//! | 4, 5 | SDA and SCL |
//! | 8 | pulses of the remote control peripheral: 10, 20 and 30 microseconds |
//! | 10 | PWM: 5 kHz, one quarter high. esp-hal 1.2.2 makes it 10 kHz on the ESP32-C6 and 1.7 kHz on the -H2. |

#![no_std]
#![no_main]

use core::cell::{Cell, RefCell};

use critical_section::Mutex;
use esp_backtrace as _;
use esp_hal::{
    Blocking,
    analog::adc::{Adc, AdcCalCurve, AdcConfig, Attenuation},
    delay::Delay,
    gpio::{DriveMode, Event, Input, InputConfig, Io, Level, Pull},
    handler,
    i2c::master::{Config as I2cConfig, Error, I2c},
    ledc::{
        LSGlobalClkSource, Ledc, LowSpeed,
        channel::{self, ChannelIFace},
        timer::{self, TimerIFace},
    },
    main,
    rmt::{PulseCode, Rmt, TxChannelConfig, TxChannelCreator},
    time::Rate,
    uart::{Config as UartConfig, Uart},
};
use esp_println::print;

esp_bootloader_esp_idf::esp_app_desc!();

/// I2C addresses.
const SENSOR: u8 = 0x48;
const EEPROM: u8 = 0x50;
/// Address in the EEPROM of the number of starts.
const STARTS: u16 = 0x0ffe;

/// The button, which the interrupt handler needs.
static BUTTON: Mutex<RefCell<Option<Input<'static>>>> = Mutex::new(RefCell::new(None));
static PRESSED: Mutex<Cell<u32>> = Mutex::new(Cell::new(0));

/// Counts how often the button was pressed.
#[handler]
fn on_pin() {
    critical_section::with(|cs| {
        if let Some(button) = BUTTON.borrow_ref_mut(cs).as_mut()
            && button.is_interrupt_set()
        {
            button.clear_interrupt();
            PRESSED.borrow(cs).set(PRESSED.borrow(cs).get() + 1);
        }
    });
}

#[main]
fn main() -> ! {
    let peripherals = esp_hal::init(esp_hal::Config::default());
    let delay = Delay::new();

    let mut io = Io::new(peripherals.IO_MUX);
    io.set_interrupt_handler(on_pin);
    let mut button = Input::new(peripherals.GPIO3, InputConfig::default().with_pull(Pull::Up));
    critical_section::with(|cs| {
        button.listen(Event::FallingEdge);
        BUTTON.borrow_ref_mut(cs).replace(button);
    });

    let mut uart = Uart::new(peripherals.UART1, UartConfig::default())
        .expect("the baud rate is possible")
        .with_rx(peripherals.GPIO0)
        .with_tx(peripherals.GPIO1);

    let frequency = I2cConfig::default().with_frequency(Rate::from_khz(400));
    let mut i2c = I2c::new(peripherals.I2C0, frequency)
        .expect("the frequency is possible")
        .with_sda(peripherals.GPIO4)
        .with_scl(peripherals.GPIO5);

    let mut config = AdcConfig::new();
    let mut input =
        config.enable_pin_with_cal::<_, AdcCalCurve<_>>(peripherals.GPIO2, Attenuation::_11dB);
    let mut adc = Adc::new(peripherals.ADC1, config);

    let mut ledc = Ledc::new(peripherals.LEDC);
    ledc.set_global_slow_clock(LSGlobalClkSource::APBClk);
    let mut period = ledc.timer::<LowSpeed>(timer::Number::Timer0);
    period
        .configure(timer::config::Config {
            duty: timer::config::Duty::Duty8Bit,
            clock_source: timer::LSClockSource::APBClk,
            frequency: Rate::from_khz(5),
        })
        .expect("the frequency is possible");
    let mut light = ledc.channel(channel::Number::Channel0, peripherals.GPIO10);
    light
        .configure(channel::config::Config {
            timer: &period,
            duty_pct: 25,
            drive_mode: DriveMode::PushPull,
        })
        .expect("the timer is set");

    // The channel counts microseconds.
    let megahertz: u8 = if cfg!(feature = "esp32h2") { 32 } else { 80 };
    let rmt = Rmt::new(peripherals.RMT, Rate::from_mhz(megahertz.into()))
        .expect("the frequency is possible");
    let config = TxChannelConfig::default()
        .with_clk_divider(megahertz)
        .with_idle_output(true)
        .with_idle_output_level(Level::Low);
    let mut remote =
        rmt.channel0.configure_tx(&config).expect("the memory is free").with_pin(peripherals.GPIO8);
    let code = [
        PulseCode::new(Level::High, 10, Level::Low, 10),
        PulseCode::new(Level::High, 20, Level::Low, 10),
        PulseCode::new(Level::High, 30, Level::Low, 10),
        PulseCode::end_marker(),
    ];

    match count_start(&mut i2c, &delay) {
        Ok(starts) => print!("start {starts}\r\n"),
        Err(error) => print!("no EEPROM: {error:?}\r\n"),
    }
    let mut line = [0_u8; 64];
    let mut len = 0;
    let mut pressed = 0;
    loop {
        match temperature(&mut i2c) {
            // In hundredths of a degree.
            Ok(hundredths) => print!("temperature {hundredths}\r\n"),
            Err(error) => print!("no sensor: {error:?}\r\n"),
        }
        let millivolts = loop {
            if let Ok(millivolts) = adc.read_oneshot(&mut input) {
                break millivolts;
            }
        };
        print!("input {millivolts}\r\n");
        remote = match remote.transmit(&code).map(|transmission| transmission.wait()) {
            Ok(Ok(channel) | Err((_, channel))) => channel,
            Err((_, channel)) => channel,
        };
        let now_pressed = critical_section::with(|cs| PRESSED.borrow(cs).get());
        if now_pressed != pressed {
            pressed = now_pressed;
            print!("pressed {pressed}\r\n");
        }
        for _ in 0..100 {
            delay.delay_millis(1);
            answer(&mut uart, &mut line, &mut len);
        }
    }
}

/// Reads the temperature in hundredths of a degree.
fn temperature(i2c: &mut I2c<'_, Blocking>) -> Result<i32, Error> {
    let mut register = [0; 2];
    i2c.write_read(SENSOR, &[0], &mut register)?;
    // Twelve bits of 0.0625 degrees.
    let sixteenths = i32::from(i16::from_be_bytes(register) >> 4);
    Ok(sixteenths * 100 / 16)
}

/// Increments the number of starts in the EEPROM and returns it.
fn count_start(i2c: &mut I2c<'_, Blocking>, delay: &Delay) -> Result<u16, Error> {
    let [high, low] = STARTS.to_be_bytes();
    let mut stored = [0; 2];
    i2c.write_read(EEPROM, &[high, low], &mut stored)?;
    // An erased memory holds 0xffff.
    let starts = u16::from_be_bytes(stored).wrapping_add(1);
    let [first, second] = starts.to_be_bytes();
    i2c.write(EEPROM, &[high, low, first, second])?;
    // The EEPROM does not answer while it writes.
    let mut tries = 0;
    while i2c.write(EEPROM, &[high, low]).is_err() && tries < 100 {
        tries += 1;
        delay.delay_micros(100);
    }
    print!("written after {tries} tries\r\n");
    Ok(starts)
}

/// Answers a line on the second UART with its length.
fn answer(uart: &mut Uart<'_, Blocking>, line: &mut [u8; 64], len: &mut usize) {
    let mut piece = [0; 16];
    while uart.read_ready()
        && let Ok(read) = uart.read(&mut piece)
    {
        for byte in piece.iter().take(read) {
            if *byte == b'\n' {
                let number = [b'0' + (*len / 10) as u8, b'0' + (*len % 10) as u8];
                for text in [&line[..*len], b" has ", &number, b" bytes\r\n"] {
                    send(uart, text);
                }
                *len = 0;
            } else if *len < line.len() {
                line[*len] = *byte;
                *len += 1;
            }
        }
    }
}

/// Sends all of a text.
fn send(uart: &mut Uart<'_, Blocking>, mut text: &[u8]) {
    while let Ok(sent) = uart.write(text)
        && sent < text.len()
    {
        text = &text[sent..];
    }
}
