//! Field masks: takes over the named fields of one resource into another ([AIP-134](https://google.aip.dev/134)).

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, MessageDescriptor, ReflectMessage as _, Value};
use sluice_pipeline::violation::{Violation, reason};
use sluice_proto::{FILE_DESCRIPTOR_SET, alert::v1::AlertRule, sync::v1::Sync};

use crate::error::{shorten, violation};

/// A resource whose fields a mask names.
pub(crate) trait Masked: Message + Default {
    /// Full name of its message.
    const MESSAGE: &str;
    /// Fields that no write sets.
    const NOT_SETTABLE: &[&str];
}

impl Masked for Sync {
    const MESSAGE: &str = "sluice.sync.v1.Sync";
    const NOT_SETTABLE: &[&str] = &[
        "name",
        "required_features",
        "uid",
        "revision",
        "etag",
        "create_time",
        "update_time",
        "rollout",
        "health",
        "disable_reason",
    ];
}

impl Masked for AlertRule {
    const MESSAGE: &str = "sluice.alert.v1.AlertRule";
    const NOT_SETTABLE: &[&str] = &["name", "etag", "create_time"];
}

const MAX_PATHS: usize = 100;

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap_or_default());

/// Gives `into` with the fields that `paths` name as they are in `from`: set there or cleared. Repeated fields and maps are
/// taken over whole. No paths, or the single path `*`: every field that can be set.
///
/// # Errors
/// Every path that names no field, a field that cannot be set, or an element of a repeated field or map.
pub(crate) fn merge<M: Masked>(paths: &[String], from: &M, into: &M) -> Result<M, Vec<Violation>> {
    if paths.len() > MAX_PATHS {
        let description = format!("{} paths; at most {MAX_PATHS} are taken", paths.len());
        return Err(vec![violation("update_mask", reason::TOO_MANY, description)]);
    }
    let unreadable = |_| vec![violation("update_mask", reason::INVALID_VALUE, "the resource cannot be read")];
    let message = POOL.get_message_by_name(M::MESSAGE).ok_or(()).map_err(unreadable)?;
    let (from, mut merged) = (reflect(&message, from), reflect(&message, into));
    let is_all = matches!(paths, [] | [_]) && paths.iter().all(|path| path == "*");
    let paths = if is_all { settable::<M>(&message) } else { paths.to_vec() };

    let mut violations = Vec::new();
    for path in &paths {
        if let Err(why) = take::<M>(path, &from, &mut merged) {
            violations.push(violation("update_mask", "INVALID_PATH", format!("`{}`: {why}", shorten(path, 200))));
        }
    }
    if !violations.is_empty() {
        return Err(violations);
    }
    // Both are the same message.
    merged.transcode_to().map_err(|_| unreadable(()))
}

fn reflect(descriptor: &MessageDescriptor, resource: &impl Message) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    // The bytes of a message are always one.
    let _ = message.transcode_from(resource);
    message
}

fn settable<M: Masked>(message: &MessageDescriptor) -> Vec<String> {
    let names = message.fields().map(|field| field.name().to_owned());
    names.filter(|name| !M::NOT_SETTABLE.contains(&name.as_str())).collect()
}

fn take<M: Masked>(path: &str, from: &DynamicMessage, into: &mut DynamicMessage) -> Result<(), String> {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    if M::NOT_SETTABLE.contains(&name) {
        return Err(match name {
            "name" => "the name says which one is meant and cannot be changed".to_owned(),
            _ => "is set by the control plane and cannot be written".to_owned(),
        });
    }
    if name == "*" {
        return Err("`*` stands alone, for every field that can be set".to_owned());
    }
    take_field(name, rest, from, into)
}

fn take_field(name: &str, rest: Option<&str>, from: &DynamicMessage, into: &mut DynamicMessage) -> Result<(), String> {
    let field = field(name, &from.descriptor())?;
    let Some(rest) = rest else {
        match from.has_field(&field) {
            true => into.set_field(&field, from.get_field(&field).into_owned()),
            false => into.clear_field(&field),
        }
        return Ok(());
    };
    if field.is_list() || field.is_map() {
        return Err(format!("`{name}` is replaced as a whole: the path must end with it"));
    }
    let source = from.get_field(&field);
    let Value::Message(source) = source.as_ref() else {
        return Err(format!("`{name}` has no fields of its own"));
    };
    let mut target = match into.get_field(&field).into_owned() {
        Value::Message(target) => target,
        _ => return Err(format!("`{name}` has no fields of its own")),
    };
    let (name, rest) = rest.split_once('.').map_or((rest, None), |(name, rest)| (name, Some(rest)));
    take_field(name, rest, source, &mut target)?;
    // Clearing a field within a message that isn't there must not make one.
    if from.has_field(&field) || into.has_field(&field) {
        into.set_field(&field, Value::Message(target));
    }
    Ok(())
}

