//! A report as a part of a page for readers.

use super::{
    figures::{Measured, Report, Spread},
    table,
};

/// Between these a page holds the figures of a run.
const BEGIN: &str = "<!-- figures of a run -->";
const END: &str = "<!-- end of the figures -->";
/// How much more there is to do at the busiest moment of a day than on average.
const PEAK: f64 = 4.0;

/// A page with the figures of this run in place of those that it holds; none if it has no place for them.
#[must_use]
pub fn replace(page: &str, report: &Report) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}{END}{after}", self::page(report)))
}

/// The machine and all tables.
#[must_use]
pub fn page(report: &Report) -> String {
    let machine = &report.machine;
    let mut page = format!(
        "Revision `{}` ({} build), on {} × {}, {:.0} GiB of memory, Linux {}, {}; load average {} when it began.\n",
        machine.revision,
        machine.profile,
        machine.cores,
        machine.processor,
        machine.memory_bytes as f64 / f64::from(1 << 30),
        machine.kernel,
        machine.filesystem,
        machine.load_average,
    );
    if report.quick {
        page.push_str("\n**A smoke test: its figures say nothing.**\n");
    }
    for table in table::tables(report) {
        page.push_str(&format!("\n### {}\n\n{}\n", table.title, line(&table.head)));
        page.push_str(&format!("|{}\n", " --- |".repeat(table.head.len())));
        for row in &table.rows {
            page.push_str(&line(row));
            page.push('\n');
        }
    }
    page.push_str(&cost(report));
    page
}

/// What a day's events need of processors, by what a delivery was measured to cost at full load.
fn cost(report: &Report) -> String {
    let mut text = format!(
        "\n### What a day costs\n\nCores on average, and at {PEAK} times the average: deliveries a day ÷ 86,400 s × time of a delivery.\n\n"
    );
    let head = ["scenario", "case", "node, µs a delivery", "control plane, µs", "1 million a day", "1 billion a day"];
    text.push_str(&format!("{}\n|{}\n", line(&head.map(str::to_owned)), " --- |".repeat(head.len())));
    for case in report.cases().iter().filter(|case| case[0].unit == "deliveries" && case[0].case.ends_with("full load"))
    {
        let cpu = |process| median(case, |run| run.cpu(process));
        let (node, control_plane) = (cpu("node"), cpu("control plane"));
        let cores = |a_day: f64| {
            let cores = a_day / 86_400.0 * (node + control_plane) / 1e6;
            format!("{cores:.4}; {:.4}", cores * PEAK)
        };
        let figures = [format!("{node:.1}"), format!("{control_plane:.1}"), cores(1e6), cores(1e9)];
        let row = [vec![case[0].scenario.clone(), case[0].case.clone()], figures.into()].concat();
        text.push_str(&line(&row));
        text.push('\n');
    }
    text
}

fn median(case: &[&Measured], figure: impl Fn(&Measured) -> f64) -> f64 {
    Spread::of(case.iter().map(|run| figure(run))).map_or(0.0, |spread| spread.median)
}

fn line(cells: &[String]) -> String {
    format!("| {} |", cells.iter().map(|cell| cell.replace('|', "\\|")).collect::<Vec<_>>().join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{machine::Machine, usage::Usage};

    fn report() -> Report {
        let usage = |process: &str, cpu_per_thousand_ms| Usage {
            process: process.to_owned(),
            cpu_per_thousand_ms,
            written_bytes: 0.0,
            rss_bytes: 0,
            peak_rss_bytes: 0,
        };
        let measured = Measured {
            scenario: "original".to_owned(),
            case: "full load".to_owned(),
            unit: "deliveries".to_owned(),
            count: 1_000,
            seconds: 1.0,
            processes: vec![usage("node", 80.0), usage("control plane", 6.4)],
            ..Measured::default()
        };
        let machine = Machine::this(std::path::Path::new("."));
        Report { machine, began_seconds: 0, quick: false, measured: vec![measured] }
    }

    #[test]
    fn a_day_costs_what_its_deliveries_cost() {
        let page = page(&report());
        assert!(page.contains("| original | full load | 80.0 | 6.4 | 0.0010; 0.0040 | 1.0000; 4.0000 |"), "{page}");
    }

    #[test]
    fn a_page_keeps_all_but_its_figures() {
        let page = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let replaced = replace(&page, &report()).unwrap();
        assert!(replaced.starts_with("before\n") && replaced.ends_with("\nafter\n"), "{replaced}");
        assert!(!replaced.contains("old") && replaced.contains("| original |"), "{replaced}");
        assert_eq!(replace("no place", &report()), None);
    }
}
