//! What the user has chosen, and what keys do. No terminal, no calls.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    board::{Board, Want},
    columns::{NODES, SYNCS, ordered},
};

/// Longest filter.
const MAX_FILTER: usize = 128;

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Syncs,
    Nodes,
}

/// What a key asks of the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Draw again.
    Draw,
    /// Ask the control plane now.
    Ask,
    Quit,
}

/// What the user has chosen.
#[derive(Debug)]
pub(crate) struct App {
    /// Where the control plane is, and whose syncs are shown.
    pub(crate) of: String,
    /// Between two readings.
    pub(crate) interval: Duration,
    /// What the figures of a window are of, such as `10m`.
    pub(crate) window: String,
    pub(crate) view: View,
    pub(crate) filter: String,
    /// Whether keys go to the filter.
    pub(crate) typing: bool,
    pub(crate) paused: bool,
    /// Whether the details of the selected sync are shown.
    pub(crate) details: bool,
    /// Why the last reading failed; empty: it did not.
    pub(crate) trouble: String,
    syncs: Table,
    nodes: Table,
}

/// What was chosen of one table.
#[derive(Clone, Debug, Default)]
struct Table {
    column: usize,
    descending: bool,
    /// Name of the selected row: it stays selected when the order changes.
    selected: Option<String>,
    /// Rows above the first that is in view.
    above: usize,
}

impl App {
    pub(crate) fn new(of: String, interval: Duration, window: String) -> Self {
        Self {
            of,
            interval,
            window,
            view: View::Syncs,
            filter: String::new(),
            typing: false,
            paused: false,
            details: false,
            trouble: String::new(),
            syncs: Table::default(),
            nodes: Table::default(),
        }
    }

    /// Orders the table of the view by the column with that title, in small letters or not; gives whether there is one.
    pub(crate) fn sort_by(&mut self, title: &str) -> bool {
        let found = self.titles().iter().position(|known| known.eq_ignore_ascii_case(title));
        if let Some(column) = found {
            let table = self.table_mut();
            (table.column, table.descending) = (column, is_number(column));
        }
        found.is_some()
    }

