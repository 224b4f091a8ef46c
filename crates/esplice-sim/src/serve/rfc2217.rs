//! The server side of RFC 2217: baud rate, DTR and RTS, purge and break for one client. Flow
//! control is accepted without effect: the board takes bytes at the line's rate and drives no modem
//! lines.

use std::time::Duration;

use esplice_protocol::rfc2217::{
    BINARY, COM_PORT_OPTION, ComPort, Decoder, Item, SUPPRESS_GO_AHEAD, Side, Verb, control,
    encode, purge,
};

use super::client::InputResult;
use crate::{Board, SentByte};

/// Signature sent on request.
const SIGNATURE: &[u8] = b"esplice virtual board";
/// Baud rate of a newly opened port.
const FIRST_BAUD: u32 = 115_200;
/// Options used in both directions.
const OPTIONS: [u8; 3] = [BINARY, SUPPRESS_GO_AHEAD, COM_PORT_OPTION];
/// The board's format: 8 bits, no parity, 1 stop bit.
const DATA_SIZE: u8 = 8;
const PARITY: u8 = 1;
const STOP_SIZE: u8 = 1;
/// Bit of NOTIFY-LINESTATE: a byte had a framing error (RFC 2217, section 4).
const FRAMING_ERROR: u8 = 1 << 3;
/// Value of NOTIFY-MODEMSTATE (RFC 2217, section 3): CTS, DSR, RI and CD in the upper half, changes
/// in the lower. Boards of this kind do not drive them. CTS and DSR are reported as asserted, as by
/// an adapter that is always ready to send; otherwise a client that checks them would wait forever.
const MODEM_LINES: u8 = 0x30;
/// Modem states notified unless the client sets another mask (RFC 2217, section 3,
/// SET-MODEMSTATE-MASK).
const ALL_MODEM_STATES: u8 = 0xff;
/// How long EN stays low for a client that may be about to change RTS as well. A slow client takes
/// a tenth of a second for each line (pyserial checks for the answer every 50 ms).
const BOTH_LINES: Duration = Duration::from_millis(500);

/// A client's session.
pub(super) struct Session {
    decoder: Decoder,
    baud: u32,
    /// DTR and RTS as set by the client, and as applied to the board.
    lines: (bool, bool),
    applied: (bool, bool),
    /// Time at which the lines are applied even if only one of two expected changes has come.
    apply_at: Option<Duration>,
    breaking: bool,
    /// Which of [`OPTIONS`] the client uses, and which this end uses.
    theirs: [bool; OPTIONS.len()],
    ours: [bool; OPTIONS.len()],
    bytes: Vec<u8>,
    /// Flow control, outbound and inbound, as requested by the client.
    flow: (u8, u8),
    modem_mask: u8,
    /// Line states that the client wants to be notified of; none at first (RFC 2217, section 3).
    line_mask: u8,
}

impl Session {
    pub fn new() -> Session {
        Session {
            decoder: Decoder::new(Side::Client),
            baud: FIRST_BAUD,
            lines: (false, false),
            applied: (false, false),
            apply_at: None,
            breaking: false,
            theirs: [false; OPTIONS.len()],
            ours: [false; OPTIONS.len()],
            bytes: Vec::new(),
            flow: (control::NO_FLOW, control::NO_INBOUND_FLOW),
            modem_mask: ALL_MODEM_STATES,
            line_mask: 0,
        }
    }

    pub fn baud(&self) -> u32 {
        self.baud
    }

