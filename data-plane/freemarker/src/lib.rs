//! sluice-freemarker
pub mod json;
