//! The body and the headers of a request.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use sluice_freemarker::json;
use sluice_proto::sync::v1;

use crate::{
    event::{Event, WebhookId},
    profile,
    sync::{CompiledSync, Payload, TEMPLATE_FIELD},
    violation::{Position, Violation, reason},
};

/// The header that carries the [`WebhookId`].
pub const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");

/// What a secret is shown as.
pub const MASKED: &str = "***";

/// How deep a template's output may be nested to count as JSON.
const MAX_OUTPUT_DEPTH: usize = 512;

/// A rendered body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The body.
    pub body: Bytes,
    /// Steps that the template took; 0 for the original payload.
    pub steps: u64,
}

/// Why a body could not be rendered. It holds no secret, but may hold parts of the event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RenderError {
    /// What is wrong and what would be right, for people.
    pub message: String,
    /// Where in the template; if the output is not JSON, where in the output.
    pub position: Option<Position>,
    /// The same for programs: [`reason::RENDER_FAILED`] or [`reason::OUTPUT_NOT_JSON`].
    pub reason: &'static str,
    /// Steps that the template took until it failed.
    pub steps: u64,
}

impl From<RenderError> for Violation {
    fn from(error: RenderError) -> Self {
        Self {
            field: TEMPLATE_FIELD.into(),
            reason: error.reason,
            description: error.message,
            position: error.position,
        }
    }
}

/// The body for an event: its bytes untouched, or the output of the sync's template at `now_ms`.
///
/// # Errors
/// The template fails on this event, reaches a limit, or writes something that is not JSON where the content type asks for
/// it.
pub fn render_body(sync: &CompiledSync, event: &Bytes, now_ms: i64) -> Result<Rendered, RenderError> {
    let Payload::Template { template, must_be_json } = &sync.payload else {
        return Ok(Rendered { body: event.clone(), steps: 0 });
    };
    let parsed = Event::parse(event).map_err(|rejection| RenderError {
        message: rejection.message,
        position: None,
        reason: reason::RENDER_FAILED,
        steps: 0,
    })?;
    let mut body = Vec::new();
    let usage =
        template.render(&profile::root(parsed.root(), now_ms), &profile::limits(), &mut body).map_err(|error| {
            RenderError {
                message: error.message().to_owned(),
                position: Position::of(&error),
                reason: reason::RENDER_FAILED,
                steps: error.usage().steps,
            }
        })?;
    if *must_be_json {
        check_json(&body).map_err(|error| RenderError { steps: usage.steps, ..error })?;
    }
    Ok(Rendered { body: body.into(), steps: usage.steps })
}

/// All headers of a request but those that the HTTP client adds; secrets are marked sensitive.
#[must_use]
pub fn headers(sync: &CompiledSync, webhook_id: WebhookId) -> HeaderMap {
    let mut headers = sync.destination.headers.clone();
    // hexadecimal digits are always a header value
    if let Ok(value) = HeaderValue::try_from(webhook_id.to_string()) {
        headers.insert(WEBHOOK_ID, value);
    }
    headers
}

/// Headers as people may see them: secrets read [`MASKED`].
#[must_use]
pub fn masked(headers: &HeaderMap) -> Vec<v1::PreviewHeader> {
    headers
        .iter()
        .map(|(name, value)| v1::PreviewHeader {
            name: name.to_string(),
            value: match value.is_sensitive() {
                true => MASKED.to_owned(),
                false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
            },
        })
        .collect()
}

fn check_json(output: &[u8]) -> Result<(), RenderError> {
    let not_json =
        |message: String, position| Err(RenderError { message, position, reason: reason::OUTPUT_NOT_JSON, steps: 0 });
    if output.iter().all(u8::is_ascii_whitespace) {
        let message = "the template's output is empty, which is not JSON (the content type is a JSON type)";
        return not_json(message.into(), None);
    }
    let Err(error) = json::check(output, MAX_OUTPUT_DEPTH) else {
        return Ok(());
    };
    let position = position(output, error.offset());
    let message = format!(
        "the template's output is not JSON: {error}, line {} column {} of the output (the content type is a JSON type; \
         `?json_string` escapes texts, and `allow_invalid_json` sends the output as it is)",
        position.line, position.column
    );
    not_json(message, Some(position))
}

/// The place of a byte in a text, the columns counted in characters, a tab to the next multiple of eight.
fn position(text: &[u8], offset: usize) -> Position {
    let offset = offset.min(text.len());
    let (before, after) = text.split_at(offset);
    let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let line_end = after.iter().position(|b| *b == b'\n').map_or(text.len(), |at| offset + at);
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let part = |from: usize, to: usize| String::from_utf8_lossy(text.get(from..to).unwrap_or_default());
    let column = part(line_start, offset).chars().fold(1, |column, c| match c {
        '\t' => (column - 1) / 8 * 8 + 9,
        _ => column + 1,
    });
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Position::new(number(line), number(column), &part(line_start, line_end))
}
