//! The Sluice profile of FreeMarker: what templates of syncs find when they are rendered.
//!
//! Numbers and booleans print as JSON has them, times are in UTC and read as Amplitude writes them,
//! and `statics['com.amplitude.integrations.connector.utils.FtlUtils']` has the helpers that
//! Amplitude's templates call.

use std::sync::{Arc, OnceLock};

use sluice_freemarker::json::Node;
use sluice_freemarker::{
    Civil, DateContext, DateFormat, DateKind, Limits, Method, Root, Settings, Value,
};

/// The key in `statics` under which templates find the helpers.
const UTILS: &str = "com.amplitude.integrations.connector.utils.FtlUtils";

/// The settings that templates are parsed with: `number_format` computer, `boolean_format` c, UTC,
/// and dates in Amplitude's own form with no setting needed.
pub fn settings() -> &'static Settings {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    SETTINGS.get_or_init(|| {
        let mut settings = Settings::default().with_date_format("amplitude", Arc::new(Amplitude));
        for (name, value) in [
            ("number_format", "computer"),
            ("boolean_format", "c"),
            ("time_zone", "UTC"),
            ("url_escaping_charset", "UTF-8"),
            ("datetime_format", "@amplitude"),
            ("date_format", "@amplitude"),
            ("time_format", "@amplitude"),
        ] {
            // all of these are good; a test proves it
            let _ = settings.set(name, value);
        }
        settings
    })
}

/// The root variables of a rendering: `input`, and `statics` with the helpers; `.now` is `now_ms`,
/// in milliseconds since the epoch.
pub fn root<'d>(input: Node<'d>, now_ms: i64) -> Root<'d> {
    Root::new().with_json("input", input).with("statics", statics()).with_now(now_ms)
}

/// What a rendering may use: half a megabyte of output from a 256 KiB event is far beyond what any
/// receiver takes, and the steps end within some 20 ms of CPU.
pub fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_output_bytes = 2 << 20;
    limits.max_value_bytes = 8 << 20;
    limits
}

fn statics() -> Value<'static> {
    static STATICS: OnceLock<Value<'static>> = OnceLock::new();
    STATICS
        .get_or_init(|| {
            let helpers = Value::hash([
                ("toJson", Value::Method(Arc::new(ToJson { name: "toJson" }))),
                ("toJsonString", Value::Method(Arc::new(ToJson { name: "toJsonString" }))),
            ]);
            helpers
                .and_then(|helpers| Value::hash([(UTILS, helpers)]))
                .unwrap_or(Value::Missing)
        })
        .clone()
}

/// `toJson(x)` and `toJsonString(x)`: the JSON text of any value; of a string, with its quotes.
struct ToJson {
    name: &'static str,
}

impl Method for ToJson {
    fn call<'d>(&self, args: &[Value<'d>]) -> Result<Value<'d>, String> {
        let [value] = args else {
            return Err(format!("{} takes 1 argument, but there are {}", self.name, args.len()));
        };
        let mut json = Vec::new();
        value.write_json(&mut json)?;
        String::from_utf8(json)
            .map(Value::string)
            .map_err(|_| format!("{} made no text", self.name))
    }
}

/// Times as Amplitude writes them: `yyyy-MM-dd HH:mm:ss`, or with `T`, and 0 to 6 fraction digits,
/// of which the first three count. An offset (`Z`, `+hh:mm`) may follow.
struct Amplitude;

impl DateFormat for Amplitude {
    fn parse(&self, text: &str, context: &DateContext<'_>) -> Result<i64, String> {
        parse(text, context).ok_or_else(|| {
            format!("\"{text}\" is no time such as 2022-02-28 20:07:01.795000")
        })
    }

