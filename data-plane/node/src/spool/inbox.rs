//! The way to the writer's thread: what may wait for company does not wake it.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Where at least so many are expected, so much time lies between two takings: what somebody waits for waits for that too.
const MANY: usize = 8;
const PACE: Duration = Duration::from_millis(1);

/// What does not come within one to two of these is not expected any more: nobody waits for an endpoint that hangs.
const SOON: Duration = Duration::from_millis(10);

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

/// How many are expected: those of the span of time that goes on, and of the one before.
#[derive(Debug)]
struct Expectations {
    /// How long a span is.
    length: Duration,
    span: u64,
    began: Instant,
    now: usize,
    before: usize,
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
            Some(Due::WhileExpected(_)) => self.expected.now + self.expected.before == 0,
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

impl Expectations {
    fn new() -> Self {
        Self { length: SOON, span: 0, began: Instant::now(), now: 0, before: 0 }
    }

    /// Gives the span that it belongs to.
    fn add(&mut self) -> u64 {
        self.pass(Instant::now());
        self.now += 1;
        self.span
    }

    fn remove(&mut self, span: u64) {
        match self.span - span {
            0 => self.now -= 1,
            1 => self.before -= 1,
            _ => {}
        }
    }

    fn count(&mut self) -> usize {
        self.pass(Instant::now());
        self.now + self.before
    }

    /// Forgets what has been expected for long.
    fn pass(&mut self, at: Instant) {
        let passed = at.saturating_duration_since(self.began);
        if passed >= self.length {
            // Where nobody has looked for long, the one before has passed as well.
            let spans = if passed < 2 * self.length { 1 } else { 2 };
            self.before = if spans == 1 { self.now } else { 0 };
            self.now = 0;
            self.span += spans;
            self.began = at;
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
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[derive(Debug, PartialEq, Eq)]
    struct Letter(u32, Patience);

    impl Item for Letter {
        fn patience(&self) -> Patience {
            self.1
        }

        fn bytes(&self) -> usize {
            10
        }
    }

    fn urgent(number: u32) -> Letter {
        Letter(number, Patience::None)
    }

    fn patient(number: u32) -> Letter {
        Letter(number, Patience::UpTo(LONG))
    }

    fn hopeful(number: u32) -> Letter {
        Letter(number, Patience::WhileExpected(LONG))
    }

    /// One that expects for as long as a test may take.
    fn inbox() -> (Sender<Letter>, Receiver<Letter>) {
        let (sender, receiver) = super::inbox();
        receiver.shared.lock().expected.length = LONG;
        (sender, receiver)
    }

    fn numbers(taken: Taken<Letter>) -> Vec<u32> {
        let Taken::Items(items) = taken else { panic!("{taken:?}") };
        items.into_iter().map(|Letter(number, _)| number).collect()
    }

    fn take(receiver: &mut Receiver<Letter>) -> Vec<u32> {
        numbers(receiver.take(LONG, 100, 1_000))
    }

    #[test]
    fn what_somebody_waits_for_takes_along_what_may_wait() {
        let (sender, mut receiver) = inbox();
        for letter in [patient(1), hopeful(2), urgent(3), patient(4)] {
            sender.send(letter).unwrap();
        }
        assert_eq!(take(&mut receiver), [1, 2, 3, 4]);
        assert_eq!(receiver.take(Duration::ZERO, 9, 9), Taken::Nothing);
    }

    #[test]
    fn waits_for_what_is_expected_and_for_nothing_else() {
        let (sender, mut receiver) = inbox();
        sender.send(hopeful(1)).unwrap();
        assert_eq!(take(&mut receiver), [1], "nothing is expected");

        let (first, second) = (sender.expect(), sender.expect());
        let reading = std::thread::spawn(move || (take(&mut receiver), receiver));
        sender.send(hopeful(2)).unwrap();
        drop(first);
        sender.send(hopeful(3)).unwrap();
        drop(second);
        let (taken, mut receiver) = reading.join().unwrap();
        assert_eq!(taken, [2, 3]);

        let _never = sender.expect();
        let reading = std::thread::spawn(move || take(&mut receiver));
        sender.send(hopeful(4)).unwrap();
        sender.send(urgent(5)).unwrap();
        let mut all = reading.join().unwrap();
        all.dedup();
        assert_eq!(all, [4, 5]);
    }

    #[test]
    fn waits_no_longer_than_the_least_patient() {
        let (sender, mut receiver) = inbox();
        let _never = sender.expect();
        sender.send(patient(1)).unwrap();
        sender.send(Letter(2, Patience::WhileExpected(Duration::from_millis(1)))).unwrap();
        sender.send(patient(3)).unwrap();
        assert_eq!(take(&mut receiver), [1, 2, 3]);
        sender.send(Letter(4, Patience::UpTo(Duration::from_millis(1)))).unwrap();
        sender.send(hopeful(5)).unwrap();
        assert_eq!(take(&mut receiver), [4, 5]);
    }

    #[test]
    fn takes_no_more_than_is_asked_for_and_leaves_the_rest_due() {
        let (sender, mut receiver) = inbox();
        let _never = sender.expect();
        for number in 0..7 {
            sender.send(hopeful(number)).unwrap();
        }
        assert_eq!(numbers(receiver.take(LONG, 3, 1_000)), [0, 1, 2], "as many as may be taken do not wait");
        assert_eq!(numbers(receiver.take(LONG, 100, 15)), [3, 4]);
        assert_eq!(take(&mut receiver), [5, 6]);
    }

    #[test]
    fn where_many_are_expected_not_even_the_urgent_ones_are_taken_one_by_one() {
        let (sender, mut receiver) = inbox();
        let _never: Vec<_> = (0..MANY).map(|_| sender.expect()).collect();
        receiver.paced_until = Instant::now() + LONG;
        let reading = std::thread::spawn(move || take(&mut receiver));
        sender.send(urgent(1)).unwrap();
        sender.send(urgent(2)).unwrap();
        // Whatever happens, the last ones are not waited with.
        drop(sender);
        assert_eq!(reading.join().unwrap(), [1, 2]);
    }

    #[test]
    fn what_takes_long_is_not_expected_any_more() {
        let mut expected = Expectations::new();
        let (first, at) = (expected.add(), expected.began);
        expected.pass(at + SOON);
        let second = expected.add();
        assert_eq!((expected.now, expected.before), (1, 1));
        expected.pass(at + 2 * SOON);
        assert_eq!((expected.now, expected.before), (0, 1));
        expected.remove(first);
        assert_eq!((expected.now, expected.before), (0, 1), "it was forgotten");
        expected.remove(second);
        assert_eq!((expected.now, expected.before), (0, 0));
        let third = expected.add();
        expected.pass(expected.began + 9 * SOON);
        assert_eq!((expected.now, expected.before), (0, 0));
        expected.remove(third);
        assert_eq!((expected.now, expected.before), (0, 0));
    }

    #[test]
    fn either_end_hears_that_the_other_has_gone() {
        let (sender, mut receiver) = inbox();
        sender.clone().send(patient(1)).unwrap();
        let reading = std::thread::spawn(move || (take(&mut receiver), receiver.take(LONG, 9, 9)));
        drop(sender);
        assert_eq!(reading.join().unwrap(), (vec![1], Taken::Closed));

        let (sender, receiver) = inbox();
        drop(receiver);
        assert_eq!(sender.send(urgent(1)), Err(urgent(1)));
    }
}
