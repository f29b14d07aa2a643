//! Places for requests under way, per destination host and on the whole node. Lanes that share a host take turns, and none
//! may have more places than are still free: what one that hangs can hold is half of what others have left.

use std::{
    collections::{HashMap, HashSet, VecDeque, hash_map::Entry},
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
    lane: i64,
    host: Arc<str>,
}

/// Places that are taken, and the lanes that wait for one, the longest first.
#[derive(Debug, Default)]
struct Queue {
    taken: usize,
    by_lane: HashMap<i64, usize>,
    waiting: VecDeque<i64>,
    waits: HashSet<i64>,
}

impl Places {
    /// `per_host` requests to one host and `limit` in all may be under way, at least one each.
    #[must_use]
    pub fn new(per_host: usize, limit: usize) -> Self {
        Self { per_host: per_host.max(1), whole: Queue::default(), limit: limit.max(1), hosts: HashMap::new() }
    }

    /// Takes a place for a request of `lane` to `host`; without one the lane waits for its turn. A lane that has its share
    /// already does not wait: it may ask again when one of its own places is given back.
    pub fn take(&mut self, lane: i64, host: &Arc<str>) -> Option<Held> {
        let queue = self.hosts.entry(host.clone()).or_default();
        for (queue, limit) in [(&mut *queue, self.per_host), (&mut self.whole, self.limit)] {
            let free = limit.saturating_sub(queue.taken);
            if free == 0 {
                queue.wait(lane);
                return None;
            }
            if queue.of(lane) >= free {
                return None;
            }
        }
        queue.take(lane);
        self.whole.take(lane);
        Some(Held { lane, host: host.clone() })
    }

    /// Gives a place back. Ask [`Places::turn`] then whose turn it is.
    pub fn give_back(&mut self, held: &Held) {
        self.whole.give_back(held.lane);
        if let Some(queue) = self.hosts.get_mut(&held.host) {
            queue.give_back(held.lane);
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
    fn of(&self, lane: i64) -> usize {
        self.by_lane.get(&lane).copied().unwrap_or_default()
    }

    fn take(&mut self, lane: i64) {
        self.taken += 1;
        *self.by_lane.entry(lane).or_default() += 1;
    }

    fn give_back(&mut self, lane: i64) {
        self.taken = self.taken.saturating_sub(1);
        if let Entry::Occupied(mut taken) = self.by_lane.entry(lane) {
            *taken.get_mut() = taken.get().saturating_sub(1);
            if *taken.get() == 0 {
                taken.remove();
            }
        }
    }

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

    fn held(places: &mut Places, lane: i64, host: &Arc<str>) -> Vec<Held> {
        std::iter::from_fn(|| places.take(lane, host)).collect()
    }

    #[test]
    fn lanes_that_share_a_host_take_turns() {
        let host: Arc<str> = "a:443".into();
        let mut places = Places::new(2, 100);
        let first = places.take(1, &host).unwrap();
        let second = places.take(2, &host).unwrap();
        assert!(places.take(1, &host).is_none() && places.take(3, &host).is_none() && places.take(3, &host).is_none());
        assert!(places.take(4, &"b:443".into()).is_some(), "another host has its own places");
        assert_eq!(places.turn(&first), None, "every place is taken");
        places.give_back(&first);
        assert_eq!(places.turn(&first), Some(1));
        let third = places.take(1, &host).unwrap();
        assert!(places.take(1, &host).is_none());
        places.give_back(&second);
        assert_eq!(places.turn(&second), Some(3), "the lane that has waited longest");
        assert_eq!(places.turn(&second), Some(1), "the other one did not want it any more");
        places.give_back(&third);
        assert_eq!((places.turn(&third), places.taken()), (None, 1));
    }

    #[test]
    fn the_whole_node_has_a_limit_too() {
        let mut places = Places::new(10, 2);
        let (a, b, c): (Arc<str>, Arc<str>, Arc<str>) = ("a:443".into(), "b:443".into(), "c:443".into());
        let first = places.take(1, &a).unwrap();
        let _second = places.take(2, &b).unwrap();
        assert!(places.take(3, &c).is_none());
        places.give_back(&first);
        assert_eq!(places.turn(&first), Some(3));
        assert!(places.take(3, &c).is_some());
    }

    #[test]
    fn a_lane_that_hangs_leaves_places_of_its_host() {
        let host: Arc<str> = "a:443".into();
        let mut places = Places::new(8, 100);
        let hung = held(&mut places, 1, &host);
        assert_eq!((hung.len(), held(&mut places, 2, &host).len(), held(&mut places, 3, &host).len()), (4, 2, 1));
        places.give_back(&hung[0]);
        assert!(places.take(3, &host).is_some(), "it has its share when others give back");
    }
}
