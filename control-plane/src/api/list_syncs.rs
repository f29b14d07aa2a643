//! `ListSyncs`: pages of a project's syncs, filtered and ordered.

use prost::Message as _;
use sluice_proto::{
    name::SyncName,
    sync::v1::{ListSyncsRequest, ListSyncsResponse, Sync},
};

use super::{Context, page, project_name, shown_all};
use crate::{
    error::Error,
    sync_filter::{SyncFilter, sync_id},
    sync_order::SyncOrder,
};

/// Syncs that are read at once.
const READ_AHEAD: usize = 50;

/// Answers a list.
pub(super) async fn list(context: &Context, request: &ListSyncsRequest) -> Result<ListSyncsResponse, Error> {
    let project = project_name("parent", &request.parent)?.project;
    let room = page::Room::new(page::size(request.page_size)?);
    let filter = SyncFilter::parse("filter", &request.filter)?;
    let order = SyncOrder::parse(&request.order_by)?;
    let arguments: [&[u8]; 4] = [b"syncs", project.as_bytes(), request.filter.as_bytes(), request.order_by.as_bytes()];
    let list = page::ListOf::new(&arguments);
    let after = list.place(&request.page_token)?.unwrap_or_default();
    context.require_project(&project).await?;

    let scan = Scan { context, project, filter };
    let (syncs, next) = match order.is_by_name() {
        true => scan.by_name(after, room).await?,
        false => scan.ordered(&order, &after, room).await?,
    };
    Ok(ListSyncsResponse {
        syncs: shown_all(context, syncs).await?,
        next_page_token: next.map(|place| list.token(&place)).unwrap_or_default(),
    })
}

struct Scan<'a> {
    context: &'a Context,
    project: String,
    filter: SyncFilter,
}

impl Scan<'_> {
    /// The syncs that follow the one with the id `after`, as many as there is room for; and the id of the last one if there may be
    /// more.
    async fn by_name(&self, after: Vec<u8>, mut room: page::Room) -> Result<(Vec<Sync>, Option<Vec<u8>>), Error> {
        let mut after = String::from_utf8_lossy(&after).into_owned();
        let mut syncs = Vec::new();
        loop {
            let read = self.read(&after).await?;
            let is_last = read.len() < READ_AHEAD;
            for sync in read {
                let taken = self.filter.takes(&sync);
                if taken && !room.takes(sync.encoded_len()) {
                    return Ok((syncs, Some(after.into_bytes())));
                }
                after = sync_id(&sync).to_owned();
                if taken {
                    syncs.push(sync);
                }
            }
            if is_last {
                return Ok((syncs, None));
            }
        }
    }

    /// The same in another order: first the places of all, then the syncs of this page.
    async fn ordered(
        &self,
        order: &SyncOrder,
        after: &[u8],
        mut room: page::Room,
    ) -> Result<(Vec<Sync>, Option<Vec<u8>>), Error> {
        let mut places: Vec<(Vec<u8>, String)> = Vec::new();
        let mut read_after = String::new();
        loop {
            let read = self.read(&read_after).await?;
            let is_last = read.len() < READ_AHEAD;
            for sync in read {
                sync_id(&sync).clone_into(&mut read_after);
                if self.filter.takes(&sync) {
                    let place = order.place(&sync);
                    if place.as_slice() > after {
                        places.push((place, read_after.clone()));
                    }
                }
            }
            if is_last {
                break;
            }
        }
        places.sort_unstable();

        let (mut syncs, mut last) = (Vec::new(), None);
        for (place, id) in places {
            let name = SyncName { project: self.project.clone(), sync: id };
            // One that was deleted in between is not there any more.
            let Some(sync) = self.context.store.sync(&name).await? else { continue };
            if !room.takes(sync.encoded_len()) {
                return Ok((syncs, last));
            }
            syncs.push(sync);
            last = Some(place);
        }
        Ok((syncs, None))
    }

    async fn read(&self, after: &str) -> Result<Vec<Sync>, Error> {
        let limit = i64::try_from(READ_AHEAD).unwrap_or(1);
        Ok(self.context.store.syncs(&self.project, after, limit).await?)
    }
}
