//! Which syncs a caller wants to see: a subset of [AIP-160](https://google.aip.dev/160). Pure.

use std::iter::Peekable;

use prost_types::Timestamp;
use sluice_proto::sync::v1::Sync;

use crate::{error::Error, time::millis};

const MAX_CHARACTERS: usize = 1_024;
const MAX_COMPARISONS: usize = 20;
const FIELDS: &str = "`sync_id`, `display_name`, `enabled`, `labels.KEY`, `destination.url`, `event_types`, `create_time` or \
                      `update_time`";

/// A filter over syncs. The default one takes all.
#[derive(Debug, Default)]
pub(crate) struct SyncFilter(Vec<Comparison>);

#[derive(Debug)]
struct Comparison {
    negated: bool,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Enabled(bool),
    Text(Text, Has),
    Label(String, Has),
    HasLabel(String),
    EventType(String),
    Time(Time, Operator, i64),
}

#[derive(Clone, Copy, Debug)]
enum Text {
    Id,
    DisplayName,
    Url,
}

#[derive(Clone, Copy, Debug)]
enum Time {
    Create,
    Update,
}

/// What a text must have to do with a value.
#[derive(Debug)]
enum Has {
    Equal(String),
    /// In lower case.
    Within(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Has,
}

impl SyncFilter {
    /// Reads a filter that was given in `field`.
    ///
    /// # Errors
    /// If it is not one: says at which character, and what would be right.
    pub(crate) fn parse(field: &str, text: &str) -> Result<Self, Error> {
        let told = |message: String| Error::invalid(field, "INVALID_FILTER", message);
        if text.chars().count() > MAX_CHARACTERS {
            return Err(told(format!("{} characters; at most {MAX_CHARACTERS} are taken", text.chars().count())));
        }
        let mut tokens = tokens(text).map_err(told)?.into_iter().peekable();
        let mut comparisons = Vec::new();
        while tokens.peek().is_some() {
            if !comparisons.is_empty() {
                and(&mut tokens).map_err(told)?;
            }
            comparisons.push(comparison(&mut tokens, text).map_err(told)?);
        }
        if comparisons.len() > MAX_COMPARISONS {
            return Err(told(format!("{} comparisons; at most {MAX_COMPARISONS} are taken", comparisons.len())));
        }
        Ok(Self(comparisons))
    }

