//! `sluice dead-letters`: deliveries that ended without a 2xx, kept with their events on the nodes.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use prost_types::Timestamp;
use sluice_client::proto::{
    delivery::v1::{
        CountDeadLettersRequest, CountDeadLettersResponse, DeadLetter, DeadLetterFilter, EndingReason,
        ListDeadLettersRequest, delivery_service_client::DeliveryServiceClient,
    },
    name::SyncName,
};

use crate::{
    commands::{attempts, dead_letters_export, dead_letters_redeliver, dead_letters_show},
    context::{Context, call},
    duration,
    exit::Failure,
    output::{bytes, count, enum_word, note, print, table, time},
    proto_json::Printed,
    unreachable,
};

/// Most dead letters in one answer.
const PAGE: usize = 1_000;

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List dead letters, node by node, in the order in which their events were accepted
    #[command(after_help = "\
Examples:
  sluice dead-letters list
  sluice dead-letters list --sync orders --reason render --since 1d
  sluice dlq list -o json | jq -r '.[].delivery'

They lie on the nodes, which are asked; a node that gives no answer is named, and the exit code is 5 then.")]
    List {
        #[command(flatten)]
        filter: FilterArgs,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Show one dead letter with its event and all its attempts
    #[command(after_help = "\
Examples:
  sluice dead-letters show 75a59e81d2607ff2e66998147d3ffe47
  sluice dlq show projects/default/syncs/orders/deliveries/75a59e81d2607ff2e66998147d3ffe47 -o yaml")]
    Show {
        /// The delivery: its webhook-id, or its whole name
        delivery: String,
    },
    /// Count dead letters
    #[command(after_help = "\
Examples:
  sluice dead-letters count
  sluice dead-letters count --sync orders --event-type purchase")]
    Count {
        #[command(flatten)]
        filter: FilterArgs,
    },
    /// Deliver dead letters again, with a fresh schedule
    #[command(after_help = "\
Examples:
  sluice dead-letters redeliver --sync orders               # says how many, and asks
  sluice dlq redeliver --reason endpoint-down --since 6h --yes
  sluice dlq redeliver --id 75a59e81d2607ff2e66998147d3ffe47 --yes

Each is rendered with its sync's present revision: mend the URL or the template first. Dead letters of deleted syncs stay as
they are, and so do those that end after this was begun. Ctrl-C ends the telling; what the nodes have begun they finish.")]
    Redeliver {
        #[command(flatten)]
        filter: FilterArgs,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Write dead letters with their events to a file, one JSON object a line
    #[command(after_help = dead_letters_export::HELP)]
    Export {
        /// A new file; `-`: standard output
        file: PathBuf,
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        mark: MarkArgs,
    },
}

/// Which dead letters. All that is given must hold.
#[derive(Clone, Debug, Args)]
pub(crate) struct FilterArgs {
    /// Only those of this sync, such as `orders`, also of one that was deleted
    #[arg(long, value_name = "SYNC")]
    sync: Option<String>,
    /// Only those that ended for this reason; may be repeated
    #[arg(long, value_enum)]
    reason: Vec<Reason>,
    /// Only those of events of this type; may be repeated
    #[arg(long, value_name = "TYPE")]
    event_type: Vec<String>,
    /// Only those that ended within this time, such as 6h, or from this instant on, such as 2026-11-23T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only those that ended longer ago than this, or before this instant
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// Only this delivery, by its webhook-id; may be repeated
    #[arg(long, value_name = "ID")]
    id: Vec<String>,
}

/// Whether exported dead letters count as such.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct MarkArgs {
    /// Do not mark what was written as exported
    #[arg(long)]
    pub(crate) no_mark: bool,
    /// Mark it also where it goes to standard output
    #[arg(long, conflicts_with = "no_mark")]
    pub(crate) mark: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Reason {
    RoundsUsedUp,
    Render,
    SyncDeleted,
    Damaged,
    BacklogFull,
    EndpointDown,
}

pub(crate) async fn run(context: &Context, command: DeadLettersCommand) -> Result<(), Failure> {
    match command {
        DeadLettersCommand::List { filter, limit } => list(context, filter.parts(context)?, limit as usize).await,
        DeadLettersCommand::Show { delivery } => dead_letters_show::run(context, &delivery).await,
        DeadLettersCommand::Count { filter } => show_count(context, filter.parts(context)?).await,
        DeadLettersCommand::Redeliver { filter, yes } => {
            dead_letters_redeliver::run(context, filter.parts(context)?, yes).await
        }
        DeadLettersCommand::Export { file, filter, mark } => {
            dead_letters_export::run(context, filter.parts(context)?, &file, mark).await
        }
    }
}

/// Which dead letters, on the wire.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chosen {
    pub(crate) parent: String,
    pub(crate) filter: Option<DeadLetterFilter>,
}