    fn format(&self, epoch_ms: i64, context: &DateContext<'_>) -> Result<String, String> {
        let Civil { year, month, day, hour, minute, second, millisecond } =
            context.civil(epoch_ms);
        let date = format!("{year:04}-{month:02}-{day:02}");
        let mut time = format!("{hour:02}:{minute:02}:{second:02}");
        if millisecond != 0 {
            time.push_str(&format!(".{millisecond:03}"));
        }
        Ok(match context.kind {
            DateKind::Date => date,
            DateKind::Time => time,
            DateKind::DateTime => format!("{date} {time}"),
        })
    }
}

fn parse(text: &str, context: &DateContext<'_>) -> Option<i64> {
    let text = text.trim();
    let (date, time) = match context.kind {
        DateKind::Time if !text.contains('-') || text.find(':') < text.find('-') => {
            ("1970-01-01", Some(text))
        }
        _ => match text.split_once([' ', 'T']) {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        },
    };
    let mut civil = Civil::default();
    let mut parts = date.split('-');
    civil.year = figures(parts.next()?, 4, 9999)?;
    civil.month = figures(parts.next()?, 2, 12).filter(|month| *month > 0)?;
    civil.day = figures(parts.next()?, 2, 31).filter(|day| *day > 0)?;
    if parts.next().is_some() || time.is_none() && context.kind != DateKind::Date {
        return None;
    }
    let mut offset_minutes = None;
    if let Some(time) = time {
        let end = time.find(['Z', '+', '-']).unwrap_or(time.len());
        let (clock, offset) = time.split_at(end);
        offset_minutes = if offset.is_empty() { None } else { Some(parse_offset(offset)?) };
        let (clock, fraction) = match clock.split_once('.') {
            Some((clock, fraction)) => (clock, Some(fraction)),
            None => (clock, None),
        };
        let mut parts = clock.split(':');
        civil.hour = figures(parts.next()?, 2, 23)?;
        civil.minute = figures(parts.next()?, 2, 59)?;
        civil.second = figures(parts.next()?, 2, 59)?;
        if parts.next().is_some() {
            return None;
        }
        if let Some(fraction) = fraction {
            figures(fraction, fraction.len(), 999_999).filter(|_| fraction.len() <= 6)?;
            let thousandths: String = fraction.chars().chain("00".chars()).take(3).collect();
            civil.millisecond = thousandths.parse().ok()?;
        }
    }
    let epoch_ms = context.epoch_ms(&civil);
    // a 30th of February carries over to March: no date
    let shown = context.civil(epoch_ms);
    if (shown.month, shown.day) != (civil.month, civil.day) {
        return None;
    }
    Some(match offset_minutes {
        // with an offset of its own the time zone does not matter
        Some(minutes) => {
            let days = epoch_ms - context_offset_ms(epoch_ms, context);
            days - minutes * 60_000
        }
        None => epoch_ms,
    })
}

/// How far a reading of the clock in the setting's time zone is from the same reading in UTC.
fn context_offset_ms(epoch_ms: i64, context: &DateContext<'_>) -> i64 {
    let shown = context.civil(epoch_ms);
    let clock = ((shown.hour * 60 + shown.minute) * 60 + shown.second) * 1000 + shown.millisecond;
    let utc_clock = epoch_ms.rem_euclid(86_400_000);
    let mut offset = clock - utc_clock;
    // offsets are between -12 and +14 hours
    if offset > 14 * 3_600_000 {
        offset -= 86_400_000;
    } else if offset < -12 * 3_600_000 {
        offset += 86_400_000;
    }
    -offset
}

/// `Z`, `+hh:mm` or `+hhmm`, in minutes.
fn parse_offset(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let figures_only = text.get(1..)?.replace(':', "");
    let hours = figures(figures_only.get(..2)?, 2, 23)?;
    let minutes = match figures_only.get(2..)? {
        "" => 0,
        minutes => figures(minutes, 2, 59)?,
    };
    Some(sign * (hours * 60 + minutes))
}

fn figures(text: &str, len: usize, max: i64) -> Option<i64> {
    if text.len() != len || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|value| *value <= max)
}
