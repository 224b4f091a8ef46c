//! Tests ports of other machines: a served virtual board, and far ends with one behaviour each.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use esplice_chip::{ChipDb, FlashOffset};
use esplice_flash::{
    ConnectOptions, FlashOptions, Rfc2217Port, flash, open_rfc2217, open_tcp, reset_to_run,
};
use esplice_image::{ResolvedPlan, Write, WriteKind};
use esplice_protocol::{
    Port, PortError,
    rfc2217::{COM_PORT_OPTION, ComPort, Decoder, Item, Side, Verb, control, encode, purge},
};
use esplice_sim::{
    Board, TimeMode,
    nor::Nor,
    serve::{Server, Wire},
};

fn never() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(false))
}

const HOUR: Duration = Duration::from_secs(3600);

/// Does `work` with the address of a board that is served meanwhile. Returns the board's flash.
fn with_board(wire: Wire, download: bool, work: impl FnOnce(SocketAddr)) -> Vec<u8> {
    let chip = ChipDb::embedded().find("esp32c3").unwrap();
    let sim = chip.sim.as_ref().unwrap();
    let nor = Nor::in_memory(sim.flash.size(), &sim.flash);
    let mut board = Board::with_flash(chip, nor, TimeMode::None).unwrap();
    board.hold_boot_pin(download);
    let mut server = Server::new(board, TimeMode::None);
    let at = server.listen(wire, "127.0.0.1:0").unwrap();
    let over = never();
    let seen = Arc::clone(&over);
    let serving = thread::spawn(move || {
        while !seen.load(Ordering::Relaxed) {
            server.turn(&mut |_| {});
        }
        server.board().flash().bytes().to_vec()
    });
    work(at);
    over.store(true, Ordering::Relaxed);
    serving.join().unwrap()
}

fn data() -> Vec<u8> {
    (0..50_000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect()
}

fn write_to(port: &mut dyn Port, connect: ConnectOptions) {
    let write = Write {
        name: "app".into(),
        kind: WriteKind::App,
        offset: FlashOffset(0x1_0000),
        data: data(),
    };
    let options = FlashOptions::default().baud(Some(921_600)).connect(connect);
    flash(port, &options, |_| Ok(ResolvedPlan::from(vec![write])), &mut |_| {}).unwrap();
}

#[test]
fn flashes_over_rfc2217_with_resets() {
    let flash = with_board(Wire::Rfc2217, false, |at| {
        let mut port = open_rfc2217(&format!("rfc2217://{at}"), 115_200, never()).unwrap();
        assert!(port.caps().lines && port.caps().baud);
        write_to(&mut port, ConnectOptions::default());
        assert!(reset_to_run(&mut port, 115_200).unwrap().is_some());
        let until = port.now() + Duration::from_secs(20);
        let mut heard = Vec::new();
        let mut piece = [0; 256];
        while !String::from_utf8_lossy(&heard).contains("invalid header") {
            let count = port.read(&mut piece, until).unwrap();
            assert_ne!(count, 0, "{}", String::from_utf8_lossy(&heard));
            heard.extend_from_slice(&piece[..count]);
        }
        // Complete from the first byte on, and nothing from before.
        assert!(heard.starts_with(b"ESP-ROM:"), "{}", String::from_utf8_lossy(&heard));
    });
    assert!(flash[0x1_0000..].starts_with(&data()));
}

#[test]
fn flashes_over_tcp_what_waits_for_a_download() {
    let flash = with_board(Wire::Tcp, true, |at| {
        let mut port = open_tcp(&format!("tcp://{at}"), never()).unwrap();
        assert!(!port.caps().lines && !port.caps().baud);
        assert!(port.caps().latency > Duration::ZERO);
        let connect = ConnectOptions::default().strategies(Vec::new());
        write_to(&mut port, connect);
    });
    assert!(flash[0x1_0000..].starts_with(&data()));
}

/// Starts a far end that answers with the bytes that `answer` returns for each item of the client.
fn far_end(
    answer: impl Fn(&Item) -> Vec<u8> + Send + 'static,
) -> (SocketAddr, thread::JoinHandle<Vec<Item>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut decoder = Decoder::new(Side::Client);
        let mut all = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let count = stream.read(&mut piece).unwrap_or(0);
            let mut items = Vec::new();
            decoder.feed(&piece[..count], &mut |item| items.push(item));
            for item in items {
                if stream.write_all(&answer(&item)).is_err() {
                    return all;
                }
                all.push(item);
            }
            if count == 0 {
                return all;
            }
        }
    });
    (at, serving)
}

fn server_bytes(item: Item) -> Vec<u8> {
    let mut wire = Vec::new();
    encode(&item, Side::Server, &mut wire);
    wire
}

const WILL: Item = Item::Option(Verb::Will, COM_PORT_OPTION);
const DO: Item = Item::Option(Verb::Do, COM_PORT_OPTION);

