//! The events that are sent: each says in its `user_id` when it was to be sent, so that whoever gets it, whatever its shape by
//! then, can tell how long it took.

use bytes::Bytes;
use clap::ValueEnum;
use memchr::memmem;

/// The template of the documentation, which the [`Shape::Documented`] event is rendered with.
pub const TEMPLATE: &str = include_str!("../../../data-plane/freemarker/benches/templates/example.ftl");

/// An event as it is exported, 1.6 KB.
const DOCUMENTED: &str = include_str!("../../../data-plane/freemarker/benches/event.json");
/// Its `$insert_id`.
const INSERT_ID: &str = "5f0adeff-6668-4427-8d02-57d803a2b841";
const SMALL_BYTES: usize = 700;
const MARK: &[u8] = b"sent-";
const DIGITS: usize = 20;

/// Which event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// 700 bytes, most of them one text.
    Small,
    /// The documented one.
    Documented,
}

impl Shape {
    /// Its name as an argument.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Documented => "documented",
        }
    }

    /// Makes events of this shape and type.
    #[must_use]
    pub fn maker(self, event_type: &str) -> Maker {
        let json = match self {
            Self::Small => small(event_type),
            Self::Documented => DOCUMENTED
                .trim_end()
                .replace("\"some user id\"", &format!("\"{}\"", stamp(0)))
                .replace("\"Order Completed\"", &format!("\"{event_type}\""))
                .replace(INSERT_ID, &insert_id(0)),
        };
        let at = memmem::find(json.as_bytes(), MARK).expect("an event says when it was sent") + MARK.len();
        let insert_id_at = memmem::find(json.as_bytes(), insert_id(0).as_bytes());
        Maker { json: json.into_bytes(), at, insert_id_at }
    }
}

/// Makes events that differ in nothing but their time and their number.
#[derive(Clone, Debug)]
pub struct Maker {
    json: Vec<u8>,
    at: usize,
    insert_id_at: Option<usize>,
}

impl Maker {
    /// An event that was to be sent at this time. One with the number of an earlier one may be taken for it.
    #[must_use]
    pub fn event(&self, sent_ns: u64, number: u64) -> Bytes {
        let mut json = self.json.clone();
        if let Some(at) = self.insert_id_at {
            let id = insert_id(number);
            json[at..at + id.len()].copy_from_slice(id.as_bytes());
        }
        let digits = format!("{sent_ns:0DIGITS$}");
        json[self.at..self.at + DIGITS].copy_from_slice(digits.as_bytes());
        json.into()
    }
}

/// When the event in a body was to be sent; none if it does not say.
#[must_use]
pub fn sent_ns(body: &[u8], finder: &memmem::Finder<'_>) -> Option<u64> {
    let at = finder.find(body)? + MARK.len();
    std::str::from_utf8(body.get(at..at + DIGITS)?).ok()?.parse().ok()
}

/// Finds the time in bodies.
#[must_use]
pub fn finder() -> memmem::Finder<'static> {
    memmem::Finder::new(MARK)
}

fn small(event_type: &str) -> String {
    let head = format!(
        r#"{{"event_type":"{event_type}","user_id":"{}","event_time":"2024-03-13 10:21:14.919000","platform":"Web","event_properties":{{"text":""#,
        stamp(0)
    );
    let tail = "\"}}";
    let text = "x".repeat(SMALL_BYTES.saturating_sub(head.len() + tail.len()));
    format!("{head}{text}{tail}")
}

fn insert_id(number: u64) -> String {
    format!("5f0adeff-6668-4427-{:04x}-{:012x}", number >> 48, number & 0xffff_ffff_ffff)
}

fn stamp(sent_ns: u64) -> String {
    format!("sent-{sent_ns:0DIGITS$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_says_when_it_was_sent_and_is_json() {
        for shape in [Shape::Small, Shape::Documented] {
            let event = shape.maker("view").event(1_234_567_890_123, 7);
            let read: serde_json::Value = serde_json::from_slice(&event).unwrap();
            assert_eq!(read["event_type"], "view");
            assert_eq!(sent_ns(&event, &finder()), Some(1_234_567_890_123));
        }
        let documented: serde_json::Value =
            serde_json::from_slice(&Shape::Documented.maker("view").event(0, u64::MAX)).unwrap();
        assert_eq!(documented["$insert_id"], "5f0adeff-6668-4427-ffff-ffffffffffff");
        assert_eq!(Shape::Small.maker("view").event(0, 0).len(), SMALL_BYTES);
        assert_eq!(sent_ns(br#"{"user_id":"sent-12"}"#, &finder()), None);
    }
}
