//! Draining: the node takes no more events while it delivers what it holds. Begun by an operator, ended by a restart.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::watch;

/// Whether the node drains, and who is still sending. Clones share it.
#[derive(Clone, Debug)]
pub struct Drain {
    asked: watch::Sender<bool>,
    senders: Arc<AtomicUsize>,
}

impl Default for Drain {
    fn default() -> Self {
        Self { asked: watch::Sender::new(false), senders: Arc::default() }
    }
}

impl Drain {
    /// From now on the node takes no more events.
    pub fn begin(&self) {
        if !self.asked.send_replace(true) {
            tracing::info!("the node drains: it takes no more events");
        }
    }

    /// Whether it drains.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        *self.asked.borrow()
    }

    /// Turns true when it begins.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.asked.subscribe()
    }

    /// Lets a call with events in, unless the node drains. Whoever is let in is counted until the guard is dropped.
    #[must_use]
    pub fn enter(&self) -> Option<Sender> {
        // Counted first: whoever sees no sender after `begin` knows that none comes in any more.
        self.senders.fetch_add(1, Ordering::SeqCst);
        let sender = Sender { senders: self.senders.clone() };
        (!self.has_begun()).then_some(sender)
    }

    /// Calls with events that are under way.
    #[must_use]
    pub fn sender_count(&self) -> usize {
        self.senders.load(Ordering::SeqCst)
    }
}

/// A call with events, as long as it is under way.
#[derive(Debug)]
pub struct Sender {
    senders: Arc<AtomicUsize>,
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.senders.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_in_is_counted_and_nobody_comes_in_once_it_drains() {
        let drain = Drain::default();
        let (first, second) = (drain.enter(), drain.enter());
        assert!(first.is_some() && second.is_some());
        drain.begin();
        drain.begin();
        assert!(drain.has_begun() && drain.enter().is_none());
        assert_eq!(drain.sender_count(), 2);
        drop((first, second));
        assert_eq!(drain.sender_count(), 0);
    }
}
