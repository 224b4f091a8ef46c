//! Tests that a traced board reports events and behaves the same as an untraced one.

use std::sync::{Arc, Mutex};

use crate::firmware::{Code, rom_image};
use esplice_sim::{Board, TraceEvent, TraceKinds, Traced, millis};

const UART: u32 = 0x6000_0000;

/// Returns a board whose code calls a function that reads a register without a device, prints, and
/// traps.
fn board(what: Option<TraceKinds>) -> (Board, Arc<Mutex<Vec<Traced>>>) {
    // 0: jal ra, f; 4: sw to UART; …: ecall; f: lw of an unlisted register; ret.
    let code = Code::new()
        .flush()
        .load(10, UART)
        .load(11, 0x6004_1000)
        .word(0x0140_00ef) // jal ra, +20: f
        .word(0x0410_0613) // li a2, 'A'
        .word(0x00c5_2023) // sw a2, 0(a0)
        .word(0x0000_0073) // ecall
        .word(0x0000_006f)
        .word(0x0005_a683) // f: lw a3, 0(a1)
        .word(0x8082) // c.ret, and an instruction that is never reached
        .wait();
    let mut board = Board::new("esp32c3").unwrap();
    board.load_flash(&rom_image(&code)).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    if let Some(what) = what {
        let sink = Arc::clone(&told);
        board.trace(
            what,
            Arc::new(move |traced: &Traced| sink.lock().unwrap().push(traced.clone())),
        );
    }
    (board, told)
}

#[test]
fn calls_devices_and_instructions_are_told_in_order() {
    let all = TraceKinds { instructions: true, devices: true, calls: true };
    let (mut board, told) = board(Some(all));
    board.run_for(millis(40)).unwrap();
    let told = told.lock().unwrap();
    let call = told.iter().position(|t| matches!(t.event, TraceEvent::Call { .. })).unwrap();
    let pc = told[call].pc;
    let at = |offset: u32| pc + offset;
    let story: Vec<_> = told[call - 1..]
        .iter()
        .map(|t| (t.pc, t.event.clone()))
        .take_while(|(_, event)| !matches!(event, TraceEvent::Trap { .. }))
        .collect();
    let insn = |offset, bits, len| (at(offset), TraceEvent::Instruction { bits, len });
    let (none, uart) = (None, Some("uart0".into()));
    assert_eq!(
        story,
        [
            insn(0, 0x0140_00ef, 4),
            (at(0), TraceEvent::Call { to: at(20), depth: 0 }),
            (at(20), TraceEvent::Load { device: none, addr: 0x6004_1000, value: 0 }),
            insn(20, 0x0005_a683, 4),
            insn(24, 0x8082, 2),
            (at(24), TraceEvent::Return { to: at(4), depth: 0 }),
            insn(4, 0x0410_0613, 4),
            (at(8), TraceEvent::Store { device: uart, addr: UART, value: 0x41 }),
            insn(8, 0x00c5_2023, 4),
        ]
    );
    let trap = told.iter().find(|t| matches!(t.event, TraceEvent::Trap { .. })).unwrap();
    assert_eq!(trap.pc, at(12));
    assert!(matches!(trap.event, TraceEvent::Trap { cause: 11, .. }), "{trap:?}");
    // Times never decrease.
    assert!(told.windows(2).all(|pair| pair[0].at <= pair[1].at));
}

#[test]
fn a_traced_board_does_the_same() {
    let run = |what| {
        let (mut board, _) = board(what);
        let printed = board.run_for(millis(60)).unwrap();
        (printed, board.cycles(), board.counters().sent, board.unlisted_accesses())
    };
    let plain = run(None);
    assert_eq!(run(Some(TraceKinds { calls: true, ..TraceKinds::default() })), plain);
    assert_eq!(plain.2, plain.0.len() as u64);
    assert_eq!(plain.3.len(), 1);
}

#[test]
fn rom_functions_are_calls_that_return() {
    let code = Code::new().flush().load(10, 0x42).call(0x4000_0068).wait();
    let mut board = Board::new("esp32c3").unwrap();
    board.load_flash(&rom_image(&code)).unwrap();
    assert_eq!(board.rom_names().name(0x4000_0068), Some("uart_tx_one_char"));
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let what = TraceKinds { calls: true, ..TraceKinds::default() };
    board.trace(what, Arc::new(move |traced: &Traced| sink.lock().unwrap().push(traced.clone())));
    board.run_for(millis(60)).unwrap();
    let told: Vec<_> = told.lock().unwrap().iter().map(|t| (t.pc, t.event.clone())).collect();
    let [(from, TraceEvent::Call { to: 0x4000_0068, depth: 0 }), (0x4000_0068, back)] = &told[..]
    else {
        panic!("{told:?}");
    };
    assert_eq!(*back, TraceEvent::Return { to: from + 4, depth: 0 });
}
