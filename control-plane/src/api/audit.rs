//! `AuditService`: who changed what.

use sluice_pipeline::violation::reason;
use sluice_proto::audit::v1::{ListAuditEntriesRequest, ListAuditEntriesResponse, audit_service_server::AuditService};
use tonic::{Request, Response, Status};

use super::{Context, page, project_name, scope::admit};
use crate::{error::Error, store::AuditQuery, time::bound};

/// The service.
pub(crate) struct AuditLog(pub(crate) Context);

#[tonic::async_trait]
impl AuditService for AuditLog {
    async fn list_audit_entries(
        &self,
        request: Request<ListAuditEntriesRequest>,
    ) -> Result<Response<ListAuditEntriesResponse>, Status> {
        Ok(Response::new(self.list(&admit(request)?).await?))
    }
}

impl AuditLog {
    async fn list(&self, request: &ListAuditEntriesRequest) -> Result<ListAuditEntriesResponse, Error> {
        let project = match request.parent.as_str() {
            "projects/-" => None,
            parent => Some(project_name("parent", parent)?.project),
        };
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        let time = |field: &str, time: &Option<_>| time.as_ref().map(|time| bound(field, time)).transpose();
        let query = AuditQuery {
            project,
            resource: some(&request.resource),
            actor: some(&request.actor),
            start_ms_inclusive: time("start_time_inclusive", &request.start_time_inclusive)?,
            end_ms_exclusive: time("end_time_exclusive", &request.end_time_exclusive)?,
        };
        if let (Some(start), Some(end)) = (query.start_ms_inclusive, query.end_ms_exclusive)
            && start > end
        {
            let description = "before `start_time_inclusive`";
            return Err(Error::invalid("end_time_exclusive", reason::OUT_OF_RANGE, description));
        }
        let size = page::size(request.page_size)?;
        let list = page::ListOf::new(&[b"audit", format!("{query:?}").as_bytes()]);
        let before = match list.place(&request.page_token)? {
            None => i64::MAX,
            Some(place) => i64::from_be_bytes(place.try_into().unwrap_or_default()),
        };
        let limit = i64::try_from(size.saturating_add(1)).unwrap_or(i64::MAX);
        let found = self.0.store.audit_entries(&query, before, limit).await?;
        let found_count = found.len();
        let mut room = page::Room::new(size);
        let entries: Vec<_> =
            found.into_iter().take_while(|entry| room.takes(prost::Message::encoded_len(entry))).collect();
        let next_page_token = match entries.last() {
            Some(last) if found_count > entries.len() => list.token(&last.sequence.to_be_bytes()),
            _ => String::new(),
        };
        Ok(ListAuditEntriesResponse { entries, next_page_token })
    }
}