    /// The titles of the view's columns.
    pub(crate) fn titles(&self) -> Vec<&'static str> {
        let columns: &[_] = match self.view {
            View::Syncs => &SYNCS,
            View::Nodes => &NODES,
        };
        columns.iter().map(|column| column.title).collect()
    }

    /// The column that the view is ordered by, and whether the largest comes first.
    pub(super) fn order(&self) -> (usize, bool) {
        let table = self.table();
        (table.column, table.descending)
    }

    /// The numbers of the view's rows, filtered and in order.
    pub(super) fn shown(&self, board: &Board) -> Vec<usize> {
        let Table { column, descending, .. } = *self.table();
        match self.view {
            View::Syncs => ordered(&board.sync_rows, &self.filter, column, descending),
            View::Nodes => ordered(&board.node_rows, &self.filter, column, descending),
        }
    }

    /// Where the selected row stands in `shown`; the first if it is not there.
    pub(super) fn place(&self, board: &Board, shown: &[usize]) -> usize {
        let selected = self.table().selected.as_deref();
        shown.iter().position(|index| Some(self.name(board, *index)) == selected).unwrap_or(0)
    }

    /// Rows above the first that is in view.
    pub(super) fn above(&self) -> usize {
        self.table().above
    }

    /// The number of the selected sync, if its details are shown.
    pub(super) fn open(&self, board: &Board) -> Option<usize> {
        let shown = (self.details && self.view == View::Syncs).then(|| self.shown(board))?;
        shown.get(self.place(board, &shown)).copied()
    }

    /// Moves the view so that the selected row is one of the `height` in it.
    pub(crate) fn scroll(&mut self, board: &Board, height: usize) {
        let shown = self.shown(board);
        let place = self.place(board, &shown);
        let above = &mut self.table_mut().above;
        *above = (*above).clamp((place + 1).saturating_sub(height.max(1)), place);
        // No empty lines below while rows are hidden above.
        *above = (*above).min(shown.len().saturating_sub(height));
    }

    /// What to ask for while `height` rows are in view.
    pub(crate) fn want(&self, board: &Board, height: usize) -> Want {
        let in_view = match self.view {
            View::Syncs => self.shown(board).into_iter().skip(self.above()).take(height).collect(),
            View::Nodes => Vec::new(),
        };
        board.want(in_view, self.open(board))
    }

    /// Takes a key; `page`: rows in view.
    pub(crate) fn key(&mut self, key: KeyEvent, board: &Board, page: usize) -> Action {
        if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
            let quit = key.modifiers.contains(KeyModifiers::CONTROL) && matches!(key.code, KeyCode::Char('c' | 'd'));
            return if quit { Action::Quit } else { Action::Draw };
        }
        if self.typing {
            return self.type_filter(key);
        }
        match key.code {
            KeyCode::Char('q') => return Action::Quit,
            KeyCode::Esc if self.details => self.details = false,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('p' | ' ') => {
                self.paused = !self.paused;
                return if self.paused { Action::Draw } else { Action::Ask };
            }
            KeyCode::Tab | KeyCode::BackTab => {
                self.view = if self.view == View::Syncs { View::Nodes } else { View::Syncs };
            }
            KeyCode::Char('1') => self.view = View::Syncs,
            KeyCode::Char('2') => self.view = View::Nodes,
            KeyCode::Char('>' | '.') | KeyCode::Right => self.next_column(1),
            KeyCode::Char('<' | ',') | KeyCode::Left => self.next_column(self.titles().len() - 1),
            KeyCode::Char('r') => {
                let table = self.table_mut();
                table.descending = !table.descending;
            }
            KeyCode::Enter if self.view == View::Syncs => {
                self.details = !self.details;
                return Action::Ask;
            }
            code => return self.go(code, board, page),
        }
        Action::Draw
    }

    fn type_filter(&mut self, key: KeyEvent) -> Action {
        match key.code {
            KeyCode::Enter => {
                self.typing = false;
                return Action::Ask;
            }
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(character) if !character.is_control() && self.filter.len() < MAX_FILTER => {
                self.filter.push(character);
            }
            _ => {}
        }
        Action::Draw
    }

    fn go(&mut self, code: KeyCode, board: &Board, page: usize) -> Action {
        let shown = self.shown(board);
        let place = self.place(board, &shown);
        let page = page.max(1);
        let place = match code {
            KeyCode::Up | KeyCode::Char('k') => place.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => place + 1,
            KeyCode::PageUp => place.saturating_sub(page),
            KeyCode::PageDown => place + page,
            KeyCode::Home | KeyCode::Char('g') => 0,
            KeyCode::End | KeyCode::Char('G') => usize::MAX,
            _ => return Action::Draw,
        };
        let Some(index) = shown.get(place.min(shown.len().saturating_sub(1))) else { return Action::Draw };
        let name = self.name(board, *index).to_owned();
        self.table_mut().selected = Some(name);
        if self.details { Action::Ask } else { Action::Draw }
    }

    fn next_column(&mut self, steps: usize) {
        let count = self.titles().len();
        let table = self.table_mut();
        table.column = (table.column + steps) % count;
        table.descending = is_number(table.column);
    }

    fn name<'a>(&self, board: &'a Board, index: usize) -> &'a str {
        let name = match self.view {
            View::Syncs => board.sync_rows.get(index).map(|row| &row.name),
            View::Nodes => board.node_rows.get(index).map(|row| &row.name),
        };
        name.map_or("", String::as_str)
    }

    fn table(&self) -> &Table {
        match self.view {
            View::Syncs => &self.syncs,
            View::Nodes => &self.nodes,
        }
    }

    fn table_mut(&mut self) -> &mut Table {
        match self.view {
            View::Syncs => &mut self.syncs,
            View::Nodes => &mut self.nodes,
        }
    }
}