fn field(name: &str, message: &MessageDescriptor) -> Result<FieldDescriptor, String> {
    message.get_field_by_name(name).ok_or_else(|| {
        let known: Vec<_> = message.fields().map(|field| field.name().to_owned()).collect();
        format!("there is no field `{}`; there are {}", shorten(name, 60), known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use sluice_proto::sync::v1::{
        Destination, EventSelection, Limits, OriginalPayload, TemplatePayload, event_selection::Payload,
    };

    use super::*;

    fn stored() -> Sync {
        Sync {
            name: "projects/default/syncs/a".into(),
            display_name: "old".into(),
            labels: [("k".to_owned(), "old".to_owned())].into(),
            destination: Some(Destination {
                url: "https://old.example".into(),
                content_type: "text/plain".into(),
                limits: Some(Limits { max_concurrency: 3, ..Default::default() }),
                ..Default::default()
            }),
            events: Some(EventSelection { payload: Some(Payload::Original(OriginalPayload {})), filter: None }),
            uid: "u".into(),
            ..Default::default()
        }
    }

    fn written() -> Sync {
        let template = TemplatePayload { source: "${input.x}".into(), allow_invalid_json: true };
        Sync {
            display_name: "new".into(),
            labels: [("l".to_owned(), "new".to_owned())].into(),
            destination: Some(Destination { url: "https://new.example".into(), ..Default::default() }),
            events: Some(EventSelection { payload: Some(Payload::Template(template)), filter: None }),
            uid: "ignored".into(),
            ..Default::default()
        }
    }

    fn merged(paths: &[&str]) -> Sync {
        let paths: Vec<_> = paths.iter().map(|&path| path.to_owned()).collect();
        merge(&paths, &written(), &stored()).unwrap()
    }

    fn refused(paths: &[&str]) -> Vec<String> {
        let paths: Vec<_> = paths.iter().map(|&path| path.to_owned()).collect();
        merge(&paths, &written(), &stored()).unwrap_err().into_iter().map(|v| v.description).collect()
    }

    #[test]
    fn only_what_is_named_changes() {
        let sync = merged(&["destination.url"]);
        let expected = Sync {
            destination: Some(Destination { url: "https://new.example".into(), ..stored().destination.unwrap() }),
            ..stored()
        };
        assert_eq!(sync, expected);
    }

    #[test]
    fn what_is_named_and_not_given_is_cleared() {
        let sync =
            merged(&["destination.content_type", "destination.limits.max_concurrency", "retry_policy.first_wait"]);
        let destination = sync.destination.unwrap();
        assert_eq!(destination.content_type, "");
        assert_eq!(destination.limits, Some(Limits { max_concurrency: 0, ..Default::default() }));
        assert_eq!(sync.retry_policy, None, "nothing is made where nothing was");
    }

    #[test]
    fn a_map_is_replaced_whole() {
        assert_eq!(merged(&["labels"]).labels, written().labels);
        assert!(refused(&["labels.k"])[0].contains("`labels` is replaced as a whole"));
        assert!(refused(&["destination.headers.name"])[0].contains("`headers` is replaced as a whole"));
    }

    #[test]
    fn naming_the_other_choice_switches_to_it() {
        assert_eq!(merged(&["events.template"]).events, written().events);
        let only_source = merged(&["events.template.source"]).events.unwrap().payload.unwrap();
        assert_eq!(
            only_source,
            Payload::Template(TemplatePayload { source: "${input.x}".into(), allow_invalid_json: false })
        );
    }

    #[test]
    fn all_means_all_that_can_be_set() {
        for paths in [&["*"][..], &[]] {
            let sync = merged(paths);
            assert_eq!((sync.name.as_str(), sync.uid.as_str()), ("projects/default/syncs/a", "u"));
            assert_eq!(sync, Sync { name: stored().name, uid: stored().uid, ..written() });
        }
    }

    #[test]
    fn every_wrong_path_is_told() {
        let told = refused(&["destination.uri", "etag", "name", "display_name.x", "*", "", "destination..url"]);
        assert_eq!(told.len(), 7);
        assert!(told[0].starts_with("`destination.uri`: there is no field `uri`; there are url, headers"), "{told:?}");
        assert!(told[1].contains("set by the control plane"), "{told:?}");
        assert!(told[2].contains("cannot be changed"), "{told:?}");
        assert!(told[3].contains("`display_name` has no fields"), "{told:?}");
        assert!(told[4].contains("stands alone"), "{told:?}");
    }
}