    /// Handles bytes that came at the host's time `now`, with at most `room` bytes for the board's
    /// line. Replies to the client are added to `answers`.
    pub fn take(
        &mut self,
        bytes: &[u8],
        now: Duration,
        board: &mut Board,
        room: &mut usize,
        answers: &mut Vec<u8>,
    ) -> InputResult {
        let mut taken = InputResult::default();
        let mut items = Vec::new();
        self.decoder.feed(bytes, &mut |item| items.push(item));
        for item in items {
            if let Item::Byte(byte) = item {
                taken.data_len += 1;
                if *room > 0 {
                    *room -= 1;
                    self.bytes.push(byte);
                }
                continue;
            }
            self.send(board);
            let told_before = self.ours_is_port();
            let answer = match item {
                Item::Option(verb, option) => self.option(verb, option),
                Item::ComPort(command) => {
                    taken.purged |= matches!(command, ComPort::Purge(purge::SENT | purge::BOTH));
                    self.command(command, now, board).map(Item::ComPort)
                }
                Item::Byte(_) => None,
            };
            let masks_modem =
                matches!(answer, Some(Item::ComPort(ComPort::ModemStateMask(mask))) if mask != 0);
            if let Some(answer) = answer {
                encode(&answer, Side::Server, answers);
            }
            let begins = !told_before && self.ours_is_port() && self.modem_mask != 0;
            if masks_modem || begins {
                let state = Item::ComPort(ComPort::ModemState(MODEM_LINES));
                encode(&state, Side::Server, answers);
            }
        }
        self.send(board);
        taken
    }

    fn send(&mut self, board: &mut Board) {
        if !self.bytes.is_empty() {
            board.host_send(&self.bytes, self.baud);
            self.bytes.clear();
        }
    }

    /// Returns whether both sides agreed on the serial port option.
    fn ours_is_port(&self) -> bool {
        let used = OPTIONS.iter().zip(self.theirs.iter().zip(&self.ours));
        used.into_iter()
            .any(|(option, (theirs, ours))| *option == COM_PORT_OPTION && (*theirs || *ours))
    }

    /// Answers an option request. Each change is confirmed once, never repeated (RFC 854, "to
    /// prevent loops").
    fn option(&mut self, verb: Verb, option: u8) -> Option<Item> {
        let place = OPTIONS.iter().position(|known| *known == option);
        let (side, on, yes, no) = match verb {
            Verb::Will => (&mut self.theirs, true, Verb::Do, Verb::Dont),
            Verb::Wont => (&mut self.theirs, false, Verb::Do, Verb::Dont),
            Verb::Do => (&mut self.ours, true, Verb::Will, Verb::Wont),
            Verb::Dont => (&mut self.ours, false, Verb::Will, Verb::Wont),
        };
        let Some(used) = place.and_then(|place| side.get_mut(place)) else {
            return on.then_some(Item::Option(no, option));
        };
        let changed = *used != on;
        *used = on;
        changed.then_some(Item::Option(if on { yes } else { no }, option))
    }

    fn command(&mut self, command: ComPort, now: Duration, board: &mut Board) -> Option<ComPort> {
        Some(match command {
            ComPort::Signature(text) if text.is_empty() => ComPort::Signature(SIGNATURE.into()),
            ComPort::Baud(baud) => {
                if baud != 0 {
                    self.baud = baud;
                }
                ComPort::Baud(self.baud)
            }
            ComPort::DataSize(_) => ComPort::DataSize(DATA_SIZE),
            ComPort::Parity(_) => ComPort::Parity(PARITY),
            ComPort::StopSize(_) => ComPort::StopSize(STOP_SIZE),
            ComPort::Control(value) => ComPort::Control(self.control(value, now, board)),
            ComPort::LineStateMask(mask) => {
                self.line_mask = mask;
                ComPort::LineStateMask(mask)
            }
            ComPort::ModemStateMask(mask) => {
                self.modem_mask = mask;
                ComPort::ModemStateMask(mask)
            }
            // A polling client, such as pyserial's, sends the notification that it wants.
            ComPort::ModemState(_) => ComPort::ModemState(MODEM_LINES),
            ComPort::LineState(_) => ComPort::LineState(0),
            ComPort::Purge(what) => {
                if what == purge::RECEIVED || what == purge::BOTH {
                    board.host_clear();
                }
                if what == purge::SENT || what == purge::BOTH {
                    board.host_unsend();
                }
                ComPort::Purge(what)
            }
            ComPort::Signature(_) | ComPort::Suspend | ComPort::Resume => return None,
        })
    }

