//! The way to the writer's thread: what may wait for company does not wake it.

mod expectations;

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use self::expectations::Expectations;

/// Where at least so many are expected, so much time lies between two takings: what somebody waits for waits for that too.
const MANY: usize = 8;
const PACE: Duration = Duration::from_millis(1);

/// How long something may wait for company.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Somebody waits for it.
    None,
    /// So long, and no longer than others are expected.
    WhileExpected(Duration),
    /// So long.
    UpTo(Duration),
}

/// What goes through.
pub(super) trait Item {
    /// How long it may wait.
    fn patience(&self) -> Patience;
    /// Its share of [`Receiver::take`]'s bytes.
    fn bytes(&self) -> usize;
}

/// Both ends of a new one.
pub(super) fn inbox<T: Item>() -> (Sender<T>, Receiver<T>) {
    let state = State {
        items: VecDeque::new(),
        due: None,
        wait: Wait::No,
        expected: Expectations::new(),
        senders: 1,
        is_received: true,
    };
    let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
    (Sender(shared.clone()), Receiver { shared, paced_until: Instant::now() })
}

/// Clones share it.
#[derive(Debug)]
pub(super) struct Sender<T>(Arc<Shared<T>>);

/// The other end.
#[derive(Debug)]
pub(super) struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// Where many are expected, nothing is taken before: then few of them come alone.
    paced_until: Instant,
}

/// Something will be sent before this is dropped: what else waits may wait for it, if that is soon.
#[derive(Debug)]
pub(super) struct Expected<T> {
    shared: Arc<Shared<T>>,
    span: u64,
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    /// When they must be taken; none if there are none.
    due: Option<Due>,
    /// What the receiver waits for.
    wait: Wait,
    expected: Expectations,
    senders: usize,
    is_received: bool,
}

#[derive(Clone, Copy, Debug)]
enum Due {
    Now,
    /// At the first of these times, or earlier if nothing is expected.
    WhileExpected(Instant),
    At(Instant),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    No,
    /// Anything.
    First,
    /// Something that is due at once.
    Due,
    /// The time alone.
    Time,
}

/// What [`Receiver::take`] gives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken<T> {
    /// In the order of sending; not empty.
    Items(Vec<T>),
    /// Nothing came.
    Nothing,
    /// Every sender is gone, and everything was taken.
    Closed,
}

impl<T: Item> Sender<T> {
    /// Hands something over; gives it back if nobody will take it.
    pub(super) fn send(&self, item: T) -> Result<(), T> {
        let mut state = self.0.lock();
        if !state.is_received {
            return Err(item);
        }
        state.due = Some(state.due_with(item.patience()));
        state.items.push_back(item);
        self.0.wake_if(state, |state| state.wait == Wait::First || state.is_due() && state.wait == Wait::Due);
        Ok(())
    }

    /// Says that more will come.
    pub(super) fn expect(&self) -> Expected<T> {
        let span = self.0.lock().expected.add();
        Expected { shared: self.0.clone(), span }
    }
}

impl<T: Item> Receiver<T> {
    /// Waits at most `patience` for something to come, and then for what it may wait for. Takes at most so many, and no more once
    /// they have so many bytes.
    pub(super) fn take(&mut self, patience: Duration, most: usize, most_bytes: usize) -> Taken<T> {
        let give_up = Instant::now() + patience;
        let mut state = self.shared.lock();
        while state.items.is_empty() {
            if state.senders == 0 {
                return Taken::Closed;
            }
            let Some(left) = left(give_up) else { return Taken::Nothing };
            state = self.shared.wait(state, Wait::First, left);
        }
        while state.items.len() < most && state.senders > 0 {
            let expected = state.expected.count();
            let until = match state.due {
                Some(Due::At(at)) => at,
                Some(Due::WhileExpected(at)) if expected > 0 => at,
                _ => break,
            };
            let Some(left) = left(until) else { break };
            state = self.shared.wait(state, Wait::Due, left);
        }
        while state.expected.count() >= MANY && state.items.len() < most && state.senders > 0 {
            let Some(left) = left(self.paced_until) else { break };
            state = self.shared.wait(state, Wait::Time, left);
        }
        self.paced_until = Instant::now() + PACE;
        let mut bytes = 0;
        let enough = |item: &T| {
            let is_full = bytes >= most_bytes;
            bytes += item.bytes();
            is_full
        };
        let count = state.items.iter().take(most).position(enough).unwrap_or(most.min(state.items.len()));
        let taken = if count == state.items.len() {
            state.due = None;
            std::mem::take(&mut state.items).into()
        } else {
            // They have waited already.
            state.due = Some(Due::Now);
            state.items.drain(..count).collect()
        };
        Taken::Items(taken)
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, mut state: MutexGuard<'a, State<T>>, wait: Wait, left: Duration) -> MutexGuard<'a, State<T>> {
        state.wait = wait;
        let (mut state, _) = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        state.wait = Wait::No;
        state
    }

    /// Wakes the receiver if it waits and should not. The lock is given back first: it would run into it.
    fn wake_if(&self, mut state: MutexGuard<'_, State<T>>, should: impl FnOnce(&State<T>) -> bool) {
        if state.wait != Wait::No && should(&state) {
            state.wait = Wait::No;
            drop(state);
            self.changed.notify_one();
        }
    }
}

impl<T> State<T> {
    fn is_due(&self) -> bool {
        match self.due {
            Some(Due::Now) => true,
            Some(Due::WhileExpected(_)) => self.expected.is_empty(),
            Some(Due::At(_)) | None => false,
        }
    }

    /// When everything must be taken if something of this patience comes.
    fn due_with(&self, patience: Patience) -> Due {
        match (self.due, patience) {
            (Some(Due::Now), _) | (_, Patience::None) => Due::Now,
            // Set by the first one: those that come later do not put it off.
            (Some(due @ Due::WhileExpected(_)), _) => due,
            (Some(due @ Due::At(at)), Patience::WhileExpected(most)) => {
                let while_expected = Instant::now() + most;
                if at <= while_expected { due } else { Due::WhileExpected(while_expected) }
            }
            (Some(due @ Due::At(_)), Patience::UpTo(_)) => due,
            (None, Patience::WhileExpected(most)) => Due::WhileExpected(Instant::now() + most),
            (None, Patience::UpTo(most)) => Due::At(Instant::now() + most),
        }
    }
}

fn left(until: Instant) -> Option<Duration> {
    until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.senders -= 1;
        self.0.wake_if(state, |state| state.senders == 0);
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_received = false;
        // Who waits for an answer hears that none comes.
        let unread = std::mem::take(&mut state.items);
        drop(state);
        drop(unread);
    }
}

impl<T> Drop for Expected<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.expected.remove(self.span);
        self.shared.wake_if(state, |state| state.is_due() && state.wait == Wait::Due);
    }
}

#[cfg(test)]
mod tests;
