//! Secrets at rest: sealed with XChaCha20-Poly1305
//! ([draft-irtf-cfrg-xchacha](https://datatracker.ietf.org/doc/html/draft-irtf-cfrg-xchacha-03)) under a key that the operator holds,
//! or under a data key that is sealed with it. What is sealed is bound to its place: moved elsewhere it cannot be opened.

use std::{fmt, io, path::Path, str::FromStr};

use chacha20poly1305::{
    Key, KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::data_folder::DataFolder;

/// Name of the file in a data folder that holds the key if the operator gives none.
pub const KEY_FILE: &str = "secrets.key";

/// Environment variable that may hold the key.
pub const KEY_VARIABLE: &str = "SLUICE_SECRETS_KEY";

const VERSION: u8 = 1;
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
/// Place of the data key.
const DATA_KEY: &str = "data key";

/// A key of 256 bits. Its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretsKey([u8; KEY_BYTES]);

/// Why a key cannot be used.
#[derive(Debug, Error)]
pub enum KeyError {
    /// It is not 64 hexadecimal digits.
    #[error("not a key: 64 hexadecimal digits are taken, such as `openssl rand -hex 32` prints")]
    Form,
    /// Its file cannot be read, or made.
    #[error("the key file {path} cannot be used")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Its file holds something else.
    #[error("the key file {path} holds no key: 64 hexadecimal digits are taken, such as `openssl rand -hex 32` prints")]
    FileForm {
        /// The file.
        path: String,
    },
}

/// What was sealed cannot be opened: with another key, at another place, or it is damaged.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("it cannot be opened: it was sealed with another key or for another place, or it is damaged")]
pub struct Unopenable;

impl SecretsKey {
    /// A new random key.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The key that the operator gives: in `file`, or else in the variable [`KEY_VARIABLE`]; none if there is neither.
    ///
    /// # Errors
    /// If the file cannot be read, or what is given is no key.
    pub fn given(file: Option<&Path>) -> Result<Option<Self>, KeyError> {
        match file {
            Some(file) => Self::read(file).map(Some),
            None => std::env::var(KEY_VARIABLE).ok().map(|text| text.parse()).transpose(),
        }
    }

    /// The key in a file.
    ///
    /// # Errors
    /// If it cannot be read or holds no key.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let shown = || path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| KeyError::File { path: shown(), source })?;
        text.parse().map_err(|_| KeyError::FileForm { path: shown() })
    }

    /// The key in [`KEY_FILE`] of a data folder, which is made if it is not there, for its owner alone. It guards copies that lack
    /// that file, and nothing else; says so in the log when it makes it.
    ///
    /// # Errors
    /// If the file cannot be read or made, or holds no key.
    pub fn of_folder(folder: &DataFolder) -> Result<Self, KeyError> {
        let path = folder.path().join(KEY_FILE);
        if !path.exists() {
            let key = Self::random();
            let file = |source| KeyError::File { path: path.display().to_string(), source };
            folder.write(KEY_FILE, format!("{}\n", key.text()).as_bytes()).map_err(file)?;
            tracing::info!(
                file = %path.display(),
                "a key for secrets at rest was made beside them: whoever copies the whole folder can open them; give a key of your own \
                 with --secrets-key-file"
            );
        }
        Self::read(&path)
    }

    fn text(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl FromStr for SecretsKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let mut key = [0; KEY_BYTES];
        if text.len() != 2 * KEY_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(KeyError::Form);
        }
        for (byte, index) in key.iter_mut().zip((0..).step_by(2)) {
            let digits = text.get(index..index + 2).ok_or(KeyError::Form)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| KeyError::Form)?;
        }
        Ok(Self(key))
    }
}

impl fmt::Debug for SecretsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretsKey(***)")
    }
}

/// Seals and opens with one key. Its `Debug` shows nothing.
#[derive(Clone)]
pub struct Sealer(SecretsKey);

impl Sealer {
    /// Seals with the key itself.
    #[must_use]
    pub fn new(key: SecretsKey) -> Self {
        Self(key)
    }

    /// A new data key and how it is kept: sealed with `key`.
    ///
    /// # Errors
    /// Never in practice: it is short.
    pub fn with_new_data_key(key: &SecretsKey) -> Result<(Self, Vec<u8>), Unopenable> {
        let data_key = SecretsKey::random();
        let kept = Self(key.clone()).seal(DATA_KEY, &data_key.0)?;
        Ok((Self(data_key), kept))
    }

    /// The data key that is kept so.
    ///
    /// # Errors
    /// If `key` is another than it was sealed with, or it is damaged.
    pub fn with_data_key(key: &SecretsKey, kept: &[u8]) -> Result<Self, Unopenable> {
        let data_key = Self(key.clone()).open(DATA_KEY, kept)?;
        data_key.try_into().map(|data_key| Self(SecretsKey(data_key))).map_err(|_| Unopenable)
    }