    fn control(&mut self, value: u8, now: Duration, board: &mut Board) -> u8 {
        let (dtr, rts) = self.lines;
        let either = |on: bool, yes: u8, no: u8| if on { yes } else { no };
        match value {
            control::DTR_ON | control::DTR_OFF => {
                self.set_dtr(value == control::DTR_ON, now, board)
            }
            control::RTS_ON | control::RTS_OFF => {
                self.lines = (dtr, value == control::RTS_ON);
                self.apply(board);
            }
            control::ASK_DTR => return either(dtr, control::DTR_ON, control::DTR_OFF),
            control::ASK_RTS => return either(rts, control::RTS_ON, control::RTS_OFF),
            control::BREAK_ON | control::BREAK_OFF => {
                // The receiver reads a break of any length as a zero.
                if value == control::BREAK_ON && !self.breaking {
                    board.host_send(&[0], self.baud);
                }
                self.breaking = value == control::BREAK_ON;
            }
            control::ASK_BREAK => {
                return either(self.breaking, control::BREAK_ON, control::BREAK_OFF);
            }
            control::ASK_FLOW => return self.flow.0,
            control::ASK_INBOUND_FLOW => return self.flow.1,
            control::NO_FLOW
            | control::XON_XOFF
            | control::HARDWARE_FLOW
            | control::DCD_FLOW
            | control::DSR_FLOW => self.flow.0 = value,
            control::NO_INBOUND_FLOW
            | control::INBOUND_XON_XOFF
            | control::INBOUND_HARDWARE_FLOW
            | control::INBOUND_DTR_FLOW => self.flow.1 = value,
            _ => return self.flow.0,
        }
        value
    }

    /// Sets DTR. A client that resets into download mode sets DTR and then releases RTS. On a cable
    /// both are set before EN has risen. Here they may be a tenth of a second apart, and the chip
    /// would start in between.
    fn set_dtr(&mut self, dtr: bool, now: Duration, board: &mut Board) {
        self.lines = (dtr, self.lines.1);
        if self.applied == (false, true) && self.lines == (true, true) {
            self.apply_at = Some(now.saturating_add(BOTH_LINES));
        } else {
            self.apply(board);
        }
    }

    fn apply(&mut self, board: &mut Board) {
        self.apply_at = None;
        if self.applied != self.lines {
            self.applied = self.lines;
            board.set_lines(self.lines.0, self.lines.1);
        }
    }

    /// Applies delayed lines if they are due at the host's time `now`.
    pub fn wait(&mut self, now: Duration, board: &mut Board) {
        if self.apply_at.is_some_and(|at| at <= now) {
            self.apply(board);
        }
    }

    /// Returns the notification to send for output that contains garbled bytes.
    pub fn line_error_notice(&self, said: &[SentByte]) -> Vec<u8> {
        let mut told = Vec::new();
        let is_broken = |sent: &SentByte| !sent.is_clean_at(self.baud);
        if self.line_mask & FRAMING_ERROR != 0 && said.iter().any(is_broken) {
            encode(&Item::ComPort(ComPort::LineState(FRAMING_ERROR)), Side::Server, &mut told);
        }
        told
    }

    /// Releases the lines held by a client that has gone, as a closed port does.
    pub fn close(&mut self, board: &mut Board) {
        self.lines = (false, false);
        self.apply(board);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TimeMode, nor::Nor};

    fn board() -> Board {
        let chip = esplice_chip::ChipDb::embedded().find("esp32c3").unwrap();
        let sim = chip.sim.as_ref().unwrap();
        Board::with_flash(chip, Nor::in_memory(1 << 20, &sim.flash), TimeMode::None).unwrap()
    }