/// Opens a port at a far end that agrees and answers each command with `answer`.
fn agreeing(
    answer: impl Fn(&ComPort) -> Vec<u8> + Send + 'static,
) -> (Rfc2217Port, thread::JoinHandle<Vec<Item>>) {
    let (at, serving) = far_end(move |item| match item {
        item if *item == WILL => server_bytes(DO),
        Item::ComPort(command) => answer(command),
        _ => Vec::new(),
    });
    (open_rfc2217(&format!("rfc2217://{at}"), 115_200, never()).unwrap(), serving)
}

fn echo(command: &ComPort) -> Vec<u8> {
    server_bytes(Item::ComPort(command.clone()))
}

/// Reads everything until 200 ms of silence.
fn read_all(port: &mut dyn Port) -> Vec<u8> {
    let mut all = Vec::new();
    let mut piece = [0; 64];
    loop {
        let until = port.now() + Duration::from_millis(200);
        match port.read(&mut piece, until).unwrap() {
            0 => return all,
            count => all.extend_from_slice(&piece[..count]),
        }
    }
}

/// Hangs up after all answers have arrived: unread data would end the connection at once, before
/// the far end has read everything.
fn hang_up(mut port: Rfc2217Port) {
    read_all(&mut port);
}

#[test]
fn what_was_on_its_way_is_purged_without_waiting() {
    let (mut port, serving) = agreeing(|command| match command {
        // As if the line had sent it before the purge arrived, and after.
        ComPort::Purge(purge::RECEIVED) => [&b"old"[..], &echo(command), b"n\xff\xffew"].concat(),
        command => echo(command),
    });
    port.clear_input().unwrap();
    assert_eq!(read_all(&mut port), b"n\xffew");
    hang_up(port);
    let commands = serving.join().unwrap();
    assert!(commands.contains(&Item::ComPort(ComPort::Baud(115_200))));
    assert!(commands.contains(&Item::ComPort(ComPort::DataSize(8))));
    assert!(commands.contains(&Item::ComPort(ComPort::ModemStateMask(0))));
}

#[test]
fn a_far_end_that_answers_no_purge_is_heard_all_the_same() {
    let (mut port, _serving) = agreeing(|command| match command {
        ComPort::Purge(purge::RECEIVED) => b"one two ".to_vec(),
        ComPort::Purge(_) => Vec::new(),
        command => echo(command),
    });
    port.clear_input().unwrap();
    // Taken for old until the answer is overdue.
    assert_eq!(read_all(&mut port), b"");
    let until = port.now() + Duration::from_millis(1500);
    port.wait_until(until).unwrap();
    port.clear_input().unwrap();
    assert_eq!(read_all(&mut port), b"one two ");
}

#[test]
fn a_rate_that_the_far_end_does_not_have_is_told() {
    let (mut port, _serving) = agreeing(|command| match command {
        ComPort::Baud(2_000_000) => server_bytes(Item::ComPort(ComPort::Baud(1_000_000))),
        command => echo(command),
    });
    assert_eq!(read_all(&mut port), b"");
    port.set_baud(921_600).unwrap();
    assert_eq!(read_all(&mut port), b"");
    port.set_baud(2_000_000).unwrap();
    let until = port.now() + Duration::from_secs(5);
    let error = port.read(&mut [0; 8], until).unwrap_err().to_string();
    assert!(error.ends_with("the far end has no 2000000 baud, it set 1000000"), "{error}");
    port.set_baud(921_600).unwrap();
    assert_eq!(read_all(&mut port), b"");
}

#[test]
fn lines_and_break_are_sent_in_the_order_of_a_cable() {
    let (mut port, serving) = agreeing(echo);
    port.set_lines(false, true).unwrap();
    port.set_lines(true, false).unwrap();
    port.set_lines(true, false).unwrap();
    port.set_lines(false, false).unwrap();
    port.send_break(Duration::from_millis(1)).unwrap();
    hang_up(port);
    let controls: Vec<u8> = serving
        .join()
        .unwrap()
        .into_iter()
        .filter_map(|item| match item {
            Item::ComPort(ComPort::Control(value)) => Some(value),
            _ => None,
        })
        .collect();
    use control::{BREAK_OFF, BREAK_ON, DTR_OFF, DTR_ON, NO_FLOW, RTS_OFF, RTS_ON};
    let expected = [NO_FLOW, RTS_ON, DTR_OFF, DTR_ON, RTS_OFF, DTR_OFF, BREAK_ON, BREAK_OFF];
    assert_eq!(controls, expected);
}

#[test]
fn a_far_end_that_can_take_no_more_is_waited_for() {
    let (mut port, serving) = agreeing(|command| match command {
        ComPort::Control(control::DTR_ON) => server_bytes(Item::ComPort(ComPort::Suspend)),
        // The first answer comes after that; the wait is for the data that follows.
        ComPort::Control(control::DTR_OFF) => server_bytes(Item::ComPort(ComPort::Resume)),
        command => echo(command),
    });
    port.set_lines(true, false).unwrap();
    assert_eq!(read_all(&mut port), b"");
    port.set_lines(false, false).unwrap();
    port.write(b"more").unwrap();
    hang_up(port);
    let items = serving.join().unwrap();
    let off = Item::ComPort(ComPort::Control(control::DTR_OFF));
    let off = items.iter().position(|item| *item == off).unwrap();
    assert!(items[off..].contains(&Item::Byte(b'm')));
}

