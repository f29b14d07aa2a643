//! Alert rules, what they have found, and what people are still to be told of it.

use prost::Message as _;
use sluice_proto::{alert::v1::AlertRule, name::AlertRuleName};
use sqlx::{Row as _, SqliteConnection};

use super::{
    Store, StoreError,
    audit::append,
    requests::{Once, Written, remember},
};
use crate::audit::{Actor, changes};

/// Full name of a rule's message.
const RULE: &str = "sluice.alert.v1.AlertRule";

/// What a rule has found about a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The rule's name.
    pub(crate) rule: String,
    /// The sync or node.
    pub(crate) subject: String,
    /// When it was found.
    pub(crate) since_ms: i64,
    /// When it held last.
    pub(crate) last_held_ms: i64,
    /// What is wrong.
    pub(crate) summary: String,
}

/// Something that people are to be told.
pub(crate) struct Notice {
    pub(crate) id: i64,
    /// The rule's name.
    pub(crate) rule: String,
    /// The event that tells it.
    pub(crate) event: Vec<u8>,
    /// How often it was tried.
    pub(crate) tries: u32,
}

/// What becomes of a finding.
pub(crate) enum Turn {
    /// It is new, or goes on.
    Holds(Finding),
    /// It is over.
    Over(Finding),
}

/// What a write makes of one rule.
pub(crate) enum RuleChange {
    /// Stores it as it is given.
    Put(Box<AlertRule>),
    /// Removes it, and what it has found.
    Delete,
}

