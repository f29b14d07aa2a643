//! A control plane with 10,000 syncs and 10 million attempts: how fast it stores what nodes report, and how fast it answers people
//! meanwhile and afterwards. The real process on loopback; run it through `tests/large_store.sh`.
//!
//! `LARGE_SYNCS` (10,000), `LARGE_ATTEMPTS` (10,000,000); each attempt tells the ending of its delivery, too. Their times are spread
//! over the last six days, one in twenty has failed.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a script: a failure here is a failed run

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use sluice_client::{Connection, connect, sync_client};
use sluice_proto::{
    delivery::v1::{
        AttemptFilter, GetSyncMetricsRequest, ListAttemptsRequest, MetricsWindow,
        delivery_service_client::DeliveryServiceClient, get_sync_metrics_request::Period,
    },
    sync::v1::{GetSyncRequest, ListSyncsRequest, Sync},
};
use sluice_tests::{
    cluster::sync_name,
    events::sync_to,
    measure::{cpu_time, folder_bytes, rss_bytes},
    process::Plane,
    reports::{Reporting, event_id},
    syncs,
};

/// Between two questions.
const ASKED_EVERY: Duration = Duration::from_millis(50);
/// What the answers of people may take while reports are stored.
const MEDIAN_GOAL: Duration = Duration::from_millis(50);
const P99_GOAL: Duration = Duration::from_millis(500);
const SIX_DAYS_MS: u64 = 6 * 86_400_000;

/// How long the answers took, by question.
type Answers = Arc<Mutex<BTreeMap<&'static str, Vec<Duration>>>>;

#[tokio::main]
async fn main() {
    let number = |name: &str, missing: usize| std::env::var(name).map_or(missing, |text| text.parse().unwrap());
    let (syncs, attempts) = (number("LARGE_SYNCS", 10_000), number("LARGE_ATTEMPTS", 10_000_000));
    let folder = tempfile::tempdir().unwrap();
    let max_syncs = ["--max-syncs-per-project".to_owned(), syncs.to_string()];
    let plane = Plane::control_plane_with(folder.path(), "127.0.0.1:0", &max_syncs).await;
    let uids = apply(&plane, syncs).await;

    let answers = Answers::default();
    let asking = tokio::spawn(ask_for_ever(plane.url(), syncs, answers.clone()));
    report(&plane, folder.path(), &uids, attempts, &answers).await;
    let within = told("while reports are stored", &answers);
    answers.lock().unwrap().clear();
    tokio::time::sleep(Duration::from_secs(20)).await;
    asking.abort();
    told("afterwards", &answers);
    assert!(plane.terminate().await.success());
    if !within {
        println!("missed: half of the answers within {MEDIAN_GOAL:?} and 99 % within {P99_GOAL:?}");
        std::process::exit(1);
    }
}

/// Stores the syncs; gives their uids.
async fn apply(plane: &Plane, count: usize) -> Vec<String> {
    let named = |id| Sync { name: sync_name(&format!("s{id}")), ..sync_to("https://hooks.example/orders") };
    let began = Instant::now();
    let uids = syncs::apply(&plane.url(), (0..count).map(named).collect()).await;
    println!("{count} syncs applied in {:.1} s", began.elapsed().as_secs_f64());
    uids
}

/// Sends the reports as a node does, and prints what each tenth of them costs.
async fn report(plane: &Plane, folder: &Path, uids: &[String], attempts: usize, answers: &Answers) {
    let began_ms = now_ms() - SIX_DAYS_MS;
    let all = attempts as u64;
    let mut reporting = Reporting::start(&plane.url(), uids.to_vec(), attempts, began_ms, SIX_DAYS_MS).await;
    println!(
        "{:>12} {:>10} {:>16} {:>8} {:>9} {:>9}",
        "reports", "reports/s", "µs CPU a report", "RSS MiB", "files MiB", "p99 ms"
    );
    let (mut acked, mut told) = (0, 0);
    let (mut began, mut cpu) = (Instant::now(), cpu_time(plane.id()));
    while acked < all {
        acked = reporting.acked().await;
        if acked - told >= all / 10 || acked == all {
            let count = (acked - told) as f64;
            let spent = cpu_time(plane.id()).saturating_sub(cpu);
            println!(
                "{acked:>12} {:>10.0} {:>16.1} {:>8.0} {:>9.0} {:>9.1}",
                count / began.elapsed().as_secs_f64(),
                spent.as_secs_f64() * 1e6 / count,
                rss_bytes(plane.id()) as f64 / f64::from(1 << 20),
                folder_bytes(folder) as f64 / f64::from(1 << 20),
                worst(answers).as_secs_f64() * 1e3,
            );
            (told, began, cpu) = (acked, Instant::now(), cpu_time(plane.id()));
        }
    }
    reporting.end().await;
}

