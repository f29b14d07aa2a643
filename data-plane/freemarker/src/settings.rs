//! Settings of the engine (FreeMarker manual: "Template Language Reference / Directives / setting"
//! and "Programmer's Guide / The Configuration").

use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::format::boolean::BooleanFormat;
use crate::format::c::CFormat;
use crate::format::date::{CompiledDateFormat, CustomDateFormats, DateFormat, DateKind};
use crate::format::locale::Locale;
use crate::format::number::NumberFormat;
use crate::format::zone::Zone;
use crate::output_format::{AutoEscaping, Escaping, OutputFormat};

mod automatic;

/// How templates are read and how values are printed, unless a template says otherwise.
///
/// ```
/// use sluice_freemarker::{Limits, Root, Settings, Template};
///
/// let mut settings = Settings::default();
/// settings.set("number_format", "0.00")?;
/// settings.set("output_format", "HTML")?;
/// let template = Template::parse("t", "${1} ${'a < b'}", &settings)?;
/// let mut out = Vec::new();
/// template.render(&Root::new(), &Limits::default(), &mut out)?;
/// assert_eq!(out, b"1.00 a &lt; b");
/// # Ok::<(), sluice_freemarker::Error>(())
/// ```
#[derive(Clone)]
pub struct Settings {
    pub(crate) syntax: Syntax,
    pub(crate) formats: Formats,
    pub(crate) custom_dates: CustomDateFormats,
    pub(crate) auto: Automatic,
}

impl Default for Settings {
    /// FreeMarker's defaults with `incompatible_improvements` 2.3.31, locale en_US and UTC.
    fn default() -> Self {
        Settings {
            syntax: Syntax::default(),
            formats: Formats::default(),
            custom_dates: Vec::new(),
            auto: Automatic::default(),
        }
    }
}

impl Settings {
    /// Sets a setting by FreeMarker's name for it and the text that its configuration would take.
    ///
    /// Taken are `number_format`, `boolean_format`, `c_format`, `date_format`, `time_format`,
    /// `datetime_format`, `locale`, `time_zone`, `url_escaping_charset`,
    /// `output_encoding`, `whitespace_stripping`, `tag_syntax`, `interpolation_syntax`,
    /// `naming_convention`, `strict_syntax`, `output_format`, `auto_escaping_policy`,
    /// `recognize_standard_file_extensions`, `fallback_on_null_loop_variable`, `auto_include`,
    /// `auto_import`, `lazy_imports` and `incompatible_improvements` (2.3.20 or later; all mean 2.3.31).
    ///
    /// # Errors
    /// When there is no such setting, this engine does not have it, or the value is bad.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        self.try_set(name, value).map_err(|message| Error::without_place(ErrorKind::Runtime, message))
    }

    /// Registers a custom date format: `@name` where a date format is expected.
    #[must_use]
    pub fn with_date_format(mut self, name: &str, format: Arc<dyn DateFormat>) -> Self {
        self.custom_dates.retain(|(known, _)| known != name);
        self.custom_dates.push((name.to_owned(), format));
        self
    }

    fn try_set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let name = snake_case(name);
        if let Some(key) = SettingKey::find(&name) {
            // the host is told at once of a malformed format, and of a zone that Java would take for another
            if key == SettingKey::TimeZone && value != "JVM default" && Zone::find(value).is_none() {
                return Err(format!("there is no time zone named \"{value}\""));
            }
            let mut formats = self.formats.clone();
            formats.set(key, value, &self.custom_dates)?;
            formats.check()?;
            self.formats = formats;
            return Ok(());
        }
        let bad = || format!("the setting {name} can't be \"{value}\"");
        let flag = || match value {
            "true" | "yes" | "t" | "y" => Ok(true),
            "false" | "no" | "f" | "n" => Ok(false),
            _ => Err(bad()),
        };
        match name.as_str() {
            "whitespace_stripping" => self.syntax.strip_whitespace = flag()?,
            "strict_syntax" => self.syntax.strict = flag()?,
            "fallback_on_null_loop_variable" => self.syntax.falls_back = flag()?,
            "recognize_standard_file_extensions" => self.syntax.recognizes_extensions = flag()?,
            "lazy_imports" => {
                // when a library is run makes no difference to what it gives
                flag()?;
            }
            "output_format" => self.syntax.escaping.format = OutputFormat::find(value)?,
            "auto_escaping_policy" => {
                self.syntax.escaping.policy = match value {
                    "enable_if_default" | "enableIfDefault" | "enable_if_supported" | "enableIfSupported" => {
                        AutoEscaping::Enabled
                    }
                    "disable" => AutoEscaping::Disabled,
                    "force" => AutoEscaping::Forced,
                    _ => return Err(bad()),
                };
            }
            "naming_convention" => {
                self.syntax.naming = match value {
                    "auto_detect" => None,
                    "legacy" => Some(Naming::Legacy),
                    "camel_case" => Some(Naming::Camel),
                    _ => return Err(bad()),
                };
            }
            "auto_include" => self.auto.includes = automatic::names(value).ok_or_else(bad)?.into(),
            "auto_import" => self.auto.imports = automatic::imports(value).ok_or_else(bad)?.into(),
            "tag_syntax" => {
                self.syntax.tags = match value {
                    "angle_bracket" => TagSyntax::Angle,
                    "square_bracket" => TagSyntax::Square,
                    "auto_detect" => TagSyntax::Detect,
                    _ => return Err(bad()),
                };
            }
            "interpolation_syntax" => {
                self.syntax.interpolation = match value {
                    "legacy" => InterpolationSyntax::Legacy,
                    "dollar" => InterpolationSyntax::Dollar,
                    "square_bracket" => InterpolationSyntax::Square,
                    _ => return Err(bad()),
                };
            }
            "incompatible_improvements" => {
                let patch = value.strip_prefix("2.3.").and_then(|patch| patch.parse::<u32>().ok());
                if patch.is_none_or(|patch| patch < 20) {
                    return Err(format!(
                        "this engine behaves as FreeMarker with incompatible_improvements 2.3.31; \
                         it has no behaviour of {value}"
                    ));
                }
            }
            _ => return Err(format!("there is no setting \"{name}\", or this engine has none")),
        }
        Ok(())
    }
}

