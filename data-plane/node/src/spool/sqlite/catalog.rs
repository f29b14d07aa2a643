//! The stored copy of the catalog.

use prost::Message as _;
use rusqlite::{Connection, params};
use sluice_proto::sync::v1::Sync;

use super::damage::Damage;
use crate::spool::store::{CatalogChange, StoreError, StoredCatalog};

/// Writes a change.
pub(super) fn save(sql: &Connection, change: &CatalogChange) -> Result<(), StoreError> {
    if change.replace {
        sql.execute("DELETE FROM catalog", [])?;
    }
    for uid in &change.deletions {
        sql.prepare_cached("DELETE FROM catalog WHERE uid = ?")?.execute([uid])?;
    }
    for (latest, good) in &change.upserts {
        let (uid, latest) = (&latest.uid, latest.encode_to_vec());
        let good = good.as_ref().map(prost::Message::encode_to_vec);
        let crc = crc(&latest, good.as_deref());
        sql.prepare_cached("INSERT OR REPLACE INTO catalog (uid, latest, good, crc) VALUES (?, ?, ?, ?)")?
            .execute(params![uid, latest, good, crc])?;
    }
    sql.prepare_cached("UPDATE state SET epoch = ?, revision = ?")?.execute(params![change.epoch, change.revision])?;
    Ok(())
}

/// Reads it. With one damaged entry it is no catalog: a sync that is missing from it would count as deleted.
pub(super) fn read(sql: &Connection, damage: &Damage) -> Result<Option<StoredCatalog>, StoreError> {
    let (epoch, revision): (String, i64) =
        sql.query_row("SELECT epoch, revision FROM state", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if epoch.is_empty() {
        return Ok(None);
    }
    let mut statement = sql.prepare("SELECT uid, latest, good, crc FROM catalog ORDER BY uid")?;
    let mut rows = statement.query([])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let (uid, latest, good): (String, Vec<u8>, Option<Vec<u8>>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let whole = crc(&latest, good.as_deref()) == row.get::<_, i64>(3)?;
        let latest = Sync::decode(&latest[..]).ok().filter(|_| whole);
        let good = good.map(|good| Sync::decode(&good[..])).transpose();
        let (Some(latest), Ok(good)) = (latest, good) else {
            damage.found("catalog entry", entries.len() as i64);
            return Err(StoreError::Damaged { record: format!("sync {uid} of the stored catalog") });
        };
        entries.push((latest, good));
    }
    Ok(Some(StoredCatalog { epoch, revision, entries }))
}

/// An entry's checksum.
pub(super) fn crc(latest: &[u8], good: Option<&[u8]>) -> i64 {
    i64::from(crc32c::crc32c_append(crc32c::crc32c(latest), good.unwrap_or_default()))
}
