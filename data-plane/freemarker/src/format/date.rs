//! Formats for dates and times by name (FreeMarker manual: "Settings / datetime_format").

use std::fmt;
use std::sync::Arc;

use super::calendar::Civil;
use super::iso::IsoFormat;
use super::locale::Locale;
use super::pattern::DatePattern;
use super::zone::Zone;
use crate::value::Date;

/// Which parts of a [`Date`] count.
///
/// ```
/// use sluice_freemarker::{Date, DateKind, Limits, Root, Settings, Template, Value};
///
/// let day = Value::Date(Date { epoch_ms: 1_700_000_000_000, kind: DateKind::Date });
/// let mut out = Vec::new();
/// let template = Template::parse("t", "${day?string.iso}", &Settings::default())?;
/// template.render(&Root::new().with("day", day), &Limits::default(), &mut out)?;
/// assert_eq!(out, b"2023-11-14");
/// # Ok::<(), sluice_freemarker::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateKind {
    /// Year, month and day.
    Date,
    /// The time of day.
    Time,
    /// Both.
    DateTime,
}

impl DateKind {
    /// What FreeMarker calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            DateKind::Date => "date",
            DateKind::Time => "time",
            DateKind::DateTime => "date-time",
        }
    }
}

/// A format of the host for dates, used as `@name` where FreeMarker takes a date format
/// (manual: "Programmer's Guide / Custom number and date formats").
///
/// ```
/// use std::sync::Arc;
/// use sluice_freemarker::{DateContext, DateFormat, Limits, Root, Settings, Template};
///
/// /// Seconds since the epoch.
/// struct Unix;
///
/// impl DateFormat for Unix {
///     fn parse(&self, text: &str, _: &DateContext<'_>) -> Result<i64, String> {
///         text.parse::<i64>().map(|seconds| seconds * 1_000).map_err(|_| "not a number of seconds".to_owned())
///     }
///
///     fn format(&self, epoch_ms: i64, _: &DateContext<'_>) -> Result<String, String> {
///         Ok((epoch_ms / 1_000).to_string())
///     }
/// }
///
/// let settings = Settings::default().with_date_format("unix", Arc::new(Unix));
/// let template = Template::parse("t", "${'1700000000'?datetime('@unix')?string.iso}", &settings)?;
/// let mut out = Vec::new();
/// template.render(&Root::new(), &Limits::default(), &mut out)?;
/// assert_eq!(out, b"2023-11-14T22:13:20Z");
/// # Ok::<(), sluice_freemarker::Error>(())
/// ```
pub trait DateFormat: Send + Sync {
    /// Reads a date; gives milliseconds since the epoch.
    ///
    /// # Errors
    /// A message for the template's author.
    fn parse(&self, text: &str, context: &DateContext<'_>) -> Result<i64, String>;

    /// Writes a date given in milliseconds since the epoch.
    ///
    /// # Errors
    /// A message for the template's author.
    fn format(&self, epoch_ms: i64, context: &DateContext<'_>) -> Result<String, String>;
}

/// What a [`DateFormat`] is used for.
///
/// ```
/// use sluice_freemarker::{DateContext, DateFormat};
///
/// /// The year alone, in the setting's time zone.
/// struct Year;
///
/// impl DateFormat for Year {
///     fn parse(&self, _: &str, context: &DateContext<'_>) -> Result<i64, String> {
///         Err(format!("a {:?} cannot be read from a year", context.kind))
///     }
///
///     fn format(&self, epoch_ms: i64, context: &DateContext<'_>) -> Result<String, String> {
///         Ok(context.civil(epoch_ms).year.to_string())
///     }
/// }
/// ```
#[derive(Clone, Copy)]
pub struct DateContext<'a> {
    /// The kind of date to read or write.
    pub kind: DateKind,
    /// What follows the format's name, as in `@name parameters`.
    pub parameters: &'a str,
    zone: &'a Zone,
}

impl DateContext<'_> {
    /// What clocks show at a time in milliseconds since the epoch, in the setting's time zone.
    pub fn civil(&self, epoch_ms: i64) -> Civil {
        Civil::gregorian(local(epoch_ms, self.zone))
    }

