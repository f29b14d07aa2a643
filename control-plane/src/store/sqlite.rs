//! Opens the SQLite file: its settings, its migrations, its epoch.

use std::{
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use sluice_host::sealing::{Sealer, SecretsKey};
use sluice_pipeline::catalog::CatalogHash;
use sqlx::{
    Connection as _, SqlitePool,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use uuid::Uuid;

use super::{
    StoreError, sealed,
    syncs::{counted_hash, position},
};

pub(super) const FILE: &str = "control-plane.sqlite";
const READERS: u32 = 4;

static MIGRATOR: Migrator = sqlx::migrate!("migrations/sqlite");

/// Opens the file in `folder`: a pool of one connection that writes, one of several that read, and what opens its secrets.
pub(super) async fn open(folder: &Path, key: &SecretsKey) -> Result<(SqlitePool, SqlitePool, Sealer), StoreError> {
    let (path, writer) = open_writer(folder).await?;
    let sealer = sealed::unlock(&writer, key).await?;
    begin_epoch(&writer).await?;
    count_hash(&writer).await?;

    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options(&path).pragma("query_only", "ON"))
        .await?;
    Ok((writer, readers, sealer))
}

/// Opens the file in `folder` for the one that writes, its tables brought to this version's form.
pub(super) async fn open_writer(folder: &Path) -> Result<(PathBuf, SqlitePool), StoreError> {
    let path = folder.join(FILE);
    make_private(&path).map_err(|source| StoreError::File { path: path.display().to_string(), source })?;
    // Reports go to places all over the indexes: those in use should be at hand.
    let options = options(&path).pragma("cache_size", "-64000");
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        // A commit that fails, for want of room say, has ended its transaction without sqlx knowing it: nothing could be begun any more.
        .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
        .connect_with(options)
        .await?;
    refuse_newer(&writer).await?;
    MIGRATOR.run(&writer).await?;
    Ok((path, writer))
}

/// Refuses a store that a newer version has written: forms are only ever moved forward.
pub(super) async fn refuse_newer(pool: &SqlitePool) -> Result<(), StoreError> {
    let is_new = "SELECT count(*) = 0 FROM sqlite_schema WHERE name = '_sqlx_migrations'";
    if sqlx::query_scalar(is_new).fetch_one(pool).await? {
        return Ok(());
    }
    let applied: Vec<i64> =
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations ORDER BY version DESC").fetch_all(pool).await?;
    let known: Vec<i64> = MIGRATOR.iter().map(|migration| migration.version).collect();
    match applied.iter().find(|version| !known.contains(version)) {
        Some(found) => {
            Err(StoreError::Newer { found: *found, newest: known.iter().max().copied().unwrap_or_default() })
        }
        None => Ok(()),
    }
}

fn options(path: &PathBuf) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(10))
        .pragma("cache_size", "-16000")
        .pragma("wal_autocheckpoint", "4000")
        .pragma("temp_store", "MEMORY")
}

