//! Runs sessions with a virtual board under faults, and checks the result of each.

#![allow(dead_code)] // Each program uses only a part of this module.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use esplice_chip::{Chip, ChipDb, FlashOffset};
use esplice_flash::{
    ChipInfo, FlashError, FlashEvent, FlashOptions, FlashRange, Session, StubSource, Survey,
    flash_plan, survey, with_board,
};
use esplice_image::{
    BootLayout, CustomParts, FlashMode, FlashParams, FlashPlan, PartitionTable, ResolveOptions,
    Write, WriteKind,
};
use esplice_sim::{
    Board, PortLoss, SimError, SimPort, TimeMode,
    fault_plan::{FaultEvent, FaultPlan},
    nor::Nor,
    port::SerialEnd,
};

/// Bytes of the board's flash: the smallest size that ESP-IDF's default table fits.
pub const FLASH_LEN: usize = 2 << 20;

/// The range to hash, read and verify: the app of the new plan, with a length that is not a
/// multiple of a word.
const RANGE: (u32, u32) = (0x1_0000, 0x4ffd);

/// The range to erase, after the app.
const ERASED: (u32, u32) = (0x2_0000, 0x3000);

/// An operation on the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Flash firmware over other firmware.
    Flash,
    /// Flash firmware onto a blank board.
    FlashBlank,
    /// Flash the same firmware again.
    FlashAgain,
    /// Identify the board.
    Detect,
    /// Hash a range.
    Hash,
    /// Read a range.
    Read,
    /// Verify a range that is the same.
    VerifySame,
    /// Verify a range in which one sector differs.
    VerifyOther,
    /// Erase a range.
    Erase,
}

impl Work {
    pub const ALL: [Work; 9] = [
        Work::Flash,
        Work::FlashBlank,
        Work::FlashAgain,
        Work::Detect,
        Work::Hash,
        Work::Read,
        Work::VerifySame,
        Work::VerifyOther,
        Work::Erase,
    ];

    /// Returns whether the operation writes flash.
    pub fn writes(self) -> bool {
        matches!(self, Work::Flash | Work::FlashBlank | Work::FlashAgain | Work::Erase)
    }
}

/// Result of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Success was reported, and the result is right.
    Done,
    /// An error was reported.
    Failed(String),
    /// Success was reported, but the result is wrong as described.
    Wrong(String),
    /// The flasher panicked.
    Panicked(String),
}

/// A completed session.
pub struct Trial {
    pub outcome: Outcome,
    /// The flash afterwards.
    pub flash: Vec<u8>,
    /// Number of bytes outside the written range that changed.
    pub strays: usize,
    /// Bytes sent and received.
    pub bytes: (u64, u64),
    /// Flash operations.
    pub operations: u64,
    /// Number of faults that occurred.
    pub struck: usize,
}

/// Initial states of the board, and the firmware to flash.
pub struct Trials {
    pub old: FlashPlan,
    pub new: FlashPlan,
    stub: StubSource,
    blank: Vec<u8>,
    pub with_old: Vec<u8>,
    pub with_new: Vec<u8>,
    /// Description of the board, as reported without faults.
    known: OnceLock<ChipInfo>,
}

impl Trials {
    /// Creates trials that use this stub, or only the ROM loader.
    pub fn new(stub: StubSource) -> Trials {
        let (old, new) = (plan(1), plan(101));
        let blank = vec![0xff; FLASH_LEN];
        let mut trials = Trials {
            with_old: holding(&blank, &old),
            with_new: holding(&blank, &new),
            old,
            new,
            stub,
            blank,
            known: OnceLock::new(),
        };
        trials.run(Work::Detect, &FaultPlan::default());
        let known = trials.known.get().expect("a board without faults describes itself");
        let sim = chip().sim.as_ref().expect("the chip has a virtual board");
        assert_eq!((known.mac, known.revision), (sim.mac, sim.revision));
        assert_eq!(known.flash_size as usize, FLASH_LEN);
        // Data to erase, with neighbours that must not change.
        let (at, len) = (ERASED.0 as usize, ERASED.1 as usize);
        for flash in [&mut trials.with_old, &mut trials.with_new] {
            flash[at - 0x1000..at + len + 0x1000].fill(0x5a);
        }
        trials
    }