/// How template text is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Syntax {
    pub(crate) strip_whitespace: bool,
    pub(crate) tags: TagSyntax,
    pub(crate) interpolation: InterpolationSyntax,
    /// Tags need their `#`.
    pub(crate) strict: bool,
    /// `None`: the first name of the template that tells decides.
    pub(crate) naming: Option<Naming>,
    pub(crate) escaping: Escaping,
    /// `.ftlh` and `.ftlx` templates are HTML and XML.
    pub(crate) recognizes_extensions: bool,
    /// Variables further out are looked at when a loop variable has no value.
    pub(crate) falls_back: bool,
    /// How much of the nesting that is allowed is used up before the template begins.
    pub(crate) depth: u32,
}

impl Default for Syntax {
    fn default() -> Self {
        Syntax {
            strip_whitespace: true,
            tags: TagSyntax::Angle,
            interpolation: InterpolationSyntax::Legacy,
            strict: true,
            naming: None,
            escaping: Escaping::default(),
            recognizes_extensions: true,
            falls_back: true,
            depth: 0,
        }
    }
}

impl Syntax {
    /// The output format and escaping of a template of this name.
    pub(crate) fn escaping_of(&self, name: &str) -> Escaping {
        let extension = name.len().checked_sub(5).and_then(|at| name.get(at..)).map(str::to_ascii_lowercase);
        let format = match extension.as_deref() {
            Some(".ftlh") => OutputFormat::HTML,
            Some(".ftlx") => OutputFormat::XML,
            _ => return self.escaping,
        };
        if !self.recognizes_extensions {
            return self.escaping;
        }
        Escaping { format, policy: AutoEscaping::Enabled }
    }
}

/// How names of the language are written; a template may not mix the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    Legacy,
    Camel,
}

/// Templates that are included and imported before a template is run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Automatic {
    pub(crate) includes: Arc<[String]>,
    /// The template, and the name of its namespace.
    pub(crate) imports: Arc<[(String, String)]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TagSyntax {
    Angle,
    Square,
    /// The first tag of the template decides.
    Detect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InterpolationSyntax {
    /// `${…}` and `#{…}`
    Legacy,
    /// `${…}`
    Dollar,
    /// `[=…]`
    Square,
}

/// The settings that `<#setting>` may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SettingKey {
    NumberFormat,
    BooleanFormat,
    CFormat,
    DateFormat,
    TimeFormat,
    DatetimeFormat,
    Locale,
    TimeZone,
    UrlEscapingCharset,
    OutputEncoding,
    SqlTimeZone,
}

impl SettingKey {
    /// Finds a setting by its name with underscores.
    pub(crate) fn find(name: &str) -> Option<Self> {
        Some(match name {
            "number_format" => SettingKey::NumberFormat,
            "c_format" => SettingKey::CFormat,
            "boolean_format" => SettingKey::BooleanFormat,
            "date_format" => SettingKey::DateFormat,
            "time_format" => SettingKey::TimeFormat,
            "datetime_format" => SettingKey::DatetimeFormat,
            "locale" => SettingKey::Locale,
            "time_zone" => SettingKey::TimeZone,
            "url_escaping_charset" => SettingKey::UrlEscapingCharset,
            "output_encoding" => SettingKey::OutputEncoding,
            "sql_date_and_time_time_zone" => SettingKey::SqlTimeZone,
            _ => return None,
        })
    }
}

