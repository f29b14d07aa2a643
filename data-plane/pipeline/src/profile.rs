//! The Sluice profile of FreeMarker: what templates of syncs find when they are rendered.
//!
//! Numbers and booleans print as JSON has them, times are in UTC and read as Amplitude writes them,
//! and `statics['com.amplitude.integrations.connector.utils.FtlUtils']` has the helpers that
//! Amplitude's templates call.

use std::sync::{Arc, OnceLock};

use sluice_freemarker::json::Node;
use sluice_freemarker::{Civil, DateContext, DateFormat, DateKind, Limits, Method, Root, Settings, Value};

/// The key in `statics` under which templates find the helpers.
const UTILS: &str = "com.amplitude.integrations.connector.utils.FtlUtils";

/// What the profile sets, by FreeMarker's names.
const SETTINGS_OF_THE_PROFILE: [(&str, &str); 7] = [
    ("number_format", "computer"),
    ("boolean_format", "c"),
    ("time_zone", "UTC"),
    ("url_escaping_charset", "UTF-8"),
    ("datetime_format", "@amplitude"),
    ("date_format", "@amplitude"),
    ("time_format", "@amplitude"),
];

/// The settings that templates are parsed with: `number_format` computer, `boolean_format` c, UTC,
/// and dates in Amplitude's own form with no setting needed.
pub fn settings() -> &'static Settings {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    SETTINGS.get_or_init(|| {
        let mut settings = Settings::default().with_date_format("amplitude", Arc::new(Amplitude));
        for (name, value) in SETTINGS_OF_THE_PROFILE {
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

/// What a rendering may use: 2 MiB of output and 8 MiB of values, far beyond what receivers take; the
/// steps end within some 20 ms of CPU.
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
            helpers.and_then(|helpers| Value::hash([(UTILS, helpers)])).unwrap_or(Value::Missing)
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
        String::from_utf8(json).map(Value::string).map_err(|_| format!("{} made no text", self.name))
    }
}

/// Times as Amplitude writes them: `yyyy-MM-dd HH:mm:ss`, or with `T`, and 0 to 6 fraction digits,
/// of which the first three count. An offset (`Z`, `+hh:mm`) may follow.
struct Amplitude;

impl DateFormat for Amplitude {
    fn parse(&self, text: &str, context: &DateContext<'_>) -> Result<i64, String> {
        parse(text, context).ok_or_else(|| format!("\"{text}\" is no time such as 2022-02-28 20:07:01.795000"))
    }

