//! RFC 2217: a serial port over telnet, as bytes and values. Both ends use this module; each knows
//! which side it is.
//!
//! ```
//! use esplice_protocol::rfc2217::{ComPort, Decoder, Item, Side, encode};
//!
//! let mut wire = Vec::new();
//! encode(&Item::ComPort(ComPort::Baud(921_600)), Side::Client, &mut wire);
//! assert_eq!(wire, [255, 250, 44, 1, 0, 14, 16, 0, 255, 240]);
//! let mut decoder = Decoder::new(Side::Client);
//! let mut items = Vec::new();
//! decoder.feed(&wire, &mut |item| items.push(item));
//! assert_eq!(items, [Item::ComPort(ComPort::Baud(921_600))]);
//! ```

/// Telnet commands (RFC 854; SB and SE in its section "Telnet Command Structure").
mod telnet {
    pub const SE: u8 = 240;
    pub const SB: u8 = 250;
    pub const WILL: u8 = 251;
    pub const DONT: u8 = 254;
    pub const IAC: u8 = 255;
}

/// Telnet option of this protocol (RFC 2217, section 3).
pub const COM_PORT_OPTION: u8 = 44;
/// Telnet option for unchanged bytes (RFC 856).
pub const BINARY: u8 = 0;
/// Telnet option for a connection without turns (RFC 858).
pub const SUPPRESS_GO_AHEAD: u8 = 3;
/// Offset of a server's command codes from a client's (RFC 2217, section 3).
const SERVER: u8 = 100;
/// Maximum number of bytes kept of a subnegotiation. The longest one is a signature.
const MOST: usize = 1024;

/// Sender of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The side that uses the port.
    Client,
    /// The side that owns the port.
    Server,
}

/// An option command (RFC 854, section "Telnet Command Structure").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// The sender wants to use the option.
    Will,
    /// The sender refuses to use the option.
    Wont,
    /// The receiver shall use the option.
    Do,
    /// The receiver shall not use the option.
    Dont,
}

const VERBS: [Verb; 4] = [Verb::Will, Verb::Wont, Verb::Do, Verb::Dont];

/// A command of the port option (RFC 2217, section 3). Requests and replies have the same form; a 0
/// in a request queries the present value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ComPort {
    /// SIGNATURE: identification as text; empty requests it.
    Signature(Vec<u8>),
    /// SET-BAUDRATE, in bits per second.
    Baud(u32),
    /// SET-DATASIZE, in bits.
    DataSize(u8),
    /// SET-PARITY: 1 is none.
    Parity(u8),
    /// SET-STOPSIZE: 1 is one bit.
    StopSize(u8),
    /// SET-CONTROL: see [`control`].
    Control(u8),
    /// NOTIFY-LINESTATE.
    LineState(u8),
    /// NOTIFY-MODEMSTATE.
    ModemState(u8),
    /// FLOWCONTROL-SUSPEND.
    Suspend,
    /// FLOWCONTROL-RESUME.
    Resume,
    /// SET-LINESTATE-MASK.
    LineStateMask(u8),
    /// SET-MODEMSTATE-MASK.
    ModemStateMask(u8),
    /// PURGE-DATA: see [`purge`].
    Purge(u8),
}