impl Store {
    /// Changes the rule of that name as `decide` says, which sees it as it is, if it is. Nobody else writes between the two. Gives the
    /// rule as it is then, or as it was if it is deleted. A request that is known to have been done changes nothing.
    ///
    /// # Errors
    /// What `decide` answers, and the store's own; nothing has changed then.
    pub(crate) async fn change_alert_rule<E: From<StoreError>>(
        &self,
        name: &AlertRuleName,
        once: Option<Once>,
        actor: &Actor,
        decide: impl FnOnce(Option<&AlertRule>) -> Result<RuleChange, E>,
    ) -> Result<Written<AlertRule>, E> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::from)?;
        if let Some(once) = &once
            && let Some(before) = Written::before(&mut transaction, once).await?
        {
            return Ok(before);
        }
        let content: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT content FROM alert_rules WHERE project = ? AND id = ?")
                .bind(&name.project)
                .bind(&name.alert_rule)
                .fetch_optional(&mut *transaction)
                .await
                .map_err(StoreError::from)?;
        let current = content.as_deref().map(decode).transpose()?;
        let after = match decide(current.as_ref())? {
            RuleChange::Put(rule) => Some(*rule),
            RuleChange::Delete => None,
        };
        write_rule(&mut transaction, name, current.as_ref(), after.as_ref()).await?;
        let entry = actor.entry(&name.to_string(), changes(RULE, current.as_ref(), after.as_ref()));
        append(&mut transaction, &[entry]).await?;
        if let Some(once) = &once {
            remember(&mut transaction, once, &name.to_string()).await?;
        }
        transaction.commit().await.map_err(StoreError::from)?;
        Ok(Written::Now(after.or(current).unwrap_or_default()))
    }

    /// The rule of that name.
    pub(crate) async fn alert_rule(&self, name: &AlertRuleName) -> Result<Option<AlertRule>, StoreError> {
        let content: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT content FROM alert_rules WHERE project = ? AND id = ?")
                .bind(&name.project)
                .bind(&name.alert_rule)
                .fetch_optional(&self.readers)
                .await?;
        content.as_deref().map(decode).transpose()
    }

    /// Up to `limit` rules whose ids follow `after`, of one project or of all.
    pub(crate) async fn alert_rules(
        &self,
        project: Option<&str>,
        after: &str,
        limit: i64,
    ) -> Result<Vec<AlertRule>, StoreError> {
        let query = "SELECT content FROM alert_rules
            WHERE (?1 IS NULL OR project = ?1) AND id > ?2 ORDER BY project, id LIMIT ?3";
        let rows: Vec<Vec<u8>> =
            sqlx::query_scalar(query).bind(project).bind(after).bind(limit).fetch_all(&self.readers).await?;
        rows.iter().map(|content| decode(content)).collect()
    }

    /// What was found and is not over, the oldest first.
    pub(crate) async fn findings(&self) -> Result<Vec<Finding>, StoreError> {
        let query =
            "SELECT rule, subject, since_ms, last_held_ms, summary FROM alerts ORDER BY since_ms, rule, subject";
        let rows = sqlx::query(query).fetch_all(&self.readers).await?;
        let finding = |row: &sqlx::sqlite::SqliteRow| {
            Ok(Finding {
                rule: row.try_get(0)?,
                subject: row.try_get(1)?,
                since_ms: row.try_get(2)?,
                last_held_ms: row.try_get(3)?,
                summary: row.try_get(4)?,
            })
        };
        rows.iter().map(finding).collect()
    }

    /// Stores what became of a finding, and with it the event that tells people, if they are to be told.
    pub(crate) async fn turn(&self, turn: &Turn, event: Option<&[u8]>, now_ms: i64) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let finding = match turn {
            Turn::Holds(finding) => {
                sqlx::query(
                    "INSERT OR REPLACE INTO alerts (rule, subject, since_ms, last_held_ms, summary) VALUES (?, ?, ?, ?, ?)",
                )
                .bind(&finding.rule)
                .bind(&finding.subject)
                .bind(finding.since_ms)
                .bind(finding.last_held_ms)
                .bind(&finding.summary)
                .execute(&mut *transaction)
                .await?;
                finding
            }
            Turn::Over(finding) => {
                sqlx::query("DELETE FROM alerts WHERE rule = ? AND subject = ?")
                    .bind(&finding.rule)
                    .bind(&finding.subject)
                    .execute(&mut *transaction)
                    .await?;
                finding
            }
        };
        if let Some(event) = event {
            sqlx::query("INSERT INTO alert_notices (rule, event, tries, next_ms) VALUES (?, ?, 0, ?)")
                .bind(&finding.rule)
                .bind(event)
                .bind(now_ms)
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Up to `limit` notices that are due at `now_ms`.
    pub(crate) async fn notices(&self, now_ms: i64, limit: i64) -> Result<Vec<Notice>, StoreError> {
        let query = "SELECT id, rule, event, tries FROM alert_notices WHERE next_ms <= ? ORDER BY id LIMIT ?";
        let rows = sqlx::query(query).bind(now_ms).bind(limit).fetch_all(&self.readers).await?;
        let notice = |row: &sqlx::sqlite::SqliteRow| {
            Ok(Notice { id: row.try_get(0)?, rule: row.try_get(1)?, event: row.try_get(2)?, tries: row.try_get(3)? })
        };
        rows.iter().map(notice).collect()
    }

    /// People were told, or will be no more.
    pub(crate) async fn drop_notice(&self, id: i64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM alert_notices WHERE id = ?").bind(id).execute(&self.writer).await?;
        Ok(())
    }

    /// People could not be told: they are to be told again at `next_ms`.
    pub(crate) async fn put_off(&self, id: i64, next_ms: i64) -> Result<(), StoreError> {
        sqlx::query("UPDATE alert_notices SET tries = tries + 1, next_ms = ? WHERE id = ?")
            .bind(next_ms)
            .bind(id)
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}

async fn write_rule(
    transaction: &mut SqliteConnection,
    name: &AlertRuleName,
    before: Option<&AlertRule>,
    after: Option<&AlertRule>,
) -> Result<(), StoreError> {
    let looks_for = |rule: &AlertRule| (rule.condition, rule.sync.clone());
    if before.map(looks_for) != after.map(looks_for) {
        sqlx::query("DELETE FROM alerts WHERE rule = ?").bind(name.to_string()).execute(&mut *transaction).await?;
    }
    let Some(after) = after else {
        let notices = sqlx::query("DELETE FROM alert_notices WHERE rule = ?").bind(name.to_string());
        notices.execute(&mut *transaction).await?;
        let rule = sqlx::query("DELETE FROM alert_rules WHERE project = ? AND id = ?");
        rule.bind(&name.project).bind(&name.alert_rule).execute(transaction).await?;
        return Ok(());
    };
    sqlx::query("INSERT OR REPLACE INTO alert_rules (project, id, content) VALUES (?, ?, ?)")
        .bind(&name.project)
        .bind(&name.alert_rule)
        .bind(after.encode_to_vec())
        .execute(transaction)
        .await?;
    Ok(())
}

fn decode(content: &[u8]) -> Result<AlertRule, StoreError> {
    AlertRule::decode(content).map_err(|source| StoreError::Unreadable { what: "an alert rule", source })
}
