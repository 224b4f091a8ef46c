use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use esplice_ota::{SecretKey, public_to_pem, secret_to_pem};
use serde_json::json;

use super::keys::PassphraseArgs;
use crate::{
    files::{output_place::cannot_write, outputs::Outputs},
    ui::{
        exit::{Exit, Failure},
        shell::Shell,
    },
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// File for the secret key, which must not exist; the public key is written to FILE.pub
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Write the secret key without encryption
    #[arg(long, conflicts_with = "passphrase_file")]
    no_passphrase: bool,
}

pub fn run(args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    let passphrase = args.passphrase.read()?;
    if passphrase.is_none() && !args.no_passphrase {
        return Err(Failure::usage("the secret key needs a passphrase").hint(
            "give a file with it as --passphrase-file, or --no-passphrase for keys in tests",
        ));
    }
    let internal = |error: String| Failure::new(Exit::Internal, error);
    let key = SecretKey::generate()
        .map_err(|error| internal(format!("the system has no random numbers: {error}")))?;
    let secret = secret_to_pem(&key, passphrase.as_deref());
    let secret = secret.map_err(|error| internal(error.to_string()))?;
    let public = key.public();
    let pem = public_to_pem(&public).ok_or_else(|| internal("the key is not valid".into()))?;
    let mut public_path = args.file.clone().into_os_string();
    public_path.push(".pub");
    let public_path = PathBuf::from(public_path);
    let mut outputs = Outputs::default();
    outputs.add(&public_path, pem.as_bytes())?;
    write_secret(&args.file, secret.as_bytes())?;
    outputs.commit(shell)?;
    let shown = public_path.display();
    let hex = hex::encode(public.0);
    let value = json!({
        "secret": args.file,
        "public": public_path,
        "key": hex,
        "encrypted": passphrase.is_some(),
    });
    shell.result("ota-keygen", &format!("{shown}: {hex}\n"), value);
    Ok(())
}

/// Writes a secret key to a new file that only its owner can read.
fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut options = fs::File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(bytes));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::usage(format!("{} exists already, and keys are not replaced", path.display()))
        }
        _ => cannot_write(path, &error),
    })
}
