//! How much waits on its way to nodes.

use std::collections::HashMap;

use sluice_proto::node::v1::{Resource, sync_catalog_response::Message};

/// How many bytes wait for nodes, each counted once however many nodes it waits for; and as copies.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) shares: HashMap<*const u8, (usize, usize)>,
    pub(super) bytes: usize,
    copied_bytes: usize,
    pub(super) most_bytes: usize,
    pub(super) most_copied_bytes: usize,
}

impl Waiting {
    pub(super) fn add(&mut self, resources: &[Resource]) {
        let Some((first, size)) = measured(resources) else { return };
        let (_, count) = self.shares.entry(first).or_insert((size, 0));
        if *count == 0 {
            self.bytes += size;
        }
        *count += 1;
        self.copied_bytes += size;
        self.most_bytes = self.most_bytes.max(self.bytes);
        self.most_copied_bytes = self.most_copied_bytes.max(self.copied_bytes);
    }

    pub(super) fn remove(&mut self, resources: &[Resource]) {
        let Some((first, size)) = measured(resources) else { return };
        self.copied_bytes -= size;
        let (size, count) = self.shares.get_mut(&first).unwrap();
        *count -= 1;
        if *count == 0 {
            self.bytes -= *size;
            self.shares.remove(&first);
        }
    }
}

/// Where the first of them lies in memory, and how large they are together.
pub(super) fn measured(resources: &[Resource]) -> Option<(*const u8, usize)> {
    let size = resources.iter().map(|resource| resource.encoded_sync().len()).sum();
    Some((resources.first()?.encoded_sync().as_ptr(), size))
}

pub(super) fn resources(message: &Message) -> &[Resource] {
    match message {
        Message::Snapshot(chunk) => &chunk.resources,
        Message::Delta(delta) => &delta.upserts,
        _ => &[],
    }
}
