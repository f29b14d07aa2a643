//! The same as plain text, for scripts and where standard output is no terminal; or as JSON.

use serde::Serialize;

use super::{
    app::{App, View},
    board::Board,
    columns::Row,
    draw::summary,
    rows::{NodeRow, SyncRow},
};
use crate::output::{count, table};

/// What is printed as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Frame<'a> {
    syncs: Vec<&'a SyncRow>,
    nodes: Vec<&'a NodeRow>,
}

/// The rows that are shown, `limit` of each table at most.
pub(crate) fn frame<'a>(app: &mut App, board: &'a Board, limit: usize) -> Frame<'a> {
    Frame {
        syncs: taken(app, board, View::Syncs, &board.sync_rows, limit),
        nodes: taken(app, board, View::Nodes, &board.node_rows, limit),
    }
}

/// Both tables.
pub(crate) fn text(frame: &Frame<'_>, board: &Board) -> String {
    let hidden = |shown: usize, all: usize, what: &str| match all.saturating_sub(shown) {
        0 => String::new(),
        more => format!("\n({} not shown)", count(more as u64, what)),
    };
    format!(
        "{}\n\n{}{}\n\n{}{}",
        summary(board).join("\n"),
        rows(&frame.syncs),
        hidden(frame.syncs.len(), board.sync_rows.len(), "sync"),
        rows(&frame.nodes),
        hidden(frame.nodes.len(), board.node_rows.len(), "node"),
    )
}

fn taken<'a, R>(app: &mut App, board: &Board, view: View, rows: &'a [R], limit: usize) -> Vec<&'a R> {
    let before = std::mem::replace(&mut app.view, view);
    let shown = app.shown(board);
    app.view = before;
    shown.into_iter().filter_map(|index| rows.get(index)).take(limit).collect()
}

fn rows<R: Row>(rows: &[&R]) -> String {
    let titles: Vec<_> = R::COLUMNS.iter().map(|column| column.title).collect();
    table(&titles, rows.iter().map(|row| row.cells()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::sample;

    #[test]
    fn both_tables_are_printed_whole() {
        let (mut app, board) = (sample::app(), sample::board());
        app.sort_by("pending");
        let shown = text(&frame(&mut app, &board, 3), &board);
        let lines: Vec<_> = shown.lines().collect();
        assert!(lines[0].starts_with("syncs: 4 (1 failing, 1 disabled)"), "{shown}");
        let words = |line: usize| lines[line].split_whitespace().collect::<Vec<_>>();
        assert_eq!(words(3)[..4], ["NAME", "STATE", "DELIVERED/S", "RATE"]);
        assert_eq!(words(4)[..3], ["crm", "failing", "5m12s"]);
        assert_eq!(words(5), ["orders", "enabled", "60.0", "99.99%", "3", "4.2", "ms", "1.34", "s", "7", "-", "-"]);
        assert_eq!((lines[7], lines[8]), ("(1 sync not shown)", ""));
        assert!(lines.last().unwrap().starts_with("n2"), "{shown}");
        assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
    }

    #[test]
    fn json_has_names_and_numbers() {
        let (mut app, board) = (sample::app(), sample::board());
        app.filter = "crm".into();
        let json = serde_json::to_value(frame(&mut app, &board, 9)).unwrap();
        assert_eq!(json["syncs"].as_array().unwrap().len(), 1);
        assert_eq!((&json["syncs"][0]["state"], &json["syncs"][0]["failed_count"]), (&"failing".into(), &12.into()));
        assert!(json["syncs"][0]["latency_p99_seconds"].is_null());
        assert_eq!(json["nodes"], serde_json::json!([]), "none of that name");
    }
}