    /// Checks the answers to `asked`.
    fn check(session: &mut Session, board: &mut Board, asked: &[Item], answered: &[Item]) {
        let (mut wire, mut answers) = (Vec::new(), Vec::new());
        asked.iter().for_each(|item| encode(item, Side::Client, &mut wire));
        let mut room = usize::MAX;
        session.take(&wire, Duration::ZERO, board, &mut room, &mut answers);
        let mut items = Vec::new();
        Decoder::new(Side::Server).feed(&answers, &mut |item| items.push(item));
        assert_eq!(items, answered, "{asked:?}");
    }

    #[test]
    fn options_are_confirmed_once() {
        let (mut session, mut board) = (Session::new(), board());
        let mut check = |verb, option, answer: Option<Verb>| {
            let answer: Vec<_> =
                answer.map(|verb| Item::Option(verb, option)).into_iter().collect();
            check(&mut session, &mut board, &[Item::Option(verb, option)], &answer);
        };
        check(Verb::Will, SUPPRESS_GO_AHEAD, Some(Verb::Do));
        check(Verb::Will, SUPPRESS_GO_AHEAD, None);
        check(Verb::Do, SUPPRESS_GO_AHEAD, Some(Verb::Will));
        check(Verb::Wont, SUPPRESS_GO_AHEAD, Some(Verb::Dont));
        check(Verb::Wont, SUPPRESS_GO_AHEAD, None);
        check(Verb::Will, 24, Some(Verb::Dont));
        check(Verb::Do, 1, Some(Verb::Wont));
        check(Verb::Dont, 1, None);
    }

    /// The modem state is notified at the start unless masked (RFC 2217, section 3).
    #[test]
    fn the_modem_state_comes_with_the_agreement() {
        let (mut session, mut board) = (Session::new(), board());
        let will = Item::Option(Verb::Will, COM_PORT_OPTION);
        let agreed = Item::Option(Verb::Do, COM_PORT_OPTION);
        let state = Item::ComPort(ComPort::ModemState(MODEM_LINES));
        check(&mut session, &mut board, std::slice::from_ref(&will), &[agreed, state]);
        check(&mut session, &mut board, &[will], &[]);
        // A poll has no value: IAC SB COM-PORT-OPTION NOTIFY-MODEMSTATE IAC SE.
        let mut answers = Vec::new();
        let mut room = usize::MAX;
        let poll = [255, 250, 44, 7, 255, 240];
        session.take(&poll, Duration::ZERO, &mut board, &mut room, &mut answers);
        assert_eq!(answers, [255, 250, 44, 107, MODEM_LINES, 255, 240]);
    }

    #[test]
    fn settings_are_answered_with_what_holds() {
        let (mut session, mut board) = (Session::new(), board());
        for (asked, answered) in [
            (ComPort::Baud(0), ComPort::Baud(115_200)),
            (ComPort::Baud(921_600), ComPort::Baud(921_600)),
            (ComPort::Baud(0), ComPort::Baud(921_600)),
            (ComPort::DataSize(7), ComPort::DataSize(8)),
            (ComPort::Parity(2), ComPort::Parity(1)),
            (ComPort::StopSize(0), ComPort::StopSize(1)),
            (ComPort::Control(0), ComPort::Control(1)),
            (ComPort::Control(3), ComPort::Control(3)),
            (ComPort::Control(0), ComPort::Control(3)),
            (ComPort::Control(2), ComPort::Control(2)),
            (ComPort::Control(13), ComPort::Control(14)),
            (ComPort::Control(16), ComPort::Control(16)),
            (ComPort::Control(13), ComPort::Control(16)),
            (ComPort::Control(99), ComPort::Control(2)),
            (ComPort::ModemState(0), ComPort::ModemState(MODEM_LINES)),
            (ComPort::Control(control::ASK_DTR), ComPort::Control(control::DTR_OFF)),
            (ComPort::Control(control::DTR_ON), ComPort::Control(control::DTR_ON)),
            (ComPort::Control(control::ASK_DTR), ComPort::Control(control::DTR_ON)),
            (ComPort::Control(control::BREAK_ON), ComPort::Control(control::BREAK_ON)),
            (ComPort::Control(control::ASK_BREAK), ComPort::Control(control::BREAK_ON)),
            (ComPort::Control(control::BREAK_OFF), ComPort::Control(control::BREAK_OFF)),
            (ComPort::Purge(3), ComPort::Purge(3)),
            (ComPort::ModemStateMask(0), ComPort::ModemStateMask(0)),
            (ComPort::LineStateMask(8), ComPort::LineStateMask(8)),
            (ComPort::Signature(vec![]), ComPort::Signature(SIGNATURE.into())),
        ] {
            let (asked, answered) = (Item::ComPort(asked), Item::ComPort(answered));
            check(&mut session, &mut board, &[asked], &[answered]);
        }
        assert_eq!(session.baud(), 921_600);
    }

