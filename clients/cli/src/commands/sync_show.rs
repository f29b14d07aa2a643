//! A sync as people read it.

use sluice_client::proto::sync::v1::{Header, HealthState, Sync, event_selection::Payload, header};

use crate::{
    output::{count, table, time},
    rollout,
};

/// All that is told of a sync but its secrets.
pub(crate) fn show(sync: &Sync) -> String {
    let mut rows = vec![("name", sync.name.clone())];
    let mut add = |name, value: String| {
        if !value.is_empty() {
            rows.push((name, value));
        }
    };
    add("display name", sync.display_name.clone());
    let labels: Vec<String> = sync.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    add("labels", labels.join(", "));
    add("state", state(sync).to_owned());
    if !sync.disable_reason.is_empty() {
        add("  disabled", sync.disable_reason.clone());
    }
    add("destination", url(sync));
    for header in sync.destination.iter().flat_map(|destination| &destination.headers) {
        add("  header", show_header(header));
    }
    add("events", event_types(sync));
    let filter = sync.events.as_ref().and_then(|events| events.filter.as_ref());
    let conditions = filter.map_or(0, |filter| filter.conditions.len());
    if conditions > 0 {
        add("  conditions", format!("{conditions}, see -o yaml"));
    }
    add("payload", payload(sync).to_owned());
    add("revision", sync.revision.to_string());
    add("nodes", rollout::show(sync.rollout.as_ref()));
    add("health", health(sync));
    for reason in sync.health.iter().flat_map(|health| &health.reasons) {
        let number = u64::try_from(reason.count).unwrap_or(0);
        add(
            "  reason",
            format!(
                "{} ({}), last {}: {}",
                reason.reason,
                count(number, "time"),
                time(reason.last_time.as_ref()),
                reason.message
            ),
        );
    }
    add("uid", sync.uid.clone());
    add("etag", sync.etag.clone());
    add("created", time(sync.create_time.as_ref()));
    add("updated", time(sync.update_time.as_ref()));
    let mut text = table(&[], rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]));
    if let Some(Payload::Template(template)) = sync.events.as_ref().and_then(|events| events.payload.as_ref()) {
        text.push_str("\ntemplate");
        for line in template.source.lines() {
            text.push_str("\n  ");
            text.push_str(line);
        }
    }
    text
}

fn show_header(header: &Header) -> String {
    match &header.value {
        Some(header::Value::Plain(value)) => format!("{}: {value}", header.name),
        Some(header::Value::Secret(_)) => format!("{}: ***", header.name),
        None => format!("{}:", header.name),
    }
}

/// The last segment of the name.
pub(crate) fn short_name(sync: &Sync) -> String {
    sync.name.rsplit('/').next().unwrap_or(&sync.name).to_owned()
}

/// Whether it is enabled.
pub(crate) fn state(sync: &Sync) -> &'static str {
    if sync.enabled { "enabled" } else { "disabled" }
}

/// Where it delivers; empty if nowhere.
pub(crate) fn url(sync: &Sync) -> String {
    sync.destination.as_ref().map(|destination| destination.url.clone()).unwrap_or_default()
}

/// Which types of events it takes, the first few of many.
pub(crate) fn event_types(sync: &Sync) -> String {
    let filter = sync.events.as_ref().and_then(|events| events.filter.as_ref());
    let types = filter.map(|filter| filter.event_types.as_slice()).unwrap_or_default();
    match types {
        [] => "all types".to_owned(),
        [one, two, three, rest @ ..] if !rest.is_empty() => {
            format!("{one}, {two}, {three} and {} more", rest.len())
        }
        few => few.join(", "),
    }
}

/// What it sends.
pub(crate) fn payload(sync: &Sync) -> &'static str {
    match sync.events.as_ref().and_then(|events| events.payload.as_ref()) {
        Some(Payload::Original(_)) => "original",
        Some(Payload::Template(_)) => "template",
        None => "-",
    }
}

/// Whether requests succeed, and else since when not.
pub(crate) fn health(sync: &Sync) -> String {
    let health = sync.health.clone().unwrap_or_default();
    match health.state() {
        HealthState::Failing => {
            let reason = health.reasons.first().map(|one| format!(", {}", one.reason)).unwrap_or_default();
            format!("failing since {}{reason}", time(health.failing_since.as_ref()))
        }
        HealthState::Healthy => "healthy".to_owned(),
        HealthState::Unspecified => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use sluice_client::proto::sync::v1::{Destination, EventSelection, Filter, Secret, TemplatePayload};

    use super::*;

    #[test]
    fn a_sync_is_shown_without_its_secrets() {
        let shown = show(&Sync {
            name: "projects/default/syncs/orders".into(),
            enabled: true,
            destination: Some(Destination {
                url: "https://crm.example.com/hook".into(),
                headers: vec![Header {
                    name: "Authorization".into(),
                    value: Some(header::Value::Secret(Secret { value: "hush".into(), set: true })),
                }],
                ..Destination::default()
            }),
            events: Some(EventSelection {
                filter: Some(Filter {
                    event_types: ["a", "b", "c", "d"].map(str::to_owned).into(),
                    ..Filter::default()
                }),
                payload: Some(Payload::Template(TemplatePayload { source: "{\n}".into(), allow_invalid_json: false })),
            }),
            ..Sync::default()
        });
        assert!(shown.contains("Authorization: ***") && !shown.contains("hush"), "{shown}");
        assert!(shown.contains("a, b, c and 1 more"), "{shown}");
        assert!(shown.ends_with("template\n  {\n  }"), "{shown}");
    }
}
