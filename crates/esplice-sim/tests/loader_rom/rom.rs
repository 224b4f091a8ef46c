//! Runs the mask ROM's loader (`UartDwnLdProc`) on this crate's CPU. Functions that access hardware
//! are replaced: the UART's buffer, and the flash commands on the SPI bus.

use std::collections::{BTreeMap, VecDeque};

use esplice_sim::{
    cpu::{Bus, CodeChange, Cpu, CpuModel, Fault, Stop},
    memory::{Access, Backing, Bank, Memory, MemoryMap, Region},
    nor::Nor,
};
use object::{Object, ObjectSection, ObjectSymbol};

/// The loader's return address and the trap vector, at unused addresses of the ROM.
const RETURN: u32 = 0x4005_fff0;
const TRAP: u32 = 0x4005_ff00;
/// Arguments of the loader (`ets_uart_download`): the frame buffer, and where it stores the entry.
const BUFFER: (u32, u32) = (0x3fcc_ae04, 0x2000);
const ENTRY: u32 = 0x3fcd_ef18;
const STACK: u32 = 0x3fcd_e000;
/// Sessions of both loaders, as offsets below the end of the stack, and their first words.
const SESSIONS: [(&str, u32); 2] = [("UartDwnLdProc", 176 - 20), ("UartSecureDwnLdProc", 112 - 48)];
const LEFT_OVER: [u32; 5] = [0, 0x3fcc_ae04, 0x2000, 0x3fcd_e6af, 1];
/// Address of the ROM's pointer to the flash chip's description (`rom_spiflash_legacy_data`).
const LEGACY_DATA: u32 = 0x3fcd_fff0;
/// Cycles after which a request is considered hung.
const PATIENCE: u64 = 200_000_000;

const REPLACED: [&str; 19] = [
    "uart_rx_readbuff",
    "uart_tx_one_char2",
    "uart_tx_send_queued_data",
    "uart_tx_wait_idle",
    "uart_div_modify",
    "software_reset",
    "ets_isr_mask",
    "ets_isr_unmask",
    "ets_delay_us",
    "Wait_SPI_Idle",
    "SPI_sector_erase",
    "SPI_block_erase",
    "SPI_page_program",
    "SPI_read_data",
    "SPI_write_enable",
    "SPILock",
    "esp_rom_spiflash_config_readmode",
    "esp_rom_spiflash_unlock",
    "spi_flash_attach",
];

#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    Waiting,
    Reset,
    /// The loader has returned, with this entry.
    Left(u32),
    Stuck,
    Crashed,
}

pub struct Rom {
    cpu: Cpu,
    bus: Plain,
    replaced: BTreeMap<u32, &'static str>,
    input: VecDeque<u8>,
    pub nor: Nor,
    /// True if the flash chip ignores programs and erases.
    protected: bool,
    pub out: Vec<u8>,
    pub divider: Option<u32>,
    pub fate: Fate,
}

impl Rom {
    /// Returns the ROM, with these words in registers.
    pub fn new(elf: &[u8], words: &[(u32, u32)], loader: &str) -> Rom {
        let elf = object::File::parse(elf).expect("an ELF");
        let mut memory = memory();
        for section in elf.sections() {
            let data = section.data().unwrap_or_default();
            if section.address() != 0 && !data.is_empty() {
                memory.write(section.address() as u32, data);
            }
        }
        for (addr, word) in words {
            memory.store32(*addr, *word);
        }
        let named = |name: &str| {
            let symbol = elf.symbols().find(|symbol| symbol.name() == Ok(name));
            symbol.unwrap_or_else(|| panic!("the ROM has no {name}")).address() as u32
        };
        let replaced: BTreeMap<u32, &str> =
            REPLACED.into_iter().map(|name| (named(name), name)).collect();
        let sim = crate::board::chip().sim.as_ref().unwrap();
        let mut cpu = Cpu::new(CpuModel::of(crate::board::chip(), sim));
        cpu.reset(named(loader));
        cpu.csrs.mtvec = TRAP;
        (cpu.x[1], cpu.x[2]) = (RETURN, STACK);
        (cpu.x[10], cpu.x[11], cpu.x[12]) = (BUFFER.0, BUFFER.1, ENTRY);
        // Words that earlier calls leave in the place of the loader's session on a booting board.
        for (_, below) in SESSIONS.iter().filter(|(name, _)| *name == loader) {
            for (at, word) in (STACK - below..).step_by(4).zip(LEFT_OVER) {
                memory.store32(at, word);
            }
        }
        cpu.set_hooks(replaced.keys().copied().chain([RETURN, TRAP]));
        Rom {
            cpu,
            bus: Plain(memory),
            replaced,
            input: VecDeque::new(),
            nor: Nor::in_memory(4 << 20, &sim.flash),
            protected: false,
            out: Vec::new(),
            divider: None,
            fate: Fate::Waiting,
        }
    }

    pub fn ram(&self, addr: u32, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.bus.0.read(addr, &mut bytes, &[]);
        bytes
    }

    /// Returns block, sector and page size of the flash chip that the ROM assumes.
    pub fn geometry(&self) -> [u32; 3] {
        let word = |at| self.bus.0.load32(at, &[]).unwrap_or(0);
        let chip = word(LEGACY_DATA);
        [8, 12, 16].map(|at| word(chip.wrapping_add(at)))
    }

