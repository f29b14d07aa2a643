//! `sluice attempts`: the single requests, stored or as they happen.

use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand, ValueEnum};
use sluice_client::proto::{
    delivery::v1::{Attempt, AttemptError, AttemptFilter, AttemptOutcome, ListAttemptsRequest, WatchAttemptsRequest},
    name::SyncName,
};
use tonic::Request;

use crate::{
    context::{Context, call},
    duration,
    exit::{Exit, Failure},
    output::{enum_word, note, print, print_one, table, time},
    proto_json::Printed,
};

const ATTEMPT: &str = "sluice.delivery.v1.Attempt";
/// Most attempts in one answer.
const PAGE: usize = 1_000;

/// What to do with attempts.
#[derive(Debug, Subcommand)]
pub(crate) enum AttemptsCommand {
    /// List attempts, the newest first
    #[command(after_help = "\
Examples:
  sluice attempts list orders
  sluice attempts list orders --outcome retry-next-round --since 10m
  sluice attempts list --event 3f0a…          # every sync's attempts for one event
  sluice attempts list orders --wide          # where the time went
  sluice attempts list orders -o json | jq '.[].http_status'

ROUND 1.2 is the second attempt of the first round. A round has up to three attempts; rounds 2 to 10 are due within four
hours. The delivery is named by its webhook-id, which the receiver gets as a header.")]
    List {
        /// The sync, such as `orders`; every sync if it is left out
        name: Option<String>,
        #[command(flatten)]
        filter: FilterArgs,
        /// Only attempts that began within this time
        #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
        since: Option<Duration>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        /// Show also where the time went and what was spoken
        #[arg(long)]
        wide: bool,
    },
    /// Show attempts as they happen, until Ctrl-C
    #[command(after_help = "\
Examples:
  sluice attempts tail
  sluice attempts tail orders --outcome expired --outcome discarded
  sluice attempts tail -o json | jq -c '[.delivery, .http_status]'")]
    Tail {
        /// The sync, such as `orders`; every sync if it is left out
        name: Option<String>,
        #[command(flatten)]
        filter: FilterArgs,
    },
}

/// Which attempts.
#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// Only attempts that came to this; may be repeated
    #[arg(long, value_enum)]
    outcome: Vec<Outcome>,
    /// Only attempts for this event, by its id
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// Only attempts of this delivery, by its webhook-id
    #[arg(long, value_name = "ID")]
    delivery: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Outcome {
    Delivered,
    RetryNow,
    RetryNextRound,
    Expired,
    Discarded,
}

pub(crate) async fn run(context: &Context, command: AttemptsCommand) -> Result<(), Failure> {
    match command {
        AttemptsCommand::List { name, filter, since, limit, wide } => {
            let parent = context.syncs_parent(name.as_deref())?;
            list(context, parent, filter.filter(since), limit as usize, wide).await
        }
        AttemptsCommand::Tail { name, filter } => {
            let parent = context.syncs_parent(name.as_deref())?;
            tail(context, parent, filter.filter(None)).await
        }
    }
}