/// Asks as people do, one question after the other.
async fn ask_for_ever(control_plane: String, syncs: usize, answers: Answers) {
    let channel: Connection = connect(&control_plane).await.unwrap();
    let (mut list, mut figures) = (sync_client(channel.clone()), DeliveryServiceClient::new(channel));
    let mut ticks = tokio::time::interval(ASKED_EVERY);
    for number in 0.. {
        ticks.tick().await;
        let name = sync_name(&format!("s{}", mixed(number) % syncs as u64));
        let metrics = |window: MetricsWindow| GetSyncMetricsRequest {
            name: name.clone(),
            period: Some(Period::Window(window.into())),
        };
        let began = Instant::now();
        let question = match number % 7 {
            0 => {
                let filter = if number % 14 == 0 { "" } else { "enabled = true" }.to_owned();
                let request =
                    ListSyncsRequest { parent: "projects/default".into(), page_size: 50, filter, ..Default::default() };
                list.list_syncs(request).await.unwrap();
                "list syncs"
            }
            1 | 2 => {
                list.get_sync(GetSyncRequest { name }).await.unwrap();
                "get a sync"
            }
            3 => {
                figures.get_sync_metrics(metrics(MetricsWindow::OneHour)).await.unwrap();
                "metrics of an hour"
            }
            4 => {
                figures.get_sync_metrics(metrics(MetricsWindow::TwoWeeks)).await.unwrap();
                "metrics of two weeks"
            }
            5 => {
                // Of one of the first: all that has come since lies before it.
                let filter = AttemptFilter { event_id: event_id(number as usize), ..AttemptFilter::default() };
                let parent = "projects/default/syncs/-".to_owned();
                let request = ListAttemptsRequest { parent, filter: Some(filter), ..Default::default() };
                figures.list_attempts(request).await.unwrap();
                "attempts of an event"
            }
            _ => {
                let request = ListAttemptsRequest { parent: name, page_size: 50, ..Default::default() };
                figures.list_attempts(request).await.unwrap();
                "list attempts"
            }
        };
        answers.lock().unwrap().entry(question).or_default().push(began.elapsed());
    }
}

fn worst(answers: &Answers) -> Duration {
    answers.lock().unwrap().values().map(|took| quantile(took, 0.99)).max().unwrap_or_default()
}

/// Prints how long answers took; gives whether that is within the goals.
fn told(when: &str, answers: &Answers) -> bool {
    println!("{when}:");
    let answers = answers.lock().unwrap();
    for (question, took) in answers.iter() {
        let ms = |share| quantile(took, share).as_secs_f64() * 1e3;
        println!("  {question:<22} {:>6} asked, p50 {:>7.1} ms, p99 {:>7.1} ms", took.len(), ms(0.5), ms(0.99));
    }
    answers.values().all(|took| quantile(took, 0.5) <= MEDIAN_GOAL && quantile(took, 0.99) <= P99_GOAL)
}

fn quantile(took: &[Duration], share: f64) -> Duration {
    let mut sorted = took.to_vec();
    sorted.sort();
    let at = ((sorted.len() as f64 - 1.0).max(0.0) * share).round() as usize;
    sorted.get(at).copied().unwrap_or_default()
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

/// A number that looks random (SplitMix64's finalizer).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
