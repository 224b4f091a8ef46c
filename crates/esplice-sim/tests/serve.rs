//! Tests of a served board with clients that connect, disconnect, break off, and flood.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use esplice_chip::ChipDb;
use esplice_protocol::{Opcode, slip};
use esplice_sim::{
    Board, TimeMode,
    nor::Nor,
    serve::{CLIENT_LIMIT, MOST_CLIENTS, Server, ServerEvent, Wire},
};

/// Returns a server of a board in download mode, and its address.
fn server(time: TimeMode) -> (Server, SocketAddr) {
    let chip = ChipDb::embedded().find("esp32c3").unwrap();
    let sim = chip.sim.as_ref().unwrap();
    let nor = Nor::in_memory(sim.flash.size(), &sim.flash);
    let mut board = Board::with_flash(chip, nor, time).unwrap();
    board.hold_boot_pin(true);
    let mut server = Server::new(board, time);
    let at = server.listen(Wire::Tcp, "127.0.0.1:0").unwrap();
    assert_ne!(at.port(), 0);
    (server, at)
}

fn client(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

fn turns(server: &mut Server, count: usize) -> Vec<ServerEvent> {
    let mut told = Vec::new();
    (0..count).for_each(|_| server.turn(&mut |happened| told.push(happened)));
    told
}

fn frame(opcode: Opcode, data: &[u8]) -> Vec<u8> {
    let mut request = vec![0, opcode as u8];
    request.extend((data.len() as u16).to_le_bytes());
    request.extend([0; 4]);
    request.extend(data);
    slip::encode(&request)
}

fn sync() -> Vec<u8> {
    let mut data = vec![0x07, 0x07, 0x12, 0x20];
    data.resize(36, 0x55);
    frame(Opcode::Sync, &data)
}

/// Returns the bytes that have come to a client.
fn heard(client: &mut impl Read) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match client.read(&mut piece) {
            Ok(0) => return all,
            Ok(len) => all.extend_from_slice(&piece[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return all,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Lets the board run until it has been silent for many turns. How much board time a turn takes
/// depends on the host's load in some time modes, so a fixed number of turns proves nothing.
fn settle(server: &mut Server, client: &mut impl Read) {
    let mut silent = 0;
    while silent < 500 {
        turns(server, 1);
        silent = if heard(client).is_empty() { silent + 1 } else { 0 };
    }
}

/// Sends a SYNC and counts its replies.
fn check_sync(server: &mut Server, client: &mut (impl Read + Write)) {
    settle(server, client);
    client.write_all(&sync()).unwrap();
    let mut text = Vec::new();
    for _ in 0..2000 {
        turns(server, 1);
        text.extend(heard(client));
        if text.len() >= 8 * 14 {
            break;
        }
    }
    let replies = text.windows(4).filter(|bytes| *bytes == [0xc0, 1, 8, 4]).count();
    assert_eq!(replies, 8, "{text:02x?}");
}

#[test]
fn clients_come_and_go() {
    for time in [TimeMode::None, TimeMode::Virtual, TimeMode::Real] {
        let (mut server, at) = server(time);
        for _ in 0..3 {
            let mut client = client(at);
            check_sync(&mut server, &mut client);
            drop(client);
            let told = turns(&mut server, 20);
            assert!(
                told.iter().any(|told| matches!(told, ServerEvent::Left)),
                "{time:?}: {told:?}"
            );
        }
    }
}

#[test]
fn half_a_frame_is_no_harm() {
    let (mut server, at) = server(TimeMode::None);
    let whole = sync();
    for len in 1..whole.len() {
        let mut broken = client(at);
        broken.write_all(&whole[..len]).unwrap();
        turns(&mut server, 3);
        drop(broken);
        // The END of the next frame ends the partial one, as on a real line, so a first SYNC may be
        // lost.
        let mut next = client(at);
        next.write_all(&whole).unwrap();
        turns(&mut server, 50);
        check_sync(&mut server, &mut next);
    }
}

#[test]
fn a_flood_is_bounded() {
    let (mut server, at) = server(TimeMode::None);
    let mut flood = client(at);
    let noise = vec![0xa5; 1 << 16];
    let mut sent = 0_usize;
    for _ in 0..2000 {
        sent += flood.write(&noise).unwrap_or(0);
        turns(&mut server, 1);
        assert!(server.board().host_waiting() < 1 << 17, "{}", server.board().host_waiting());
    }
    assert!(sent > 1 << 19, "only {sent} bytes");
    drop(flood);
    turns(&mut server, 500);
    let mut next = client(at);
    next.write_all(&sync()).unwrap();
    check_sync(&mut server, &mut next);
}

#[test]
fn who_does_not_read_loses_what_is_old() {
    let (mut server, at) = server(TimeMode::None);
    let mut deaf = client(at);
    let mut speaker = client(at);
    check_sync(&mut server, &mut speaker);
    // Each READ_REG is answered with 14 bytes.
    let asked = frame(Opcode::ReadReg, &0x6000_0078_u32.to_le_bytes()).repeat(64);
    let mut answered = 0;
    while answered < 8 * CLIENT_LIMIT {
        speaker.write_all(&asked).unwrap();
        for _ in 0..100 {
            turns(&mut server, 1);
            let len = heard(&mut speaker).len();
            answered += len;
            if len == 0 {
                break;
            }
        }
    }
    assert!(server.kept() <= 2 * CLIENT_LIMIT, "{}", server.kept());
    check_sync(&mut server, &mut speaker);
    assert!(!heard(&mut deaf).is_empty());
}

#[test]
fn there_are_so_many_clients() {
    let (mut server, at) = server(TimeMode::None);
    let mut clients: Vec<_> = (0..MOST_CLIENTS + 3).map(|_| client(at)).collect();
    let told = turns(&mut server, 5);
    assert_eq!(told.len(), MOST_CLIENTS, "{told:?}");
    // All share one line.
    let (last, first) = clients.split_at_mut(1);
    check_sync(&mut server, &mut last[0]);
    assert!(!heard(&mut first[0]).is_empty());
    drop(clients);
    turns(&mut server, 5);
    check_sync(&mut server, &mut client(at));
}

#[test]
fn how_far_real_time_is_behind_is_known() {
    for (time, is_behind) in [(TimeMode::Virtual, false), (TimeMode::Real, true)] {
        let (mut server, at) = server(time);
        check_sync(&mut server, &mut client(at));
        let lag = server.lag();
        // Each turn starts late by the time passed since the last one.
        assert_eq!(lag.most > Duration::ZERO, is_behind, "{lag:?}");
        assert!(lag.most <= lag.over && server.frames() > 0, "{lag:?}");
    }
}

#[test]
fn two_boards_at_once() {
    let mut boards = [server(TimeMode::Virtual), server(TimeMode::None)];
    for (server, at) in &mut boards {
        let mut client = client(*at);
        check_sync(server, &mut client);
    }
    assert!(boards[0].0.board().now() > Duration::ZERO);
}

/// Opens a pty's other end as a serial port.
#[cfg(unix)]
fn at_pty(link: &std::path::Path) -> std::fs::File {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::NONBLOCK;
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).custom_flags(flags.bits().cast_signed()).open(link).unwrap()
}

#[cfg(unix)]
#[test]
fn a_pty_outlives_who_opens_it() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("board");
    let (mut server, _) = server(TimeMode::Virtual);
    server.pty(&link).unwrap();
    for round in 0..4 {
        let mut client = at_pty(&link);
        if round == 1 {
            // Half a frame and a disconnect, then a client that floods and does not read.
            client.write_all(&sync()[..20]).unwrap();
            drop(client);
            turns(&mut server, 20);
            client = at_pty(&link);
            for _ in 0..300 {
                let _ = client.write(&[0xa5; 4096]);
                turns(&mut server, 1);
                assert!(server.board().host_waiting() < 1 << 17);
            }
            drop(client);
            turns(&mut server, 3000);
            client = at_pty(&link);
            client.write_all(&sync()).unwrap();
        }
        check_sync(&mut server, &mut client);
        drop(client);
        let told = turns(&mut server, 20);
        assert!(told.iter().any(|told| matches!(told, ServerEvent::Left)), "{told:?}");
    }
    drop(server);
    assert!(std::fs::symlink_metadata(&link).is_err());
}

/// The client's rate is the rate on the wire: if it differs from the board's, everything is
/// garbage.
#[cfg(unix)]
#[test]
fn a_pty_carries_the_baud_rate() {
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("board");
    let (mut server, _) = server(TimeMode::Virtual);
    server.pty(&link).unwrap();
    let mut client = at_pty(&link);
    check_sync(&mut server, &mut client);
    let set = |client: &std::fs::File, baud| {
        let mut settings = tcgetattr(client).unwrap();
        settings.set_speed(baud).unwrap();
        tcsetattr(client, OptionalActions::Now, &settings).unwrap();
    };
    set(&client, 460_800);
    client.write_all(&sync()).unwrap();
    turns(&mut server, 200);
    assert!(heard(&mut client).is_empty());
    set(&client, 115_200);
    client.write_all(&sync()).unwrap();
    check_sync(&mut server, &mut client);
}
