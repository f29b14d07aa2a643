//! What events that are being sent look like: a bar on a terminal, plain lines elsewhere, and the tally of refused ones.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sluice_client::{Progress, proto::event::v1::RejectionReason};
use tokio::time::Instant;

use crate::{
    exit::Failure,
    output::{enum_word, note, say, thousands},
};

/// How often the bar is drawn.
pub(crate) const DRAW_INTERVAL: Duration = Duration::from_millis(100);
/// How often a line is printed where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// Refused events shown for each reason.
const SHOWN: usize = 5;

/// What the bar measures.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Total {
    /// So many events.
    Events(u64),
    /// So many bytes of a file.
    Bytes(u64),
    /// Nobody knows.
    Unknown,
}

/// Shows how far the sending is, on standard error.
pub(crate) struct Display {
    bar: Option<ProgressBar>,
    started: Instant,
    last_line: Instant,
    reconnects: u64,
    was_connected: bool,
}

impl Display {
    pub(crate) fn new(total: Total) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let (length, template) = match total {
                Total::Events(events) => (Some(events), "{bar:30} {percent:>3}%  {msg}"),
                Total::Bytes(bytes) => (Some(bytes), "{bar:30} {percent:>3}%  {msg}"),
                Total::Unknown => (None, "{spinner} {msg}"),
            };
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr()).with_style(style)
        });
        let now = Instant::now();
        Self { bar, started: now, last_line: now, reconnects: 0, was_connected: true }
    }

    /// Shows the state; `position` is what the total counts.
    pub(crate) fn update(&mut self, position: u64, sent: u64, progress: &Progress) {
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = if seconds > 0.0 { progress.acked as f64 / seconds } else { 0.0 };
        let mut state = format!(
            "{} sent, {} acked, {} rejected, {} events/s",
            thousands(sent),
            thousands(progress.acked),
            thousands(progress.rejected),
            thousands(rate as u64)
        );
        if !progress.connected {
            state.push_str(", reconnecting");
        }
        match &self.bar {
            Some(bar) => {
                bar.set_position(position);
                bar.set_message(state);
            }
            None if self.last_line.elapsed() >= LINE_INTERVAL => {
                self.last_line = Instant::now();
                note(&state);
            }
            None => {}
        }
        if self.was_connected && !progress.connected {
            self.line("the stream was lost, reconnecting");
        }
        if progress.reconnects > self.reconnects {
            self.reconnects = progress.reconnects;
            self.line(&format!("reconnected, going on after {} acked events", thousands(progress.acked)));
        }
        self.was_connected = progress.connected;
    }

    /// Prints a line above the bar.
    pub(crate) fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => note(text),
        }
    }

    /// Prints a result above the bar, or to standard output if there is none.
    pub(crate) fn show(&self, text: &str) -> Result<(), Failure> {
        match &self.bar {
            Some(bar) => {
                bar.println(text);
                Ok(())
            }
            None => say(text),
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Counts refused events by reason and remembers the first few with their lines. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    reasons: BTreeMap<&'static str, Reason>,
    skipped: SkippedLines,
}

/// One reason and the events that were refused for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Reason {
    /// How many.
    pub(crate) count: u64,
    /// The first few of them.
    pub(crate) first: Vec<Refused>,
}

/// A refused event.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Refused {
    /// Its line in the file.
    pub(crate) line: u64,
    /// Why it was refused.
    pub(crate) message: String,
}

impl Tally {
    /// The event with this sequence stands in this line. Told in ascending order, before the event is sent.
    pub(crate) fn place(&self, sequence: u64, line: u64) {
        self.lock().skipped.place(sequence, line);
    }

    /// The node refused the event with this sequence.
    pub(crate) fn refused(&self, sequence: u64, reason: RejectionReason, message: &str) {
        let mut state = self.lock();
        let line = state.skipped.line_of(sequence);
        state.add(reason, line, message);
    }

    /// The event in this line was not sent.
    pub(crate) fn not_sent(&self, line: u64, reason: RejectionReason, message: &str) {
        self.lock().add(reason, line, message);
    }

    /// Refused events by reason, in the words of the API.
    pub(crate) fn reasons(&self) -> BTreeMap<&'static str, Reason> {
        self.lock().reasons.clone()
    }

    /// Refused events.
    pub(crate) fn count(&self) -> u64 {
        self.lock().reasons.values().map(|reason| reason.count).sum()
    }

    /// Lines for people: each reason with its first few events.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, reason) in self.reasons() {
            let word = enum_word(name, "REJECTION_REASON_");
            lines.push(format!("rejected, {word}: {}", thousands(reason.count)));
            lines.extend(reason.first.iter().map(|refused| format!("  line {}: {}", refused.line, refused.message)));
            let more = reason.count.saturating_sub(reason.first.len() as u64);
            if more > 0 {
                lines.push(format!("  and {} more", thousands(more)));
            }
        }
        lines
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, reason: RejectionReason, line: u64, message: &str) {
        let reason = self.reasons.entry(reason.as_str_name()).or_default();
        reason.count += 1;
        // An answer of the node may come after a line further on was left out here.
        let place = reason.first.partition_point(|refused| refused.line < line);
        reason.first.insert(place, Refused { line, message: message.to_owned() });
        reason.first.truncate(SHOWN);
    }
}

/// Lines less sequences: grows only where lines were skipped.
#[derive(Debug, Default)]
struct SkippedLines(Vec<(u64, u64)>);

impl SkippedLines {
    fn place(&mut self, sequence: u64, line: u64) {
        let skipped = line.saturating_sub(sequence);
        if self.0.last().map_or(0, |(_, last)| *last) != skipped {
            self.0.push((sequence, skipped));
        }
    }

    fn line_of(&self, sequence: u64) -> u64 {
        let after = self.0.partition_point(|(from, _)| *from <= sequence);
        let skipped = after.checked_sub(1).and_then(|index| self.0.get(index)).map_or(0, |(_, skipped)| *skipped);
        sequence + skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_events_are_told_by_reason_with_the_lines_they_stand_in() {
        let tally = Tally::default();
        for (sequence, line) in [(1, 1), (2, 2), (3, 5), (4, 6), (5, 9), (6, 10), (7, 11), (8, 12)] {
            tally.place(sequence, line);
        }
        tally.refused(2, RejectionReason::InvalidJson, "not JSON");
        tally.not_sent(8, RejectionReason::TooLarge, "too large");
        for sequence in 3..=8 {
            tally.refused(sequence, RejectionReason::EventType, "no type");
        }
        assert_eq!(tally.count(), 8);
        assert_eq!(
            tally.lines(),
            [
                "rejected, event type: 6",
                "  line 5: no type",
                "  line 6: no type",
                "  line 9: no type",
                "  line 10: no type",
                "  line 11: no type",
                "  and 1 more",
                "rejected, invalid json: 1",
                "  line 2: not JSON",
                "rejected, too large: 1",
                "  line 8: too large",
            ]
        );
    }
}
