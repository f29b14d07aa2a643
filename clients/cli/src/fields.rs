//! Holds a document against a message descriptor and finds everything that does not fit: unknown fields, wrong types,
//! unknown enum values, two fields of one `oneof`. Values are never repeated: they may be secrets.

use prost_reflect::{Cardinality, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use crate::{diff::OUTPUT_ONLY, suggest::nearest};

/// Checks `document` as a message of the type `descriptor`. Gives every problem as `path: what is wrong`.
pub(crate) fn check(descriptor: &MessageDescriptor, document: &Value) -> Vec<String> {
    let mut problems = Problems { root: descriptor, found: Vec::new() };
    problems.message(descriptor, document, "");
    problems.found
}

struct Problems<'a> {
    root: &'a MessageDescriptor,
    found: Vec<String>,
}

impl Problems<'_> {
    fn add(&mut self, path: &str, what: impl AsRef<str>) {
        let path = if path.is_empty() { "document" } else { path };
        self.found.push(format!("{path}: {}", what.as_ref()));
    }

    fn message(&mut self, descriptor: &MessageDescriptor, value: &Value, path: &str) {
        if descriptor.package_name() == "google.protobuf" {
            return self.well_known(descriptor, value, path);
        }
        let Value::Object(entries) = value else {
            return self.add(path, format!("expected fields, got {}", kind_of(value)));
        };
        for (name, value) in entries {
            let inner = join(path, name);
            match find(descriptor, name) {
                Some(field) => self.field(&field, value, &inner),
                None => {
                    let hint = self.hint(descriptor, name);
                    self.add(&inner, format!("unknown field{hint}"));
                }
            }
        }
        self.oneofs(descriptor, entries, path);
    }

    fn field(&mut self, field: &FieldDescriptor, value: &Value, path: &str) {
        if value.is_null() {
            let choice = field.containing_oneof().is_some() && matches!(field.kind(), Kind::Message(_));
            if choice {
                self.add(path, format!("is empty, which leaves it out; write `{}: {{}}`", field.name()));
            }
            return;
        }
        if field.is_map() {
            return self.map(field, value, path);
        }
        if field.cardinality() == Cardinality::Repeated {
            let Value::Array(values) = value else {
                return self.add(path, format!("expected a list, got {}", kind_of(value)));
            };
            for (index, value) in values.iter().enumerate() {
                self.single(&field.kind(), value, &format!("{path}[{index}]"));
            }
            return;
        }
        self.single(&field.kind(), value, path);
    }

    fn map(&mut self, field: &FieldDescriptor, value: &Value, path: &str) {
        let Value::Object(entries) = value else {
            return self.add(path, format!("expected keys with values, got {}", kind_of(value)));
        };
        let Kind::Message(entry) = field.kind() else { return };
        for (key, value) in entries {
            self.single(&entry.map_entry_value_field().kind(), value, &join(path, key));
        }
    }

    fn single(&mut self, kind: &Kind, value: &Value, path: &str) {
        match kind {
            Kind::Message(descriptor) => self.message(descriptor, value, path),
            Kind::Enum(descriptor) => self.enumeration(descriptor, value, path),
            Kind::Bool if !value.is_boolean() => {
                self.add(path, format!("expected true or false, got {}", kind_of(value)));
            }
            Kind::String | Kind::Bytes if !value.is_string() => {
                let quote = if value.is_number() || value.is_boolean() { ": put it in quotes" } else { "" };
                self.add(path, format!("expected a text, got {}{quote}", kind_of(value)));
            }
            Kind::Bool | Kind::String | Kind::Bytes => {}
            _ => {
                let number = match value {
                    Value::Number(_) => true,
                    Value::String(text) => text.parse::<f64>().is_ok(),
                    _ => false,
                };
                if !number {
                    self.add(path, format!("expected a number, got {}", kind_of(value)));
                }
            }
        }
    }

    fn enumeration(&mut self, descriptor: &EnumDescriptor, value: &Value, path: &str) {
        let names: Vec<String> =
            descriptor.values().filter(|value| value.number() != 0).map(|v| v.name().into()).collect();
        match value {
            Value::String(name) if descriptor.get_value_by_name(name).is_some() => {}
            Value::String(name) => {
                // `IS` for `PROPERTY_OPERATOR_IS` is the commonest slip.
                let ending = format!("_{}", name.to_uppercase());
                let meant = names
                    .iter()
                    .find(|candidate| candidate.ends_with(&ending))
                    .map(String::as_str)
                    .or_else(|| nearest(name, names.iter().map(String::as_str)));
                match meant {
                    Some(meant) => self.add(path, format!("unknown value; did you mean `{meant}`?")),
                    None => self.add(path, format!("unknown value; it is one of {}", names.join(", "))),
                }
            }
            Value::Number(_) => {}
            _ => self.add(path, format!("expected one of {}, got {}", names.join(", "), kind_of(value))),
        }
    }

    fn well_known(&mut self, descriptor: &MessageDescriptor, value: &Value, path: &str) {
        if DynamicMessage::deserialize(descriptor.clone(), value).is_ok() {
            return;
        }
        match descriptor.name() {
            "Duration" => self.add(path, "expected seconds such as \"10s\" or \"0.5s\""),
            "Timestamp" => self.add(path, "expected an instant such as \"2026-11-23T21:31:37Z\""),
            name => self.add(path, format!("is no {name}")),
        }
    }

    fn oneofs(&mut self, descriptor: &MessageDescriptor, entries: &Map<String, Value>, path: &str) {
        for oneof in descriptor.oneofs() {
            let set: Vec<String> = entries
                .iter()
                .filter(|(_, value)| !value.is_null())
                .filter_map(|(name, _)| find(descriptor, name))
                .filter(|field| field.containing_oneof().as_ref() == Some(&oneof))
                .map(|field| format!("`{}`", field.name()))
                .collect();
            if set.len() > 1 {
                self.add(path, format!("{} exclude each other: choose one", set.join(" and ")));
            }
        }
    }

    /// What an unknown field was meant to be: a neighbour, or a field of that name elsewhere in the document.
    fn hint(&self, descriptor: &MessageDescriptor, name: &str) -> String {
        let fields: Vec<FieldDescriptor> = descriptor.fields().collect();
        if let Some(meant) = nearest(name, fields.iter().map(FieldDescriptor::name)) {
            return format!("; did you mean `{meant}`?");
        }
        if let Some(path) = elsewhere(self.root, name, 0) {
            return format!("; did you mean `{path}`?");
        }
        let settable = fields.iter().map(FieldDescriptor::name).filter(|name| !OUTPUT_ONLY.contains(name));
        let names: Vec<String> = settable.map(|name| format!("`{name}`")).collect();
        match names.is_empty() {
            true => "; there are no fields here".to_owned(),
            false => format!("; there are {}", names.join(", ")),
        }
    }
}

