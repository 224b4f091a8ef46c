use std::path::PathBuf;

use esplice_ota::{Keyring, MakeError, SigningKey, signed_keyring};
use serde_json::json;

use super::{
    date,
    keys::{KeyArgs, PassphraseArgs, read_public},
};
use crate::{
    files::outputs::Outputs,
    ui::{exit::Failure, shell::Shell},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Public keys that may sign releases, each with the day on which it expires
    #[arg(value_name = "FILE=DATE", required = true, value_parser = permitted)]
    keys: Vec<(PathBuf, u64)>,
    #[command(flatten)]
    root: KeyArgs,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Number of the keyring, higher than that of the last one
    #[arg(long, value_name = "NUMBER")]
    serial: u32,
    /// Day on which the keyring is made, such as 2027-01-31
    #[arg(long, value_name = "DATE", value_parser = date::parse)]
    issued: u64,
    /// Public root key that signs later keyrings
    #[arg(long, value_name = "FILE")]
    next_root: Option<PathBuf>,
    /// Where to write the keyring
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

fn permitted(text: &str) -> Result<(PathBuf, u64), String> {
    let (file, date) = text.rsplit_once('=').ok_or("expected FILE=DATE")?;
    Ok((PathBuf::from(file), date::parse(date)?))
}

pub fn run(args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    let mut keys = Vec::new();
    for (path, expires) in &args.keys {
        keys.push(SigningKey { public: read_public(path)?, expires: *expires });
    }
    let next_root = args.next_root.as_deref().map(read_public).transpose()?;
    let keyring = Keyring { serial: args.serial, issued: args.issued, keys: &keys, next_root };
    let mut root = args.root.open(&args.passphrase)?;
    let bytes = signed_keyring(&keyring, &mut root).map_err(|error| match error {
        MakeError::Signer(error) => error.into_failure(),
        error => Failure::usage(error.to_string()),
    })?;
    let mut outputs = Outputs::default();
    outputs.add(&args.output, &bytes)?;
    outputs.commit(shell)?;
    let (shown, count) = (args.output.display(), keys.len());
    let plural = if count == 1 { "" } else { "s" };
    let text = format!("{shown}: keyring {} with {count} key{plural}\n", args.serial);
    let value = json!({
        "output": args.output,
        "serial": args.serial,
        "keys": keys.iter().map(|key| hex::encode(key.public.0)).collect::<Vec<_>>(),
    });
    shell.result("ota-authorize", &text, value);
    Ok(())
}