impl FilterArgs {
    fn parts(self, context: &Context) -> Result<Chosen, Failure> {
        let parent = context.syncs_parent(self.sync.as_deref())?;
        let filter = DeadLetterFilter {
            reasons: self.reason.into_iter().map(|reason| reason.on_the_wire().into()).collect(),
            event_types: self.event_type,
            start_time_inclusive: self.since,
            end_time_exclusive: self.until,
            delivery_ids: self.id.iter().map(|id| id_of(id).to_owned()).collect(),
        };
        Ok(Chosen { parent, filter: Some(filter) })
    }
}

impl Reason {
    fn on_the_wire(self) -> EndingReason {
        match self {
            Self::RoundsUsedUp => EndingReason::RoundsUsedUp,
            Self::Render => EndingReason::Render,
            Self::SyncDeleted => EndingReason::SyncDeleted,
            Self::Damaged => EndingReason::Damaged,
            Self::BacklogFull => EndingReason::BacklogFull,
            Self::EndpointDown => EndingReason::EndpointDown,
        }
    }
}

/// An instant, or how long ago it was.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(instant) = text.parse() {
        return Ok(instant);
    }
    let ago: Duration = duration::parse(text).map_err(|_| {
        format!("`{text}` is neither a length of time such as 6h nor an instant such as 2026-11-23T08:00:00Z")
    })?;
    Ok(std::time::SystemTime::now().checked_sub(ago).unwrap_or(std::time::SystemTime::UNIX_EPOCH).into())
}

/// The last segment of a delivery's name, which may stand alone.
fn id_of(delivery: &str) -> &str {
    delivery.rsplit_once('/').map_or(delivery, |(_, id)| id)
}