/// Values of SET-CONTROL (RFC 2217, section 3).
pub mod control {
    /// Queries the outbound flow control.
    pub const ASK_FLOW: u8 = 0;
    /// No outbound flow control.
    pub const NO_FLOW: u8 = 1;
    /// Outbound flow control by XON and XOFF.
    pub const XON_XOFF: u8 = 2;
    /// Outbound flow control by CTS and RTS.
    pub const HARDWARE_FLOW: u8 = 3;
    /// Queries the break state.
    pub const ASK_BREAK: u8 = 4;
    /// Holds the line in break.
    pub const BREAK_ON: u8 = 5;
    /// Ends the break.
    pub const BREAK_OFF: u8 = 6;
    /// Queries DTR.
    pub const ASK_DTR: u8 = 7;
    /// Asserts DTR.
    pub const DTR_ON: u8 = 8;
    /// Releases DTR.
    pub const DTR_OFF: u8 = 9;
    /// Queries RTS.
    pub const ASK_RTS: u8 = 10;
    /// Asserts RTS.
    pub const RTS_ON: u8 = 11;
    /// Releases RTS.
    pub const RTS_OFF: u8 = 12;
    /// Queries the inbound flow control.
    pub const ASK_INBOUND_FLOW: u8 = 13;
    /// No inbound flow control.
    pub const NO_INBOUND_FLOW: u8 = 14;
    /// Inbound flow control by XON and XOFF.
    pub const INBOUND_XON_XOFF: u8 = 15;
    /// Inbound flow control by CTS and RTS.
    pub const INBOUND_HARDWARE_FLOW: u8 = 16;
    /// Outbound flow control by DCD.
    pub const DCD_FLOW: u8 = 17;
    /// Inbound flow control by DTR.
    pub const INBOUND_DTR_FLOW: u8 = 18;
    /// Outbound flow control by DSR.
    pub const DSR_FLOW: u8 = 19;
}

/// Values of PURGE-DATA (RFC 2217, section 3).
pub mod purge {
    /// Data that the port has received but not sent to the client.
    pub const RECEIVED: u8 = 1;
    /// Data that the client has sent but the port has not.
    pub const SENT: u8 = 2;
    /// Both.
    pub const BOTH: u8 = 3;
}

impl ComPort {
    fn parse(code: u8, value: &[u8]) -> Option<ComPort> {
        let byte = || value.first().copied().filter(|_| value.len() == 1);
        Some(match code {
            0 => ComPort::Signature(value.to_vec()),
            1 => ComPort::Baud(u32::from_be_bytes(value.try_into().ok()?)),
            2 => ComPort::DataSize(byte()?),
            3 => ComPort::Parity(byte()?),
            4 => ComPort::StopSize(byte()?),
            5 => ComPort::Control(byte()?),
            // A client that polls these sends them without a value.
            6 => ComPort::LineState(if value.is_empty() { 0 } else { byte()? }),
            7 => ComPort::ModemState(if value.is_empty() { 0 } else { byte()? }),
            8 if value.is_empty() => ComPort::Suspend,
            9 if value.is_empty() => ComPort::Resume,
            10 => ComPort::LineStateMask(byte()?),
            11 => ComPort::ModemStateMask(byte()?),
            12 => ComPort::Purge(byte()?),
            _ => return None,
        })
    }

    fn to_parts(&self) -> (u8, Vec<u8>) {
        match self {
            ComPort::Signature(text) => (0, text.clone()),
            ComPort::Baud(baud) => (1, baud.to_be_bytes().to_vec()),
            ComPort::DataSize(value) => (2, vec![*value]),
            ComPort::Parity(value) => (3, vec![*value]),
            ComPort::StopSize(value) => (4, vec![*value]),
            ComPort::Control(value) => (5, vec![*value]),
            ComPort::LineState(value) => (6, vec![*value]),
            ComPort::ModemState(value) => (7, vec![*value]),
            ComPort::Suspend => (8, Vec::new()),
            ComPort::Resume => (9, Vec::new()),
            ComPort::LineStateMask(value) => (10, vec![*value]),
            ComPort::ModemStateMask(value) => (11, vec![*value]),
            ComPort::Purge(value) => (12, vec![*value]),
        }
    }
}

/// An item of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A byte of the serial line.
    Byte(u8),
    /// An option command.
    Option(Verb, u8),
    /// A command of the port option.
    ComPort(ComPort),
}

/// Appends the encoding of an item sent by `side`.
pub fn encode(item: &Item, side: Side, wire: &mut Vec<u8>) {
    use telnet::{IAC, SB, SE, WILL};
    match item {
        Item::Byte(byte) => escape(&[*byte], wire),
        Item::Option(verb, option) => {
            let place = VERBS.iter().position(|known| known == verb).unwrap_or_default();
            wire.extend([IAC, WILL + place as u8, *option]);
        }
        Item::ComPort(command) => {
            let (code, value) = command.to_parts();
            let code = if side == Side::Server { code + SERVER } else { code };
            wire.extend([IAC, SB, COM_PORT_OPTION, code]);
            escape(&value, wire);
            wire.extend([IAC, SE]);
        }
    }
}

