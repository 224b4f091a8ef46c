//! Generates relocatable objects and archives for tests, and links them with a linker small enough
//! to trust.

use std::collections::BTreeMap;

use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

/// A section of an object to generate.
#[derive(Debug, Clone, Default)]
pub struct Section {
    pub name: String,
    pub kind: u32,
    pub flags: u32,
    pub align: u32,
    pub entry: u32,
    pub data: Vec<u8>,
    /// Symbols in the section: name, value, global.
    pub symbols: Vec<(String, u32, bool)>,
    /// Symbols that its words refer to, one per word from the start.
    pub refers: Vec<String>,
}

pub const ALLOC: u32 = 2;
pub const EXEC: u32 = 4;
pub const WRITE: u32 = 1;
pub const MERGE: u32 = 0x10;
pub const STRINGS: u32 = 0x20;

/// Returns a function with a symbol of its name.
pub fn function(name: &str, len: u32, align: u32, refers: &[&str]) -> Section {
    let len = len.max(4 * refers.len() as u32);
    Section {
        name: format!(".text.{name}"),
        kind: 1,
        flags: ALLOC | EXEC,
        align,
        data: (0..len).map(|at| (at % 251) as u8).collect(),
        symbols: vec![(name.to_owned(), 0, true)],
        refers: refers.iter().map(|name| (*name).to_owned()).collect(),
        ..Section::default()
    }
}

/// Returns a zero-initialised variable.
pub fn variable(name: &str, len: u32) -> Section {
    Section {
        name: format!(".bss.{name}"),
        kind: 8,
        flags: ALLOC | WRITE,
        align: 4,
        data: vec![0; len as usize],
        symbols: vec![(name.to_owned(), 0, true)],
        ..Section::default()
    }
}

/// Returns an anonymous constant with a numbered name, as compilers make it.
pub fn anonymous(number: u32, data: Vec<u8>, refers: &[&str]) -> Section {
    Section {
        name: format!(".rodata..Lanon.0123.{number}"),
        kind: 1,
        flags: ALLOC,
        align: 4,
        data,
        symbols: vec![(format!(".Lanon.0123.{number}"), 0, false)],
        refers: refers.iter().map(|name| (*name).to_owned()).collect(),
        ..Section::default()
    }
}

/// Returns zero-terminated strings in one mergeable section, each with a local symbol.
pub fn strings(texts: &[(String, String)]) -> Section {
    let mut section = Section {
        name: ".rodata.str1.1".into(),
        kind: 1,
        flags: ALLOC | MERGE | STRINGS,
        align: 1,
        entry: 1,
        ..Section::default()
    };
    for (symbol, text) in texts {
        section.symbols.push((symbol.clone(), section.data.len() as u32, false));
        section.data.extend_from_slice(text.as_bytes());
        section.data.push(0);
    }
    section
}

