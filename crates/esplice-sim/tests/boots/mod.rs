//! Boots whole firmware of many kinds and checks its output.
//!
//! Each case runs once for each kind of mask ROM ([`bench::Rom`]) and expects the same output from
//! both.
//!
//! The second-stage bootloader is the real one from the espflash library. Firmware is compiled from
//! `tests/firmware/boots` by the toolchain that `esplice build` uses.

mod bench;
mod crash;
mod esp_hal;
mod flash;
mod library;
mod ota;
mod own_test;
mod rom_loaded;
mod splice;
mod wild;

#[test]
fn a_rom_function_that_is_not_modelled_is_named() {
    flash::a_rom_function_that_is_not_modelled_is_named(&bench::Rom::Hooked);
}

/// Makes tests of cases with one kind of ROM.
macro_rules! cases {
    ($rom:ident: $($module:ident: $($case:ident),+;)+) => {
        $($(#[test]
        fn $case() {
            super::$module::$case(&super::bench::Rom::$rom);
        })+)+
    };
}

/// Makes tests of cases with each kind of ROM.
macro_rules! cases_of_both {
    ($($cases:tt)+) => {
        mod hooked {
            cases!(Hooked: $($cases)+);
        }
        mod executed {
            cases!(Executed: $($cases)+);
        }
    };
}

cases_of_both! {
    esp_hal: heap_and_panic, stack_overflow, tasks_timers_and_interrupts, usb, deep_sleep, a_delay;
    flash: good_image, blank_flash, broken_images, a_crash_before_the_app_has_vectors,
        the_loader_answers_at_the_host_s_rate, time_none_says_the_same_sooner,
        images_without_a_second_stage,
        every_reset_has_its_reason, stored_registers_outlive_resets_but_not_power,
        straps_choose_the_loader;
    ota: a_record_with_a_wrong_crc, no_records, every_state, a_crash_in_a_trial_boot_is_tried_again,
        an_app_that_updates_itself_and_rolls_back;
    rom_loaded: an_image_that_maps_flash_itself, an_app_in_the_bootloader_s_place, the_rom_s_data;
    wild: wild_jumps, endless_traps, illegal_mmu_entries, firmware_that_spins, endless_interrupts,
        code_that_changes_itself;
}
