//! The system registers: clock selection and software interrupts (TRM 6 and 15, which define the
//! names).

use esplice_chip::Peripheral;

use super::{
    clock::{RC_FAST_HZ, Tick},
    device::{Device, Fabric, Registers, Scope},
};

const CPU_PER_CONF: u32 = 0x08;
const FROM_CPU_0: u32 = 0x28;
/// RTC_FASTMEM_CONFIG and RTC_FASTMEM_CRC: a checksum of a part of the RTC fast memory.
const FASTMEM_CONFIG: u32 = 0x48;
const FASTMEM_CRC: u32 = 0x4c;
const SYSCLK_CONF: u32 = 0x58;

/// FASTMEM_CONFIG: start; first word, 11 bits; number of words minus one, 11 bits; finished (crate
/// esp32c3, `system::rtc_fastmem_config`; ROM: `cacl_rtc_memory_crc`).
const CRC_START: u32 = 1 << 8;
const CRC_FINISH: u32 = 1 << 31;

/// Number of software interrupts.
const FROM_CPU: u32 = 4;

/// The system registers.
#[derive(Clone)]
pub(crate) struct System {
    registers: Registers,
}

impl System {
    pub fn new(device: &Peripheral) -> Self {
        Self { registers: Registers::of(device) }
    }

    /// Sets the CPU and bus clocks that the registers select (TRM 6.2.4, tables 6-2 to 6-4).
    fn set_speeds(&self, fabric: &mut Fabric) {
        let clock = self.registers.get(SYSCLK_CONF);
        let divider = u64::from(clock & 0x3ff) + 1;
        let (cpu, apb) = match clock >> 10 & 3 {
            1 => match self.registers.get(CPU_PER_CONF) & 3 {
                0 => (80_000_000, 80_000_000),
                _ => (160_000_000, 80_000_000),
            },
            2 => (RC_FAST_HZ / divider, RC_FAST_HZ / divider),
            _ => (fabric.clock.xtal_hz() / divider, fabric.clock.xtal_hz() / divider),
        };
        if (cpu, apb) != (fabric.clock.cpu_hz(), fabric.clock.apb_hz()) {
            fabric.clock.set_speeds(cpu, apb);
            fabric.clock_changed = true;
        }
    }

    /// Computes the checksum of a part of the RTC fast memory. The hardware's polynomial is not
    /// published, and nothing but this hardware ever computes it, so CRC-32 is used instead.
    fn compute_checksum(&mut self, config: u32, fabric: &Fabric) {
        let (first, words) = (config >> 9 & 0x7ff, (config >> 20 & 0x7ff) + 1);
        let mut bytes = vec![0; (words * 4) as usize];
        if let Some(region) = fabric.chip.region("rtc-fast") {
            let addr = region.addr.0.wrapping_add(4 * first);
            // Reads past the end of the memory return 0.
            let len = bytes
                .len()
                .min(region.addr.0.saturating_add(region.len).saturating_sub(addr) as usize);
            fabric.memory.read(addr, bytes.get_mut(..len).unwrap_or_default(), &[]);
        }
        self.registers.set(FASTMEM_CRC, crc32(&bytes));
    }
}

/// Computes CRC-32 as in IEEE 802.3.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        let index = (crc ^ u32::from(*byte)) & 0xff;
        (crc >> 8) ^ CRC_OF_BYTE.get(index as usize).copied().unwrap_or(0)
    })
}

/// CRC table by byte.
const CRC_OF_BYTE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = (crc >> 1) ^ ((crc & 1) * 0xedb8_8320);
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

impl Device for System {
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32 {
        let value = self.registers.get(offset);
        match offset {
            // The hardware fills in CLK_XTAL_FREQ.
            SYSCLK_CONF => {
                value & !(0x7f << 12) | ((fabric.clock.xtal_hz() / 1_000_000) as u32 & 0x7f) << 12
            }
            _ => value,
        }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        match offset {
            FASTMEM_CRC => {}
            FASTMEM_CONFIG => {
                let started = value & !self.registers.get(offset) & CRC_START != 0;
                if started {
                    self.compute_checksum(value, fabric);
                }
                // Finishes immediately, and stays finished until START is cleared.
                let done = if value & CRC_START != 0 { CRC_FINISH } else { 0 };
                self.registers.set(offset, value & !CRC_FINISH | done);
            }
            _ => self.registers.set(offset, value),
        }
        if matches!(offset, SYSCLK_CONF | CPU_PER_CONF) {
            self.set_speeds(fabric);
        }
    }

    fn lines(&self) -> u32 {
        (0..FROM_CPU)
            .map(|index| (self.registers.get(FROM_CPU_0 + 4 * index) & 1) << index)
            .fold(0, |lines, line| lines | line)
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        if scope >= Scope::Core {
            self.registers.reset();
            self.set_speeds(fabric);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_check_sum_is_the_known_one() {
        assert_eq!(super::crc32(b"123456789"), 0xcbf4_3926);
    }
}
