//! `sluice sync test`: has a node send one event to a sync's destination, now and once.

use std::time::Duration;

use sluice_client::proto::{
    delivery::v1::{Attempt, AttemptError},
    sync::v1::{TestSyncRequest, TestSyncResponse, test_sync_request::Subject},
};

use crate::{
    cli::Format,
    commands::{
        sync::TestArgs,
        sync_preview::{draft, event, is_twice_stdin},
    },
    context::Context,
    exit::{Exit, Failure},
    output::{count, enum_word, print, say},
    proto_json::Printed,
    violation::Shown,
};

/// A destination may take a minute.
const PATIENCE: Duration = Duration::from_secs(80);

pub(crate) async fn run(context: &Context, args: TestArgs) -> Result<(), Failure> {
    is_twice_stdin(args.file.as_deref(), &args.event)?;
    let subject = match (&args.name, &args.file) {
        (Some(name), _) => Subject::Name(context.sync_name(name)?.to_string()),
        (None, Some(file)) => Subject::Sync(draft(context, file)?),
        (None, None) => return Err(Failure::usage("a sync or a file with a draft is needed")),
    };
    let node = match args.via {
        Some(node) if node.starts_with("nodes/") => node,
        Some(node) => format!("nodes/{node}"),
        None => String::new(),
    };
    let mut request =
        tonic::Request::new(TestSyncRequest { subject: Some(subject), event_json: event(&args.event)?, node });
    request.set_timeout(PATIENCE);
    let response = context.syncs().await?.test_sync(request).await?.into_inner();
    if context.format != Format::Table {
        print(context.format, &Printed::new("sluice.sync.v1.TestSyncResponse", &response)?, || Ok(String::new()))?;
    } else if let Some(attempt) = &response.attempt {
        show(&response, attempt)?;
    }
    if !response.violations.is_empty() {
        let details: Vec<String> =
            response.violations.iter().map(|violation| Shown(violation.clone()).to_string()).collect();
        return Err(Failure::invalid(format!("nothing was sent: {}", count(details.len() as u64, "problem")), details));
    }
    match response.attempt.is_some_and(|attempt| (200..300).contains(&attempt.http_status) && no_error(&attempt)) {
        true => Ok(()),
        false => Err(Failure::told(Exit::Failed)),
    }
}

fn no_error(attempt: &Attempt) -> bool {
    attempt.error() == AttemptError::Unspecified
}

fn show(response: &TestSyncResponse, attempt: &Attempt) -> Result<(), Failure> {
    let filter = if response.matched { "takes the event" } else { "does not take the event (sent all the same)" };
    say(format!("filter: {filter}: {}", response.verdict))?;
    let took = attempt.duration.as_ref().map(|duration| {
        let ms = duration.seconds.saturating_mul(1_000).saturating_add(i64::from(duration.nanos / 1_000_000));
        format!(" in {ms} ms")
    });
    let took = took.unwrap_or_default();
    match attempt.http_status {
        0 => say(format!("no answer{took}"))?,
        status => say(format!("answered {status}{took} (HTTP/{}), sent by {}", attempt.http_version, attempt.node))?,
    }
    if !no_error(attempt) {
        say(format!("{}: {}", enum_word(attempt.error().as_str_name(), "ATTEMPT_ERROR_"), attempt.error_message))?;
    }
    if !attempt.response_excerpt.is_empty() {
        say("response:")?;
        for line in String::from_utf8_lossy(&attempt.response_excerpt).lines() {
            say(format!("  {}", line.escape_debug()))?;
        }
    }
    Ok(())
}
