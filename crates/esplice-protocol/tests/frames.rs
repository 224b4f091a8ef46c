//! Compares with frames written by hand from the manual (esptool documentation, "Serial Protocol"),
//! so that flasher and virtual board can't agree on a mistake.

use esplice_protocol::{
    FlashBegin, MalformedError, RawRequest, RegisterWrite, Reply, Request, SecurityInfo, Status,
    slip,
};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// Decodes the single frame in `wire`.
fn frame(wire: &[u8]) -> Vec<u8> {
    let mut decoder = slip::Decoder::new(0x2000);
    let mut frames = wire.iter().filter_map(|byte| match decoder.push(*byte) {
        slip::Decoded::Frame(frame) => Some(frame),
        other => {
            assert_eq!(other, slip::Decoded::More);
            None
        }
    });
    let frame = frames.next().expect("a frame");
    assert_eq!(frames.next(), None);
    frame
}

#[track_caller]
fn check_request(request: Request, hex: &str) {
    let wire = bytes(hex);
    assert_eq!(slip::encode(&request.to_bytes()), wire, "{request:?} to bytes");
    let payload = frame(&wire);
    let raw = RawRequest::from_frame(&payload).unwrap();
    assert_eq!(raw.opcode, request.opcode() as u8);
    assert_eq!(Request::from_raw(&raw).unwrap(), request, "{hex} to request");
}

#[track_caller]
fn check_reply(reply: Reply, hex: &str, status: (u8, u8)) {
    let wire = bytes(hex);
    assert_eq!(slip::encode(&reply.to_bytes()), wire, "{reply:?} to bytes");
    assert_eq!(Reply::from_frame(&frame(&wire)).unwrap(), reply, "{hex} to reply");
    let (_, found) = reply.split_status(4).unwrap();
    assert_eq!(found, Status { failed: status.0, reason: status.1 });
}

#[test]
fn requests() {
    check_request(
        Request::Sync,
        "c0 00 08 2400 00000000 07071220
         5555555555555555 5555555555555555 5555555555555555 5555555555555555 c0",
    );
    check_request(Request::ReadReg { addr: 0x4000_1000 }, "c0 00 0a 0400 00000000 00100040 c0");
    check_request(
        Request::WriteReg { addr: 0x6000_2018, value: 0x9000_0000, mask: u32::MAX, delay_us: 7 },
        "c0 00 09 1000 00000000 18200060 00000090 ffffffff 07000000 c0",
    );
    check_request(
        Request::SpiSetParams {
            total: 0x40_0000,
            block: 0x1_0000,
            sector: 0x1000,
            page: 0x100,
            status_mask: 0xffff,
        },
        "c0 00 0b 1800 00000000 00000000 00004000 00000100 00100000 00010000 ffff0000 c0",
    );
    let attach = |legacy| Request::SpiAttach { pins: 0, legacy };
    check_request(attach(Some(0)), "c0 00 0d 0800 00000000 00000000 00000000 c0");
    check_request(attach(None), "c0 00 0d 0400 00000000 00000000 c0");
    let write = |addr| RegisterWrite { addr, value: 1, mask: 3, delay_us: 9 };
    check_request(
        Request::WriteRegs(vec![write(0x6000_2018), write(0x6000_2000)]),
        "c0 00 09 2000 00000000 18200060 01000000 03000000 09000000
         00200060 01000000 03000000 09000000 c0",
    );
    check_request(Request::EraseFlash, "c0 00 d0 0000 00000000 c0");
    check_request(Request::RunUserCode, "c0 00 d3 0000 00000000 c0");
    check_request(
        Request::EraseRegion { offset: 0x9000, len: 0x6000 },
        "c0 00 d1 0800 00000000 00900000 00600000 c0",
    );
    check_request(
        Request::ReadFlash { offset: 0x8000, len: 0xc00, packet: 0x1000, in_flight: 1 },
        "c0 00 d2 1000 00000000 00800000 000c0000 00100000 01000000 c0",
    );
    // 921600 is 0xe1000.
    check_request(
        Request::ChangeBaudrate { new: 921_600, old: 0 },
        "c0 00 0f 0800 00000000 00100e00 00000000 c0",
    );
    check_request(
        Request::ReadFlashSlow { offset: 0x8000, len: 0x40 },
        "c0 00 0e 0800 00000000 00800000 40000000 c0",
    );
    check_request(
        Request::SpiFlashMd5 { offset: 0x1_0000, len: 0x1234 },
        "c0 00 13 1000 00000000 00000100 34120000 00000000 00000000 c0",
    );
    check_request(Request::GetSecurityInfo, "c0 00 14 0000 00000000 c0");
}

#[test]
fn requests_that_begin_and_end() {
    let begin = |encrypt| FlashBegin {
        erase_len: 0x4400,
        blocks: 0x11,
        block_len: 0x400,
        offset: 0x1_0000,
        encrypt,
    };
    check_request(
        Request::FlashBegin(begin(None)),
        "c0 00 02 1000 00000000 00440000 11000000 00040000 00000100 c0",
    );
    check_request(
        Request::FlashDeflBegin(begin(Some(0))),
        "c0 00 10 1400 00000000 00440000 11000000 00040000 00000100 00000000 c0",
    );
    check_request(
        Request::MemBegin { len: 0x1801, blocks: 2, block_len: 0x1800, addr: 0x4038_0000 },
        "c0 00 05 1000 00000000 01180000 02000000 00180000 00003840 c0",
    );
    check_request(Request::FlashEnd { stay: true }, "c0 00 04 0400 00000000 01000000 c0");
    check_request(Request::FlashDeflEnd { stay: false }, "c0 00 12 0400 00000000 00000000 c0");
    check_request(
        Request::MemEnd { stay: false, entry: 0x4038_00c0 },
        "c0 00 06 0800 00000000 00000000 dbdc003840 c0",
    );
}

