//! Every metric that a process of Sluice tells, as data. docs/telemetry.md is made of this list, and a test of the whole system
//! holds that each of them is emitted and nothing else is. Names are a promise: dashboards are built on them.

/// How values come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// Which process tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// Nodes.
    Node,
    /// The control plane.
    ControlPlane,
    /// Both.
    Both,
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instrument {
    /// Its name.
    pub name: &'static str,
    /// UCUM unit.
    pub unit: &'static str,
    /// How values come about.
    pub kind: Kind,
    /// Which process tells it.
    pub plane: Plane,
    /// Names of its attributes.
    pub attributes: &'static [&'static str],
    /// What it says.
    pub description: &'static str,
}

/// Resource name of a sync, or `_other` beyond the limit.
pub const SYNC: &str = "sluice.sync";
/// Id of a project, or `_other` beyond the limit.
pub const PROJECT: &str = "sluice.project";
/// What became of something.
pub const OUTCOME: &str = "sluice.outcome";
/// Class of the status that an endpoint answered with, such as `2xx`; `none` without an answer.
pub const STATUS_CLASS: &str = "sluice.status_class";
/// Why something failed; absent where it did not. OpenTelemetry's own name.
pub const ERROR_TYPE: &str = "error.type";
/// Resource name of a node, or `_other` beyond the limit.
pub const NODE: &str = "sluice.node";
/// What is meant of several things that are counted alike.
pub const STATE: &str = "sluice.state";
/// `traces`, `metrics` or `logs`.
pub const SIGNAL: &str = "sluice.signal";
/// Why something was dropped.
pub const REASON: &str = "sluice.reason";
/// `grpc`, by OpenTelemetry's conventions for RPCs.
pub const RPC_SYSTEM: &str = "rpc.system.name";
/// Full name of a method, by the same.
pub const RPC_METHOD: &str = "rpc.method";
/// gRPC status, by the same.
pub const RPC_STATUS: &str = "rpc.response.status_code";

/// What each attribute holds.
pub const ATTRIBUTES: &[(&str, &str)] = &[
    (SYNC, "resource name of the sync; `_other` for all beyond the limit (`--telemetry-syncs`)"),
    (PROJECT, "id of the project; `_other` beyond the same limit"),
    (NODE, "resource name of the node; `_other` for all beyond the limit (`--telemetry-nodes` of the control plane)"),
    (
        OUTCOME,
        "events: `rejected`, `duplicate`, `unmatched`, `matched`; deliveries: `delivered`, `expired`, `discarded`",
    ),
    (STATUS_CLASS, "`1xx` to `5xx` by what the endpoint answered; `none` without an answer"),
    (
        ERROR_TYPE,
        "why an attempt failed: the status, as a number, where there was an answer (`other_status` for one that is out of the \
         ordinary), else `dns`, `connect`, `tls`, `timeout`, `protocol`, `blocked_address`, `render`, `body`; absent where it did not fail",
    ),
    (STATE, "of the spool's bytes: `file`, `free` (on the disk), `reports`; of nodes: `connected`, `draining`, `gone`"),
    (SIGNAL, "`traces`, `metrics` or `logs`"),
    (REASON, "`queue_full`: nobody took it in time; `export_failed`: the backend refused, or did not answer"),
    (RPC_SYSTEM, "`grpc`"),
    (RPC_METHOD, "such as `sluice.sync.v1.SyncService/GetSync`; `_other` for one that there is not"),
    (RPC_STATUS, "such as `OK` or `UNAVAILABLE`"),
];

macro_rules! instruments {
    ($($id:ident: $plane:ident $kind:ident $name:literal $unit:literal [$($attribute:ident),*] $description:literal;)*) => {
        $(
            #[doc = $description]
            pub const $id: Instrument = Instrument {
                name: $name,
                unit: $unit,
                kind: Kind::$kind,
                plane: Plane::$plane,
                attributes: &[$($attribute),*],
                description: $description,
            };
        )*
        /// All of them, in the order in which the page shows them.
        pub const ALL: &[&Instrument] = &[$(&$id),*];
    };
}

