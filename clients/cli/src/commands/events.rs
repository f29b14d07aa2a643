//! `sluice events send`: streams events from a file to a node.

use std::{
    path::{Path, PathBuf},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use clap::{Args, Subcommand};
use sluice_client::{Error, MAX_EVENT_BYTES, Publisher, Summary, proto::event::v1::RejectionReason};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    cli::Format,
    context::Context,
    duration,
    exit::{Exit, Failure},
    lines::{self, Input, Line},
    manifest::is_stdin,
    output::{count, print, say, thousands},
    sending::{DRAW_INTERVAL, Display, Tally, Total},
};

/// Lines that are read ahead.
const READ_AHEAD: usize = 64;

/// What to do with events.
#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// Send events from a file of one JSON object a line
    #[command(after_help = "\
Examples:
  sluice events send events.ndjson
  sluice events send export.ndjson.gz         # packed files are unpacked on the way
  generate | sluice events send -
  sluice events send big.ndjson --producer-id import-1    # can be repeated after an interruption

An event is a JSON object in Amplitude's export shape; `event_type` is required, 1 MiB is the limit. It is acked once the
node has it on disk. A broken stream is brought back and nothing is sent twice: the node knows each event by producer id
and its place in the file. So with your own --producer-id the same file can be sent again after an interruption; never
use one id for two files. Exit code 3 if any event was rejected.")]
    Send(SendArgs),
}

/// What to send and how.
#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// File of events, NDJSON, plain or gzip; `-` is standard input
    file: PathBuf,
    /// Who sends: keeps events that are sent again from being stored twice [default: random]
    #[arg(long, value_name = "ID")]
    producer_id: Option<String>,
    /// For how long a lost stream is tried to be brought back
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration::parse)]
    max_outage: Duration,
}

/// What became of a file, for programs.
#[derive(Debug, serde::Serialize)]
struct Report {
    producer_id: String,
    sent: u64,
    acked: u64,
    accepted: u64,
    rejected: u64,
    known_before: u64,
    reconnects: u64,
    seconds: f64,
    rejections: std::collections::BTreeMap<&'static str, crate::sending::Reason>,
}

pub(crate) async fn run(context: &Context, command: EventsCommand) -> Result<(), Failure> {
    match command {
        EventsCommand::Send(args) => send(context, args).await,
    }
}

async fn send(context: &Context, args: SendArgs) -> Result<(), Failure> {
    let unreadable =
        |error: std::io::Error| Failure::failed(format!("{} cannot be read: {error}", args.file.display()));
    let Input { lines, total_bytes, read_bytes } = lines::open(&args.file, MAX_EVENT_BYTES).map_err(unreadable)?;
    let tally = Tally::default();
    let told = tally.clone();
    let mut builder = Publisher::builder(&context.node)
        .credentials(context.credentials.clone())
        .max_outage(args.max_outage)
        .on_rejection(move |rejected| told.refused(rejected.sequence, rejected.reason, &rejected.message));
    if let Some(producer_id) = &args.producer_id {
        builder = builder.producer_id(producer_id);
    }
    let publisher = builder.connect().await.map_err(|error| {
        let nobody = matches!(error, Error::Unreachable { .. });
        let failure = Failure::from(error);
        match nobody {
            true => failure.hint("start one with `sluice dev`, or name yours with --node or SLUICE_NODE"),
            false => {
                failure.hint("the node runs but takes no events now: it starts, stops, or drains (`sluice nodes list`)")
            }
        }
    })?;
    let producer_id = publisher.producer_id().to_owned();
    let progress = publisher.progress();

    let started = Instant::now();
    let sent = Arc::new(AtomicU64::new(0));
    let mut display = Display::new(total_bytes.map_or(Total::Unknown, Total::Bytes));
    let mut work = pin!(stream(publisher, lines, tally.clone(), sent.clone()));
    let mut draw = interval(DRAW_INTERVAL);
    draw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut interrupted = pin!(tokio::signal::ctrl_c());
    let ended = loop {
        tokio::select! {
            ended = &mut work => break Some(ended),
            _ = &mut interrupted => break None,
            _ = draw.tick() => {
                let state = progress.borrow().clone();
                display.update(read_bytes.load(Ordering::Relaxed), sent.load(Ordering::Relaxed), &state);
            }
        }
    };
    display.clear();

    let state = progress.borrow().clone();
    let sent = sent.load(Ordering::Relaxed);
    let rejected = tally.count();
    let accepted = state.acked.saturating_sub(state.rejected);
    let seconds = started.elapsed().as_secs_f64();
    let report = Report {
        producer_id: producer_id.clone(),
        sent,
        acked: state.acked,
        accepted,
        rejected,
        known_before: state.known_before.min(state.acked),
        reconnects: state.reconnects,
        seconds,
        rejections: tally.reasons(),
    };
    print(context.format, &report, || Ok(show(&report)))?;
    if context.format == Format::Table {
        for line in tally.lines() {
            say(line)?;
        }
    }
    match ended {
        Some(Ok(_)) if rejected == 0 => Ok(()),
        Some(Ok(_)) => Err(Failure::invalid(format!("{} rejected", count_were(rejected)), Vec::new())),
        Some(Err(failure)) => Err(unfinished(failure, &args.file, &producer_id)),
        None => Err(unfinished(Failure::failed("interrupted"), &args.file, &producer_id)),
    }
}

