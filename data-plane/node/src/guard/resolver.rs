//! Resolves host names: as the system does, or as it is told.

use std::{
    collections::HashMap,
    fmt, io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use tokio::sync::Semaphore;

/// Lookups under way at once. The system's resolver takes a thread for each, of which there are 512 for everything.
const MAX_LOOKUPS: usize = 256;

/// The addresses of a name, or why there are none.
pub type Found = Result<Arc<[IpAddr]>, Arc<io::Error>>;

type Lookup = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync;

/// Resolves host names. A name is looked up once at a time: whoever else asks meanwhile waits for the same answer, so that a
/// name whose servers hang costs one thread, however many requests ask for it. No answer is kept. Clones share the lookups.
#[derive(Clone)]
pub struct Resolver {
    lookup: Arc<Lookup>,
    permits: Arc<Semaphore>,
    open: Arc<Mutex<HashMap<String, Shared<BoxFuture<'static, Found>>>>>,
}

impl Resolver {
    /// Resolves as the system does (`getaddrinfo`).
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "here alone names are resolved; the guard judges what is found")]
    pub fn system() -> Self {
        Self::new(|host| {
            Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.map(|found| found.ip()).collect()) })
        })
    }

    /// Resolves by `lookup`, which gives the addresses of a host name.
    pub fn new(lookup: impl Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync + 'static) -> Self {
        Self { lookup: Arc::new(lookup), permits: Arc::new(Semaphore::new(MAX_LOOKUPS)), open: Arc::default() }
    }

    /// The addresses of `host`; at least one.
    ///
    /// # Errors
    /// As the lookup has it; also if it gives no address.
    pub async fn resolve(&self, host: &str) -> Found {
        let lookup = match self.open().entry(host.to_owned()) {
            std::collections::hash_map::Entry::Occupied(open) => open.get().clone(),
            std::collections::hash_map::Entry::Vacant(place) => place.insert(self.begin(host.to_owned())).clone(),
        };
        lookup.await
    }

    /// The lookup runs to its end even if nobody waits for it any more: the thread cannot be stopped.
    fn begin(&self, host: String) -> Shared<BoxFuture<'static, Found>> {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let found = match this.permits.acquire().await {
                Ok(_permit) => (this.lookup)(host.clone()).await,
                Err(closed) => Err(io::Error::other(closed)),
            };
            this.open().remove(&host);
            match found {
                Ok(found) if found.is_empty() => Err(Arc::new(io::Error::other("the name has no address"))),
                Ok(found) => Ok(found.into()),
                Err(error) => Err(Arc::new(error)),
            }
        });
        task.map(|done| done.unwrap_or_else(|error| Err(Arc::new(io::Error::other(error))))).boxed().shared()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, Shared<BoxFuture<'static, Found>>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("lookups", &self.open().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_name_is_looked_up_once_at_a_time() {
        let (count, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let resolver = Resolver::new({
            let (count, go) = (count.clone(), go.clone());
            move |_| {
                let (count, go) = (count.clone(), go.clone());
                Box::pin(async move {
                    count.fetch_add(1, Ordering::SeqCst);
                    go.notified().await;
                    Ok(vec![[127, 0, 0, 1].into()])
                })
            }
        });
        let both = async { tokio::join!(resolver.resolve("a.example"), resolver.resolve("a.example")) };
        let release = async {
            while count.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            go.notify_one();
        };
        let ((first, second), ()) = tokio::join!(both, release);
        assert_eq!((first.unwrap(), count.load(Ordering::SeqCst)), (second.unwrap(), 1));
        go.notify_one();
        resolver.resolve("a.example").await.unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 2, "no answer is kept");
    }

    #[tokio::test]
    async fn no_address_is_an_error() {
        let resolver = Resolver::new(|_| Box::pin(async { Ok(Vec::new()) }));
        assert!(resolver.resolve("a.example").await.unwrap_err().to_string().contains("no address"));
    }
}
