//! Shows how long each step of a flash session takes, on the virtual board's clock.
//!
//! `cargo run -p esplice-flash --example time_line -- MERGED.bin [STUB.json] [ROM.elf] [WORDS]`
//! writes bootloader, table and app of a merged image at 921600 baud to a board with a USB bridge,
//! as the flashing benchmark does over a pty. It prints each request, the moment at which its reply
//! began, and the milliseconds in between. The board's time is virtual, so the numbers are the same
//! on every machine. With a stub file the stub does the work; with the mask ROM's ELF the ROM's own
//! code is executed. WORDS select the previous contents of the flash: `dirty`, `blank`, `unchanged`
//! or one different `sector`; `read` reads 1 MiB instead; `none` omits the bridge; `quiet` prints
//! only the sum.

use std::{fs, path::PathBuf, time::Duration};

use esplice_chip::{ChipDb, FlashOffset};
use esplice_flash::{FlashOptions, Stub, StubSource, flash, with_board};
use esplice_image::{ResolvedPlan, Write, WriteKind};
use esplice_protocol::{Caps, Moment, Opcode, Port, PortError, slip};
use esplice_sim::{Board, Bridge, RomImage, SimPort, TimeMode, nor::Nor};

const APP: usize = 0x1_0000;
const TABLE: usize = 0x8000;
const FLASH: usize = 4 << 20;
/// Bytes to read with `read`.
const READ: u32 = 1 << 20;

/// A port without lines that prints its traffic.
struct Watched {
    port: SimPort,
    /// Time and description of the last request, until the first byte of its reply.
    asked: Option<(Moment, String)>,
    quiet: bool,
}

impl Watched {
    fn note(&mut self, what: &str) {
        if !self.quiet {
            println!("{:10.3} {what}", millis(self.port.now().since_start()));
        }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Port for Watched {
    fn name(&self) -> &str {
        self.port.name()
    }

    fn read(&mut self, buf: &mut [u8], deadline: Moment) -> Result<usize, PortError> {
        let count = self.port.read(buf, deadline)?;
        if count > 0
            && let Some((at, what)) = self.asked.take()
        {
            let took = millis(self.port.now().since(at));
            self.note(&format!("{what}: answered after {took:.3} ms"));
        }
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), PortError> {
        if let Some((_, what)) = self.asked.take() {
            self.note(&format!("{what}: not waited for"));
        }
        let what = match bytes {
            [slip::END, 0, opcode, ..] => Opcode::from_byte(*opcode)
                .map_or(format!("command {opcode:02x}"), |known| format!("{known:?}")),
            _ => "acknowledgement".to_owned(),
        };
        let before = self.port.now();
        let done = self.port.write(bytes);
        let what = format!("{what}, {} bytes", bytes.len());
        self.asked = Some((before, what));
        done
    }

    fn drain(&mut self) -> Result<(), PortError> {
        self.port.drain()
    }

    fn clear_input(&mut self) -> Result<(), PortError> {
        self.port.clear_input()
    }

    fn set_baud(&mut self, baud: u32) -> Result<(), PortError> {
        self.note(&format!("port to {baud} baud"));
        self.port.set_baud(baud)
    }

    fn set_lines(&mut self, dtr: bool, rts: bool) -> Result<(), PortError> {
        self.port.set_lines(dtr, rts)
    }

    fn now(&self) -> Moment {
        self.port.now()
    }

    fn wait_until(&mut self, moment: Moment) -> Result<(), PortError> {
        let time = millis(moment.since(self.port.now()));
        self.note(&format!("waits {time:.3} ms"));
        self.port.wait_until(moment)
    }

    fn reopen(&mut self) -> Result<(), PortError> {
        self.port.reopen()
    }

    fn caps(&self) -> Caps {
        Caps { lines: false, ..self.port.caps() }
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| words.iter().any(|known| known == word);
    let mut files = words
        .iter()
        .filter(|word| word.ends_with(".bin") || word.ends_with(".json"))
        .map(PathBuf::from);
    let merged = fs::read(files.next().expect("a merged image")).expect("the file can be read");
    let stub = files.next().map(|file| fs::read(file).expect("the file can be read"));
    let stub = stub.map(|json| Stub::parse(&json).expect("the file is a stub"));

    let chip = ChipDb::embedded().find("esp32c3").expect("esp32c3 is known");
    let timing = &chip.sim.as_ref().expect("the chip has a virtual board").flash;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("board.flash");
    let mut before = vec![if has("blank") { 0xff } else { 0x5a }; FLASH];
    if has("unchanged") || has("sector") || has("read") {
        before[..merged.len()].copy_from_slice(&merged);
    }
    if has("sector") {
        before[APP + 0x5000] ^= 1;
    }
    fs::write(&path, &before).expect("the file can be written");
    let nor = Nor::open(&path, timing.size(), timing).expect("the file was just written");
    let mut board =
        Board::with_flash(chip, nor, TimeMode::Virtual).expect("the chip has a virtual board");
    if let Some(rom) = words.iter().find(|word| word.ends_with(".elf")) {
        board =
            board.with_rom(&RomImage::open(rom.as_ref(), chip).expect("the file is the ROM's ELF"));
    }
    board.hold_boot_pin(true);
    board.set_bridge(if has("none") { Bridge::None } else { Bridge::Usb });
    let mut port = Watched {
        port: SimPort::from_board("sim", Box::new(board), TimeMode::Virtual),
        asked: None,
        quiet: has("quiet"),
    };
    // Wait for the end of the ROM's boot messages.
    port.port.wait_until(Moment::at(Duration::from_millis(200))).expect("the board runs");
    let options = FlashOptions::default()
        .target(Some(chip.clone()))
        .baud(Some(921_600))
        .stub(stub.map_or(StubSource::none(), StubSource::only));
    let part = |name: &str, kind, from: usize, to: usize| {
        let bytes = &merged[from..to];
        let len = bytes.iter().rposition(|byte| *byte != 0xff).map_or(0, |last| last + 1);
        let data = bytes[..len.next_multiple_of(4)].to_vec();
        Write { name: name.into(), kind, offset: FlashOffset(from as u32), data }
    };
    let writes = vec![
        part("bootloader", WriteKind::Bootloader, 0, TABLE),
        part("table", WriteKind::PartitionTable, TABLE, TABLE + 0xc00),
        part("app", WriteKind::App, APP, merged.len()),
    ];
    if has("read") {
        let read = |session: &mut esplice_flash::Session<'_, _>, _: &_| {
            session.read_flash(FlashOffset(0), READ, &mut |_| Ok(()))
        };
        with_board(&mut port, &options, &mut |_| {}, read).expect("the flash can be read");
    } else {
        let done = flash(&mut port, &options, |_| Ok(ResolvedPlan::from(writes)), &mut |_| {});
        println!("{:?}", done.expect("the flash can be written").statistics);
    }
    let took = millis(port.now().since(Moment::at(Duration::from_millis(200))));
    println!("{took:.3} ms in all");
}