/// Sends every line and waits for the last ack.
async fn stream(
    publisher: Publisher,
    lines: impl Iterator<Item = std::io::Result<Line>> + Send + 'static,
    tally: Tally,
    sent: Arc<AtomicU64>,
) -> Result<Summary, Failure> {
    let (reader, mut read) = mpsc::channel(READ_AHEAD);
    // A plain thread: it may wait for standard input for ever, and nothing must wait for it then.
    std::thread::spawn(move || {
        for line in lines {
            let failed = line.is_err();
            if reader.blocking_send(line).is_err() || failed {
                return;
            }
        }
    });
    let mut next_sequence = 1;
    let mut broken = None;
    while let Some(line) = read.recv().await {
        match line {
            Ok(Line::Event { line, json }) => {
                tally.place(next_sequence, line);
                match publisher.send(json).await {
                    Ok(_) => {
                        next_sequence += 1;
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(Error::EventTooLarge { size, .. }) => too_large(&tally, line, size as u64),
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(Line::TooLong { line, bytes }) => too_large(&tally, line, bytes),
            Err(error) => broken = Some(error),
        }
    }
    let summary = publisher.finish().await?;
    match broken {
        None => Ok(summary),
        Some(error) => Err(Failure::failed(format!("the file cannot be read to its end: {error}"))),
    }
}

fn too_large(tally: &Tally, line: u64, bytes: u64) {
    let message = format!("the event has {} bytes; 1 MiB is the limit", thousands(bytes));
    tally.not_sent(line, RejectionReason::TooLarge, &message);
}

fn show(report: &Report) -> String {
    let took = duration::show(Duration::try_from_secs_f64(report.seconds).unwrap_or_default());
    let rate = if report.seconds > 0.0 { report.acked as f64 / report.seconds } else { 0.0 };
    let mut text = format!(
        "{} sent in {took} ({} events/s): {} accepted, {} rejected",
        count(report.sent, "event"),
        thousands(rate as u64),
        thousands(report.accepted),
        thousands(report.rejected)
    );
    let open = report.sent.saturating_sub(report.acked);
    if open > 0 {
        text.push_str(&format!(", {} not acked", thousands(open)));
    }
    if report.known_before > 0 {
        text.push_str(&format!(
            "\n{} had been taken before under producer id `{}` and are not delivered again",
            count(report.known_before, "event"),
            report.producer_id
        ));
    }
    if report.reconnects > 0 {
        text.push_str(&format!("\nthe stream was lost and brought back {}", count(report.reconnects, "time")));
    }
    text
}

/// Says how to go on after a failure.
fn unfinished(mut failure: Failure, file: &Path, producer_id: &str) -> Failure {
    if failure.exit != Exit::Conflict && !is_stdin(file) {
        let again = format!("sluice events send {} --producer-id {producer_id}", file.display());
        failure.details.push(format!("to go on without sending anything twice: {again}"));
    }
    failure
}

fn count_were(number: u64) -> String {
    if number == 1 { "1 event was".to_owned() } else { format!("{} events were", thousands(number)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_what_happened() {
        let report = Report {
            producer_id: "import-1".into(),
            sent: 31_106,
            acked: 31_100,
            accepted: 31_090,
            rejected: 12,
            known_before: 1,
            reconnects: 2,
            seconds: 2.0,
            rejections: Default::default(),
        };
        assert_eq!(
            show(&report),
            "31,106 events sent in 2.00 s (15,550 events/s): 31,090 accepted, 12 rejected, 6 not acked\n\
             1 event had been taken before under producer id `import-1` and are not delivered again\n\
             the stream was lost and brought back 2 times"
        );
    }

    #[test]
    fn an_interrupted_file_can_be_sent_again() {
        let failure = unfinished(Failure::failed("interrupted"), Path::new("a.ndjson"), "p-1");
        assert!(failure.text().contains("sluice events send a.ndjson --producer-id p-1"));
        let stdin = unfinished(Failure::failed("interrupted"), Path::new("-"), "p-1");
        assert!(!stdin.text().contains("--producer-id"));
    }
}