/// A new store begins an epoch at revision 0, the empty catalog.
async fn begin_epoch(writer: &SqlitePool) -> Result<(), StoreError> {
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    let begun = sqlx::query("INSERT INTO meta (id, epoch, revision) VALUES (1, ?, 0) ON CONFLICT DO NOTHING")
        .bind(Uuid::new_v4().to_string())
        .execute(&mut *transaction)
        .await?;
    if begun.rows_affected() == 1 {
        sqlx::query("INSERT INTO change_log (revision, uid, change, catalog_hash) VALUES (0, '', 'none', ?)")
            .bind(CatalogHash::EMPTY.to_string())
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Counts the hash of the newest revision anew: each change adds to the one before, so that a mistake would stay, and earlier
/// versions made it in another way. Nodes at older revisions get a snapshot, once.
async fn count_hash(writer: &SqlitePool) -> Result<(), StoreError> {
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    let newest = position(&mut transaction).await?;
    let counted = counted_hash(&mut transaction).await?;
    if counted.is(&newest.hash) == Some(true) {
        return Ok(());
    }
    tracing::info!(revision = newest.revision, "the catalog's hash was made in another way: counted anew");
    sqlx::query("UPDATE change_log SET catalog_hash = ? WHERE revision = ?")
        .bind(counted.to_string())
        .bind(newest.revision)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}

/// Makes the file readable for its owner alone; the files that SQLite puts beside it take over its mode.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use prost::Message as _;
    use sluice_host::clock::Clock;
    use sluice_proto::{
        delivery::v1::{Attempt, AttemptOutcome},
        name::SyncName,
        sync::v1::Sync,
    };

    use super::*;
    use crate::{
        figures::rollup::Resolution,
        publish::Publisher,
        store::{AttemptQuery, AttemptScope, Store, attempts::ListedAttempt},
        time::timestamp,
    };

    /// A store whose tables have the form of the first `count` migrations, with a sync from then.
    async fn store_of(folder: &Path, count: usize) {
        let path = folder.join(FILE);
        let pool = SqlitePoolOptions::new().connect_with(options(&path).create_if_missing(true)).await.unwrap();
        let migrations = MIGRATOR.iter().take(count).cloned().collect();
        Migrator { migrations: Cow::Owned(migrations), ..Migrator::DEFAULT }.run(&pool).await.unwrap();
        begin_epoch(&pool).await.unwrap();
        let sync = Sync {
            name: "projects/default/syncs/a".into(),
            uid: "u".into(),
            etag: "e".into(),
            revision: 1,
            ..Default::default()
        };
        sqlx::query(
            "INSERT INTO syncs (project, id, uid, revision, etag, content) VALUES ('default', 'a', 'u', 1, 'e', ?)",
        )
        .bind(sync.encode_to_vec())
        .execute(&pool)
        .await
        .unwrap();
        pool.close().await;
    }

    #[tokio::test]
    async fn a_store_of_every_form_is_brought_forward() {
        for count in 1..=MIGRATOR.iter().count() {
            let folder = tempfile::tempdir().unwrap();
            store_of(folder.path(), count).await;
            let store =
                Store::open(folder.path(), &SecretsKey::random(), Publisher::new(Clock::system())).await.unwrap();
            let name = SyncName { project: "default".into(), sync: "a".into() };
            assert_eq!(store.sync(&name).await.unwrap().unwrap().uid, "u", "from form {count}");
            store.close().await;
        }
    }

    const DELIVERY: &str = "0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d";
    const EVENT: &str = "0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e";

    /// Puts two attempts and an ending into tables of before there were chunks, of the form of before or after migration 60.
    async fn put_reports(pool: &SqlitePool, by_slot: bool) {
        sqlx::raw_sql(
            "INSERT INTO reported_syncs VALUES (1, 'u', 'default', 'a'); INSERT INTO reported_instances VALUES (1, 'i');",
        )
        .execute(pool)
        .await
        .unwrap();
        for (id, round, outcome, start_ms) in
            [(7, 1, AttemptOutcome::RetryNextRound, 90_000), (8, 2, AttemptOutcome::Delivered, 400_000)]
        {
            let attempt = Attempt {
                delivery: format!("projects/default/syncs/a/deliveries/{DELIVERY}"),
                sync_uid: "u".into(),
                event_id: EVENT.into(),
                round,
                outcome: outcome.into(),
                start_time: Some(timestamp(start_ms)),
                ..Attempt::default()
            };
            let columns = if by_slot { "slot, start_ms," } else { "start_ms," };
            let values = if by_slot { format!("{}, {start_ms},", start_ms / 300_000) } else { format!("{start_ms},") };
            sqlx::query(sqlx::AssertSqlSafe(format!(
                "INSERT INTO attempts ({columns} id, delivery, round, attempt, instance, sync, event, outcome, content)
                 VALUES ({values} {id}, x'{DELIVERY}', {round}, 1, 1, 1, x'{EVENT}', {}, ?)",
                outcome as i32
            )))
            .bind(attempt.encode_to_vec())
            .execute(pool)
            .await
            .unwrap();
        }
        let (columns, values) = if by_slot { ("slot,", "1,") } else { ("", "") };
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "INSERT INTO endings ({columns} delivery, schedule, sync, event, outcome, reason, accept_ms, end_ms, attempt_count)
             VALUES ({values} x'{DELIVERY}', 1, 1, x'{EVENT}', 1, 0, 90000, 400010, 2)"
        )))
        .execute(pool)
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn reports_of_before_there_were_chunks_are_found_and_counted() {
        let before = |version| MIGRATOR.iter().filter(|migration| migration.version < version).count();
        // Before there were rollups, before slots, before chunks.
        for (count, by_slot) in [(before(20), false), (before(60), false), (before(70), true)] {
            let folder = tempfile::tempdir().unwrap();
            store_of(folder.path(), count).await;
            let pool = SqlitePool::connect_with(options(&folder.path().join(FILE))).await.unwrap();
            put_reports(&pool, by_slot).await;
            if count > before(20) {
                let by_start =
                    ["resolution_ms, sync_uid, start_ms", "resolution_ms, start_ms, sync_uid"][usize::from(by_slot)];
                let of = |start_ms: i64| match by_slot {
                    true => format!("60000, {start_ms}, 'u'"),
                    false => format!("60000, 'u', {start_ms}"),
                };
                sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
                    "INSERT INTO rollups ({by_start}, attempts, delivered, delivered_first_attempt, delivered_after_retry, expired,
                         discarded, latencies)
                     VALUES ({}, 1, 0, 0, 0, 0, 0, x''), ({}, 1, 1, 0, 1, 0, 0, x''); UPDATE kept SET rollups_built = 1;",
                    of(60_000),
                    of(360_000)
                )))
                .execute(&pool)
                .await
                .unwrap();
            }
            pool.close().await;

            let key = SecretsKey::random();
            for _ in 0..2 {
                let store = Store::open(folder.path(), &key, Publisher::new(Clock::system())).await.unwrap();
                for (event_id, delivery_id) in [(EVENT, ""), ("", DELIVERY), (EVENT, DELIVERY), ("", "")] {
                    let query = AttemptQuery {
                        scope: AttemptScope::Project("default".into()),
                        outcomes: Vec::new(),
                        start_ms_inclusive: None,
                        end_ms_exclusive: None,
                        event_id: event_id.into(),
                        delivery_id: delivery_id.into(),
                    };
                    let rounds =
                        |found: Vec<ListedAttempt>| found.iter().map(|one| one.attempt.round).collect::<Vec<_>>();
                    assert_eq!(rounds(store.attempts(&query, None, 10).await.unwrap()), [2, 1]);
                    let later = AttemptQuery { start_ms_inclusive: Some(90_001), ..query };
                    assert_eq!(rounds(store.attempts(&later, None, 10).await.unwrap()), [2]);
                    let sooner = AttemptQuery { start_ms_inclusive: None, end_ms_exclusive: Some(400_000), ..later };
                    assert_eq!(rounds(store.attempts(&sooner, None, 10).await.unwrap()), [1]);
                }
                let minutes = store.series("u", Resolution::Minute, 0..i64::MAX).await.unwrap();
                let told: Vec<_> = minutes.iter().map(|(at_ms, one)| (*at_ms, one.attempts, one.delivered)).collect();
                assert_eq!(told, [(60_000, 1, 0), (360_000, 1, 1)]);
                let (counts, _) = store.metrics("u", 400_000, 400_020, 0).await.unwrap();
                assert_eq!((counts.attempts, counts.delivered_after_retry), (1, 1));
                if count == before(20) {
                    let health = &store.healths(&["u"]).await.unwrap()["u"];
                    assert_eq!(health.last_success_time, Some(timestamp(400_000)));
                }
                store.close().await;
            }
        }
    }

    #[tokio::test]
    async fn a_hash_that_was_made_in_another_way_is_counted_anew() {
        let folder = tempfile::tempdir().unwrap();
        store_of(folder.path(), usize::MAX).await;
        let pool = SqlitePool::connect_with(options(&folder.path().join(FILE))).await.unwrap();
        sqlx::query("UPDATE change_log SET catalog_hash = 'e3b0c442'").execute(&pool).await.unwrap();
        pool.close().await;
        let store = Store::open(folder.path(), &SecretsKey::random(), Publisher::new(Clock::system())).await.unwrap();
        let hash = store.newest().await.unwrap().hash;
        assert_eq!(hash, CatalogHash::of([("u", "e")].into_iter()).to_string());
        store.close().await;
    }

    #[tokio::test]
    async fn a_store_of_a_newer_version_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        store_of(folder.path(), usize::MAX).await;
        let pool = SqlitePool::connect_with(options(&folder.path().join(FILE))).await.unwrap();
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'later', 1, x'00', 0)",
        )
        .execute(&pool)
        .await
        .unwrap();
        pool.close().await;
        let refused = Store::open(folder.path(), &SecretsKey::random(), Publisher::new(Clock::system())).await;
        let error = refused.map(drop).unwrap_err().to_string();
        assert!(error.contains("newer version") && error.contains("9999"), "{error}");
    }
}
