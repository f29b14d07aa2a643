//! The picture: a pure function of what is known and what was chosen.

use prost_types::Timestamp;
use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::{Modifier, Style, Stylize as _},
    text::{Line, Span, Text},
    widgets::{Block, Borders, Cell, Paragraph, Row as TableRow, StatefulWidget, Table, TableState, Widget as _},
};
use sluice_client::proto::{delivery::v1::Attempt, sync::v1::Sync};

use super::{
    app::{App, View},
    board::{Board, node_of},
    columns::{Column, Row, count, fitting, latency, percent, rate, span},
    rows::{NodeState, SyncState},
};
use crate::{
    commands::attempts::plain,
    duration,
    output::{enum_word, time},
};

/// Where things stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Areas {
    head: Rect,
    table: Rect,
    details: Rect,
    foot: Rect,
}

impl Areas {
    /// Divides the screen; `details`: whether they are shown.
    pub(crate) fn of(screen: Rect, details: bool) -> Self {
        let details = if details { screen.height.saturating_sub(5) / 2 } else { 0 };
        let [head, table, details, foot] = Layout::vertical([
            Constraint::Length(3),
            Constraint::Fill(1),
            Constraint::Length(details),
            Constraint::Length(1),
        ])
        .areas(screen);
        Self { head, table, details, foot }
    }

    /// Rows of the table that are in view, below its titles.
    pub(crate) fn rows(&self) -> usize {
        usize::from(self.table.height.saturating_sub(1))
    }
}

/// Draws all of it.
pub(crate) fn draw(app: &App, board: &Board, screen: Rect, buffer: &mut Buffer) {
    let areas = Areas::of(screen, app.details && app.view == View::Syncs);
    head(app, board, areas.head, buffer);
    match app.view {
        View::Syncs => table(app, board, &board.sync_rows, &areas, buffer),
        View::Nodes => table(app, board, &board.node_rows, &areas, buffer),
    }
    if let Some(index) = app.open(board) {
        details(app, board, index, areas.details, buffer);
    }
    foot(app, areas.foot, buffer);
}

fn head(app: &App, board: &Board, area: Rect, buffer: &mut Buffer) {
    let at = time(Some(&Timestamp { seconds: board.now_ms().div_euclid(1_000), nanos: 0 }));
    let title = Line::from(vec![
        Span::from("sluice top").bold(),
        Span::from(format!("  {}  {} UTC  every {}", plain(&app.of), at.get(..19).unwrap_or(&at), every(app))),
        Span::from(if app.paused { "  paused" } else { "" }).reversed(),
    ]);
    let [syncs, nodes] = summary(board);
    Paragraph::new(vec![title, Line::from(syncs), Line::from(nodes)]).render(area, buffer);
}

fn every(app: &App) -> String {
    duration::show(app.interval)
}

/// All syncs in one line, all nodes in another.
pub(super) fn summary(board: &Board) -> [String; 2] {
    let syncs = |state| board.sync_rows.iter().filter(|row| row.state == state).count();
    let nodes = |state| board.node_rows.iter().filter(|row| row.state == state).count();
    let sum = |values: Vec<Option<f64>>| {
        let known: Vec<f64> = values.into_iter().flatten().collect();
        rate((!known.is_empty()).then(|| known.iter().sum()))
    };
    let mut of_syncs = format!(
        "syncs: {}{} ({} failing, {} disabled), delivered/s {}, pending {}",
        board.sync_rows.len(),
        if board.more_syncs { "+" } else { "" },
        syncs(SyncState::Failing),
        syncs(SyncState::Disabled),
        sum(board.sync_rows.iter().map(|row| row.delivered_per_second).collect()),
        count(Some(board.sync_rows.iter().filter_map(|row| row.pending_count).sum())),
    );
    if !board.has_ledgers() {
        of_syncs.push_str("; the ledgers cannot be read: rates are means");
    }
    let of_nodes = format!(
        "nodes: {} connected, {} draining, {} gone, accepted/s {}, newest revision {}",
        nodes(NodeState::Connected),
        nodes(NodeState::Draining),
        nodes(NodeState::Gone),
        sum(board.node_rows.iter().map(|row| row.accepted_per_second).collect()),
        board.revision(),
    );
    [of_syncs, of_nodes]
}

