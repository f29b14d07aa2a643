//! `sluice dead-letters show`: one with its event and all its attempts.

use sluice_client::proto::delivery::v1::{
    DeadLetter, DeadLetterFilter, GetDeadLetterRequest, GetDeadLetterResponse, ListDeadLettersRequest,
    delivery_service_client::DeliveryServiceClient,
};

use crate::{
    commands::{
        attempts,
        dead_letters::{node_of, outcome, reason},
    },
    context::{Context, call},
    exit::{Exit, Failure},
    output::{count, print, table, time},
    proto_json::Printed,
    unreachable,
};

pub(crate) async fn run(context: &Context, delivery: &str) -> Result<(), Failure> {
    let mut client = context.deliveries().await?;
    let name = match delivery.contains('/') {
        true => delivery.to_owned(),
        false => find(context, &mut client, delivery).await?,
    };
    let shown = client.get_dead_letter(call(GetDeadLetterRequest { name })).await?.into_inner();
    let printed = Printed::new("sluice.delivery.v1.GetDeadLetterResponse", &shown)?;
    print(context.format, &printed, || Ok(text(&shown)))
}

/// The name of the dead letter with this id.
async fn find(
    context: &Context,
    client: &mut DeliveryServiceClient<sluice_client::Connection>,
    id: &str,
) -> Result<String, Failure> {
    let filter = DeadLetterFilter { delivery_ids: vec![id.to_owned()], ..DeadLetterFilter::default() };
    let mut unreachable = Vec::new();
    let mut page_token = String::new();
    loop {
        let (parent, filter) = (context.syncs_parent(None)?, Some(filter.clone()));
        let request = ListDeadLettersRequest { parent, filter, page_size: 1, page_token };
        let page = client.list_dead_letters(call(request)).await?.into_inner();
        if let Some(letter) = page.dead_letters.into_iter().next() {
            return Ok(letter.delivery);
        }
        unreachable.extend(page.unreachable_nodes);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            unreachable::check(&unreachable)?;
            let message = format!("there is no dead letter `{id}`: it may be open, delivered, redelivered, or removed");
            return Err(Failure::new(Exit::Conflict, message));
        }
    }
}

fn text(shown: &GetDeadLetterResponse) -> String {
    let letter = shown.dead_letter.clone().unwrap_or_default();
    let rows = [
        ("delivery", letter.delivery.clone()),
        ("event", letter.event_id.clone()),
        ("event type", attempts::plain(&letter.event_type)),
        ("node", node_of(&letter)),
        ("outcome", format!("{}, {}", outcome(&letter), reason(&letter))),
        ("accepted", time(letter.accept_time.as_ref())),
        ("ended", time(letter.end_time.as_ref())),
        (
            "schedule",
            format!("{}, {}", letter.schedule, count(u64::try_from(letter.attempt_count).unwrap_or(0), "attempt")),
        ),
        ("exported", if letter.exported { "yes" } else { "no" }.to_owned()),
    ];
    let mut text = table(&[], rows.map(|(name, value)| vec![name.to_owned(), value]));
    text.push_str("\n\nAttempts");
    if shown.attempts.is_empty() {
        text.push_str("\n  none are kept");
    }
    for attempt in &shown.attempts {
        text.push_str("\n  ");
        text.push_str(&attempts::line(attempt));
    }
    text.push_str("\n\nEvent\n");
    text.push_str(&event_text(&letter));
    text
}

/// The event for people: JSON set out in lines, with nothing that would move the cursor.
fn event_text(letter: &DeadLetter) -> String {
    if letter.event_json.is_empty() {
        return "damaged on the node's disk".to_owned();
    }
    let pretty = serde_json::from_slice::<serde_json::Value>(&letter.event_json)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_else(|_| String::from_utf8_lossy(&letter.event_json).into_owned());
    pretty.lines().map(attempts::plain).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use sluice_client::proto::delivery::v1::{Attempt, AttemptOutcome, EndingOutcome, EndingReason};

    use super::*;

    fn letter() -> DeadLetter {
        DeadLetter {
            node: "nodes/n1".into(),
            outcome: EndingOutcome::Expired.into(),
            reason: EndingReason::RoundsUsedUp.into(),
            attempt_count: 10,
            event_json: r#"{"event_type":"Buy"}"#.into(),
            ..DeadLetter::default()
        }
    }

    #[test]
    fn one_is_shown_with_attempts_and_event() {
        let attempt = Attempt { round: 1, attempt: 1, outcome: AttemptOutcome::Expired.into(), ..Attempt::default() };
        let shown = text(&GetDeadLetterResponse { dead_letter: Some(letter()), attempts: vec![attempt] });
        for part in ["expired, rounds used up", "Attempts\n  -", "\"event_type\": \"Buy\"", "10 attempts"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        let damaged = DeadLetter { event_json: Default::default(), ..letter() };
        let shown = text(&GetDeadLetterResponse { dead_letter: Some(damaged), attempts: Vec::new() });
        assert!(shown.contains("none are kept") && shown.ends_with("damaged on the node's disk"), "{shown}");
    }
}
