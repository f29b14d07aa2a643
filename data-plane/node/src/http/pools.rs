//! The connections: one pool for everybody, and one for each set of certificates that destinations bring along, so that none
//! is used by a destination that does not trust its peer.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::pki_types::CertificateDer;
use sluice_host::clock::Clock;
use sluice_pipeline::trusted_ca::TrustedCa;
use tokio::sync::OnceCell;

use super::{
    connector::Connector,
    pool::Pool,
    roots::{self, ClientError},
};
use crate::guard::Guard;

/// Pools beside the one for everybody. The one that was used longest ago makes room for another.
const MAX_POOLS: usize = 64;

/// The id of some certificates, and where the pool for them comes.
type Place = ([u8; 32], Arc<OnceCell<Pool>>);

/// All pools.
pub(super) struct Pools {
    guard: Guard,
    clock: Clock,
    /// Certificates of the node's file.
    extra: Vec<CertificateDer<'static>>,
    everybody: Pool,
    /// By the id of their certificates, the one that was used last at the end.
    own: Mutex<Vec<Place>>,
}

impl Pools {
    pub(super) fn new(guard: Guard, extra_roots: Option<&Path>, clock: Clock) -> Result<Self, ClientError> {
        let extra = extra_roots.map(roots::read_file).transpose()?.unwrap_or_default();
        let tls = roots::tls(extra.clone())?;
        let everybody = Pool::new(Connector { guard: guard.clone(), tls, clock: clock.clone() });
        Ok(Self { guard, clock, extra, everybody, own: Mutex::default() })
    }

    /// The pool for destinations that trust `ca` beside the system's roots; made when it is first asked for.
    pub(super) async fn get(&self, ca: Option<&TrustedCa>) -> Result<Pool, ClientError> {
        let Some(ca) = ca else { return Ok(self.everybody.clone()) };
        let pool = self.place(ca.id());
        let made = pool.get_or_try_init(|| async {
            let trusted = self.extra.iter().chain(ca.certificates()).cloned().collect();
            // The system's roots are read from files.
            let tls = tokio::task::spawn_blocking(|| roots::tls(trusted)).await;
            let tls = tls.unwrap_or_else(|error| Err(rustls::Error::General(error.to_string()).into()))?;
            Ok(Pool::new(Connector { guard: self.guard.clone(), tls, clock: self.clock.clone() }))
        });
        made.await.cloned()
    }

    fn place(&self, id: [u8; 32]) -> Arc<OnceCell<Pool>> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let known = own.iter().position(|(other, _)| *other == id);
        let entry = match known {
            Some(at) => own.remove(at),
            None => {
                if own.len() >= MAX_POOLS {
                    own.remove(0);
                }
                (id, Arc::default())
            }
        };
        let pool = entry.1.clone();
        own.push(entry);
        pool
    }
}
