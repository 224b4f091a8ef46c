//! The serial protocol of the ESP32 ROM loader, in both directions, and the [`Port`] it runs over.
//!
//! This crate converts values to bytes and bytes to values: [`slip`] frames, [`Request`] and
//! [`Reply`]. It knows no transport. The flasher decides what to send and when, and the virtual
//! board acts on it as a loader does; both use these types.
//!
//! ```
//! use esplice_protocol::{RawRequest, Request, slip};
//!
//! let request = Request::ReadReg { addr: 0x4000_1000 };
//! let frame = slip::encode(&request.to_bytes());
//! let mut decoder = slip::Decoder::new(1024);
//! let payload = frame.iter().find_map(|byte| match decoder.push(*byte) {
//!     slip::Decoded::Frame(payload) => Some(payload),
//!     _ => None,
//! });
//! let payload = payload.unwrap();
//! let raw = RawRequest::from_frame(&payload).unwrap();
//! assert_eq!(Request::from_raw(&raw), Ok(request));
//! ```

mod command;
mod port;
mod reply;
mod request;
pub mod rfc2217;
mod security;
pub mod slip;
mod wire;

pub use command::{
    BLOCK_HEADER_LEN, CHECKSUM_SEED, HEADER_LEN, Opcode, READ_FLASH_SLOW_LEN, checksum,
};
pub use port::{Caps, Moment, Port, PortError};
pub use reply::{Reply, STUB_REASONS, Status};
pub use request::{FlashBegin, MalformedError, RawRequest, RegisterWrite, Request, SYNC_DATA};
pub use security::SecurityInfo;
