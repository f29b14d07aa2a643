//! The page of all metrics, made of their list.

use std::fmt::Write as _;

use crate::instruments::{ALL, ATTRIBUTES, Instrument, Kind, Plane};

/// docs/telemetry.md.
#[must_use]
pub fn page() -> String {
    let mut page = String::from(
        "# Metrics\n\nMade of `data-plane/telemetry/src/instruments.rs` by `UPDATE=1 cargo test -p sluice-telemetry`; a test holds that it is \
         fresh. [observability.md](observability.md) tells how to see them. By Prometheus' endpoint a name's dots are underscores, \
         with the unit and `_total` where its conventions ask for them: the third column.\n",
    );
    for (plane, title) in [(Plane::Node, "Nodes"), (Plane::ControlPlane, "Control plane"), (Plane::Both, "Both")] {
        let _ = write!(
            page,
            "\n## {title}\n\n| name | what it says | Prometheus | kind, unit | attributes |\n|---|---|---|---|---|\n"
        );
        for instrument in ALL.iter().filter(|instrument| instrument.plane == plane) {
            let _ = writeln!(page, "{}", row(instrument));
        }
    }
    page.push_str("\n## Attributes\n\n| name | what it holds |\n|---|---|\n");
    for (name, holds) in ATTRIBUTES {
        let _ = writeln!(page, "| `{name}` | {holds} |");
    }
    page
}

