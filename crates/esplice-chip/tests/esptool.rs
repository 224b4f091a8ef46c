//! Every file of `targets/` against the constants of the installed esptool, so that no value is
//! invented. esptool's own Python prints them; without it the test fails.

use std::{collections::BTreeMap, env, path::PathBuf, process::Command};

use esplice_chip::{Addr, Chip};

/// Prints the attributes named after it, for each chip named before, a line each:
/// `chip attribute value`, and `chip attribute name value` for a table.
const PRINT: &str = r#"
import sys
from esptool.targets import CHIP_DEFS
chips, names = sys.argv[1].split(","), sys.argv[2].split(",")
for chip in chips:
    for name in names:
        value = getattr(CHIP_DEFS[chip], name, None)
        for key, item in value.items() if isinstance(value, dict) else [("", value)]:
            print(chip, name, key, "none" if item is None else int(item))
"#;

type OfOurs = fn(&Chip) -> Option<u32>;

/// Attributes of esptool's, and the same value in our data; `None` where the chip has none.
const CONSTANTS: &[(&str, OfOurs)] = &[
    ("IMAGE_CHIP_ID", |chip| Some(chip.image.chip_id.into())),
    ("BOOTLOADER_FLASH_OFFSET", |chip| Some(chip.image.boot_offset.0)),
    ("ESP_ROM_BAUD", |chip| Some(chip.loader.initial_baud)),
    ("ESP_RAM_BLOCK", |chip| Some(chip.loader.ram_block)),
    ("FLASH_WRITE_SIZE", |chip| Some(chip.loader.rom_block)),
    ("STATUS_BYTES_LENGTH", |chip| u32::try_from(chip.loader.status_len).ok()),
    ("CHIP_DETECT_MAGIC_REG_ADDR", |chip| Some(chip.loader.magic_addr.0)),
    ("SPI_REG_BASE", |chip| Some(chip.spi.base.0)),
    ("SPI_USR_OFFS", |chip| Some(chip.spi.usr)),
    ("SPI_USR2_OFFS", |chip| Some(chip.spi.usr2)),
    ("SPI_MISO_DLEN_OFFS", |chip| Some(chip.spi.miso_dlen)),
    ("SPI_W0_OFFS", |chip| Some(chip.spi.w0)),
    // The controller's registers begin at a multiple of 0x800, its read blocks lie within.
    ("EFUSE_BASE", |chip| chip.efuse.blocks.first().map(|block| block.addr.0 & !0x7ff)),
    // Register of a field's first word, and its bits there.
    ("MAC_EFUSE_REG", |chip| first_addr(chip, "mac")),
    ("EFUSE_SPI_BOOT_CRYPT_CNT_REG", |chip| first_addr(chip, "spi-boot-crypt-cnt")),
    ("EFUSE_SPI_BOOT_CRYPT_CNT_MASK", |chip| mask(chip, "spi-boot-crypt-cnt")),
    ("EFUSE_SECURE_BOOT_EN_REG", |chip| first_addr(chip, "secure-boot-en")),
    ("EFUSE_SECURE_BOOT_EN_MASK", |chip| mask(chip, "secure-boot-en")),
    ("IROM_MAP_START", |chip| flash_window(chip, true)),
    ("USES_MAGIC_VALUE", |chip| Some(u32::from(!chip.loader.security_info))),
];

