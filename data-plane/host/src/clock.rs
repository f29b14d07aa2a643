//! The one source of time: a wall-clock instant at the start that then advances by the monotonic clock, so that a jump of
//! the machine's clock moves nothing; or, in tests, a clock that moves only when told.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::{Notify, oneshot};

/// Hands out the time and waits. Clones share it.
#[derive(Clone)]
pub struct Clock(Kind);

#[derive(Clone)]
enum Kind {
    System(Arc<System>),
    Manual(Arc<Manual>),
}

struct System {
    /// Milliseconds since the epoch at `started`.
    base_ms: AtomicI64,
    started: Instant,
}

impl Clock {
    /// The machine's time as it is now, advancing by the monotonic clock from here on.
    #[must_use]
    pub fn system() -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(Kind::System(Arc::new(System { base_ms: AtomicI64::new(millis(since_epoch)), started: Instant::now() })))
    }

    /// A clock that stands at `start_ms` until its other half moves it. For tests.
    #[must_use]
    pub fn manual(start_ms: i64) -> (Self, ManualClock) {
        let manual = Arc::new(Manual {
            state: Mutex::new(ManualState { now_ms: start_ms, next_id: 0, sleepers: BTreeMap::new() }),
            changed: Notify::new(),
        });
        (Self(Kind::Manual(manual.clone())), ManualClock(manual))
    }

    /// Milliseconds since the Unix epoch. Never less than an earlier answer.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        match &self.0 {
            Kind::System(system) => {
                system.base_ms.load(Ordering::Relaxed).saturating_add(millis(system.started.elapsed()))
            }
            Kind::Manual(manual) => manual.lock().now_ms,
        }
    }

    /// Makes sure that the time is not before `ms` (the newest time that was stored): a clock that is behind counts as
    /// that time. Gives by how many milliseconds it was behind.
    pub fn not_before(&self, ms: i64) -> i64 {
        let behind = ms.saturating_sub(self.now_ms());
        if behind > 0 {
            match &self.0 {
                Kind::System(system) => {
                    system.base_ms.fetch_add(behind, Ordering::Relaxed);
                }
                Kind::Manual(manual) => manual.advance_to(ms),
            }
        }
        behind.max(0)
    }

    /// Waits until [`Clock::now_ms`] is `at_ms` or later. `wait` names what is waited for.
    pub async fn sleep_until(&self, at_ms: i64, wait: &'static str) {
        match &self.0 {
            Kind::System(_) => loop {
                let left = at_ms.saturating_sub(self.now_ms());
                if left <= 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(left.unsigned_abs())).await;
            },
            Kind::Manual(manual) => manual.sleep_until(at_ms, wait).await,
        }
    }

    /// Waits for `duration`. `wait` names what is waited for.
    pub async fn sleep(&self, duration: Duration, wait: &'static str) {
        self.sleep_until(self.now_ms().saturating_add(millis(duration)), wait).await;
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0 {
            Kind::System(_) => "system",
            Kind::Manual(_) => "manual",
        };
        write!(f, "Clock({kind}, {})", self.now_ms())
    }
}

/// The half of a manual clock that moves it.
#[derive(Clone)]
pub struct ManualClock(Arc<Manual>);

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

    /// Waits until somebody waits under the name `wait`, then moves the clock just to where the earliest of them wakes.
    /// Gives that time.
    pub async fn advance_to_next(&self, wait: &'static str) -> i64 {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let next =
                self.0.lock().sleepers.iter().find(|(_, sleeper)| sleeper.wait == wait).map(|((at_ms, _), _)| *at_ms);
            if let Some(at_ms) = next {
                self.0.advance_to(at_ms);
                return at_ms;
            }
            changed.await;
        }
    }
}

struct Manual {
    state: Mutex<ManualState>,
    /// Somebody began to wait.
    changed: Notify,
}

struct ManualState {
    now_ms: i64,
    next_id: u64,
    sleepers: BTreeMap<(i64, u64), Sleeper>,
}

struct Sleeper {
    wait: &'static str,
    wake: oneshot::Sender<()>,
}

impl Manual {
    fn lock(&self) -> MutexGuard<'_, ManualState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn advance_to(&self, ms: i64) {
        let mut state = self.lock();
        state.now_ms = state.now_ms.max(ms);
        let later_than = (state.now_ms.saturating_add(1), 0);
        let later = state.sleepers.split_off(&later_than);
        let due = std::mem::replace(&mut state.sleepers, later);
        drop(state);
        for sleeper in due.into_values() {
            // Whoever stopped waiting does not mind.
            let _ = sleeper.wake.send(());
        }
    }

    async fn sleep_until(&self, at_ms: i64, wait: &'static str) {
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

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_clock_moves_only_when_told() {
        let (clock, hand) = Clock::manual(1_000);
        assert_eq!(clock.now_ms(), 1_000);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep(Duration::from_secs(60), "next round").await;
                clock.now_ms()
            }
        });
        assert_eq!(hand.advance_to_next("next round").await, 61_000);
        assert_eq!(sleeper.await.unwrap(), 61_000);
        hand.advance_to(5);
        assert_eq!(clock.now_ms(), 61_000, "never back");
    }

    #[tokio::test]
    async fn a_dropped_sleeper_is_forgotten() {
        let (clock, hand) = Clock::manual(0);
        {
            let sleep = clock.sleep(Duration::from_secs(1), "gone");
            tokio::pin!(sleep);
            assert!(futures_poll(&mut sleep).await);
        }
        assert!(hand.0.lock().sleepers.is_empty());
    }

    async fn futures_poll<F: Future<Output = ()>>(future: &mut std::pin::Pin<&mut F>) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await
    }

    #[test]
    fn a_clock_that_is_behind_counts_as_the_stored_time() {
        let clock = Clock::system();
        let ahead = clock.now_ms() + 86_400_000;
        assert!(clock.not_before(ahead) > 86_000_000);
        assert!(clock.now_ms() >= ahead);
        assert_eq!(clock.not_before(0), 0);
    }
}
