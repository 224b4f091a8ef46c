//! Signed manifests of firmware updates, and the rules by which a device takes them.
//!
//! There are two kinds of Ed25519 keys. The **root key** stays offline. It signs a [`Keyring`], which
//! lists the **signing keys** and until when each may be used. A signing key signs the [`Manifest`]
//! of each release. A device knows the root's public key and nothing else about keys: every
//! [`Release`] brings its keyring along.
//!
//! - A key is revoked by a keyring of a higher serial number without it. A device that has seen it
//!   takes no older keyring.
//! - The root key is replaced by a keyring that names the next one. Devices that have seen it take
//!   keyrings of both, until the first one that the next key has signed.
//! - A device without a trustworthy clock uses the latest time that it has seen signed: time only
//!   goes forward, and what expired before that is refused.
//! - A security counter prevents downgrades. It only rises once the new firmware has proved itself.
//! - Class, chip and vendor have to be the device's own, and the base of a patch has to be the
//!   firmware that runs.
//!
//! [`Trust::check`] decides all of that from bytes alone, before anything is erased. It is
//! `no_std`, allocates nothing, and is the same code on device, server and command line. With the
//! feature `std`, which is on by default, releases are made and keys are read from files.
//!
//! ```
//! use esplice_ota::{
//!     Device, Keyring, Manifest, Payload, Refusal, Release, SecretKey, SigningKey, Trust,
//! };
//!
//! let (root, key) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
//! let keys = [SigningKey { public: key.public(), expires: 2_000_000_000 }];
//! let keyring = Keyring { serial: 1, issued: 1_800_000_000, keys: &keys, next_root: None };
//! let keyring = root.sign_keyring(&keyring)?;
//! let manifest = Manifest {
//!     vendor: "acme",
//!     class: "thermostat",
//!     chip: "esp32c3",
//!     version: "1.2.0",
//!     counter: 3,
//!     issued: 1_800_000_000,
//!     expires: 1_900_000_000,
//!     image_len: 4,
//!     image_sha256: [7; 32],
//!     base_sha256: None,
//!     payload: Payload { url: "https://acme.example/fw", len: 4, sha256: [7; 32] },
//! };
//! let release = key.sign_manifest(&keyring, &manifest)?;
//!
//! let trust = Trust::new(root.public());
//! let device = Device { vendor: "acme", class: "thermostat", chip: "esp32c3", ..Default::default() };
//! let accepted = trust.check(&Release::parse(&release)?, &device)?;
//! assert_eq!(accepted.manifest.version, "1.2.0");
//! let other = Device { class: "doorbell", ..device };
//! assert_eq!(trust.check(&Release::parse(&release)?, &other), Err(Refusal::WrongClass));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![no_std]

#[cfg(feature = "std")]
extern crate std;

mod cbor;
#[cfg(feature = "std")]
mod key_file;
mod keyring;
mod manifest;
mod public_key;
mod refusal;
mod release;
mod rules;
#[cfg(feature = "std")]
mod secret_key;

#[cfg(feature = "std")]
pub use key_file::{KeyFileError, public_from_pem, public_to_pem, secret_from_pem, secret_to_pem};
pub use keyring::{Keyring, MAX_KEYS, SigningKey};
pub use manifest::{Manifest, Payload};
pub use public_key::PublicKey;
pub use refusal::Refusal;
pub use release::Release;
pub use rules::{Accepted, Device, Trust};
#[cfg(feature = "std")]
pub use secret_key::{MakeError, SecretKey, Signer, make_release, signed_keyring, signed_manifest};
