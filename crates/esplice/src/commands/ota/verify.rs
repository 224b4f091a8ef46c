use std::path::{Path, PathBuf};

use esplice_ota::{Device, Release, Trust};
use serde_json::{Value, json};

use super::{date, keys::read_public, sha256, sign::chip_of};
use crate::{
    files::read,
    ui::{
        exit::{Exit, Failure},
        shell::Shell,
    },
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// App image
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// Public key that signed the image
    #[arg(long, value_name = "FILE", required_unless_present = "release")]
    key: Option<PathBuf>,
    /// Signature of the image [default: IMAGE.sig]
    #[arg(long, value_name = "FILE", requires = "key")]
    signature: Option<PathBuf>,
    /// Release to check as a device does
    #[arg(long, value_name = "FILE", requires_all = ["root", "vendor", "class"])]
    release: Option<PathBuf>,
    /// Public root key of the device
    #[arg(long, value_name = "FILE", requires = "release")]
    root: Option<PathBuf>,
    /// Vendor of the device
    #[arg(long, value_name = "NAME", requires = "release")]
    vendor: Option<String>,
    /// Class of the device
    #[arg(long, value_name = "NAME", requires = "release")]
    class: Option<String>,
    /// Image that runs on the device, for a patch
    #[arg(long, value_name = "FILE", requires = "release")]
    base: Option<PathBuf>,
    /// File that the device downloads: the patch, if there is one [default: IMAGE]
    #[arg(long, value_name = "FILE", requires = "release")]
    payload: Option<PathBuf>,
    /// Security counter of the firmware that has run on the device
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    counter: u32,
    /// Serial number of the latest keyring that the device has seen
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    serial: u32,
    /// The device's time, such as 2027-01-31
    #[arg(long, value_name = "DATE", value_parser = date::parse)]
    time: Option<u64>,
}

pub fn run(args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    let image = read::read_for_flash(&args.image)?;
    let mut text = String::new();
    let mut value = json!({ "image": args.image });
    if let Some(key) = &args.key {
        let public = read_public(key)?;
        let path = args.signature.clone().unwrap_or_else(|| {
            let mut name = args.image.clone().into_os_string();
            name.push(".sig");
            PathBuf::from(name)
        });
        let signature = read::read_for_flash(&path)?;
        if !public.verify(&image, &signature) {
            let (image, key) = (args.image.display(), key.display());
            let message = format!("{}: not a signature of {image} by {key}", path.display());
            return Err(Failure::new(Exit::Signature, message));
        }
        let key = hex::encode(public.0);
        text.push_str(&format!("{}: signed by {key}\n", args.image.display()));
        value["key"] = key.into();
    }
    if let (Some(release), Some(root)) = (&args.release, &args.root) {
        let manifest = check_release(args, release, root, &image)?;
        let version = manifest["version"].as_str().unwrap_or("");
        text.push_str(&format!("{}: release {version}\n", release.display()));
        value["release"] = manifest;
    }
    shell.result("ota-verify", &text, value);
    Ok(())
}

fn check_release(args: &Args, path: &Path, root: &Path, image: &[u8]) -> Result<Value, Failure> {
    let bytes = read::read_for_flash(path)?;
    let refused =
        |reason: String| Failure::new(Exit::Signature, format!("{}: {reason}", path.display()));
    let trust = Trust {
        counter: args.counter,
        keyring: args.serial,
        time: args.time.unwrap_or(0),
        ..Trust::new(read_public(root)?)
    };
    let chip = chip_of(&args.image, image)?;
    let base = args.base.as_deref().map(read::read_for_flash).transpose()?;
    let device = Device {
        vendor: args.vendor.as_deref().unwrap_or(""),
        class: args.class.as_deref().unwrap_or(""),
        chip: &chip,
        running_sha256: base.as_deref().map(sha256),
        ..Default::default()
    };
    let release = Release::parse(&bytes).map_err(|error| refused(error.to_string()))?;
    let accepted = trust.check(&release, &device).map_err(|error| refused(error.to_string()))?;
    let manifest = accepted.manifest;
    if manifest.image_len as usize != image.len() || manifest.image_sha256 != sha256(image) {
        return Err(refused(format!("it is not for {}", args.image.display())));
    }
    let payload = match &args.payload {
        Some(payload) => Some(read::read_for_flash(payload)?),
        // Only the patch itself can be compared with the hash of a patch.
        None => (manifest.payload.sha256 == sha256(image) || manifest.base_sha256.is_none())
            .then(|| image.to_vec()),
    };
    if payload.is_some_and(|payload| sha256(&payload) != manifest.payload.sha256) {
        return Err(refused("its payload has another hash".into()));
    }
    Ok(json!({
        "vendor": manifest.vendor,
        "class": manifest.class,
        "chip": manifest.chip,
        "version": manifest.version,
        "counter": manifest.counter,
        "issued": manifest.issued,
        "expires": manifest.expires,
        "keyring": accepted.trust.keyring,
        "key": hex::encode(accepted.key.0),
        "base": manifest.base_sha256.map(hex::encode),
        "url": manifest.payload.url,
    }))
}
