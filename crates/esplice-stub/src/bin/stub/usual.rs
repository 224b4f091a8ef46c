//! The loader's usual commands for writing and reading, as esptool's stub has them.

use esplice_stub::{
    md5::Md5,
    wire::{self, reason},
};

use crate::{
    commands::{
        DEFL_BEGIN, DEFL_DATA, DEFL_END, FLASH_BEGIN, FLASH_DATA, FLASH_END, MD5, PAYLOAD,
        READ_FLASH, Stub,
    },
    link::{self, word},
    parts::Part,
    read, write,
};

/// Carries out a request that the core of the stub does not know. Returns the length of another one
/// that ended it.
#[inline(never)]
pub fn dispatch(stub: &mut Stub, opcode: u8, len: usize) -> Result<Option<usize>, u8> {
    let w = [word(0), word(1), word(2), word(3)];
    match opcode {
        FLASH_BEGIN | DEFL_BEGIN => {
            stub.need(Part::Writer)?;
            let coder = if opcode == DEFL_BEGIN { wire::ZLIB } else { wire::RAW };
            stub.sequence = 0;
            stub.writer.begin_open(coder, w[3], w[0], &stub.flash)?;
            stub.link.reply(opcode, 0, 0);
        }
        FLASH_DATA | DEFL_DATA => block(stub, opcode, len)?,
        FLASH_END | DEFL_END => {
            stub.link.reply(opcode, 0, 0);
            if w[0] == 0 {
                stub.leave();
            }
        }
        MD5 => {
            stub.flash.check(w[0], w[1])?;
            let mut md5 = Md5::new();
            stub.flash.each(w[0], w[1], &mut stub.link, |_, bytes| md5.update(bytes));
            let digest = md5.finish();
            stub.link.begin(opcode, 0, 18);
            stub.link.put(&digest);
            stub.link.end_status(0);
        }
        READ_FLASH => {
            stub.flash.check(w[0], w[1])?;
            return read::packets(w, &mut stub.flash, &mut stub.link);
        }
        wire::READ => {
            stub.flash.check(w[0], w[1])?;
            let buffers = write::read_buffers(&mut stub.writer);
            return Ok(buffers.stream(w[0], w[1], w[2], &mut stub.flash, &mut stub.link));
        }
        _ => return Err(reason::UNKNOWN),
    }
    Ok(None)
}

fn block(stub: &mut Stub, opcode: u8, len: usize) -> Result<(), u8> {
    if !stub.writer.is_active() || !stub.writer.is_open_ended() {
        return Err(reason::NO_WRITE);
    }
    if stub.writer.failure() != 0 {
        return Err(stub.writer.failure());
    }
    stub.check_block(len)?;
    if word(1) != stub.sequence {
        return Err(reason::INVALID);
    }
    stub.sequence += 1;
    // Acknowledged at once, so that the next block comes while this one is written.
    stub.link.reply(opcode, 0, 0);
    for at in PAYLOAD..len {
        if at & 63 == 0 {
            stub.link.poll();
        }
        stub.writer.feed(link::byte(at), &mut stub.flash, &mut stub.link);
    }
    Ok(())
}
