//! A ROM loader without a CPU on a line that takes time, for tests of ports.

use std::{collections::VecDeque, time::Duration};

use esplice_sim::{SimError, download::Loader, download::NextAction, port::SerialEnd};

use super::{Bench, chip};

/// Relative difference of baud rates beyond which bytes are garbled.
const TOLERANCE: f64 = 0.03;

struct OnLine {
    at: Duration,
    byte: u8,
    baud: u32,
}

pub struct LoaderBoard {
    bench: Bench,
    timed: bool,
    now: Duration,
    baud: Option<u32>,
    in_reset: bool,
    to_board: VecDeque<OnLine>,
    to_host: VecDeque<OnLine>,
    host_free: Duration,
    board_free: Duration,
}

impl LoaderBoard {
    pub fn new(timed: bool) -> LoaderBoard {
        LoaderBoard {
            bench: Bench::new(),
            timed,
            now: Duration::ZERO,
            baud: None,
            in_reset: false,
            to_board: VecDeque::new(),
            to_host: VecDeque::new(),
            host_free: Duration::ZERO,
            board_free: Duration::ZERO,
        }
    }

    pub fn with_flash(mut self, nor: esplice_sim::nor::Nor) -> LoaderBoard {
        self.bench.chip.nor = nor;
        self
    }

    fn byte_time(&self, baud: u32) -> Duration {
        if self.timed { Duration::from_secs(10) / baud } else { Duration::ZERO }
    }

    fn restart(&mut self) {
        self.bench.loader = Loader::new(chip());
        self.baud = None;
    }

    fn take_byte(&mut self, sent: OnLine) -> Result<(), SimError> {
        if self.in_reset {
            return Ok(());
        }
        let baud = *self.baud.get_or_insert(sent.baud);
        let byte = if differs(baud, sent.baud) { !sent.byte } else { sent.byte };
        let output = self.bench.loader.receive(byte, &mut self.bench.chip);
        if let Some(error) = output.error {
            return Err(SimError::FlashFailed(error.into()));
        }
        if self.timed {
            self.now += output.busy;
        }
        self.board_free = self.board_free.max(self.now);
        for byte in output.reply {
            self.board_free += self.byte_time(baud);
            self.to_host.push_back(OnLine { at: self.board_free, byte, baud });
        }
        match output.then {
            Some(NextAction::SetBaud(baud)) => self.baud = Some(baud),
            Some(NextAction::Reset) => self.restart(),
            _ => {}
        }
        Ok(())
    }
}

fn differs(one: u32, other: u32) -> bool {
    (f64::from(one) / f64::from(other) - 1.0).abs() > TOLERANCE
}

impl SerialEnd for LoaderBoard {
    fn now(&self) -> Duration {
        self.now
    }

    fn run_to(&mut self, deadline: Duration, stop_on_output: bool) -> Result<(), SimError> {
        loop {
            let input = self.to_board.front().map_or(Duration::MAX, |byte| byte.at);
            let output = self.to_host.front().map_or(Duration::MAX, |byte| byte.at);
            if stop_on_output && output <= input && output <= deadline.max(self.now) {
                self.now = self.now.max(output);
                return Ok(());
            }
            if input > deadline.max(self.now) {
                self.now = self.now.max(deadline);
                return Ok(());
            }
            if let Some(byte) = self.to_board.pop_front() {
                self.now = self.now.max(byte.at);
                self.take_byte(byte)?;
            }
        }
    }

    fn set_lines(&mut self, dtr: bool, rts: bool) {
        let reset = rts && !dtr;
        if self.in_reset && !reset {
            self.restart();
        }
        self.in_reset = reset;
    }

    fn host_send(&mut self, bytes: &[u8], baud: u32) -> Duration {
        self.host_free = self.host_free.max(self.now);
        for byte in bytes {
            self.host_free += self.byte_time(baud);
            self.to_board.push_back(OnLine { at: self.host_free, byte: *byte, baud });
        }
        self.host_free
    }

    fn host_take(&mut self, baud: u32, buf: &mut [u8]) -> usize {
        let mut len = 0;
        for place in buf {
            match self.to_host.pop_front_if(|byte| byte.at <= self.now) {
                Some(got) => *place = if differs(got.baud, baud) { !got.byte } else { got.byte },
                None => break,
            }
            len += 1;
        }
        len
    }

    fn host_clear(&mut self) {
        self.to_host.retain(|byte| byte.at > self.now);
    }
}
