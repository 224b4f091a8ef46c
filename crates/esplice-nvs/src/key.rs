//! Keys of encrypted partitions.
//!
//! Each entry is encrypted separately with XTS-AES-256. The tweak is the offset of the entry in the
//! partition, as if there were no encryption: source, ESP-IDF Programming Guide, "NVS Encryption".

use std::fmt;

use aes::{
    Aes256,
    cipher::{
        Array, KeyInit as _,
        consts::{U32, U64},
    },
};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use xts_mode::Xts128;

use crate::format::{ENTRY_LEN, PAGE_LEN, crc};

/// Length of the encryption key and the tweak key together.
const KEY_LEN: usize = 64;

/// Seeds from which the HMAC peripheral's key derives the encryption key and the tweak key, each
/// repeated eight times. Source: ESP-IDF Programming Guide, "NVS Encryption: HMAC
/// Peripheral-Based Scheme".
const ENCRYPTION_SEED: [u8; 4] = [0x5a, 0x5a, 0xbe, 0xae];
const TWEAK_SEED: [u8; 4] = [0xa5, 0xa5, 0xde, 0xce];

/// The keys that encrypt a partition.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; KEY_LEN]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// The reason why bytes are not keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Neither the keys alone nor a partition with them.
    #[error("keys are 64 bytes, or a partition of at least 68 bytes, not {len} bytes")]
    BadLen {
        /// Length in bytes.
        len: usize,
    },
    /// The checksum of a partition with keys.
    #[error("the checksum of the keys is 0x{stored:08x}, computed 0x{computed:08x}")]
    BadCrc {
        /// The checksum in the file.
        stored: u32,
        /// The checksum of the keys.
        computed: u32,
    },
    /// An HMAC key of another length.
    #[error("an HMAC key has 32 bytes, not {len}")]
    BadHmacLen {
        /// Length in bytes.
        len: usize,
    },
}

impl KeyError {
    /// Returns advice on how to fix the error.
    pub fn hint(&self) -> Option<String> {
        match self {
            KeyError::BadCrc { .. } => Some(
                "the file is damaged, or it was read from a board whose flash is encrypted".into(),
            ),
            KeyError::BadLen { .. } => {
                Some("`esplice nvs make --new-key FILE` makes a file of keys".into())
            }
            KeyError::BadHmacLen { .. } => None,
        }
    }
}

impl Key {
    /// Length of [`Key::to_partition`] in bytes.
    pub const PARTITION_LEN: usize = PAGE_LEN;

    /// Returns the key with these bytes: the encryption key, then the tweak key.
    pub const fn new(bytes: [u8; KEY_LEN]) -> Key {
        Key(bytes)
    }

    /// Reads keys: the 64 bytes alone, or the content of a partition of type `nvs_keys`.
    ///
    /// # Errors
    /// [`KeyError`] for another length, and for a wrong checksum.
    pub fn from_bytes(bytes: &[u8]) -> Result<Key, KeyError> {
        let bad = KeyError::BadLen { len: bytes.len() };
        let (key, rest) = bytes.split_first_chunk::<KEY_LEN>().ok_or(bad.clone())?;
        if !rest.is_empty() {
            let stored = u32::from_le_bytes(*rest.first_chunk().ok_or(bad)?);
            let computed = crc(&[key]);
            if stored != computed {
                return Err(KeyError::BadCrc { stored, computed });
            }
        }
        Ok(Key(*key))
    }

    /// Derives the keys from that of the chip's HMAC peripheral.
    ///
    /// # Errors
    /// [`KeyError::BadHmacLen`]
    pub fn from_hmac_key(bytes: &[u8]) -> Result<Key, KeyError> {
        let bad = KeyError::BadHmacLen { len: bytes.len() };
        let bytes: &[u8; 32] = bytes.try_into().map_err(|_| bad.clone())?;
        let mut key = [0; KEY_LEN];
        for (half, seed) in key.chunks_mut(KEY_LEN / 2).zip([ENCRYPTION_SEED, TWEAK_SEED]) {
            let mut hmac = Hmac::<Sha256>::new_from_slice(bytes).map_err(|_| bad.clone())?;
            hmac.update(&seed.repeat(8));
            half.copy_from_slice(&hmac.finalize().into_bytes());
        }
        Ok(Key(key))
    }

    /// Returns the content of a partition of type `nvs_keys`.
    pub fn to_partition(&self) -> Vec<u8> {
        let mut bytes = vec![0xff; Self::PARTITION_LEN];
        bytes[..KEY_LEN].copy_from_slice(&self.0);
        bytes[KEY_LEN..KEY_LEN + 4].copy_from_slice(&crc(&[&self.0]).to_le_bytes());
        bytes
    }

    fn cipher(&self) -> Xts128<Aes256> {
        let key: Array<u8, U64> = Array(self.0);
        let (encryption, tweak) = key.split::<U32>();
        Xts128::new(Aes256::new(&encryption), Aes256::new(&tweak))
    }

    /// Encrypts an entry at `offset` in the partition.
    pub(crate) fn encrypt(&self, entry: &mut [u8; ENTRY_LEN], offset: usize) {
        self.cipher().encrypt_sector(entry, Array((offset as u128).to_le_bytes()));
    }

    /// Decrypts an entry at `offset` in the partition.
    pub(crate) fn decrypt(&self, entry: &mut [u8; ENTRY_LEN], offset: usize) {
        self.cipher().decrypt_sector(entry, Array((offset as u128).to_le_bytes()));
    }
}
