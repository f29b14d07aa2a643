//! What people should know of a template before it is in earnest: which paths it reads that an event lacks, and the traps in it.
//! Advice only: a sync that gets some is as valid as one that gets none.

use sluice_freemarker::{Guard, lint::Rule};
use sluice_proto::sync::v1;

use crate::{
    event::Event,
    profile,
    sync::{CompiledSync, Payload},
    violation::Position,
};

/// Findings of one kind that are told.
const MAX_TOLD: usize = 100;

/// A path that a template reads and an event lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingPath {
    /// Such as `input.user_properties.email` or `input.items[].price`.
    pub path: String,
    /// Whether the template says what to do then (`!`, `??`, parentheses); if not, rendering fails where it is reached.
    pub is_guarded: bool,
    /// Where it is read.
    pub position: Position,
}

/// A trap in a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What it is, for programs: `UPPER_SNAKE_CASE`.
    pub rule: &'static str,
    /// What may go wrong, for people.
    pub message: String,
    /// What to write instead.
    pub remedy: String,
    /// Where.
    pub position: Position,
}

/// The paths that the sync's template reads and that the event lacks, in the order of the template. None for the original payload.
#[must_use]
pub fn missing_paths(sync: &CompiledSync, event: &Event<'_>) -> Vec<MissingPath> {
    let Payload::Template { template, .. } = &sync.payload else { return Vec::new() };
    let root = profile::root(event.root(), 0);
    let missing = template.references().into_iter().filter(|reference| reference.lacks_in(&root));
    let told = missing.map(|reference| MissingPath {
        path: reference.path().to_owned(),
        is_guarded: reference.guard() != Guard::None,
        position: position(template.source(), reference.line(), reference.column()),
    });
    told.take(MAX_TOLD).collect()
}

/// The traps in the sync's template, in its order. None for the original payload.
#[must_use]
pub fn warnings(sync: &CompiledSync) -> Vec<Warning> {
    let Payload::Template { template, must_be_json } = &sync.payload else { return Vec::new() };
    let is_about_json = |rule| matches!(rule, Rule::UnescapedString | Rule::TrailingComma);
    let findings = template.lint().into_iter().filter(|finding| *must_be_json || !is_about_json(finding.rule()));
    let told = findings.map(|finding| Warning {
        rule: rule(finding.rule()),
        message: finding.message().to_owned(),
        remedy: finding.remedy().to_owned(),
        position: position(template.source(), finding.line(), finding.column()),
    });
    told.take(MAX_TOLD).collect()
}

fn rule(rule: Rule) -> &'static str {
    match rule {
        Rule::UnguardedPath => "UNGUARDED_PATH",
        Rule::UnescapedString => "UNESCAPED_STRING",
        Rule::FractionPattern => "FRACTION_PATTERN",
        Rule::TrailingComma => "TRAILING_COMMA",
        _ => "TRAP",
    }
}

fn position(source: &str, line: u32, column: u32) -> Position {
    let index = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
    Position::new(line, column, source.lines().nth(index).unwrap_or_default())
}

impl From<MissingPath> for v1::MissingPath {
    fn from(missing: MissingPath) -> Self {
        let MissingPath { path, is_guarded, position } = missing;
        Self { path, guarded: is_guarded, position: Some(position.into()) }
    }
}

impl From<Warning> for v1::TemplateWarning {
    fn from(warning: Warning) -> Self {
        let Warning { rule, message, remedy, position } = warning;
        Self { rule: rule.to_owned(), message, remedy, position: Some(position.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{Rules, compile};

    fn compiled(source: &str) -> CompiledSync {
        let template = v1::TemplatePayload { source: source.to_owned(), ..Default::default() };
        let payload = Some(v1::event_selection::Payload::Template(template));
        compile(
            &v1::Sync {
                name: "projects/default/syncs/a".to_owned(),
                destination: Some(v1::Destination { url: "https://hooks.example/".to_owned(), ..Default::default() }),
                events: Some(v1::EventSelection { payload, ..Default::default() }),
                required_features: vec!["payload.template".to_owned()],
                ..Default::default()
            },
            &Rules::default(),
        )
        .unwrap()
    }

    #[test]
    fn what_an_event_lacks_is_told_with_its_place() {
        let sync = compiled("{\"a\": \"${input.event_type}\",\n \"b\": \"${input.user_id!'-'}\", \"c\": ${input.n.x}}");
        let event = Event::parse(br#"{"event_type": "a", "n": {}}"#).unwrap();
        let told = missing_paths(&sync, &event);
        let shown: Vec<_> = told.iter().map(|one| (one.path.as_str(), one.is_guarded, one.position.line)).collect();
        assert_eq!(shown, [("input.user_id", true, 2), ("input.n.x", false, 2)]);
        assert!(told[1].position.source_line.contains("input.n.x"));
    }

    #[test]
    fn of_a_list_every_item_is_asked() {
        let sync = compiled("[<#list input.items as item>${item.id}, ${item.price!0}<#sep>, </#list>]");
        let event = Event::parse(br#"{"event_type": "a", "items": [{"id": 1, "price": 2}, {"id": 2}]}"#).unwrap();
        let paths: Vec<_> = missing_paths(&sync, &event).into_iter().map(|one| one.path).collect();
        assert_eq!(paths, ["input.items[].price"]);
    }

    #[test]
    fn traps_are_told_with_a_remedy() {
        let told = warnings(&compiled("{\"a\": \"${input.user_properties.name}\"}"));
        let rules: Vec<_> = told.iter().map(|one| one.rule).collect();
        assert!(rules.contains(&"UNESCAPED_STRING") && rules.contains(&"UNGUARDED_PATH"), "{told:?}");
        assert!(told.iter().all(|one| !one.remedy.is_empty() && one.position.line == 1));
    }
}
