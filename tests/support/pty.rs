//! Ptys whose ends belong to one test alone.

use nix::pty::OpenptyResult;

/// Opens a pty. Programs that other tests start at the same time do not inherit its ends: they would
/// hold it open after this test has closed it.
#[cfg(target_os = "linux")]
pub fn open() -> OpenptyResult {
    use std::os::unix::fs::OpenOptionsExt as _;

    use nix::{
        fcntl::OFlag,
        pty::{grantpt, posix_openpt, ptsname_r, unlockpt},
    };

    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = posix_openpt(flags).expect("the system has a free pty");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("the pty is this process's");
    let name = ptsname_r(&master).expect("the pty has a name");
    let mut options = std::fs::File::options();
    options.read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits());
    let slave = options.open(name).expect("the other end can be opened");
    OpenptyResult { master: master.into(), slave: slave.into() }
}

/// Opens a pty. Other systems have no single call for a pty that is not inherited.
#[cfg(not(target_os = "linux"))]
pub fn open() -> OpenptyResult {
    use std::os::fd::OwnedFd;

    use nix::fcntl::{FcntlArg, FdFlag, fcntl};

    let pty = nix::pty::openpty(None, None).expect("the system has a free pty");
    let keep =
        |end: &OwnedFd| fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("it is open");
    keep(&pty.master);
    keep(&pty.slave);
    pty
}
