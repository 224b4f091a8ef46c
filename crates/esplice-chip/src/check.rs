//! Checks that every chip file must pass, one small function each.

use crate::{Chip, RegionKind};

type Check = fn(&Chip) -> Result<(), String>;

const CHECKS: &[Check] = &[
    name_is_plain,
    regions_do_not_overlap,
    regions_end_below_4_gib,
    layout_regions_lie_in_ram,
    layout_regions_avoid_reserved_ranges,
    image_defaults_are_in_their_tables,
    flash_codes_are_nibbles,
    mmu_pages_are_powers_of_two,
    flash_is_mapped,
    a_chip_without_its_id_has_a_magic_word,
    c_flags_are_flags,
    rust_install_has_processors,
    crystal_detection_needs_other_crystals,
    efuse_fields_are_named_once,
    efuse_conditions_name_fields,
    efuse_blocks_do_not_overlap,
    mac_has_48_bits,
    sim_peripherals_do_not_overlap,
    sim_peripherals_lie_in_their_space,
    sim_calibration_is_in_known_fields,
    sim_flash_has_a_known_size,
];

pub(crate) fn all(chip: &Chip) -> Result<(), String> {
    CHECKS.iter().try_for_each(|check| check(chip))
}

fn name_is_plain(chip: &Chip) -> Result<(), String> {
    let plain = chip.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    (plain && !chip.name.is_empty())
        .then_some(())
        .ok_or_else(|| format!("name {:?} is not made of a-z and 0-9", chip.name))
}

fn regions_do_not_overlap(chip: &Chip) -> Result<(), String> {
    for (i, a) in chip.regions.iter().enumerate() {
        for b in &chip.regions[i + 1..] {
            if a.contains(b.addr) || b.contains(a.addr) {
                return Err(format!("regions {} and {} overlap", a.key, b.key));
            }
            if a.key == b.key {
                return Err(format!("region {} is defined twice", a.key));
            }
        }
    }
    Ok(())
}

fn regions_end_below_4_gib(chip: &Chip) -> Result<(), String> {
    for region in &chip.regions {
        if region.len == 0 || region.addr.0.checked_add(region.len).is_none() {
            return Err(format!(
                "region {} at {} has length 0x{:x}",
                region.key, region.addr, region.len
            ));
        }
    }
    Ok(())
}

fn layout_regions_lie_in_ram(chip: &Chip) -> Result<(), String> {
    let Some(layout) = &chip.layout else { return Ok(()) };
    for region in &layout.regions {
        let around = chip.region_at(region.addr).filter(|r| r.kind == RegionKind::Ram);
        if around.is_none_or(|r| r.bytes_after(region.addr) < region.len) || region.len == 0 {
            return Err(format!("layout region {} lies outside of RAM", region.key));
        }
        if layout.regions.iter().filter(|other| other.key == region.key).count() > 1 {
            return Err(format!("layout region {} is defined twice", region.key));
        }
    }
    Ok(())
}

fn layout_regions_avoid_reserved_ranges(chip: &Chip) -> Result<(), String> {
    let Some(layout) = &chip.layout else { return Ok(()) };
    for region in &layout.regions {
        for reserved in &layout.reserved {
            if region.addr.0 < reserved.end() && reserved.addr.0 < region.end() {
                return Err(format!("layout region {} overlaps {}", region.key, reserved.name));
            }
        }
    }
    Ok(())
}

fn image_defaults_are_in_their_tables(chip: &Chip) -> Result<(), String> {
    let image = &chip.image;
    if !image.flash_frequencies.contains_key(&image.default_flash_freq) {
        return Err(format!("default-flash-freq {:?} has no code", image.default_flash_freq));
    }
    if !image.flash_sizes.contains_key(&image.default_flash_size) {
        return Err(format!("default-flash-size {:?} has no code", image.default_flash_size));
    }
    for size in image.flash_sizes.keys() {
        if crate::parse_size(size).is_none() {
            return Err(format!("flash size {size:?} is not a size"));
        }
    }
    check_flash_mode(Some(&image.default_flash_mode))
}

pub(crate) fn check_flash_mode(mode: Option<&str>) -> Result<(), String> {
    match mode {
        None | Some("qio" | "qout" | "dio" | "dout") => Ok(()),
        Some(mode) => Err(format!("flash mode {mode:?} is not one of qio, qout, dio, dout")),
    }
}

fn flash_codes_are_nibbles(chip: &Chip) -> Result<(), String> {
    let image = &chip.image;
    for (name, code) in image.flash_frequencies.iter().chain(&image.flash_sizes) {
        if *code > 0xf {
            return Err(format!("code 0x{code:x} of {name} does not fit in 4 bits"));
        }
    }
    Ok(())
}

fn mmu_pages_are_powers_of_two(chip: &Chip) -> Result<(), String> {
    match chip.image.mmu_page_sizes.as_slice() {
        [] => Err("mmu-page-sizes is empty".into()),
        sizes => sizes
            .iter()
            .all(|size| size.is_power_of_two())
            .then_some(())
            .ok_or_else(|| format!("mmu-page-sizes {sizes:?} are not powers of two")),
    }
}

fn flash_is_mapped(chip: &Chip) -> Result<(), String> {
    chip.regions
        .iter()
        .any(|region| region.kind == RegionKind::Flash && region.access.execute)
        .then_some(())
        .ok_or_else(|| "no region of kind flash is executable".into())
}

