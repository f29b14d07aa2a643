//! Alert rules, what they have found, and what people are still to be told of it.

use prost::Message as _;
use sluice_proto::{alert::v1::AlertRule, name::AlertRuleName};
use sqlx::Row as _;

use super::{Store, StoreError, audit::append};
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

impl Store {
    /// Makes a rule; false: there is one with that name.
    pub(crate) async fn create_alert_rule(
        &self,
        name: &AlertRuleName,
        rule: &AlertRule,
        actor: &Actor,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let created =
            sqlx::query("INSERT INTO alert_rules (project, id, content) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
                .bind(&name.project)
                .bind(&name.alert_rule)
                .bind(rule.encode_to_vec())
                .execute(&mut *transaction)
                .await?;
        if created.rows_affected() == 0 {
            return Ok(false);
        }
        append(&mut transaction, &[actor.entry(&rule.name, changes(RULE, None, Some(rule)))]).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Deletes a rule with what it has found; gives it, if it was there.
    pub(crate) async fn delete_alert_rule(
        &self,
        name: &AlertRuleName,
        actor: &Actor,
    ) -> Result<Option<AlertRule>, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let content: Option<Vec<u8>> =
            sqlx::query_scalar("DELETE FROM alert_rules WHERE project = ? AND id = ? RETURNING content")
                .bind(&name.project)
                .bind(&name.alert_rule)
                .fetch_optional(&mut *transaction)
                .await?;
        let Some(rule) = content.as_deref().map(decode).transpose()? else { return Ok(None) };
        for statement in ["DELETE FROM alerts WHERE rule = ?", "DELETE FROM alert_notices WHERE rule = ?"] {
            sqlx::query(statement).bind(&rule.name).execute(&mut *transaction).await?;
        }
        append(&mut transaction, &[actor.entry(&rule.name, changes(RULE, Some(&rule), None))]).await?;
        transaction.commit().await?;
        Ok(Some(rule))
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

fn decode(content: &[u8]) -> Result<AlertRule, StoreError> {
    AlertRule::decode(content).map_err(|source| StoreError::Unreadable { what: "an alert rule", source })
}
