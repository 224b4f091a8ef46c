//! A pseudo-terminal: a serial port of the system's with the board behind it, under a name of the
//! user's choice.
//!
//! It carries bytes, the baud rate that its user sets, and hang-ups; DTR and RTS it has not, so that
//! nothing can be reset through it.

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

/// Baud rate until somebody sets one.
const FIRST_BAUD: u32 = 115_200;
/// Where ptys are, on Linux and on the BSDs.
const PTY_DIRECTORIES: [&str; 2] = ["/dev/pts/", "/dev/tty"];

/// A pty and the symbolic link that leads to it; the link goes with it.
#[derive(Debug)]
pub(super) struct Pty {
    master: File,
    device: PathBuf,
    link: PathBuf,
}

impl Pty {
    /// A pty whose other end is reached at `link`. A link that leads to a pty that is no more is
    /// replaced, anything else that stands there is left alone.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] when something else is at `link`, and what the system refuses.
    pub fn new(link: &Path) -> io::Result<Pty> {
        let (master, device) = open()?;
        if is_left_over(link) {
            fs::remove_file(link)?;
        }
        symlink(&device, link)?;
        Ok(Pty { master, device, link: link.into() })
    }

    /// The device that the link leads to.
    pub fn device(&self) -> &Path {
        &self.device
    }

    /// Whether somebody has the other end open.
    pub fn is_open(&self) -> bool {
        let mut asked = [PollFd::new(&self.master, PollFlags::IN)];
        let told = poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        // Bytes of one who has gone already still count as somebody.
        told.is_ok()
            && asked.iter().all(|asked| {
                let found = asked.revents();
                !found.contains(PollFlags::HUP) || found.contains(PollFlags::IN)
            })
    }

    /// The board's end, for bytes.
    pub fn stream(&self) -> io::Result<File> {
        self.master.try_clone()
    }

    /// Makes all ready for the next one, when the last has gone: what was not read is lost, and so
    /// is a lock that somebody left behind who was ended by force.
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

    /// Hangs up whoever is there, and takes the link away.
    pub fn hide(&mut self) {
        if self.link_is_ours() {
            let _ = fs::remove_file(&self.link);
        }
        if let Ok((master, device)) = open() {
            (self.master, self.device) = (master, device);
        }
    }

    /// Puts the link back.
    pub fn show(&mut self) {
        // Where something else stands by now, nobody gets in.
        let _ = symlink(&self.device, &self.link);
    }

    fn link_is_ours(&self) -> bool {
        fs::read_link(&self.link).is_ok_and(|target| target == self.device)
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        if self.link_is_ours() {
            // Nobody is there to hear of a failure.
            let _ = fs::remove_file(&self.link);
        }
    }
}

/// The rate that the other end has set, of the pty that `master` belongs to.
pub(super) fn baud_of(master: &File) -> u32 {
    // 0 means to hang up.
    tcgetattr(master)
        .map(|set| set.output_speed())
        .ok()
        .filter(|baud| *baud > 0)
        .unwrap_or(FIRST_BAUD)
}

/// A fresh pty: its master, and its other end's name. Bytes pass it unchanged.
fn open() -> io::Result<(File, PathBuf)> {
    let master = open_master()?;
    grantpt(&master)?;
    unlockpt(&master)?;
    ioctl_fionbio(&master, true)?;
    let name = ptsname(&master, Vec::new())?.into_bytes();
    let device = PathBuf::from(std::ffi::OsString::from_vec(name));
    // Opened once and closed, so that the master is told that nobody is there.
    let slave = slave(&device)?;
    let mut settings = tcgetattr(&slave)?;
    settings.make_raw();
    settings.set_speed(FIRST_BAUD)?;
    tcsetattr(&slave, OptionalActions::Now, &settings)?;
    Ok((master.into(), device))
}

/// Opens a master that programs started later do not inherit.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn open_master() -> rustix::io::Result<OwnedFd> {
    openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
}

/// Opens a master that programs started later do not inherit. macOS has no flag for that: a program
/// that another thread starts between the two calls still inherits it.
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

/// Whether `link` leads to a pty that is no more.
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
        // One that was left behind is replaced, a user's own file is not.
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
        // Also one for which there is no constant.
        for baud in [921_600, 1_234_567] {
            let mut settings = tcgetattr(&user).unwrap();
            settings.set_speed(baud).unwrap();
            tcsetattr(&user, OptionalActions::Now, &settings).unwrap();
            assert_eq!(baud_of(&pty.master), baud);
        }
        // Every byte passes as it is, in both directions.
        let all: Vec<u8> = (0..=255).collect();
        let mut buf = [0; 300];
        user.write_all(&all).unwrap();
        let len = pty.stream().unwrap().read(&mut buf).unwrap();
        assert_eq!(buf[..len], all);
        pty.stream().unwrap().write_all(&all).unwrap();
        let len = user.read(&mut buf).unwrap();
        assert_eq!(buf[..len], all);
        // What somebody said last is heard.
        user.write_all(b"end").unwrap();
        drop(user);
        assert!(pty.is_open());
        assert_eq!(pty.stream().unwrap().read(&mut buf).unwrap(), 3);
        assert!(!pty.is_open());
        pty.renew().unwrap();
        assert!(slave(&link).is_ok());
    }
}
