//! The two syncs of the demo.

use sluice_client::proto::sync::v1::{
    Condition, Destination, EventSelection, Filter, Header, OriginalPayload, PropertyCondition, PropertyOperator,
    PropertyRoot, Secret, Sync, TemplatePayload, condition, event_selection::Payload, header,
};

/// Event types that the first sync takes.
pub(super) const PURCHASE_TYPES: [&str; 2] = ["Purchase", "Refund"];
/// Property that the first sync asks for.
pub(super) const TOTAL: &str = "Order Total";
/// What it must at least be.
pub(super) const LEAST_TOTAL: f64 = 50.0;
/// What stands for a missing email.
pub(super) const DEFAULT_EMAIL: &str = "unknown@example.com";

/// The documented example template, with `?json_string` so that quotes in values cannot break the JSON.
pub(super) const TEMPLATE: &str = r#"{
      <#if input.user_id??>
      "external_id": "${input.user_id?json_string}",
      </#if>
      "name": "${input.event_type?json_string}",
      "time": "${input.event_time}",
      "email": "${(input.user_properties.email!"unknown@example.com")?json_string}"
}"#;

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DemoSync {
    /// Large purchases, as they came.
    Original,
    /// Everything, through a template.
    Templated,
}

impl DemoSync {
    pub(super) const ALL: [Self; 2] = [Self::Original, Self::Templated];

    /// Last segment of its name.
    pub(super) fn id(self) -> &'static str {
        match self {
            Self::Original => "purchases-original",
            Self::Templated => "all-templated",
        }
    }

    /// Path at the receiver.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Original => "/purchases",
            Self::Templated => "/all",
        }
    }

    /// What it does, for people.
    pub(super) fn says(self) -> &'static str {
        match self {
            Self::Original => "purchases and refunds of 50 or more, as they came",
            Self::Templated => "every event, through a FreeMarker template, with an Authorization header",
        }
    }

    /// The `Authorization` header that its requests must have.
    pub(super) fn authorization(self, token: &str) -> Option<Vec<u8>> {
        match self {
            Self::Original => None,
            Self::Templated => Some(token.as_bytes().to_vec()),
        }
    }

    /// The sync itself, enabled, delivering to `url`.
    pub(super) fn sync(self, url: &str, token: &str) -> Sync {
        let (headers, events) = match self {
            Self::Original => {
                let condition = PropertyCondition {
                    root: PropertyRoot::EventProperties.into(),
                    path: vec![TOTAL.to_owned()],
                    operator: PropertyOperator::GreaterOrEqual.into(),
                    values: vec![LEAST_TOTAL.to_string()],
                };
                let filter = Filter {
                    event_types: PURCHASE_TYPES.map(str::to_owned).into(),
                    conditions: vec![Condition { condition: Some(condition::Condition::Property(condition)) }],
                    ..Filter::default()
                };
                let payload = Some(Payload::Original(OriginalPayload {}));
                (Vec::new(), EventSelection { filter: Some(filter), payload })
            }
            Self::Templated => {
                let secret = Secret { value: token.to_owned(), set: false };
                let header = Header { name: "Authorization".to_owned(), value: Some(header::Value::Secret(secret)) };
                let template = TemplatePayload { source: TEMPLATE.to_owned(), allow_invalid_json: false };
                (vec![header], EventSelection { filter: None, payload: Some(Payload::Template(template)) })
            }
        };
        Sync {
            display_name: self.says().to_owned(),
            enabled: true,
            destination: Some(Destination { url: url.to_owned(), headers, ..Destination::default() }),
            events: Some(events),
            ..Sync::default()
        }
    }
}
