//! Prints results: tables for people, JSON and YAML for programs. A reader that goes away ends the run quietly.

use std::io::{self, ErrorKind, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use prost_types::Timestamp;
use serde::Serialize;

use crate::{
    cli::Format,
    exit::{Exit, Failure},
};

/// Prints one line or more to standard output.
pub(crate) fn say(text: impl AsRef<str>) -> Result<(), Failure> {
    let mut bytes = text.as_ref().as_bytes().to_vec();
    bytes.push(b'\n');
    write(&bytes)
}

/// Prints bytes to standard output as they are.
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::told(Exit::Done),
        _ => Failure::failed(format!("standard output: {error}")),
    })
}

/// Prints one line or more to standard error. Where that is closed there is nobody to tell.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints a value as JSON or YAML, or else what `table` gives.
pub(crate) fn print(
    format: Format,
    value: &impl Serialize,
    table: impl FnOnce() -> Result<String, Failure>,
) -> Result<(), Failure> {
    match format {
        Format::Table => say(table()?),
        Format::Json => say(json(value)?),
        Format::Yaml => write(yaml(value)?.as_bytes()),
    }
}

/// A value as a manifest holds it: indented JSON or YAML, with a line break at its end.
pub(crate) fn manifest_text(format: Format, value: &impl Serialize) -> Result<String, Failure> {
    match format {
        Format::Json => json(value).map(|text| text + "\n"),
        Format::Table | Format::Yaml => yaml(value),
    }
}

/// One value of a stream: JSON on one line, YAML as one document.
pub(crate) fn print_one(format: Format, value: &impl Serialize, line: impl FnOnce() -> String) -> Result<(), Failure> {
    match format {
        Format::Table => say(line()),
        Format::Json => say(serde_json::to_string(value).map_err(|error| Failure::failed(error.to_string()))?),
        Format::Yaml => write(format!("---\n{}", yaml(value)?).as_bytes()),
    }
}

/// A table without lines, as wide as its content if it does not go to a terminal.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    let arrangement =
        if io::stdout().is_terminal() { ContentArrangement::Dynamic } else { ContentArrangement::Disabled };
    table.set_content_arrangement(arrangement);
    if !header.is_empty() {
        table.set_header(header.iter().copied());
    }
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// An instant for tables: `2026-11-23 21:31:37.123`, in UTC; `-` if there is none.
pub(crate) fn time(timestamp: Option<&Timestamp>) -> String {
    let Some(timestamp) = timestamp else { return "-".to_owned() };
    let text = timestamp.to_string();
    let seconds = text.get(..19).unwrap_or(&text).replace('T', " ");
    format!("{seconds}.{:03}", timestamp.nanos / 1_000_000)
}

/// The end of an enum's name, in small letters: `ATTEMPT_OUTCOME_RETRY_NOW` is `retry now`.
pub(crate) fn enum_word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase().replace('_', " ")
}

/// A count with its noun: `1 event`, `2 events`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(number))
}

/// A number of bytes for people: `87 B`, `2.1 KiB`, `1.5 GiB`.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut shown = number as f64;
    let mut unit = "B";
    for larger in UNITS {
        if shown < 1_024.0 {
            break;
        }
        shown /= 1_024.0;
        unit = larger;
    }
    if unit == "B" { format!("{number} B") } else { format!("{shown:.1} {unit}") }
}

/// A number with commas: `31,106`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(|error| Failure::failed(error.to_string()))
}

fn yaml(value: &impl Serialize) -> Result<String, Failure> {
    let mut text = serde_saphyr::to_string(value).map_err(|error| Failure::failed(error.to_string()))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_shown_to_the_millisecond() {
        let timestamp = Timestamp { seconds: 1_763_933_497, nanos: 123_456_789 };
        assert_eq!(time(Some(&timestamp)), "2025-11-23 21:31:37.123");
        assert_eq!(time(None), "-");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1_000, 31_106, 1_234_567].map(thousands), ["0", "999", "1,000", "31,106", "1,234,567"]);
        assert_eq!([count(1, "event"), count(2_000, "event")], ["1 event", "2,000 events"]);
    }

    #[test]
    fn bytes_are_shown_in_the_largest_unit_that_fits() {
        let shown = [0, 1_023, 1_024, 2_150, 3 << 20, 5 << 30, 7 << 40, 9 << 50].map(bytes);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "2.1 KiB", "3.0 MiB", "5.0 GiB", "7.0 TiB", "9216.0 TiB"]);
    }

    #[test]
    fn tables_have_no_lines_and_no_space_at_their_ends() {
        let text = table(&["NAME", "REVISION"], [vec!["orders".into(), "7".into()]]);
        assert_eq!(text, "NAME    REVISION\norders  7");
    }
}
