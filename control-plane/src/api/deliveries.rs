//! `DeliveryService`: how operators follow deliveries.

use prost::Message as _;
use sluice_access::Caller;
use sluice_pipeline::violation::{Violation, reason};
use sluice_proto::{
    delivery::v1::{
        AttemptFilter, AttemptOutcome, CountDeadLettersRequest, CountDeadLettersResponse, ExportDeadLettersRequest,
        ExportDeadLettersResponse, GetDeadLetterRequest, GetDeadLetterResponse, GetSyncMetricsRequest,
        GetSyncTimeSeriesRequest, ListAttemptsRequest, ListAttemptsResponse, ListDeadLettersRequest,
        ListDeadLettersResponse, MarkDeadLettersExportedRequest, MarkDeadLettersExportedResponse,
        RedeliverDeadLettersRequest, RedeliverDeadLettersResponse, SyncMetrics, SyncTimeSeries, WatchAttemptsRequest,
        WatchAttemptsResponse, delivery_service_server::DeliveryService,
    },
    name::SyncName,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{
    Context, dead_letters, export, metrics, page, project_name, redeliver,
    scope::{admit, admit_caller, admit_command},
    watch,
};
use crate::{
    error::{Error, violation},
    store::{AttemptQuery, AttemptScope},
    time::bound,
};

const MAX_ID_BYTES: usize = 128;

/// The service.
pub(crate) struct Deliveries(pub(crate) Context);

#[tonic::async_trait]
impl DeliveryService for Deliveries {
    type WatchAttemptsStream = ReceiverStream<Result<WatchAttemptsResponse, Status>>;
    type RedeliverDeadLettersStream = ReceiverStream<Result<RedeliverDeadLettersResponse, Status>>;
    type ExportDeadLettersStream = ReceiverStream<Result<ExportDeadLettersResponse, Status>>;

    async fn list_attempts(
        &self,
        request: Request<ListAttemptsRequest>,
    ) -> Result<Response<ListAttemptsResponse>, Status> {
        Ok(Response::new(self.list(admit(request)?).await?))
    }

    async fn watch_attempts(
        &self,
        request: Request<WatchAttemptsRequest>,
    ) -> Result<Response<Self::WatchAttemptsStream>, Status> {
        let (request, caller) = admit_caller(request)?;
        Ok(Response::new(self.watch(request, caller).await?))
    }

    async fn get_sync_metrics(&self, request: Request<GetSyncMetricsRequest>) -> Result<Response<SyncMetrics>, Status> {
        Ok(Response::new(metrics::metrics(&self.0, &admit(request)?).await?))
    }

    async fn get_sync_time_series(
        &self,
        request: Request<GetSyncTimeSeriesRequest>,
    ) -> Result<Response<SyncTimeSeries>, Status> {
        Ok(Response::new(metrics::time_series(&self.0, &admit(request)?).await?))
    }

    async fn list_dead_letters(
        &self,
        request: Request<ListDeadLettersRequest>,
    ) -> Result<Response<ListDeadLettersResponse>, Status> {
        Ok(Response::new(dead_letters::list(&self.0, admit(request)?).await?))
    }

    async fn get_dead_letter(
        &self,
        request: Request<GetDeadLetterRequest>,
    ) -> Result<Response<GetDeadLetterResponse>, Status> {
        Ok(Response::new(dead_letters::get(&self.0, admit(request)?).await?))
    }

    async fn count_dead_letters(
        &self,
        request: Request<CountDeadLettersRequest>,
    ) -> Result<Response<CountDeadLettersResponse>, Status> {
        Ok(Response::new(dead_letters::count(&self.0, admit(request)?).await?))
    }

    async fn redeliver_dead_letters(
        &self,
        request: Request<RedeliverDeadLettersRequest>,
    ) -> Result<Response<Self::RedeliverDeadLettersStream>, Status> {
        Ok(Response::new(
            redeliver::redeliver(&self.0, admit_command(&self.0, request, |request| &request.parent).await?).await?,
        ))
    }

    async fn export_dead_letters(
        &self,
        request: Request<ExportDeadLettersRequest>,
    ) -> Result<Response<Self::ExportDeadLettersStream>, Status> {
        Ok(Response::new(
            export::export(&self.0, admit_command(&self.0, request, |request| &request.parent).await?).await?,
        ))
    }

    async fn mark_dead_letters_exported(
        &self,
        request: Request<MarkDeadLettersExportedRequest>,
    ) -> Result<Response<MarkDeadLettersExportedResponse>, Status> {
        Ok(Response::new(dead_letters::mark_exported(&self.0, admit(request)?).await?))
    }
}

impl Deliveries {
    async fn list(&self, request: ListAttemptsRequest) -> Result<ListAttemptsResponse, Error> {
        let filter = request.filter.unwrap_or_default();
        let size = page::size(request.page_size)?;
        let query = self.query(&request.parent, &filter).await?;
        let list = page::ListOf::new(&[b"attempts", request.parent.as_bytes(), &filter.encode_to_vec()]);
        let after = list.place(&request.page_token)?.and_then(|place| read_place(&place));

        let read = self.0.store.attempts(&query, after, size + 1).await?;
        let read_count = read.len();
        let mut room = page::Room::new(size);
        let mut place = None;
        let mut attempts = Vec::with_capacity(read_count);
        for listed in read {
            if !room.takes(listed.encoded_len) {
                break;
            }
            place = Some((listed.start_ms, listed.id));
            attempts.push(listed.attempt);
        }
        let next_page_token = match place {
            Some(place) if attempts.len() < read_count => list.token(&write_place(place)),
            _ => String::new(),
        };
        Ok(ListAttemptsResponse { attempts, next_page_token })
    }

    async fn watch(
        &self,
        request: WatchAttemptsRequest,
        caller: Caller,
    ) -> Result<ReceiverStream<Result<WatchAttemptsResponse, Status>>, Error> {
        let query = self.query(&request.parent, &request.filter.unwrap_or_default()).await?;
        Ok(watch::watch(&self.0, caller, query))
    }

    /// Whose attempts and which, with every violation of the arguments at once.
    async fn query(&self, parent: &str, filter: &AttemptFilter) -> Result<AttemptQuery, Error> {
        let mut violations = Vec::new();
        let mut ms = |field: &str, time: Option<&prost_types::Timestamp>| {
            time.and_then(|time| note(bound(field, time), &mut violations))
        };
        let start_ms_inclusive = ms("filter.start_time_inclusive", filter.start_time_inclusive.as_ref());
        let end_ms_exclusive = ms("filter.end_time_exclusive", filter.end_time_exclusive.as_ref());
        if let (Some(start), Some(end)) = (start_ms_inclusive, end_ms_exclusive)
            && start >= end
        {
            let description = "it is not after start_time_inclusive: no time lies between";
            violations.push(violation("filter.end_time_exclusive", reason::NOT_ASCENDING, description));
        }
        for (index, outcome) in filter.outcomes.iter().enumerate() {
            if matches!(AttemptOutcome::try_from(*outcome), Ok(AttemptOutcome::Unspecified) | Err(_)) {
                let description = format!("{outcome} is not an outcome");
                violations.push(violation(format!("filter.outcomes[{index}]"), reason::INVALID_VALUE, description));
            }
        }
        for (field, id) in [("filter.event_id", &filter.event_id), ("filter.delivery_id", &filter.delivery_id)] {
            if id.len() > MAX_ID_BYTES {
                let description = format!("{} bytes; an id has 32 hexadecimal digits", id.len());
                violations.push(violation(field, reason::TOO_LONG, description));
            }
        }
        let parent = note(scope(parent), &mut violations);
        let (Some(parent), true) = (parent, violations.is_empty()) else {
            return Err(Error::Invalid(violations));
        };
        let scope = match parent {
            Parent::Project(project) => {
                self.0.require_project(&project).await?;
                AttemptScope::Project(project)
            }
            Parent::Sync(name) => AttemptScope::Sync(self.0.sync(&name).await?.uid),
        };
        let mut outcomes = filter.outcomes.clone();
        outcomes.sort_unstable();
        outcomes.dedup();
        Ok(AttemptQuery {
            scope,
            outcomes,
            start_ms_inclusive,
            end_ms_exclusive,
            event_id: filter.event_id.clone(),
            delivery_id: filter.delivery_id.clone(),
        })
    }
}

/// Whose deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parent {
    /// Every sync's of a project, by its id.
    Project(String),
    /// One sync's.
    Sync(SyncName),
}

