//! The terminal, and the loop that ties it to the control plane. Whatever ends it, an error, a panic or a signal, the terminal is
//! given back as it was.

use std::{io, thread, time::Duration};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyEventKind},
    layout::Rect,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    app::{Action, App, View},
    board::{Board, Reading, Want},
    draw::{Areas, draw},
    read::Reader,
};
use crate::exit::Failure;

/// Between two readings passes so many times what the last one took: the control plane is asked for a fifth of the time at most.
const REST: u32 = 4;

/// Between two readings that keys ask for.
const AT_LEAST: Duration = Duration::from_millis(250);

/// The terminal, given back when this is dropped.
struct Screen(DefaultTerminal);

impl Screen {
    /// A panic gives it back before it is told, too.
    fn take() -> Result<Self, Failure> {
        ratatui::try_init().map(Self).map_err(|error| {
            ratatui::restore();
            failed(&error)
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Shows `board` and what is read later, until the user quits.
pub(crate) async fn run(reader: Reader, mut app: App, mut board: Board) -> Result<(), Failure> {
    let mut stop = std::pin::pin!(stop_signal()?);
    let (wants, asked) = mpsc::channel(1);
    let (answers, mut readings) = mpsc::channel(1);
    let asking = tokio::spawn(serve(reader, asked, answers));
    let mut screen = Screen::take()?;
    let mut events = events();
    let mut waiting = false;
    let mut last = Instant::now();
    let mut next = last;
    let ended = loop {
        let rows = match paint(&mut screen, &mut app, &board) {
            Ok(rows) => rows,
            Err(error) => break Err(failed(&error)),
        };
        tokio::select! {
            () = &mut stop => break Ok(()),
            event = events.recv() => match event {
                Some(Ok(Event::Key(key))) if key.kind != KeyEventKind::Release => match app.key(key, &board, rows) {
                    Action::Quit => break Ok(()),
                    Action::Ask => next = next.min(last + AT_LEAST),
                    Action::Draw => {}
                },
                // Another size: it is drawn anew.
                Some(Ok(_)) => {}
                Some(Err(error)) => break Err(failed(&error)),
                None => break Ok(()),
            },
            () = sleep_until(next), if !waiting && !app.paused => {
                waiting = wants.try_send(app.want(&board, rows)).is_ok();
                last = Instant::now();
            }
            answer = readings.recv(), if waiting => {
                waiting = false;
                match answer {
                    Some(Ok(reading)) => {
                        app.trouble.clear();
                        board.take(reading);
                    }
                    Some(Err(failure)) => app.trouble = failure.message,
                    None => break Err(Failure::failed("the control plane is not asked any more")),
                }
                next = Instant::now() + app.interval.max(last.elapsed() * REST);
            }
        }
    };
    asking.abort();
    drop(screen);
    ended
}

/// Gives the number of rows in view.
fn paint(screen: &mut Screen, app: &mut App, board: &Board) -> io::Result<usize> {
    let size = screen.0.size()?;
    let area = Rect::new(0, 0, size.width, size.height);
    let rows = Areas::of(area, app.details && app.view == View::Syncs).rows();
    app.scroll(board, rows);
    screen.0.draw(|frame| draw(app, board, frame.area(), frame.buffer_mut()))?;
    Ok(rows)
}

/// Answers one question after the other.
async fn serve(mut reader: Reader, mut asked: mpsc::Receiver<Want>, answers: mpsc::Sender<Result<Reading, Failure>>) {
    while let Some(want) = asked.recv().await {
        if answers.send(reader.read(&want).await).await.is_err() {
            return;
        }
    }
}

/// What the terminal tells. The thread waits in a read that cannot be broken off: it ends with the process, or the terminal.
fn events() -> mpsc::Receiver<io::Result<Event>> {
    let (told, events) = mpsc::channel(64);
    thread::spawn(move || {
        loop {
            let event = event::read();
            let last = event.is_err();
            if told.blocking_send(event).is_err() || last {
                return;
            }
        }
    });
    events
}

/// Done at SIGTERM, SIGHUP or SIGINT, which a terminal in raw mode does not send but others may.
fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let of = |kind| signal(kind).map_err(|error| Failure::failed(format!("signals cannot be waited for: {error}")));
    let mut interrupt = of(SignalKind::interrupt())?;
    let mut terminate = of(SignalKind::terminate())?;
    let mut hangup = of(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

fn failed(error: &io::Error) -> Failure {
    Failure::failed(format!("the terminal: {error}"))
}