/// Appends bytes of the serial line, doubling those that telnet would interpret.
pub fn escape(bytes: &[u8], wire: &mut Vec<u8>) {
    for &byte in bytes {
        wire.push(byte);
        if byte == telnet::IAC {
            wire.push(byte);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Data,
    Iac,
    Verb(Verb),
    Sub,
    SubIac,
}

/// Decodes a stream, in pieces of any size. Skips anything that is malformed or not part of this
/// protocol.
#[derive(Debug)]
pub struct Decoder {
    side: Side,
    state: State,
    sub: Vec<u8>,
}

impl Decoder {
    /// Creates a decoder for the stream that `side` sends.
    pub fn new(side: Side) -> Decoder {
        Decoder { side, state: State::Data, sub: Vec::new() }
    }

    /// Decodes bytes of the stream and passes each item to `give`.
    pub fn feed(&mut self, bytes: &[u8], give: &mut dyn FnMut(Item)) {
        for &byte in bytes {
            if let Some(item) = self.step(byte) {
                give(item);
            }
        }
    }

    fn step(&mut self, byte: u8) -> Option<Item> {
        use telnet::{DONT, IAC, SB, SE, WILL};
        let (state, item) = match (self.state, byte) {
            (State::Data, IAC) => (State::Iac, None),
            (State::Data, byte) => (State::Data, Some(Item::Byte(byte))),
            (State::Iac, IAC) => (State::Data, Some(Item::Byte(IAC))),
            (State::Iac, SB) => {
                self.sub.clear();
                (State::Sub, None)
            }
            (State::Iac, WILL..=DONT) => {
                let verb = VERBS.get(usize::from(byte - WILL)).copied();
                (verb.map_or(State::Data, State::Verb), None)
            }
            (State::Iac, _) => (State::Data, None),
            (State::Verb(verb), option) => (State::Data, Some(Item::Option(verb, option))),
            (State::Sub, IAC) => (State::SubIac, None),
            (State::SubIac, SE) => (State::Data, self.command()),
            (State::Sub, byte) | (State::SubIac, byte @ IAC) => {
                if self.sub.len() <= MOST {
                    self.sub.push(byte);
                }
                (State::Sub, None)
            }
            // The subnegotiation was cut off.
            (State::SubIac, _) => (State::Data, None),
        };
        self.state = state;
        item
    }

    fn command(&self) -> Option<Item> {
        let [COM_PORT_OPTION, code, value @ ..] = self.sub.as_slice() else { return None };
        if self.sub.len() > MOST {
            return None;
        }
        let code = match self.side {
            Side::Client => *code,
            Side::Server => code.checked_sub(SERVER)?,
        };
        ComPort::parse(code, value).map(Item::ComPort)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn com_port() -> impl Strategy<Value = ComPort> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40).prop_map(ComPort::Signature),
            any::<u32>().prop_map(ComPort::Baud),
            any::<u8>().prop_map(ComPort::DataSize),
            any::<u8>().prop_map(ComPort::Parity),
            any::<u8>().prop_map(ComPort::StopSize),
            any::<u8>().prop_map(ComPort::Control),
            any::<u8>().prop_map(ComPort::LineState),
            any::<u8>().prop_map(ComPort::ModemState),
            Just(ComPort::Suspend),
            Just(ComPort::Resume),
            any::<u8>().prop_map(ComPort::LineStateMask),
            any::<u8>().prop_map(ComPort::ModemStateMask),
            any::<u8>().prop_map(ComPort::Purge),
        ]
    }

    fn item() -> impl Strategy<Value = Item> {
        prop_oneof![
            3 => any::<u8>().prop_map(Item::Byte),
            1 => Just(Item::Byte(255)),
            1 => (prop::sample::select(&VERBS[..]), any::<u8>())
                .prop_map(|(verb, option)| Item::Option(verb, option)),
            2 => com_port().prop_map(Item::ComPort),
        ]
    }

    fn decode(side: Side, pieces: &[&[u8]]) -> Vec<Item> {
        let mut decoder = Decoder::new(side);
        let mut items = Vec::new();
        for piece in pieces {
            decoder.feed(piece, &mut |item| items.push(item));
        }
        items
    }

    /// Frames written by hand from section 3 of the RFC.
    #[test]
    fn known_bytes() {
        let check = |side, item: Item, bytes: &[u8]| {
            let mut wire = Vec::new();
            encode(&item, side, &mut wire);
            assert_eq!(wire, bytes, "{item:?}");
            assert_eq!(decode(side, &[bytes]), [item]);
        };
        let client = Side::Client;
        check(client, Item::Byte(0x12), &[0x12]);
        check(client, Item::Byte(255), &[255, 255]);
        check(client, Item::Option(Verb::Will, COM_PORT_OPTION), &[255, 251, 44]);
        check(client, Item::Option(Verb::Wont, BINARY), &[255, 252, 0]);
        check(client, Item::Option(Verb::Do, COM_PORT_OPTION), &[255, 253, 44]);
        check(client, Item::Option(Verb::Dont, SUPPRESS_GO_AHEAD), &[255, 254, 3]);
        let baud = Item::ComPort(ComPort::Baud(115_200));
        check(client, baud.clone(), &[255, 250, 44, 1, 0, 1, 0xc2, 0, 255, 240]);
        check(Side::Server, baud, &[255, 250, 44, 101, 0, 1, 0xc2, 0, 255, 240]);
        let command = |command| Item::ComPort(command);
        check(client, command(ComPort::Control(control::DTR_ON)), &[255, 250, 44, 5, 8, 255, 240]);
        check(
            client,
            command(ComPort::Control(control::BREAK_ON)),
            &[255, 250, 44, 5, 5, 255, 240],
        );
        check(client, command(ComPort::Purge(purge::BOTH)), &[255, 250, 44, 12, 3, 255, 240]);
        check(client, command(ComPort::Signature(vec![])), &[255, 250, 44, 0, 255, 240]);
        check(
            client,
            command(ComPort::ModemStateMask(255)),
            &[255, 250, 44, 11, 255, 255, 255, 240],
        );
    }

    #[test]
    fn what_is_malformed_is_passed_over() {
        let check = |bytes: &[u8], expected: &[Item]| {
            assert_eq!(decode(Side::Client, &[bytes]), expected, "{bytes:?}");
        };
        let after = Item::Byte(7);
        for sub in [
            &[][..],
            &[44],
            &[44, 1, 0, 0],
            &[44, 1, 0, 0, 0, 0, 0],
            &[44, 5],
            &[44, 5, 1, 2],
            &[44, 8, 1],
            &[44, 99],
            &[24, 1],
        ] {
            let wire = [&[255, 250][..], sub, &[255, 240, 7]].concat();
            check(&wire, std::slice::from_ref(&after));
        }
        check(&[255, 241, 7], std::slice::from_ref(&after));
        // Cut off by another command.
        check(&[255, 250, 44, 1, 255, 1, 7], std::slice::from_ref(&after));
        let long = [&[255, 250, 44, 0][..], &[1; 5000], &[255, 240, 7]].concat();
        check(&long, std::slice::from_ref(&after));
        // A server's command is not valid from a client.
        assert_eq!(decode(Side::Server, &[&[255, 250, 44, 1, 0, 0, 0, 1, 255, 240]]), []);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_in_any_pieces(
            items in prop::collection::vec(item(), 0..20),
            server in any::<bool>(),
            cut in 1_usize..9,
        ) {
            let side = if server { Side::Server } else { Side::Client };
            let mut wire = Vec::new();
            for item in &items {
                encode(item, side, &mut wire);
            }
            let pieces: Vec<&[u8]> = wire.chunks(cut).collect();
            prop_assert_eq!(decode(side, &pieces), items);
        }

        /// Ensures that the decoder accepts any bytes and keeps a bounded number of them.
        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            let mut decoder = Decoder::new(Side::Client);
            let mut count = 0;
            decoder.feed(&bytes, &mut |_| count += 1);
            prop_assert!(count <= bytes.len() && decoder.sub.len() <= MOST + 1);
        }
    }
}