/// Returns the bytes of an ELF32 object for RISC-V (System V ABI, chapter 4).
pub fn object(sections: &[Section]) -> Vec<u8> {
    let mut names = vec![0_u8];
    let mut add = |text: &str| {
        let at = names.len() as u32;
        names.extend_from_slice(text.as_bytes());
        names.push(0);
        at
    };
    let mut symbols: Vec<(String, [u8; 16])> = Vec::new();
    let entry = |name: u32, value: u32, info: u8, section: u16| {
        let mut bytes = [0; 16];
        bytes[0..4].copy_from_slice(&name.to_le_bytes());
        bytes[4..8].copy_from_slice(&value.to_le_bytes());
        bytes[12] = info;
        bytes[14..16].copy_from_slice(&section.to_le_bytes());
        bytes
    };
    symbols.push((String::new(), [0; 16]));
    for global in [false, true] {
        for (number, section) in sections.iter().enumerate() {
            for (name, value, _) in section.symbols.iter().filter(|s| s.2 == global) {
                let info = if global { 0x11 } else { 0x01 };
                let bytes = entry(add(name), *value, info, number as u16 + 1);
                symbols.push((name.clone(), bytes));
            }
        }
    }
    let defined: Vec<String> = symbols.iter().map(|symbol| symbol.0.clone()).collect();
    for name in sections.iter().flat_map(|section| &section.refers) {
        if !symbols.iter().any(|symbol| symbol.0 == *name) {
            let bytes = entry(add(name), 0, 0x10, 0);
            symbols.push((name.clone(), bytes));
        }
    }
    let locals = 1 + sections.iter().flat_map(|s| &s.symbols).filter(|s| !s.2).count() as u32;
    assert!(defined.len() >= locals as usize);

    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend([1, 0, 243, 0, 1, 0, 0, 0]);
    file.resize(52, 0);
    let mut headers: Vec<[u32; 10]> = vec![[0; 10]];
    for section in sections {
        while !file.len().is_multiple_of(section.align.max(1) as usize) {
            file.push(0);
        }
        let at = file.len() as u32;
        if section.kind != 8 {
            file.extend_from_slice(&section.data);
        }
        let len = section.data.len() as u32;
        headers.push([
            add(&section.name),
            section.kind,
            section.flags,
            0,
            at,
            len,
            0,
            0,
            section.align,
            section.entry,
        ]);
    }
    let table = headers.len() as u32
        + sections.iter().filter(|section| !section.refers.is_empty()).count() as u32;
    for (number, section) in sections.iter().enumerate().filter(|(_, s)| !s.refers.is_empty()) {
        file.resize(file.len().next_multiple_of(4), 0);
        let at = file.len() as u32;
        for (word, name) in section.refers.iter().enumerate() {
            let symbol = symbols.iter().position(|symbol| symbol.0 == *name).unwrap() as u32;
            // R_RISCV_32.
            for value in [word as u32 * 4, symbol << 8 | 1, 0] {
                file.extend(value.to_le_bytes());
            }
        }
        let len = section.refers.len() as u32 * 12;
        let name = add(&format!(".rela{}", section.name));
        headers.push([name, 4, 0, 0, at, len, table, number as u32 + 1, 4, 12]);
    }
    file.resize(file.len().next_multiple_of(4), 0);
    let at = file.len() as u32;
    file.extend(symbols.iter().flat_map(|symbol| symbol.1));
    headers.push([
        add(".symtab"),
        2,
        0,
        0,
        at,
        symbols.len() as u32 * 16,
        table + 1,
        locals,
        4,
        16,
    ]);
    let at = file.len() as u32;
    let name = add(".strtab");
    file.extend_from_slice(&names);
    headers.push([name, 3, 0, 0, at, names.len() as u32, 0, 0, 1, 0]);
    file.resize(file.len().next_multiple_of(4), 0);
    let at = file.len() as u32;
    file[32..36].copy_from_slice(&at.to_le_bytes());
    for (at, value) in [(40, 52_u16), (46, 40), (48, headers.len() as u16), (50, table as u16 + 1)]
    {
        file[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    file.extend(headers.iter().flatten().flat_map(|word| word.to_le_bytes()));
    file
}

/// Returns an archive with an index (ar(5), the GNU kind) of the global symbols of each member.
pub fn archive(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut index = Vec::new();
    let mut names = Vec::new();
    for (number, (_, bytes)) in members.iter().enumerate() {
        let read = object::File::parse(&**bytes).unwrap();
        for symbol in read.symbols().filter(|s| s.is_global() && s.is_definition()) {
            index.push(number);
            names.extend_from_slice(symbol.name().unwrap().as_bytes());
            names.push(0);
        }
    }
    let index_len = 4 + 4 * index.len() + names.len();
    let mut offsets = Vec::new();
    let mut at = 8 + 60 + index_len.next_multiple_of(2);
    for (_, bytes) in members {
        offsets.push(at as u32);
        at += 60 + bytes.len().next_multiple_of(2);
    }
    let mut file = b"!<arch>\n".to_vec();
    let head = |name: &str, len: usize| {
        format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{len:<10}`\n", 0, 0, 0, 644).into_bytes()
    };
    file.extend(head("/", index_len));
    file.extend((index.len() as u32).to_be_bytes());
    file.extend(index.iter().flat_map(|number| offsets[*number].to_be_bytes()));
    file.extend(names);
    for (name, bytes) in members {
        file.resize(file.len().next_multiple_of(2), b'\n');
        file.extend(head(&format!("{name}/"), bytes.len()));
        file.extend_from_slice(bytes);
    }
    file
}

/// A placed section: output section, address, size, name and file of the input section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    pub output: String,
    pub addr: u32,
    /// Offset from the start of its output section.
    pub offset: u32,
    pub size: u32,
    pub section: String,
    pub file: String,
    pub data: Vec<u8>,
    /// Symbols that it refers to.
    pub refers: Vec<String>,
}

/// Address of the first output section.
pub const START: u32 = 0x1000;

/// Links objects (name, bytes) by a script with one statement per line, as lld does: a pattern
/// takes sections that no other took, and the location counter never goes back. `shrink` returns
/// the length of a section after relaxation. Returns the placed sections and the map, or lld's
/// error output.
pub fn link(
    files: &[(String, Vec<u8>)],
    script: &str,
    shrink: &dyn Fn(&str, u32) -> u32,
) -> Result<(Vec<Placed>, String), String> {
    // Each with its alignment.
    let mut waiting: Vec<(Placed, u32)> = Vec::new();
    for (file, bytes) in files {
        let read = object::File::parse(&**bytes).unwrap();
        for section in read.sections() {
            let object::SectionFlags::Elf { sh_flags, .. } = section.flags() else { panic!() };
            if sh_flags.0 & u64::from(ALLOC) != 0 {
                let data = section.data().unwrap().to_vec();
                let refers = section.relocations().filter_map(|(_, relocation)| {
                    let object::RelocationTarget::Symbol(symbol) = relocation.target() else {
                        return None;
                    };
                    Some(read.symbol_by_index(symbol).ok()?.name().ok()?.to_owned())
                });
                let placed = Placed {
                    output: String::new(),
                    addr: 0,
                    offset: 0,
                    size: section.size() as u32,
                    section: section.name().unwrap().to_owned(),
                    file: file.clone(),
                    data,
                    refers: refers.collect(),
                };
                waiting.push((placed, section.align() as u32));
            }
        }
    }
    let mut taken = vec![false; waiting.len()];
    let (mut placed, mut map, mut errors) = (Vec::new(), String::new(), String::new());
    let mut starts: BTreeMap<String, u32> = BTreeMap::new();
    let (mut dot, mut output) = (START, String::new());
    map.push_str("     VMA      LMA     Size Align Out     In      Symbol\n");
    for (number, line) in script.lines().enumerate() {
        for statement in line.split_inclusive([';', ')']).flat_map(joined(line)) {
            let statement = statement.trim();
            if let Some(name) = statement.strip_suffix(": {") {
                output = name.trim().to_owned();
                dot = dot.next_multiple_of(64);
                starts.insert(output.clone(), dot);
                map.push_str(&format!("{dot:8x} {dot:8x} {:8x} {:5} {output}\n", 0, 1));
            } else if let Some(to) = statement.strip_prefix(". = ") {
                let to = value(to.trim_end_matches(';'), dot, &starts);
                if to < dot {
                    errors.push_str(&format!(
                        "ld.lld: error: link.x:{}: unable to move location counter backward for: {output}\n",
                        number + 1
                    ));
                }
                dot = dot.max(to);
            } else if let Some(patterns) = pattern(statement) {
                for (at, (input, align)) in waiting.iter().enumerate() {
                    let Placed { section: name, file, .. } = input;
                    if taken[at] || !patterns.iter().any(|pattern| fits(pattern, name)) {
                        continue;
                    }
                    taken[at] = true;
                    let size = shrink(name, input.size);
                    dot = dot.next_multiple_of((*align).max(1));
                    map.push_str(&format!(
                        "{dot:8x} {dot:8x} {size:8x} {align:5}         {file}:({name})\n"
                    ));
                    placed.push(Placed {
                        output: output.clone(),
                        addr: dot,
                        offset: dot - starts[&output],
                        size,
                        ..input.clone()
                    });
                    dot += size;
                }
            } else {
                assert!(
                    ["", "}", "SECTIONS {", "_end = .;"].contains(&statement),
                    "the linker of the tests does not know {statement:?}"
                );
            }
        }
    }
    if errors.is_empty() { Ok((placed, map)) } else { Err(errors) }
}

/// Returns the statements of a line: `. = …; *(…)` is two.
fn joined<'a>(line: &'a str) -> impl FnMut(&'a str) -> Vec<&'a str> {
    let mut done = false;
    move |_| {
        if std::mem::replace(&mut done, true) {
            return Vec::new();
        }
        let trimmed = line.trim();
        match (trimmed.starts_with(". ="), trimmed.split_once("; *(")) {
            (true, Some((head, _))) => {
                vec![&trimmed[..=head.len()], &trimmed[head.len() + 1..]]
            }
            _ => match trimmed.split_once(") . =") {
                Some((head, _)) => vec![&trimmed[..=head.len()], &trimmed[head.len() + 1..]],
                None => vec![trimmed],
            },
        }
    }
}

fn value(text: &str, dot: u32, starts: &BTreeMap<String, u32>) -> u32 {
    let number = |text: &str| match text.trim().strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).unwrap(),
        None => text.trim().parse().unwrap(),
    };
    if let Some(rest) = text.strip_prefix("ABSOLUTE(.) > ") {
        let (end, rest) = rest.split_once(" ? ABSOLUTE(.) + ").unwrap();
        let (more, same) = rest.split_once(" : ").unwrap();
        assert_eq!(end, same);
        let end = value(end, dot, starts);
        return if dot > end { dot + number(more) } else { end };
    }
    if let Some(rest) = text.strip_prefix("MAX(ABSOLUTE(.), ") {
        return dot.max(value(rest.strip_suffix(')').unwrap(), dot, starts));
    }
    if let Some(rest) = text.strip_prefix("ADDR(") {
        let (name, offset) = rest.split_once(") + ").unwrap();
        return starts[name] + number(offset);
    }
    // The room at the end of an output section.
    if let Some(rest) = text.strip_prefix(". + MAX(") {
        let (least, rest) = rest.split_once(", MIN(").unwrap();
        let (most, rest) = rest.split_once(", (ABSOLUTE(.) - ADDR(").unwrap();
        let (name, share) = rest.split_once(")) / ").unwrap();
        let len = dot - starts[name];
        let share = len / number(share.strip_suffix("))").unwrap());
        return dot + number(least).max(share.min(number(most)));
    }
    if let Some(rest) = text.strip_prefix(". + ") {
        return dot + number(rest);
    }
    let align = text.strip_prefix("ALIGN(").unwrap().strip_suffix(')').unwrap();
    dot.next_multiple_of(number(align))
}

fn pattern(statement: &str) -> Option<Vec<&str>> {
    let inside = statement.strip_prefix("KEEP(").and_then(|s| s.strip_suffix(')'));
    let inside = inside.unwrap_or(statement).strip_prefix("*(")?.strip_suffix(')')?;
    Some(inside.split(' ').collect())
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}
