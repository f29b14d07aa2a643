//! x
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod support;
use sluice_proto::delivery::v1::*;
use support::*;
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speed() {
    let plane = Plane::start().await;
    let s = plane.create("orders", sync()).await;
    let (mut r, _) = plane.reporter("s").await;
    let mix = |n: u64| { let mut x = n.wrapping_mul(0x9E3779B97F4A7C15); x ^= x >> 29; x = x.wrapping_mul(0xBF58476D1CE4E5B9); x ^ (x >> 32) };
    let n = 200_000u64;
    let batches: Vec<Vec<_>> = (0..n / 1000).map(|b| (b*1000..(b+1)*1000).flat_map(|i| {
        let id = format!("{}/deliveries/{:016x}{:016x}", s.name, mix(i), mix(i + 1_000_000_000));
        let a = Attempt { delivery: id.clone(), event_id: format!("{:016x}{:016x}", mix(i+77), mix(i)), http_status: 200, request_bytes: 900, ..attempt(&s, i as u32, i as i64, AttemptOutcome::Delivered) };
        let e = Ending { delivery: id, ..ending(&s, i as u32, i as i64, EndingOutcome::Delivered, 1) };
        [attempted(a), ended(e)]
    }).collect()).collect();
    let start = std::time::Instant::now();
    let mut seq = 1;
    for b in batches { let len = b.len() as u64; r.report(seq, b).await; seq += len; }
    let t = start.elapsed();
    eprintln!("{} reports in {:?}: {:.0}/s", 2*n, t, 2.0*n as f64 / t.as_secs_f64());
    let q = async |name: &str, req: ListAttemptsRequest| { let t = std::time::Instant::now(); let p = plane.deliveries().list_attempts(req).await.unwrap().into_inner(); eprintln!("{name}: {} in {:?}", p.attempts.len(), t.elapsed()); p };
    let base = ListAttemptsRequest { parent: s.name.clone(), filter: None, page_size: 50, page_token: String::new() };
    let p = q("sync", base.clone()).await;
    q("page 2", ListAttemptsRequest { page_token: p.next_page_token, ..base.clone() }).await;
    q("all", ListAttemptsRequest { parent: "projects/default/syncs/-".into(), ..base.clone() }).await;
    q("rare outcome", ListAttemptsRequest { filter: Some(AttemptFilter { outcomes: vec![4], ..Default::default() }), ..base.clone() }).await;
    q("event", ListAttemptsRequest { filter: Some(AttemptFilter { event_id: p.attempts[0].event_id.clone(), ..Default::default() }), ..base.clone() }).await;
    q("delivery", ListAttemptsRequest { filter: Some(AttemptFilter { delivery_id: p.attempts[0].delivery.rsplit('/').next().unwrap().into(), ..Default::default() }), ..base.clone() }).await;
    plane.hand.advance(std::time::Duration::from_secs(200));
    let t = std::time::Instant::now();
    let m = plane.deliveries().get_sync_metrics(GetSyncMetricsRequest { name: s.name.clone(), period: Some(get_sync_metrics_request::Period::Window(1)) }).await.unwrap().into_inner();
    eprintln!("metrics {:?} {m:?}", t.elapsed());
}
