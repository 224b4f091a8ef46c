//! Compares every file of `targets/` with the constants of the installed esptool, so that no value
//! is invented. esptool's own Python prints them. Without esptool the tests fail.

use std::{collections::BTreeMap, env, path::PathBuf, process::Command, sync::Arc};

use esplice_chip::{Addr, Chip, ChipDb};

/// Prints attributes of chips: the first argument lists the chips, the second the attributes. Each
/// line is `chip attribute value`, or `chip attribute name value` for a table.
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

/// esptool's attributes and the same values in our data; `None` if the chip has none.
const CONSTANTS: &[(&str, OfOurs)] = &[
    ("IMAGE_CHIP_ID", |chip| Some(chip.image.chip_id.into())),
    ("BOOTLOADER_FLASH_OFFSET", |chip| Some(chip.image.boot_offset.0)),
    ("UF2_FAMILY_ID", |chip| Some(chip.image.uf2_family)),
    ("ESP_ROM_BAUD", |chip| Some(chip.loader.initial_baud)),
    ("ESP_RAM_BLOCK", |chip| Some(chip.loader.ram_block)),
    ("FLASH_WRITE_SIZE", |chip| Some(chip.loader.rom_block)),
    ("STATUS_BYTES_LENGTH", |chip| u32::try_from(chip.loader.status_len).ok()),
    ("CHIP_DETECT_MAGIC_REG_ADDR", |chip| {
        // esptool has this address for all chips. Chip files leave it out if it is in flash.
        Some(chip.loader.magic_addr.map_or(0x4000_1000, |addr| addr.0))
    }),
    ("SPI_REG_BASE", |chip| Some(chip.spi.base.0)),
    ("SPI_USR_OFFS", |chip| Some(chip.spi.usr)),
    ("SPI_USR1_OFFS", |chip| Some(chip.spi.usr1)),
    ("SPI_USR2_OFFS", |chip| Some(chip.spi.usr2)),
    ("SPI_MOSI_DLEN_OFFS", |chip| Some(chip.spi.mosi_dlen)),
    ("SPI_MISO_DLEN_OFFS", |chip| Some(chip.spi.miso_dlen)),
    ("SPI_W0_OFFS", |chip| Some(chip.spi.w0)),
    ("SPI_ADDR_REG_MSB", |chip| Some(chip.spi.addr_high.into())),
    // The controller's registers are aligned to 0x800, and its read blocks lie among them.
    ("EFUSE_BASE", |chip| chip.efuse.blocks.first().map(|block| block.addr.0 & !0x7ff)),
    // Register of a field's first word, and the field's bits in it.
    ("MAC_EFUSE_REG", |chip| first_addr(chip, "mac")),
    ("EFUSE_SPI_BOOT_CRYPT_CNT_REG", |chip| first_addr(chip, "spi-boot-crypt-cnt")),
    ("EFUSE_SPI_BOOT_CRYPT_CNT_MASK", |chip| mask(chip, "spi-boot-crypt-cnt")),
    ("EFUSE_BLOCK1_ADDR", |chip| block(chip, "block1")),
    ("EFUSE_BLOCK2_ADDR", |chip| block(chip, "block2")),
    ("EFUSE_DIS_DOWNLOAD_MANUAL_ENCRYPT_REG", |chip| {
        first_addr(chip, "dis-download-manual-encrypt")
    }),
    ("EFUSE_DIS_DOWNLOAD_MANUAL_ENCRYPT", |chip| mask(chip, "dis-download-manual-encrypt")),
    ("EFUSE_PURPOSE_KEY0_REG", |chip| first_addr(chip, "key-purpose-0")),
    ("EFUSE_PURPOSE_KEY1_REG", |chip| first_addr(chip, "key-purpose-1")),
    ("EFUSE_PURPOSE_KEY2_REG", |chip| first_addr(chip, "key-purpose-2")),
    ("EFUSE_PURPOSE_KEY3_REG", |chip| first_addr(chip, "key-purpose-3")),
    ("EFUSE_PURPOSE_KEY4_REG", |chip| first_addr(chip, "key-purpose-4")),
    ("EFUSE_PURPOSE_KEY5_REG", |chip| first_addr(chip, "key-purpose-5")),
    ("EFUSE_PURPOSE_KEY0_SHIFT", |chip| first_bit(chip, "key-purpose-0")),
    ("EFUSE_PURPOSE_KEY1_SHIFT", |chip| first_bit(chip, "key-purpose-1")),
    ("EFUSE_PURPOSE_KEY2_SHIFT", |chip| first_bit(chip, "key-purpose-2")),
    ("EFUSE_PURPOSE_KEY3_SHIFT", |chip| first_bit(chip, "key-purpose-3")),
    ("EFUSE_PURPOSE_KEY4_SHIFT", |chip| first_bit(chip, "key-purpose-4")),
    ("EFUSE_PURPOSE_KEY5_SHIFT", |chip| first_bit(chip, "key-purpose-5")),
    ("EFUSE_SECURE_BOOT_EN_REG", |chip| first_addr(chip, "secure-boot-en")),
    ("EFUSE_SECURE_BOOT_EN_MASK", |chip| mask(chip, "secure-boot-en")),
    ("IROM_MAP_START", |chip| flash_window(chip, true)),
    ("SECURITY_INFO_SUPPORTED", |chip| Some(chip.loader.security_info.into())),
    ("USES_MAGIC_VALUE", |chip| Some(u32::from(!chip.loader.security_info_has_chip_id))),
    ("MAGIC_VALUE", |chip| {
        let magic = chip.loader.magic_values.first().copied();
        magic.filter(|_| !chip.loader.security_info_has_chip_id)
    }),
    ("USB_SERIAL_JTAG_SUPPORTED", |chip| Some(chip.reset.usb_serial_jtag_id.is_some().into())),
    ("USB_JTAG_SERIAL_PID", |chip| Some(chip.reset.usb_serial_jtag_id?.pid.into())),
    ("USB_OTG_BLOCK_SIZE", |chip| Some(chip.usb_otg.as_ref()?.ram_block)),
    ("RTC_CNTL_WDTCONFIG0_REG", |chip| Some(chip.watchdog.rtc?.config0.0)),
    ("RTC_CNTL_WDTCONFIG1_REG", |chip| Some(chip.watchdog.rtc?.config1.0)),
    ("RTC_CNTL_WDTWPROTECT_REG", |chip| Some(chip.watchdog.rtc?.protect.0)),
    ("RTC_CNTL_WDT_WKEY", |chip| Some(chip.watchdog.rtc?.key)),
    ("RTC_CNTL_SWD_CONF_REG", |chip| Some(chip.watchdog.superior?.config.0)),
    ("RTC_CNTL_SWD_AUTO_FEED_EN", |chip| Some(chip.watchdog.superior?.auto_feed)),
    ("RTC_CNTL_SWD_WPROTECT_REG", |chip| Some(chip.watchdog.superior?.protect.0)),
    ("RTC_CNTL_SWD_WKEY", |chip| Some(chip.watchdog.superior?.key)),
    ("WATCHDOG_RESET_SUPPORTED", |chip| Some(chip.watchdog.resets_chip.into())),
];

