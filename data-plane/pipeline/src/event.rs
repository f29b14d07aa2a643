//! Events: JSON objects with an `event_type`, parsed once and borrowed from.

use sluice_freemarker::json::{Document, JsonError, Kind, Node};
use sluice_proto::event::v1;

use crate::id::insert_key;
pub use crate::id::{EventId, InvalidId, WebhookId};

/// The largest event that is taken, in bytes of its JSON text.
pub const MAX_EVENT_BYTES: usize = 1 << 20;

/// How deep the arrays and objects of an event may be nested.
pub const MAX_EVENT_DEPTH: usize = 64;

/// An event that is taken: a JSON object with an `event_type`. Borrows the bytes that it was parsed from.
#[derive(Debug)]
pub struct Event<'a> {
    document: Document<'a>,
    event_type: Box<str>,
}

impl<'a> Event<'a> {
    /// Parses the JSON text of one event.
    ///
    /// # Errors
    /// A [`Rejection`] that says what is wrong and what would be right: more than [`MAX_EVENT_BYTES`], not JSON (RFC 8259,
    /// UTF-8, at most [`MAX_EVENT_DEPTH`] deep), not an object, or `event_type` missing, empty or not a string.
    pub fn parse(json: &'a [u8]) -> Result<Event<'a>, Rejection> {
        if json.len() > MAX_EVENT_BYTES {
            return Err(Rejection {
                reason: v1::RejectionReason::TooLarge,
                message: format!("the event has {} bytes; at most {MAX_EVENT_BYTES} (1 MiB) are taken", json.len()),
            });
        }
        let document = Document::parse(json, MAX_EVENT_DEPTH).map_err(|error| invalid_json(json, &error))?;
        let root = document.root();
        if root.kind() != Kind::Object {
            return Err(Rejection {
                reason: v1::RejectionReason::NotAnObject,
                message: format!(
                    "the event is {}; a JSON object with `event_type` is expected",
                    kind_in_words(root.kind())
                ),
            });
        }
        let event_type = event_type(root)?.into();
        Ok(Event { document, event_type })
    }

    /// The value of `event_type`: never empty.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// What the event is known again by: its `$insert_id` together with its `device_id`, within the project. `None` if it has
    /// no `$insert_id` that is a string with something in it; an absent `device_id` counts as an empty one.
    #[must_use]
    pub fn insert_key(&self, project: &str) -> Option<[u8; 16]> {
        let text = |name| self.root().get(name).and_then(Node::as_str);
        let insert_id = text("$insert_id").filter(|insert_id| !insert_id.is_empty())?;
        Some(insert_key(project, text("device_id").unwrap_or_default(), insert_id))
    }

    /// The event's JSON object.
    #[must_use]
    pub fn root(&self) -> Node<'_> {
        self.document.root()
    }
}

/// Why an event is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// Why, for programs.
    pub reason: v1::RejectionReason,
    /// Why and what would be right, for people.
    pub message: String,
}

/// A kind of JSON value as messages name it: "an array".
pub(crate) fn kind_in_words(kind: Kind) -> &'static str {
    match kind {
        Kind::Null => "null",
        Kind::Bool => "a boolean",
        Kind::Number => "a number",
        Kind::String => "a string",
        Kind::Array => "an array",
        Kind::Object => "an object",
    }
}

fn invalid_json(json: &[u8], error: &JsonError) -> Rejection {
    let message = if json.iter().all(u8::is_ascii_whitespace) {
        "the event is empty; a JSON object with `event_type` is expected".to_owned()
    } else {
        format!(
            "the event is not valid JSON: {error} (UTF-8, RFC 8259, nested at most {MAX_EVENT_DEPTH} deep is expected)"
        )
    };
    Rejection { reason: v1::RejectionReason::InvalidJson, message }
}

fn event_type(root: Node<'_>) -> Result<&str, Rejection> {
    let wrong = |found: &str| Rejection {
        reason: v1::RejectionReason::EventType,
        message: format!("`event_type` is {found}; a string that is not empty is expected"),
    };
    match root.get("event_type") {
        None => Err(wrong("missing")),
        Some(value) => match value.as_str() {
            Some("") => Err(wrong("empty")),
            Some(text) => Ok(text),
            None => Err(wrong(kind_in_words(value.kind()))),
        },
    }
}

