//! `AlertService`: how people say when they want to be told.

use prost::Message as _;
use sha2::{Digest as _, Sha256};
use sluice_access::Caller;
use sluice_pipeline::violation::{Violation, reason};
use sluice_proto::{
    alert::v1::{
        Alert, AlertRule, CreateAlertRuleRequest, DeleteAlertRuleRequest, GetAlertRuleRequest, ListAlertRulesRequest,
        ListAlertRulesResponse, ListAlertsRequest, ListAlertsResponse, UpdateAlertRuleRequest, alert_rule::Condition,
        alert_service_server::AlertService,
    },
    name::{AlertRuleName, ID_RULE, InvalidName, SyncName, is_valid_id},
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    Context, mask,
    once::{done, once},
    page, project_name,
    scope::{admit, admit_actor},
};
use crate::{
    audit::Actor,
    error::{Error, shorten, violation},
    store::{Once, RuleChange},
    time::timestamp,
};

const MAX_DISPLAY_NAME: usize = 200;
/// Rules of one project.
const MAX_RULES: usize = 100;
const MAX_ALERTS: usize = 1_000;
const MINUTE: i64 = 60;
const DAY: i64 = 86_400;

/// The service.
pub(crate) struct Alerts(pub(crate) Context);

#[tonic::async_trait]
impl AlertService for Alerts {
    async fn create_alert_rule(&self, request: Request<CreateAlertRuleRequest>) -> Result<Response<AlertRule>, Status> {
        let caller = Caller::of(&request)?.clone();
        let (request, actor) = admit_actor(&self.0, request)?;
        Ok(Response::new(self.create(request, &caller, &actor).await?))
    }

    async fn get_alert_rule(&self, request: Request<GetAlertRuleRequest>) -> Result<Response<AlertRule>, Status> {
        Ok(Response::new(self.rule(&rule_name(&admit(request)?.name)?).await?))
    }

    async fn list_alert_rules(
        &self,
        request: Request<ListAlertRulesRequest>,
    ) -> Result<Response<ListAlertRulesResponse>, Status> {
        Ok(Response::new(self.list(&admit(request)?).await?))
    }

    async fn update_alert_rule(&self, request: Request<UpdateAlertRuleRequest>) -> Result<Response<AlertRule>, Status> {
        let caller = Caller::of(&request)?.clone();
        let (request, actor) = admit_actor(&self.0, request)?;
        Ok(Response::new(self.update(request, &caller, &actor).await?))
    }

    async fn delete_alert_rule(&self, request: Request<DeleteAlertRuleRequest>) -> Result<Response<AlertRule>, Status> {
        let (request, actor) = admit_actor(&self.0, request)?;
        Ok(Response::new(self.delete(&request, &actor).await?))
    }

    async fn list_alerts(&self, request: Request<ListAlertsRequest>) -> Result<Response<ListAlertsResponse>, Status> {
        let parent = project_name("parent", &admit(request)?.parent)?;
        let rules = format!("{parent}/alertRules/");
        let findings = self.0.store.findings().await.map_err(Error::from)?;
        let of_project = findings.into_iter().filter(|finding| finding.rule.starts_with(&rules));
        let alerts = of_project.take(MAX_ALERTS).map(|finding| Alert {
            rule: finding.rule,
            subject: finding.subject,
            since: Some(timestamp(finding.since_ms)),
            summary: finding.summary,
        });
        Ok(Response::new(ListAlertsResponse { alerts: alerts.collect() }))
    }
}