#[test]
fn values_equal_esptools() {
    let chips: Vec<_> = ChipDb::embedded().chips().cloned().collect();
    let names: Vec<&str> = CONSTANTS.iter().map(|(name, _)| *name).collect();
    let theirs =
        Constants::ask(&chips, &[&names[..], &["FLASH_FREQUENCY", "FLASH_SIZES"]].concat());
    let (mut compared, mut wrong) = (0, Vec::new());
    for chip in &chips {
        for (name, ours) in CONSTANTS {
            let (ours, theirs) = (ours(chip), theirs.value(chip, name));
            // Skip values that esptool does not have.
            if theirs.is_none() || is_inherited(chip, name) {
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
        // esptool lists sizes that no document of the chip mentions, so ours may be fewer.
        let sizes = theirs.table(chip, "FLASH_SIZES");
        for (name, code) in &chip.image.flash_sizes {
            assert_eq!(sizes.get(name), Some(&(u32::from(*code) << 4)), "{} {name}", chip.name);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(compared >= 16 * chips.len(), "only {compared} values were compared");
}

/// Returns whether esptool's constant is inherited from another chip and unused: its classes derive
/// from that of the ESP32 and from one another.
fn is_inherited(chip: &Chip, name: &str) -> bool {
    match name {
        // The word is known only if it identifies the chip.
        "MAGIC_VALUE" => chip.loader.security_info_has_chip_id,
        // esptool reads the block with the MAC address.
        "EFUSE_BLOCK1_ADDR" => block(chip, "block1") != first_addr(chip, "mac"),
        "USB_JTAG_SERIAL_PID" => chip.reset.usb_serial_jtag_id.is_none(),
        "USB_OTG_BLOCK_SIZE" => chip.usb_otg.is_none(),
        // Chips with fewer keys, or with key purposes that follow from the number of keys.
        name if name.starts_with("EFUSE_PURPOSE_KEY") => {
            let number = name.trim_start_matches("EFUSE_PURPOSE_KEY").get(..1).unwrap_or_default();
            chip.efuse.field(&format!("key-purpose-{number}")).is_none()
        }
        _ => false,
    }
}

fn block(chip: &Chip, name: &str) -> Option<u32> {
    chip.efuse.blocks.iter().find(|block| block.name == name).map(|block| block.addr.0)
}

fn first_bit(chip: &Chip, field: &str) -> Option<u32> {
    chip.efuse.field(field)?.bits.first().map(|range| range.bit)
}

fn first_addr(chip: &Chip, field: &str) -> Option<u32> {
    chip.efuse.field(field)?.addrs().first().map(|addr| addr.0)
}

/// Returns the mask of a field that is a single bit range.
fn mask(chip: &Chip, field: &str) -> Option<u32> {
    match chip.efuse.field(field)?.bits.as_slice() {
        [range] => Some((((1_u64 << range.count) - 1) << range.bit) as u32),
        _ => None,
    }
}

/// Returns the address at which flash is mapped, for code or for data.
fn flash_window(chip: &Chip, execute: bool) -> Option<u32> {
    let mut regions = chip.regions.iter();
    regions
        .find(|r| r.kind == esplice_chip::RegionKind::Flash && r.access.execute == execute)
        .map(|region| region.addr)
        .map(|Addr(addr)| addr)
}

/// Runs esptool's methods on made-up register contents and prints the results.
const ASK: &str = r#"
import sys
from esptool.targets import CHIP_DEFS
def word(addr, seed):
    value = (addr * 0x9e3779b1 + seed * 0x85ebca6b) & 0xffffffff
    value ^= value >> 15
    return value * 0x2c1b3c6d & 0xffffffff
for chip in sys.argv[1].split(","):
    for seed in range(16):
        rom = CHIP_DEFS[chip].__new__(CHIP_DEFS[chip])
        rom.cache = {}
        rom.read_reg = lambda addr, timeout=None: word(addr, seed)
        for name in sys.argv[2].split(","):
            if hasattr(rom, name):
                value = getattr(rom, name)()
                if name == "read_mac":
                    value = int.from_bytes(bytes(value), "big")
                print(chip, name, seed, int(value))
"#;

/// esptool's methods, the field with the same value, and whether the values must be equal. If
/// esptool combines several fields, the test compares only whether the value is zero.
const METHODS: &[(&str, &str, bool)] = &[
    ("read_mac", "mac", true),
    ("get_major_chip_version", "wafer-version-major", true),
    ("get_minor_chip_version", "wafer-version-minor", true),
    ("get_pkg_version", "pkg-version", true),
    ("get_flash_cap", "flash-cap", true),
    ("get_psram_cap", "psram-cap", true),
    ("get_encrypted_download_disabled", "dis-download-manual-encrypt", false),
];

/// Methods that read from the ESP32-C5's registers, although the chip's own eFuse table has the
/// field elsewhere or not at all (espflash 4.7.0, src/target/efuse/esp32s31.rs).
const BORROWED: &[(&str, &str)] = &[("esp32s31", "get_flash_cap"), ("esp32s31", "get_psram_cap")];

/// Compares the fields of every chip with esptool's reading of the same registers.
#[test]
fn fields_read_as_esptool_reads_them() {
    let chips: Vec<_> = ChipDb::embedded().chips().cloned().collect();
    let names: Vec<&str> = METHODS.iter().map(|(name, ..)| *name).collect();
    let mut compared = 0;
    for line in printed(ASK, &chips, &names).lines() {
        let [chip, method, seed, theirs] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("not a value: {line:?}");
        };
        if BORROWED.contains(&(chip, method)) {
            continue;
        }
        let (seed, theirs): (u32, u64) = (seed.parse().unwrap(), theirs.parse().unwrap());
        let (_, field, exact) = METHODS.iter().find(|(name, ..)| *name == method).unwrap();
        let found = ChipDb::embedded().find(chip).unwrap();
        let Some(field) = found.efuse.field(field) else {
            panic!("{chip} has no field {field}, but esptool reads it with {method}");
        };
        let word = |addr: Addr| {
            let value =
                addr.0.wrapping_mul(0x9e37_79b1).wrapping_add(seed.wrapping_mul(0x85eb_ca6b));
            (value ^ value >> 15).wrapping_mul(0x2c1b_3c6d)
        };
        let ours = field.value(word);
        let same = if *exact { ours == theirs } else { (ours == 0) == (theirs == 0) };
        assert!(same, "{chip} {}, seed {seed}: {ours:#x}, esptool {theirs:#x}", field.name);
        compared += 1;
    }
    assert!(compared >= 16 * 4 * chips.len(), "only {compared} values were compared");
}

/// Prints the revisions that esptool finds for chips with given version fields: `chip versions
/// major minor`, the versions numbered in the order of [`VERSIONS`].
const ASK_REVISIONS: &str = r#"
import sys
from esptool.targets import CHIP_DEFS
for line in sys.stdin:
    chip, versions, *words = line.split()
    words = dict(tuple(int(number) for number in word.split(":")) for word in words)
    rom = CHIP_DEFS[chip].__new__(CHIP_DEFS[chip])
    rom.cache = {}
    rom.read_reg = lambda addr, timeout=None: words.get(addr, 0)
    print(chip, versions, rom.get_major_chip_version(), rom.get_minor_chip_version())
"#;

const VERSIONS: &[(&str, u64)] = &[
    ("wafer-version-major", 4),
    ("wafer-version-minor", 16),
    ("blk-version-major", 4),
    ("blk-version-minor", 8),
];

/// Compares revisions for all values of the version fields. On some chips they depend on more
/// fields.
#[test]
fn revisions_are_told_as_esptool_tells_them() {
    use std::{fmt::Write as _, io::Write as _, process::Stdio};
    let mut questions = String::new();
    let mut ours = BTreeMap::new();
    // For the other chips, another test compares the fields themselves.
    let chips = ChipDb::embedded().chips().filter(|chip| !chip.efuse.first_revision.is_empty());
    for chip in chips {
        for number in 0..VERSIONS.iter().map(|(_, values)| values).product::<u64>() {
            let mut rest = number;
            let mut words: BTreeMap<u32, u32> = BTreeMap::new();
            let mut values = BTreeMap::new();
            for (name, count) in VERSIONS {
                let value = rest % count;
                rest /= count;
                let field = chip.efuse.field(name).unwrap();
                field.put(value, |addr, bits| *words.entry(addr.0).or_default() |= bits);
                values.insert(*name, value);
            }
            let value_of = |name: &str| Ok::<_, ()>(values.get(name).copied().unwrap_or(0));
            ours.insert((chip.name.clone(), number), chip.efuse.revision(value_of).unwrap());
            let _ = write!(questions, "{} {number}", chip.name);
            for (addr, word) in words {
                let _ = write!(questions, " {addr}:{word}");
            }
            questions.push('\n');
        }
    }
    let mut child = Command::new(python())
        .args(["-c", ASK_REVISIONS])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("esptool's Python starts");
    let mut stdin = child.stdin.take().unwrap();
    let asking = std::thread::spawn(move || stdin.write_all(questions.as_bytes()));
    let output = child.wait_with_output().unwrap();
    asking.join().unwrap().unwrap();
    assert!(output.status.success(), "install esptool with `pip install esptool==5.6.0`");
    let mut compared = 0;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let [chip, number, major, minor] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("not a revision: {line:?}");
        };
        let number: u64 = number.parse().unwrap();
        let theirs: (u8, u8) = (major.parse().unwrap(), minor.parse().unwrap());
        assert_eq!(ours[&(chip.to_owned(), number)], theirs, "{chip}, fields {number:#x}");
        compared += 1;
    }
    assert!(compared == ours.len() && compared >= 2048, "only {compared} were compared");
}

/// Prints the crystals that esptool detects from the UART's divider, and the baud rates that it
/// then requests from the loader, one line each: `chip divider counted-on crystal asked`.
const ASK_CRYSTALS: &str = r#"
import struct, sys
from esptool.targets import CHIP_DEFS
for chip in sys.argv[1].split(","):
    kind = CHIP_DEFS[chip]
    class Fake(kind):
        def __init__(self):
            self.cache, self.secure_download_mode = {}, False
            self._port = type("Port", (), {"baudrate": 115200})()
        def read_reg(self, addr, timeout=None):
            return registers.get(addr, 0)
        def command(self, op=None, data=b"", *rest, **more):
            asked.append(struct.unpack("<II", data)[0])
            return 0, b""
        def _set_port_baudrate(self, baud):
            pass
        def flush_input(self):
            pass
    for mhz in (26, 40, 48):
        for counted_on in (40, 48):
            asked = []
            divider = round(mhz * 1_000_000 / 115200)
            registers = {kind.UART_CLKDIV_REG: divider | 0xa << 20}
            if hasattr(kind, "PCR_SYSCLK_CONF_REG"):
                registers[kind.PCR_SYSCLK_CONF_REG] = counted_on << 24 | 0x80ffffff
            fake = Fake()
            crystal = fake.get_crystal_freq()
            saved, sys.stdout = sys.stdout, sys.stderr
            fake.change_baud(921600)
            sys.stdout = saved
            print(chip, divider | 0xa << 20, counted_on, crystal, asked[0])
"#;

#[test]
fn crystals_and_baud_rates_are_told_as_esptool_tells_them() {
    let several = |chip: &&Arc<Chip>| chip.crystal.is_some();
    let chips: Vec<_> = ChipDb::embedded().chips().filter(several).cloned().collect();
    let mut compared = 0;
    for line in printed(ASK_CRYSTALS, &chips, &[]).lines() {
        let [name, divider, register, crystal, asked] = line.split(' ').collect::<Vec<_>>()[..]
        else {
            continue;
        };
        let number = |text: &str| text.parse::<u32>().unwrap();
        let chip = chips.iter().find(|chip| chip.name == name).unwrap();
        // esptool also detects crystals that no board with the chip has.
        let known = std::iter::once(chip.xtal_mhz).chain(chip.other_xtal_mhz.clone());
        if !known.collect::<Vec<_>>().contains(&number(crystal)) {
            continue;
        }
        let ours = chip.crystal_from_divider(115_200, number(divider));
        assert_eq!(ours, number(crystal), "{line}");
        compared += 1;
        if let Some(assumed) = chip.crystal.as_ref().unwrap().assumed {
            let word = number(register) << 24 | 0x80ff_ffff;
            let ours = chip.loader_baud(921_600, ours, assumed.mhz(word));
            assert_eq!(ours, number(asked), "{line}");
            compared += 1;
        }
    }
    // Two crystals per chip, with two registers each.
    assert!(compared >= 3 * 4 + 2 * 4, "{compared}");
}

/// The constants printed by esptool's Python.
struct Constants(BTreeMap<(String, String), Table>);

/// Values by key; a single value has an empty key.
type Table = BTreeMap<String, Option<u32>>;

impl Constants {
    fn ask(chips: &[Arc<Chip>], names: &[&str]) -> Self {
        let mut all: BTreeMap<_, Table> = BTreeMap::new();
        for line in printed(PRINT, chips, names).lines() {
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

/// Runs `program` in esptool's Python on these chips and names, and returns its output.
fn printed(program: &str, chips: &[Arc<Chip>], names: &[&str]) -> String {
    let chips: Vec<&str> = chips.iter().map(|chip| chip.name.as_str()).collect();
    let python = python();
    let output = Command::new(&python)
        .args(["-c", program, &chips.join(","), &names.join(",")])
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", python.display()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "this test compares with esptool, but {} can't import it or lacks a chip: {said}\n\
         install it with `pip install esptool==5.6.0`, or name it in ESPLICE_ESPTOOL",
        python.display()
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Returns the Python next to the `esptool` program, taken from `ESPLICE_ESPTOOL` or from PATH.
fn python() -> PathBuf {
    let program = env::var_os("ESPLICE_ESPTOOL").map(PathBuf::from).or_else(|| {
        let path = env::var_os("PATH")?;
        env::split_paths(&path).map(|dir| dir.join("esptool")).find(|file| file.is_file())
    });
    let names = ["python", "python3", "python.exe"];
    let beside = program.as_deref().and_then(|program| program.parent());
    beside
        .and_then(|dir| names.iter().map(|name| dir.join(name)).find(|file| file.is_file()))
        // An esptool installed system-wide uses the Python on PATH.
        .unwrap_or_else(|| "python3".into())
}