    /// Puts bytes on the line and runs until all are taken.
    pub fn send(&mut self, bytes: &[u8]) {
        self.input.extend(bytes);
        let limit = self.cpu.cycles + PATIENCE;
        while self.fate == Fate::Waiting {
            match self.cpu.run(&mut self.bus, limit) {
                Stop::Hook(RETURN) => {
                    let entry = self.bus.0.load32(ENTRY, &[]).unwrap_or(0);
                    self.fate = Fate::Left(entry);
                }
                Stop::Hook(TRAP) | Stop::DoubleFault { .. } => self.fate = Fate::Crashed,
                Stop::Budget | Stop::Wfi => self.fate = Fate::Stuck,
                Stop::YieldRequested | Stop::Breakpoint => {}
                Stop::Hook(addr) => {
                    let name = self.replaced[&addr];
                    let Some(result) = self.replace(name) else { return };
                    self.cpu.x[10] = result;
                    self.cpu.pc = self.cpu.x[1];
                    self.cpu.cycles += 1;
                }
            }
        }
    }

    /// Performs the replaced function. Returns `None` while it waits for a byte.
    fn replace(&mut self, name: &str) -> Option<u32> {
        let [first, second, third, fourth] = [10, 11, 12, 13].map(|at| self.cpu.x[at]);
        let at = second % self.nor.size();
        match name {
            "uart_rx_readbuff" => {
                let byte = self.input.pop_front()?;
                self.bus.0.store8(second, byte);
            }
            "uart_tx_one_char2" => self.out.push(first as u8),
            "uart_div_modify" => self.divider = Some(second),
            "software_reset" => self.fate = Fate::Reset,
            "SPILock" => self.protected = true,
            "esp_rom_spiflash_unlock" => self.protected = false,
            "SPI_sector_erase" | "SPI_block_erase" if self.protected => {}
            "SPI_sector_erase" => drop(self.nor.erase_sector(at).unwrap()),
            "SPI_block_erase" => drop(self.nor.erase_block(at).unwrap()),
            "SPI_page_program" => {
                // The page length as set by SPI_SET_PARAMS. The ROM programs 32 bytes at a time.
                let page = self.bus.0.load32(first + 16, &[]).unwrap_or(0);
                let into = second.checked_rem(page).unwrap_or(second);
                if fourth % 4 != 0 || into.wrapping_add(fourth) > page {
                    return Some(1);
                }
                let data = if self.protected { vec![] } else { self.ram(third, fourth as usize) };
                for (piece, at) in data.chunks(32).zip((second..).step_by(32)) {
                    self.nor.program_page(at % self.nor.size(), piece).unwrap();
                }
            }
            "SPI_read_data" => {
                let size = self.bus.0.load32(first + 4, &[]).unwrap_or(0);
                if second.wrapping_add(fourth) > size {
                    return Some(1);
                }
                let all = self.nor.bytes().iter().cycle().skip(at as usize);
                let data: Vec<u8> =
                    all.take(fourth.next_multiple_of(4) as usize).copied().collect();
                self.bus.0.write(third, &data);
            }
            _ => {}
        }
        Some(0)
    }
}

/// Returns the memory: ROM, its read-only data, RAM, and peripherals as plain storage.
fn memory() -> Memory {
    let parts = [
        ("rom", 0x4000_0000, 0x6_0000),
        ("rom-data", 0x3ff0_0000, 0x2_0000),
        ("ram", 0x3fc8_0000, 0x6_0000),
        ("peripherals", 0x6000_0000, 0xd_1000),
    ];
    let banks = parts.map(|(name, _, len)| Bank { name: name.into(), len });
    let regions = parts.iter().enumerate().map(|(bank, (name, base, len))| Region {
        name: (*name).into(),
        base: *base,
        len: *len,
        backing: Backing::Bank { bank, offset: 0 },
        access: Access::RWX,
    });
    let (banks, regions) = (banks.to_vec(), regions.collect());
    Memory::new(MemoryMap { banks, regions, flash_page_len: 0x1_0000 }).unwrap()
}

struct Plain(Memory);

impl Bus for Plain {
    fn at_cycle(&mut self, _cycles: u64) {}
    fn load8(&mut self, addr: u32) -> Result<u8, Fault> {
        Ok(self.0.load8(addr, &[]).unwrap_or(0))
    }
    fn load16(&mut self, addr: u32) -> Result<u16, Fault> {
        Ok(self.0.load16(addr, &[]).unwrap_or(0))
    }
    fn load32(&mut self, addr: u32) -> Result<u32, Fault> {
        Ok(self.0.load32(addr, &[]).unwrap_or(0))
    }
    fn store8(&mut self, addr: u32, value: u8) -> Result<(), Fault> {
        self.0.store8(addr, value);
        Ok(())
    }
    fn store16(&mut self, addr: u32, value: u16) -> Result<(), Fault> {
        self.0.store16(addr, value);
        Ok(())
    }
    fn store32(&mut self, addr: u32, value: u32) -> Result<(), Fault> {
        self.0.store32(addr, value);
        Ok(())
    }
    fn fetch16(&mut self, addr: u32) -> Result<u16, Fault> {
        self.0.fetch16(addr, &[]).ok_or(Fault::FetchAccess)
    }
    fn decoded(&mut self, addr: u32, len: u32) {
        self.0.decoded(addr, len);
    }
    fn attention(&self) -> bool {
        self.0.attention()
    }
    fn take_code_change(&mut self) -> Option<CodeChange> {
        self.0.take_code_change()
    }
    fn take_yield(&mut self) -> bool {
        self.0.take_yield()
    }
}