impl Alerts {
    async fn create(
        &self,
        request: CreateAlertRuleRequest,
        caller: &Caller,
        actor: &Actor,
    ) -> Result<AlertRule, Error> {
        let CreateAlertRuleRequest { parent, alert_rule_id, alert_rule, validate_only, request_id } = request;
        let project = project_name("parent", &parent)?.project;
        let id = if alert_rule_id.is_empty() { generated_id() } else { alert_rule_id.clone() };
        let mut violations = Vec::new();
        if !is_valid_id(&id) {
            let description = format!("`{}` is not an id: {ID_RULE}", shorten(&id, 80).escape_debug());
            violations.push(violation("alert_rule_id", reason::INVALID_NAME, description));
        }
        let Some(draft) = alert_rule else {
            violations.push(violation("alert_rule", reason::REQUIRED, "the request has no rule"));
            return Err(Error::Invalid(violations));
        };
        violations.extend(wrong(&draft, &project));
        if !violations.is_empty() {
            return Err(Error::Invalid(violations));
        }
        self.0.require_project(&project).await?;
        self.require_what_it_names(&draft, caller).await?;
        let count = self.0.store.alert_rules(Some(&project), "", i64::MAX).await?.len();
        if count >= MAX_RULES {
            return Err(Error::QuotaExceeded {
                subject: parent,
                what: "alert rules",
                max: MAX_RULES,
                remedy: "delete some",
            });
        }
        let name = AlertRuleName { project, alert_rule: id };
        let now_ms = self.0.clock.now_ms();
        let parts = [alert_rule_id.as_bytes(), &draft.encode_to_vec()];
        let once = once(&request_id, &name.project, now_ms, "CreateAlertRule", &parts)?;
        let create_time = Some(timestamp(now_ms));
        let rule = AlertRule { name: name.to_string(), create_time, etag: String::new(), ..draft };
        self.change(&name, validate_only, once, actor, |current| match current {
            Some(_) => Err(Error::AlreadyExists { kind: "alert rule", name: rule.name.clone() }),
            None => Ok(RuleChange::Put(Box::new(rule))),
        })
        .await
    }

    async fn update(
        &self,
        request: UpdateAlertRuleRequest,
        caller: &Caller,
        actor: &Actor,
    ) -> Result<AlertRule, Error> {
        let UpdateAlertRuleRequest { alert_rule, update_mask, validate_only, request_id } = request;
        let Some(given) = alert_rule else {
            return Err(Error::invalid("alert_rule", reason::REQUIRED, "the request has no rule"));
        };
        let name = given
            .name
            .parse::<AlertRuleName>()
            .map_err(|invalid: InvalidName| Error::name("alert_rule.name", &invalid))?;
        let paths = update_mask.map(|mask| mask.paths).unwrap_or_default();
        let parts = [given.encode_to_vec(), paths.join(",").into_bytes()];
        let once = once(&request_id, &name.project, self.0.clock.now_ms(), "UpdateAlertRule", &[&parts[0], &parts[1]])?;
        require_reach(&given, caller)?;
        // What it names is judged before the store is held; what is merged meanwhile names nothing else.
        let draft = mask::merge(&paths, &given, &self.rule(&name).await?).map_err(Error::Invalid)?;
        self.require_what_it_names(&draft, caller).await?;
        self.change(&name, validate_only, once, actor, |current| {
            let current = current.ok_or_else(|| not_found(&name))?;
            check_etag(current, &given.etag)?;
            let rule = mask::merge(&paths, &given, current).map_err(Error::Invalid)?;
            match wrong(&rule, &name.project) {
                violations if violations.is_empty() => Ok(RuleChange::Put(Box::new(rule))),
                violations => Err(Error::Invalid(violations)),
            }
        })
        .await
    }

    async fn delete(&self, request: &DeleteAlertRuleRequest, actor: &Actor) -> Result<AlertRule, Error> {
        let DeleteAlertRuleRequest { name, validate_only, etag, request_id } = request;
        let name = rule_name(name)?;
        let parts = [name.alert_rule.as_bytes(), etag.as_bytes()];
        let once = once(request_id, &name.project, self.0.clock.now_ms(), "DeleteAlertRule", &parts)?;
        self.change(&name, *validate_only, once, actor, |current| {
            check_etag(current.ok_or_else(|| not_found(&name))?, etag)?;
            Ok(RuleChange::Delete)
        })
        .await
    }