/// Blocks carry a checksum: 0xEF, XORed with each byte of only the payload. This payload contains
/// both bytes that SLIP escapes: ef ^ 01 ^ c0 ^ db ^ 02 is f7.
#[test]
fn requests_with_blocks() {
    let data = || vec![0x01, 0xc0, 0xdb, 0x02];
    let rest = "1400 f7000000 04000000 03000000 00000000 00000000 01 dbdc dbdd 02 c0";
    check_request(Request::FlashData { sequence: 3, data: data() }, &format!("c0 00 03 {rest}"));
    check_request(Request::MemData { sequence: 3, data: data() }, &format!("c0 00 07 {rest}"));
    check_request(
        Request::FlashDeflData { sequence: 3, data: data() },
        &format!("c0 00 11 {rest}"),
    );
    let wire = bytes(&format!("c0 00 11 {rest}"));
    let mut payload = frame(&wire);
    assert!(RawRequest::from_frame(&payload).unwrap().has_valid_checksum());
    *payload.last_mut().unwrap() ^= 0x80;
    assert!(!RawRequest::from_frame(&payload).unwrap().has_valid_checksum());
}

#[test]
fn replies() {
    // READ_REG has its value in the header.
    check_reply(
        Reply { opcode: 0x0a, value: 0x1b31_506f, data: vec![0; 4] },
        "c0 01 0a 0400 6f50311b 00000000 c0",
        (0, 0),
    );
    // A block that arrived damaged: 01 07.
    check_reply(
        Reply { opcode: 0x11, value: 0, data: vec![1, 7, 0, 0] },
        "c0 01 11 0400 00000000 01070000 c0",
        (1, 7),
    );
    // A successful reply with a stale reason.
    let stale = Reply { opcode: 0x11, value: 0, data: vec![0, 5, 0, 0] };
    assert!(stale.split_status(4).unwrap().1.is_ok());
    check_reply(stale, "c0 01 11 0400 00000000 00050000 c0", (0, 5));
    // A ROM's MD5: 32 digits, here of no bytes, and the status.
    let mut data = b"d41d8cd98f00b204e9800998ecf8427e".to_vec();
    data.extend([0; 4]);
    check_reply(
        Reply { opcode: 0x13, value: 0, data },
        "c0 01 13 2400 00000000 6434316438636439386630306232303465393830303939386563663834323765
         00000000 c0",
        (0, 0),
    );
}

#[test]
fn security_info() {
    let info = SecurityInfo {
        flags: SecurityInfo::SECURE_BOOT | SecurityInfo::SECURE_DOWNLOAD,
        flash_crypt_cnt: 7,
        key_purposes: [0, 4, 0, 0, 9, 0, 12],
        chip_id: Some(5),
        api_version: Some(3),
    };
    let hex = "05000000 07 00040000 09000c 05000000 03000000";
    assert_eq!(info.to_bytes(), bytes(hex));
    assert_eq!(SecurityInfo::from_bytes(&bytes(hex)), Some(info.clone()));
    // Older ROMs stop after the purposes.
    let short = SecurityInfo { chip_id: None, api_version: None, ..info };
    assert_eq!(SecurityInfo::from_bytes(&bytes(hex)[..12]), Some(short));
    for len in [0, 11, 13, 19] {
        assert_eq!(SecurityInfo::from_bytes(&bytes(hex)[..len]), None, "{len} bytes");
    }
}

#[test]
fn broken_frames_are_named() {
    let check = |hex: &str, error| {
        let payload = bytes(hex);
        let found = RawRequest::from_frame(&payload).and_then(|raw| Request::from_raw(&raw));
        assert_eq!(found, Err(error), "{hex}");
    };
    check("", MalformedError::Short(0));
    check("00 0a 0400 000000", MalformedError::Short(7));
    check("01 0a 0400 00000000 00100040", MalformedError::Direction(1));
    check("00 0a 0400 00000000 001000", MalformedError::Length { said: 4, has: 3 });
    check("00 0a 0400 00000000 0010004000", MalformedError::Length { said: 4, has: 5 });
    check("00 7f 0000 00000000", MalformedError::Opcode(0x7f));
    check("00 0a 0300 00000000 001000", MalformedError::Data { opcode: 0x0a, has: 3 });
    check("00 0a 0500 00000000 0010004000", MalformedError::Data { opcode: 0x0a, has: 5 });
    // A block with a contradictory length.
    let rest = "00000000 05000000 00000000 00000000 00000000 01020304";
    check(&format!("00 03 1400 {rest}"), MalformedError::Data { opcode: 3, has: 20 });
    // SYNC with another pattern.
    check("00 08 0400 00000000 07071220", MalformedError::Data { opcode: 8, has: 4 });
    let reply = bytes("00 0a 0400 00000000 00000000");
    assert_eq!(Reply::from_frame(&reply), Err(MalformedError::Direction(0)));
    let short = Reply { opcode: 8, value: 0, data: vec![0, 0, 0] };
    assert_eq!(short.split_status(4), None);
}
