use thiserror::Error;

/// Reason why a device does not take a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The bytes are not a release, keyring or manifest, or not in the one permitted encoding.
    #[error("malformed release")]
    Malformed,
    /// A later version of the format.
    #[error("unknown schema {schema}")]
    Schema {
        /// The version.
        schema: u32,
    },
    /// The root key did not sign the keyring.
    #[error("the keyring is not signed by the root key")]
    KeyringSignature,
    /// A later keyring was already seen, so this one may have revoked keys.
    #[error("keyring {serial} is older than {known}, which was already seen")]
    OldKeyring {
        /// Serial number of the keyring.
        serial: u32,
        /// The latest that was seen.
        known: u32,
    },
    /// The keyring has no key of that number.
    #[error("the keyring does not have the key that signed the manifest")]
    UnknownKey,
    /// The signature of the manifest is wrong.
    #[error("the signature of the manifest is not valid")]
    Signature,
    /// The signing key expired.
    #[error("the signing key expired at {expires}, and it is at least {now} (seconds since 1970)")]
    KeyExpired {
        /// When it expired.
        expires: u64,
        /// The earliest time that it can be now.
        now: u64,
    },
    /// The manifest expired.
    #[error("the manifest expired at {expires}, and it is at least {now} (seconds since 1970)")]
    Expired {
        /// When it expired.
        expires: u64,
        /// The earliest time that it can be now.
        now: u64,
    },
    /// The firmware is for devices of another vendor.
    #[error("the release is for devices of another vendor")]
    WrongVendor,
    /// The firmware is for another class of devices.
    #[error("the release is for another class of devices")]
    WrongClass,
    /// The firmware is for another chip.
    #[error("the release is for another chip")]
    WrongChip,
    /// The security counter is lower than that of firmware that has run.
    #[error("security counter {counter} is lower than {floor}, which has already run")]
    Downgrade {
        /// The release's counter.
        counter: u32,
        /// The lowest that is taken.
        floor: u32,
    },
    /// The payload is a patch to other firmware than what runs.
    #[error("the patch is for another base than the firmware that runs")]
    WrongBase,
    /// The image is longer than the slot for it.
    #[error("the image has {len} bytes, and the slot has {room}")]
    TooLong {
        /// Length of the image.
        len: u32,
        /// Length of the slot.
        room: u32,
    },
}

impl From<minicbor::decode::Error> for Refusal {
    fn from(_: minicbor::decode::Error) -> Refusal {
        Refusal::Malformed
    }
}
