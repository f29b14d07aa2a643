//! The one source of time: a wall-clock instant at the start that then advances by a clock that nobody sets, so that a jump of
//! the machine's clock moves nothing; or, in tests, a clock that moves only when told.

mod boot;
mod manual;
mod mark;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use self::manual::Manual;
pub use self::{
    manual::ManualClock,
    mark::{JumpWatch, Resumed, TOLERANCE_MS, TimeMark, resume},
};

/// How often the machine's clock is compared with ours.
const WATCH_INTERVAL: Duration = Duration::from_secs(10);

/// The longest that a wait sleeps before it looks at the clock again: timers stand still while the machine sleeps, our time
/// does not.
const LONGEST_NAP: Duration = Duration::from_secs(10);

/// Hands out the time and waits. Clones share it.
#[derive(Clone)]
pub struct Clock {
    kind: Kind,
    jumps: Arc<AtomicU64>,
}

#[derive(Clone)]
enum Kind {
    System(Arc<System>),
    Manual(Arc<Manual>),
}

struct System {
    /// What the ticks lack to be milliseconds since the epoch.
    offset_ms: AtomicI64,
    boot_id: String,
}

impl Clock {
    /// The machine's time as it is now. From here on it advances by the time that truly passes, the machine's sleep included.
    #[must_use]
    pub fn system() -> Self {
        let offset_ms = AtomicI64::new(wall_ms().saturating_sub(millis(boot::ticks())));
        Self::of(Kind::System(Arc::new(System { offset_ms, boot_id: boot::id() })))
    }

    /// A clock that stands at `start_ms` until its other half moves it. It knows of no boot. For tests.
    #[must_use]
    pub fn manual(start_ms: i64) -> (Self, ManualClock) {
        Self::manual_booted(start_ms, "", 0)
    }

    /// The same on a machine that was booted `since_boot_ms` ago and calls that boot `boot_id`. For tests of restarts.
    #[must_use]
    pub fn manual_booted(start_ms: i64, boot_id: &str, since_boot_ms: i64) -> (Self, ManualClock) {
        let manual = Manual::new(start_ms, boot_id, since_boot_ms);
        (Self::of(Kind::Manual(manual.clone())), ManualClock(manual))
    }

    fn of(kind: Kind) -> Self {
        Self { kind, jumps: Arc::default() }
    }

