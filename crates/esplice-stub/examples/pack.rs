//! Packs a linked stub into the JSON that esplice and esptool load.
//!
//!     pack ELF OUTPUT [COMPILER]

use std::{env, error::Error, fs};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use esplice_stub::crc::crc32;
use object::{Object as _, ObjectSection as _};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [elf, output, compiler] = arguments.as_slice() else {
        return Err("pack ELF OUTPUT COMPILER".into());
    };
    let bytes = fs::read(elf)?;
    let elf = object::File::parse(&*bytes)?;
    let section = |name: &str| -> Result<(u64, Vec<u8>), Box<dyn Error>> {
        let section = elf.section_by_name(name).ok_or_else(|| format!("no section {name}"))?;
        Ok((section.address(), section.data()?.to_vec()))
    };
    let (start, mut text) = section(".text")?;
    let core = text.len().next_multiple_of(4);
    let mut parts = Vec::new();
    let (data_start, mut data) = section(".data")?;
    for (index, name) in [".writer", ".extras"].into_iter().enumerate() {
        let (addr, bytes) = section(name)?;
        let at = usize::try_from(addr - start)?;
        text.resize(at, 0);
        text.extend(&bytes);
        parts.push(serde_json::json!({ "start": addr, "length": bytes.len() }));
        // The core's table of what each part must be.
        let place = data.get_mut(4 * index..4 * index + 4).ok_or("no table of parts")?;
        place.copy_from_slice(&crc32(&bytes).to_le_bytes());
    }
    let stub = serde_json::json!({
        "entry": elf.entry(),
        "text": STANDARD.encode(&text),
        "text_start": start,
        "data": STANDARD.encode(&data),
        "data_start": data_start,
        "bss_start": data_start + data.len() as u64,
        "core": core,
        "parts": parts,
        "compiler": compiler,
    });
    fs::write(output, serde_json::to_string_pretty(&stub)? + "\n")?;
    println!("{output}: core {} bytes, all {}", core + data.len(), text.len() + data.len());
    Ok(())
}