    /// Returns the flash contents before `work`.
    pub fn before(&self, work: Work) -> &[u8] {
        match work {
            Work::Flash => &self.with_old,
            Work::FlashBlank => &self.blank,
            _ => &self.with_new,
        }
    }

    /// Does `work` with a board on which `faults` occur.
    pub fn run(&self, work: Work, faults: &FaultPlan) -> Trial {
        self.run_on(work, faults, self.before(work))
    }

    /// Runs like [`Trials::run`], on a board whose flash holds these bytes.
    pub fn run_on(&self, work: Work, faults: &FaultPlan, flash: &[u8]) -> Trial {
        let chip = chip();
        let timing = &chip.sim.as_ref().expect("the chip has a virtual board").flash;
        let mut nor = Nor::in_memory(FLASH_LEN as u32, timing);
        nor.put(0, flash).expect("the data fits the flash");
        let mut board =
            Board::with_flash(chip, nor, TimeMode::Virtual).expect("the chip's data is valid");
        board.set_faults(faults).expect("the faults are inside the flash");
        // Stuck bits are stuck from the start.
        let before = board.flash().bytes().to_vec();
        let before = before.as_slice();
        let shared = Shared(Arc::new(Mutex::new(board)));
        let mut port =
            SimPort::from_board("sim:esp32c3", Box::new(shared.clone()), TimeMode::Virtual);
        let log = port.fault_log();
        let mut bytes = (0, 0);
        let done =
            catch_unwind(AssertUnwindSafe(|| self.work(work, &mut port, before, &mut bytes)));
        drop(port);
        let board = shared.board();
        let flash = board.flash().bytes().to_vec();
        let outcome = match done {
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
                Outcome::Panicked(text.unwrap_or_default())
            }
            Ok(Err(error)) => Outcome::Failed(error.to_string()),
            Ok(Ok(Some(wrong))) => Outcome::Wrong(wrong),
            Ok(Ok(None)) => match self.wrong_flash(work, before, &flash) {
                Some(wrong) => Outcome::Wrong(wrong),
                None => Outcome::Done,
            },
        };
        let strays = before.iter().zip(&flash).enumerate();
        let strays = strays.filter(|(at, (old, new))| old != new && !self.is_written(work, *at));
        Trial {
            strays: strays.count(),
            outcome,
            flash,
            bytes,
            operations: board.flash().operations(),
            struck: log.take().len(),
        }
    }

    /// Does the work. Returns a description of what is wrong with its result, if anything.
    fn work(
        &self,
        work: Work,
        port: &mut SimPort,
        before: &[u8],
        bytes: &mut (u64, u64),
    ) -> Result<Option<String>, FlashError> {
        let options = FlashOptions::default()
            .target(Some(chip().clone().clone()))
            .baud(Some(921_600))
            .stub(self.stub.clone());
        let mut events = |event| {
            if let FlashEvent::Statistics(numbers) = event {
                *bytes = (numbers.bytes_sent, numbers.bytes_received);
            }
        };
        let range = FlashRange { name: "range".into(), offset: FlashOffset(RANGE.0), len: RANGE.1 };
        let place = RANGE.0 as usize..(RANGE.0 + RANGE.1) as usize;
        let there = &before[place.clone()];
        let differs = |what: &str, found: String| Some(format!("{what}: {found}"));
        Ok(match work {
            Work::Flash | Work::FlashBlank | Work::FlashAgain => {
                let resolve = ResolveOptions::default().with_bootloader(true);
                let report = flash_plan(port, &self.new, &resolve, &options, &mut events)?;
                let (mac, revision) = (report.chip.mac, report.chip.revision);
                let sim = chip().sim.as_ref().expect("the chip has a virtual board");
                let is_right = mac == sim.mac && revision == sim.revision;
                if is_right { None } else { differs("chip", format!("{:?}", report.chip)) }
            }
            Work::Detect => {
                let options = options.target(None).baud(None);
                match survey(port, &options, &mut events)? {
                    Survey::Full(info) if info == *self.known.get_or_init(|| info.clone()) => None,
                    other => differs("survey", format!("{other:?}")),
                }
            }
            Work::Hash => {
                let hash = with_board(port, &options, &mut events, |session, info| {
                    session.hash_range(info, &options, &FlashRange { len: 0x4ffc, ..range.clone() })
                })?;
                let right = md5_hex(&there[..0x4ffc]);
                if hash == right { None } else { differs("hash", hash) }
            }
            Work::Read => {
                let read = |session: &mut Session<'_, SimPort>, info: &_| {
                    session.read_range(info, &options, &range)
                };
                let read = with_board(port, &options, &mut events, read)?;
                if read == there { None } else { differs("read", "other bytes".into()) }
            }
            Work::VerifySame | Work::VerifyOther => {
                let mut data = self.with_new[place].to_vec();
                if work == Work::VerifyOther {
                    data[0x2345] ^= 1;
                }
                let expected = differing(&data, there);
                let found = with_board(port, &options, &mut events, |session, info| {
                    session.differences(info, &options, "range", FlashOffset(RANGE.0), &data)
                })?;
                if found == expected { None } else { differs("verify", format!("{found:?}")) }
            }
            Work::Erase => {
                let range = FlashRange {
                    name: "range".into(),
                    offset: FlashOffset(ERASED.0),
                    len: ERASED.1,
                };
                with_board(port, &options, &mut events, |session, info| {
                    session.erase_range(info, &options, &range)
                })?;
                None
            }
        })
    }

    /// Returns what is wrong with the flash after a success, if anything.
    fn wrong_flash(&self, work: Work, before: &[u8], flash: &[u8]) -> Option<String> {
        match work {
            Work::Flash | Work::FlashBlank | Work::FlashAgain => {
                let holds = |write: &&Write| {
                    let at = write.offset.0 as usize;
                    flash.get(at..at + write.data.len()) != Some(write.data.as_slice())
                };
                let wrong = self.new.writes.iter().find(holds)?;
                Some(format!("{} is not in flash", wrong.name))
            }
            Work::Erase => {
                let place = ERASED.0 as usize..(ERASED.0 + ERASED.1) as usize;
                let is_blank = flash[place].iter().all(|byte| *byte == 0xff);
                (!is_blank).then(|| "the range is not blank".into())
            }
            _ => (flash != before).then(|| "the flash has changed".into()),
        }
    }

    /// Returns whether the byte at `at` is in a sector that `work` may change.
    fn is_written(&self, work: Work, at: usize) -> bool {
        let within = |from: u32, len: usize| {
            let (from, end) = (from as usize, (from as usize + len).next_multiple_of(0x1000));
            (from..end).contains(&at)
        };
        match work {
            Work::Flash | Work::FlashBlank | Work::FlashAgain => {
                self.new.writes.iter().any(|write| within(write.offset.0, write.data.len()))
            }
            Work::Erase => within(ERASED.0, ERASED.1 as usize),
            _ => false,
        }
    }
}

