//! `sluice sync preview`: what a sync makes of an event, without sending anything.

use std::{io::Read, path::Path};

use bytes::Bytes;
use sluice_client::proto::sync::v1::{
    ConditionVerdict, MissingPath, PreviewSyncRequest, PreviewSyncResponse, preview_sync_request::Subject,
};

use crate::{
    cli::Format,
    commands::sync::PreviewArgs,
    context::{Context, call},
    exit::{Exit, Failure},
    manifest::{self, is_stdin},
    output::{count, note, print, say, write},
    proto_json::Printed,
    violation::Shown,
};

/// Largest event that is read; the server says what it takes.
const MAX_EVENT_BYTES: u64 = 3 << 20;

pub(crate) async fn run(context: &Context, args: PreviewArgs) -> Result<(), Failure> {
    is_twice_stdin(args.file.as_deref(), &args.event)?;
    let subject = match (&args.name, &args.file) {
        (Some(name), _) => Subject::Name(context.sync_name(name)?.to_string()),
        (None, Some(file)) => Subject::Sync(draft(context, file)?),
        (None, None) => return Err(Failure::usage("a sync or a file with a draft is needed")),
    };
    let request = PreviewSyncRequest { subject: Some(subject), event_json: event(&args.event)? };
    let response = context.syncs().await?.preview_sync(call(request)).await?.into_inner();
    if context.format != Format::Table {
        let printed = Printed::new("sluice.sync.v1.PreviewSyncResponse", &response)?;
        print(context.format, &printed, || Ok(String::new()))?;
        return if response.violations.is_empty() { Ok(()) } else { Err(Failure::told(Exit::Invalid)) };
    }
    if args.raw {
        if response.violations.is_empty() {
            write(&response.body)?;
        }
    } else {
        show(&response)?;
    }
    if response.violations.is_empty() {
        return Ok(());
    }
    let details: Vec<String> =
        response.violations.iter().map(|violation| Shown(violation.clone()).to_string()).collect();
    Err(Failure::invalid(format!("the preview found {}", count(details.len() as u64, "problem")), details))
}

/// Standard input cannot be both the draft and the event.
pub(crate) fn is_twice_stdin(draft: Option<&Path>, event: &Path) -> Result<(), Failure> {
    if draft.is_some_and(is_stdin) && is_stdin(event) {
        return Err(Failure::usage("draft and event cannot both come from standard input"));
    }
    Ok(())
}

/// The one sync of a manifest.
pub(crate) fn draft(context: &Context, file: &Path) -> Result<sluice_client::proto::sync::v1::Sync, Failure> {
    let mut documents = manifest::read(context, file)?;
    match (documents.pop(), documents.len()) {
        (Some(document), 0) => document.sync.map_err(|failure| failure.context(&document.label)),
        (_, others) => {
            Err(Failure::invalid(format!("a preview takes one sync, the file holds {}", others + 1), Vec::new()))
        }
    }
}

/// An event from a file or standard input.
pub(crate) fn event(path: &Path) -> Result<Bytes, Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("{} cannot be read: {error}", path.display()));
    let mut event = Vec::new();
    if is_stdin(path) {
        std::io::stdin().lock().take(MAX_EVENT_BYTES).read_to_end(&mut event).map_err(failed)?;
    } else {
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(MAX_EVENT_BYTES).read_to_end(&mut event).map_err(failed)?;
    }
    Ok(Bytes::copy_from_slice(event.trim_ascii()))
}

fn show(response: &PreviewSyncResponse) -> Result<(), Failure> {
    if response.headers.is_empty() && !response.violations.is_empty() {
        // The draft itself is wrong: its filter was not asked.
        return Ok(());
    }
    let verdict = if response.matched { "takes the event" } else { "does not take the event" };
    let reason = if response.verdict.is_empty() { String::new() } else { format!(": {}", response.verdict) };
    say(format!("The filter {verdict}{reason}."))?;
    for ConditionVerdict { field, holds, reason } in &response.conditions {
        let field = field.strip_prefix("events.filter.").unwrap_or(field);
        say(format!("  {} {field}: {reason}", if *holds { "✓" } else { "✗" }))?;
    }
    if !response.missing_paths.is_empty() {
        say("\nThe event lacks what the template reads")?;
        for MissingPath { path, guarded, position } in &response.missing_paths {
            let place =
                position.as_ref().map(|at| format!("line {}, column {}", at.line, at.column)).unwrap_or_default();
            let then =
                if *guarded { "the template says what to do then" } else { "rendering fails where it is reached" };
            say(format!("  {path} ({place}): {then}"))?;
        }
    }
    for warning in &response.warnings {
        note(&format!("warning: {}", Shown::warning(warning)));
    }
    if !response.headers.is_empty() {
        say("\nHeaders")?;
        for header in &response.headers {
            say(format!("  {}: {}", header.name, header.value))?;
        }
    }
    if response.violations.is_empty() {
        say(format!("\nBody, {}", count(response.body.len() as u64, "byte")))?;
        match std::str::from_utf8(&response.body).ok().and_then(indent_json) {
            Some(text) => say(text)?,
            None => {
                write(&response.body)?;
                say("")?;
            }
        }
    }
    Ok(())
}

/// JSON with line breaks and indents, all else as it was: order, numbers, escapes. `None` if it is not JSON.
fn indent_json(text: &str) -> Option<String> {
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
    let mut indented = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    let mut after_open = false;
    let new_line = |indented: &mut String, depth: usize| {
        indented.push('\n');
        indented.extend(std::iter::repeat_n("  ", depth));
    };
    for character in text.chars() {
        if in_string {
            indented.push(character);
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
            continue;
        }
        if character.is_ascii_whitespace() {
            continue;
        }
        let closes = matches!(character, '}' | ']');
        if after_open && !closes {
            new_line(&mut indented, depth);
        }
        match character {
            '{' | '[' => {
                indented.push(character);
                depth += 1;
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                if !after_open {
                    new_line(&mut indented, depth);
                }
                indented.push(character);
            }
            ',' => {
                indented.push(character);
                new_line(&mut indented, depth);
            }
            ':' => indented.push_str(": "),
            _ => {
                in_string = character == '"';
                indented.push(character);
            }
        }
        after_open = matches!(character, '{' | '[');
    }
    Some(indented)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_and_otherwise_left_as_it_is() {
        let text = r#" {"b":1.10,"a":[ ],"c":{"x":[1,"a\",{}:\\"],"n":null}, "e":{}} "#;
        assert_eq!(
            indent_json(text).unwrap(),
            "{\n  \"b\": 1.10,\n  \"a\": [],\n  \"c\": {\n    \"x\": [\n      1,\n      \"a\\\",{}:\\\\\"\n    ],\n    \
             \"n\": null\n  },\n  \"e\": {}\n}"
        );
        assert_eq!(indent_json("12").unwrap(), "12");
        assert_eq!(indent_json("{a}"), None);
    }
}
