//! The text of a key, and the hash that it is known by.

use std::{fmt, io, path::Path, str::FromStr};

use sha2::{Digest as _, Sha256};
use sluice_host::data_folder::DataFolder;
use thiserror::Error;

/// Name of the file in the control plane's data folder that holds the first admin key if the operator gives none.
pub const ADMIN_KEY_FILE: &str = "admin.key";

const PREFIX: &str = "sluice_";
const DIGITS: usize = 64;
/// So much of a text tells keys from one another, and leaves 240 bits to guess.
const HINT: usize = PREFIX.len() + 4;

/// The text that callers show: `sluice_` and 64 hexadecimal digits, 256 random bits. Its `Debug` shows how it begins.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

/// SHA-256 of a key's text. The text has 256 random bits: its hash tells nothing, and needs neither salt nor slowness.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub [u8; 32]);

/// Why a text is no key.
#[derive(Debug, Error)]
pub enum ApiKeyError {
    /// It has another form.
    #[error("not an API key: `sluice_` and 64 hexadecimal digits are taken, as `sluice keys create` prints")]
    Form,
    /// Its file cannot be read, or made.
    #[error("the API key file {path} cannot be used")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Its file holds something else.
    #[error("the API key file {path} holds no API key: `sluice_` and 64 hexadecimal digits are taken")]
    FileForm {
        /// The file.
        path: String,
    },
}

impl ApiKey {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        let bytes: [u8; DIGITS / 2] = rand::random();
        Self(bytes.iter().fold(PREFIX.to_owned(), |text, byte| text + &format!("{byte:02x}")))
    }

    /// The key in a file.
    ///
    /// # Errors
    /// If it cannot be read or holds no key.
    pub fn read(path: &Path) -> Result<Self, ApiKeyError> {
        let shown = || path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| ApiKeyError::File { path: shown(), source })?;
        text.parse().map_err(|_| ApiKeyError::FileForm { path: shown() })
    }

    /// The admin key in [`ADMIN_KEY_FILE`] of a data folder, made for its owner alone if it is not there. Says where in the log
    /// when it makes it.
    ///
    /// # Errors
    /// If the file cannot be read or made, or holds no key.
    pub fn of_folder(folder: &DataFolder) -> Result<Self, ApiKeyError> {
        let path = folder.path().join(ADMIN_KEY_FILE);
        if !path.exists() {
            let file = |source| ApiKeyError::File { path: path.display().to_string(), source };
            folder.write(ADMIN_KEY_FILE, format!("{}\n", Self::random().0).as_bytes()).map_err(file)?;
            tracing::warn!(
                file = %path.display(),
                "an admin key was made: make keys for people and nodes with it (`sluice keys create --api-key-file {}`)",
                path.display()
            );
        }
        Self::read(&path)
    }

    /// The text, for whoever shows it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// How it begins.
    #[must_use]
    pub fn hint(&self) -> &str {
        self.0.get(..HINT).unwrap_or_default()
    }

    /// What it is known by.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(&self.0)
    }
}

impl KeyHash {
    /// The hash of whatever a caller shows.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }
}

impl FromStr for ApiKey {
    type Err = ApiKeyError;

    fn from_str(text: &str) -> Result<Self, ApiKeyError> {
        let text = text.trim();
        let digits = text.strip_prefix(PREFIX).ok_or(ApiKeyError::Form)?;
        let valid = digits.len() == DIGITS && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if valid { Ok(Self(text.to_owned())) } else { Err(ApiKeyError::Form) }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}***)", self.hint())
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_shows_only_its_beginning() {
        let key = ApiKey::random();
        assert_eq!(format!(" {}\n", key.text()).parse::<ApiKey>().unwrap(), key);
        assert_ne!(ApiKey::random(), key);
        let shown = format!("{key:?} {:?}", key.hash());
        assert!(shown.contains(key.hint()) && !shown.contains(&key.text()[HINT..]), "{shown}");
    }

    #[test]
    fn other_texts_are_no_keys_and_are_not_repeated() {
        for text in ["", "sluice_", "sluice_xyz", &format!("sluice_{}", "A".repeat(64)), &"f".repeat(64)] {
            let error = text.parse::<ApiKey>().unwrap_err().to_string();
            assert!(error.contains("64 hexadecimal digits") && !error.contains("xyz"), "{error}");
        }
    }
}
