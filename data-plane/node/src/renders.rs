//! Keeps templates that take long from the way of all others. A lane whose renderings are cheap renders in place; one whose
//! renderings are not waits for its turn in a queue of their own, in which the lane that has used the fewest steps comes
//! first. So an expensive template slows its own sync only.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use sluice_pipeline::{
    request::{self, RenderError, Rendered},
    sync::CompiledSync,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

/// A lane whose renderings take more steps than this on average waits for its turn.
const CHEAP_STEPS: u64 = 10_000;

/// What a lane's renderings cost, as a moving average over some eight of them.
#[derive(Debug, Default)]
pub struct RenderCost(AtomicU64);

impl RenderCost {
    fn is_cheap(&self) -> bool {
        self.0.load(Ordering::Relaxed) <= CHEAP_STEPS
    }

    /// Two renderings at once may lose one of their figures: it is an estimate.
    fn add(&self, steps: u64) {
        let old = self.0.load(Ordering::Relaxed);
        self.0.store(old - old / 8 + steps / 8, Ordering::Relaxed);
    }
}

/// Renders bodies. Clones share the queue.
#[derive(Clone, Debug)]
pub struct Renders {
    jobs: mpsc::UnboundedSender<Job>,
}

/// What a rendering came to, and the steps that it took.
type Output = (Result<Rendered, RenderError>, u64);

/// A rendering that waits for its turn. Its number is bounded by the places for requests under way.
#[derive(Debug)]
struct Job {
    lane: i64,
    sync: Arc<CompiledSync>,
    event: Bytes,
    now_ms: i64,
    reply: oneshot::Sender<Output>,
}

impl Renders {
    /// Starts the queue: at most `at_once` of its renderings run at the same time, on threads of their own. It ends when the
    /// last clone is dropped.
    #[must_use]
    pub fn start(at_once: usize) -> Self {
        let (jobs, queue) = mpsc::unbounded_channel();
        tokio::spawn(run(queue, at_once.max(1)));
        Self { jobs }
    }

    /// The body for an event; `None` if the node is going down.
    pub async fn render(
        &self,
        lane: i64,
        cost: &RenderCost,
        sync: &Arc<CompiledSync>,
        event: &Bytes,
        now_ms: i64,
    ) -> Option<Result<Rendered, RenderError>> {
        let (rendered, steps) = if cost.is_cheap() {
            render(sync, event, now_ms)
        } else {
            let (reply, answer) = oneshot::channel();
            self.jobs.send(Job { lane, sync: sync.clone(), event: event.clone(), now_ms, reply }).ok()?;
            answer.await.ok()?
        };
        cost.add(steps);
        Some(rendered)
    }
}

fn render(sync: &CompiledSync, event: &Bytes, now_ms: i64) -> Output {
    let rendered = request::render_body(sync, event, now_ms);
    let steps = match &rendered {
        Ok(rendered) => rendered.steps,
        Err(error) => error.steps,
    };
    (rendered, steps)
}

async fn run(mut queue: mpsc::UnboundedReceiver<Job>, at_once: usize) {
    let mut turns = Turns::<Job>::default();
    let mut running = JoinSet::new();
    loop {
        while running.len() < at_once
            && let Some(job) = turns.next()
        {
            running.spawn_blocking(move || {
                let output = render(&job.sync, &job.event, job.now_ms);
                let steps = output.1;
                // Whoever has stopped waiting does not mind.
                let _ = job.reply.send(output);
                (job.lane, steps)
            });
        }
        tokio::select! {
            job = queue.recv() => match job {
                Some(job) => turns.wait(job.lane, job),
                None => return,
            },
            Some(done) = running.join_next() => match done {
                Ok((lane, steps)) => turns.used(lane, steps),
                Err(error) => tracing::error!(%error, "a rendering broke off"),
            },
        }
    }
}

/// Whose turn it is: the lane that has used the fewest steps. One that comes back after a while begins where the others
/// are: it has saved nothing up.
#[derive(Debug)]
struct Turns<T> {
    /// Ordered by used steps, then by arrival.
    waiting: BTreeMap<(u64, u64), (i64, T)>,
    used: HashMap<i64, Account>,
    arrivals: u64,
    /// What the lane whose turn was last had used then.
    level: u64,
}

#[derive(Debug, Default)]
struct Account {
    steps: u64,
    /// Waiting and running.
    open: usize,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), used: HashMap::new(), arrivals: 0, level: 0 }
    }
}

/// What a waiting rendering is taken to cost until it is known: so that one lane's many don't all come first.
const GUESS: u64 = CHEAP_STEPS;

impl<T> Turns<T> {
    fn wait(&mut self, lane: i64, job: T) {
        let account = self.used.entry(lane).or_default();
        account.steps = account.steps.max(self.level);
        let at = account.steps.saturating_add(GUESS.saturating_mul(account.open as u64));
        account.open += 1;
        self.arrivals += 1;
        self.waiting.insert((at, self.arrivals), (lane, job));
    }

    fn next(&mut self) -> Option<T> {
        let ((at, _), (_, job)) = self.waiting.pop_first()?;
        self.level = self.level.max(at);
        Some(job)
    }

    fn used(&mut self, lane: i64, steps: u64) {
        let Some(account) = self.used.get_mut(&lane) else { return };
        account.steps = account.steps.saturating_add(steps);
        account.open = account.open.saturating_sub(1);
        if account.open == 0 && account.steps <= self.level {
            self.used.remove(&lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_with_many_does_not_come_before_one_with_few() {
        let mut turns = Turns::default();
        for job in 0..100 {
            turns.wait(1, (1, job));
        }
        turns.wait(2, (2, 0));
        let order: Vec<_> = std::iter::from_fn(|| turns.next()).collect();
        let place = order.iter().position(|(lane, _)| *lane == 2).unwrap();
        assert!(place <= 2, "{place}");
        assert_eq!(order.len(), 101, "nothing is left out");
    }

    #[test]
    fn who_has_used_more_comes_later_and_nothing_is_saved_up() {
        let mut turns = Turns::default();
        turns.wait(1, "dear");
        assert_eq!(turns.next(), Some("dear"));
        turns.used(1, 1_000_000);
        turns.wait(1, "dear");
        turns.wait(2, "less dear");
        assert_eq!((turns.next(), turns.next()), (Some("less dear"), Some("dear")));
        turns.used(2, 10);
        turns.used(1, 1_000_000);
        turns.wait(3, "new");
        assert_eq!(turns.used[&3].steps, turns.level, "a new lane begins where the others are");
    }

    #[test]
    fn a_lane_is_dear_after_one_dear_rendering_and_cheap_again_after_some_cheap_ones() {
        let cost = RenderCost::default();
        cost.add(200_000);
        assert!(!cost.is_cheap());
        for _ in 0..12 {
            cost.add(100);
        }
        assert!(cost.is_cheap());
    }
}