    fn format(&self, epoch_ms: i64, context: &DateContext<'_>) -> Result<String, String> {
        let Civil { year, month, day, hour, minute, second, millisecond } = context.civil(epoch_ms);
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
    let (date, time) = match text.split_once([' ', 'T']) {
        Some((date, time)) => (date, Some(time)),
        None if context.kind == DateKind::Time => ("1970-01-01", Some(text)),
        None => (text, None),
    };
    if time.is_none() && context.kind != DateKind::Date {
        return None;
    }
    let mut civil = Civil::default();
    let mut parts = date.split('-');
    civil.year = figures(parts.next()?, 4, 9999)?;
    civil.month = figures(parts.next()?, 2, 12)?;
    civil.day = figures(parts.next()?, 2, 31)?;
    // a 30th of February would carry over to March: it is no date
    if parts.next().is_some() || Civil::from_utc_ms(civil.utc_ms()) != civil {
        return None;
    }
    let Some(time) = time else { return Some(context.epoch_ms(&civil)) };
    let (clock, offset) = match time.find(['Z', '+', '-']) {
        Some(at) => time.split_at(at),
        None => (time, ""),
    };
    parse_clock(clock, &mut civil)?;
    match offset {
        "" => Some(context.epoch_ms(&civil)),
        offset => Some(civil.utc_ms() - parse_offset(offset)? * 60_000),
    }
}

/// `HH:mm:ss` and 0 to 6 fraction digits.
fn parse_clock(clock: &str, civil: &mut Civil) -> Option<()> {
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.split(':');
    civil.hour = figures(parts.next()?, 2, 23)?;
    civil.minute = figures(parts.next()?, 2, 59)?;
    civil.second = figures(parts.next()?, 2, 59)?;
    if parts.next().is_some() || fraction.is_empty() || fraction.len() > 6 {
        return None;
    }
    let microseconds = figures(fraction, fraction.len(), 999_999)?;
    let scale = 10_i64.pow(u32::try_from(6 - fraction.len()).ok()?);
    civil.millisecond = microseconds * scale / 1000;
    Some(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_freemarker::json::Document;
    use sluice_freemarker::{Error, Template};

    const EVENT: &str = r#"{
        "user_id": "u1", "device_id": "d1", "event_type": "Order \"Completed\"",
        "event_time": "2022-02-28 20:07:01.795000", "session_id": 1646078821795,
        "price": 12.50, "paying": "true", "in_cohort": true,
        "event_properties": {
            "[Guides-Surveys] Page.path": "/a/b", "[Amplitude] Build": 7, "items": ["x", "y"],
            "empty": null, "isBeta": "false"
        },
        "user_properties": {"plan": "pro", "tags": [1, 2], "age": 31, "gone": null},
        "groups": {"org_id": ["15"]},
        "group_properties": {"org_id": {"15": {"organization_name": "Ac/me"}}}
    }"#;

    fn render(template: &str) -> Result<String, Error> {
        let event = Document::parse(EVENT.as_bytes(), 64).unwrap();
        let template = Template::parse("test", template, settings())?;
        let mut out = Vec::new();
        template.render(&root(event.root(), 1_700_000_000_123), &limits(), &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn all_settings_take_their_values() {
        let mut plain = Settings::default().with_date_format("amplitude", Arc::new(Amplitude));
        for (name, value) in SETTINGS_OF_THE_PROFILE {
            assert!(plain.set(name, value).is_ok(), "{name}");
        }
    }

    #[test]
    fn bare_values_are_json() {
        let all = "[${input.session_id}, ${input.price}, ${input.in_cohort}, ${1/3}, ${100000}]";
        assert_eq!(render(all).unwrap(), "[1646078821795, 12.5, true, 0.333333333333, 100000]");
        assert_eq!(render("${input.event_properties[\"[Amplitude] Build\"]}").unwrap(), "7");
        assert_eq!(render("${input.event_properties['[Guides-Surveys] Page.path']}").unwrap(), "/a/b");
    }

    #[test]
    fn event_times_are_read_as_they_are_written() {
        for (written, ms) in [
            ("2022-02-28 20:07:01.795000", "1646078821795"),
            ("2022-02-28 20:07:01.795", "1646078821795"),
            ("2022-02-28 20:07:01", "1646078821000"),
            ("2022-02-28 20:07:01.5", "1646078821500"),
            ("2022-10-24T20:07:32.123", "1666642052123"),
            ("2022-10-24T20:07:32.123Z", "1666642052123"),
            ("2022-10-24T22:07:32.123+02:00", "1666642052123"),
        ] {
            assert_eq!(render(&format!("${{'{written}'?datetime?long}}")).unwrap(), ms, "{written}");
        }
        for bad in ["", "2022-02-30 00:00:00", "2022-02-28", "2022-02-28 20:07", "2022-02-28 25:00:00"] {
            assert!(render(&format!("${{'{bad}'?datetime}}")).is_err(), "{bad}");
        }
        assert_eq!(render("${input.event_time?datetime?string['dd.MM.yyyy, HH:mm']}").unwrap(), "28.02.2022, 20:07");
        assert_eq!(
            render("${input.event_time?datetime} ${.now} ${.now?iso_utc}").unwrap(),
            "2022-02-28 20:07:01.795 2023-11-14 22:13:20.123 2023-11-14T22:13:20Z"
        );
        assert_eq!(
            render(
                "<#setting datetime_format=\"yyyy-MM-dd HH:mm:ss.S\">\
                 ${\"2022-02-28 20:07:01.795\"?datetime?long}"
            )
            .unwrap(),
            "1646078821795"
        );
    }

    #[test]
    fn helpers_make_json_of_anything() {
        let with_util = |text: &str| {
            render(&format!(
                "<#assign UtilClass=statics['com.amplitude.integrations.connector.utils.FtlUtils']>\
                 {text}"
            ))
        };
        assert_eq!(
            with_util("{\"p\": ${UtilClass.toJson(input.user_properties)}}").unwrap(),
            r#"{"p": {"plan":"pro","tags":[1,2],"age":31,"gone":null}}"#
        );
        assert_eq!(with_util("${UtilClass.toJsonString(input.event_type)}").unwrap(), r#""Order \"Completed\"""#);
        assert_eq!(with_util("${UtilClass.toJsonString(12.50)} ${UtilClass.toJsonString(true)}").unwrap(), "12.5 true");
        let error = with_util("${UtilClass.toJson()}").unwrap_err();
        assert_eq!(error.message(), "toJson takes 1 argument, but there are 0");
    }

    #[test]
    fn amplitudes_own_templates_run() {
        let partner = r#"<#setting number_format="0.####">{
  "event": "${input.event_type?json_string}"<#if input.user_id??>,
  "user": "${input.user_id}"</#if>,
  "props": {
    <#list input.user_properties?keys?filter(key -> input.user_properties[key]?has_content) as key>
    "${key}": <#if input.user_properties[key]?is_number>${input.user_properties[key]}<#elseif input.user_properties[key]?is_string>"${input.user_properties[key]}"<#else>null</#if><#sep>,</#sep>
    </#list>
  }
}"#;
        assert_eq!(
            render(partner).unwrap(),
            r#"{
  "event": "Order \"Completed\"",
  "user": "u1",
  "props": {
    "plan": "pro",
    "tags": null,
    "age": 31
  }
}"#
        );
        assert_eq!(
            render("<#list input.user_properties as key, value>${key}=${(value!'none')?is_string?c}<#if key_has_next>;</#if></#list>").unwrap(),
            "plan=true;tags=false;age=false;gone=true"
        );
        assert_eq!(render("<#if input.event_properties.isBeta?boolean>beta<#else>stable</#if>").unwrap(), "stable");
        assert_eq!(
            render(
                "<#assign org_id = input.groups.org_id[0]>${input.group_properties.org_id[org_id].organization_name}"
            )
            .unwrap(),
            "Ac/me"
        );
        assert_eq!(
            render("<#assign x>${(input.nope.deep!'')}-${input.user_id?substring(0, 1)}</#assign>${x}")
                .unwrap_err()
                .line(),
            1
        );
        assert_eq!(render("${(input.nope.deep)!'-'}${input.nope!}").unwrap(), "-");
    }

    #[test]
    fn a_missing_value_is_an_error_with_its_place() {
        let error = render("{\n  \"a\": \"${input.nope}\"\n}").unwrap_err();
        assert_eq!((error.line(), error.column()), (2, 11));
    }
}