    /// Seals for a place: a version byte, a random nonce of 24 bytes, the text encrypted and authenticated (16 bytes more).
    ///
    /// # Errors
    /// If it is longer than 256 GiB.
    pub fn seal(&self, place: &str, plain: &[u8]) -> Result<Vec<u8>, Unopenable> {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let payload = Payload { msg: plain, aad: place.as_bytes() };
        let sealed = self.cipher().encrypt(&XNonce::from(nonce), payload).map_err(|_| Unopenable)?;
        Ok([&[VERSION][..], &nonce, &sealed].concat())
    }

    /// Opens what was sealed for that place.
    ///
    /// # Errors
    /// If the key or the place is another, or it is damaged.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, Unopenable> {
        let (&version, rest) = sealed.split_first().ok_or(Unopenable)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(Unopenable)?;
        if version != VERSION {
            return Err(Unopenable);
        }
        let payload = Payload { msg: text, aad: place.as_bytes() };
        self.cipher().decrypt(&XNonce::from(*nonce), payload).map_err(|_| Unopenable)
    }

    /// The same as text: hexadecimal digits.
    ///
    /// # Errors
    /// As [`Sealer::seal`].
    pub fn seal_text(&self, place: &str, plain: &str) -> Result<String, Unopenable> {
        let sealed = self.seal(place, plain.as_bytes())?;
        Ok(sealed.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Opens what [`Sealer::seal_text`] gave.
    ///
    /// # Errors
    /// As [`Sealer::open`].
    pub fn open_text(&self, place: &str, sealed: &str) -> Result<String, Unopenable> {
        let pairs = (0..sealed.len()).step_by(2).map(|at| sealed.get(at..at + 2).ok_or(Unopenable));
        let bytes = pairs.map(|pair| u8::from_str_radix(pair?, 16).map_err(|_| Unopenable));
        let plain = self.open(place, &bytes.collect::<Result<Vec<u8>, _>>()?)?;
        String::from_utf8(plain).map_err(|_| Unopenable)
    }

    /// A fingerprint of a text of fixed length that says nothing of it to whoever lacks the key: 32 hexadecimal digits.
    #[must_use]
    pub fn fingerprint(&self, text: &str) -> String {
        let hash = Sha256::new().chain_update(b"fingerprint").chain_update(self.0.0).chain_update(text).finalize();
        hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(self.0.0))
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_the_same_key_at_the_same_place_only() {
        let sealer = Sealer::new(SecretsKey::random());
        let sealed = sealer.seal("a", b"hush").unwrap();
        assert!(!sealed.windows(4).any(|part| part == b"hush"));
        assert_ne!(sealed, sealer.seal("a", b"hush").unwrap(), "another nonce each time");
        assert_eq!(sealer.open("a", &sealed).unwrap(), b"hush");
        assert_eq!(sealer.open("b", &sealed), Err(Unopenable));
        assert_eq!(Sealer::new(SecretsKey::random()).open("a", &sealed), Err(Unopenable));
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(sealer.open("a", &damaged), Err(Unopenable), "byte {at}");
            assert_eq!(sealer.open("a", &sealed[..at]), Err(Unopenable), "cut at {at}");
        }
        let text = sealer.seal_text("a", "hush é").unwrap();
        assert_eq!(sealer.open_text("a", &text).unwrap(), "hush é");
        for wrong in ["", "0", "zz", "é", &text[1..]] {
            assert_eq!(sealer.open_text("a", wrong), Err(Unopenable), "{wrong}");
        }
    }

    #[test]
    fn a_data_key_opens_with_the_key_that_it_is_kept_with() {
        let (key, other) = (SecretsKey::random(), SecretsKey::random());
        let (sealer, kept) = Sealer::with_new_data_key(&key).unwrap();
        let sealed = sealer.seal("a", b"hush").unwrap();
        assert_eq!(Sealer::with_data_key(&key, &kept).unwrap().open("a", &sealed).unwrap(), b"hush");
        assert!(Sealer::with_data_key(&other, &kept).is_err());
        let (another, _) = Sealer::with_new_data_key(&key).unwrap();
        assert!(another.open("a", &sealed).is_err(), "each is its own");
    }

    #[test]
    fn keys_are_read_and_never_shown() {
        let text = "00ff".repeat(16);
        let key: SecretsKey = format!("{text}\n").parse().unwrap();
        assert_eq!(key.text(), text);
        let sealer = Sealer::new(key.clone());
        assert!(!format!("{key:?} {sealer:?}").contains("00ff"));
        assert_eq!(sealer.fingerprint("a"), sealer.fingerprint("a"));
        assert_ne!(sealer.fingerprint("a"), Sealer::new(SecretsKey::random()).fingerprint("a"));
        for wrong in ["", "00", &text[2..], &"zz".repeat(32), &"é".repeat(32)] {
            assert!(wrong.parse::<SecretsKey>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_folder_keeps_the_key_that_it_was_given() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::open(&folder.path().join("data"), "test").unwrap();
        let key = SecretsKey::of_folder(&data).unwrap();
        assert_eq!(SecretsKey::of_folder(&data).unwrap(), key);
        std::fs::write(data.path().join(KEY_FILE), "no key").unwrap();
        assert!(matches!(SecretsKey::of_folder(&data), Err(KeyError::FileForm { .. })));
    }
}
