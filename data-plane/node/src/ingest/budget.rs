//! How many bytes of producers' messages the node holds at once: each is charged before it is read, and what is charged is
//! given back when its events are on disk or refused.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Semaphore;
use tokio_util::sync::PollSemaphore;

/// Bytes that all producers together may have in the node's memory.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    room: Arc<Semaphore>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(bytes)), bytes }
    }

    /// Bytes that are charged now.
    pub(crate) fn in_use(&self) -> usize {
        self.bytes.saturating_sub(self.room.available_permits())
    }

    /// What one call is charged.
    pub(super) fn account(&self) -> Account {
        Account(Arc::new(Open { charged: AtomicUsize::new(0), room: self.room.clone() }))
    }

    pub(super) fn waiting_line(&self) -> PollSemaphore {
        PollSemaphore::new(self.room.clone())
    }
}

/// What a call was charged and has not settled. Clones share it; the last one gives it back.
#[derive(Clone, Debug)]
pub(super) struct Account(Arc<Open>);

#[derive(Debug)]
struct Open {
    charged: AtomicUsize,
    room: Arc<Semaphore>,
}

impl Account {
    /// Notes bytes whose permits were taken for good.
    pub(super) fn charge(&self, bytes: usize) {
        self.0.charged.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What was charged since the last time: that of the message that has just come, as the next is charged only when it is
    /// asked for.
    pub(super) fn settle(&self) -> Charge {
        Charge { bytes: self.0.charged.swap(0, Ordering::Relaxed), room: self.0.room.clone() }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.room.add_permits(*self.charged.get_mut());
    }
}

/// The bytes of one message, until it is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    bytes: usize,
    room: Arc<Semaphore>,
}

impl Charge {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.room.add_permits(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_charged_is_given_back_once() {
        let budget = Budget::new(100);
        let account = budget.account();
        let charge = |bytes: u32| {
            budget.room.try_acquire_many(bytes).unwrap().forget();
            account.charge(bytes as usize);
        };
        charge(30);
        let first = account.settle();
        charge(50);
        assert_eq!((first.bytes(), budget.in_use()), (30, 80));
        drop(first);
        assert_eq!(budget.in_use(), 50);
        // A call that breaks off gives back what it has not settled.
        drop(account);
        assert_eq!(budget.in_use(), 0);
    }
}
