//! Compares the virtual board's times with published times of real boards: repeats writes from logs
//! of esptool on the board's clock, with esptool's own flasher stub.
//!
//! `docs/src/virtual-time.md` describes the timing model and lists these figures; both must agree.

use std::{fs, io::Write as _, process::Command, time::Duration};

use crate::support::{repository, served};
use esplice_protocol::{CHECKSUM_SEED, Opcode, Port, slip};
use esplice_sim::SimPort;

/// A write in a published log of esptool.
struct Published {
    /// Source, as in the table of the document.
    source: &'static str,
    baud: u32,
    offset: u32,
    len: usize,
    compressed: usize,
    /// Duration by the reported rate, which has more digits than the reported seconds.
    seconds: f64,
    /// True if the conditions are known, so that it must agree within 15 %.
    agrees: bool,
}

/// All writes are to ESP32-C3 boards over a USB bridge, with esptool 3 and its stub.
const PUBLISHED: [Published; 4] = [
    Published {
        source: "esptool pull request 639",
        baud: 230_400,
        offset: 0x1000,
        len: 51_200,
        compressed: 51_226,
        seconds: 51_200.0 * 8.0 / 142_400.0,
        agrees: true,
    },
    Published {
        source: "esptool pull request 639",
        baud: 230_400,
        offset: 0,
        len: 390_412,
        compressed: 250_019,
        seconds: 390_412.0 * 8.0 / 262_100.0,
        agrees: true,
    },
    Published {
        source: "ESP-IDF, Get Started",
        baud: 460_800,
        offset: 0,
        len: 18_960,
        compressed: 11_311,
        seconds: 18_960.0 * 8.0 / 584_900.0,
        agrees: false,
    },
    Published {
        source: "ESP-IDF, Get Started",
        baud: 460_800,
        offset: 0x1_0000,
        len: 145_520,
        compressed: 71_984,
        seconds: 145_520.0 * 8.0 / 504_400.0,
        agrees: false,
    },
];

/// Size of a block that esptool sends to its stub, in bytes.
const BLOCK: usize = 0x4000;
/// Size of a RAM block, in bytes.
const RAM_BLOCK: usize = 0x1800;

#[test]
fn writes_take_as_long_as_on_real_boards() {
    let page = fs::read_to_string(repository().join("docs/src/virtual-time.md")).unwrap();
    let stub = Stub::of_esptool();
    let mut told = Vec::new();
    for published in &PUBLISHED {
        let seconds = write(&stub, published).as_secs_f64();
        let off = (seconds / published.seconds - 1.0) * 100.0;
        assert!(!published.agrees || off.abs() <= 15.0, "{}: {seconds} s", published.source);
        told.push(format!(
            "| {} | {} | {} | {} | {:.2} | {seconds:.2} | {off:+.0} % |",
            published.source,
            published.baud,
            published.len,
            published.compressed,
            published.seconds
        ));
    }
    let told = told.join("\n");
    assert!(page.contains(&told), "docs/src/virtual-time.md lacks these rows:\n{told}");
}

/// Writes as in the log, and returns the duration.
fn write(stub: &Stub, published: &Published) -> Duration {
    let mut board = Board::new();
    board.start(stub);
    board.set_baud(published.baud);
    // The old content must be erased.
    let image = image(published.len, published.compressed);
    let packed = deflate(&image);
    let blocks: Vec<&[u8]> = packed.chunks(BLOCK).collect();
    let begun = board.port.now();
    let header = [published.len as u32, blocks.len() as u32, BLOCK as u32, published.offset];
    board.ask(Opcode::FlashDeflBegin, &words(&header), 0);
    for (number, block) in (0_u32..).zip(&blocks) {
        board.block(Opcode::FlashDeflData, number, block);
    }
    // Answered once everything is written.
    board.ask(Opcode::ReadReg, &words(&[0x4000_1000]), 0);
    let took = board.port.now().since_start() - begun.since_start();
    let flash = fs::read(board.directory.path().join("board.flash")).unwrap();
    let at = published.offset as usize;
    assert!(flash[at..at + image.len()] == image, "{}: the flash differs", published.source);
    took
}

/// esptool's older stub for the ESP32-C3, used in the logs.
struct Stub {
    entry: u32,
    parts: [(u32, Vec<u8>); 2],
}

