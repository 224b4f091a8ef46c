use crate::{Keyring, MAX_KEYS, Manifest, PublicKey, Refusal, Release, SigningKey};

/// State that a device stores to decide about updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The root key.
    pub root: PublicKey,
    /// The root key that replaces it, once a keyring signed by that is seen.
    pub next_root: Option<PublicKey>,
    /// Highest serial number of a keyring that was seen.
    pub keyring: u32,
    /// Lowest security counter that is taken: that of the firmware that has proved itself.
    pub counter: u32,
    /// Latest time that was seen signed, in seconds since 1970.
    pub time: u64,
}

/// Identity of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device<'a> {
    /// Vendor.
    pub vendor: &'a str,
    /// Class.
    pub class: &'a str,
    /// Name of its chip.
    pub chip: &'a str,
    /// SHA-256 of the image that runs, if known. Without it, no patch is taken.
    pub running_sha256: Option<[u8; 32]>,
    /// Length of the slot for the new image.
    pub slot_len: u32,
    /// The time by a clock that can be trusted, in seconds since 1970, if there is one.
    pub clock: Option<u64>,
}

impl Default for Device<'_> {
    fn default() -> Self {
        Device {
            vendor: "",
            class: "",
            chip: "",
            running_sha256: None,
            slot_len: u32::MAX,
            clock: None,
        }
    }
}

/// A release that a device takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted<'a> {
    /// The manifest.
    pub manifest: Manifest<'a>,
    /// The key that signed it.
    pub key: PublicKey,
    /// State to store now: keyring, time and root keys. The security counter is
    /// still the old one, see [`Trust::confirmed`].
    pub trust: Trust,
}

impl Trust {
    /// Returns the trust of a new device.
    pub const fn new(root: PublicKey) -> Trust {
        Trust { root, next_root: None, keyring: 0, counter: 0, time: 0 }
    }

    /// Decides whether a device takes a release. Erase nothing before this has returned.
    ///
    /// # Errors
    /// [`Refusal`], the first reason that was found. Signatures are checked before anything else is
    /// read.
    pub fn check<'a>(
        &self,
        release: &Release<'a>,
        device: &Device<'_>,
    ) -> Result<Accepted<'a>, Refusal> {
        let mut keys = [SigningKey::default(); MAX_KEYS];
        let (keyring, root) = self.keyring(release, &mut keys)?;
        let key = keyring.keys.get(usize::from(release.key)).ok_or(Refusal::UnknownKey)?;
        if !key.public.verify(release.manifest, &release.signature) {
            return Err(Refusal::Signature);
        }
        let manifest = Manifest::parse(release.manifest)?;
        // Whatever was signed happened before now.
        let now = self.time.max(keyring.issued).max(manifest.issued);
        let now = now.max(device.clock.unwrap_or(0));
        if key.expires <= now {
            return Err(Refusal::KeyExpired { expires: key.expires, now });
        }
        if manifest.expires <= now {
            return Err(Refusal::Expired { expires: manifest.expires, now });
        }
        self.fits(&manifest, device)?;
        let trust = Trust {
            root,
            next_root: keyring.next_root,
            keyring: keyring.serial,
            counter: self.counter,
            time: now,
        };
        Ok(Accepted { manifest, key: key.public, trust })
    }

    /// Returns what a device stores once firmware with this security counter has proved itself.
    #[must_use]
    pub fn confirmed(self, counter: u32) -> Trust {
        Trust { counter: self.counter.max(counter), ..self }
    }

    fn keyring<'k>(
        &self,
        release: &Release<'_>,
        keys: &'k mut [SigningKey; MAX_KEYS],
    ) -> Result<(Keyring<'k>, PublicKey), Refusal> {
        let signer = [Some(self.root), self.next_root]
            .into_iter()
            .flatten()
            .find(|root| root.verify(release.keyring, &release.keyring_signature));
        let signer = signer.ok_or(Refusal::KeyringSignature)?;
        let keyring = Keyring::parse(release.keyring, keys)?;
        if keyring.serial < self.keyring {
            return Err(Refusal::OldKeyring { serial: keyring.serial, known: self.keyring });
        }
        Ok((keyring, signer))
    }

    fn fits(&self, manifest: &Manifest<'_>, device: &Device<'_>) -> Result<(), Refusal> {
        if manifest.vendor != device.vendor {
            return Err(Refusal::WrongVendor);
        }
        if manifest.class != device.class {
            return Err(Refusal::WrongClass);
        }
        if manifest.chip != device.chip {
            return Err(Refusal::WrongChip);
        }
        if manifest.counter < self.counter {
            return Err(Refusal::Downgrade { counter: manifest.counter, floor: self.counter });
        }
        if manifest.base_sha256.is_some() && manifest.base_sha256 != device.running_sha256 {
            return Err(Refusal::WrongBase);
        }
        if manifest.image_len > device.slot_len {
            let (len, room) = (manifest.image_len, device.slot_len);
            return Err(Refusal::TooLong { len, room });
        }
        Ok(())
    }
}