#[test]
fn values_equal_esptools() {
    let chips = esplice_chip::all();
    let names: Vec<&str> = CONSTANTS.iter().map(|(name, _)| *name).collect();
    let theirs = Constants::ask(chips, &[&names[..], &["FLASH_FREQUENCY", "FLASH_SIZES"]].concat());
    let (mut compared, mut wrong) = (0, Vec::new());
    for chip in chips {
        for (name, ours) in CONSTANTS {
            let (ours, theirs) = (ours(chip), theirs.value(chip, name));
            // What esptool does not have it can't judge.
            if theirs.is_none() {
                continue;
            }
            compared += 1;
            if ours != theirs {
                wrong.push(format!("{} {name}: {ours:x?}, esptool has {theirs:x?}", chip.name));
            }
        }
        let frequencies: BTreeMap<String, u32> =
            chip.image.flash_frequencies.iter().map(|(k, v)| (k.clone(), u32::from(*v))).collect();
        assert_eq!(frequencies, theirs.table(chip, "FLASH_FREQUENCY"), "{}", chip.name);
        // esptool lists sizes that no document gives for the chip: ours are among them.
        let sizes = theirs.table(chip, "FLASH_SIZES");
        for (name, code) in &chip.image.flash_sizes {
            assert_eq!(sizes.get(name), Some(&(u32::from(*code) << 4)), "{} {name}", chip.name);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(compared >= 16 * chips.len(), "only {compared} values were compared");
}

fn first_addr(chip: &Chip, field: &str) -> Option<u32> {
    chip.efuse.field(field)?.addrs().first().map(|addr| addr.0)
}

/// Bits of a field of one piece in its word.
fn mask(chip: &Chip, field: &str) -> Option<u32> {
    match chip.efuse.field(field)?.bits.as_slice() {
        [range] => Some((((1_u64 << range.count) - 1) << range.bit) as u32),
        _ => None,
    }
}

/// Where flash is mapped for code.
fn flash_window(chip: &Chip, execute: bool) -> Option<u32> {
    let mut regions = chip.regions.iter();
    regions
        .find(|r| r.kind == esplice_chip::RegionKind::Flash && r.access.execute == execute)
        .map(|region| region.addr)
        .map(|Addr(addr)| addr)
}

/// What esptool's Python printed.
struct Constants(BTreeMap<(String, String), Table>);

/// Values by their keys, the key of a lone value empty.
type Table = BTreeMap<String, Option<u32>>;

impl Constants {
    fn ask(chips: &[Chip], names: &[&str]) -> Self {
        let chips: Vec<&str> = chips.iter().map(|chip| chip.name.as_str()).collect();
        let python = python();
        let output = Command::new(&python)
            .args(["-c", PRINT, &chips.join(","), &names.join(",")])
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", python.display()));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "esptool is the judge of this test, and {} can't import it or lacks a chip: {said}\n\
             install it with `pip install esptool==5.6.0`, or name it in ESPLICE_ESPTOOL",
            python.display()
        );
        let mut all: BTreeMap<_, Table> = BTreeMap::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let [chip, name, key, value] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("not a constant: {line:?}");
            };
            let value = (value != "none").then(|| value.parse().expect("a number"));
            all.entry((chip.to_owned(), name.to_owned()))
                .or_default()
                .insert(key.to_owned(), value);
        }
        Self(all)
    }

    fn value(&self, chip: &Chip, name: &str) -> Option<u32> {
        let table = self.0.get(&(chip.name.clone(), name.to_owned()))?;
        table.get("").copied().flatten()
    }

    fn table(&self, chip: &Chip, name: &str) -> BTreeMap<String, u32> {
        let table = self.0.get(&(chip.name.clone(), name.to_owned())).cloned().unwrap_or_default();
        table.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

/// The Python beside the program esptool: that of `ESPLICE_ESPTOOL`, or the first on PATH.
fn python() -> PathBuf {
    let program = env::var_os("ESPLICE_ESPTOOL").map(PathBuf::from).or_else(|| {
        let path = env::var_os("PATH")?;
        env::split_paths(&path).map(|dir| dir.join("esptool")).find(|file| file.is_file())
    });
    let names = ["python", "python3", "python.exe"];
    let beside = program.as_deref().and_then(|program| program.parent());
    beside
        .and_then(|dir| names.iter().map(|name| dir.join(name)).find(|file| file.is_file()))
        // An esptool of the system's own: its Python is that on PATH.
        .unwrap_or_else(|| "python3".into())
}
