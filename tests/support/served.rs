//! A virtual board served by `esplice sim` to another program.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::support::repository;

pub const FLASH_LEN: usize = 4 << 20;
/// Offset at which [`image`]s are written.
pub const OFFSET: usize = 0x1_0000;

/// A board served by `esplice sim`, which ends when this value is dropped.
pub struct Board {
    program: Child,
    /// The board's port, as esptool names it.
    pub port: String,
    /// The port of each board of that program, for each connection: TCP, RFC 2217, pty.
    pub ports: Vec<String>,
    directory: tempfile::TempDir,
}

impl Board {
    /// Serves a board with erased flash, with these flags.
    pub fn new(flags: &[&str]) -> Board {
        Board::with_flash(flags, None)
    }

    /// Serves a board with this content in its flash.
    pub fn with_flash(flags: &[&str], flash: Option<&[u8]>) -> Board {
        Board::of("esp32c3", flags, flash)
    }

    /// Serves a board of that chip.
    pub fn of(chip: &str, flags: &[&str], flash: Option<&[u8]>) -> Board {
        let directory = tempfile::tempdir().unwrap();
        if let Some(flash) = flash {
            fs::write(directory.path().join("board.flash"), flash).unwrap();
        }
        let mut program = Command::new(assert_cmd::cargo::cargo_bin!("esplice"))
            .args(["sim", "--chip", chip, "--flash", "board.flash", "--quiet"])
            .args(flags)
            .current_dir(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let count = flags.iter().skip_while(|flag| **flag != "--count").nth(1);
        let count: usize = count.map_or(1, |count| count.parse().unwrap());
        let is_way = |flag: &&&str| ["--tcp", "--rfc2217", "--pty"].contains(flag);
        let count = count * flags.iter().filter(is_way).count().max(1);
        let said = BufReader::new(program.stdout.take().unwrap()).lines();
        let ports: Vec<String> =
            said.take(count).map(|line| line.unwrap().trim().to_owned()).collect();
        Board { program, port: ports.first().cloned().unwrap_or_default(), ports, directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn flash(&self) -> Vec<u8> {
        fs::read(self.path("board.flash")).unwrap()
    }

    /// Runs `program` in the board's directory, which must succeed; its output must contain each of
    /// `told`.
    #[track_caller]
    pub fn run(&self, program: &mut Command, told: &[&str]) -> String {
        let text = self.run_with_exit(program, 0);
        for part in told {
            assert!(text.contains(part), "{program:?}: no {part:?} in {text}");
        }
        text
    }

    /// Runs `program`, which must end with `exit`, and returns its output.
    #[track_caller]
    pub fn run_with_exit(&self, program: &mut Command, exit: i32) -> String {
        let output = program.current_dir(self.directory.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{program:?}: {text}");
        text
    }

    /// Ends the program that serves the board, as Ctrl-C does, and waits for it.
    #[cfg(unix)]
    pub fn interrupt(self) -> tempfile::TempDir {
        self.interrupt_with_exit(0)
    }

    /// The same for a program that then ends with `exit`.
    #[cfg(unix)]
    pub fn interrupt_with_exit(mut self, exit: i32) -> tempfile::TempDir {
        use nix::{sys::signal, unistd::Pid};
        let pid = Pid::from_raw(self.program.id().cast_signed());
        signal::kill(pid, signal::Signal::SIGINT).unwrap();
        assert_eq!(self.program.wait().unwrap().code(), Some(exit));
        std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap())
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // An error does not matter: the test is over.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// Returns a program that a test needs: the value of `variable`, else `name` on PATH. Without it
/// the test fails, because silently skipping an independent check would be worse.
pub fn peer(variable: &str, name: &str, asked: &str, install: &str) -> PathBuf {
    let program = std::env::var_os(variable).map_or(name.into(), PathBuf::from);
    let program = if program.is_relative() && program.components().count() > 1 {
        repository().join(program)
    } else {
        program
    };
    let found = Command::new(&program).arg(asked).output();
    assert!(
        found.as_ref().is_ok_and(|output| output.status.success()),
        "cannot run {program:?}: {found:?}; install it with `{install}`, or name it in {variable}",
    );
    program
}

pub fn esptool() -> Command {
    Command::new(peer("ESPLICE_ESPTOOL", "esptool", "version", "pip install esptool==5.6.0"))
}

/// Makes an image of odd length that compresses to about half its size.
pub fn image(path: &Path) -> Vec<u8> {
    let mut seed = 1_u32;
    let bytes: Vec<u8> = (0..90_001)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 28) as u8 | 0x40
        })
        .collect();
    fs::write(path, &bytes).unwrap();
    bytes
}

/// Returns the flash content after writing `image` to an erased flash at [`OFFSET`]; the rest of
/// the last sector is all ones.
pub fn written(image: &[u8]) -> Vec<u8> {
    let mut flash = vec![0xff; FLASH_LEN];
    flash[OFFSET..OFFSET + image.len()].copy_from_slice(image);
    flash
}
