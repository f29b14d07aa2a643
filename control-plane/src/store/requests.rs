//! Requests with an id, so that one which is sent again is not done twice
//! ([AIP-155](https://google.aip.dev/155)).

use sqlx::{Row as _, SqliteConnection};

use super::StoreError;

/// How long a request's id is known.
const KEPT_MS: i64 = 60 * 60 * 1_000;

/// A request with an id.
#[derive(Clone, Debug)]
pub(crate) struct Once {
    /// Its project's id: ids count within it.
    pub(crate) project: String,
    /// Its id.
    pub(crate) id: String,
    /// Tells requests apart.
    pub(crate) digest: Vec<u8>,
    /// Now, milliseconds since the epoch.
    pub(crate) now_ms: i64,
}

/// What a write came to.
#[derive(Debug)]
pub(crate) enum Written<T> {
    /// It was done; this is what it left.
    Now(T),
    /// A request with that id did the same before, to the resource of this name.
    Before(String),
    /// A request with that id was another one.
    Reused,
}

impl<T> Written<T> {
    /// What an earlier request with this id came to; none: there was none that is still known.
    pub(super) async fn before(connection: &mut SqliteConnection, once: &Once) -> Result<Option<Self>, StoreError> {
        let row = sqlx::query("SELECT digest, resource FROM requests WHERE project = ? AND id = ? AND time_ms > ?")
            .bind(&once.project)
            .bind(&once.id)
            .bind(once.now_ms.saturating_sub(KEPT_MS))
            .fetch_optional(connection)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let digest: &[u8] = row.try_get(0)?;
        Ok(Some(if digest == once.digest { Self::Before(row.try_get(1)?) } else { Self::Reused }))
    }
}

/// Remembers, in the transaction that does it, that a request was done to `resource`; forgets what is too old.
pub(super) async fn remember(connection: &mut SqliteConnection, once: &Once, resource: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM requests WHERE time_ms <= ?")
        .bind(once.now_ms.saturating_sub(KEPT_MS))
        .execute(&mut *connection)
        .await?;
    sqlx::query("INSERT INTO requests (project, id, digest, resource, time_ms) VALUES (?, ?, ?, ?, ?)")
        .bind(&once.project)
        .bind(&once.id)
        .bind(&once.digest)
        .bind(resource)
        .bind(once.now_ms)
        .execute(connection)
        .await?;
    Ok(())
}