async fn list(
    context: &Context,
    parent: String,
    filter: AttemptFilter,
    limit: usize,
    wide: bool,
) -> Result<(), Failure> {
    let mut client = context.deliveries().await?;
    let mut attempts = Vec::<Attempt>::new();
    let mut page_token = String::new();
    while attempts.len() < limit {
        let page_size = i32::try_from(PAGE.min(limit - attempts.len())).unwrap_or(i32::MAX);
        let request =
            ListAttemptsRequest { parent: parent.clone(), filter: Some(filter.clone()), page_size, page_token };
        let page = client.list_attempts(call(request)).await?.into_inner();
        attempts.extend(page.attempts);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    attempts.truncate(limit);
    let printed: Vec<_> = attempts.iter().map(|attempt| Printed::new(ATTEMPT, attempt)).collect::<Result<_, _>>()?;
    print(context.format, &printed, || {
        if attempts.is_empty() {
            return Ok("no attempts".to_owned());
        }
        let mut header = vec![
            "STARTED",
            "SYNC",
            "EVENT TYPE",
            "ROUND",
            "OUTCOME",
            "STATUS",
            "TOOK",
            "NEXT ROUND",
            "DELIVERY",
            "ERROR",
        ];
        if !wide {
            return Ok(table(&header, attempts.iter().map(|attempt| cells(attempt).into())));
        }
        header.extend([
            "SCHEDULE",
            "QUEUE",
            "RENDER",
            "DNS",
            "CONNECT",
            "TLS",
            "FIRST BYTE",
            "HTTP",
            "CONNECTION",
            "NODE",
        ]);
        Ok(table(&header, attempts.iter().map(|attempt| [cells(attempt), wide_cells(attempt)].concat())))
    })
}

async fn tail(context: &Context, parent: String, filter: AttemptFilter) -> Result<(), Failure> {
    let mut client = context.deliveries().await?;
    let request = WatchAttemptsRequest { parent, filter: Some(filter) };
    // No time limit: it goes on until it is stopped.
    let mut stream = client.watch_attempts(Request::new(request)).await?.into_inner();
    while let Some(response) = stream.message().await? {
        if response.missed_count > 0 {
            note(&format!("{} attempts were left out: too many to follow", response.missed_count));
        }
        for attempt in &response.attempts {
            print_one(context.format, &Printed::new(ATTEMPT, attempt)?, || line(attempt))?;
        }
    }
    Err(Failure::new(Exit::Unavailable, "the control plane ended the stream"))
}

impl FilterArgs {
    fn filter(self, since: Option<Duration>) -> AttemptFilter {
        let start = since.map(|since| SystemTime::now().checked_sub(since).unwrap_or(SystemTime::UNIX_EPOCH).into());
        AttemptFilter {
            outcomes: self.outcome.into_iter().map(|outcome| outcome.on_the_wire().into()).collect(),
            start_time_inclusive: start,
            end_time_exclusive: None,
            event_id: self.event.unwrap_or_default(),
            delivery_id: self.delivery.unwrap_or_default(),
        }
    }
}

impl Outcome {
    fn on_the_wire(self) -> AttemptOutcome {
        match self {
            Self::Delivered => AttemptOutcome::Delivered,
            Self::RetryNow => AttemptOutcome::RetryNow,
            Self::RetryNextRound => AttemptOutcome::RetryNextRound,
            Self::Expired => AttemptOutcome::Expired,
            Self::Discarded => AttemptOutcome::Discarded,
        }
    }
}

/// One attempt on one line, for people.
pub(crate) fn line(attempt: &Attempt) -> String {
    let [started, sync, event_type, round, outcome, status, took, _, delivery, error] = cells(attempt);
    let error = if error.is_empty() { error } else { format!("  {error}") };
    format!("{started}  {outcome:<16}  {status:>3}  {took:>7}  {round:>4}  {sync}  {event_type}  {delivery}{error}")
}

fn cells(attempt: &Attempt) -> [String; 10] {
    let (sync, delivery) = match attempt.delivery.split_once("/deliveries/") {
        Some((sync, delivery)) => {
            (sync.parse().map_or_else(|_| sync.to_owned(), |name: SyncName| name.sync), delivery.to_owned())
        }
        None => (String::new(), attempt.delivery.clone()),
    };
    let error = match (attempt.error(), attempt.error_message.as_str()) {
        (AttemptError::Unspecified, message) => message.to_owned(),
        (error, "") => enum_word(error.as_str_name(), "ATTEMPT_ERROR_"),
        (_, message) => message.to_owned(),
    };
    let took = attempt.duration.and_then(duration::received);
    [
        time(attempt.start_time.as_ref()),
        sync,
        plain(&attempt.event_type),
        format!("{}.{}", attempt.round, attempt.attempt),
        enum_word(attempt.outcome().as_str_name(), "ATTEMPT_OUTCOME_"),
        if attempt.http_status == 0 { "-".to_owned() } else { attempt.http_status.to_string() },
        took.map_or_else(|| "-".to_owned(), duration::show),
        time(attempt.next_round_time.as_ref()),
        delivery,
        plain(&error),
    ]
}

/// What the wide table shows beside [`cells`]. A phase that was not needed or not reached is `-`.
fn wide_cells(attempt: &Attempt) -> [String; 10] {
    let timings = attempt.timings.unwrap_or_default();
    let phase = |took: Option<prost_types::Duration>| {
        took.and_then(duration::received).map_or_else(|| "-".to_owned(), duration::show)
    };
    let connection = match (attempt.http_version.is_empty(), attempt.connection_reused) {
        (_, true) => "reused",
        (false, false) => "new",
        (true, false) => "-",
    };
    [
        attempt.schedule.to_string(),
        phase(timings.queue),
        phase(timings.render),
        phase(timings.dns),
        phase(timings.connect),
        phase(timings.tls),
        phase(timings.first_byte),
        if attempt.http_version.is_empty() { "-".to_owned() } else { plain(&attempt.http_version) },
        connection.to_owned(),
        attempt.node.strip_prefix("nodes/").unwrap_or(&attempt.node).to_owned(),
    ]
}

/// Without what would move the cursor or turn the line round: event types and answers of servers are not ours.
pub(crate) fn plain(text: &str) -> String {
    let turns = |character| matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|character| if character.is_control() || turns(character) { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    fn attempt() -> Attempt {
        Attempt {
            delivery: "projects/default/syncs/orders/deliveries/00ff".into(),
            event_type: "Buy\u{1b}[31m".into(),
            round: 1,
            attempt: 2,
            outcome: AttemptOutcome::RetryNow.into(),
            http_status: 503,
            error: AttemptError::Status.into(),
            start_time: Some(Timestamp { seconds: 0, nanos: 0 }),
            duration: Some(prost_types::Duration { seconds: 0, nanos: 12_000_000 }),
            ..Attempt::default()
        }
    }

    #[test]
    fn an_attempt_is_shown_on_one_line() {
        assert_eq!(
            line(&attempt()),
            "1970-01-01 00:00:00.000  retry now         503    12 ms   1.2  orders  Buy [31m  00ff  status"
        );
    }

    #[test]
    fn the_wide_table_shows_where_the_time_went() {
        use sluice_client::proto::delivery::v1::AttemptTimings;

        let ms = |ms: i32| Some(prost_types::Duration { seconds: 0, nanos: ms * 1_000_000 });
        let timings = AttemptTimings { queue: ms(1), dns: ms(20), first_byte: ms(300), ..AttemptTimings::default() };
        let attempt = Attempt {
            timings: Some(timings),
            schedule: 2,
            http_version: "1.1".into(),
            node: "nodes/n1".into(),
            ..attempt()
        };
        assert_eq!(wide_cells(&attempt), ["2", "1.0 ms", "-", "20 ms", "-", "-", "300 ms", "1.1", "new", "n1"]);
        let none = wide_cells(&Attempt::default());
        assert_eq!((none[7].as_str(), none[8].as_str()), ("-", "-"), "no response");
    }

    #[test]
    fn filters_are_carried_over() {
        let args = FilterArgs { outcome: vec![Outcome::Expired], event: Some("e".into()), delivery: None };
        let filter = args.filter(Some(Duration::from_secs(600)));
        assert_eq!(filter.outcomes, [i32::from(AttemptOutcome::Expired)]);
        assert!(filter.start_time_inclusive.is_some());
        assert_eq!((filter.event_id.as_str(), filter.delivery_id.as_str()), ("e", ""));
    }
}
