//! A FreeMarker (FTL) engine for JSON data models.
//!
//! The engine does no IO, reads no clock, knows no randomness and loads no classes: what a template
//! prints depends on its source, its [`Settings`], its [`Root`] variables and nothing else. Every
//! rendering is bounded by [`Limits`] that the engine counts itself, and no input makes it panic.
//!
//! ```
//! use sluice_freemarker::{Limits, Root, Settings, Template, json::Document};
//!
//! let template = Template::parse(
//!     "greeting",
//!     r#"{"hello": "${input.name?json_string}"<#if input.age??>, "age": ${input.age?c}</#if>}"#,
//!     &Settings::default(),
//! )?;
//! let event = Document::parse(br#"{"name": "Ada \"Countess\"", "age": 36}"#, 64)?;
//! let mut out = Vec::new();
//! let root = Root::new().with_json("input", event.root());
//! template.render(&root, &Limits::default(), &mut out)?;
//! assert_eq!(out, br#"{"hello": "Ada \"Countess\"", "age": 36}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ast;
mod binary;
mod builtins;
mod callable;
mod collation;
mod error;
mod eval;
mod format;
mod java_order;
pub mod json;
mod lexer;
pub mod limits;
pub mod lint;
mod markup;
mod matches;
mod model;
mod number;
mod outline;
mod output_format;
mod parser;
mod references;
mod regex;
mod settings;
mod span;
mod template;
mod template_name;
mod templates;
mod value;
mod whitespace;

pub use callable::{Callable, Scope};
pub use error::{Error, ErrorKind, StackFrame};
pub use eval::Renderer;
pub use format::calendar::Civil;
pub use format::date::{DateContext, DateFormat, DateKind};
pub use limits::{Limits, Usage};
pub use markup::Markup;
pub use matches::{Match, Matches};
pub use model::{Hash, List, Map, Range, Sequence};
pub use number::Number;
pub use references::{Guard, Reference};
pub use settings::Settings;
pub use template::{Root, Template};
pub use templates::Templates;
pub use value::{Date, Method, Text, Value};
