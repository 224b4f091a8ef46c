//! Generates ELFs for tests, with only sections and symbols (System V ABI, chapter 4).

/// Contents of an ELF.
#[derive(Clone, Default)]
pub struct Elf {
    sections: Vec<(String, u32, u32, bool)>,
    symbols: Vec<(String, u32, u32)>,
}

impl Elf {
    /// Adds or changes a section.
    pub fn section(&mut self, name: &str, addr: u32, len: u32, loaded: bool) {
        self.sections.retain(|section| section.0 != name);
        self.sections.push((name.to_owned(), addr, len, loaded));
    }

    /// Adds or changes a symbol; one with a length is a variable.
    pub fn symbol(&mut self, name: &str, value: u32, len: u32) {
        self.remove(name);
        self.symbols.push((name.to_owned(), value, len));
    }

    /// Adds the three symbols of a block.
    pub fn block(&mut self, name: &str, addr: u32, len: u32) {
        self.symbol(&format!("{name}_start"), addr, 0);
        self.symbol(&format!("{name}_end"), addr + len, 0);
        self.symbol(&format!("{name}_size"), len, 0);
    }

    /// Removes a symbol.
    pub fn remove(&mut self, name: &str) {
        self.symbols.retain(|symbol| symbol.0 != name);
    }

    /// Returns the bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        const HEADER: u32 = 52;
        let mut strings = b"\0.symtab\0.strtab\0".to_vec();
        let mut string = |text: &str| {
            let at = strings.len() as u32;
            strings.extend_from_slice(text.as_bytes());
            strings.push(0);
            at
        };
        let push = |to: &mut Vec<u8>, words: &[u32]| {
            to.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        };
        let mut headers = vec![0_u8; 40];
        // The bytes of loaded sections do not matter: all are read from the same range.
        let longest = self.sections.iter().filter(|s| s.3).map(|s| s.2).max().unwrap_or(0);
        for (name, addr, len, loaded) in &self.sections {
            let kind = if *loaded { 1 } else { 8 };
            push(&mut headers, &[string(name), kind, 3, *addr, HEADER, *len, 0, 0, 4, 0]);
        }
        let mut symbols = vec![0_u8; 16];
        for (name, value, len) in &self.symbols {
            push(&mut symbols, &[string(name), *value, *len]);
            // Global, an object if it has a length; absolute.
            symbols.extend([0x10 | u8::from(*len > 0), 0, 0xf1, 0xff]);
        }
        let count = self.sections.len() as u32;
        let at = HEADER + longest;
        let (symbols_len, strings_len) = (symbols.len() as u32, strings.len() as u32);
        push(&mut headers, &[1, 2, 0, 0, at, symbols_len, count + 2, 1, 4, 16]);
        push(&mut headers, &[9, 3, 0, 0, at + symbols_len, strings_len, 0, 0, 1, 0]);

        let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        file.extend(2_u16.to_le_bytes());
        file.extend(243_u16.to_le_bytes());
        push(&mut file, &[1, 0, 0, at + symbols_len + strings_len, 0]);
        for half in [HEADER, 32, 0, 40, count + 3, count + 2] {
            file.extend((half as u16).to_le_bytes());
        }
        file.resize(at as usize, 0);
        file.extend(symbols);
        file.extend(strings);
        file.extend(headers);
        file
    }
}
