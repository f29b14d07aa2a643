//! `sluice dead-letters redeliver`: the count first, then a question, then the progress.

use std::io::{self, BufRead, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sluice_client::proto::delivery::v1::{RedeliverDeadLettersRequest, RedeliverDeadLettersResponse};
use tonic::Request;

use crate::{
    commands::dead_letters::{Chosen, count_of, counted_text},
    context::Context,
    exit::{Exit, Failure},
    output::{count, note, print},
    proto_json::Printed,
    unreachable,
};

pub(crate) async fn run(context: &Context, chosen: Chosen, yes: bool) -> Result<(), Failure> {
    if !yes && !io::stdin().is_terminal() {
        return Err(Failure::usage("nobody can be asked here: give --yes to redeliver without a question"));
    }
    let mut client = context.deliveries().await?;
    let counted = count_of(&mut client, &chosen).await?;
    if counted.count == 0 && counted.unreachable_nodes.is_empty() {
        note("no dead letters: nothing to redeliver");
        return finish(context, &RedeliverDeadLettersResponse { complete: true, ..Default::default() });
    }
    note(&counted_text(&counted));
    if !yes {
        for node in &counted.unreachable_nodes {
            note(&format!("{} gave no answer: {}", node.node, node.reason));
        }
        if !agreed()? {
            return Err(Failure::new(Exit::Failed, "nothing was redelivered"));
        }
    }

    let Chosen { parent, filter } = chosen;
    // No time limit: it goes on for as long as there is progress.
    let request = Request::new(RedeliverDeadLettersRequest { parent, filter });
    let mut stream = client.redeliver_dead_letters(request).await?.into_inner();
    let bar = io::stderr().is_terminal().then(|| {
        let style = ProgressStyle::with_template("{bar:30} {pos} of {len} reopened");
        ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    });
    let mut last = RedeliverDeadLettersResponse::default();
    while let Some(progress) = stream.message().await? {
        if let Some(bar) = &bar {
            bar.set_length(u64::try_from(progress.found_count).unwrap_or(0));
            bar.set_position(u64::try_from(progress.redelivered_count).unwrap_or(0));
        }
        last = progress;
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    if !last.complete {
        return Err(Failure::new(Exit::Unavailable, "the control plane ended the stream before all was done"));
    }
    finish(context, &last)
}

fn finish(context: &Context, last: &RedeliverDeadLettersResponse) -> Result<(), Failure> {
    let printed = Printed::new("sluice.delivery.v1.RedeliverDeadLettersResponse", last)?;
    print(context.format, &printed, || {
        let reopened = u64::try_from(last.redelivered_count).unwrap_or(0);
        let left = u64::try_from(last.found_count).unwrap_or(0).saturating_sub(reopened);
        let left = if left == 0 { String::new() } else { format!(", {} left", count(left, "dead letter")) };
        Ok(format!("{} reopened{left}", count(reopened, "dead letter")))
    })?;
    unreachable::check(&last.unreachable_nodes)
}

/// Asks on the terminal. Nothing but a yes is one.
fn agreed() -> Result<bool, Failure> {
    let failed = |error: io::Error| Failure::failed(format!("the terminal: {error}"));
    let mut stderr = io::stderr().lock();
    stderr.write_all(b"Deliver them again? [y/N] ").and_then(|()| stderr.flush()).map_err(failed)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
