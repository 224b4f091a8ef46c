//! The files' shape, word by word; resolved once into the types of `schema`.

use serde::{Deserialize, Deserializer};

use crate::{
    Access, Addr, Backing, BitRange, Chip, Efuse, EfuseBlock, EfuseField, Features, FlashOffset,
    ImageParams, Loader, MemoryLayout, Region, RegionKind, Reset, Sim, SpiRegisters, Toolchain,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    chip: Identity,
    memory: Memory,
    layout: Option<MemoryLayout>,
    image: ImageParams,
    loader: Loader,
    spi: SpiRegisters,
    reset: Reset,
    efuse: RawEfuse,
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
    boot_cpu_mhz: u32,
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
#[serde(deny_unknown_fields)]
struct RawEfuse {
    block: Vec<RawBlock>,
    field: Vec<RawField>,
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
    bits: Vec<BitRange>,
}

impl File {
    pub(crate) fn resolve(self) -> Result<Chip, String> {
        let efuse = self.efuse.resolve()?;
        Ok(Chip {
            name: self.chip.name,
            display_name: self.chip.display_name,
            elf_machine: self.chip.elf_machine,
            isa: self.chip.isa,
            xtal_mhz: self.chip.xtal_mhz,
            boot_cpu_mhz: self.chip.boot_cpu_mhz,
            regions: self.memory.region.into_iter().map(RawRegion::resolve).collect(),
            layout: self.layout,
            image: self.image,
            loader: self.loader,
            spi: self.spi,
            reset: self.reset,
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
        let mut fields = Vec::new();
        for raw in self.field {
            let block = blocks.iter().find(|b| b.name == raw.block).ok_or_else(|| {
                format!("efuse field {:?} is of an unknown block {:?}", raw.name, raw.block)
            })?;
            for range in &raw.bits {
                if range.word >= block.words
                    || range.bit.saturating_add(range.count) > 32
                    || range.count == 0
                {
                    return Err(format!(
                        "efuse field {:?}: word {} bits {}+{} lie outside {}",
                        raw.name, range.word, range.bit, range.count, block.name
                    ));
                }
            }
            if raw.bits.iter().map(|r| r.count).sum::<u32>() > 64 {
                return Err(format!("efuse field {:?} has more than 64 bits", raw.name));
            }
            fields.push(EfuseField { name: raw.name, block_addr: block.addr, bits: raw.bits });
        }
        Ok(Efuse { blocks, fields })
    }
}

pub(crate) fn addr<'de, D: Deserializer<'de>>(d: D) -> Result<Addr, D::Error> {
    u32::deserialize(d).map(Addr)
}

pub(crate) fn flash_offset<'de, D: Deserializer<'de>>(d: D) -> Result<FlashOffset, D::Error> {
    u32::deserialize(d).map(FlashOffset)
}
