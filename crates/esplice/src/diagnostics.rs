//! Diagnostics: what the tool did, on stderr with `-v` and in the file of `--log-file`.
//!
//! The libraries emit `tracing` events; nothing listens without one of the two. Frames are logged
//! with opcode and length, never with their contents, so a log can be attached to a bug report.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt::{self, MakeWriter, time::uptime},
    layer::SubscriberExt as _,
};

use crate::{
    files::output_place::cannot_write,
    ui::{
        exit::Failure,
        printable::{printable, printable_message},
        shell::MESSAGES,
    },
};

/// Variable with the log file, for the processes that esplice starts as the linker.
pub const LOG_FILE_VARIABLE: &str = "ESPLICE_LOG_FILE";

/// The log file in use, for child processes.
static LOG_FILE: OnceLock<PathBuf> = OnceLock::new();

/// Returns the absolute path of the log file in use.
pub fn log_file() -> Option<&'static Path> {
    LOG_FILE.get().map(PathBuf::as_path)
}

/// Starts to log: on stderr from `verbose` 1 on (debug) or 2 (trace), and everything to `file`, which
/// is replaced.
///
/// # Errors
/// Where the file cannot be written.
pub fn start(verbose: u8, file: Option<&Path>) -> Result<(), Failure> {
    let file = file.map(|path| Ok::<_, Failure>((path, create(path)?))).transpose()?;
    let log = file.map(|(path, file)| {
        let _ = LOG_FILE.set(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        Clean(Arc::new(Mutex::new(file)))
    });
    listen(verbose, log);
    let arguments: Vec<_> = std::env::args_os().collect();
    tracing::debug!(version = env!("CARGO_PKG_VERSION"), ?arguments, "esplice");
    Ok(())
}

/// Continues the log of the esplice that started this process, if it has one.
pub fn join() {
    let Some(path) = std::env::var_os(LOG_FILE_VARIABLE) else { return };
    // The link does not fail because its log can't be written.
    if let Ok(file) = OpenOptions::new().append(true).open(path) {
        listen(0, Some(Clean(Arc::new(Mutex::new(file)))));
    }
}

fn create(path: &Path) -> Result<File, Failure> {
    // A pipe without a reader would block.
    #[cfg(unix)]
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(Failure::usage(format!("log file {} is not a regular file", path.display())));
    }
    File::create(path).map_err(|error| cannot_write(path, &error))
}

fn listen(verbose: u8, log: Option<Clean<File>>) {
    let level = match verbose {
        0 => LevelFilter::OFF,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    if log.is_none() && level == LevelFilter::OFF {
        return;
    }
    let own = |level| Targets::new().with_target("esplice", level);
    let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = Vec::new();
    if level != LevelFilter::OFF {
        // The shell prints its messages itself.
        let filter = own(level).with_target(MESSAGES, LevelFilter::OFF);
        let writer = Clean(Arc::new(Mutex::new(io::stderr())));
        layers.push(lines(writer).with_filter(filter).boxed());
    }
    if let Some(log) = log {
        layers.push(lines(log).with_filter(own(LevelFilter::TRACE)).boxed());
    }
    let subscriber = tracing_subscriber::registry().with(layers);
    // Only the first call has an effect, and there is only one.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Returns a layer that writes an event as a line: time since the start, level, target, fields.
fn lines<W: Write + Send + 'static>(writer: Clean<W>) -> impl Layer<Registry> + Send + Sync {
    fmt::layer().with_ansi(false).with_timer(uptime()).with_writer(writer)
}

/// A writer that removes terminal escapes: values in an event may come from a board.
struct Clean<W>(Arc<Mutex<W>>);

impl<W: Write> Write for Clean<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let (message, end) = match text.strip_suffix('\n') {
            Some(message) => (printable_message(message), "\n"),
            None => (printable(&text), ""),
        };
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(format!("{message}{end}").as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

impl<'a, W: Write + 'a> MakeWriter<'a> for Clean<W> {
    type Writer = Clean<W>;

    fn make_writer(&'a self) -> Clean<W> {
        Clean(Arc::clone(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_do_not_reach_the_log() {
        let shared = Arc::new(Mutex::new(Vec::new()));
        let mut clean = Clean(Arc::clone(&shared));
        clean.write_all(b"port \x1b[2Jx\nerror: forged\n").unwrap();
        let text = String::from_utf8(shared.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "port x\n  error: forged\n");
    }
}