fn a_chip_without_its_id_has_a_magic_word(chip: &Chip) -> Result<(), String> {
    let loader = &chip.loader;
    if loader.magic_addr.is_some() == loader.magic_values.is_empty() {
        return Err("magic-addr and magic-values must be set together".into());
    }
    if loader.security_info_has_chip_id && !loader.security_info {
        return Err("security-info-has-chip-id without security-info".into());
    }
    if !loader.security_info_has_chip_id && loader.magic_values.is_empty() {
        return Err("neither security info nor a magic word identifies the chip".into());
    }
    Ok(())
}

fn rust_install_has_processors(chip: &Chip) -> Result<(), String> {
    let toolchain = &chip.toolchain;
    if toolchain.rust_install.is_some() == toolchain.rust_processors.is_empty() {
        return Err("rust-install and rust-processors must be set together".into());
    }
    Ok(())
}

fn c_flags_are_flags(chip: &Chip) -> Result<(), String> {
    match chip.toolchain.c_flags.iter().find(|flag| !flag.starts_with('-')) {
        Some(flag) => Err(format!("c-flags: {flag:?} is not a flag")),
        None => Ok(()),
    }
}

fn crystal_detection_needs_other_crystals(chip: &Chip) -> Result<(), String> {
    match (&chip.crystal, chip.other_xtal_mhz.is_empty()) {
        (Some(_), true) => {
            Err("[crystal] is set, but other-xtal-mhz lists no other crystal".into())
        }
        (None, false) => Err("other-xtal-mhz lists crystals, but [crystal] is missing".into()),
        _ => Ok(()),
    }
}

fn efuse_fields_are_named_once(chip: &Chip) -> Result<(), String> {
    for (i, field) in chip.efuse.fields.iter().enumerate() {
        if chip.efuse.fields[..i].iter().any(|other| other.name == field.name) {
            return Err(format!("efuse field {:?} is defined twice", field.name));
        }
    }
    Ok(())
}

fn efuse_conditions_name_fields(chip: &Chip) -> Result<(), String> {
    for condition in &chip.efuse.first_revision {
        let name = &condition.field;
        if chip.efuse.field(name).is_none() {
            return Err(format!("first-revision uses {name:?}, which is not an efuse field"));
        }
        if condition.value & !condition.mask != 0 {
            return Err(format!("first-revision: {name} can't be {:#x}", condition.value));
        }
    }
    Ok(())
}

fn efuse_blocks_do_not_overlap(chip: &Chip) -> Result<(), String> {
    let end = |block: &crate::EfuseBlock| u64::from(block.addr.0) + 4 * u64::from(block.words);
    for (i, a) in chip.efuse.blocks.iter().enumerate() {
        for b in &chip.efuse.blocks[i + 1..] {
            if u64::from(a.addr.0) < end(b) && u64::from(b.addr.0) < end(a) {
                return Err(format!("efuse blocks {} and {} overlap", a.name, b.name));
            }
        }
    }
    Ok(())
}

fn mac_has_48_bits(chip: &Chip) -> Result<(), String> {
    let field = chip.efuse.field("mac").ok_or("no efuse field is called mac")?;
    match field.bits.iter().map(|range| range.count).sum() {
        48_u32 => Ok(()),
        bits => Err(format!("efuse field mac has {bits} bits, a MAC address has 48")),
    }
}

fn sim_peripherals_do_not_overlap(chip: &Chip) -> Result<(), String> {
    let Some(sim) = &chip.sim else { return Ok(()) };
    for (i, a) in sim.peripherals.iter().enumerate() {
        for b in &sim.peripherals[i + 1..] {
            let apart = b.addr_end() <= u64::from(a.base.0) || a.addr_end() <= u64::from(b.base.0);
            if !apart {
                return Err(format!("peripherals {} and {} overlap", a.name, b.name));
            }
        }
    }
    Ok(())
}

fn sim_peripherals_lie_in_their_space(chip: &Chip) -> Result<(), String> {
    let Some(sim) = &chip.sim else { return Ok(()) };
    let inside = |p: &&crate::Peripheral| {
        let mut spaces = sim.peripheral_spaces.iter();
        spaces.any(|space| p.base.0 >= space.addr.0 && p.addr_end() <= u64::from(space.end()))
    };
    match sim.peripherals.iter().find(|peripheral| !inside(peripheral)) {
        Some(outside) => {
            Err(format!("peripheral {} lies outside of peripheral-spaces", outside.name))
        }
        None => Ok(()),
    }
}

fn sim_calibration_is_in_known_fields(chip: &Chip) -> Result<(), String> {
    let Some(adc) = chip.sim.as_ref().and_then(|sim| sim.adc.as_ref()) else { return Ok(()) };
    match adc.calibration.iter().find(|(field, _)| chip.efuse.field(field).is_none()) {
        Some((field, _)) => Err(format!("sim.adc.calibration: no efuse field is called {field}")),
        None => Ok(()),
    }
}

fn sim_flash_has_a_known_size(chip: &Chip) -> Result<(), String> {
    let Some(sim) = &chip.sim else { return Ok(()) };
    let size = sim.flash.size();
    chip.image
        .flash_size_code(size)
        .map(|_| ())
        .ok_or_else(|| format!("flash of {size} bytes has no code in flash-sizes"))
}

impl crate::Peripheral {
    fn addr_end(&self) -> u64 {
        u64::from(self.base.0) + u64::from(self.len)
    }
}
