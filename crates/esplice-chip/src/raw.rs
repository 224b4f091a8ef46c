//! The files' raw structure, resolved once into the types of `schema`.

use serde::{Deserialize, Deserializer};

use crate::{
    Access, Addr, AssumedCrystal, Backing, BitRange, Chip, Crystal, Efuse, EfuseBlock,
    EfuseCondition, EfuseField, Features, FlashOffset, ImageParams, Loader, MemoryLayout, Region,
    RegionKind, Reset, Sim, SpiRegisters, Toolchain, UsbOtg, Watchdog,
};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct File {
    chip: Identity,
    memory: Memory,
    layout: Option<MemoryLayout>,
    image: ImageParams,
    loader: Loader,
    spi: SpiRegisters,
    reset: Reset,
    usb_otg: Option<UsbOtg>,
    watchdog: Watchdog,
    stub: Option<crate::Stub>,
    efuse: RawEfuse,
    crystal: Option<RawCrystal>,
    features: Features,
    toolchain: Toolchain,
    sim: Option<Sim>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Identity {
    name: String,
    display_name: String,
    elf_machine: u16,
    isa: String,
    xtal_mhz: u32,
    #[serde(default)]
    other_xtal_mhz: Vec<u32>,
    boot_cpu_mhz: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawCrystal {
    divider: RawRegisterBits,
    counted_on_mhz: Option<u32>,
    counted_on: Option<RawRegisterBits>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRegisterBits {
    #[serde(deserialize_with = "addr")]
    addr: Addr,
    bit: u32,
    count: u32,
}

impl RawCrystal {
    fn resolve(self) -> Result<Crystal, String> {
        let assumed = match (self.counted_on_mhz, self.counted_on) {
            (Some(_), Some(_)) => {
                return Err("[crystal] has both counted-on-mhz and counted-on".into());
            }
            (Some(mhz), None) => Some(AssumedCrystal::Mhz(mhz)),
            (None, Some(bits)) => Some(AssumedCrystal::Register(bits.resolve()?)),
            (None, None) => None,
        };
        Ok(Crystal { divider: self.divider.resolve()?, assumed })
    }
}

impl RawRegisterBits {
    fn resolve(self) -> Result<BitRange, String> {
        if self.count == 0 || self.bit.saturating_add(self.count) > 32 {
            return Err(format!(
                "{}: bits {}+{} do not fit in a register",
                self.addr, self.bit, self.count
            ));
        }
        Ok(BitRange { addr: self.addr, bit: self.bit, count: self.count })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Memory {
    region: Vec<RawRegion>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRegion {
    key: String,
    #[serde(deserialize_with = "addr")]
    addr: Addr,
    len: u32,
    access: Access,
    kind: RegionKind,
    backing: Backing,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawEfuse {
    block: Vec<RawBlock>,
    field: Vec<RawField>,
    #[serde(default)]
    first_revision: Vec<RawCondition>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCondition {
    field: String,
    #[serde(default = "all_bits")]
    mask: u64,
    is: u64,
}

fn all_bits() -> u64 {
    u64::MAX
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBlock {
    name: String,
    #[serde(deserialize_with = "addr")]
    addr: Addr,
    words: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawField {
    name: String,
    block: String,
    bits: Vec<RawBits>,
    #[serde(default)]
    values: Vec<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBits {
    /// The block, if it is not the field's.
    block: Option<String>,
    word: u32,
    bit: u32,
    count: u32,
}

impl File {
    pub(crate) fn resolve(self) -> Result<Chip, String> {
        let efuse = self.efuse.resolve()?;
        let crystal = self.crystal.map(RawCrystal::resolve).transpose()?;
        Ok(Chip {
            name: self.chip.name,
            display_name: self.chip.display_name,
            elf_machine: self.chip.elf_machine,
            isa: self.chip.isa,
            xtal_mhz: self.chip.xtal_mhz,
            other_xtal_mhz: self.chip.other_xtal_mhz,
            crystal,
            boot_cpu_mhz: self.chip.boot_cpu_mhz,
            regions: self.memory.region.into_iter().map(RawRegion::resolve).collect(),
            layout: self.layout,
            image: self.image,
            loader: self.loader,
            spi: self.spi,
            reset: self.reset,
            usb_otg: self.usb_otg,
            watchdog: self.watchdog,
            stub: self.stub,
            efuse,
            features: self.features,
            toolchain: self.toolchain,
            sim: self.sim,
        })
    }
}

impl RawRegion {
    fn resolve(self) -> Region {
        Region {
            key: self.key,
            addr: self.addr,
            len: self.len,
            access: self.access,
            kind: self.kind,
            backing: self.backing,
        }
    }
}

impl RawEfuse {
    fn resolve(self) -> Result<Efuse, String> {
        let blocks: Vec<EfuseBlock> = self
            .block
            .into_iter()
            .map(|b| EfuseBlock { name: b.name, addr: b.addr, words: b.words })
            .collect();
        let fields = self.field.into_iter().map(|raw| raw.resolve(&blocks));
        let fields = fields.collect::<Result<_, _>>()?;
        let conditions = self.first_revision.into_iter();
        let first_revision = conditions
            .map(|raw| EfuseCondition { field: raw.field, mask: raw.mask, value: raw.is })
            .collect();
        Ok(Efuse { blocks, fields, first_revision })
    }
}

impl RawField {
    fn resolve(self, blocks: &[EfuseBlock]) -> Result<EfuseField, String> {
        let block = |name: &str| {
            blocks.iter().find(|block| block.name == name).ok_or_else(|| {
                format!("efuse field {:?} refers to the unknown block {name:?}", self.name)
            })
        };
        let mut bits = Vec::new();
        for raw in &self.bits {
            let block = block(raw.block.as_ref().unwrap_or(&self.block))?;
            if raw.word >= block.words || raw.bit.saturating_add(raw.count) > 32 || raw.count == 0 {
                return Err(format!(
                    "efuse field {:?}: word {} bits {}+{} lie outside {}",
                    self.name, raw.word, raw.bit, raw.count, block.name
                ));
            }
            let offset = raw.word.checked_mul(4);
            let addr = offset.and_then(|offset| block.addr.0.checked_add(offset));
            let addr = addr.ok_or_else(|| format!("efuse block {} ends past 4 GiB", block.name))?;
            bits.push(BitRange { addr: Addr(addr), bit: raw.bit, count: raw.count });
        }
        let count: u64 = bits.iter().map(|range| u64::from(range.count)).sum();
        if count > 64 {
            return Err(format!("efuse field {:?} has more than 64 bits", self.name));
        }
        let all = 1_u64.checked_shl(count as u32).unwrap_or(0);
        if !self.values.is_empty() && self.values.len() as u64 != all {
            return Err(format!(
                "efuse field {:?} of {count} bits lists {} values",
                self.name,
                self.values.len()
            ));
        }
        Ok(EfuseField { name: self.name, bits, values: self.values })
    }
}

pub(crate) fn addr<'de, D: Deserializer<'de>>(d: D) -> Result<Addr, D::Error> {
    u32::deserialize(d).map(Addr)
}

pub(crate) fn some_addr<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Addr>, D::Error> {
    addr(d).map(Some)
}

pub(crate) fn flash_offset<'de, D: Deserializer<'de>>(d: D) -> Result<FlashOffset, D::Error> {
    u32::deserialize(d).map(FlashOffset)
}
