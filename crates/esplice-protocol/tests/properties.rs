//! Properties for any bytes: nothing panics, nothing grows past its limit, and decoding reverses
//! encoding.

use esplice_protocol::{FlashBegin, RawRequest, RegisterWrite, Reply, Request, SecurityInfo, slip};
use proptest::prelude::*;

/// Returns the frames and other results of a decoder of `limit` on `wire`.
fn decode(wire: &[u8], limit: usize) -> (Vec<Vec<u8>>, usize) {
    let mut decoder = slip::Decoder::new(limit);
    let mut frames = Vec::new();
    let mut broken = 0;
    for byte in wire {
        match decoder.push(*byte) {
            slip::Decoded::Frame(frame) => frames.push(frame),
            slip::Decoded::Broken(_) => broken += 1,
            slip::Decoded::More | slip::Decoded::Stray(_) => {}
        }
    }
    (frames, broken)
}

/// Generates bytes in which those that SLIP escapes are frequent.
fn payload(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    let special = [slip::END, slip::ESC, slip::ESC_END, slip::ESC_ESC];
    let byte = any::<u8>().prop_map(move |byte| *special.get(usize::from(byte)).unwrap_or(&byte));
    // One in 64 of them, and runs of nothing else.
    let thin = prop::collection::vec(byte, len.clone());
    let thick = prop::collection::vec(prop::sample::select(special.to_vec()), len);
    prop_oneof![thin, thick]
}

fn request() -> impl Strategy<Value = Request> {
    let word = any::<u32>;
    let begin = (word(), word(), word(), word(), any::<Option<u32>>()).prop_map(
        |(erase_len, blocks, block_len, offset, encrypt)| FlashBegin {
            erase_len,
            blocks,
            block_len,
            offset,
            encrypt,
        },
    );
    let block = || (word(), payload(0..200));
    prop_oneof![
        begin.clone().prop_map(Request::FlashBegin),
        begin.prop_map(Request::FlashDeflBegin),
        block().prop_map(|(sequence, data)| Request::FlashData { sequence, data }),
        block().prop_map(|(sequence, data)| Request::FlashDeflData { sequence, data }),
        block().prop_map(|(sequence, data)| Request::MemData { sequence, data }),
        any::<bool>().prop_map(|stay| Request::FlashEnd { stay }),
        any::<bool>().prop_map(|stay| Request::FlashDeflEnd { stay }),
        (word(), word(), word(), word()).prop_map(|(len, blocks, block_len, addr)| {
            Request::MemBegin { len, blocks, block_len, addr }
        }),
        (any::<bool>(), word()).prop_map(|(stay, entry)| Request::MemEnd { stay, entry }),
        Just(Request::Sync),
        (word(), word(), word(), word()).prop_map(|(addr, value, mask, delay_us)| {
            Request::WriteReg { addr, value, mask, delay_us }
        }),
        word().prop_map(|addr| Request::ReadReg { addr }),
        (word(), word(), word(), word(), word()).prop_map(
            |(total, block, sector, page, status_mask)| Request::SpiSetParams {
                total,
                block,
                sector,
                page,
                status_mask
            }
        ),
        (word(), any::<Option<u32>>())
            .prop_map(|(pins, legacy)| Request::SpiAttach { pins, legacy }),
        prop::collection::vec((word(), word(), word(), word()), 2..9).prop_map(|writes| {
            let write =
                |(addr, value, mask, delay_us)| RegisterWrite { addr, value, mask, delay_us };
            Request::WriteRegs(writes.into_iter().map(write).collect())
        }),
        Just(Request::EraseFlash),
        Just(Request::RunUserCode),
        (word(), word()).prop_map(|(offset, len)| Request::EraseRegion { offset, len }),
        (word(), word(), word(), word()).prop_map(|(offset, len, packet, in_flight)| {
            Request::ReadFlash { offset, len, packet, in_flight }
        }),
        (word(), word()).prop_map(|(offset, len)| Request::ReadFlashSlow { offset, len }),
        (word(), word()).prop_map(|(new, old)| Request::ChangeBaudrate { new, old }),
        (word(), word()).prop_map(|(offset, len)| Request::SpiFlashMd5 { offset, len }),
        Just(Request::GetSecurityInfo),
    ]
}

