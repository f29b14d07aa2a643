//! Looks at the alert rules every half minute, and tells people what they find: in the log, and through a sync.

use std::{collections::HashMap, time::Duration};

use sluice_proto::{
    alert::v1::{AlertRule, alert_rule::Condition},
    delivery::v1::AttemptOutcome,
    name::{AlertRuleName, SyncName},
    sync::v1::{Sync, SyncHealth},
};

use crate::{
    api::{Context, minutes_from, send_test},
    error::{Error, shorten},
    store::{Finding, Notice, Turn},
    time::{millis, timestamp},
};

const EVERY: Duration = Duration::from_secs(30);
/// After how long what is right again counts as that, unless the rule says otherwise.
const CLEAR_AFTER_MS: i64 = 5 * 60_000;
/// Notices that are sent in one look.
const NOTICES: i64 = 50;
/// Notices are tried so often, with waits that double from a minute to an hour: over half a day.
const MAX_TRIES: u32 = 18;
const FIRST_WAIT_MS: i64 = 60_000;
const LONGEST_WAIT_MS: i64 = 3_600_000;

/// Runs until the control plane stops.
pub(crate) async fn run(context: Context) {
    let stopping = context.stopping.clone();
    stopping.run_until_cancelled_owned(look_for_ever(context)).await;
}

async fn look_for_ever(context: Context) {
    loop {
        context.clock.sleep(EVERY, "alerts").await;
        for done in [look(&context).await, notify(&context).await] {
            if let Err(error) = done {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "the alert rules could not be looked at: trying again");
            }
        }
    }
}

/// What a rule says of a subject now: what is wrong, or nothing.
type Verdict = (String, Option<String>);

async fn look(context: &Context) -> Result<(), Error> {
    let rules = context.store.alert_rules(None, "", i64::MAX).await?;
    let mut found: HashMap<(String, String), Finding> = HashMap::new();
    for finding in context.store.findings().await? {
        found.insert((finding.rule.clone(), finding.subject.clone()), finding);
    }
    for rule in &rules {
        let now_ms = context.clock.now_ms();
        for (subject, wrong) in verdicts(context, rule, now_ms).await? {
            let before = found.remove(&(rule.name.clone(), subject.clone()));
            settle(context, rule, next(rule, &subject, before, wrong, now_ms), now_ms).await?;
        }
    }
    // What they were about is gone, or no longer watched.
    for finding in found.into_values() {
        let now_ms = context.clock.now_ms();
        if let Some(rule) = rules.iter().find(|rule| rule.name == finding.rule) {
            let (before, subject) = (Some(finding.clone()), finding.subject);
            settle(context, rule, next(rule, &subject, before, None, now_ms), now_ms).await?;
        }
    }
    Ok(())
}

/// A turn and whether people are to be told of it.
fn next(
    rule: &AlertRule,
    subject: &str,
    before: Option<Finding>,
    wrong: Option<String>,
    now_ms: i64,
) -> Option<(Turn, bool)> {
    match (before, wrong) {
        (None, None) => None,
        (None, Some(summary)) => {
            let (rule, subject) = (rule.name.clone(), subject.to_owned());
            Some((Turn::Holds(Finding { rule, subject, since_ms: now_ms, last_held_ms: now_ms, summary }), true))
        }
        (Some(before), Some(_)) => Some((Turn::Holds(Finding { last_held_ms: now_ms, ..before }), false)),
        (Some(before), None) => {
            let clear_after_ms = rule.clear_after.as_ref().map_or(CLEAR_AFTER_MS, |wait| wait.seconds * 1_000);
            (now_ms.saturating_sub(before.last_held_ms) >= clear_after_ms).then_some((Turn::Over(before), true))
        }
    }
}

async fn settle(context: &Context, rule: &AlertRule, turn: Option<(Turn, bool)>, now_ms: i64) -> Result<(), Error> {
    let Some((turn, told)) = turn else { return Ok(()) };
    let event = match &turn {
        Turn::Holds(finding) if told => {
            tracing::warn!(rule = rule.name, subject = finding.subject, summary = finding.summary, "alert fired");
            Some(event(rule, finding, "sluice_alert_fired", now_ms))
        }
        Turn::Over(finding) => {
            tracing::info!(rule = rule.name, subject = finding.subject, summary = finding.summary, "alert resolved");
            Some(event(rule, finding, "sluice_alert_resolved", now_ms))
        }
        Turn::Holds(_) => None,
    };
    let event = event.filter(|_| !rule.notify_sync.is_empty());
    Ok(context.store.turn(&turn, event.as_deref(), now_ms).await?)
}