    /// Milliseconds since the Unix epoch. Never less than an earlier answer, but for [`Clock::resume`].
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        match &self.kind {
            Kind::System(system) => system.offset_ms.load(Ordering::Relaxed).saturating_add(millis(boot::ticks())),
            Kind::Manual(manual) => manual.now_ms(),
        }
    }

    /// This moment, to be stored with what happens in it and handed to [`Clock::resume`] at the next start.
    #[must_use]
    pub fn mark(&self) -> TimeMark {
        match &self.kind {
            Kind::System(system) => {
                let since_boot_ms = millis(boot::ticks());
                let wall_ms = system.offset_ms.load(Ordering::Relaxed).saturating_add(since_boot_ms);
                TimeMark { wall_ms, boot_id: system.boot_id.clone(), since_boot_ms }
            }
            Kind::Manual(manual) => manual.mark(),
        }
    }

    /// Goes on where the process before left off, as [`resume`] says; `stored` is the newest moment that it has stored. For
    /// the start, before anything hangs on the time: it may go back. A jump of the machine's clock is logged and counted;
    /// gives how far it was in milliseconds, 0 if there was none.
    pub fn resume(&self, stored: &TimeMark, anything_open: bool) -> i64 {
        let now = self.mark();
        let Resumed { now_ms, jump_ms } = resume(stored, &now, anything_open);
        match &self.kind {
            Kind::System(system) => {
                system.offset_ms.fetch_add(now_ms.saturating_sub(now.wall_ms), Ordering::Relaxed);
            }
            Kind::Manual(manual) => manual.go_on_at(now_ms),
        }
        if jump_ms != 0 {
            self.jumps.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                jump_ms,
                believed = !anything_open,
                "the machine's clock has jumped since the last stored time"
            );
        }
        jump_ms
    }

    /// Compares the machine's clock with ours every 10 s, and logs and counts its jumps; they move nothing. Never ends. A
    /// manual clock has nothing to compare with.
    pub async fn watch_jumps(self) {
        if let Kind::Manual(_) = self.kind {
            return std::future::pending().await;
        }
        let mut watch = JumpWatch::new(wall_ms(), self.now_ms());
        loop {
            tokio::time::sleep(WATCH_INTERVAL).await;
            if let Some(jump_ms) = watch.observe(wall_ms(), self.now_ms()) {
                self.jumps.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(jump_ms, "the machine's clock has jumped: due times stay as they are");
            }
        }
    }

    /// How often the machine's clock was found to have jumped, at the start or since.
    #[must_use]
    pub fn jumps(&self) -> u64 {
        self.jumps.load(Ordering::Relaxed)
    }

    /// A stopwatch: the difference of two answers is how long something took, to the nanosecond, whatever happens to
    /// [`Clock::now_ms`] in between.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        match &self.kind {
            Kind::System(_) => boot::ticks(),
            Kind::Manual(manual) => Duration::from_millis(manual.now_ms().unsigned_abs()),
        }
    }

    /// Makes sure that the time is not before `ms` (the newest time that was stored): a clock that is behind counts as
    /// that time. Gives by how many milliseconds it was behind.
    pub fn not_before(&self, ms: i64) -> i64 {
        let behind = ms.saturating_sub(self.now_ms());
        if behind > 0 {
            match &self.kind {
                Kind::System(system) => {
                    system.offset_ms.fetch_add(behind, Ordering::Relaxed);
                }
                Kind::Manual(manual) => manual.go_on_at(ms),
            }
        }
        behind.max(0)
    }

    /// Waits until [`Clock::now_ms`] is `at_ms` or later. `wait` names what is waited for.
    pub async fn sleep_until(&self, at_ms: i64, wait: &'static str) {
        match &self.kind {
            Kind::System(_) => loop {
                let left = at_ms.saturating_sub(self.now_ms());
                if left <= 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(left.unsigned_abs()).min(LONGEST_NAP)).await;
            },
            Kind::Manual(manual) => manual.sleep_until(at_ms, wait).await,
        }
    }

    /// Rests for `duration` so that there is more to do at once. It saves work and decides nothing: on a manual clock there is no
    /// rest.
    pub async fn rest(&self, duration: Duration) {
        match &self.kind {
            Kind::System(_) => tokio::time::sleep(duration).await,
            Kind::Manual(_) => tokio::task::yield_now().await,
        }
    }

    /// Waits for `duration`. `wait` names what is waited for.
    pub async fn sleep(&self, duration: Duration, wait: &'static str) {
        self.sleep_until(self.now_ms().saturating_add(millis(duration)), wait).await;
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::System(_) => "system",
            Kind::Manual(_) => "manual",
        };
        write!(f, "Clock({kind}, {})", self.now_ms())
    }
}

/// What the machine says.
fn wall_ms() -> i64 {
    match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => millis(since),
        Err(before) => millis(before.duration()).saturating_neg(),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

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
        assert!(hand.has_no_sleepers());
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

    #[test]
    fn a_restart_goes_on_where_the_process_before_left_off() {
        for jump_ms in [DAY, -DAY] {
            let (before, hand) = Clock::manual_booted(1_000, "boot", 50);
            hand.advance(Duration::from_secs(5));
            let stored = before.mark();
            assert_eq!(stored, TimeMark { wall_ms: 6_000, boot_id: "boot".into(), since_boot_ms: 5_050 });

            let (after, hand) = Clock::manual_booted(9_000 + jump_ms, "boot", 8_050);
            assert_eq!(after.resume(&stored, true), jump_ms);
            assert_eq!((after.now_ms(), after.jumps()), (9_000, 1));
            hand.advance(Duration::from_secs(1));
            assert_eq!(after.mark(), TimeMark { wall_ms: 10_000, boot_id: "boot".into(), since_boot_ms: 9_050 });
        }
    }

    #[test]
    fn the_machines_clock_goes_on_by_the_time_that_has_passed() {
        let clock = Clock::system();
        let mark = clock.mark();
        assert_eq!(clock.resume(&mark, true), 0);
        // as if the machine's clock had been set a day back since the mark was stored, then a day ahead
        for jump_ms in [-DAY, DAY] {
            let now_ms = clock.now_ms();
            let stored = TimeMark { wall_ms: now_ms - jump_ms, ..clock.mark() };
            let found_ms = clock.resume(&stored, true);
            if stored.boot_id.is_empty() {
                continue; // this machine doesn't tell its boots apart
            }
            assert!((found_ms - jump_ms).abs() < 60_000);
            assert!((clock.now_ms() - (now_ms - jump_ms)).abs() < 60_000);
        }
        assert!(clock.clone().jumps() <= 2, "clones share the count");
    }

    #[test]
    fn a_new_process_on_this_machine_has_the_same_ticks() {
        let (first, second) = (Clock::system().mark(), Clock::system().mark());
        assert_eq!(first.boot_id, second.boot_id);
        assert!(second.since_boot_ms >= first.since_boot_ms);
    }
}
