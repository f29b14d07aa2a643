//! `PreviewSync`: what a sync would make of an event. Sends nothing, stores nothing.

use sluice_pipeline::{
    advice,
    event::{Event, EventId, MAX_EVENT_BYTES, WebhookId},
    filter::ConditionVerdict,
    request,
    sync::{CompiledSync, compile, required_features},
    violation::{Violation, reason},
};
use sluice_proto::sync::v1::{self, PreviewSyncRequest, PreviewSyncResponse, Sync, preview_sync_request::Subject};

use super::{Context, sync_name};
use crate::{error::Error, secrets};

/// What stands for the name of a draft that has none.
pub(super) const DRAFT_NAME: &str = "projects/default/syncs/draft";

/// Answers a preview.
pub(super) async fn preview(context: &Context, request: PreviewSyncRequest) -> Result<PreviewSyncResponse, Error> {
    let sync = match request.subject {
        Some(Subject::Name(name)) => context.sync(&sync_name(&name)?).await?,
        Some(Subject::Sync(draft)) => complete(draft),
        None => return Err(Error::invalid("subject", reason::REQUIRED, "neither a name nor a draft is given")),
    };
    let event = parse_event(&request.event_json)?;

    let compiled = match compile(&sync, &context.rules) {
        Ok(compiled) => compiled,
        Err(violations) => {
            let verdict = "not asked: the sync cannot be compiled".to_owned();
            return Ok(PreviewSyncResponse { verdict, violations: proto(violations), ..Default::default() });
        }
    };
    let verdict = compiled.filter.explain(&event);
    let headers = headers(&compiled);
    let (body, violations) = match request::render_body(&compiled, &request.event_json, context.clock.now_ms()) {
        Ok(rendered) => (rendered.body, Vec::new()),
        Err(error) => (bytes::Bytes::new(), proto(vec![error.into()])),
    };
    let conditions = compiled.filter.verdicts(&event).into_iter().map(|verdict| {
        let ConditionVerdict { field, holds, reason } = verdict;
        v1::ConditionVerdict { field, holds, reason }
    });
    Ok(PreviewSyncResponse {
        matched: verdict.matched,
        verdict: verdict.reason,
        body,
        headers,
        violations,
        conditions: conditions.collect(),
        missing_paths: advice::missing_paths(&compiled, &event).into_iter().map(Into::into).collect(),
        warnings: advice::warnings(&compiled).into_iter().map(Into::into).collect(),
    })
}

/// The event that a caller gave.
///
/// # Errors
/// If it is too large or not an event.
pub(super) fn parse_event(event_json: &[u8]) -> Result<Event<'_>, Error> {
    if event_json.len() > MAX_EVENT_BYTES {
        let description = format!("{} bytes; an event has at most {MAX_EVENT_BYTES}", event_json.len());
        return Err(Error::invalid("event_json", reason::TOO_LONG, description));
    }
    Event::parse(event_json).map_err(|rejection| {
        let reason = rejection.reason.as_str_name();
        Error::invalid("event_json", reason.strip_prefix("REJECTION_REASON_").unwrap_or(reason), rejection.message)
    })
}

/// Adds to a draft what only a stored sync has.
fn complete(mut draft: Sync) -> Sync {
    if draft.name.is_empty() {
        draft.name = DRAFT_NAME.to_owned();
    }
    draft.required_features = required_features(&draft);
    secrets::stand_in(&mut draft);
    draft
}

fn headers(sync: &CompiledSync) -> Vec<v1::PreviewHeader> {
    // Which event it will be is not known: an id of the right form.
    let webhook_id = WebhookId::new(EventId::new(&sync.name.project, "preview", 1), &sync.uid);
    request::masked(&request::headers(sync, webhook_id))
}

fn proto(violations: Vec<Violation>) -> Vec<v1::Violation> {
    violations.into_iter().map(Into::into).collect()
}
