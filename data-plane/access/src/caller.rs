//! Who calls.

use std::sync::Arc;

use sluice_host::clock::Clock;
use sluice_proto::access::v1::Role;
use tokio::sync::watch;

use crate::{Grant, KeyHash, Keyring, refusal::Refusal};

/// Who calls: put into each request's extensions by the [`Gate`](crate::Gate).
#[derive(Clone, Debug)]
pub struct Caller(Kind);

#[derive(Clone, Debug)]
enum Kind {
    /// The server runs open.
    Anybody,
    /// Somebody with a key.
    Key { hash: KeyHash, grant: Arc<Grant> },
    /// A node that has shown a certificate.
    Node { name: Arc<str> },
}

impl Caller {
    /// Whoever reaches a server that runs open.
    #[must_use]
    pub fn anybody() -> Self {
        Self(Kind::Anybody)
    }

    pub(crate) fn key(hash: KeyHash, grant: Arc<Grant>) -> Self {
        Self(Kind::Key { hash, grant })
    }

    pub(crate) fn node(name: &str) -> Self {
        Self(Kind::Node { name: name.into() })
    }

    /// The caller of this request.
    ///
    /// # Errors
    /// If no gate stands before the service that takes it.
    pub fn of<T>(request: &tonic::Request<T>) -> Result<&Self, tonic::Status> {
        request.extensions().get().ok_or_else(|| tonic::Status::internal("the service is served without a gate"))
    }

    /// `keys/{key}` or `nodes/{node}`; empty: anybody.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.0 {
            Kind::Anybody => "",
            Kind::Key { grant, .. } => &grant.name,
            Kind::Node { name } => name,
        }
    }

    /// What it may do; anybody may do everything, which is an admin's role at least.
    #[must_use]
    pub fn role(&self) -> Role {
        match &self.0 {
            Kind::Anybody => Role::Admin,
            Kind::Key { grant, .. } => grant.role,
            Kind::Node { .. } => Role::Node,
        }
    }

    /// What its key allows; none: it has shown none.
    #[must_use]
    pub fn grant(&self) -> Option<&Arc<Grant>> {
        match &self.0 {
            Kind::Key { grant, .. } => Some(grant),
            Kind::Anybody | Kind::Node { .. } => None,
        }
    }

    /// The hash of its key; none: it has shown none.
    #[must_use]
    pub fn key_hash(&self) -> Option<&KeyHash> {
        match &self.0 {
            Kind::Key { hash, .. } => Some(hash),
            Kind::Anybody | Kind::Node { .. } => None,
        }
    }

    /// Id of the project that it is bound to; none: it may act in all.
    #[must_use]
    pub fn project(&self) -> Option<&str> {
        self.grant().and_then(|grant| grant.project.as_deref())
    }

    /// It may act on a resource of that name: one below its project, if it is bound to one. Names are checked for their form
    /// elsewhere; what is not plainly within the project is refused.
    ///
    /// # Errors
    /// If it may not.
    pub fn require_project(&self, name: &str) -> Result<(), Refusal> {
        let Some(project) = self.project() else { return Ok(()) };
        let within = name
            .strip_prefix("projects/")
            .and_then(|rest| rest.strip_prefix(project))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if within {
            return Ok(());
        }
        Err(Refusal::Project { caller: self.shown(), project: project.to_owned() })
    }

    /// It may act on what belongs to no project.
    ///
    /// # Errors
    /// If it is bound to one.
    pub fn require_every_project(&self) -> Result<(), Refusal> {
        match self.project() {
            None => Ok(()),
            Some(project) => Err(Refusal::EveryProject { caller: self.shown(), project: project.to_owned() }),
        }
    }

    /// It may act as this node: nodes with a certificate as the one that the certificate names.
    ///
    /// # Errors
    /// If it is another.
    pub fn require_node(&self, claimed: &str) -> Result<(), Refusal> {
        match &self.0 {
            Kind::Node { name } if **name != *claimed => {
                Err(Refusal::OtherNode { caller: name.to_string(), claimed: claimed.chars().take(80).collect() })
            }
            _ => Ok(()),
        }
    }

    /// Waits until its key is no longer of the keyring, or has expired: for streams, which outlive the gate's look. Never ends for
    /// those who have shown none.
    pub async fn until_refused(&self, mut keyring: watch::Receiver<Arc<Keyring>>, clock: &Clock) -> Refusal {
        let Kind::Key { hash, grant } = &self.0 else { return std::future::pending().await };
        let expired = async {
            match grant.expire_ms {
                Some(expire_ms) => clock.sleep_until(expire_ms, "key's expiry").await,
                None => std::future::pending().await,
            }
        };
        let gone = async {
            if keyring.wait_for(|keyring| !keyring.holds(hash, i64::MIN)).await.is_err() {
                // The server ends, and its streams with it.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = expired => Refusal::ExpiredKey { key: grant.name.clone() },
            () = gone => Refusal::UnknownKey,
        }
    }

    fn shown(&self) -> String {
        self.name().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use sluice_proto::access::v1::KeyLimits;

    use super::*;

    fn bound_to(project: Option<&str>) -> Caller {
        let grant = Grant::new("keys/k".to_owned(), Role::Editor, project, None, KeyLimits::default());
        Caller::key(KeyHash([0; 32]), Arc::new(grant))
    }

    #[test]
    fn a_key_that_is_bound_acts_in_its_project_alone() {
        let caller = bound_to(Some("shop"));
        for name in ["projects/shop", "projects/shop/syncs/a", "projects/shop/syncs/-"] {
            assert!(caller.require_project(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "shop",
            "projects/",
            "projects/-",
            "projects/sho",
            "projects/shops/syncs/a",
            "projects/other",
            "nodes/n",
        ] {
            assert!(matches!(caller.require_project(name), Err(Refusal::Project { .. })), "{name}");
        }
        assert!(caller.require_every_project().is_err());
    }

    #[test]
    fn one_that_is_not_acts_everywhere() {
        for caller in [bound_to(None), Caller::anybody()] {
            assert!(caller.require_project("projects/any/syncs/a").is_ok());
            assert!(caller.require_every_project().is_ok());
        }
    }

    #[test]
    fn a_certificate_is_of_one_node() {
        assert!(Caller::node("nodes/a").require_node("nodes/a").is_ok());
        assert!(matches!(Caller::node("nodes/a").require_node("nodes/b"), Err(Refusal::OtherNode { .. })));
    }
}