    /// The milliseconds since the epoch at which clocks show this; fields out of their ranges
    /// carry over.
    pub fn epoch_ms(&self, civil: &Civil) -> i64 {
        self.zone.to_epoch(civil.gregorian_ms())
    }
}

/// A format that is ready to use.
#[derive(Clone)]
pub(crate) enum CompiledDateFormat {
    Iso(IsoFormat),
    Pattern(DatePattern),
    Custom { format: Arc<dyn DateFormat>, parameters: String },
}

impl fmt::Debug for CompiledDateFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompiledDateFormat::Iso(format) => write!(f, "{format:?}"),
            CompiledDateFormat::Pattern(pattern) => write!(f, "{pattern:?}"),
            CompiledDateFormat::Custom { parameters, .. } => write!(f, "custom {parameters}"),
        }
    }
}

/// The custom formats that the host registered.
pub(crate) type CustomDateFormats = Vec<(String, Arc<dyn DateFormat>)>;

impl CompiledDateFormat {
    /// Reads a format's text for one kind of date.
    pub(crate) fn parse(
        text: &str,
        kind: DateKind,
        custom: &CustomDateFormats,
        locale: &'static Locale,
    ) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix('@').filter(|_| super::names_custom(text)) {
            let (name, parameters) = rest.split_once([' ', '_']).unwrap_or((rest, ""));
            // a registered name may itself have an underscore
            let found = custom
                .iter()
                .find(|(known, _)| known == rest)
                .map(|found| (found, ""))
                .or_else(|| custom.iter().find(|(known, _)| known == name).map(|f| (f, parameters)));
            return match found {
                Some(((_, format), parameters)) => {
                    Ok(CompiledDateFormat::Custom { format: Arc::clone(format), parameters: parameters.to_owned() })
                }
                None => Err(format!("there is no custom date format named \"@{name}\"")),
            };
        }
        if let Some(iso) = IsoFormat::parse(text) {
            return iso.map(CompiledDateFormat::Iso);
        }
        match named_style(text, kind, locale) {
            Some(pattern) => DatePattern::parse(&pattern, locale).map(CompiledDateFormat::Pattern),
            None => DatePattern::parse(text, locale).map(CompiledDateFormat::Pattern),
        }
    }

    pub(crate) fn format(&self, date: Date, zone: &Zone) -> Result<String, String> {
        match self {
            CompiledDateFormat::Iso(iso) => Ok(iso.format(date, zone)),
            CompiledDateFormat::Pattern(pattern) => Ok(pattern.format(date.epoch_ms, zone)),
            CompiledDateFormat::Custom { format, parameters } => {
                format.format(date.epoch_ms, &DateContext { kind: date.kind, parameters, zone })
            }
        }
    }

    /// Reads a date; `now_ms` is what two-digit years are near to.
    pub(crate) fn read(&self, text: &str, kind: DateKind, zone: &Zone, now_ms: Option<i64>) -> Result<i64, String> {
        match self {
            CompiledDateFormat::Iso(iso) => iso.read(text, kind, zone),
            CompiledDateFormat::Pattern(pattern) => pattern.read(text, zone, now_ms),
            CompiledDateFormat::Custom { format, parameters } => {
                format.parse(text, &DateContext { kind, parameters, zone })
            }
        }
    }
}

/// Milliseconds of wall clock time since 1970-01-01T00:00.
pub(crate) fn local(epoch_ms: i64, zone: &Zone) -> i128 {
    i128::from(epoch_ms) + i128::from(zone.offset_at(epoch_ms)) * 1000
}

/// The pattern of `short`, `medium`, `long`, `full` and pairs of them (`short_long`).
fn named_style(text: &str, kind: DateKind, locale: &Locale) -> Option<String> {
    let text = if text.is_empty() { "medium" } else { text };
    let (first, second) = text.split_once(['_', ' ']).unwrap_or((text, text));
    let style = |name| ["short", "medium", "long", "full"].iter().position(|style| *style == name);
    Some(match kind {
        DateKind::Date => locale.dates.get(style(first)?)?.to_string(),
        DateKind::Time => locale.times.get(style(first)?)?.to_string(),
        DateKind::DateTime => {
            let (first, second) = (style(first)?, style(second)?);
            let between = locale.between.get(first.min(second))?;
            format!("{}{between}{}", locale.dates.get(first)?, locale.times.get(second)?)
        }
    })
}