    /// Whether the sync is one of those that the caller wants.
    pub(crate) fn takes(&self, sync: &Sync) -> bool {
        self.0.iter().all(|comparison| comparison.test.holds(sync) != comparison.negated)
    }
}

impl Test {
    fn holds(&self, sync: &Sync) -> bool {
        match self {
            Self::Enabled(enabled) => sync.enabled == *enabled,
            Self::Text(which, has) => has.holds(which.of(sync)),
            Self::Label(key, has) => sync.labels.get(key).is_some_and(|value| has.holds(value)),
            Self::HasLabel(key) => sync.labels.contains_key(key),
            Self::EventType(wanted) => {
                let filter = sync.events.as_ref().and_then(|events| events.filter.as_ref());
                filter.is_some_and(|filter| filter.event_types.contains(wanted))
            }
            Self::Time(which, operator, bound) => {
                let time = millis(which.of(sync));
                match operator {
                    Operator::Less => time < *bound,
                    Operator::LessOrEqual => time <= *bound,
                    Operator::Greater => time > *bound,
                    Operator::GreaterOrEqual => time >= *bound,
                    Operator::Equal | Operator::NotEqual | Operator::Has => time == *bound,
                }
            }
        }
    }
}

impl Text {
    fn of(self, sync: &Sync) -> &str {
        match self {
            Self::Id => sync_id(sync),
            Self::DisplayName => &sync.display_name,
            Self::Url => sync.destination.as_ref().map(|destination| destination.url.as_str()).unwrap_or_default(),
        }
    }
}

impl Time {
    fn of(self, sync: &Sync) -> Option<&Timestamp> {
        match self {
            Self::Create => sync.create_time.as_ref(),
            Self::Update => sync.update_time.as_ref(),
        }
    }
}

impl Has {
    fn holds(&self, text: &str) -> bool {
        match self {
            Self::Equal(value) => text == value,
            Self::Within(value) => text.to_lowercase().contains(value),
        }
    }
}

/// The last segment of the sync's name.
pub(crate) fn sync_id(sync: &Sync) -> &str {
    sync.name.rsplit_once('/').map_or(sync.name.as_str(), |(_, id)| id)
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Quoted(String),
    Operator(Operator),
    Minus,
}

/// A token and the character, from 1, at which it begins.
type Placed = (Token, usize);

fn tokens(text: &str) -> Result<Vec<Placed>, String> {
    let mut found = Vec::new();
    let mut characters = text.chars().enumerate().map(|(index, c)| (index + 1, c)).peekable();
    while let Some((at, c)) = characters.next() {
        let mut followed_by_equal = || characters.next_if(|(_, next)| *next == '=').is_some();
        let token = match c {
            c if c.is_whitespace() => continue,
            '=' => Token::Operator(Operator::Equal),
            ':' => Token::Operator(Operator::Has),
            '<' if followed_by_equal() => Token::Operator(Operator::LessOrEqual),
            '<' => Token::Operator(Operator::Less),
            '>' if followed_by_equal() => Token::Operator(Operator::GreaterOrEqual),
            '>' => Token::Operator(Operator::Greater),
            '!' if followed_by_equal() => Token::Operator(Operator::NotEqual),
            '-' => Token::Minus,
            '"' => Token::Quoted(
                quoted(&mut characters)
                    .ok_or_else(|| format!("the text that begins at character {at} has no end: close it with `\"`"))?,
            ),
            c if is_word(c) => {
                let mut word = String::from(c);
                while let Some((_, c)) = characters.next_if(|(_, next)| is_word(*next) || *next == '-') {
                    word.push(c);
                }
                Token::Word(word)
            }
            c => {
                return Err(format!(
                    "`{}` at character {at} has no meaning here; texts stand in \"…\"",
                    c.escape_debug()
                ));
            }
        };
        found.push((token, at));
    }
    Ok(found)
}

/// The text up to the closing quote; `\` takes the next character as it is.
fn quoted(characters: &mut impl Iterator<Item = (usize, char)>) -> Option<String> {
    let mut text = String::new();
    loop {
        match characters.next()?.1 {
            '"' => return Some(text),
            '\\' => text.push(characters.next()?.1),
            c => text.push(c),
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '.' || c == '/'
}

fn and(tokens: &mut Peekable<impl Iterator<Item = Placed>>) -> Result<(), String> {
    match tokens.next() {
        Some((Token::Word(word), _)) if word == "AND" && tokens.peek().is_some() => Ok(()),
        Some((Token::Word(word), at)) if word == "AND" => {
            Err(format!("a comparison is missing after `AND` at character {at}"))
        }
        Some((Token::Word(word), at)) if word == "OR" => {
            Err(format!("`OR` at character {at} is not taken: only comparisons joined by `AND` are"))
        }
        Some((_, at)) => Err(format!("`AND` is missing before character {at}")),
        None => Ok(()),
    }
}

fn comparison(tokens: &mut Peekable<impl Iterator<Item = Placed>>, text: &str) -> Result<Comparison, String> {
    let is_not = |token: &Placed| token.0 == Token::Minus || token.0 == Token::Word("NOT".to_owned());
    let negated = tokens.next_if(is_not).is_some();
    let end = text.chars().count() + 1;
    let (field, at) = match tokens.next() {
        Some((Token::Word(field), at)) => (field, at),
        other => {
            let at = other.map_or(end, |(_, at)| at);
            return Err(format!("a field is missing at character {at}: {FIELDS}"));
        }
    };
    let (operator, operator_at) = match tokens.next() {
        Some((Token::Operator(operator), at)) => (operator, at),
        other => {
            let at = other.map_or(end, |(_, at)| at);
            return Err(format!(
                "an operator is missing after `{field}` at character {at}: `=`, `!=`, `:`, `<`, `<=`, `>`, `>=`"
            ));
        }
    };
    let value = match tokens.next() {
        Some((Token::Word(value) | Token::Quoted(value), _)) => value,
        other => {
            let at = other.map_or(end, |(_, at)| at);
            return Err(format!("a value is missing for `{field}` at character {at}, such as \"crm\""));
        }
    };
    let unfit = |fit: &str| format!("`{field}` takes {fit}, not the operator at character {operator_at}");

    let text_test = |make: &dyn Fn(Has) -> Test| match operator {
        Operator::Equal | Operator::NotEqual => Ok(make(Has::Equal(value.clone()))),
        Operator::Has => Ok(make(Has::Within(value.to_lowercase()))),
        _ => Err(unfit("`=`, `!=` and `:`")),
    };
    let test = match field.as_str() {
        "enabled" => match (operator, value.as_str()) {
            (Operator::Equal | Operator::NotEqual, "true") => Test::Enabled(true),
            (Operator::Equal | Operator::NotEqual, "false") => Test::Enabled(false),
            (Operator::Equal | Operator::NotEqual, _) => return Err("`enabled` takes `true` or `false`".to_owned()),
            _ => return Err(unfit("`=` and `!=`")),
        },
        "sync_id" => text_test(&|has| Test::Text(Text::Id, has))?,
        "display_name" => text_test(&|has| Test::Text(Text::DisplayName, has))?,
        "destination.url" => text_test(&|has| Test::Text(Text::Url, has))?,
        "labels" => match operator {
            Operator::Has => Test::HasLabel(value),
            _ => return Err(unfit("`:` (`labels:team`); `labels.team = \"crm\"` compares a value")),
        },
        "event_types" => match operator {
            Operator::Has => Test::EventType(value),
            _ => return Err(unfit("`:`")),
        },
        "create_time" | "update_time" => {
            if operator == Operator::Has {
                return Err(unfit("`=`, `!=`, `<`, `<=`, `>` and `>=`"));
            }
            let time: Timestamp = value.parse().map_err(|_| {
                format!(
                    "`{field}` takes an instant like \"2026-01-31T09:30:00Z\" (RFC 3339), not `{}`",
                    value.escape_debug()
                )
            })?;
            let which = if field == "create_time" { Time::Create } else { Time::Update };
            Test::Time(which, operator, millis(Some(&time)))
        }
        field => match field.strip_prefix("labels.").filter(|key| !key.is_empty()) {
            Some(key) => text_test(&|has| Test::Label(key.to_owned(), has))?,
            None => return Err(format!("there is no field `{field}` (character {at}): {FIELDS}")),
        },
    };
    Ok(Comparison { negated: negated != (operator == Operator::NotEqual), test })
}

#[cfg(test)]
mod tests {
    use sluice_proto::sync::v1::{Destination, EventSelection, Filter};

    use super::*;
    use crate::time::timestamp;

    fn sync() -> Sync {
        Sync {
            name: "projects/default/syncs/orders".into(),
            display_name: "Orders to \"CRM\"".into(),
            labels: [("team".to_owned(), "Sales".to_owned())].into(),
            enabled: true,
            destination: Some(Destination { url: "https://crm.example.com/hook".into(), ..Default::default() }),
            events: Some(EventSelection {
                filter: Some(Filter { event_types: vec!["Order Placed".into()], ..Default::default() }),
                payload: None,
            }),
            create_time: Some(timestamp(1_767_225_600_000)),
            revision: 7,
            ..Sync::default()
        }
    }

    #[test]
    fn comparisons_say_what_they_mean() {
        for (filter, expected) in [
            ("", true),
            ("enabled = true", true),
            ("enabled=false", false),
            ("enabled != false", true),
            ("NOT enabled = false", true),
            ("-enabled = true", false),
            ("sync_id = orders", true),
            ("sync_id : \"ORD\"", true),
            ("sync_id != orders", false),
            ("display_name : crm", true),
            ("display_name = \"Orders to \\\"CRM\\\"\"", true),
            ("labels.team = Sales", true),
            ("labels.team : sal", true),
            ("labels.team != Sales", false),
            ("labels.other != Sales", true),
            ("labels:team", true),
            ("labels:other", false),
            ("destination.url : \"crm.example.com\"", true),
            ("event_types : \"Order Placed\"", true),
            ("event_types : Order", false),
            ("create_time >= \"2026-01-01T00:00:00Z\"", true),
            ("create_time > \"2026-01-01T00:00:00Z\"", false),
            ("create_time = \"2026-01-01T01:00:00+01:00\"", true),
            ("update_time < \"1971-01-01T00:00:00Z\"", true),
            ("enabled = true AND labels:team AND NOT sync_id : x", true),
            ("enabled = true AND labels:other", false),
        ] {
            assert_eq!(SyncFilter::parse("filter", filter).unwrap().takes(&sync()), expected, "{filter}");
        }
    }

    #[test]
    fn what_is_no_filter_is_told_with_its_place() {
        for (filter, part) in [
            ("enabled", "operator is missing after `enabled` at character 8"),
            ("enabled =", "value is missing for `enabled` at character 10"),
            ("enabled = maybe", "`true` or `false`"),
            ("enabled : true", "takes `=` and `!=`, not the operator at character 9"),
            ("colour = red", "no field `colour` (character 1)"),
            ("enabled = true sync_id = a", "`AND` is missing before character 16"),
            ("enabled = true AND", "missing after `AND` at character 16"),
            ("enabled = true OR sync_id = a", "`OR` at character 16"),
            ("display_name = \"x", "begins at character 16"),
            ("= true", "field is missing at character 1"),
            ("enabled ! true", "`!` at character 9"),
            ("labels = a", "labels:team"),
            ("create_time > yesterday", "RFC 3339"),
            ("create_time : \"2026-01-01T00:00:00Z\"", "`<=`"),
        ] {
            let error = SyncFilter::parse("filter", filter).unwrap_err();
            let Error::Invalid(violations) = error else { panic!("{filter}") };
            assert!(violations[0].description.contains(part), "{filter}: {}", violations[0].description);
        }
        let many = vec!["enabled = true"; MAX_COMPARISONS + 1].join(" AND ");
        assert!(SyncFilter::parse("filter", &many).is_err());
        assert!(SyncFilter::parse("filter", &"é".repeat(MAX_CHARACTERS + 1)).is_err());
    }
}
