//! A bounded queue whose items leave in batches. Who puts something in never waits: what finds no room is dropped and counted.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use crate::config::Queue;

/// Counts of one signal. What was put in is exported, dropped, failed, or still on its way.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) exported: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) failed: AtomicU64,
}

impl Counts {
    /// Counts an export of `items`.
    pub(crate) fn exported(&self, items: u64, ok: bool) {
        let counter = if ok { &self.exported } else { &self.failed };
        counter.fetch_add(items, Ordering::Relaxed);
    }
}

/// Takes batches.
pub(crate) trait Export<T>: Send + Sync + 'static {
    /// Sends a batch; gives whether the backend took it. Bounded in time.
    fn export(&self, batch: Vec<T>) -> impl Future<Output = bool> + Send;
}

/// The way in. Clones share the queue.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    items: mpsc::Sender<T>,
    flushes: mpsc::UnboundedSender<oneshot::Sender<()>>,
    counts: Arc<Counts>,
}

impl<T> Clone for Outbox<T> {
    fn clone(&self) -> Self {
        Self { items: self.items.clone(), flushes: self.flushes.clone(), counts: self.counts.clone() }
    }
}

impl<T: Send + 'static> Outbox<T> {
    /// A queue, and what empties it: to be run until the last way in is dropped.
    pub(crate) fn new<E: Export<T>>(
        queue: Queue,
        counts: Arc<Counts>,
        exporter: E,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (items, waiting) = mpsc::channel(queue.size);
        let (flushes, asked) = mpsc::unbounded_channel();
        let running = run(waiting, asked, queue, counts.clone(), exporter);
        (Self { items, flushes, counts }, running)
    }

    /// Puts an item in, or drops it.
    pub(crate) fn put(&self, item: T) {
        if self.items.try_send(item).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether both lead to the same queue.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.items.same_channel(&other.items)
    }

    /// Waits until everything that was put in before has left, or was refused.
    pub(crate) async fn flush(&self) {
        let (reply, done) = oneshot::channel();
        if self.flushes.send(reply).is_ok() {
            let _ = done.await;
        }
    }
}

async fn run<T: Send + 'static, E: Export<T>>(
    mut waiting: mpsc::Receiver<T>,
    mut asked: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    queue: Queue,
    counts: Arc<Counts>,
    exporter: E,
) {
    let mut batch = Vec::with_capacity(queue.batch);
    let mut leave_at = Instant::now();
    loop {
        let room = queue.batch - batch.len();
        let had = batch.len();
        let mut flush = None;
        tokio::select! {
            biased;
            reply = asked.recv() => match reply {
                Some(reply) => flush = Some(reply),
                None => break,
            },
            came = waiting.recv_many(&mut batch, room), if room > 0 => {
                if came == 0 {
                    break;
                }
                if had == 0 {
                    leave_at = Instant::now() + queue.delay;
                }
            }
            () = sleep_until(leave_at), if had > 0 => {}
        }
        if let Some(reply) = flush {
            // As many as are there now; those that come meanwhile are the next flush's.
            let mut left = waiting.len();
            while left > 0 || !batch.is_empty() {
                while batch.len() < queue.batch && left > 0 {
                    let Ok(item) = waiting.try_recv() else { break };
                    batch.push(item);
                    left -= 1;
                }
                if batch.is_empty() {
                    break;
                }
                send(&mut batch, &counts, &exporter).await;
            }
            let _ = reply.send(());
        } else if batch.len() == queue.batch || (!batch.is_empty() && Instant::now() >= leave_at) {
            send(&mut batch, &counts, &exporter).await;
        }
    }
    while let Ok(item) = waiting.try_recv() {
        batch.push(item);
    }
    if !batch.is_empty() {
        send(&mut batch, &counts, &exporter).await;
    }
}

async fn send<T, E: Export<T>>(batch: &mut Vec<T>, counts: &Counts, exporter: &E) {
    let items = batch.len() as u64;
    let ok = exporter.export(std::mem::take(batch)).await;
    counts.exported(items, ok);
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Duration};

    use tokio::sync::Semaphore;

    use super::*;

    /// Takes a batch for each permit.
    #[derive(Clone)]
    struct Backend {
        permits: Arc<Semaphore>,
        batches: Arc<Mutex<Vec<Vec<u32>>>>,
        ok: bool,
    }

    impl Export<u32> for Backend {
        async fn export(&self, batch: Vec<u32>) -> bool {
            self.permits.acquire().await.unwrap().forget();
            self.batches.lock().unwrap().push(batch);
            self.ok
        }
    }

    fn backend(permits: usize, ok: bool) -> Backend {
        Backend { permits: Arc::new(Semaphore::new(permits)), batches: Arc::default(), ok }
    }

    const QUEUE: Queue = Queue { size: 8, batch: 4, delay: Duration::from_secs(1) };

    #[tokio::test(start_paused = true)]
    async fn items_leave_when_a_batch_is_full_or_the_delay_is_over() {
        let (backend, counts) = (backend(99, true), Arc::new(Counts::default()));
        let (outbox, running) = Outbox::new(QUEUE, counts.clone(), backend.clone());
        tokio::spawn(running);
        (0..5).for_each(|item| outbox.put(item));
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(*backend.batches.lock().unwrap(), [vec![0, 1, 2, 3]]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(backend.batches.lock().unwrap()[1], [4]);
        outbox.put(5);
        outbox.flush().await;
        assert_eq!(backend.batches.lock().unwrap()[2], [5]);
        assert_eq!(counts.exported.load(Ordering::Relaxed), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn a_backend_that_hangs_costs_no_more_than_the_queue_and_a_batch() {
        let (backend, counts) = (backend(0, false), Arc::new(Counts::default()));
        let (outbox, running) = Outbox::new(QUEUE, counts.clone(), backend.clone());
        tokio::spawn(running);
        for item in 0..1_000 {
            outbox.put(item);
            tokio::task::yield_now().await;
        }
        assert_eq!(counts.dropped.load(Ordering::Relaxed), 1_000 - (QUEUE.size + QUEUE.batch) as u64);
        backend.permits.add_permits(99);
        outbox.flush().await;
        let (exported, failed) = (counts.exported.load(Ordering::Relaxed), counts.failed.load(Ordering::Relaxed));
        assert_eq!((exported, failed), (0, (QUEUE.size + QUEUE.batch) as u64), "a refusal is counted, whoever flushes");
    }
}