instruments! {
    EVENTS: Node Counter "sluice.events" "{event}" [PROJECT, OUTCOME]
        "Events that producers sent, by what became of them. Accepted are `unmatched` and `matched`. From the ledger: exact, and kept over restarts.";
    DELIVERIES_CREATED: Node Counter "sluice.deliveries.created" "{delivery}" [SYNC]
        "Deliveries that events made. From the ledger.";
    DELIVERIES_REDELIVERED: Node Counter "sluice.deliveries.redelivered" "{delivery}" [SYNC]
        "Dead letters that were reopened. From the ledger.";
    DELIVERIES_ENDED: Node Counter "sluice.deliveries.ended" "{delivery}" [SYNC, OUTCOME]
        "Deliveries that have ended, by how. From the ledger.";
    DELIVERIES_PENDING: Node Gauge "sluice.deliveries.pending" "{delivery}" [SYNC]
        "Deliveries that are open: the depth of the sync's lane, in memory and on disk. From the ledger.";
    DEAD_LETTERS: Node Gauge "sluice.dead_letters" "{delivery}" [SYNC]
        "Dead letters that are kept. From the ledger.";
    LANE_OLDEST_WAIT: Node Gauge "sluice.lane.oldest_wait" "s" [SYNC]
        "How long the oldest open delivery on disk has waited since its first round was due; 0 if none waits on disk.";
    LANE_BREAKER_OPEN: Node Gauge "sluice.lane.breaker.open" "{lane}" [SYNC]
        "1 while the endpoint counts as down and is only probed, else 0. Of `_other`: how many.";
    ATTEMPTS: Node Counter "sluice.attempts" "{attempt}" [SYNC, STATUS_CLASS, ERROR_TYPE]
        "Attempts that were reported since the process began, those that failed before a request among them (`render`).";
    ATTEMPT_DURATION: Node Histogram "sluice.attempt.duration" "s" [SYNC]
        "How long requests to endpoints took, the response's body included.";
    DELIVERY_LATENCY: Node Histogram "sluice.delivery.latency" "s" [SYNC]
        "From an event's acceptance to the 2xx that its delivery ended with.";
    RENDER_DURATION: Node Histogram "sluice.render.duration" "s" [SYNC]
        "How long rendering bodies took, waiting for a turn included.";
    RENDER_FAILURES: Node Counter "sluice.render.failures" "{rendering}" [SYNC]
        "Bodies that could not be rendered: their deliveries are discarded.";
    REQUESTS_IN_FLIGHT: Node Gauge "sluice.requests.in_flight" "{round}" []
        "Rounds under way.";
    DELIVERIES_IN_MEMORY: Node Gauge "sluice.deliveries.in_memory" "{delivery}" []
        "Deliveries in memory: waiting for their turn, under way, or on their way to disk.";
    CONNECTIONS_OPENED: Node Counter "sluice.connections.opened" "{connection}" []
        "Connections to endpoints that were opened.";
    CONNECTIONS_OPEN: Node Gauge "sluice.connections.open" "{connection}" []
        "Connections to endpoints that are open.";
    INGEST_HELD: Node Gauge "sluice.ingest.held" "By" []
        "Bytes of producers' messages that are read and neither on disk nor refused.";
    INGEST_CALLS: Node Gauge "sluice.ingest.calls" "{call}" []
        "Producers' calls under way.";
    SPOOL_BYTES: Node Gauge "sluice.spool.bytes" "By" [STATE]
        "Bytes of the spool's files, of the disk below them that are free, and of the reports that it holds.";
    SPOOL_LIMIT: Node Gauge "sluice.spool.limit" "By" []
        "Bytes of events that the spool may hold.";
    SPOOL_COMMIT_DURATION: Node Histogram "sluice.spool.commit.duration" "s" []
        "How long commits took, from the first change to the fsync.";
    SPOOL_SYNC_DURATION: Node Histogram "sluice.spool.sync.duration" "s" []
        "How long the last step of commits took: the log is written and fsynced, which SQLite does in one call, and now and then brought into the file.";
    SPOOL_DAMAGED: Node Counter "sluice.spool.damaged" "{record}" []
        "Records that were found damaged on disk.";
    UPLINK_PENDING: Node Gauge "sluice.uplink.pending" "{report}" []
        "Reports that the control plane has not stored yet: how far the uplink is behind.";
    UPLINK_DROPPED: Node Counter "sluice.uplink.dropped" "{report}" []
        "Reports whose detail was dropped because the spool had no room for it.";
    CATALOG_REVISION: Both Gauge "sluice.catalog.revision" "{revision}" []
        "Nodes: the revision that is served. Control plane: the newest. Their difference is a node's lag.";
    CATALOG_SYNCS: Node Gauge "sluice.catalog.syncs" "{sync}" []
        "Syncs in the catalog that is served.";
    CLOCK_JUMPS: Both Counter "sluice.clock.jumps" "{jump}" []
        "How often the machine's clock was found to have jumped.";
    NODES: ControlPlane Gauge "sluice.nodes" "{node}" [STATE]
        "Nodes that are connected or have been since the start. One that drains is connected too.";
    ROLLOUT_LAG: ControlPlane Gauge "sluice.rollout.lag" "{revision}" [NODE]
        "By how many revisions what a connected node serves is behind the newest.";
    ROLLOUT_BEHIND: ControlPlane Gauge "sluice.rollout.behind" "s" [NODE]
        "How long ago the oldest change was made that a connected node does not serve yet, since the control plane's start at most; 0 if it serves all.";
    ROLLOUT_REFUSED: ControlPlane Gauge "sluice.rollout.refused" "{sync}" [NODE]
        "Syncs whose newest version a connected node refuses.";
    RPC_DURATION: Both Histogram "rpc.server.call.duration" "s" [RPC_SYSTEM, RPC_METHOD, RPC_STATUS]
        "How long calls took that the process answered; streams count when they end.";
    TELEMETRY_EXPORTED: Both Counter "sluice.telemetry.exported" "{item}" [SIGNAL]
        "Spans, log records and readings of metrics that the backend took.";
    TELEMETRY_DROPPED: Both Counter "sluice.telemetry.dropped" "{item}" [SIGNAL, REASON]
        "The same that were dropped.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_attributes_explained() {
        let mut names: Vec<_> = ALL.iter().map(|instrument| instrument.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        for instrument in ALL {
            for attribute in instrument.attributes {
                assert!(ATTRIBUTES.iter().any(|(name, _)| name == attribute), "{attribute}");
            }
        }
        for (name, _) in ATTRIBUTES {
            assert!(ALL.iter().any(|instrument| instrument.attributes.contains(name)), "{name} is not used");
        }
    }
}