proptest! {
    #[test]
    fn slip_gives_back_what_it_took(payload in payload(1..400)) {
        let wire = slip::encode(&payload);
        prop_assert!(wire.len() <= payload.len() * 2 + 2);
        let inside = &wire[1..wire.len() - 1];
        prop_assert!(!inside.contains(&slip::END));
        prop_assert_eq!(decode(&wire, payload.len()), (vec![payload], 0));
    }

    #[test]
    fn slip_finds_frames_between_messages(
        payloads in prop::collection::vec(payload(1..100), 1..8),
        message in "[a-z \r\n]{0,40}",
    ) {
        let mut wire = Vec::new();
        for payload in &payloads {
            wire.extend_from_slice(message.as_bytes());
            wire.extend(slip::encode(payload));
        }
        prop_assert_eq!(decode(&wire, 100), (payloads, 0));
    }

    #[test]
    fn slip_refuses_what_is_too_long_and_goes_on(
        long in payload(21..300),
        short in payload(1..20),
    ) {
        let mut wire = slip::encode(&long);
        wire.extend(slip::encode(&short));
        prop_assert_eq!(decode(&wire, 20), (vec![short], 1));
    }

    #[test]
    fn slip_bears_any_bytes(wire in payload(0..500), limit in 0_usize..64) {
        for frame in decode(&wire, limit).0 {
            prop_assert!((1..=limit).contains(&frame.len()));
        }
    }

    #[test]
    fn slip_recovers_after_any_bytes(noise in payload(0..300), payload in payload(1..100)) {
        // Whatever came before, the second frame is decoded.
        let mut wire = noise;
        wire.extend(slip::encode(&payload));
        wire.extend(slip::encode(&payload));
        let (mut frames, _) = decode(&wire, 400);
        prop_assert_eq!(frames.pop(), Some(payload));
    }

    #[test]
    fn requests_come_back(request in request()) {
        let wire = request.to_bytes();
        let raw = RawRequest::from_frame(&wire).unwrap();
        prop_assert_eq!(Request::from_raw(&raw), Ok(request));
    }

    #[test]
    fn a_flipped_bit_of_a_block_breaks_its_checksum(
        sequence in any::<u32>(),
        data in payload(1..200),
        at in any::<prop::sample::Index>(),
        bit in 0_u32..8,
    ) {
        let at = at.index(data.len());
        let mut wire = Request::FlashDeflData { sequence, data }.to_bytes();
        prop_assert!(RawRequest::from_frame(&wire).unwrap().has_valid_checksum());
        let start = wire.len() - at - 1;
        wire[start] ^= 1 << bit;
        prop_assert!(!RawRequest::from_frame(&wire).unwrap().has_valid_checksum());
    }

    #[test]
    fn replies_come_back(opcode: u8, value: u32, data in payload(0..200), status in 0_usize..8) {
        let reply = Reply { opcode, value, data };
        prop_assert_eq!(Reply::from_frame(&reply.to_bytes()), Ok(reply.clone()));
        match reply.split_status(status) {
            Some((data, _)) => prop_assert_eq!(data.len() + status, reply.data.len()),
            None => prop_assert!(status < 2 || reply.data.len() < status),
        }
    }

    #[test]
    fn decoders_bear_any_bytes(wire in payload(0..300), opcode in 0_u8..0x20) {
        let _ = Reply::from_frame(&wire);
        let _ = SecurityInfo::from_bytes(&wire);
        if let Ok(raw) = RawRequest::from_frame(&wire) {
            let _ = Request::from_raw(&raw);
            raw.has_valid_checksum();
        }
        // And with a valid header, so that the data is checked.
        let raw = RawRequest { opcode, checksum: 0, data: &wire };
        raw.has_valid_checksum();
        if let Ok(request) = Request::from_raw(&raw) {
            prop_assert_eq!(request.opcode() as u8, opcode);
            prop_assert!(request.to_bytes().len() <= wire.len() + 8 + 4);
        }
    }

    #[test]
    fn security_info_comes_back(
        flags: u32,
        flash_crypt_cnt: u8,
        key_purposes: [u8; 7],
        ids in any::<Option<(u32, u32)>>(),
    ) {
        let (chip_id, api_version) = ids.unzip();
        let info = SecurityInfo { flags, flash_crypt_cnt, key_purposes, chip_id, api_version };
        prop_assert_eq!(SecurityInfo::from_bytes(&info.to_bytes()), Some(info));
    }
}
