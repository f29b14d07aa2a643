//! Dead letters: they lie on the nodes, which are asked. A node that gives no answer is named, never silently left out.

use sluice_pipeline::{
    event::WebhookId,
    violation::{Violation, reason},
};
use sluice_proto::{
    delivery::v1::{
        Attempt, CountDeadLettersRequest, CountDeadLettersResponse, DeadLetterFilter, EndingReason,
        GetDeadLetterRequest, GetDeadLetterResponse, ListDeadLettersRequest, ListDeadLettersResponse,
        MarkDeadLettersExportedRequest, MarkDeadLettersExportedResponse, UnreachableNode,
    },
    name::SyncName,
    node::v1::{
        DeadLetterChunk, MarkExported, ReadDeadLetters, command::Command as What, command_result::Result as Outcome,
    },
};

use super::{
    Context,
    commands::{NoAnswer, PATIENCE},
    deliveries::{Parent, note, scope},
    page,
};
use crate::{
    error::{Error, violation},
    store::{AttemptQuery, AttemptScope},
    time::{bound, timestamp},
};

/// Deliveries that one call may name.
const MAX_DELIVERIES: usize = 1_000;
const MAX_EVENT_TYPES: usize = 100;
const MAX_EVENT_TYPE_BYTES: usize = 1_024;
/// Attempts that are shown with a dead letter: those of some ten schedules.
const MAX_ATTEMPTS: usize = 300;
/// A page that holds so much takes no more.
const PAGE_BYTES: usize = 2 << 20;

/// Whose dead letters and which, checked.
#[derive(Clone, Debug)]
pub(super) struct Query {
    /// As it was given.
    pub(super) parent: String,
    /// With times in whole milliseconds.
    pub(super) filter: DeadLetterFilter,
}

impl Query {
    /// Checks the arguments, every violation at once. The sync need not exist: dead letters outlive it.
    ///
    /// # Errors
    /// If an argument is invalid, or there is no such project.
    pub(super) async fn of(
        context: &Context,
        parent: &str,
        filter: Option<DeadLetterFilter>,
    ) -> Result<(Self, Parent), Error> {
        let mut violations = Vec::new();
        let filter = checked(filter.unwrap_or_default(), &mut violations);
        let read = note(scope(parent), &mut violations);
        let (Some(read), true) = (read, violations.is_empty()) else {
            return Err(Error::Invalid(violations));
        };
        let project = match &read {
            Parent::Project(project) => project,
            Parent::Sync(name) => &name.project,
        };
        context.require_project(project).await?;
        Ok((Self { parent: parent.to_owned(), filter }, read))
    }

    /// The command that reads a piece of them.
    pub(super) fn read(&self, cursor_exclusive: i64, limit: usize, with_events: bool) -> What {
        What::ReadDeadLetters(ReadDeadLetters {
            parent: self.parent.clone(),
            filter: Some(self.filter.clone()),
            cursor_exclusive,
            limit: i32::try_from(limit).unwrap_or(i32::MAX),
            with_events,
            count_only: false,
        })
    }

    fn count(&self) -> What {
        What::ReadDeadLetters(ReadDeadLetters {
            parent: self.parent.clone(),
            filter: Some(self.filter.clone()),
            count_only: true,
            ..ReadDeadLetters::default()
        })
    }
}

fn checked(mut filter: DeadLetterFilter, violations: &mut Vec<Violation>) -> DeadLetterFilter {
    let mut ms = |field: &str, time: &mut Option<prost_types::Timestamp>| {
        let ms = time.as_ref().and_then(|time| note(bound(field, time), violations));
        *time = ms.map(timestamp);
        ms
    };
    let start = ms("filter.start_time_inclusive", &mut filter.start_time_inclusive);
    let end = ms("filter.end_time_exclusive", &mut filter.end_time_exclusive);
    if let (Some(start), Some(end)) = (start, end)
        && start >= end
    {
        let description = "it is not after start_time_inclusive: no time lies between";
        violations.push(violation("filter.end_time_exclusive", reason::NOT_ASCENDING, description));
    }
    for (index, reason) in filter.reasons.iter().enumerate() {
        if matches!(EndingReason::try_from(*reason), Ok(EndingReason::Unspecified) | Err(_)) {
            let description = format!("{reason} is not a reason");
            violations.push(violation(format!("filter.reasons[{index}]"), reason::INVALID_VALUE, description));
        }
    }
    if filter.event_types.len() > MAX_EVENT_TYPES {
        let description = format!("{}; at most {MAX_EVENT_TYPES} are taken", filter.event_types.len());
        violations.push(violation("filter.event_types", reason::TOO_MANY, description));
    }
    for (index, event_type) in filter.event_types.iter().enumerate().take(MAX_EVENT_TYPES) {
        if event_type.len() > MAX_EVENT_TYPE_BYTES {
            let description = format!("{} bytes; at most {MAX_EVENT_TYPE_BYTES} are taken", event_type.len());
            violations.push(violation(format!("filter.event_types[{index}]"), reason::TOO_LONG, description));
        }
    }
    if filter.delivery_ids.len() > MAX_DELIVERIES {
        let description = format!("{}; at most {MAX_DELIVERIES} are taken", filter.delivery_ids.len());
        violations.push(violation("filter.delivery_ids", reason::TOO_MANY, description));
    }
    for (index, id) in filter.delivery_ids.iter().enumerate().take(MAX_DELIVERIES) {
        if id.parse::<WebhookId>().is_err() {
            let description = "not a delivery's id: 32 hexadecimal digits are expected";
            violations.push(violation(format!("filter.delivery_ids[{index}]"), reason::INVALID_VALUE, description));
        }
    }
    filter
}

