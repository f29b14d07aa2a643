//! The address guard, over real sockets: what may not be reached is refused before a byte is sent, on plain HTTP and on HTTPS,
//! when the sync is compiled or when the connection is made.

#![cfg(target_os = "linux")] // all of 127.0.0.0/8 is this machine there, so that an address can stand for the outside
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(clippy::disallowed_methods)] // tests are not guarded: they are what comes to the guard from outside

mod exceptions;
mod listener;
mod own;
mod rebinding;
mod sources;
mod table;
mod vectors;

use bytes::Bytes;
use http::{HeaderMap, Uri};
use sluice_host::clock::Clock;
use sluice_node::{
    guard::{Policy, Resolver},
    http::{Answer, NoAnswer, WebhookClient},
};
use sluice_pipeline::{
    destination::Destination,
    sync::{Rules, compile},
    violation::Violation,
};
use sluice_tests::{cluster::START_MS, events::sync_to};

/// What stands before every host.
const SCHEMES: [&str; 2] = ["http", "https"];

/// A client that judges by `rules`.
fn client(rules: Rules, resolver: Resolver) -> WebhookClient {
    client_with(Policy::new(rules), resolver)
}

fn client_with(policy: Policy, resolver: Resolver) -> WebhookClient {
    WebhookClient::new(policy, resolver, None, Clock::system()).unwrap()
}

/// Answers every lookup with these addresses.
fn resolving_to(addresses: &[&str]) -> Resolver {
    let addresses: Vec<std::net::IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Resolver::new(move |_| {
        let addresses = addresses.clone();
        Box::pin(async move { Ok(addresses) })
    })
}

/// Rules that leave the guard alone between a request and `port`: http is taken, and the port.
fn only_addresses_count(port: u16) -> Rules {
    Rules { allow_http: true, allowed_ports: vec![port], ..Rules::default() }
}

/// What is wrong with a sync that goes to `url`.
fn violations(url: &str, rules: &Rules) -> Vec<Violation> {
    let mut sync = sync_to(url);
    sync.name = "projects/default/syncs/s".to_owned();
    sync.uid = "uid".to_owned();
    compile(&sync, rules).err().unwrap_or_default()
}

/// Posts to `uri`, whatever the compiler of syncs says to it.
async fn post(client: &WebhookClient, uri: Uri) -> Result<Answer, Box<NoAnswer>> {
    client.post(&destination(uri), HeaderMap::new(), Bytes::from_static(b"{}")).await
}

fn destination(uri: Uri) -> Destination {
    let mut sync = sync_to("https://example.com/");
    sync.name = "projects/default/syncs/s".to_owned();
    sync.uid = "uid".to_owned();
    Destination { uri, ..compile(&sync, &Rules::default()).unwrap().destination }
}

/// When every clock that a test moves begins.
fn manual_clock() -> (Clock, sluice_host::clock::ManualClock) {
    Clock::manual(START_MS)
}
