//! Sends frames to esplice's own stub, which runs on a virtual board: flash that was not announced
//! keeps its contents, and the stub still answers.
#![no_main]

use std::{cell::RefCell, collections::BTreeSet};

use esplice_chip::{ChipDb, FlashOffset};
use esplice_flash::{FlashOptions, Stub, StubSource, with_board};
use esplice_protocol::{Opcode, Request, slip};
use esplice_sim::{Board, SharedBoard, SimPort, Snapshot, TimeMode, millis, nor::Nor};
use libfuzzer_sys::arbitrary::{self, Arbitrary};

const FLASH: u32 = 1 << 20;
const SECTOR: u32 = 0x1000;
const FILL: u8 = 0x5a;

#[derive(Debug, Arbitrary)]
enum Piece {
    /// Any bytes on the line.
    Raw(Vec<u8>),
    /// A command with a header that is right.
    Command { opcode: u8, data: Vec<u8> },
    /// An announced write, with a checksum that is right.
    Begin { coder: u8, properties: u8, packed: u16, ranges: Vec<[u32; 4]> },
    /// A block with a checksum that is right.
    Block { sequence: u8, data: Vec<u8> },
    /// Time passes.
    Wait(u8),
}

/// Commands that the fuzzer leaves out: they reach every register, load programs, or change the
/// line.
const LEFT_OUT: [Opcode; 6] = [
    Opcode::WriteReg,
    Opcode::ReadReg,
    Opcode::MemEnd,
    Opcode::MemData,
    Opcode::ChangeBaudrate,
    Opcode::RunUserCode,
];

thread_local! {
    static START: RefCell<Option<Snapshot>> = const { RefCell::new(None) };
}

/// Returns a board on which the whole stub runs.
fn start() -> Snapshot {
    let chip = ChipDb::embedded().find("esp32c3").expect("a chip");
    let mut nor = Nor::in_memory(FLASH, &chip.sim.as_ref().expect("a virtual board").flash);
    nor.put(0, &vec![FILL; FLASH as usize]).expect("the contents fit");
    let board = Board::with_flash(chip, nor, TimeMode::None).expect("a board");
    let shared = SharedBoard::new(board);
    let mut port = SimPort::from_board("board", Box::new(shared.clone()), TimeMode::None);
    let stub = StubSource::only(Stub::own(chip).expect("a stub"));
    let options = FlashOptions::default().target(Some(chip.clone())).stub(stub);
    with_board(&mut port, &options, &mut |_| {}, |session, _| {
        // Both parts are uploaded.
        session.erase_region(FlashOffset(0), 0)?;
        session.read_flash(FlashOffset(0), 4, &mut |_| Ok(()))
    })
    .expect("the stub runs");
    shared.with(|board| board.snapshot())
}

/// Marks the sectors that a frame announces.
fn announced(frame: &[u8], sectors: &mut BTreeSet<u32>) {
    let word = |index: usize| {
        let bytes = frame.get(8 + 4 * index..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
    };
    let mut mark = |offset: u32, end: u32| {
        let end = end.min(FLASH).div_ceil(SECTOR);
        sectors.extend(offset / SECTOR..end);
    };
    match frame.get(1).and_then(|byte| Opcode::from_byte(*byte)) {
        Some(Opcode::EraseFlash) => mark(0, FLASH),
        Some(Opcode::EraseRegion) => mark(word(0), word(0).saturating_add(word(1))),
        Some(Opcode::FlashBegin | Opcode::FlashDeflBegin) => {
            mark(word(3), word(3).saturating_add(word(0)));
        }
        Some(Opcode::StreamBegin) => {
            for index in 0..(word(3) as usize).min(frame.len() / 48) {
                mark(word(4 + index * 12), word(6 + index * 12));
            }
        }
        _ => {}
    }
}

libfuzzer_sys::fuzz_target!(|pieces: Vec<Piece>| {
    let snapshot = START.with(|start_of| start_of.borrow_mut().get_or_insert_with(start).clone());
    let mut board = snapshot.board();
    let mut decoder = slip::Decoder::new(0x8000);
    let mut sectors = BTreeSet::new();
    for piece in pieces.iter().take(24) {
        let bytes = match piece {
            Piece::Raw(bytes) => bytes.clone(),
            Piece::Command { opcode, data } => {
                let mut frame = vec![0, *opcode];
                frame.extend((data.len() as u16).to_le_bytes());
                frame.extend([0; 4]);
                frame.extend(data);
                slip::encode(&frame)
            }
            Piece::Begin { coder, properties, packed, ranges } => {
                let ranges = ranges.get(..ranges.len().min(8)).unwrap_or_default();
                let mut data = Vec::new();
                let head = [(coder & 3).into(), (*properties).into(), (*packed).into()];
                for word in head.into_iter().chain([ranges.len() as u32]) {
                    data.extend(word.to_le_bytes());
                }
                for [offset, len, erase_end, flags] in ranges {
                    for word in [offset % (2 * FLASH), len % FLASH, erase_end % (2 * FLASH), flags & 3]
                    {
                        data.extend((word & !(SECTOR - 1) | word & 3).to_le_bytes());
                    }
                    data.extend([0; 32]);
                }
                data.extend(esplice_stub::crc::crc32(&data).to_le_bytes());
                slip::encode(&Request::Own { opcode: Opcode::StreamBegin, data }.to_bytes())
            }
            Piece::Block { sequence, data: block } => {
                let sequence = u32::from(*sequence);
                let mut data = sequence.to_le_bytes().to_vec();
                data.extend((esplice_stub::crc::crc32(block) ^ sequence).to_le_bytes());
                data.extend(block);
                slip::encode(&Request::Own { opcode: Opcode::StreamData, data }.to_bytes())
            }
            Piece::Wait(time) => {
                let _ = board.run_for(millis(u64::from(*time % 8)));
                continue;
            }
        };
        for byte in &bytes {
            if let slip::Decoded::Frame(frame) = decoder.push(*byte) {
                let opcode = frame.get(1).and_then(|byte| Opcode::from_byte(*byte));
                if opcode.is_some_and(|opcode| LEFT_OUT.contains(&opcode)) {
                    return;
                }
                announced(&frame, &mut sectors);
                // The end of a frame may be the beginning of the next.
                decoder.push(slip::END);
            }
        }
        board.send(&bytes);
    }
    let _ = board.run_for(millis(40));
    let flash = board.flash().bytes();
    for (sector, bytes) in (0..).zip(flash.chunks(SECTOR as usize)) {
        let kept = bytes.iter().all(|byte| *byte == FILL);
        assert!(kept || sectors.contains(&sector), "sector {sector:#x} was not announced");
    }
    // The END closes an open frame, and the SYNC ends a stream; then the stub answers.
    board.send(&[slip::END]);
    board.send(&slip::encode(&Request::Sync.to_bytes()));
    let answer = board.run_until(&[0x01, Opcode::Sync as u8], millis(3000));
    assert!(answer.is_ok(), "{answer:?}");
});