/// Dead letters that a node gave.
pub(super) fn chunk(answer: Outcome) -> Result<DeadLetterChunk, NoAnswer> {
    match answer {
        Outcome::DeadLetters(chunk) => Ok(chunk),
        _ => Err(NoAnswer::Nonsense),
    }
}

/// A page of them: node after node, and from each in the order of acceptance. It ends early rather than make its caller wait
/// for more than one node that is silent.
pub(super) async fn list(context: &Context, request: ListDeadLettersRequest) -> Result<ListDeadLettersResponse, Error> {
    use prost::Message as _;
    let size = page::size(request.page_size)?;
    let (query, _) = Query::of(context, &request.parent, request.filter).await?;
    let list = page::ListOf::new(&[b"dead letters", query.parent.as_bytes(), &query.filter.encode_to_vec()]);
    let place = list.place(&request.page_token)?.and_then(|place| read_place(&place));
    let (from, mut cursor) = place.unwrap_or_default();

    let late_ms = context.clock.now_ms().saturating_add(PATIENCE.as_millis().try_into().unwrap_or(i64::MAX));
    let mut page = ListDeadLettersResponse::default();
    let (mut bytes, mut has_asked) = (0, false);
    for node in context.nodes.names().into_iter().filter(|node| *node >= from) {
        // A node that has taken its place in the list since is read from its beginning.
        if node != from {
            cursor = 0;
        }
        loop {
            let room = size - page.dead_letters.len();
            if room == 0 || bytes >= PAGE_BYTES || (has_asked && context.clock.now_ms() >= late_ms) {
                page.next_page_token = list.token(&write_place(&node, cursor));
                return Ok(page);
            }
            has_asked = true;
            let asked = context.unless_stopping(context.ask(&node, query.read(cursor, room, false))).await?;
            match asked.and_then(chunk) {
                Ok(mut chunk) => {
                    chunk.dead_letters.truncate(room);
                    bytes += chunk.encoded_len();
                    page.dead_letters.append(&mut chunk.dead_letters);
                    // A cursor that does not move on would never end.
                    if chunk.next_cursor <= cursor {
                        break;
                    }
                    cursor = chunk.next_cursor;
                }
                Err(no_answer) => {
                    page.unreachable_nodes.push(no_answer.of(&node));
                    break;
                }
            }
        }
    }
    Ok(page)
}

fn write_place(node: &str, cursor: i64) -> Vec<u8> {
    [&cursor.to_be_bytes(), node.as_bytes()].concat()
}

fn read_place(place: &[u8]) -> Option<(String, i64)> {
    let (cursor, node) = place.split_first_chunk()?;
    Some((String::from_utf8(node.to_vec()).ok()?, i64::from_be_bytes(*cursor)))
}

/// How many there are on all nodes.
pub(super) async fn count(
    context: &Context,
    request: CountDeadLettersRequest,
) -> Result<CountDeadLettersResponse, Error> {
    let (query, _) = Query::of(context, &request.parent, request.filter).await?;
    let (answers, unreachable_nodes) = context.ask_all(&query.count()).await?;
    let mut counted = CountDeadLettersResponse { unreachable_nodes, ..Default::default() };
    for (node, answer) in answers {
        match chunk(answer) {
            Ok(chunk) => {
                counted.count = counted.count.saturating_add(chunk.count);
                counted.event_bytes = counted.event_bytes.saturating_add(chunk.event_bytes);
            }
            Err(no_answer) => counted.unreachable_nodes.push(no_answer.of(&node)),
        }
    }
    Ok(counted)
}

