//! Prints the tasks of a core dump: `core_dump DUMP.b64 FIRMWARE.elf [ROM.elf]`. The dump is the
//! text that ESP-IDF writes to the UART between its marks.
use std::{env, fs};

use esplice_monitor::{MonitorEvent, Symbols, Watch, Watcher};
use esplice_protocol::Moment;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files: Vec<String> = env::args().skip(1).collect();
    let [dump, elf, rom @ ..] = files.as_slice() else { return Err("DUMP ELF [ROM]".into()) };
    let (elf, rom) = (fs::read(elf)?, rom.first().map(fs::read).transpose()?);
    let mut symbols = Symbols::from_elf(&elf)?;
    if let Some(rom) = &rom {
        symbols = symbols.with_rom(Symbols::from_elf(rom)?);
    }
    let marks = ["START", "END"]
        .map(|mark| format!("\n================= CORE DUMP {mark} =================\n"));
    let text = [marks[0].as_str(), &fs::read_to_string(dump)?, &marks[1]].concat();
    Watcher::new(&Watch::default(), Moment::START).push(
        text.as_bytes(),
        Moment::START,
        &mut |event| match event {
            MonitorEvent::CoreDump(dump) => {
                println!("sound {}, ELF {:?}, {:?}", dump.is_sound, dump.elf_sha256, dump.reason);
                for task in &dump.tasks {
                    println!("{:#010x} {:?} crashed {}", task.tcb, task.name, task.crashed);
                    for frame in dump.frames(task, Some(&symbols)) {
                        let symbol = frame.symbol.as_ref();
                        let name = symbol.and_then(|s| s.function.as_deref()).unwrap_or("??");
                        let line = symbol.and_then(|s| s.line).unwrap_or(0);
                        println!("  {:#010x} {name}:{line} {}", frame.addr, frame.times);
                    }
                }
            }
            MonitorEvent::CoreDumpBroken(error) => println!("{error}"),
            _ => {}
        },
    );
    Ok(())
}
