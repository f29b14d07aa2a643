//! `sluice alerts`: what is wrong now, and the rules that look for it.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use sluice_client::proto::{
    alert::v1::{
        AlertRule, BacklogAgeAbove, CreateAlertRuleRequest, DeleteAlertRuleRequest, DeliveryRateBelow, ExpiredAbove,
        FailingFor, GetAlertRuleRequest, ListAlertRulesRequest, ListAlertsRequest, NodeGone, PendingAbove,
        UpdateAlertRuleRequest, alert_rule::Condition,
    },
    name::is_valid_id,
};

use crate::{
    context::{Context, call},
    duration,
    exit::Failure,
    output::{print, table, time},
    proto_json::Printed,
};

const RULE: &str = "sluice.alert.v1.AlertRule";

/// What to do with alerts.
#[derive(Debug, Subcommand)]
pub(crate) enum AlertsCommand {
    /// List what is wrong now
    #[command(after_help = "\
Example:
  sluice alerts list -o json | jq -r '.[].summary'")]
    List,
    /// List the rules
    #[command(after_help = "\
Example:
  sluice alerts rules")]
    Rules,
    /// Make a rule
    #[command(after_help = "\
Examples:
  sluice alerts create --failing-for 10m --notify on-call
  sluice alerts create --delivery-rate-below 0.99 --over 1h --sync orders --notify on-call
  sluice alerts create --expired-above 0 --over 1h
  sluice alerts create --node-gone 5m --notify on-call

What a rule finds is always logged. --notify names a sync that says where and in which shape people are told: the alert is an event,
sluice_alert_fired or sluice_alert_resolved, with event_properties rule, display_name, subject, summary, since and at.
`sluice sync test on-call --event alert.json` tries that out.")]
    Create(CreateArgs),
    /// Change what is given of a rule
    #[command(after_help = "\
Examples:
  sluice alerts update rule-1f0c9a7b --failing-for 30m
  sluice alerts update rule-1f0c9a7b --notify ''        # the log alone

Another condition replaces the one that the rule has; what the rule has found is over with it.")]
    Update(UpdateArgs),
    /// Delete a rule, and what it has found
    #[command(after_help = "\
Example:
  sluice alerts delete rule-1f0c9a7b")]
    Delete {
        /// Its id
        #[arg(value_name = "RULE")]
        id: String,
    },
}

/// Which rule to make.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("one").required(true).args(CONDITIONS))]
pub(crate) struct CreateArgs {
    /// Id of the rule [default: made by the control plane]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    rule: RuleArgs,
}

/// What to change of a rule.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("one").args(CONDITIONS))]
pub(crate) struct UpdateArgs {
    /// Its id
    #[arg(value_name = "RULE")]
    id: String,
    #[command(flatten)]
    rule: RuleArgs,
}

const CONDITIONS: [&str; 6] =
    ["failing_for", "delivery_rate_below", "expired_above", "pending_above", "backlog_age_above", "node_gone"];

/// What a rule says.
#[derive(Debug, Args)]
struct RuleArgs {
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,
    /// The sync that it watches [default: every enabled one of the project]
    #[arg(long, value_name = "SYNC")]
    sync: Option<String>,
    /// Nothing but failures for so long, such as 10m
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    failing_for: Option<Duration>,
    /// Fewer than this share of deliveries got a 2xx, such as 0.99
    #[arg(long, value_name = "RATE", requires = "over")]
    delivery_rate_below: Option<f64>,
    /// More than so many deliveries have expired
    #[arg(long, value_name = "COUNT", requires = "over")]
    expired_above: Option<i64>,
    /// More than so many deliveries wait
    #[arg(long, value_name = "COUNT")]
    pending_above: Option<i64>,
    /// The oldest open delivery has waited for so long
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    backlog_age_above: Option<Duration>,
    /// A node is away for so long
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    node_gone: Option<Duration>,
    /// The time that deliveries are counted over, such as 1h
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    over: Option<Duration>,
    /// Only if at least so many deliveries have ended
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 0,
        hide_default_value = true,
        requires = "delivery_rate_below"
    )]
    min_count: i64,
    /// It must have been right for so long to count as right again [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    clear_after: Option<Duration>,
    /// The sync through which people are told [default: the log alone]
    #[arg(long, value_name = "SYNC")]
    notify: Option<String>,
}

