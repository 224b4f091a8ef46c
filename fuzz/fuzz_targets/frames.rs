//! Decodes SLIP frames, requests and replies from a port.
#![no_main]

use esplice_protocol::{RawRequest, Reply, Request, SecurityInfo, slip};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    const LIMIT: usize = 4096;
    let mut decoder = slip::Decoder::new(LIMIT);
    for byte in bytes {
        let slip::Decoded::Frame(frame) = decoder.push(*byte) else { continue };
        assert!(frame.len() <= LIMIT);
        if let Ok(reply) = Reply::from_frame(&frame) {
            assert_eq!(reply.to_bytes(), frame);
            reply.split_status(4);
        }
        let Ok(raw) = RawRequest::from_frame(&frame) else { continue };
        raw.has_valid_checksum();
        if let Ok(request) = Request::from_raw(&raw) {
            let again = request.to_bytes();
            let raw = RawRequest::from_frame(&again).expect("what we wrote has a header");
            assert_eq!(Request::from_raw(&raw), Ok(request));
        }
    }
    SecurityInfo::from_bytes(bytes);
});
