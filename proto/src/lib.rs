//! Sluice's wire contract: the messages and services of `proto/sluice/**`, generated and committed under `src/gen`, and
//! the resource names that they carry.
//!
//! Features: `client` and `server` choose the generated gRPC stubs; both are on by default.

pub mod name;
mod report_batch;
mod resource;

/// Keys and the service that manages them.
pub mod access {
    /// Version 1.
    pub mod v1 {
        #![allow(missing_docs, unreachable_pub, clippy::all)]
        include!("gen/sluice.access.v1.rs");

        /// Tells whose text it is, never which.
        impl std::fmt::Debug for CreateKeyResponse {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct("CreateKeyResponse").field("key", &self.key).field("text", &"***").finish()
            }
        }
    }
}

/// Alert rules, and what they have found.
pub mod alert {
    /// Version 1.
    pub mod v1 {
        #![allow(missing_docs, unreachable_pub, clippy::all)]
        include!("gen/sluice.alert.v1.rs");
    }
}

/// Who changed what, and the service that shows it.
pub mod audit {
    /// Version 1.
    pub mod v1 {
        #![allow(missing_docs, unreachable_pub, clippy::all)]
        include!("gen/sluice.audit.v1.rs");
    }
}

/// Syncs and the service that manages them.
pub mod sync {
    /// Version 1.
    pub mod v1 {
        #![allow(missing_docs, unreachable_pub, clippy::all)]
        include!("gen/sluice.sync.v1.rs");

        /// Tells whether there is a value, never which.
        impl std::fmt::Debug for Secret {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let value = if self.value.is_empty() { "" } else { "***" };
                f.debug_struct("Secret").field("value", &value).field("set", &self.set).finish()
            }
        }
    }
}

/// Events and the service that takes them in.
pub mod event {
    /// Version 1.
    pub mod v1 {
        #![allow(missing_docs, unreachable_pub, clippy::all)]
        include!("gen/sluice.event.v1.rs");
    }
}

/// Deliveries, attempts, endings and the service that shows them.
pub mod delivery {
    /// Version 1.
    pub mod v1 {
        #![allow(missing_docs, unreachable_pub, clippy::all)]
        include!("gen/sluice.delivery.v1.rs");
    }
}

/// Nodes and their sessions with the control plane.
pub mod node {
    /// Version 1.
    pub mod v1 {
        #![allow(missing_docs, unreachable_pub, clippy::all)]
        include!("gen/sluice.node.v1.rs");

        pub use crate::{report_batch::ReportBatch, resource::Resource};
    }
}

/// Every proto file with its imports, as an encoded `google.protobuf.FileDescriptorSet`: for reflection and for the JSON
/// mapping.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/sluice.binpb");

/// Version of the protocol between nodes and the control plane (`Hello.protocol_version`).
pub const PROTOCOL_VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::sync::v1::{Destination, Header, Secret, header};

    #[test]
    fn secrets_do_not_print() {
        let secret = Secret { value: "hunter2".into(), set: true };
        let header = Header { name: "Authorization".into(), value: Some(header::Value::Secret(secret)) };
        let printed = format!("{:?}", Destination { headers: vec![header], ..Default::default() });
        assert!(printed.contains("Authorization") && printed.contains("***"), "{printed}");
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}
