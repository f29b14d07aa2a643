//! Logs on standard error: for people on a terminal, as JSON where asked.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Sends what `tracing` collects to standard error. `RUST_LOG`, if set and valid, replaces `default_filter` (such as
/// `info`). A second call changes nothing.
pub fn init(default_filter: &str, json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_filter));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // An error means that somebody has set a subscriber already: theirs stays.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
}