    /// Changes the stored rule as `decide` says, or only tells what that would give. A request that was done before gets the rule as it
    /// is now, or its name alone if there is none.
    async fn change(
        &self,
        name: &AlertRuleName,
        validate_only: bool,
        once: Option<Once>,
        actor: &Actor,
        decide: impl FnOnce(Option<&AlertRule>) -> Result<RuleChange, Error>,
    ) -> Result<AlertRule, Error> {
        if validate_only {
            let current = self.0.store.alert_rule(name).await?;
            return Ok(with_etag(match decide(current.as_ref())? {
                RuleChange::Put(rule) => *rule,
                RuleChange::Delete => current.unwrap_or_default(),
            }));
        }
        match done(self.0.store.change_alert_rule(name, once, actor, decide).await?)? {
            Ok(rule) => Ok(with_etag(rule)),
            Err(resource) => Ok(match self.0.store.alert_rule(&rule_name(&resource)?).await? {
                Some(rule) => with_etag(rule),
                None => AlertRule { name: resource, ..AlertRule::default() },
            }),
        }
    }

    async fn rule(&self, name: &AlertRuleName) -> Result<AlertRule, Error> {
        self.0.store.alert_rule(name).await?.map(with_etag).ok_or_else(|| not_found(name))
    }

    /// Refuses a rule whose syncs are not there, or that watches what the caller may not.
    async fn require_what_it_names(&self, rule: &AlertRule, caller: &Caller) -> Result<(), Error> {
        require_reach(rule, caller)?;
        for (field, name) in [("sync", &rule.sync), ("notify_sync", &rule.notify_sync)] {
            if let Ok(name) = name.parse::<SyncName>()
                && self.0.store.sync(&name).await?.is_none()
            {
                let description = format!("there is no sync {name}");
                return Err(Error::invalid(format!("alert_rule.{field}"), reason::INVALID_VALUE, description));
            }
        }
        Ok(())
    }

    async fn list(&self, request: &ListAlertRulesRequest) -> Result<ListAlertRulesResponse, Error> {
        let project = project_name("parent", &request.parent)?.project;
        let size = page::size(request.page_size)?;
        let list = page::ListOf::new(&[b"alert rules", project.as_bytes()]);
        let after = list.place(&request.page_token)?.unwrap_or_default();
        let limit = i64::try_from(size.saturating_add(1)).unwrap_or(i64::MAX);
        let mut found = self.0.store.alert_rules(Some(&project), &String::from_utf8_lossy(&after), limit).await?;
        let has_more = found.len() > size;
        found.truncate(size);
        let next_page_token = match found.last().and_then(|last| last.name.rsplit('/').next()) {
            Some(last) if has_more => list.token(last.as_bytes()),
            _ => String::new(),
        };
        Ok(ListAlertRulesResponse { alert_rules: found.into_iter().map(with_etag).collect(), next_page_token })
    }
}

