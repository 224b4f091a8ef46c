//! Enters deep sleep twice, first for a time and then until a pin is high, and prints each time why
//! it woke and how often it has booted.

#![no_std]
#![no_main]

use esp_backtrace as _;
use esp_hal::{
    gpio::{Event, Input, InputConfig, Pull, WakeupConfig},
    main, ram,
    rtc_cntl::{
        SocResetReason, reset_reason,
        sleep::{LowPower, RtcSleepConfig},
        wakeup_cause,
    },
    system::Cpu,
    time::{Duration, Instant},
};
use esp_println::print;

esp_bootloader_esp_idf::esp_app_desc!();

/// Boot counter in RTC memory, which is kept while the chip sleeps.
#[ram(unstable(rtc_fast, persistent))]
static mut BOOTS: u32 = 0;

#[main]
fn main() -> ! {
    let peripherals = esp_hal::init(esp_hal::Config::default());
    // SAFETY: nothing else runs.
    let boots = unsafe {
        BOOTS += 1;
        BOOTS
    };
    let slept = reset_reason(Cpu::ProCpu) == Some(SocResetReason::CoreDeepSleep);
    print!("boot {boots}, from deep sleep: {slept}, woken by");
    for source in wakeup_cause().iter() {
        print!(" {source:?}");
    }
    print!("\r\n");

    let mut power = LowPower::new(peripherals.LPWR);
    match boots {
        1 => power.set_wakeup_deadline(Instant::now() + Duration::from_millis(100)),
        2 => {
            let mut pin =
                Input::new(peripherals.GPIO3, InputConfig::default().with_pull(Pull::Down));
            pin.listen(Event::HighLevel);
            let wakeup = WakeupConfig::default().with_low_power_path(true);
            pin.apply_wakeup_config(&wakeup).unwrap();
        }
        _ => loop {
            core::hint::spin_loop();
        },
    }
    power.sleep_deep(RtcSleepConfig::deep())
}
