//! A clock that moves only when told, for tests.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, oneshot};

use super::{mark::TimeMark, millis};

/// The half of a manual clock that moves it.
#[derive(Clone)]
pub struct ManualClock(pub(super) Arc<Manual>);

impl ManualClock {
    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.0.lock().now_ms
    }

    /// Moves the clock by `duration` and wakes who waited for that.
    pub fn advance(&self, duration: Duration) {
        self.advance_to(self.now_ms().saturating_add(millis(duration)));
    }

    /// Moves the clock to `ms`, never back, and wakes who waited for that.
    pub fn advance_to(&self, ms: i64) {
        self.0.advance_to(ms);
    }

    /// Waits until somebody waits under the name `wait`; gives when the earliest of them wakes.
    pub async fn next(&self, wait: &'static str) -> i64 {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let next =
                self.0.lock().sleepers.iter().find(|(_, sleeper)| sleeper.wait == wait).map(|((at_ms, _), _)| *at_ms);
            if let Some(at_ms) = next {
                return at_ms;
            }
            changed.await;
        }
    }

    /// Waits until somebody waits under the name `wait`, then moves the clock just to where the earliest of them wakes.
    /// Gives that time.
    pub async fn advance_to_next(&self, wait: &'static str) -> i64 {
        let at_ms = self.next(wait).await;
        self.0.advance_to(at_ms);
        at_ms
    }
}

#[cfg(test)]
impl ManualClock {
    pub(super) fn has_no_sleepers(&self) -> bool {
        self.0.lock().sleepers.is_empty()
    }
}

pub(super) struct Manual {
    state: Mutex<ManualState>,
    /// Somebody began to wait.
    changed: Notify,
    boot_id: String,
}

struct ManualState {
    now_ms: i64,
    since_boot_ms: i64,
    next_id: u64,
    sleepers: BTreeMap<(i64, u64), Sleeper>,
}

struct Sleeper {
    wait: &'static str,
    wake: oneshot::Sender<()>,
}

impl Manual {
    pub(super) fn new(start_ms: i64, boot_id: &str, since_boot_ms: i64) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(ManualState { now_ms: start_ms, since_boot_ms, next_id: 0, sleepers: BTreeMap::new() }),
            changed: Notify::new(),
            boot_id: boot_id.to_owned(),
        })
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.lock().now_ms
    }

    pub(super) fn mark(&self) -> TimeMark {
        let state = self.lock();
        TimeMark { wall_ms: state.now_ms, boot_id: self.boot_id.clone(), since_boot_ms: state.since_boot_ms }
    }

    fn lock(&self) -> MutexGuard<'_, ManualState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn advance_to(&self, ms: i64) {
        let mut state = self.lock();
        let passed_ms = ms.saturating_sub(state.now_ms).max(0);
        state.since_boot_ms = state.since_boot_ms.saturating_add(passed_ms);
        let now_ms = state.now_ms.max(ms);
        Self::set(state, now_ms);
    }

    /// Goes on at `ms`, be it earlier or later; that is no time that passes.
    pub(super) fn go_on_at(&self, ms: i64) {
        Self::set(self.lock(), ms);
    }

    fn set(mut state: MutexGuard<'_, ManualState>, now_ms: i64) {
        state.now_ms = now_ms;
        let later_than = (state.now_ms.saturating_add(1), 0);
        let later = state.sleepers.split_off(&later_than);
        let due = std::mem::replace(&mut state.sleepers, later);
        drop(state);
        for sleeper in due.into_values() {
            // Whoever stopped waiting does not mind.
            let _ = sleeper.wake.send(());
        }
    }

    pub(super) async fn sleep_until(&self, at_ms: i64, wait: &'static str) {
        let (key, woken) = {
            let mut state = self.lock();
            if at_ms <= state.now_ms {
                return;
            }
            let key = (at_ms, state.next_id);
            state.next_id += 1;
            let (wake, woken) = oneshot::channel();
            state.sleepers.insert(key, Sleeper { wait, wake });
            (key, woken)
        };
        self.changed.notify_waiters();
        let _forget = Forget { manual: self, key };
        let _ = woken.await;
    }
}

/// Takes a sleeper that is dropped before its time off the list.
struct Forget<'a> {
    manual: &'a Manual,
    key: (i64, u64),
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.manual.lock().sleepers.remove(&self.key);
    }
}
