//! Compares what came with what must have come.

use std::collections::HashMap;

use crate::{
    output::thousands,
    receiver::{BodyHash, Received},
};

/// What must come to one path.
pub(super) struct Expectation {
    /// How often each (`webhook-id`, hash of the body).
    pub(super) bodies: HashMap<(String, BodyHash), u64>,
    /// The `Authorization` header of every request; `None`: none.
    pub(super) authorization: Option<Vec<u8>>,
}

impl Expectation {
    /// How many deliveries.
    pub(super) fn deliveries(&self) -> u64 {
        self.bodies.values().sum()
    }
}

/// Everything in which they differ; empty if they agree.
pub(super) fn disagreements(expected: &Expectation, received: &Received) -> Vec<String> {
    let mut problems = Vec::new();
    let mut missing = 0;
    let mut repeated = 0;
    for (delivery, count) in &expected.bodies {
        let came = received.deliveries.get(delivery).copied().unwrap_or(0);
        missing += count.saturating_sub(came);
        repeated += came.saturating_sub(*count);
    }
    let unexpected = received
        .deliveries
        .iter()
        .filter(|(delivery, _)| !expected.bodies.contains_key(*delivery))
        .map(|(_, count)| count)
        .sum();
    let wrong_headers = received
        .authorizations
        .iter()
        .filter(|(authorization, _)| **authorization != expected.authorization)
        .map(|(_, count)| count)
        .sum();
    for (count, what) in [
        (missing, "did not come with the right body"),
        (unexpected, "came that should not, or with another body"),
        (repeated, "came more than once"),
        (wrong_headers, "came with a wrong or missing Authorization header"),
    ] {
        if count > 0 {
            problems.push(format!("{} {what}", thousands(count)));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(id: &str, body: u8) -> (String, BodyHash) {
        (id.to_owned(), [body; 32])
    }

    fn expectation() -> Expectation {
        let bodies = HashMap::from([(delivery("a", 1), 1), (delivery("b", 2), 1)]);
        Expectation { bodies, authorization: Some(b"Bearer x".to_vec()) }
    }

    fn received(deliveries: &[((String, BodyHash), u64)], authorization: Option<&[u8]>) -> Received {
        let count = deliveries.iter().map(|(_, count)| count).sum();
        Received {
            deliveries: deliveries.iter().cloned().collect(),
            authorizations: HashMap::from([(authorization.map(<[u8]>::to_vec), count)]),
            first_body: None,
        }
    }

    #[test]
    fn what_agrees_has_no_disagreements() {
        let received = received(&[(delivery("a", 1), 1), (delivery("b", 2), 1)], Some(b"Bearer x"));
        assert_eq!(disagreements(&expectation(), &received), Vec::<String>::new());
    }

    #[test]
    fn every_kind_of_difference_is_found() {
        for (deliveries, authorization, problems) in [
            (vec![(delivery("a", 1), 1)], "Bearer x", vec!["1 did not come with the right body"]),
            (
                vec![(delivery("a", 1), 1), (delivery("b", 9), 1)],
                "Bearer x",
                vec!["1 did not come with the right body", "1 came that should not, or with another body"],
            ),
            (vec![(delivery("a", 1), 3), (delivery("b", 2), 1)], "Bearer x", vec!["2 came more than once"]),
            (
                vec![(delivery("a", 1), 1), (delivery("b", 2), 1)],
                "Bearer y",
                vec!["2 came with a wrong or missing Authorization header"],
            ),
        ] {
            let received = received(&deliveries, Some(authorization.as_bytes()));
            assert_eq!(disagreements(&expectation(), &received), problems);
        }
        assert_eq!(disagreements(&expectation(), &Received::default()), ["2 did not come with the right body"]);
    }
}