/// One with its event and its attempts.
pub(super) async fn get(context: &Context, request: GetDeadLetterRequest) -> Result<GetDeadLetterResponse, Error> {
    let (sync, id) = delivery_name("name", &request.name)?;
    let filter = DeadLetterFilter { delivery_ids: vec![id.to_string()], ..DeadLetterFilter::default() };
    let (query, _) = Query::of(context, &sync.to_string(), Some(filter)).await?;
    let (answers, unreachable) = context.ask_all(&query.read(0, 1, true)).await?;
    let mut found = answers.into_iter().filter_map(|(_, answer)| chunk(answer).ok()?.dead_letters.into_iter().next());
    let Some(dead_letter) = found.next() else {
        return Err(not_found(&request.name, &unreachable));
    };
    let attempts = attempts(context, &sync.project, &id.to_string()).await?;
    Ok(GetDeadLetterResponse { dead_letter: Some(dead_letter), attempts })
}

fn not_found(name: &str, unreachable: &[UnreachableNode]) -> Error {
    match unreachable.first() {
        None => Error::NotFound {
            kind: "dead letter",
            name: name.to_owned(),
            hint: ": it may be open, delivered, redelivered, or removed by retention",
        },
        Some(node) => Error::NodeUnreachable {
            name: node.node.clone(),
            reason: format!("{}; the dead letter is on none of the nodes that answered", node.reason),
        },
    }
}

/// All attempts of a delivery that are kept, the oldest first; of very many the newest.
async fn attempts(context: &Context, project: &str, delivery_id: &str) -> Result<Vec<Attempt>, Error> {
    let query = AttemptQuery {
        scope: AttemptScope::Project(project.to_owned()),
        outcomes: Vec::new(),
        start_ms_inclusive: None,
        end_ms_exclusive: None,
        event_id: String::new(),
        delivery_id: delivery_id.to_owned(),
    };
    let read = context.store.attempts(&query, None, MAX_ATTEMPTS).await?;
    let mut room = page::Room::new(MAX_ATTEMPTS);
    let mut attempts: Vec<Attempt> =
        read.into_iter().take_while(|listed| room.takes(listed.encoded_len)).map(|listed| listed.attempt).collect();
    attempts.reverse();
    Ok(attempts)
}

/// Tells the nodes that dead letters are kept elsewhere.
pub(super) async fn mark_exported(
    context: &Context,
    request: MarkDeadLettersExportedRequest,
) -> Result<MarkDeadLettersExportedResponse, Error> {
    let mut violations = Vec::new();
    let parent = note(scope(&request.parent), &mut violations);
    let count = request.deliveries.len();
    if count == 0 || count > MAX_DELIVERIES {
        let description = format!("{count}; 1 to {MAX_DELIVERIES} are taken");
        violations.push(violation("deliveries", reason::OUT_OF_RANGE, description));
    }
    let mut delivery_ids = Vec::with_capacity(count.min(MAX_DELIVERIES));
    for (index, name) in request.deliveries.iter().enumerate().take(MAX_DELIVERIES) {
        let field = format!("deliveries[{index}]");
        let Some((sync, id)) = note(delivery_name(&field, name), &mut violations) else { continue };
        let within = match &parent {
            Some(Parent::Project(project)) => sync.project == *project,
            Some(Parent::Sync(parent)) => sync == *parent,
            None => true,
        };
        if !within {
            let description = format!("not a delivery of {}", request.parent);
            violations.push(violation(field, reason::INVALID_VALUE, description));
        }
        delivery_ids.push(id.to_string());
    }
    if !violations.is_empty() {
        return Err(Error::Invalid(violations));
    }
    let (query, _) = Query::of(context, &request.parent, None).await?;
    let what = What::MarkExported(MarkExported { parent: query.parent, delivery_ids });
    let (answers, unreachable_nodes) = context.ask_all(&what).await?;
    let mut marked = MarkDeadLettersExportedResponse { unreachable_nodes, ..Default::default() };
    for (node, answer) in answers {
        match answer {
            Outcome::Marked(answer) => marked.marked_count = marked.marked_count.saturating_add(answer.marked_count),
            _ => marked.unreachable_nodes.push(NoAnswer::Nonsense.of(&node)),
        }
    }
    Ok(marked)
}

/// Takes `projects/{project}/syncs/{sync}/deliveries/{delivery}` apart.
fn delivery_name(field: &str, name: &str) -> Result<(SyncName, WebhookId), Error> {
    let parts = name.rsplit_once("/deliveries/").and_then(|(sync, id)| Some((sync.parse().ok()?, id.parse().ok()?)));
    parts.ok_or_else(|| {
        let description = "not a name of the form `projects/{project}/syncs/{sync}/deliveries/{delivery}`; a delivery's \
                           id has 32 hexadecimal digits";
        Error::invalid(field, reason::INVALID_NAME, description)
    })
}
