//! Interim.
use sluice_freemarker::{Limits, Root, Settings, json::Node};
use std::sync::LazyLock;
/// Settings.
pub fn settings() -> &'static Settings {
    static S: LazyLock<Settings> = LazyLock::new(Settings::default);
    &S
}
/// Root.
pub fn root<'d>(input: Node<'d>, now_ms: i64) -> Root<'d> {
    Root::new().with_json("input", input).with_now(now_ms)
}
/// Limits.
pub fn limits() -> Limits {
    Limits::default()
}