async fn list(context: &Context, chosen: Chosen, limit: usize) -> Result<(), Failure> {
    let mut client = context.deliveries().await?;
    let mut letters = Vec::<DeadLetter>::new();
    let mut unreachable = Vec::new();
    let mut page_token = String::new();
    while letters.len() < limit {
        let page_size = i32::try_from(PAGE.min(limit - letters.len())).unwrap_or(i32::MAX);
        let Chosen { parent, filter } = chosen.clone();
        let request = ListDeadLettersRequest { parent, filter, page_size, page_token };
        let page = client.list_dead_letters(call(request)).await?.into_inner();
        letters.extend(page.dead_letters);
        unreachable.extend(page.unreachable_nodes);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let printed: Vec<_> =
        letters.iter().map(|letter| Printed::new("sluice.delivery.v1.DeadLetter", letter)).collect::<Result<_, _>>()?;
    print(context.format, &printed, || {
        if letters.is_empty() {
            return Ok("no dead letters".to_owned());
        }
        let header =
            ["ENDED", "SYNC", "EVENT TYPE", "OUTCOME", "REASON", "ATTEMPTS", "SIZE", "NODE", "EXPORTED", "DELIVERY"];
        Ok(table(&header, letters.iter().map(row)))
    })?;
    if !page_token.is_empty() {
        note("there may be more: ask for them with --limit");
    }
    unreachable::check(&unreachable)
}

fn row(letter: &DeadLetter) -> Vec<String> {
    vec![
        time(letter.end_time.as_ref()),
        sync_of(letter),
        attempts::plain(&letter.event_type),
        outcome(letter),
        reason(letter),
        letter.attempt_count.to_string(),
        bytes(u64::try_from(letter.event_bytes).unwrap_or(0)),
        node_of(letter),
        if letter.exported { "yes" } else { "no" }.to_owned(),
        id_of(&letter.delivery).to_owned(),
    ]
}

fn sync_of(letter: &DeadLetter) -> String {
    let sync = letter.delivery.split_once("/deliveries/").map_or("", |(sync, _)| sync);
    sync.parse().map_or_else(|_| sync.to_owned(), |name: SyncName| name.sync)
}

/// The node's id.
pub(crate) fn node_of(letter: &DeadLetter) -> String {
    letter.node.strip_prefix("nodes/").unwrap_or(&letter.node).to_owned()
}

/// `expired` or `discarded`.
pub(crate) fn outcome(letter: &DeadLetter) -> String {
    enum_word(letter.outcome().as_str_name(), "ENDING_OUTCOME_")
}

/// Why, in small letters.
pub(crate) fn reason(letter: &DeadLetter) -> String {
    enum_word(letter.reason().as_str_name(), "ENDING_REASON_")
}

async fn show_count(context: &Context, chosen: Chosen) -> Result<(), Failure> {
    let counted = count_of(&mut context.deliveries().await?, &chosen).await?;
    let printed = Printed::new("sluice.delivery.v1.CountDeadLettersResponse", &counted)?;
    print(context.format, &printed, || Ok(counted_text(&counted)))?;
    unreachable::check(&counted.unreachable_nodes)
}

/// How many there are.
pub(crate) async fn count_of(
    client: &mut DeliveryServiceClient<sluice_client::Connection>,
    chosen: &Chosen,
) -> Result<CountDeadLettersResponse, Failure> {
    let Chosen { parent, filter } = chosen.clone();
    Ok(client.count_dead_letters(call(CountDeadLettersRequest { parent, filter })).await?.into_inner())
}

/// `3 dead letters with 2.1 KiB of events`.
pub(crate) fn counted_text(counted: &CountDeadLettersResponse) -> String {
    let number = |number: i64| u64::try_from(number).unwrap_or(0);
    let letters = count(number(counted.count), "dead letter");
    format!("{letters} with {} of events", bytes(number(counted.event_bytes)))
}

#[cfg(test)]
mod tests {
    use sluice_client::proto::delivery::v1::EndingOutcome;

    use super::*;

    fn letter() -> DeadLetter {
        DeadLetter {
            delivery: "projects/default/syncs/orders/deliveries/00ff".into(),
            node: "nodes/n1".into(),
            event_type: "Buy".into(),
            outcome: EndingOutcome::Expired.into(),
            reason: EndingReason::RoundsUsedUp.into(),
            attempt_count: 10,
            event_bytes: 2_150,
            ..DeadLetter::default()
        }
    }

    #[test]
    fn a_dead_letter_is_one_row() {
        assert_eq!(
            row(&letter()),
            ["-", "orders", "Buy", "expired", "rounds used up", "10", "2.1 KiB", "n1", "no", "00ff"]
        );
    }

    #[test]
    fn moments_are_instants_or_lengths_of_time() {
        assert_eq!(moment("1970-01-01T00:01:00Z").unwrap(), Timestamp { seconds: 60, nanos: 0 });
        assert!(moment("6h").unwrap().seconds > 1_700_000_000);
        assert!(moment("yesterday").unwrap_err().contains("6h"));
    }

    #[test]
    fn a_delivery_is_named_by_its_id_or_its_whole_name() {
        assert_eq!([id_of("00ff"), id_of("projects/default/syncs/orders/deliveries/00ff")], ["00ff", "00ff"]);
    }
}
