//! Makes minimal ELFs for tests.

/// A section that is loaded.
pub struct Section {
    pub name: &'static str,
    pub addr: u32,
    pub data: Vec<u8>,
    pub executable: bool,
}

/// A symbol of a section.
pub struct Symbol {
    pub name: &'static str,
    pub addr: u32,
    pub size: u32,
    /// Index in [`Elf::sections`].
    pub section: u16,
}

/// Contents of an ELF.
pub struct Elf {
    /// `e_machine`: 243 is RISC-V.
    pub machine: u16,
    pub entry: u32,
    pub sections: Vec<Section>,
    /// Without any, the ELF has no symbol table.
    pub symbols: Vec<Symbol>,
}

/// Start of IROM. IROM shares the MMU's pages with DROM, so code begins in the first page after the
/// read-only data.
const IROM: u32 = 0x4200_0000;
const MMU_PAGE: u32 = 0x1_0000;
/// Offset of the code within its page.
const IN_PAGE: u32 = 0x400;

/// Start of the read-only data, after the app descriptor.
const RODATA: u32 = 0x3c00_0020;

/// Makes firmware for the ESP32-C3 that prints `text` once on UART0, in a dozen instructions.
pub fn hello(text: &str) -> Elf {
    let mut rodata = app_descriptor();
    let text_addr = RODATA + rodata.len() as u32;
    rodata.extend_from_slice(text.as_bytes());
    rodata.push(0);

    // Instructions by hand, from the RISC-V unprivileged manual, chapter 35 (RV32I listings).
    let (x10, x11, x12) = (10, 11, 12);
    let lui = |rd: u32, value: u32| value & 0xffff_f000 | rd << 7 | 0x37;
    let addi = |rd: u32, rs: u32, imm: u32| (imm & 0xfff) << 20 | rs << 15 | rd << 7 | 0x13;
    let hi = text_addr.wrapping_add(0x800);
    let code: [u32; 9] = [
        lui(x10, 0x6000_0000),                  // UART0's FIFO, TRM 26.7
        lui(x11, hi),                           // the text
        addi(x11, x11, text_addr),              //
        x11 << 15 | 4 << 12 | x12 << 7 | 0x03,  // loop: lbu x12, 0(x11)
        x12 << 15 | 8 << 8 | 0x63,              // beq x12, x0, +16
        x12 << 20 | x10 << 15 | 2 << 12 | 0x23, // sw x12, 0(x10)
        addi(x11, x11, 1),                      //
        0xff1f_f06f,                            // j -16 (the loop)
        0x0000_006f,                            // j 0
    ];
    let code = code.iter().flat_map(|word| word.to_le_bytes()).collect();
    let rodata_end = RODATA % MMU_PAGE + rodata.len() as u32;
    let text_at = IROM + rodata_end.next_multiple_of(MMU_PAGE) + IN_PAGE;
    Elf {
        machine: 243,
        entry: text_at,
        sections: vec![
            Section { name: ".flash.appdesc", addr: RODATA, data: rodata, executable: false },
            Section { name: ".text", addr: text_at, data: code, executable: true },
        ],
        symbols: Vec::new(),
    }
}

/// The same for a text longer than the UART's FIFO: waits for space in it.
pub fn long_hello(text: &str) -> Elf {
    let mut elf = hello(text);
    let (x10, x11, x12, x13) = (10, 11, 12, 13);
    let code = &mut elf.sections[1].data;
    // After loading the text's address: the loop above, with a wait before the store.
    code.truncate(12);
    let loop_: [u32; 10] = [
        x11 << 15 | 4 << 12 | x12 << 7 | 0x03, // loop: lbu x12, 0(x11)
        x12 << 15 | 1 << 25 | 0x63,            // beq x12, x0, +32
        0x1c << 20 | x10 << 15 | 2 << 12 | x13 << 7 | 0x03, // wait: lw x13, 28(x10): status
        6 << 20 | x13 << 15 | 1 << 12 | x13 << 7 | 0x13, // slli x13, x13, 6: TXFIFO_CNT, bits 25 to 16,
        25 << 20 | x13 << 15 | 5 << 12 | x13 << 7 | 0x13, // srli x13, x13, 25: in blocks of 8
        // bne x13, x0, -12 (wait)
        0xfe00_0ae3 | x13 << 15 | 1 << 12,
        x12 << 20 | x10 << 15 | 2 << 12 | 0x23, // sw x12, 0(x10)
        1 << 20 | x11 << 15 | x11 << 7 | 0x13,  // addi x11, x11, 1
        0xfe1f_f06f,                            // j -32 (the loop)
        0x0000_006f,                            // j 0
    ];
    code.extend(loop_.iter().flat_map(|word| word.to_le_bytes()));
    elf
}