#[cfg(test)]
mod tests {
    use sluice_proto::event::v1::RejectionReason;

    use super::*;

    #[track_caller]
    fn rejection(json: &[u8]) -> Rejection {
        Event::parse(json).map(|event| event.event_type().to_owned()).unwrap_err()
    }

    #[test]
    fn an_insert_id_makes_an_event_known_again_on_its_device_and_in_its_project() {
        let key = |json: &str, project: &str| Event::parse(json.as_bytes()).unwrap().insert_key(project);
        let event = r#"{"event_type":"a","device_id":"d","$insert_id":"i"}"#;
        let again = r#"{"$insert_id":"i","event_type":"b","device_id":"d","n":1}"#;
        assert_eq!(key(event, "p"), key(again, "p"));
        assert!(key(event, "p").is_some());
        assert_ne!(key(event, "p"), key(event, "q"));
        assert_ne!(key(event, "p"), key(r#"{"event_type":"a","device_id":"e","$insert_id":"i"}"#, "p"));
        assert!(key(r#"{"event_type":"a","$insert_id":"i"}"#, "p").is_some());
        for without in
            [r#"{"event_type":"a"}"#, r#"{"event_type":"a","$insert_id":""}"#, r#"{"event_type":"a","$insert_id":7}"#]
        {
            assert_eq!(key(without, "p"), None);
        }
    }

    #[test]
    fn an_event_is_an_object_with_an_event_type() {
        let event = Event::parse(br#"{"user_id": null, "event_type": "Caf\u00e9"}"#).unwrap();
        assert_eq!(event.event_type(), "Café");
        assert!(event.root().get("user_id").unwrap().is_null());
    }

    #[test]
    fn bytes_that_are_no_json_are_rejected_with_the_place() {
        for json in [&br#"{"event_type": "a",}"#[..], br#"{"event_type": "a"} x"#, b"{", b"\xff{}"] {
            let rejection = rejection(json);
            assert_eq!(rejection.reason, RejectionReason::InvalidJson);
            assert!(rejection.message.contains("at byte "), "{}", rejection.message);
        }
        for empty in [&b""[..], b" \n"] {
            let rejection = rejection(empty);
            assert_eq!(rejection.reason, RejectionReason::InvalidJson);
            assert!(rejection.message.contains("is empty"), "{}", rejection.message);
        }
    }

    #[test]
    fn other_values_than_objects_are_rejected_by_their_kind() {
        for (json, found) in [("[]", "an array"), ("1", "a number"), ("null", "null"), ("\"a\"", "a string")] {
            let rejection = rejection(json.as_bytes());
            assert_eq!(rejection.reason, RejectionReason::NotAnObject);
            assert!(rejection.message.contains(&format!("the event is {found};")), "{}", rejection.message);
        }
    }

    #[test]
    fn the_event_type_must_be_a_string_that_is_not_empty() {
        for (json, found) in [
            ("{}", "missing"),
            (r#"{"event_type": ""}"#, "empty"),
            (r#"{"event_type": null}"#, "null"),
            (r#"{"event_type": 7}"#, "a number"),
        ] {
            let rejection = rejection(json.as_bytes());
            assert_eq!(rejection.reason, RejectionReason::EventType);
            assert!(rejection.message.starts_with(&format!("`event_type` is {found};")), "{}", rejection.message);
        }
    }

    #[test]
    fn one_mebibyte_is_taken_and_a_byte_more_is_not() {
        let sized = |bytes: usize| {
            let frame = r#"{"event_type":"a","x":""}"#.len();
            format!(r#"{{"event_type":"a","x":"{}"}}"#, "x".repeat(bytes - frame))
        };
        assert!(Event::parse(sized(MAX_EVENT_BYTES).as_bytes()).is_ok());
        let rejection = rejection(sized(MAX_EVENT_BYTES + 1).as_bytes());
        assert_eq!(rejection.reason, RejectionReason::TooLarge);
        assert!(rejection.message.contains("1048577 bytes"), "{}", rejection.message);
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!(r#"{{"event_type":"a","x":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert!(Event::parse(nested(MAX_EVENT_DEPTH - 1).as_bytes()).is_ok());
        for depth in [MAX_EVENT_DEPTH, 100_000] {
            assert_eq!(rejection(nested(depth).as_bytes()).reason, RejectionReason::InvalidJson);
        }
    }
}