impl Stub {
    fn of_esptool() -> Stub {
        let esptool =
            served::peer("ESPLICE_ESPTOOL", "esptool", "version", "pip install esptool==5.6.0");
        let python = esptool.parent().map(|beside| beside.join("python"));
        let python = python.filter(|python| python.exists()).unwrap_or_else(|| "python3".into());
        let script = "import base64, json, os, esptool\n\
            path = os.path.join(os.path.dirname(esptool.__file__), 'targets/stub_flasher/1/esp32c3.json')\n\
            stub = json.load(open(path))\n\
            print(stub['entry'])\n\
            for part in 'text', 'data':\n    \
            print(stub[part + '_start'], base64.b64decode(stub[part]).hex())";
        let output = Command::new(&python).args(["-c", script]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", python.display());
        let mut lines = text.lines();
        let entry = lines.next().unwrap().parse().unwrap();
        let mut part = || {
            let (start, hex) = lines.next().unwrap().split_once(' ').unwrap();
            let digits = hex.as_bytes().chunks(2);
            let byte = |two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap();
            (start.parse().unwrap(), digits.map(byte).collect())
        };
        Stub { entry, parts: [part(), part()] }
    }
}

/// A board in download mode, driven as by esptool.
struct Board {
    port: SimPort,
    decoder: slip::Decoder,
    directory: tempfile::TempDir,
}

impl Board {
    fn new() -> Board {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("board.flash");
        fs::write(&file, vec![0x5a; 4 << 20]).unwrap();
        let name = format!("sim:esp32c3,bridge=usb,flash={}", file.display());
        let mut port = SimPort::open(&name).unwrap();
        for (dtr, rts, wait) in [(false, true, 100), (true, false, 50), (false, false, 50)] {
            port.set_lines(dtr, rts).unwrap();
            let until = port.now() + Duration::from_millis(wait);
            port.wait_until(until).unwrap();
        }
        port.clear_input().unwrap();
        Board { port, decoder: slip::Decoder::new(0x1000), directory }
    }

    /// Uploads the stub and waits for its greeting.
    fn start(&mut self, stub: &Stub) {
        let sync = [&[7, 7, 0x12, 0x20][..], &[0x55; 32]].concat();
        self.ask(Opcode::Sync, &sync, 0);
        let until = self.port.now() + Duration::from_millis(100);
        self.port.wait_until(until).unwrap();
        self.port.clear_input().unwrap();
        for (start, bytes) in &stub.parts {
            let count = bytes.len().div_ceil(RAM_BLOCK) as u32;
            let header = [bytes.len() as u32, count, RAM_BLOCK as u32, *start];
            self.ask(Opcode::MemBegin, &words(&header), 0);
            for (number, block) in (0_u32..).zip(bytes.chunks(RAM_BLOCK)) {
                self.block(Opcode::MemData, number, block);
            }
        }
        self.ask(Opcode::MemEnd, &words(&[0, stub.entry]), 0);
        assert_eq!(self.frame(), b"OHAI");
        self.ask(Opcode::SpiAttach, &words(&[0]), 0);
        let geometry = [0, 4 << 20, 0x1_0000, 0x1000, 0x100, 0xffff];
        self.ask(Opcode::SpiSetParams, &words(&geometry), 0);
    }

    fn set_baud(&mut self, baud: u32) {
        self.ask(Opcode::ChangeBaudrate, &words(&[baud, 115_200]), 0);
        self.port.set_baud(baud).unwrap();
        let until = self.port.now() + Duration::from_millis(50);
        self.port.wait_until(until).unwrap();
        self.port.clear_input().unwrap();
    }

    fn block(&mut self, opcode: Opcode, number: u32, block: &[u8]) {
        let sum = block.iter().fold(CHECKSUM_SEED, |sum, byte| sum ^ byte);
        let data = [words(&[block.len() as u32, number, 0, 0]), block.to_vec()].concat();
        self.ask(opcode, &data, sum);
    }

    /// Sends a request and waits for a successful reply.
    fn ask(&mut self, opcode: Opcode, data: &[u8], sum: u8) {
        let mut frame = vec![0, opcode as u8];
        frame.extend((data.len() as u16).to_le_bytes());
        frame.extend([sum, 0, 0, 0]);
        frame.extend(data);
        self.port.write(&slip::encode(&frame)).unwrap();
        let reply = self.frame();
        assert_eq!(reply[..2], [1, opcode as u8], "{reply:02x?}");
        assert_eq!(reply[8], 0, "{opcode:?}: {reply:02x?}");
    }

    fn frame(&mut self) -> Vec<u8> {
        let deadline = self.port.now() + Duration::from_secs(5);
        loop {
            let mut byte = [0];
            assert_eq!(self.port.read(&mut byte, deadline).unwrap(), 1, "no answer");
            if let slip::Decoded::Frame(frame) = self.decoder.push(byte[0]) {
                return frame;
            }
        }
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Makes an image of `len` bytes that compresses to about `compressed`: that much noise, and the
/// rest equal bytes.
fn image(len: usize, compressed: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let noisy = compressed.min(len);
    (0..len)
        .map(|at| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Spread over the whole image: a range of noise in each block of 4 KiB.
            let noise = at % 4096 < noisy * 4096 / len;
            if noise { (state >> 56) as u8 } else { 0x11 }
        })
        .collect()
}

fn deflate(image: &[u8]) -> Vec<u8> {
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    zlib.write_all(image).unwrap();
    zlib.finish().unwrap()
}
