//! Serves a virtual board with a flash image to debuggers, until it is ended from outside:
//!
//! ```sh
//! cargo run --example serve -- esp32c3 firmware.merged.bin 127.0.0.1:3333
//! ```

use std::{error::Error, io::Write as _, sync::atomic::AtomicBool};

use esplice_gdb::{Debugger, Server, ServerEvent};
use esplice_sim::{Board, SharedBoard};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, chip, image, addr] = arguments.as_slice() else {
        return Err("usage: serve CHIP IMAGE ADDR:PORT".into());
    };
    let mut board = Board::new(chip)?;
    board.load_flash(&std::fs::read(image)?)?;
    let mut debugger = Debugger::new(SharedBoard::new(board), None);
    debugger.reset()?;
    let mut server = Server::listen(addr.parse()?)?;
    println!("target remote {}", server.addr());
    server.serve(&mut debugger, &AtomicBool::new(false), &mut |event| match event {
        ServerEvent::Output(bytes) => {
            // A closed terminal ends the output, not the board.
            let _ = std::io::stdout().write_all(&bytes);
        }
        event => println!("{event:?}"),
    })?;
    Ok(())
}
