//! A FreeMarker engine for JSON data models.
#![allow(dead_code, unused_imports, unreachable_pub, missing_docs)]
mod error; pub mod json; mod limits; mod number; mod settings; mod span; mod value; mod format; mod interim;
pub use error::{Error, ErrorKind};
pub use json::{Document, JsonError, Kind, Node};
pub use limits::{Limits, Usage};
pub use settings::Settings;
pub use value::{Method, Value};
pub use interim::{Template, Root};