/// The event that tells people.
fn event(rule: &AlertRule, finding: &Finding, event_type: &str, now_ms: i64) -> Vec<u8> {
    let at = |ms: i64| timestamp(ms).to_string();
    let event = serde_json::json!({
        "event_type": event_type,
        "user_id": "sluice",
        "time": now_ms,
        "insert_id": format!("{} {} {} {event_type}", finding.rule, finding.subject, finding.since_ms),
        "event_properties": {
            "rule": rule.name,
            "display_name": rule.display_name,
            "subject": finding.subject,
            "summary": finding.summary,
            "since": at(finding.since_ms),
            "at": at(now_ms),
        },
    });
    event.to_string().into_bytes()
}

async fn verdicts(context: &Context, rule: &AlertRule, now_ms: i64) -> Result<Vec<Verdict>, Error> {
    let Some(condition) = &rule.condition else { return Ok(Vec::new()) };
    if let Condition::NodeGone(gone) = condition {
        let gone_ms = ms(gone.duration.as_ref());
        let nodes = context.nodes.list("", usize::MAX, |_| true, |_| None).into_iter().map(|node| {
            let since_ms = millis(node.state_change_time.as_ref());
            let is_gone = !node.connected && now_ms.saturating_sub(since_ms) >= gone_ms;
            let wrong = is_gone.then(|| format!("{} has been away since {}", node.name, timestamp(since_ms)));
            (node.name, wrong)
        });
        return Ok(nodes.collect());
    }
    let mut verdicts = Vec::new();
    for (sync, health) in watched(context, rule).await? {
        let wrong = match condition {
            Condition::DeliveryRateBelow(below) => {
                let counts = counts(context, &sync, ms(below.over.as_ref()), now_ms).await?;
                let ended = counts.delivered + counts.expired + counts.discarded;
                let rate = counts.delivered as f64 / ended.max(1) as f64;
                (ended >= below.min_count.max(1) && rate < below.rate).then(|| {
                    format!("{} of {ended} deliveries got a 2xx, less than {} %", counts.delivered, below.rate * 100.0)
                })
            }
            Condition::ExpiredAbove(above) => {
                let counts = counts(context, &sync, ms(above.over.as_ref()), now_ms).await?;
                (counts.expired > above.count).then(|| format!("{} deliveries have expired", counts.expired))
            }
            Condition::FailingFor(failing) => {
                let since_ms = health.failing_since.as_ref().map(|since| millis(Some(since)));
                let since_ms =
                    since_ms.filter(|since_ms| now_ms.saturating_sub(*since_ms) >= ms(failing.duration.as_ref()));
                let last =
                    health.reasons.first().map(|last| format!(": {} {}", last.reason, shorten(&last.message, 200)));
                since_ms.map(|since_ms| {
                    format!("nothing but failures since {}{}", timestamp(since_ms), last.unwrap_or_default())
                })
            }
            Condition::PendingAbove(above) => {
                let pending = context.nodes.pending_count(&sync.uid);
                (pending > above.count).then(|| format!("{pending} deliveries wait"))
            }
            Condition::BacklogAgeAbove(above) => {
                let since_ms = context.nodes.waiting_since_ms(&sync.uid);
                let since_ms =
                    since_ms.filter(|since_ms| now_ms.saturating_sub(*since_ms) >= ms(above.duration.as_ref()));
                since_ms.map(|since_ms| format!("the oldest delivery has waited since {}", timestamp(since_ms)))
            }
            Condition::NodeGone(_) => None,
        };
        verdicts.push((sync.name, wrong));
    }
    Ok(verdicts)
}

