//! Values as text and back: numbers, booleans and dates.

pub(crate) mod boolean;
pub(crate) mod c;
pub(crate) mod calendar;
mod currency;
pub(crate) mod date;
mod date_fields;
mod decimal_parse;
pub(crate) mod decimal_pattern;
mod digits;
pub(crate) mod iso;
pub(crate) mod locale;
pub(crate) mod number;
pub(crate) mod pattern;
mod pattern_parse;
pub(crate) mod zone;
mod zone_names;

/// Whether a format is the name of one that the host gives: `@` and a letter.
fn names_custom(text: &str) -> bool {
    text.strip_prefix('@').is_some_and(|name| name.starts_with(char::is_alphabetic))
}
