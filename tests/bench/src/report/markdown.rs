//! A report as a part of a page for readers.

use super::{figures::Report, table};

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
    page
}

fn line(cells: &[String]) -> String {
    format!("| {} |", cells.iter().map(|cell| cell.replace('|', "\\|")).collect::<Vec<_>>().join(" | "))
}