/// The syncs that a rule watches, with their health.
async fn watched(context: &Context, rule: &AlertRule) -> Result<Vec<(Sync, SyncHealth)>, Error> {
    let syncs = match rule.sync.parse::<SyncName>() {
        Ok(name) => context.store.sync(&name).await?.into_iter().collect(),
        Err(_) => match rule.name.parse::<AlertRuleName>() {
            Ok(name) => context.store.syncs(&name.project, "", i64::MAX).await?,
            Err(_) => Vec::new(),
        },
    };
    let syncs: Vec<_> = syncs.into_iter().filter(|sync: &Sync| sync.enabled).collect();
    let uids: Vec<_> = syncs.iter().map(|sync| sync.uid.as_str()).collect();
    let mut healths = context.store.healths(&uids).await?;
    let with_health = |sync: Sync| {
        let health = healths.remove(&sync.uid).unwrap_or_default();
        (sync, health)
    };
    Ok(syncs.into_iter().map(with_health).collect())
}

async fn counts(
    context: &Context,
    sync: &Sync,
    over_ms: i64,
    now_ms: i64,
) -> Result<crate::figures::rollup::Counts, Error> {
    let end_ms = now_ms.saturating_add(1);
    let start_ms = end_ms.saturating_sub(over_ms);
    Ok(context.store.metrics(&sync.uid, start_ms, end_ms, minutes_from(now_ms)).await?.0)
}

fn ms(duration: Option<&prost_types::Duration>) -> i64 {
    duration.map_or(0, |duration| duration.seconds.saturating_mul(1_000))
}

/// Tells people what they are still to be told.
async fn notify(context: &Context) -> Result<(), Error> {
    let now_ms = context.clock.now_ms();
    for notice in context.store.notices(now_ms, NOTICES).await? {
        match tell(context, &notice).await {
            Ok(()) => context.store.drop_notice(notice.id).await?,
            Err(reason) if notice.tries + 1 >= MAX_TRIES => {
                tracing::error!(rule = notice.rule, reason, "people were not told of an alert: given up");
                context.store.drop_notice(notice.id).await?;
            }
            Err(reason) => {
                tracing::warn!(rule = notice.rule, reason, "people could not be told of an alert: trying again");
                let wait_ms = FIRST_WAIT_MS.saturating_mul(1 << notice.tries.min(10)).min(LONGEST_WAIT_MS);
                context.store.put_off(notice.id, now_ms.saturating_add(wait_ms)).await?;
            }
        }
    }
    Ok(())
}

/// Sends the event through the rule's sync, whatever that filters.
async fn tell(context: &Context, notice: &Notice) -> Result<(), String> {
    let told = |error: Error| error.to_string();
    let Ok(name) = notice.rule.parse::<AlertRuleName>() else { return Ok(()) };
    let Some(rule) = context.store.alert_rule(&name).await.map_err(|error| told(error.into()))? else { return Ok(()) };
    let sync: SyncName = rule.notify_sync.parse().map_err(|_| "the rule tells nobody".to_owned())?;
    let stored = context.store.sync(&sync).await.map_err(|error| told(error.into()))?;
    let mut sync = stored.ok_or_else(|| format!("there is no sync {sync}"))?;
    if let Some(events) = &mut sync.events {
        events.filter = None;
    }
    let sent = send_test(context, sync, notice.event.clone().into(), String::new()).await.map_err(told)?;
    match sent.attempt {
        Some(attempt) if attempt.outcome == AttemptOutcome::Delivered as i32 => Ok(()),
        Some(attempt) => Err(attempt.error_message),
        None => Err(sent.verdict),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(clear_after_s: i64) -> AlertRule {
        let clear_after = (clear_after_s > 0).then_some(prost_types::Duration { seconds: clear_after_s, nanos: 0 });
        AlertRule { name: "projects/p/alertRules/a".to_owned(), clear_after, ..AlertRule::default() }
    }

    #[test]
    fn it_fires_once_and_is_over_only_when_it_has_been_right_for_a_while() {
        let rule = rule(60);
        let Some((Turn::Holds(found), true)) = next(&rule, "s", None, Some("wrong".to_owned()), 1_000) else {
            panic!()
        };
        let still = next(&rule, "s", Some(found.clone()), Some("worse".to_owned()), 31_000);
        let Some((Turn::Holds(still), false)) = still else { panic!("it tells again") };
        assert_eq!((still.since_ms, still.last_held_ms, &*still.summary), (1_000, 31_000, "wrong"));
        assert!(next(&rule, "s", Some(still.clone()), None, 90_999).is_none(), "it flaps");
        assert!(matches!(next(&rule, "s", Some(still), None, 91_000), Some((Turn::Over(_), true))));
        assert!(next(&rule, "s", None, None, 0).is_none());
    }
}
