//! Tests of the second UART's connection to a program: bytes both ways at the line's rate, a program
//! that goes and comes back, and one that is not there.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use esplice_chip::ChipDb;
use esplice_protocol::{Port, PortError};
use esplice_sim::{
    Board, SimPort, TimeMode, millis, secs,
    serve::{Server, ServerEvent, Wire},
    spec::{Spec, SpecError},
    uart_tcp::{PeerAddr, PeerEvent},
};

use crate::{
    firmware::{Code, rom_image},
    serial_pins::{IN, board, pass_on, say, set_up},
};

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = format!("tcp:{}", listener.local_addr().unwrap());
    (listener, addr)
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(secs(20))).unwrap();
    stream
}

/// Switches on a board with that firmware, whose second UART is connected to `addr`.
fn open(code: &Code, addr: &str, time: &str) -> SimPort {
    let name = format!("sim:esp32c3,time={time},uart1={addr}");
    SimPort::open_with(&name, |nor| nor.put(0, &rom_image(code)).unwrap()).unwrap()
}

/// Runs the board until it has printed `expected` on the first UART.
#[track_caller]
fn prints(port: &mut SimPort, expected: &[u8]) {
    let mut printed = Vec::new();
    let deadline = port.now() + secs(10);
    while !printed.ends_with(expected) {
        let mut piece = [0; 64];
        let len = port.read(&mut piece, port.now() + millis(10)).unwrap();
        printed.extend_from_slice(&piece[..len]);
        assert!(port.now() < deadline, "{:?}", String::from_utf8_lossy(&printed));
    }
}

#[test]
fn bytes_are_carried_both_ways() {
    for time in ["virtual", "none", "real"] {
        let (listener, addr) = listener();
        let mut port = open(&pass_on(say(set_up(IN), b"second")), &addr, time);
        let mut program = accept(&listener);
        prints(&mut port, b"entry 0x40380000\r\n");
        port.wait_until(port.now() + millis(20)).unwrap();
        let mut said = [0; 6];
        program.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"second", "{time}");
        program.write_all(b"to the second").unwrap();
        prints(&mut port, b"to the second");
    }
}

/// A kilobyte at 115200 baud takes 89 ms of the board's time, however fast the connection is, and
/// none of it is lost.
#[test]
fn the_line_has_the_rate_of_the_uart() {
    let (listener, addr) = listener();
    let mut port = open(&pass_on(set_up(IN)), &addr, "virtual");
    let mut program = accept(&listener);
    prints(&mut port, b"entry 0x40380000\r\n");
    port.wait_until(port.now() + millis(5)).unwrap();
    let text: Vec<u8> = (0..1024).map(|at| b'a' + (at % 23) as u8).collect();
    let start = port.now();
    program.write_all(&text).unwrap();
    prints(&mut port, &text);
    let took = port.now().since_start() - start.since_start();
    assert!(took >= millis(88) && took < millis(200), "{took:?}");
}

/// While the firmware listens, the board's clock does not run ahead of the program's.
#[test]
fn the_board_waits_for_an_answer_in_the_hosts_time() {
    let (listener, addr) = listener();
    let mut port = open(&pass_on(say(set_up(IN), b"?")), &addr, "virtual");
    let mut program = accept(&listener);
    let answer = std::thread::spawn(move || {
        program.read_exact(&mut [0]).unwrap();
        // Not read by the board yet: it waits, as the firmware does.
        program.set_read_timeout(Some(millis(50))).unwrap();
        program.read_exact(&mut [0]).unwrap_err();
        program.write_all(b"!").unwrap();
        program
    });
    let start = port.now();
    prints(&mut port, b"!");
    let took = port.now().since_start() - start.since_start();
    assert!(took < secs(2), "{took:?}");
    answer.join().unwrap();
}

#[test]
fn a_program_that_goes_is_connected_again() {
    let (listener, addr) = listener();
    let mut board = board(&pass_on(set_up(IN)));
    board.run_for(millis(100)).unwrap();
    let mut server = Server::new(board, TimeMode::Virtual);
    let addr = PeerAddr::parse(&addr).unwrap();
    server.connect_uart1(&addr).unwrap();
    let at = server.listen(Wire::Tcp, "127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(at).unwrap();
    client.set_read_timeout(Some(millis(1))).unwrap();
    drop(accept(&listener));
    let (mut events, mut heard) = (Vec::new(), Vec::new());
    let mut program = None;
    // Some 20 s of the host's time.
    for _ in 0..20_000 {
        server.turn(&mut |event| {
            if let ServerEvent::Uart1(event) = event {
                events.push(event);
            }
        });
        if program.is_none() && events.contains(&PeerEvent::Back) {
            let mut stream = accept(&listener);
            stream.write_all(b"again").unwrap();
            program = Some(stream);
        }
        let mut piece = [0; 16];
        if let Ok(len) = client.read(&mut piece) {
            heard.extend_from_slice(&piece[..len]);
        }
        if heard.ends_with(b"again") {
            break;
        }
    }
    assert_eq!(String::from_utf8_lossy(&heard), "again");
    assert_eq!(events, [PeerEvent::Lost, PeerEvent::Back]);
}

#[test]
fn a_program_that_does_not_listen_is_an_error() {
    let (listener, addr) = listener();
    drop(listener);
    let refused = SimPort::open(&format!("sim:esp32c3,uart1={addr}"));
    let refused = refused.err().expect("nothing listens there");
    assert!(matches!(refused, PortError::Unreachable { .. }), "{refused}");
    let unknown = SimPort::open("sim:esp32c3,uart1=tcp:no-such-host.invalid:1").err().unwrap();
    assert!(matches!(unknown, PortError::Host { .. }), "{unknown}");
    let wrong = Spec::parse("sim:esp32c3,uart1=127.0.0.1:5", ChipDb::embedded()).unwrap_err();
    assert!(matches!(wrong, SpecError::Peer { .. }), "{wrong}");
    assert!(wrong.hint().unwrap().contains("tcp:127.0.0.1:4000"), "{:?}", wrong.hint());
}

/// A library user can be the other end itself.
#[test]
fn a_cable_follows_the_pins_that_the_firmware_selects() {
    let mut board = board(&pass_on(say(set_up(IN), b"second")));
    assert!(board.attach_uart(1) && !board.attach_uart(7));
    // The firmware has not routed the UART yet, so these are lost.
    board.uart_send(1, b"early");
    assert!(!board.uart_listens(1));
    board.run_for(millis(100)).unwrap();
    assert!(board.uart_listens(1));
    let sent = board.uart_take(1);
    assert_eq!(sent.iter().map(|sent| sent.byte).collect::<Vec<_>>(), b"second");
    assert!(sent.iter().all(|sent| sent.is_clean_at(115_200)));
    let done = board.uart_send(1, b"0123456789");
    let took = done - board.now();
    assert!(took > Duration::from_micros(860) && took < Duration::from_micros(880), "{took:?}");
    let printed = board.run_for(millis(5)).unwrap();
    assert_eq!(printed, b"0123456789");
    // A clone continues with its own cable.
    let mut copy: Board = board.clone();
    copy.uart_send(1, b"x");
    assert_eq!(board.run_for(millis(5)).unwrap(), b"");
    assert_eq!(copy.run_for(millis(5)).unwrap(), b"x");
}
