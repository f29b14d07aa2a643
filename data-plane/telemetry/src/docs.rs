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
