//! Keys from files, and keys that another program holds.

use std::{
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use esplice_ota::{KeyFileError, PublicKey, SecretKey, Signer, public_from_pem, secret_from_pem};

use crate::{
    files::read,
    ui::exit::{Exit, Failure},
};

/// Size of the largest key file, in bytes.
const LARGEST: u64 = 64 << 10;

/// A file with a passphrase.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PassphraseArgs {
    /// File whose first line is the key's passphrase; - reads standard input
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

impl PassphraseArgs {
    pub fn read(&self) -> Result<Option<Vec<u8>>, Failure> {
        let Some(path) = &self.passphrase_file else { return Ok(None) };
        let mut bytes = if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            let read = io::stdin().lock().take(LARGEST).read_to_end(&mut bytes);
            read.map_err(|error| read::cannot_read(path, &error))?;
            bytes
        } else {
            read::read_up_to(path, LARGEST).map_err(|error| read::cannot_read(path, &error))?
        };
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        bytes.truncate(end);
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        if bytes.is_empty() {
            return Err(Failure::input(format!("{} has no passphrase", path.display())));
        }
        Ok(Some(bytes))
    }
}

/// The key that signs.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
pub struct KeyArgs {
    /// File with the secret key, as `ota keygen` or OpenSSL writes it
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Program that holds the key: called with `public` or `sign`, see the guide
    #[arg(long, value_name = "PROGRAM")]
    signer: Option<PathBuf>,
}

impl KeyArgs {
    pub fn open(&self, passphrase: &PassphraseArgs) -> Result<AnySigner, Failure> {
        match (&self.key, &self.signer) {
            (Some(path), _) => Ok(AnySigner::Key(read_secret(path, passphrase)?)),
            (None, Some(program)) => Ok(AnySigner::Program(program.clone())),
            (None, None) => Err(Failure::usage("neither --key nor --signer was given")),
        }
    }
}

pub fn read_secret(path: &Path, passphrase: &PassphraseArgs) -> Result<SecretKey, Failure> {
    let text = read_text(path)?;
    let passphrase = passphrase.read()?;
    secret_from_pem(&text, passphrase.as_deref()).map_err(|error| refused(path, error))
}

pub fn read_public(path: &Path) -> Result<PublicKey, Failure> {
    public_from_pem(&read_text(path)?).map_err(|error| refused(path, error))
}

fn read_text(path: &Path) -> Result<String, Failure> {
    let bytes = read::read_up_to(path, LARGEST).map_err(|error| read::cannot_read(path, &error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn refused(path: &Path, error: KeyFileError) -> Failure {
    let failure = Failure::input(format!("{}: {error}", path.display()));
    match error {
        KeyFileError::NeedsPassphrase => failure.hint("give a file with it as --passphrase-file"),
        _ => failure,
    }
}

/// A key in memory or one that a program holds.
pub enum AnySigner {
    Key(SecretKey),
    Program(PathBuf),
}

impl Signer for AnySigner {
    type Error = SignerError;

    fn public(&mut self) -> Result<PublicKey, SignerError> {
        match self {
            AnySigner::Key(key) => Ok(SecretKey::public(key)),
            AnySigner::Program(program) => Ok(PublicKey(answer(program, "public", &[])?)),
        }
    }

    fn sign(&mut self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        match self {
            AnySigner::Key(key) => Ok(SecretKey::sign(key, message)),
            AnySigner::Program(program) => answer(program, "sign", message),
        }
    }
}

/// A program that holds a key did not answer.
#[derive(Debug)]
pub struct SignerError(String);

impl std::fmt::Display for SignerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl SignerError {
    pub fn into_failure(self) -> Failure {
        Failure::new(Exit::BadInput, self.0)
    }
}

/// Runs `PROGRAM WHAT` with `input` on its standard input. Returns what it prints, which must have
/// the right length.
fn answer<const N: usize>(
    program: &Path,
    what: &str,
    input: &[u8],
) -> Result<[u8; N], SignerError> {
    let shown = program.display();
    let failed = |error: io::Error| SignerError(format!("cannot run {shown} {what}: {error}"));
    let mut child = Command::new(program)
        .arg(what)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        // A program that does not read its input ends the pipe, which is its own business.
        scope.spawn(move || stdin.take().map(|mut stdin| stdin.write_all(input)));
        child.wait_with_output()
    });
    let output = output.map_err(failed)?;
    if !output.status.success() {
        return Err(SignerError(format!("{shown} {what} failed: {}", output.status)));
    }
    let len = output.stdout.len();
    output.stdout.try_into().map_err(|_| {
        SignerError(format!("{shown} {what} printed {len} bytes, and {N} were expected"))
    })
}