/// The field of this name, in the spelling of the proto file or of JSON.
fn find(descriptor: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    descriptor.get_field_by_name(name).or_else(|| descriptor.get_field_by_json_name(name))
}

/// Path of a field called `name` below `descriptor`.
fn elsewhere(descriptor: &MessageDescriptor, name: &str, depth: usize) -> Option<String> {
    if depth > 5 || descriptor.package_name() == "google.protobuf" {
        return None;
    }
    if let Some(field) = find(descriptor, name) {
        return Some(field.name().to_owned());
    }
    descriptor.fields().find_map(|field| {
        let Kind::Message(inner) = field.kind() else { return None };
        if field.is_map() {
            return None;
        }
        let index = if field.is_list() { "[]" } else { "" };
        elsewhere(&inner, name, depth + 1).map(|path| format!("{}{index}.{path}", field.name()))
    })
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "fields",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::proto_json::descriptor;

    fn problems(document: &Value) -> Vec<String> {
        check(&descriptor("sluice.sync.v1.Sync").unwrap(), document)
    }

    #[test]
    fn both_spellings_are_known() {
        let document = json!({
            "name": "orders", "displayName": "Orders", "labels": {"team": "crm"}, "enabled": true,
            "destination": {"url": "https://example.com", "content_type": "text/plain", "timeout": "2.5s",
                "limits": {"maxConcurrency": "4"}, "headers": [{"name": "A", "secret": {"value": "b"}}]},
            "events": {"original": {}, "filter": {"eventTypes": ["a"], "conditions": [{"property": {
                "root": "PROPERTY_ROOT_EVENT", "path": ["user_id"], "operator": "PROPERTY_OPERATOR_IS_SET"}}]}},
            "retryPolicy": {"roundOffsets": ["60s"], "max_attempts_per_round": 2},
        });
        assert_eq!(problems(&document), Vec::<String>::new());
    }

    #[test]
    fn all_unknown_fields_are_found_with_their_paths_and_what_was_meant() {
        let document = json!({
            "enabeld": true,
            "url": "https://example.com",
            "destination": {"headers": [{"name": "A", "plain": "a"}, {"nmae": "B"}]},
            "events": {"template": {"sauce": "x"}, "filter": {"types": []}},
            "zzz": 1
        });
        assert_eq!(
            problems(&document),
            [
                "destination.headers[1].nmae: unknown field; did you mean `name`?",
                "enabeld: unknown field; did you mean `enabled`?",
                "events.filter.types: unknown field; did you mean `event_types`?",
                "events.template.sauce: unknown field; did you mean `source`?",
                "url: unknown field; did you mean `destination.url`?",
                "zzz: unknown field; there are `name`, `display_name`, `labels`, `enabled`, `destination`, `events`, \
                 `retry_policy`, `disable_after_failing`",
            ]
        );
    }

    #[test]
    fn wrong_types_are_found_and_no_value_is_repeated() {
        let document = json!({
            "enabled": "s3cret",
            "labels": ["s3cret"],
            "destination": {"url": 12345, "timeout": "10 minutes", "headers": {"name": "s3cret"},
                "limits": {"max_concurrency": "s3cret"}},
            "events": {"original": null, "filter": {"event_types": [7], "conditions": [
                {"property": {"root": "EVENT", "operator": "zzz", "values": [true]}}]}}
        });
        let problems = problems(&document);
        assert_eq!(
            problems[..8],
            [
                "destination.headers: expected a list, got fields",
                "destination.limits.max_concurrency: expected a number, got a text",
                "destination.timeout: expected seconds such as \"10s\" or \"0.5s\"",
                "destination.url: expected a text, got a number: put it in quotes",
                "enabled: expected true or false, got a text",
                "events.filter.conditions[0].property.operator: unknown value; it is one of PROPERTY_OPERATOR_IS, \
                 PROPERTY_OPERATOR_IS_NOT, PROPERTY_OPERATOR_CONTAINS, PROPERTY_OPERATOR_DOES_NOT_CONTAIN, \
                 PROPERTY_OPERATOR_STARTS_WITH, PROPERTY_OPERATOR_ENDS_WITH, PROPERTY_OPERATOR_LESS, \
                 PROPERTY_OPERATOR_LESS_OR_EQUAL, PROPERTY_OPERATOR_GREATER, PROPERTY_OPERATOR_GREATER_OR_EQUAL, \
                 PROPERTY_OPERATOR_IS_SET, PROPERTY_OPERATOR_IS_NOT_SET, PROPERTY_OPERATOR_DOES_NOT_START_WITH, \
                 PROPERTY_OPERATOR_DOES_NOT_END_WITH, PROPERTY_OPERATOR_BETWEEN, PROPERTY_OPERATOR_SET_IS, \
                 PROPERTY_OPERATOR_SET_IS_NOT, PROPERTY_OPERATOR_SET_CONTAINS, \
                 PROPERTY_OPERATOR_SET_DOES_NOT_CONTAIN, PROPERTY_OPERATOR_GLOB, PROPERTY_OPERATOR_DOES_NOT_GLOB, \
                 PROPERTY_OPERATOR_REGEX, PROPERTY_OPERATOR_DOES_NOT_REGEX",
                "events.filter.conditions[0].property.root: unknown value; did you mean `PROPERTY_ROOT_EVENT`?",
                "events.filter.conditions[0].property.values[0]: expected a text, got true or false: put it in quotes",
            ]
        );
        assert_eq!(
            problems[8..],
            [
                "events.filter.event_types[0]: expected a text, got a number: put it in quotes",
                "events.original: is empty, which leaves it out; write `original: {}`",
                "labels: expected keys with values, got a list",
            ]
        );
        assert!(!problems.concat().contains("s3cret"));
    }

    #[test]
    fn fields_that_exclude_each_other_are_found() {
        let document = json!({"events": {"original": {}, "template": {"source": "x"}}});
        assert_eq!(problems(&document), ["events: `original` and `template` exclude each other: choose one"]);
        assert_eq!(problems(&json!("text")), ["document: expected fields, got a text"]);
    }
}
