//! Nodes that gave no answer: named once, and the run ends as one that did not get all.

use std::collections::BTreeMap;

use sluice_client::proto::delivery::v1::UnreachableNode;

use crate::{
    exit::{Exit, Failure},
    output::count,
};

/// Fails, with exit code 5, if there are any: what they hold is missing in what was printed.
pub(crate) fn check(nodes: &[UnreachableNode]) -> Result<(), Failure> {
    if nodes.is_empty() {
        return Ok(());
    }
    // A list names them on each of its pages.
    let named: BTreeMap<&str, &str> = nodes.iter().map(|node| (node.node.as_str(), node.reason.as_str())).collect();
    let message = format!("{} gave no answer: what they hold is missing", count(named.len() as u64, "node"));
    let mut failure = Failure::new(Exit::Unavailable, message);
    failure.details = named.into_iter().map(|(node, reason)| format!("{node}: {reason}")).collect();
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_is_named_once() {
        let node = |node: &str| UnreachableNode { node: node.into(), reason: "not connected".into() };
        assert_eq!(check(&[]), Ok(()));
        let failure = check(&[node("nodes/b"), node("nodes/a"), node("nodes/b")]).unwrap_err();
        assert_eq!(failure.exit, Exit::Unavailable);
        assert_eq!(failure.details, ["nodes/a: not connected", "nodes/b: not connected"]);
    }
}
