//! Values as text and back: numbers, booleans and dates.

pub(crate) mod boolean;
pub(crate) mod calendar;
pub(crate) mod date;
mod decimal_parse;
pub(crate) mod decimal_pattern;
pub(crate) mod iso;
pub(crate) mod number;
pub(crate) mod pattern;
mod pattern_parse;
pub(crate) mod zone;
