//! Updates itself without a network: copies its own slot to the other one and starts that on trial.
//! The trial hangs until the watchdog resets the chip; at the next start it is given up and the old
//! slot is started again.

#![no_std]
#![no_main]

use esp_backtrace as _;
use esp_bootloader_esp_idf::{
    ota::OtaImageState,
    ota_updater::OtaUpdater,
    partitions::{FlashStorage, PARTITION_TABLE_MAX_LEN, read_partition_table},
};
use esp_hal::{
    delay::Delay,
    main,
    rtc_cntl::{Rtc, RwdtStage},
    system::software_reset,
    time::Duration,
};
use esp_println::print;

esp_bootloader_esp_idf::esp_app_desc!();

/// Number of bytes of a slot to copy.
const COPIED: u32 = 0x2_0000;
const SECTOR: usize = 0x1000;

#[main]
fn main() -> ! {
    let peripherals = esp_hal::init(esp_hal::Config::default());
    let mut flash = FlashStorage::new(peripherals.FLASH);
    let mut table = [0; PARTITION_TABLE_MAX_LEN];
    // The slot that the MMU maps, not the one that otadata selects.
    let table_read = read_partition_table(&mut flash, &mut table).unwrap();
    let booted = table_read.booted_partition().unwrap().unwrap();
    let (trial, base) = (booted.label_as_str().starts_with("ota_1"), booted.offset());
    let mut again = [0; PARTITION_TABLE_MAX_LEN];
    let mut updater = OtaUpdater::new(&mut flash, &mut again).unwrap();
    let state = updater.current_ota_state().ok();
    print!("ota_{} runs, the record says {state:?}\r\n", u8::from(trial));

    match (trial, state) {
        // The bootloader has just created the records.
        (false, Some(OtaImageState::Valid)) => {
            let mut sector = [0; SECTOR];
            // SAFETY: the updater uses the flash between these reads, never during one.
            let mut own = FlashStorage::new(unsafe { esp_hal::peripherals::FLASH::steal() });
            let (mut other, _) = updater.next_partition().unwrap();
            other.erase(0, COPIED).unwrap();
            for at in (0..COPIED).step_by(SECTOR) {
                own.read(base + at, &mut sector).unwrap();
                other.write(at, &sector).unwrap();
            }
            updater.activate_next_partition().unwrap();
            updater.set_current_ota_state(OtaImageState::New).unwrap();
            print!("updated\r\n");
            restart()
        }
        (true, Some(OtaImageState::New)) => {
            updater.set_current_ota_state(OtaImageState::PendingVerify).unwrap();
            print!("on trial\r\n");
            let mut rtc = Rtc::new(peripherals.RTC_TIMER);
            rtc.rwdt.set_timeout(RwdtStage::Stage0, Duration::from_millis(100));
            rtc.rwdt.enable();
        }
        (true, Some(OtaImageState::PendingVerify)) => {
            updater.set_current_ota_state(OtaImageState::Aborted).unwrap();
            print!("the trial is given up\r\n");
            restart()
        }
        _ => print!("stays\r\n"),
    }
    loop {
        core::hint::spin_loop();
    }
}

/// Resets the chip after all output has left the FIFO, because a reset empties it.
fn restart() -> ! {
    Delay::new().delay_millis(5);
    software_reset()
}