#[test]
fn what_does_not_agree_is_no_port() {
    let (refusing, _serving) = far_end(|item| match item {
        item if *item == WILL => server_bytes(Item::Option(Verb::Dont, COM_PORT_OPTION)),
        _ => Vec::new(),
    });
    let open = |at| open_rfc2217(&format!("rfc2217://{at}"), 115_200, never()).err().unwrap();
    assert!(matches!(open(refusing), PortError::NotRfc2217 { refused: true, .. }));

    // A plain TCP server that echoes, and one that sends unrelated text.
    let (echoing, _serving) = far_end(|item| {
        let mut wire = Vec::new();
        encode(item, Side::Client, &mut wire);
        wire
    });
    assert!(matches!(open(echoing), PortError::NotRfc2217 { refused: false, heard: 0, .. }));
    let (talking, _serving) = far_end(|item| if *item == WILL { b"hi".to_vec() } else { vec![] });
    let error = open(talking);
    assert!(matches!(error, PortError::NotRfc2217 { refused: false, heard: 2, .. }), "{error}");
    assert!(error.hint().unwrap().contains("tcp://"));
}

#[test]
fn who_is_not_there_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    for open in [
        open_tcp(&format!("tcp://{at}"), never()).err(),
        open_rfc2217(&format!("rfc2217://{at}"), 115_200, never()).err(),
    ] {
        let error = open.unwrap();
        assert!(matches!(error, PortError::Unreachable { addr, .. } if addr == at), "{error}");
        assert!(error.hint().unwrap().contains("nothing listens there"));
    }
    let nobody = open_tcp("tcp://no-such-host.invalid:1", never()).err().unwrap();
    assert!(matches!(nobody, PortError::Host { .. }), "{nobody}");
    let unnamed = open_tcp("tcp://localhost", never()).err().unwrap();
    assert!(matches!(unnamed, PortError::Name { .. }), "{unnamed}");
}

/// A host with addresses of both kinds is reached by the one with a listener.
#[test]
fn all_addresses_of_a_host_are_tried() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let number = listener.local_addr().unwrap().port();
    open_tcp(&format!("tcp://localhost:{number}"), never()).unwrap();
    if let Ok(listener) = TcpListener::bind("[::1]:0") {
        let number = listener.local_addr().unwrap().port();
        open_tcp(&format!("tcp://[::1]:{number}"), never()).unwrap();
    }
}

#[test]
fn a_far_end_that_hangs_up_is_gone() {
    let check = |open: &dyn Fn(SocketAddr) -> Box<dyn Port>, agrees: bool| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let serving = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            if agrees {
                stream.write_all(&server_bytes(DO)).unwrap();
            }
            // Nothing may be left unread, see `hang_up`.
            let mut byte = [0];
            while byte != *b"x" {
                stream.read_exact(&mut byte).unwrap();
            }
        });
        let mut port = open(at);
        port.write(b"x").unwrap();
        serving.join().unwrap();
        let far = port.now() + HOUR;
        assert!(matches!(port.read(&mut [0; 8], far), Err(PortError::Gone { .. })));
        // The system may still accept the first write.
        let written = (0..100).find_map(|_| port.write(b"x").err());
        assert!(matches!(written, Some(PortError::Gone { .. })), "{written:?}");
    };
    check(&|at| Box::new(open_tcp(&format!("tcp://{at}"), never()).unwrap()), false);
    check(
        &|at| Box::new(open_rfc2217(&format!("rfc2217://{at}"), 115_200, never()).unwrap()),
        true,
    );
}

#[test]
fn an_interrupt_ends_every_wait() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let interrupt = never();
    let mut port = open_tcp(&format!("tcp://{at}"), Arc::clone(&interrupt)).unwrap();
    let far = port.now() + HOUR;
    thread::scope(|scope| {
        scope.spawn(|| interrupt.store(true, Ordering::Relaxed));
        assert!(matches!(port.read(&mut [0; 8], far), Err(PortError::Interrupted)));
    });
    assert!(matches!(port.wait_until(far), Err(PortError::Interrupted)));
    assert!(matches!(port.write(b"x"), Err(PortError::Interrupted)));
    // This far end never agrees.
    interrupt.store(false, Ordering::Relaxed);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    thread::scope(|scope| {
        let far_end = scope.spawn(|| {
            let (stream, _) = listener.accept().unwrap();
            interrupt.store(true, Ordering::Relaxed);
            stream
        });
        let opened = open_rfc2217(&format!("rfc2217://{at}"), 115_200, Arc::clone(&interrupt));
        assert!(matches!(opened.err(), Some(PortError::Interrupted)));
        far_end.join().unwrap();
    });
}

#[test]
fn a_port_that_was_away_is_opened_again() {
    with_board(Wire::Rfc2217, false, |at| {
        let mut port = open_rfc2217(&format!("rfc2217://{at}"), 115_200, never()).unwrap();
        port.reopen().unwrap();
        write_to(&mut port, ConnectOptions::default());
    });
}
