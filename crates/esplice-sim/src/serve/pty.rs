//! A pseudo-terminal: a system serial port connected to the board, under a name chosen by the user.
//!
//! A pty carries bytes, the baud rate set by its user, and hang-ups. It has no DTR and RTS, so it
//! can't reset the board.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::{
        fd::OwnedFd,
        unix::{
            ffi::OsStringExt as _,
            fs::{OpenOptionsExt as _, symlink},
        },
    },
    path::{Path, PathBuf},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
    io::ioctl_fionbio,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{OptionalActions, QueueSelector, tcflush, tcgetattr, tcsetattr},
};

/// Baud rate until a client sets one.
const FIRST_BAUD: u32 = 115_200;
/// Directories of ptys on Linux and on the BSDs.
const PTY_DIRECTORIES: [&str; 2] = ["/dev/pts/", "/dev/tty"];

/// A pty and the symbolic link to it. Dropping it removes the link.
#[derive(Debug)]
pub(super) struct Pty {
    master: File,
    device: PathBuf,
    link: PathBuf,
}

impl Pty {
    /// Creates a pty whose other end is reached at `link`. A link to a removed pty is replaced;
    /// anything else at `link` is kept.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] if something else is at `link`; else the system's error.
    pub fn new(link: &Path) -> io::Result<Pty> {
        let (master, device) = open()?;
        if is_left_over(link) {
            fs::remove_file(link)?;
        }
        symlink(&device, link)?;
        Ok(Pty { master, device, link: link.into() })
    }

    /// Returns the device that the link points to.
    pub fn device(&self) -> &Path {
        &self.device
    }

    /// Returns whether a program has the other end open.
    pub fn is_open(&self) -> bool {
        let mut asked = [PollFd::new(&self.master, PollFlags::IN)];
        let told = poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        // Unread bytes of a program that has gone still count.
        told.is_ok()
            && asked.iter().all(|asked| {
                let found = asked.revents();
                !found.contains(PollFlags::HUP) || found.contains(PollFlags::IN)
            })
    }

    /// Returns the board's end, for bytes.
    pub fn stream(&self) -> io::Result<File> {
        self.master.try_clone()
    }

    /// Prepares the pty for the next client after the last one has gone. Unread bytes are
    /// discarded, and so is a lock left by a killed program.
    pub fn renew(&mut self) -> io::Result<()> {
        let _ = tcflush(&self.master, QueueSelector::IOFlush);
        if slave(&self.device).is_ok() {
            return Ok(());
        }
        let (master, device) = open()?;
        if self.link_is_ours() {
            fs::remove_file(&self.link)?;
        }
        symlink(&device, &self.link)?;
        (self.master, self.device) = (master, device);
        Ok(())
    }

    /// Hangs up all clients and removes the link.
    pub fn hide(&mut self) {
        if self.link_is_ours() {
            let _ = fs::remove_file(&self.link);
        }
        if let Ok((master, device)) = open() {
            (self.master, self.device) = (master, device);
        }
    }

    /// Restores the link.
    pub fn show(&mut self) {
        // If something else is there by now, no client can connect.
        let _ = symlink(&self.device, &self.link);
    }

    fn link_is_ours(&self) -> bool {
        fs::read_link(&self.link).is_ok_and(|target| target == self.device)
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        if self.link_is_ours() {
            // A failure can't be reported here.
            let _ = fs::remove_file(&self.link);
        }
    }
}

/// Returns the baud rate that the other end has set on the pty of `master`.
pub(super) fn baud_of(master: &File) -> u32 {
    // 0 means to hang up.
    tcgetattr(master)
        .map(|set| set.output_speed())
        .ok()
        .filter(|baud| *baud > 0)
        .unwrap_or(FIRST_BAUD)
}