pub(crate) async fn run(context: &Context, command: AlertsCommand) -> Result<(), Failure> {
    match command {
        AlertsCommand::List => list(context).await,
        AlertsCommand::Rules => rules(context).await,
        AlertsCommand::Create(args) => create(context, args).await,
        AlertsCommand::Update(args) => update(context, args).await,
        AlertsCommand::Delete { id } => {
            let name = rule_name(context, id)?;
            let request = DeleteAlertRuleRequest { name, ..Default::default() };
            let rule = context.alerts().await?.delete_alert_rule(call(request)).await?.into_inner();
            print(context.format, &Printed::new(RULE, &rule)?, || Ok(format!("{} is deleted", rule.name)))
        }
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let request = ListAlertsRequest { parent: context.project()?.to_string() };
    let alerts = context.alerts().await?.list_alerts(call(request)).await?.into_inner().alerts;
    let printed: Vec<_> =
        alerts.iter().map(|alert| Printed::new("sluice.alert.v1.Alert", alert)).collect::<Result<_, _>>()?;
    print(context.format, &printed, || {
        if alerts.is_empty() {
            return Ok("nothing is wrong, as far as the rules see (`sluice alerts rules`)".to_owned());
        }
        let last = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
        let rows = alerts.iter().map(|alert| {
            vec![time(alert.since.as_ref()), last(&alert.rule), last(&alert.subject), alert.summary.clone()]
        });
        Ok(table(&["SINCE", "RULE", "ABOUT", "WHAT"], rows))
    })
}

async fn rules(context: &Context) -> Result<(), Failure> {
    let mut client = context.alerts().await?;
    let mut request = ListAlertRulesRequest {
        parent: context.project()?.to_string(),
        page_size: 1_000,
        ..ListAlertRulesRequest::default()
    };
    let mut rules = Vec::<AlertRule>::new();
    loop {
        let page = client.list_alert_rules(call(request.clone())).await?.into_inner();
        rules.extend(page.alert_rules);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let printed: Vec<_> = rules.iter().map(|rule| Printed::new(RULE, rule)).collect::<Result<_, _>>()?;
    print(context.format, &printed, || {
        if rules.is_empty() {
            return Ok("no rules; `sluice alerts create --help` shows how to make one".to_owned());
        }
        let last = |name: &str, none: &str| match name.rsplit('/').next() {
            Some("") | None => none.to_owned(),
            Some(last) => last.to_owned(),
        };
        let rows = rules.iter().map(|rule| {
            vec![last(&rule.name, ""), shown(rule), last(&rule.sync, "every"), last(&rule.notify_sync, "log")]
        });
        Ok(table(&["RULE", "WHEN", "SYNC", "TELLS"], rows))
    })
}

fn shown(rule: &AlertRule) -> String {
    let for_people = |wait: &Option<prost_types::Duration>| {
        wait.and_then(|wait| Duration::try_from(wait).ok()).map(duration::show).unwrap_or_default()
    };
    match &rule.condition {
        Some(Condition::DeliveryRateBelow(below)) => {
            format!("delivery rate below {} over {}", below.rate, for_people(&below.over))
        }
        Some(Condition::FailingFor(failing)) => format!("failing for {}", for_people(&failing.duration)),
        Some(Condition::ExpiredAbove(above)) => {
            format!("more than {} expired over {}", above.count, for_people(&above.over))
        }
        Some(Condition::PendingAbove(above)) => format!("more than {} pending", above.count),
        Some(Condition::BacklogAgeAbove(above)) => {
            format!("a delivery waiting for {}", for_people(&above.duration))
        }
        Some(Condition::NodeGone(gone)) => format!("a node gone for {}", for_people(&gone.duration)),
        None => "-".to_owned(),
    }
}

async fn create(context: &Context, args: CreateArgs) -> Result<(), Failure> {
    let request = CreateAlertRuleRequest {
        parent: context.project()?.to_string(),
        alert_rule_id: args.id.unwrap_or_default(),
        alert_rule: Some(args.rule.rule(context)?),
        ..CreateAlertRuleRequest::default()
    };
    let rule = context.alerts().await?.create_alert_rule(call(request)).await?.into_inner();
    print(context.format, &Printed::new(RULE, &rule)?, || Ok(format!("{}: {}", rule.name, shown(&rule))))
}

async fn update(context: &Context, args: UpdateArgs) -> Result<(), Failure> {
    let mut client = context.alerts().await?;
    let name = rule_name(context, args.id)?;
    let paths = args.rule.paths();
    let rule = if paths.is_empty() {
        client.get_alert_rule(call(GetAlertRuleRequest { name })).await?.into_inner()
    } else {
        let request = UpdateAlertRuleRequest {
            alert_rule: Some(AlertRule { name, ..args.rule.rule(context)? }),
            update_mask: Some(prost_types::FieldMask { paths }),
            ..UpdateAlertRuleRequest::default()
        };
        client.update_alert_rule(call(request)).await?.into_inner()
    };
    print(context.format, &Printed::new(RULE, &rule)?, || Ok(format!("{}: {}", rule.name, shown(&rule))))
}

fn rule_name(context: &Context, id: String) -> Result<String, Failure> {
    Ok(match is_valid_id(&id) {
        true => format!("{}/alertRules/{id}", context.project()?),
        false => id,
    })
}

impl RuleArgs {
    /// The fields that are given.
    fn paths(&self) -> Vec<String> {
        let given = [
            ("display_name", self.display_name.is_some()),
            ("sync", self.sync.is_some()),
            ("failing_for", self.failing_for.is_some()),
            ("delivery_rate_below", self.delivery_rate_below.is_some()),
            ("expired_above", self.expired_above.is_some()),
            ("pending_above", self.pending_above.is_some()),
            ("backlog_age_above", self.backlog_age_above.is_some()),
            ("node_gone", self.node_gone.is_some()),
            ("clear_after", self.clear_after.is_some()),
            ("notify_sync", self.notify.is_some()),
        ];
        given.into_iter().filter(|(_, is_given)| *is_given).map(|(path, _)| path.to_owned()).collect()
    }

    fn rule(self, context: &Context) -> Result<AlertRule, Failure> {
        let wire = |wait: Option<Duration>| wait.and_then(|wait| prost_types::Duration::try_from(wait).ok());
        let full_name = |sync: Option<String>| match sync {
            Some(sync) if !sync.is_empty() => context.sync_name(&sync).map(|name| name.to_string()),
            _ => Ok(String::new()),
        };
        let over = wire(self.over);
        let rate = self
            .delivery_rate_below
            .map(|rate| Condition::DeliveryRateBelow(DeliveryRateBelow { rate, over, min_count: self.min_count }));
        let waiting = |wait| Condition::BacklogAgeAbove(BacklogAgeAbove { duration: wire(Some(wait)) });
        let condition = rate
            .or(self.failing_for.map(|wait| Condition::FailingFor(FailingFor { duration: wire(Some(wait)) })))
            .or(self.expired_above.map(|count| Condition::ExpiredAbove(ExpiredAbove { count, over })))
            .or(self.pending_above.map(|count| Condition::PendingAbove(PendingAbove { count })))
            .or(self.backlog_age_above.map(waiting))
            .or(self.node_gone.map(|wait| Condition::NodeGone(NodeGone { duration: wire(Some(wait)) })));
        Ok(AlertRule {
            display_name: self.display_name.unwrap_or_default(),
            sync: full_name(self.sync)?,
            condition,
            clear_after: wire(self.clear_after),
            notify_sync: full_name(self.notify)?,
            ..AlertRule::default()
        })
    }
}
