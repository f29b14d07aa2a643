//! Places for requests under way, per destination host and on the whole node. Lanes that share a host take turns.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

/// Hands out places.
#[derive(Debug)]
pub struct Places {
    per_host: usize,
    whole: Queue,
    limit: usize,
    hosts: HashMap<Arc<str>, Queue>,
}

/// A place that is taken. Give it back with [`Places::give_back`].
#[derive(Debug)]
#[must_use]
pub struct Held {
    host: Arc<str>,
}

/// Places that are taken, and the lanes that wait for one, the longest first.
#[derive(Debug, Default)]
struct Queue {
    taken: usize,
    waiting: VecDeque<i64>,
    waits: HashSet<i64>,
}

impl Places {
    /// `per_host` requests to one host and `limit` in all may be under way, at least one each.
    #[must_use]
    pub fn new(per_host: usize, limit: usize) -> Self {
        Self { per_host: per_host.max(1), whole: Queue::default(), limit: limit.max(1), hosts: HashMap::new() }
    }

    /// Takes a place for a request of `lane` to `host`; without one the lane waits for its turn.
    pub fn take(&mut self, lane: i64, host: &Arc<str>) -> Option<Held> {
        let queue = self.hosts.entry(host.clone()).or_default();
        if queue.taken >= self.per_host {
            queue.wait(lane);
            return None;
        }
        if self.whole.taken >= self.limit {
            self.whole.wait(lane);
            return None;
        }
        queue.taken += 1;
        self.whole.taken += 1;
        Some(Held { host: host.clone() })
    }

    /// Gives a place back. Ask [`Places::turn`] then whose turn it is.
    pub fn give_back(&mut self, held: &Held) {
        self.whole.taken = self.whole.taken.saturating_sub(1);
        if let Some(queue) = self.hosts.get_mut(&held.host) {
            queue.taken = queue.taken.saturating_sub(1);
            if queue.taken == 0 && queue.waiting.is_empty() {
                self.hosts.remove(&held.host);
            }
        }
    }

    /// The lane whose turn it is to take a place like `held`; it waits no longer. Ask until there is none: a lane may have
    /// lost its interest.
    pub fn turn(&mut self, held: &Held) -> Option<i64> {
        if self.whole.taken >= self.limit {
            return None;
        }
        let per_host = self.per_host;
        let queue = self.hosts.get_mut(&held.host).filter(|queue| queue.taken < per_host);
        queue.and_then(Queue::next).or_else(|| self.whole.next())
    }

    /// Requests under way.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.whole.taken
    }
}

impl Queue {
    fn wait(&mut self, lane: i64) {
        if self.waits.insert(lane) {
            self.waiting.push_back(lane);
        }
    }

    fn next(&mut self) -> Option<i64> {
        let lane = self.waiting.pop_front()?;
        self.waits.remove(&lane);
        Some(lane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_that_share_a_host_take_turns() {
        let host: Arc<str> = "a:443".into();
        let mut places = Places::new(2, 100);
        let first = places.take(1, &host).unwrap();
        let second = places.take(1, &host).unwrap();
        assert!(places.take(1, &host).is_none() && places.take(2, &host).is_none() && places.take(2, &host).is_none());
        assert!(places.take(3, &"b:443".into()).is_some(), "another host has its own places");
        assert_eq!(places.turn(&first), None, "every place is taken");
        places.give_back(&first);
        assert_eq!(places.turn(&first), Some(1));
        let third = places.take(1, &host).unwrap();
        assert!(places.take(1, &host).is_none());
        places.give_back(&second);
        assert_eq!(places.turn(&second), Some(2), "the lane that has waited longest");
        assert_eq!(places.turn(&second), Some(1), "the other one did not want it any more");
        places.give_back(&third);
        assert_eq!((places.turn(&third), places.taken()), (None, 1));
    }

    #[test]
    fn the_whole_node_has_a_limit_too() {
        let mut places = Places::new(10, 2);
        let (a, b): (Arc<str>, Arc<str>) = ("a:443".into(), "b:443".into());
        let first = places.take(1, &a).unwrap();
        let _second = places.take(2, &b).unwrap();
        assert!(places.take(2, &b).is_none());
        places.give_back(&first);
        assert_eq!(places.turn(&first), Some(2));
        assert!(places.take(2, &b).is_some());
    }
}