/// Opens a new pty in raw mode. Returns its master and the other end's name.
fn open() -> io::Result<(File, PathBuf)> {
    let master = open_master()?;
    grantpt(&master)?;
    unlockpt(&master)?;
    ioctl_fionbio(&master, true)?;
    let name = ptsname(&master, Vec::new())?.into_bytes();
    let device = PathBuf::from(std::ffi::OsString::from_vec(name));
    // Opened once and closed, so that the master sees a hang-up until a client comes.
    let slave = slave(&device)?;
    let mut settings = tcgetattr(&slave)?;
    settings.make_raw();
    settings.set_speed(FIRST_BAUD)?;
    tcsetattr(&slave, OptionalActions::Now, &settings)?;
    Ok((master.into(), device))
}

/// Opens a master that child processes do not inherit.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn open_master() -> rustix::io::Result<OwnedFd> {
    openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
}

/// Opens a master that child processes do not inherit. macOS has no flag for that: a process that
/// another thread starts between the two calls still inherits it.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn open_master() -> rustix::io::Result<OwnedFd> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    rustix::io::fcntl_setfd(&master, rustix::io::FdFlags::CLOEXEC)?;
    Ok(master)
}

fn slave(device: &Path) -> io::Result<File> {
    let flags = (OFlags::NOCTTY | OFlags::NONBLOCK).bits();
    OpenOptions::new().read(true).write(true).custom_flags(flags.cast_signed()).open(device)
}

/// Returns whether `link` points to a removed pty.
fn is_left_over(link: &Path) -> bool {
    let leads_to_pty = fs::read_link(link).is_ok_and(|target| {
        PTY_DIRECTORIES
            .iter()
            .any(|known| target.as_os_str().as_encoded_bytes().starts_with(known.as_bytes()))
    });
    leads_to_pty && fs::metadata(link).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    #[test]
    fn the_link_comes_and_goes() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("board");
        let pty = Pty::new(&link).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), pty.device());
        let taken = Pty::new(&link).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
        drop(pty);
        assert!(fs::symlink_metadata(&link).is_err());
        // A stale link is replaced, a user's own file is not.
        symlink("/dev/pts/99999", &link).unwrap();
        drop(Pty::new(&link).unwrap());
        for own in ["nothing", "/dev/null"] {
            symlink(own, &link).unwrap();
            assert_eq!(Pty::new(&link).unwrap_err().kind(), ErrorKind::AlreadyExists);
            assert_eq!(fs::read_link(&link).unwrap(), Path::new(own));
            fs::remove_file(&link).unwrap();
        }
    }

    #[test]
    fn who_is_there_is_known_and_at_which_rate() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("board");
        let mut pty = Pty::new(&link).unwrap();
        assert!(!pty.is_open());
        assert_eq!(baud_of(&pty.master), 115_200);
        let mut user = slave(&link).unwrap();
        assert!(pty.is_open());
        // Also a rate for which there is no constant.
        for baud in [921_600, 1_234_567] {
            let mut settings = tcgetattr(&user).unwrap();
            settings.set_speed(baud).unwrap();
            tcsetattr(&user, OptionalActions::Now, &settings).unwrap();
            assert_eq!(baud_of(&pty.master), baud);
        }
        // Every byte passes unchanged in both directions.
        let all: Vec<u8> = (0..=255).collect();
        let mut buf = [0; 300];
        user.write_all(&all).unwrap();
        let len = pty.stream().unwrap().read(&mut buf).unwrap();
        assert_eq!(buf[..len], all);
        pty.stream().unwrap().write_all(&all).unwrap();
        let len = user.read(&mut buf).unwrap();
        assert_eq!(buf[..len], all);
        // The last bytes before a hang-up are read.
        user.write_all(b"end").unwrap();
        drop(user);
        assert!(pty.is_open());
        assert_eq!(pty.stream().unwrap().read(&mut buf).unwrap(), 3);
        assert!(!pty.is_open());
        pty.renew().unwrap();
        assert!(slave(&link).is_ok());
    }
}
