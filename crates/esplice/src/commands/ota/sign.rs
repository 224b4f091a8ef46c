use std::path::{Path, PathBuf};

use esplice_chip::ChipDb;
use esplice_delta::Info;
use esplice_ota::{MakeError, Manifest, Payload, Signer as _, make_release};
use serde_json::json;

use super::{
    date,
    keys::{KeyArgs, PassphraseArgs},
    sha256,
};
use crate::{
    files::{outputs::Outputs, read},
    ui::{
        exit::{Exit, Failure},
        shell::Shell,
    },
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// App image; the signature is written to IMAGE.sig
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Keyring that permits the key; the release is then written to IMAGE.release
    #[arg(long, value_name = "FILE", requires_all = ["vendor", "class", "firmware_version", "issued", "expires"])]
    keyring: Option<PathBuf>,
    /// Vendor of the devices
    #[arg(long, value_name = "NAME", requires = "keyring")]
    vendor: Option<String>,
    /// Class of the devices
    #[arg(long, value_name = "NAME", requires = "keyring")]
    class: Option<String>,
    /// Version of the firmware, for people
    #[arg(long, value_name = "VERSION", requires = "keyring")]
    firmware_version: Option<String>,
    /// Security counter: devices refuse lower ones than they have run
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    counter: u32,
    /// Day on which the release is made, such as 2027-01-31
    #[arg(long, value_name = "DATE", value_parser = date::parse, requires = "keyring")]
    issued: Option<u64>,
    /// Day from which on no device takes the release
    #[arg(long, value_name = "DATE", value_parser = date::parse, requires = "keyring")]
    expires: Option<u64>,
    /// Patch that devices download instead of the image
    #[arg(long, value_name = "FILE", requires_all = ["keyring", "base"])]
    patch: Option<PathBuf>,
    /// Image that the patch is for
    #[arg(long, value_name = "FILE", requires = "patch")]
    base: Option<PathBuf>,
    /// Where devices download it
    #[arg(long, value_name = "URL", default_value = "", hide_default_value = true)]
    url: String,
}

pub fn run(args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    let image = read::read_for_flash(&args.image)?;
    let shown = args.image.display();
    let mut signer = args.key.open(&args.passphrase)?;
    let public = signer.public().map_err(super::keys::SignerError::into_failure)?;
    let signature = signer.sign(&image).map_err(super::keys::SignerError::into_failure)?;
    if !public.verify(&image, &signature) {
        return Err(Failure::new(Exit::Signature, "the signer's signature is not valid"));
    }
    let mut outputs = Outputs::default();
    let signature_path = beside(&args.image, ".sig");
    outputs.add(&signature_path, &signature)?;
    let mut release_path = None;
    if let Some(keyring) = &args.keyring {
        let release = release(args, keyring, &image, &mut signer)?;
        let path = beside(&args.image, ".release");
        outputs.add(&path, &release)?;
        release_path = Some(path);
    }
    outputs.commit(shell)?;
    let also = if release_path.is_some() { ", with a release" } else { "" };
    let text = format!("{shown}: signed by {}{also}\n", hex::encode(public.0));
    let value = json!({
        "image": args.image,
        "signature": signature_path,
        "release": release_path,
        "key": hex::encode(public.0),
    });
    shell.result("ota-sign", &text, value);
    Ok(())
}

fn release(
    args: &Args,
    keyring: &Path,
    image: &[u8],
    signer: &mut super::keys::AnySigner,
) -> Result<Vec<u8>, Failure> {
    let chip = chip_of(&args.image, image)?;
    let keyring_bytes = read::read_for_flash(keyring)?;
    let (base, patch) = (read_if(args.base.as_deref())?, read_if(args.patch.as_deref())?);
    if let (Some(base), Some(patch)) = (&base, &patch) {
        check_patch(args, base, patch, image)?;
    }
    // A patch that is a whole image needs no base.
    let needs_base = patch.as_deref().and_then(Info::parse).is_some_and(|info| info.base_len > 0);
    let payload = patch.as_deref().unwrap_or(image);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let (vendor, class) = (text(&args.vendor), text(&args.class));
    let version = text(&args.firmware_version);
    let manifest = Manifest {
        vendor: &vendor,
        class: &class,
        chip: &chip,
        version: &version,
        counter: args.counter,
        issued: args.issued.unwrap_or(0),
        expires: args.expires.unwrap_or(0),
        image_len: image.len() as u32,
        image_sha256: sha256(image),
        base_sha256: base.as_deref().filter(|_| needs_base).map(sha256),
        payload: Payload { url: &args.url, len: payload.len() as u32, sha256: sha256(payload) },
    };
    make_release(&keyring_bytes, &manifest, signer).map_err(|error| match error {
        MakeError::Signer(error) => error.into_failure(),
        MakeError::NotAKeyring => Failure::input(format!("{}: {error}", keyring.display())),
        MakeError::Refused(_) | MakeError::WrongSignature | MakeError::NotInKeyring => {
            Failure::new(Exit::Signature, error.to_string())
        }
        error => Failure::usage(error.to_string()),
    })
}

fn check_patch(args: &Args, base: &[u8], patch: &[u8], image: &[u8]) -> Result<(), Failure> {
    let shown = args.patch.as_deref().unwrap_or(Path::new("")).display();
    let made =
        esplice_delta::apply(base, patch).map_err(|error| super::apply::refused(&shown, &error))?;
    if made != image {
        let message = format!("{shown} does not produce {}", args.image.display());
        return Err(Failure::new(Exit::WrongBase, message));
    }
    Ok(())
}

fn read_if(path: Option<&Path>) -> Result<Option<Vec<u8>>, Failure> {
    path.map(read::read_for_flash).transpose()
}

/// Returns the name of the chip that an app image is for.
pub fn chip_of(path: &Path, image: &[u8]) -> Result<String, Failure> {
    let chip = image_chip(image);
    chip.map(|chip| chip.name.clone()).ok_or_else(|| {
        Failure::input(format!("{} is not an app image of a known chip", path.display()))
    })
}

/// Returns the chip that an app image is for (ESP-IDF Programming Guide, "App Image Format").
pub fn image_chip(image: &[u8]) -> Option<&'static std::sync::Arc<esplice_chip::Chip>> {
    const MAGIC: u8 = 0xe9;
    let id = u16::from_le_bytes([*image.get(12)?, *image.get(13)?]);
    if image[0] == MAGIC { ChipDb::embedded().find_by_id(id) } else { None }
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}
