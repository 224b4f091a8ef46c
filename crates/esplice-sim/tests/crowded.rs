//! Tests of a served board with clients that send more than the line carries, disconnect abruptly,
//! or wait silently.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use esplice_chip::ChipDb;
use esplice_protocol::{
    Opcode,
    rfc2217::{COM_PORT_OPTION, ComPort, Item, Side, Verb, control, encode, purge},
    slip,
};
use esplice_sim::{
    Board, TimeMode,
    nor::Nor,
    serve::{Server, ServerEvent, Wire},
};

/// Bytes of a flood.
const FLOOD: usize = 10_000_000;
/// Time after which a client waits for its answer in vain: longer than on the busiest machine.
const SOON: Duration = Duration::from_secs(300);

/// Returns a server of a board in download mode, with its addresses for raw TCP and RFC 2217.
fn server() -> (Server, SocketAddr, SocketAddr) {
    let chip = ChipDb::embedded().find("esp32c3").unwrap();
    let sim = chip.sim.as_ref().unwrap();
    let nor = Nor::in_memory(sim.flash.size(), &sim.flash);
    let mut board = Board::with_flash(chip, nor, TimeMode::Virtual).unwrap();
    board.hold_boot_pin(true);
    let mut server = Server::new(board, TimeMode::Virtual);
    let tcp = server.listen(Wire::Tcp, "127.0.0.1:0").unwrap();
    let rfc2217 = server.listen(Wire::Rfc2217, "127.0.0.1:0").unwrap();
    (server, tcp, rfc2217)
}

#[allow(clippy::disallowed_methods)] // Clients run in the host's time.
fn now() -> Instant {
    Instant::now()
}

/// Sends zeros from its own thread. Hangs up at the end, or returns the connection.
fn flood(at: SocketAddr, hang_up: bool) -> std::thread::JoinHandle<Option<TcpStream>> {
    let mut stream = TcpStream::connect(at).unwrap();
    std::thread::spawn(move || {
        // The server may have hung up by then.
        let _ = stream.write_all(&vec![0; FLOOD]);
        (!hang_up).then_some(stream)
    })
}

fn sync() -> Vec<u8> {
    let mut request = vec![0, Opcode::Sync as u8, 36, 0, 0, 0, 0, 0, 0x07, 0x07, 0x12, 0x20];
    request.resize(8 + 36, 0x55);
    slip::encode(&request)
}

fn commands(commands: &[ComPort]) -> Vec<u8> {
    let mut wire = Vec::new();
    for command in commands {
        encode(&Item::ComPort(command.clone()), Side::Client, &mut wire);
    }
    wire
}