/// What is wrong with a rule that somebody wants made in a project.
fn wrong(draft: &AlertRule, project: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut add = |field: &str, reason, description: String| {
        violations.push(violation(format!("alert_rule.{field}"), reason, description));
    };
    if draft.display_name.chars().count() > MAX_DISPLAY_NAME {
        add("display_name", reason::TOO_LONG, format!("longer than {MAX_DISPLAY_NAME} characters"));
    }
    for (field, name) in [("sync", &draft.sync), ("notify_sync", &draft.notify_sync)] {
        match name.parse::<SyncName>() {
            _ if name.is_empty() => {}
            Ok(name) if name.project == project => {}
            Ok(_) => add(field, reason::INVALID_NAME, format!("not of projects/{project}, which `parent` names")),
            Err(invalid) => add(field, reason::INVALID_NAME, shorten(&invalid.to_string(), 300)),
        }
    }
    let mut within = |field: &str, duration: Option<&prost_types::Duration>, least: i64, most: i64| {
        let whole = duration.is_some_and(|duration| duration.nanos == 0 && (least..=most).contains(&duration.seconds));
        if !whole {
            add(field, reason::OUT_OF_RANGE, format!("must be whole seconds, {least} to {most}"));
        }
    };
    match &draft.condition {
        None => {
            let description = "none given: one of delivery_rate_below, failing_for, expired_above, pending_above, backlog_age_above, node_gone";
            add("condition", reason::REQUIRED, description.to_owned());
        }
        Some(Condition::DeliveryRateBelow(below)) => {
            within("delivery_rate_below.over", below.over.as_ref(), MINUTE, DAY);
            if !(below.rate > 0.0 && below.rate <= 1.0) {
                add("delivery_rate_below.rate", reason::OUT_OF_RANGE, "must be above 0 and at most 1".to_owned());
            }
            if below.min_count < 0 {
                add("delivery_rate_below.min_count", reason::OUT_OF_RANGE, "negative".to_owned());
            }
        }
        Some(Condition::FailingFor(failing)) => {
            within("failing_for.duration", failing.duration.as_ref(), MINUTE, 30 * DAY);
        }
        Some(Condition::ExpiredAbove(above)) => {
            within("expired_above.over", above.over.as_ref(), MINUTE, DAY);
            if above.count < 0 {
                add("expired_above.count", reason::OUT_OF_RANGE, "negative".to_owned());
            }
        }
        Some(Condition::PendingAbove(above)) if above.count < 0 => {
            add("pending_above.count", reason::OUT_OF_RANGE, "negative".to_owned());
        }
        Some(Condition::PendingAbove(_)) => {}
        Some(Condition::BacklogAgeAbove(above)) => {
            within("backlog_age_above.duration", above.duration.as_ref(), MINUTE, 30 * DAY);
        }
        Some(Condition::NodeGone(gone)) => {
            within("node_gone.duration", gone.duration.as_ref(), MINUTE, 30 * DAY);
            if !draft.sync.is_empty() {
                add("sync", reason::INVALID_VALUE, "given: nodes belong to no sync".to_owned());
            }
        }
    }
    if draft.clear_after.is_some() {
        let duration = draft.clear_after.as_ref();
        if !duration.is_some_and(|wait| wait.nanos == 0 && (0..=DAY).contains(&wait.seconds)) {
            add("clear_after", reason::OUT_OF_RANGE, format!("must be whole seconds, 0 to {DAY}"));
        }
    }
    violations
}

/// Nodes belong to no project: rules about them are for callers who may see all.
fn require_reach(rule: &AlertRule, caller: &Caller) -> Result<(), Error> {
    match rule.condition {
        Some(Condition::NodeGone(_)) => Ok(caller.require_every_project()?),
        _ => Ok(()),
    }
}

/// The rule with the fingerprint of its content.
fn with_etag(rule: AlertRule) -> AlertRule {
    let content = AlertRule { etag: String::new(), create_time: None, ..rule.clone() };
    let digest = Sha256::digest(content.encode_to_vec());
    let etag = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    AlertRule { etag, ..rule }
}

fn check_etag(current: &AlertRule, given: &str) -> Result<(), Error> {
    match given.is_empty() || given == with_etag(current.clone()).etag {
        true => Ok(()),
        false => Err(Error::StaleEtag { kind: "alert rule", name: current.name.clone() }),
    }
}

fn rule_name(name: &str) -> Result<AlertRuleName, Error> {
    name.parse().map_err(|invalid: InvalidName| Error::name("name", &invalid))
}

fn not_found(name: &AlertRuleName) -> Error {
    Error::NotFound { kind: "alert rule", name: name.to_string(), hint: "" }
}

fn generated_id() -> String {
    let id = Uuid::new_v4().simple().to_string();
    format!("rule-{}", id.get(..8).unwrap_or(&id))
}
