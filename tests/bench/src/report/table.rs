//! A report as rows of text; [`super::markdown`] and the terminal show the same.

use comfy_table::{ContentArrangement, Table, presets};

use super::figures::{Goal, Measured, Report, Spread};
use crate::usage::DISK;

/// A table, not yet drawn.
#[derive(Clone, Debug)]
pub struct Rows {
    /// What it shows.
    pub title: &'static str,
    /// Its columns.
    pub head: Vec<String>,
    /// Its rows.
    pub rows: Vec<Vec<String>>,
}

/// All tables of a report.
#[must_use]
pub fn tables(report: &Report) -> Vec<Rows> {
    let cases = report.cases();
    let (yardsticks, scenarios): (Vec<_>, Vec<_>) = cases.iter().partition(|case| case[0].scenario == "yardstick");
    let mut tables = vec![compared(&scenarios), measured(&scenarios), facts(&scenarios), bare(&yardsticks)];
    tables.retain(|table| !table.rows.is_empty());
    tables
}

/// All tables for a terminal.
#[must_use]
pub fn text(report: &Report) -> String {
    let drawn = tables(report).into_iter().map(|rows| {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(rows.head);
        table.add_rows(rows.rows);
        format!("{}\n{table}\n", rows.title)
    });
    drawn.collect::<Vec<_>>().join("\n")
}

type Case<'a> = &'a Vec<&'a Measured>;

fn compared(cases: &[Case<'_>]) -> Rows {
    let mut rows = Vec::new();
    for case in cases {
        for ratio in &case[0].ratios {
            let those = case.iter().flat_map(|run| &run.ratios).filter(|other| other.what == ratio.what);
            let values = those.map(|ratio| ratio.value);
            rows.push(judged(case[0], &ratio.what, Spread::of(values), "", ratio.goal));
        }
    }
    Rows {
        title: "Compared with the yardsticks of the same run",
        head: head(&["scenario", "case", "ratio", "value", "goal", ""]),
        rows,
    }
}

fn facts(cases: &[Case<'_>]) -> Rows {
    let mut rows = Vec::new();
    for case in cases {
        for fact in &case[0].facts {
            let those = case.iter().flat_map(|run| &run.facts).filter(|other| other.what == fact.what);
            let values = those.map(|fact| fact.value);
            rows.push(judged(case[0], &fact.what, Spread::of(values), &fact.unit, fact.goal));
        }
    }
    Rows { title: "Other figures", head: head(&["scenario", "case", "figure", "value", "goal", ""]), rows }
}

fn judged(case: &Measured, what: &str, spread: Option<Spread>, unit: &str, goal: Option<Goal>) -> Vec<String> {
    let value = spread.map_or_else(String::new, |spread| format!("{} {unit}", spread.text(2)).trim().to_owned());
    let met = goal.zip(spread).map(|(goal, spread)| if goal.is_met(spread.median) { "met" } else { "missed" });
    vec![
        case.scenario.clone(),
        case.case.clone(),
        what.to_owned(),
        value,
        goal.map_or_else(String::new, Goal::text),
        met.unwrap_or_default().to_owned(),
    ]
}

fn measured(cases: &[Case<'_>]) -> Rows {
    let columns = [
        "scenario",
        "case",
        "counted",
        "a second",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "node",
        "control plane",
        "sink",
        "load",
        "node RSS MiB",
        "disk writes B",
    ];
    let row = |case: &Case<'_>| {
        let figure = |digits, which: &dyn Fn(&Measured) -> Option<f64>| {
            Spread::of(case.iter().filter_map(|run| which(run))).map_or_else(String::new, |spread| spread.text(digits))
        };
        let cpu = |process: &'static str| figure(1, &move |run| run.usage(process).map(|_| run.cpu(process)));
        vec![
            case[0].scenario.clone(),
            case[0].case.clone(),
            format!("{} {}", case[0].count, case[0].unit),
            figure(0, &|run| Some(run.rate())),
            figure(2, &|run| run.latency.map(|latency| latency.p50)),
            figure(2, &|run| run.latency.map(|latency| latency.p99)),
            figure(2, &|run| run.latency.map(|latency| latency.p999)),
            cpu("node"),
            cpu("control plane"),
            cpu("sink"),
            cpu("load"),
            figure(0, &|run| run.usage("node").map(|usage| usage.peak_rss_bytes as f64 / f64::from(1 << 20))),
            figure(0, &|run| run.usage(DISK).map(|usage| usage.written_bytes)),
        ]
    };
    Rows {
        title: "Measured; processor time of each process in ms for 1,000 of what is counted",
        head: head(&columns),
        rows: cases.iter().map(row).collect(),
    }
}

fn bare(cases: &[Case<'_>]) -> Rows {
    let row = |case: &Case<'_>| {
        let figure = |digits, which: &dyn Fn(&Measured) -> f64| {
            Spread::of(case.iter().map(|run| which(run))).map_or_else(String::new, |spread| spread.text(digits))
        };
        vec![
            case[0].case.clone(),
            format!("{} {}", case[0].count, case[0].unit),
            figure(0, &|run| run.rate()),
            figure(2, &|run| run.cpu("yardstick")),
            figure(2, &|run| run.cpu("sink")),
        ]
    };
    Rows {
        title: "Yardsticks; processor time in ms for 1,000",
        head: head(&["yardstick", "counted", "a second", "its process", "sink"]),
        rows: cases.iter().map(row).collect(),
    }
}

fn head(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|column| (*column).to_owned()).collect()
}