/// How values are printed; what `<#setting>` changes.
#[derive(Clone, Debug)]
pub(crate) struct Formats {
    /// Or what is wrong with it: `#setting` may set it to anything, as long as no number is printed.
    pub(crate) number: Result<NumberFormat, String>,
    /// What the number format was made from.
    pub(crate) number_source: String,
    pub(crate) boolean: BooleanFormat,
    pub(crate) c: CFormat,
    pub(crate) date: NamedDateFormat,
    pub(crate) time: NamedDateFormat,
    pub(crate) datetime: NamedDateFormat,
    pub(crate) zone: Zone,
    pub(crate) locale: String,
    pub(crate) data: &'static Locale,
    pub(crate) url_charset: Option<String>,
    pub(crate) output_encoding: Option<String>,
}

/// A date format and the text that it was made from.
#[derive(Clone, Debug)]
pub(crate) struct NamedDateFormat {
    pub(crate) source: String,
    /// Or what is wrong with it.
    pub(crate) format: Result<CompiledDateFormat, String>,
}

impl NamedDateFormat {
    fn parse(text: &str, kind: DateKind, custom: &CustomDateFormats, locale: &'static Locale) -> Self {
        let format = CompiledDateFormat::parse(text, kind, custom, locale);
        NamedDateFormat { source: text.to_owned(), format }
    }

    fn default_of(kind: DateKind) -> Self {
        Self::parse("", kind, &Vec::new(), Locale::us())
    }
}

impl Default for Formats {
    fn default() -> Self {
        Formats {
            number: Ok(NumberFormat::locale_default()),
            number_source: "number".into(),
            boolean: BooleanFormat::forbidden(),
            c: CFormat::Legacy,
            date: NamedDateFormat::default_of(DateKind::Date),
            time: NamedDateFormat::default_of(DateKind::Time),
            datetime: NamedDateFormat::default_of(DateKind::DateTime),
            zone: Zone::Utc,
            locale: "en_US".into(),
            data: Locale::us(),
            url_charset: None,
            output_encoding: None,
        }
    }
}

impl Formats {
    pub(crate) fn set(&mut self, key: SettingKey, value: &str, custom: &CustomDateFormats) -> Result<(), String> {
        match key {
            SettingKey::NumberFormat => {
                self.number = NumberFormat::parse(value, self.data);
                value.clone_into(&mut self.number_source);
            }
            SettingKey::CFormat => self.c = CFormat::parse(value)?,
            SettingKey::BooleanFormat => self.boolean = BooleanFormat::parse(value)?,
            SettingKey::DateFormat => {
                self.date = NamedDateFormat::parse(value, DateKind::Date, custom, self.data);
            }
            SettingKey::TimeFormat => {
                self.time = NamedDateFormat::parse(value, DateKind::Time, custom, self.data);
            }
            SettingKey::DatetimeFormat => {
                self.datetime = NamedDateFormat::parse(value, DateKind::DateTime, custom, self.data);
            }
            SettingKey::Locale => {
                let name = Locale::canonical(value);
                self.data = Locale::find(&name).ok_or_else(|| {
                    format!("this engine has no data for the locale \"{value}\": it knows the greater languages of Europe, Chinese, \
                         Japanese, Korean and Indonesian")
                })?;
                self.locale = name;
                // formats by name look different now
                self.number = NumberFormat::parse(&self.number_source, self.data);
                for (format, kind) in [
                    (&mut self.date, DateKind::Date),
                    (&mut self.time, DateKind::Time),
                    (&mut self.datetime, DateKind::DateTime),
                ] {
                    *format = NamedDateFormat::parse(&format.source, kind, custom, self.data);
                }
            }
            SettingKey::TimeZone => {
                self.zone = match value {
                    "JVM default" => Zone::Utc,
                    name => Zone::find(name).unwrap_or_else(Zone::unknown),
                };
            }
            SettingKey::UrlEscapingCharset => self.url_charset = Some(value.to_owned()),
            SettingKey::OutputEncoding => self.output_encoding = Some(value.to_owned()),
            // only for values that come from SQL databases
            SettingKey::SqlTimeZone => {}
        }
        Ok(())
    }

    /// Whether all formats are well-formed.
    fn check(&self) -> Result<(), String> {
        let dates = [&self.date, &self.time, &self.datetime].into_iter().map(|named| named.format.as_ref().err());
        match self.number.as_ref().err().into_iter().chain(dates.flatten()).next() {
            Some(problem) => Err(problem.clone()),
            None => Ok(()),
        }
    }

    pub(crate) fn date_format(&self, kind: DateKind) -> &NamedDateFormat {
        match kind {
            DateKind::Date => &self.date,
            DateKind::Time => &self.time,
            DateKind::DateTime => &self.datetime,
        }
    }
}

/// `numberFormat` as `number_format`; names with underscores stay as they are.
pub(crate) fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}
