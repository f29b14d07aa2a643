//! How fast the control plane stores what nodes report.

use std::time::{Duration, Instant, SystemTime};

use sluice_tests::{
    cluster::sync_name,
    events::sync_to,
    measure::{folder_bytes, rss_bytes},
    process::Plane,
    reports::Reporting,
    syncs,
};

use super::{Context, mib};
use crate::{
    report::{Goal, Measured},
    usage::Watch,
};

/// Over this time the deliveries are spread that are reported.
const SPAN: Duration = Duration::from_secs(3_600);

pub(super) async fn run(context: &mut Context) {
    let deliveries = context.options.pick(None, 1_000, 500_000);
    let count = context.options.pick(None, 10, 1_000);
    let folder = tempfile::tempdir_in(&context.options.dir).expect("a folder that can be written to");
    let plane = Plane::control_plane(folder.path(), "127.0.0.1:0").await;
    let definition = |number| sluice_proto::sync::v1::Sync {
        name: sync_name(&format!("s{number}")),
        ..sync_to("https://hooks.example/orders")
    };
    let uids = syncs::apply(&plane.url(), (0..count).map(definition).collect()).await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock");
    let began_ms = u64::try_from((now - SPAN).as_millis()).expect("a time that fits");
    let span_ms = u64::try_from(SPAN.as_millis()).expect("a time that fits");

    let watch = Watch::begin(&[("control plane".to_owned(), plane.id())], folder.path());
    let began = Instant::now();
    let mut reporting = Reporting::start(&plane.url(), uids, deliveries, began_ms, span_ms).await;
    let all = deliveries as u64;
    while reporting.acked().await < all {}
    let seconds = began.elapsed().as_secs_f64();
    reporting.end().await;
    let measured = Measured {
        scenario: "reports".to_owned(),
        case: "one for each delivery, of its attempt and its ending".to_owned(),
        unit: "reports".to_owned(),
        count: all,
        seconds,
        processes: watch.end(all),
        ..Measured::default()
    };
    let a_core = 1e6 / measured.cpu("control plane").max(f64::MIN_POSITIVE);
    let stored = folder_bytes(folder.path()) as f64 / all as f64;
    let memory = mib(rss_bytes(plane.id()));
    let measured = measured.fact("reports/s on one core", a_core, "", Some(Goal::AtLeast(20_000.0)));
    context.add(measured.fact("files", stored, "B a report", None).fact("memory", memory, "MiB", None));
}