fn row(instrument: &Instrument) -> String {
    let kind = match instrument.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let attributes: Vec<_> = instrument.attributes.iter().map(|name| format!("`{name}`")).collect();
    format!(
        "| `{}` | {} | `{}` | {kind}, `{}` | {} |",
        instrument.name,
        instrument.description,
        crate::prometheus::name(instrument.name, instrument.unit, instrument.kind == Kind::Counter),
        instrument.unit,
        attributes.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::instruments::{ALL, Kind};

    #[test]
    fn the_dashboard_and_the_alerts_name_metrics_that_there_are() {
        let mut known = BTreeSet::new();
        for instrument in ALL {
            let name = crate::prometheus::name(instrument.name, instrument.unit, instrument.kind == Kind::Counter);
            match instrument.kind {
                Kind::Histogram => known.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}"))),
                Kind::Counter | Kind::Gauge => drop(known.insert(name)),
            }
            known.extend(instrument.attributes.iter().map(|name| name.replace('.', "_")));
        }
        let mut named = BTreeSet::new();
        for file in ["grafana/sluice.json", "prometheus/alerts.yaml"] {
            let path = format!("{}/../../docs/{file}", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(path).unwrap();
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let words: Vec<_> = words
                .filter(|word| word.starts_with("sluice_") || word.starts_with("rpc_"))
                .map(str::to_owned)
                .collect();
            assert!(words.len() > 10, "{file}");
            for word in &words {
                assert!(known.contains(word), "{file}: there is no {word}");
            }
            named.extend(words);
        }
        let shown = |instrument: &&&crate::instruments::Instrument| {
            let name = crate::prometheus::name(instrument.name, instrument.unit, instrument.kind == Kind::Counter);
            named.iter().any(|word| word.starts_with(&name))
        };
        assert!(ALL.iter().filter(shown).count() * 4 > ALL.len() * 3, "most are shown");
    }

    /// What Prometheus adds to every metric, or to the buckets of a histogram.
    const ADDED: [&str; 3] = ["instance", "job", "le"];

    /// Names of the labels that a metric with this name has, which may be a part of a histogram.
    fn labels_of(metric: &str) -> Option<Vec<String>> {
        let instrument = ALL.iter().find(|instrument| {
            let name = crate::prometheus::name(instrument.name, instrument.unit, instrument.kind == Kind::Counter);
            let part = metric.strip_prefix(&*name).map(|part| part.trim_start_matches('_'));
            match instrument.kind {
                Kind::Histogram => matches!(part, Some("bucket" | "sum" | "count")),
                Kind::Counter | Kind::Gauge => metric == name,
            }
        })?;
        let own = instrument.attributes.iter().map(|name| name.replace('.', "_"));
        Some(own.chain(ADDED.map(str::to_owned)).collect())
    }

    /// Of each metric of an expression the labels that it is selected by; and the labels that results are grouped by.
    fn labels(expression: &str) -> (Vec<(String, Vec<String>)>, Vec<String>) {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let names = |list: &str| -> Vec<String> {
            let parts = list.split(',').map(|part| part.trim().split(|c| !is_word(c)).next().unwrap_or_default());
            parts.filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        let (mut selected, mut grouped, mut rest) = (Vec::new(), Vec::new(), expression);
        while let Some(start) = rest.find(is_word) {
            let word = &rest[start..];
            let end = word.find(|c| !is_word(c)).unwrap_or(word.len());
            let after = &word[end..];
            if labels_of(&word[..end]).is_some() {
                let within = after.strip_prefix('{').and_then(|list| list.split_once('}')).map_or("", |(list, _)| list);
                selected.push((word[..end].to_owned(), names(within)));
            } else if &word[..end] == "by" {
                let list = after.trim_start().strip_prefix('(').and_then(|list| list.split_once(')'));
                grouped.extend(names(list.expect("a list follows").0));
            }
            rest = after;
        }
        (selected, grouped)
    }

    #[test]
    fn labels_of_an_expression_are_found() {
        let (selected, grouped) = labels(
            "histogram_quantile(0.99, sum by (le, sluice_sync) (rate(sluice_delivery_latency_seconds_bucket{sluice_sync=~\"a,b\"}[5m]))) \
             / sum(sluice_nodes)",
        );
        let names: Vec<_> = selected.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["sluice_delivery_latency_seconds_bucket", "sluice_nodes"]);
        assert_eq!((selected[0].1[0].as_str(), grouped), ("sluice_sync", vec!["le".to_owned(), "sluice_sync".into()]));
        assert_eq!(labels_of("sluice_delivery_latency_seconds"), None, "a histogram has its parts alone");
    }

    #[test]
    fn the_dashboard_and_the_alerts_select_and_group_by_labels_that_their_metrics_have() {
        let read =
            |file: &str| std::fs::read_to_string(format!("{}/../../docs/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        // In JSON an expression is one line; in YAML it goes on, indented, up to the next key.
        let dashboard = read("grafana/sluice.json");
        let of_dashboard = dashboard.lines().filter_map(|line| line.trim().strip_prefix("\"expr\": \""));
        let mut expressions: Vec<String> = of_dashboard.map(|text| text.replace("\\\"", "\"")).collect();
        for rule in read("prometheus/alerts.yaml").split("- alert:").skip(1) {
            let text = rule.split_once("expr:").unwrap().1;
            expressions.push(text.split("labels:").next().unwrap().to_owned());
            let grouped = labels(&expressions[expressions.len() - 1]).1;
            for label in rule.split("$labels.").skip(1).map(|text| text.split([' ', '}']).next().unwrap()) {
                // Without `by` an expression keeps all that its metric has.
                let kept = |label: &str| grouped.is_empty() && ADDED.contains(&label);
                assert!(grouped.iter().any(|known| known == label) || kept(label), "{label} is lost in {rule}");
            }
        }
        assert!(expressions.len() > 30, "{}", expressions.len());
        for expression in &expressions {
            let (selected, grouped) = labels(expression);
            assert!(!selected.is_empty(), "no metric in {expression}");
            for (metric, used) in &selected {
                let known = labels_of(metric).unwrap();
                for label in used.iter().chain(&grouped) {
                    assert!(known.contains(label), "{metric} has no {label}: {expression}");
                }
            }
        }
    }

    #[test]
    fn the_committed_page_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/telemetry.md");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, super::page()).unwrap();
        }
        assert!(
            std::fs::read_to_string(path).unwrap_or_default() == super::page(),
            "docs/telemetry.md is not what the list says: run UPDATE=1 cargo test -p sluice-telemetry"
        );
    }
}
