//! `sluice.node.v1.Resource`, written by hand: what travels to all nodes alike is encoded once and shared.

use std::fmt;

use bytes::Bytes;
use prost::{DecodeError, Message as _};

use crate::sync::v1::Sync;

/// One thing that travels to the nodes. It stays encoded, so that a thousand messages to a thousand nodes hold it in memory once,
/// and only who needs it decodes it. On the wire an embedded message and bytes are the same.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct Resource {
    /// `sync = 1` of the oneof, encoded.
    #[prost(bytes = "bytes", optional, tag = "1")]
    encoded_sync: Option<Bytes>,
}

impl Resource {
    /// A sync.
    #[must_use]
    pub fn of_sync(sync: &Sync) -> Self {
        Self::of_encoded_sync(sync.encode_to_vec().into())
    }

    /// A sync that is encoded already.
    #[must_use]
    pub fn of_encoded_sync(encoded: Bytes) -> Self {
        Self { encoded_sync: Some(encoded) }
    }

    /// The sync, if it is one: else it is of a kind that this version does not know.
    ///
    /// # Errors
    /// If its bytes are no sync.
    pub fn sync(&self) -> Result<Option<Sync>, DecodeError> {
        self.encoded_sync.clone().map(Sync::decode).transpose()
    }
}

/// Tells how large it is, never what is in it: it holds secrets.
impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource").field("sync_bytes", &self.encoded_sync.as_ref().map(Bytes::len)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_the_wire_it_is_the_message_of_the_contract() {
        let sync = Sync { uid: "u".into(), etag: "e".into(), ..Default::default() };
        let resource = Resource::of_sync(&sync);
        // Field 1, length-delimited, the length, the embedded message.
        let embedded = sync.encode_to_vec();
        let mut expected = vec![0x0a, u8::try_from(embedded.len()).unwrap()];
        expected.extend(embedded);
        assert_eq!(resource.encode_to_vec(), expected);
        assert_eq!(Resource::decode(&*expected).unwrap().sync(), Ok(Some(sync)));
    }

    #[test]
    fn kinds_of_the_future_are_no_syncs_and_garbage_is_an_error() {
        // Field 9, length-delimited, empty.
        assert_eq!(Resource::decode(&[0x4a, 0][..]).unwrap().sync(), Ok(None));
        assert!(Resource::of_encoded_sync(Bytes::from_static(b"\xff")).sync().is_err());
    }

    #[test]
    fn it_shares_its_bytes_and_does_not_print_them() {
        let sync = Sync { display_name: "hush".into(), ..Default::default() };
        let resource = Resource::of_sync(&sync);
        let copy = resource.clone();
        assert_eq!(copy.encoded_sync().as_ptr(), resource.encoded_sync().as_ptr());
        let bytes = resource.encoded_sync().len();
        assert_eq!(format!("{resource:?}"), format!("Resource {{ sync_bytes: Some({bytes}) }}"));
    }
}