    #[test]
    fn states_are_notified_to_who_wants_them() {
        let (mut session, mut board) = (Session::new(), board());
        let broken = [SentByte { byte: 1, baud: 115_200 }, SentByte { byte: 2, baud: 9600 }];
        assert!(session.line_error_notice(&broken).is_empty());
        let mask = Item::ComPort(ComPort::LineStateMask(FRAMING_ERROR));
        check(&mut session, &mut board, std::slice::from_ref(&mask), std::slice::from_ref(&mask));
        assert!(session.line_error_notice(&broken[..1]).is_empty());
        // RFC 2217: IAC SB COM-PORT-OPTION NOTIFY-LINESTATE (server: 106) value IAC SE.
        assert_eq!(session.line_error_notice(&broken), [255, 250, 44, 106, 8, 255, 240]);
        let mask = Item::ComPort(ComPort::ModemStateMask(255));
        let state = Item::ComPort(ComPort::ModemState(MODEM_LINES));
        check(&mut session, &mut board, std::slice::from_ref(&mask), &[mask.clone(), state]);
    }

    /// Returns the board's output after the lines were set one by one, 100 ms of its clock apart.
    fn boot(steps: &[u8], wait: Duration) -> String {
        let (mut session, mut board) = (Session::new(), board());
        let pass = |board: &mut Board| {
            let until = board.now() + Duration::from_millis(100);
            board.run_to(until, false).unwrap();
        };
        pass(&mut board);
        for step in steps {
            board.host_clear();
            let command = Item::ComPort(ComPort::Control(*step));
            check(
                &mut session,
                &mut board,
                std::slice::from_ref(&command),
                std::slice::from_ref(&command),
            );
            pass(&mut board);
        }
        session.wait(wait, &mut board);
        pass(&mut board);
        let mut text = [0; 4096];
        let len = board.host_take(115_200, &mut text);
        String::from_utf8_lossy(&text[..len]).into_owned()
    }

    #[test]
    fn lines_that_come_one_by_one_reset_as_on_a_cable() {
        use control::{DTR_OFF, DTR_ON, RTS_OFF, RTS_ON};
        let download = boot(&[DTR_OFF, RTS_ON, DTR_ON, RTS_OFF], Duration::ZERO);
        assert!(download.contains("waiting for download"), "{download}");
        let flash = boot(&[DTR_OFF, RTS_ON, RTS_OFF], Duration::ZERO);
        assert!(flash.contains("SPI_FAST_FLASH_BOOT"), "{flash}");
        // Both lines asserted: the circuit pulls neither EN nor the boot pin.
        assert_eq!(boot(&[RTS_ON, DTR_ON], Duration::ZERO), "");
        let both = boot(&[RTS_ON, DTR_ON], BOTH_LINES);
        assert!(both.contains("SPI_FAST_FLASH_BOOT"), "{both}");
    }
}