/// Returns ESP-IDF's app descriptor (esp_app_desc.h); all fields but magic, version, name and page
/// size are zero.
fn app_descriptor() -> Vec<u8> {
    let mut bytes = vec![0; 256];
    bytes[..4].copy_from_slice(&0xabcd_5432_u32.to_le_bytes());
    bytes[16..21].copy_from_slice(b"0.1.0");
    bytes[48..53].copy_from_slice(b"hello");
    bytes[178..180].copy_from_slice(&u16::MAX.to_le_bytes()); // eFuse block revision, full maximum
    bytes[180] = 16; // log2 of the MMU page size
    bytes
}

impl Elf {
    /// Returns the file: header, program headers, sections, names, section headers (System V ABI,
    /// chapters 4 and 5).
    pub fn to_bytes(&self) -> Vec<u8> {
        const HEADER: u32 = 52;
        const PROGRAM_HEADER: u32 = 32;
        let count = self.sections.len() as u32;
        let mut offset = HEADER + PROGRAM_HEADER * count;
        let mut names = vec![0];
        let mut program = Vec::new();
        let mut content = Vec::new();
        let mut headers = vec![0_u8; 40];
        let push = |to: &mut Vec<u8>, words: &[u32]| {
            to.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        };
        for section in &self.sections {
            let len = section.data.len() as u32;
            let x = u32::from(section.executable);
            // PT_LOAD, readable.
            push(&mut program, &[1, offset, section.addr, section.addr, len, len, 4 | x, 4]);
            // SHT_PROGBITS, SHF_ALLOC and SHF_EXECINSTR.
            let name = names.len() as u32;
            push(&mut headers, &[name, 1, 2 | x << 2, section.addr, offset, len, 0, 0, 4, 0]);
            names.extend_from_slice(section.name.as_bytes());
            names.push(0);
            content.extend_from_slice(&section.data);
            offset += len;
        }
        let mut more = 1;
        if !self.symbols.is_empty() {
            let mut table = vec![0_u8; 16];
            let mut strings = vec![0_u8];
            for symbol in &self.symbols {
                push(&mut table, &[strings.len() as u32, symbol.addr, symbol.size]);
                // STB_GLOBAL, and STT_FUNC for code, else STT_OBJECT.
                let is_code = self.sections[usize::from(symbol.section)].executable;
                table.extend([1 << 4 | if is_code { 2 } else { 1 }, 0]);
                table.extend((symbol.section + 1).to_le_bytes());
                strings.extend_from_slice(symbol.name.as_bytes());
                strings.push(0);
            }
            // SHT_SYMTAB with its strings in the next section, the first symbol being local.
            let name = names.len() as u32;
            names.extend_from_slice(b".symtab\0.strtab\0");
            let len = table.len() as u32;
            push(&mut headers, &[name, 2, 0, 0, offset, len, count + 2, 1, 4, 16]);
            offset += len;
            let len = strings.len() as u32;
            push(&mut headers, &[name + 8, 3, 0, 0, offset, len, 0, 0, 1, 0]);
            offset += len;
            content.extend(table);
            content.extend(strings);
            more = 3;
        }
        let name = names.len() as u32;
        names.extend_from_slice(b".shstrtab\0");
        push(&mut headers, &[name, 3, 0, 0, offset, names.len() as u32, 0, 0, 1, 0]);
        offset += names.len() as u32;

        let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        file.extend(2_u16.to_le_bytes()); // ET_EXEC
        file.extend(self.machine.to_le_bytes());
        push(&mut file, &[1, self.entry, HEADER, offset, 0]);
        for half in [HEADER, PROGRAM_HEADER, count, 40, count + more + 1, count + more] {
            file.extend((half as u16).to_le_bytes());
        }
        file.extend(program);
        file.extend(content);
        file.extend(names);
        file.extend(headers);
        file
    }
}