fn table<R: Row>(app: &App, board: &Board, rows: &[R], areas: &Areas, buffer: &mut Buffer) {
    let (sorted, descending) = app.order();
    let columns = fitting(R::COLUMNS, areas.table.width);
    let of = |index: &usize| R::COLUMNS.get(*index).copied();
    let widths = columns.iter().filter_map(of).map(|column| match column.grows {
        true => Constraint::Min(column.width),
        false => Constraint::Length(column.width),
    });
    let titles = columns.iter().filter_map(|index| {
        let mark = if *index != sorted {
            ""
        } else if descending {
            "↓"
        } else {
            "↑"
        };
        let column = of(index)?;
        Some(cell(column, format!("{}{mark}", column.title)))
    });
    let shown = app.shown(board);
    let place = app.place(board, &shown);
    let in_view = shown.iter().skip(app.above()).take(areas.rows());
    let body = in_view.filter_map(|index| rows.get(*index)).map(|row| {
        let mut cells: Vec<Option<String>> = row.cells().into_iter().map(Some).collect();
        let kept = columns.iter().filter_map(|index| Some(cell(of(index)?, cells.get_mut(*index)?.take()?)));
        let style = match (row.is_alarming(), row.is_dim()) {
            (true, _) => Style::new().red(),
            (false, true) => Style::new().dim(),
            (false, false) => Style::new(),
        };
        TableRow::new(kept.collect::<Vec<_>>()).style(style)
    });
    let table = Table::new(body, widths)
        .header(TableRow::new(titles).style(Style::new().add_modifier(Modifier::REVERSED)))
        .row_highlight_style(Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED));
    let mut state = TableState::new().with_selected(Some(place.saturating_sub(app.above())));
    StatefulWidget::render(table, areas.table, buffer, &mut state);
    if shown.is_empty() && areas.rows() > 0 {
        let text = match (rows.is_empty(), app.view) {
            (false, _) => "nothing that the filter takes",
            (true, View::Syncs) => "no syncs yet; create one with `sluice sync apply`",
            (true, View::Nodes) => "no node has connected",
        };
        let below = Rect { y: areas.table.y + 1, height: 1, ..areas.table };
        Paragraph::new(text).render(below, buffer);
    }
}

fn cell(column: Column, text: String) -> Cell<'static> {
    Cell::from(if column.is_number { Text::from(text).right_aligned() } else { Text::from(text) })
}

fn details(app: &App, board: &Board, index: usize, area: Rect, buffer: &mut Buffer) {
    let Some(sync) = board.sync(index) else { return };
    let name = board.sync_rows.get(index).map_or("", |row| row.name.as_str());
    let block = Block::new().borders(Borders::TOP).title(Line::from(format!(" {name} ")).bold());
    let mut lines = about(app, board, index, sync);
    lines.extend(reasons(sync));
    lines.push(Line::default());
    match board.attempts(index) {
        None if app.paused => lines.push(Line::from("paused: the latest attempts are not read")),
        None => lines.push(Line::from("reading the latest attempts …")),
        Some([]) => lines.push(Line::from("no attempts yet")),
        Some(attempts) => {
            lines.push(Line::from("latest attempts").bold());
            lines.extend(attempts.iter().map(attempt));
        }
    }
    Paragraph::new(lines).block(block).render(area, buffer);
}

fn about(app: &App, board: &Board, index: usize, sync: &Sync) -> Vec<Line<'static>> {
    let url = sync.destination.as_ref().map_or("", |destination| destination.url.as_str());
    // What stands in a query may be a secret, and screens are shared.
    let url = url.split_once('?').map_or_else(|| url.to_owned(), |(url, _)| format!("{url}?…"));
    let rollout = sync.rollout.clone().unwrap_or_default();
    let mut lines = vec![Line::from(format!(
        "to {}   revision {}: {} serving, {} pending, {} refusing",
        plain(&url),
        sync.revision,
        rollout.serving_count,
        rollout.pending_count,
        rollout.refusing_count
    ))];
    if let Some(metrics) = board.metrics(index) {
        let row = board.sync_rows.get(index);
        let latency = |seconds: f64| latency((metrics.delivered_count > 0).then_some(seconds));
        lines.push(Line::from(format!(
            "last {}: delivered {} ({} at once, {} after a retry), expired {}, discarded {}, attempts {}, rate {}, p50 {}, p95 {}, p99 {}",
            app.window,
            count(Some(metrics.delivered_count)),
            count(Some(metrics.delivered_first_attempt_count)),
            count(Some(metrics.delivered_after_retry_count)),
            count(Some(metrics.expired_count)),
            count(Some(metrics.discarded_count)),
            count(Some(metrics.attempt_count)),
            percent(row.and_then(|row| row.delivery_rate)),
            latency(metrics.latency_p50_seconds),
            latency(metrics.latency_p95_seconds),
            latency(metrics.latency_p99_seconds),
        )));
    }
    if !sync.disable_reason.is_empty() {
        lines.push(Line::from(format!("disabled: {}", plain(&sync.disable_reason))));
    }
    lines
}