/// Returns the sectors of [`RANGE`] in which both differ, as the flasher reports them.
fn differing(data: &[u8], there: &[u8]) -> Vec<(FlashOffset, u32)> {
    let mut found: Vec<(FlashOffset, u32)> = Vec::new();
    for (number, (one, other)) in data.chunks(0x1000).zip(there.chunks(0x1000)).enumerate() {
        let at = RANGE.0 + number as u32 * 0x1000;
        let len = one.len() as u32;
        match found.last_mut() {
            _ if one == other => {}
            Some((start, total)) if start.0 + *total == at => *total += len,
            _ => found.push((FlashOffset(at), len)),
        }
    }
    found
}

pub fn chip() -> &'static Arc<Chip> {
    ChipDb::embedded().find("esp32c3").expect("esp32c3 is known")
}

fn md5_hex(bytes: &[u8]) -> String {
    use md5::{Digest as _, Md5};
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn holding(flash: &[u8], plan: &FlashPlan) -> Vec<u8> {
    let mut flash = flash.to_vec();
    for write in &plan.writes {
        let at = write.offset.0 as usize;
        flash[at..at + write.data.len()].copy_from_slice(&write.data);
    }
    flash
}

/// Returns a plan with a bootloader, ESP-IDF's default table and an app.
fn plan(seed: u8) -> FlashPlan {
    let write = |name: &str, kind, offset, data| Write {
        name: name.to_owned(),
        kind,
        offset: FlashOffset(offset),
        data,
    };
    let table = PartitionTable::esp_idf_default().to_bytes().expect("the table is valid");
    FlashPlan {
        chip: chip().clone(),
        min_rev: 0,
        max_rev: u16::MAX,
        boot: BootLayout::Idf,
        flash: FlashParams { mode: FlashMode::Dio, freq: "80m".into(), size: FLASH_LEN as u32 },
        table_offset: None,
        own: CustomParts { table: true, bootloader: false },
        writes: vec![
            write("bootloader", WriteKind::Bootloader, 0, image(0x3210, seed)),
            write("partition table", WriteKind::PartitionTable, 0x8000, table),
            write("app", WriteKind::App, 0x1_0000, image(0x5000, seed.wrapping_add(1))),
        ],
        elf_sha256: None,
    }
}

/// Returns an image of `len` bytes, a multiple of 16, with one segment and no hash.
fn image(len: usize, seed: u8) -> Vec<u8> {
    let mut random = Random::new(seed.into());
    let mut data: Vec<u8> = (0..len).map(|_| random.next() as u8 & 0x3f).collect();
    data[..24].fill(0);
    data[..4].copy_from_slice(&[0xe9, 1, 2, 0x1f]);
    data[12..14].copy_from_slice(&chip().image.chip_id.to_le_bytes());
    data[17..19].copy_from_slice(&u16::MAX.to_le_bytes());
    data[24..28].copy_from_slice(&0x3fc8_0000_u32.to_le_bytes());
    data[28..32].copy_from_slice(&(len as u32 - 48).to_le_bytes());
    data[len - 1] = data[32..len - 16].iter().fold(0xef, |sum, byte| sum ^ byte);
    data
}

/// Pseudo-random numbers from a seed (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`, which must not be 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}

/// A board that can be inspected after its port was dropped.
#[derive(Clone)]
struct Shared(Arc<Mutex<Board>>);

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SerialEnd for Shared {
    fn now(&self) -> Duration {
        SerialEnd::now(&*self.board())
    }

    fn run_to(&mut self, deadline: Duration, stop_on_output: bool) -> Result<(), SimError> {
        SerialEnd::run_to(&mut *self.board(), deadline, stop_on_output)
    }

    fn set_lines(&mut self, dtr: bool, rts: bool) {
        SerialEnd::set_lines(&mut *self.board(), dtr, rts);
    }

    fn host_send(&mut self, bytes: &[u8], baud: u32) -> Duration {
        SerialEnd::host_send(&mut *self.board(), bytes, baud)
    }

    fn host_take(&mut self, baud: u32, buf: &mut [u8]) -> usize {
        SerialEnd::host_take(&mut *self.board(), baud, buf)
    }

    fn host_clear(&mut self) {
        SerialEnd::host_clear(&mut *self.board());
    }

    fn take_fault_events(&mut self) -> Vec<FaultEvent> {
        SerialEnd::take_fault_events(&mut *self.board())
    }

    fn take_port_loss(&mut self) -> Option<PortLoss> {
        SerialEnd::take_port_loss(&mut *self.board())
    }
}

/// Returns the number after `--NAME` in the program's arguments.
pub fn number(name: &str, default: u64) -> u64 {
    argument(name).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name}: {text:?} is not a whole number"))
    })
}

/// Returns the text after `--NAME` in the program's arguments.
pub fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip(1);
    arguments.find(|argument| argument == name)?;
    arguments.next()
}

/// Returns the stub in the file after `--stub`, or none.
pub fn stub() -> StubSource {
    argument("--stub").map_or_else(StubSource::none, |file| {
        let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let stub = esplice_flash::Stub::parse(&bytes);
        StubSource::only(stub.unwrap_or_else(|error| panic!("{file}: {error}")))
    })
}