/// Of numbers the largest are of interest first, of names the first.
fn is_number(column: usize) -> bool {
    column > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::sample;

    fn press(app: &mut App, board: &Board, keys: &str) -> Action {
        let mut action = Action::Draw;
        for key in keys.chars() {
            let code = match key {
                '\n' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                '\u{1b}' => KeyCode::Esc,
                '\u{8}' => KeyCode::Backspace,
                key => KeyCode::Char(key),
            };
            action = app.key(code.into(), board, 2);
        }
        action
    }

    fn names(app: &App, board: &Board) -> Vec<String> {
        app.shown(board).into_iter().map(|index| app.name(board, index).to_owned()).collect()
    }

    fn selected(app: &App, board: &Board) -> String {
        let shown = app.shown(board);
        app.name(board, shown[app.place(board, &shown)]).to_owned()
    }

    #[test]
    fn keys_choose_the_table_its_order_and_what_is_in_it() {
        let (mut app, board) = (sample::app(), sample::board());
        assert_eq!(names(&app, &board), ["crm", "old", "orders", "signups"]);
        assert_eq!(press(&mut app, &board, ">"), Action::Draw);
        assert_eq!(names(&app, &board), ["crm", "old", "orders", "signups"], "failing before disabled before enabled");
        assert_eq!(press(&mut app, &board, "r"), Action::Draw);
        assert_eq!(names(&app, &board), ["orders", "signups", "old", "crm"]);
        press(&mut app, &board, "</o\u{8}ORD\n");
        assert_eq!((names(&app, &board), app.filter.as_str(), app.typing), (vec!["orders".to_owned()], "ORD", false));
        press(&mut app, &board, "\u{1b}\t");
        assert_eq!((app.view, names(&app, &board)), (View::Nodes, vec!["n1".to_owned(), "n2".into()]));
        press(&mut app, &board, "1<");
        assert_eq!(app.order().0, SYNCS.len() - 1, "the columns are a ring");
        assert!(app.sort_by("p99") && !app.sort_by("p42"));
        assert_eq!(names(&app, &board)[0], "orders");
    }

    #[test]
    fn the_filter_takes_every_key_while_it_is_typed() {
        let (mut app, board) = (sample::app(), sample::board());
        assert_eq!(press(&mut app, &board, "/qp"), Action::Draw);
        assert_eq!((app.filter.as_str(), app.paused, names(&app, &board).len()), ("qp", false, 0));
        press(&mut app, &board, &"x".repeat(500));
        assert_eq!(app.filter.len(), MAX_FILTER);
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(app.key(control_c, &board, 2), Action::Quit);
        press(&mut app, &board, "\u{1b}");
        assert_eq!((press(&mut app, &board, "q"), app.filter.as_str()), (Action::Quit, ""));
    }

    #[test]
    fn the_selected_row_stays_selected_and_in_view() {
        let (mut app, board) = (sample::app(), sample::board());
        assert_eq!(selected(&app, &board), "crm");
        press(&mut app, &board, "jj");
        app.scroll(&board, 2);
        assert_eq!((selected(&app, &board), app.above()), ("orders".into(), 1));
        press(&mut app, &board, ">r");
        app.scroll(&board, 2);
        assert_eq!((selected(&app, &board), app.above()), ("orders".into(), 0));
        press(&mut app, &board, "G");
        app.scroll(&board, 2);
        assert_eq!((selected(&app, &board), app.above()), ("crm".into(), 2));
        press(&mut app, &board, "jg");
        app.scroll(&board, 9);
        assert_eq!((selected(&app, &board), app.above()), ("orders".into(), 0));
    }

    #[test]
    fn what_is_in_view_and_open_is_asked_for() {
        let (mut app, board) = (sample::app(), sample::board());
        assert_eq!(press(&mut app, &board, "\n"), Action::Ask);
        let want = app.want(&board, 1);
        assert_eq!(want.attempts.as_deref(), Some("projects/default/syncs/crm"));
        assert!(want.metrics.contains(&"projects/default/syncs/crm".to_owned()));
        assert_eq!(press(&mut app, &board, "j"), Action::Ask, "another one's details");
        press(&mut app, &board, "\u{1b}");
        assert_eq!(app.want(&board, 1).attempts, None);
        assert_eq!((press(&mut app, &board, "p"), app.paused), (Action::Draw, true));
        assert_eq!((press(&mut app, &board, " "), app.paused), (Action::Ask, false));
    }

    #[test]
    fn keys_on_an_empty_board_do_nothing() {
        let (mut app, board) = (sample::app(), Board::default());
        press(&mut app, &board, "jkgG\n>r\tjk");
        app.scroll(&board, 0);
        assert_eq!(app.want(&board, 5).metrics, Vec::<String>::new());
    }
}