/// `projects/{project}/syncs/{sync}`, or `-` as sync for every sync of the project.
pub(super) fn scope(parent: &str) -> Result<Parent, Error> {
    if let Some(project) = parent.strip_suffix("/syncs/-") {
        return Ok(Parent::Project(project_name("parent", project)?.project));
    }
    let name = parent.parse::<SyncName>().map_err(|invalid| Error::name("parent", &invalid))?;
    Ok(Parent::Sync(name))
}

/// Keeps an argument's violations for later.
pub(super) fn note<T>(read: Result<T, Error>, violations: &mut Vec<Violation>) -> Option<T> {
    match read {
        Ok(read) => Some(read),
        Err(Error::Invalid(found)) => {
            violations.extend(found);
            None
        }
        Err(error) => {
            violations.push(violation("", reason::INVALID_VALUE, error.to_string()));
            None
        }
    }
}

fn write_place((start_ms, id): (i64, i64)) -> Vec<u8> {
    [start_ms.to_be_bytes(), id.to_be_bytes()].concat()
}

fn read_place(place: &[u8]) -> Option<(i64, i64)> {
    let (start_ms, id) = place.split_first_chunk()?;
    Some((i64::from_be_bytes(*start_ms), i64::from_be_bytes(id.try_into().ok()?)))
}