fn reasons(sync: &Sync) -> Vec<Line<'static>> {
    let Some(health) = &sync.health else { return Vec::new() };
    let mut lines = Vec::new();
    if let Some(since) = &health.failing_since {
        let success = health.last_success_time.as_ref();
        lines.push(Line::from(format!("failing since {}, last success {}", time(Some(since)), time(success))));
    }
    lines.extend(health.reasons.iter().map(|reason| {
        let (class, message) = (plain(&reason.reason), plain(&reason.message));
        let last = time(reason.last_time.as_ref());
        Line::from(format!("  {:>6} × {class}: {message} (last {last})", count(Some(reason.count))))
    }));
    lines
}

fn attempt(attempt: &Attempt) -> Line<'static> {
    let status = if attempt.http_status == 0 { "-".to_owned() } else { attempt.http_status.to_string() };
    let took = attempt.duration.and_then(duration::received);
    Line::from(format!(
        "  {}  {:<16}  {status:>3}  {:>7}  {}.{}  {}  {}  {}",
        time(attempt.start_time.as_ref()),
        enum_word(attempt.outcome().as_str_name(), "ATTEMPT_OUTCOME_"),
        took.map_or_else(|| "-".to_owned(), duration::show),
        attempt.round,
        attempt.attempt,
        node_of(attempt),
        plain(&attempt.event_type),
        plain(&attempt.error_message),
    ))
}