/// Sends `asked`, and a SYNC from time to time, until one is answered.
fn answered(
    server: &mut Server,
    client: &mut TcpStream,
    asked: &[u8],
    told: &mut Vec<ServerEvent>,
) {
    client.set_nonblocking(true).unwrap();
    let began = now();
    let (mut heard, mut piece) = (Vec::new(), [0; 4096]);
    let mut pending = asked.to_vec();
    let mut next = Duration::from_millis(300);
    while began.elapsed() < SOON {
        match client.write(&pending) {
            Ok(len) => drop(pending.drain(..len)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        server.turn(&mut |happened| told.push(happened));
        match client.read(&mut piece) {
            Ok(len) => heard.extend_from_slice(&piece[..len]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        if heard.windows(4).any(|bytes| bytes == [0xc0, 1, 8, 4]) {
            return;
        }
        if began.elapsed() > next && pending.is_empty() {
            pending = sync();
            next += Duration::from_millis(300);
        }
    }
    panic!("no answer within {SOON:?}");
}

/// Returns commands that discard what is on the line and then reset into download mode by DTR and
/// RTS.
fn purge_and_reset() -> Vec<u8> {
    let mut wire = Vec::new();
    encode(&Item::Option(Verb::Will, COM_PORT_OPTION), Side::Client, &mut wire);
    wire.extend(commands(&[
        ComPort::Purge(purge::BOTH),
        ComPort::Control(control::RTS_ON),
        ComPort::Control(control::RTS_OFF),
        ComPort::Purge(purge::BOTH),
    ]));
    wire
}

#[test]
fn another_client_is_heard_beside_a_flood() {
    let (mut server, tcp, rfc2217) = server();
    let flooding = flood(tcp, false);
    let mut told = Vec::new();
    while server.board().host_waiting() < 0x3000 {
        server.turn(&mut |happened| told.push(happened));
    }
    let mut other = TcpStream::connect(rfc2217).unwrap();
    let resets = server.board().resets();
    answered(&mut server, &mut other, &purge_and_reset(), &mut told);
    assert!(server.board().resets() > resets);
    // The flooding client is disconnected.
    drop(server);
    drop(flooding.join().unwrap());
}

#[test]
fn a_client_ends_its_own_flood() {
    let (mut server, _, rfc2217) = server();
    let flooding = flood(rfc2217, false);
    let mut told = Vec::new();
    while !flooding.is_finished() {
        server.turn(&mut |happened| told.push(happened));
    }
    assert!(told.iter().any(|told| matches!(told, ServerEvent::Flooded)), "{told:?}");
    let mut client = flooding.join().unwrap().unwrap();
    answered(&mut server, &mut client, &purge_and_reset(), &mut told);
}

/// A client that has gone is noticed before the line has carried all its bytes, and the next one is
/// served.
#[test]
fn who_floods_and_goes_is_noticed() {
    let (mut server, tcp, _) = server();
    let flooding = flood(tcp, true);
    let mut told = Vec::new();
    let began = now();
    while !told.iter().any(|told| matches!(told, ServerEvent::Left)) {
        assert!(began.elapsed() < SOON, "{told:?}");
        server.turn(&mut |happened| told.push(happened));
    }
    assert!(flooding.join().unwrap().is_none());
    let mut next = TcpStream::connect(tcp).unwrap();
    answered(&mut server, &mut next, &[], &mut told);
}

/// Bytes that a client sends before it hangs up still arrive.
#[test]
fn last_words_arrive() {
    let (mut server, tcp, _) = server();
    let mut listener = TcpStream::connect(tcp).unwrap();
    let mut told = Vec::new();
    (0..50).for_each(|_| server.turn(&mut |happened| told.push(happened)));
    let mut last = TcpStream::connect(tcp).unwrap();
    last.write_all(&[&[0xc0; 10_000][..], &sync()].concat()).unwrap();
    drop(last);
    listener.set_nonblocking(true).unwrap();
    let began = now();
    let (mut heard, mut piece) = (Vec::new(), [0; 4096]);
    while !heard.windows(4).any(|bytes| bytes == [0xc0, 1, 8, 4]) {
        assert!(began.elapsed() < SOON);
        server.turn(&mut |happened| told.push(happened));
        if let Ok(len) = listener.read(&mut piece) {
            heard.extend_from_slice(&piece[..len]);
        }
    }
}

/// For a client that waits silently, at least as much time passes on the board as on its own clock,
/// unless a lag is reported.
#[test]
fn virtual_time_keeps_up_with_who_waits() {
    let (mut server, tcp, _) = server();
    let _client = TcpStream::connect(tcp).unwrap();
    let mut told = Vec::new();
    // Until the first answer the board runs at full speed.
    for _ in 0..1000 {
        server.turn(&mut |happened| told.push(happened));
    }
    let (began, from) = (now(), server.board().now());
    while began.elapsed() < Duration::from_secs(2) {
        server.turn(&mut |happened| told.push(happened));
    }
    let (host, board) = (began.elapsed(), server.board().now() - from);
    let late = told.iter().any(|told| matches!(told, ServerEvent::Behind(_)));
    assert!(late || board + Duration::from_millis(100) >= host, "{board:?} in {host:?}");
}