fn foot(app: &App, area: Rect, buffer: &mut Buffer) {
    let line = if app.typing {
        Line::from(format!("filter: {}▏  Enter takes it, Esc leaves it", plain(&app.filter)))
    } else if !app.trouble.is_empty() {
        Line::from(format!(
            "{}; asking again every {}",
            plain(&app.trouble),
            span(Some(app.interval.as_secs_f64().ceil()))
        ))
        .red()
    } else {
        let filter = if app.filter.is_empty() { String::new() } else { format!("filter: {}  ", plain(&app.filter)) };
        let view = match app.view {
            View::Syncs => "Tab nodes  Enter details",
            View::Nodes => "Tab syncs",
        };
        Line::from(format!("{filter}q quit  {view}  / filter  < > order  r reverse  p pause"))
    };
    Paragraph::new(line).render(area, buffer);
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend, crossterm::event::KeyCode};

    use super::*;
    use crate::top::sample;

    /// The screen, line by line, without spaces at the ends.
    fn screen(app: &App, board: &Board, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(app, board, frame.area(), frame.buffer_mut())).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
        let lines: Vec<_> = (0..height).map(line).collect();
        assert!(lines.iter().all(|line| !line.contains(char::is_control)), "{lines:?}");
        lines
    }

    #[test]
    fn syncs_are_shown() {
        let lines = screen(&sample::app(), &sample::board(), 132, 9);
        let expected = [
            "sluice top  http://127.0.0.1:7600, projects/default  2026-01-01 00:00:00 UTC  every 2.00 s",
            "syncs: 4 (1 failing, 1 disabled), delivered/s 60.0, pending 1,241",
            "nodes: 1 connected, 0 draining, 1 gone, accepted/s 150, newest revision 42",
            "NAME↑                    STATE            DELIVERED/S    RATE   FAILED      P50      P99    PENDING  OLDEST LATEST REASON",
            "crm                      failing 5m12s              0   0.00%       12        -        -      1,234    3h4m HTTP 503",
            "old                      disabled                   0       -        -        -        -          0       - it did nothing but fail",
            "orders                   enabled                 60.0  99.99%        3   4.2 ms   1.34 s          7       - -",
            "signups                  enabled                    0       -        -        -        -          0       - -",
            "q quit  Tab nodes  Enter details  / filter  < > order  r reverse  p pause",
        ];
        assert_eq!(lines, expected, "\n{}", lines.join("\n"));
    }

    #[test]
    fn nodes_are_shown() {
        let (mut app, board) = (sample::app(), sample::board());
        app.key(KeyCode::Tab.into(), &board, 9);
        let lines = screen(&app, &board, 110, 7);
        let expected = [
            "NAME↑                STATE         SINCE  REVISION            LAG  ACCEPTED/S    PENDING      SPOOL  IN FLIGHT",
            "n1                   connected      2d7h        41          1, 3s         150      1,241    5.0 MiB         32",
            "n2                   gone           2d7h        41              0           -          0    5.0 MiB          0",
            "q quit  Tab syncs  / filter  < > order  r reverse  p pause",
        ];
        assert_eq!(lines[3..], expected, "\n{}", lines.join("\n"));
    }

    #[test]
    fn details_tell_the_reasons_and_the_latest_attempts() {
        let (mut app, board) = (sample::app(), sample::board());
        app.key(KeyCode::Enter.into(), &board, 9);
        let lines = screen(&app, &board, 132, 30);
        for part in [
            " crm ────",
            "to https://crm.example.com/hook?…   revision 41: 1 serving, 1 pending, 0 refusing",
            "last 10m: delivered 0 (0 at once, 0 after a retry), expired 12, discarded 0, attempts 0, rate 0.00%, p50 -, p95 -, p99 -",
            "failing since 2025-12-31 23:54:48.000, last success 2025-12-31 23:53:20.000",
            "      41 × HTTP 503: answered 503 Service Unavailable ]0;owned  (last 2025-12-31 23:59:59.000)",
            "       2 × TIMEOUT: no answer within 10 s (last 2025-12-31 23:59:59.000)",
            "  2025-12-31 23:59:59.000  retry now         503    12 ms  1.3  n1  Purchase [31m  answered 503 Service Unavailable",
        ] {
            assert!(lines.iter().any(|line| line.contains(part)), "{part}\n{}", lines.join("\n"));
        }
        app.key(KeyCode::Down.into(), &board, 9);
        let lines = screen(&app, &board, 132, 30);
        assert!(lines.iter().any(|line| line.contains("reading the latest attempts")), "{}", lines.join("\n"));
        app.key(KeyCode::Char('p').into(), &board, 9);
        assert!(screen(&app, &board, 132, 30).iter().any(|line| line.contains("attempts are not read")));
        assert!(lines.iter().any(|line| line.contains("disabled: it did nothing but fail for 3 days")));
    }

    #[test]
    fn what_the_user_types_and_what_goes_wrong_is_shown() {
        let (mut app, board) = (sample::app(), sample::board());
        for key in "/zz".chars() {
            app.key(KeyCode::Char(key).into(), &board, 9);
        }
        let lines = screen(&app, &board, 80, 9);
        assert_eq!(
            (lines[4].as_str(), lines[8].as_str()),
            ("nothing that the filter takes", "filter: zz▏  Enter takes it, Esc leaves it")
        );
        app.key(KeyCode::Esc.into(), &board, 9);
        app.key(KeyCode::Char('p').into(), &board, 9);
        app.trouble = "no answer\u{1b}[2J".into();
        let lines = screen(&app, &board, 132, 9);
        assert!(lines[0].ends_with("paused"), "{}", lines[0]);
        assert_eq!(lines[8], "no answer [2J; asking again every 2s");
        let lines = screen(&sample::app(), &Board::default(), 80, 6);
        assert!(lines[4].starts_with("no syncs yet"), "{lines:?}");
    }

    #[test]
    fn any_size_of_the_screen_will_do() {
        let (mut app, board) = (sample::app(), sample::board());
        app.key(KeyCode::Enter.into(), &board, 9);
        for width in [1, 2, 17, 80, 400] {
            for height in 1..40 {
                app.scroll(&board, Areas::of(Rect::new(0, 0, width, height), true).rows());
                screen(&app, &board, width, height);
            }
        }
    }
}
