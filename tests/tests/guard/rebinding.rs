//! Names whose addresses change: between the check and the connection, between attempts, within one answer. 127.0.0.2 stands
//! for the outside, which the operator's rules allow; 127.0.0.1 is inside.

use std::net::IpAddr;

use sluice_host::clock::Clock;
use sluice_node::{
    guard::{CONNECT_LIMIT, Policy},
    http::WebhookClient,
};
use sluice_pipeline::{outcome::Failure, sync::Rules};
use sluice_tests::dns::DnsServer;

use crate::{
    SCHEMES, client,
    exceptions::listeners_on_one_port,
    listener::{Listener, NOBODY},
    manual_clock, post,
};

const NAME: &str = "rebind.example";

struct World {
    dns: DnsServer,
    outside: Listener,
    inside: Listener,
}

impl World {
    async fn start() -> Self {
        let [inside, outside] = listeners_on_one_port(["127.0.0.1", "127.0.0.2"]).await;
        Self { dns: DnsServer::start().await, outside, inside }
    }

    fn rules(&self) -> Rules {
        Rules {
            allow_http: true,
            allowed_ports: vec![self.outside.port()],
            allowed_networks: vec!["127.0.0.2/32".parse().unwrap()],
            ..Rules::default()
        }
    }

    fn client(&self) -> WebhookClient {
        client(self.rules(), self.dns.resolver())
    }

    /// Whether a request came outside; else it was refused because of its address.
    async fn gets_outside(&self, client: &WebhookClient, scheme: &str) -> bool {
        let before = self.outside.came().await;
        let result = post(client, format!("{scheme}://{NAME}:{}/", self.outside.port()).parse().unwrap()).await;
        let after = self.outside.came().await;
        match result {
            // The listener speaks no TLS: what comes to it of HTTPS is the first message of the handshake.
            Err(failed) if failed.failure == Failure::BlockedAddress => {
                assert!(failed.detail.contains("is not public"), "{failed:?}");
                assert_eq!(after, before);
                false
            }
            result => {
                assert_eq!(result.is_ok(), scheme == "http", "{result:?}");
                assert_eq!(after.connections, before.connections + 1);
                assert!(after.bytes > before.bytes);
                true
            }
        }
    }
}

/// Who checks one lookup and connects by another goes inside at the first request.
#[tokio::test]
async fn a_name_that_is_outside_when_checked_and_inside_when_connected_to_is_looked_up_once() {
    for scheme in SCHEMES {
        let world = World::start().await;
        let client = world.client();
        world.dns.answer(NAME, &[&["127.0.0.2"], &["127.0.0.1"]]);
        assert!(world.gets_outside(&client, scheme).await, "{scheme}");
        assert_eq!(world.dns.lookups(NAME), 1, "{scheme}: one lookup for check and connection");
        for attempt in 2..5 {
            assert!(!world.gets_outside(&client, scheme).await, "{scheme}");
            assert_eq!(world.dns.lookups(NAME), attempt, "{scheme}: one lookup for each connection");
        }
        assert_eq!(world.inside.came().await, NOBODY, "{scheme}");
    }
}

#[tokio::test]
async fn a_name_that_is_outside_and_inside_in_one_answer_is_refused_whole() {
    let answers: [&[&str]; 6] = [
        &["127.0.0.2", "127.0.0.1"],
        &["127.0.0.1", "127.0.0.2"],
        &["127.0.0.2", "127.0.0.2", "127.0.0.2", "169.254.169.254"],
        &["127.0.0.2", "::1"],
        &["127.0.0.2", "::ffff:127.0.0.1"],
        &["127.0.0.2", "fd00:ec2::254"],
    ];
    let world = World::start().await;
    let client = world.client();
    for (answer, scheme) in answers.into_iter().flat_map(|answer| SCHEMES.map(|scheme| (answer, scheme))) {
        world.dns.answer(NAME, &[answer]);
        assert!(!world.gets_outside(&client, scheme).await, "{scheme}: {answer:?}");
    }
    assert_eq!((world.inside.came().await, world.outside.came().await), (NOBODY, NOBODY));
}

#[tokio::test]
async fn a_name_that_changes_between_attempts_is_judged_at_each() {
    for scheme in SCHEMES {
        let world = World::start().await;
        let client = world.client();
        let changing: Vec<&[&str]> = [&["127.0.0.2"][..], &["127.0.0.1"]].into_iter().cycle().take(20).collect();
        world.dns.answer(NAME, &changing);
        for attempt in 0..20 {
            assert_eq!(world.gets_outside(&client, scheme).await, attempt % 2 == 0, "{scheme}: attempt {attempt}");
        }
        assert_eq!(world.inside.came().await, NOBODY, "{scheme}");
    }
}

#[tokio::test]
async fn a_name_with_a_thousand_addresses_is_not_tried() {
    let world = World::start().await;
    let addresses: Vec<String> = (0..1_000).map(|_| "127.0.0.2".to_owned()).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    world.dns.answer(NAME, &[&addresses]);
    let url = format!("http://{NAME}:{}/", world.outside.port());
    let failed = post(&world.client(), url.parse().unwrap()).await.unwrap_err();
    assert_eq!(failed.failure, Failure::Dns, "{failed:?}");
    assert!(failed.detail.contains("1000 addresses"), "{failed:?}");
    assert_eq!(world.outside.came().await, NOBODY);
}

#[tokio::test]
async fn names_without_an_address_and_names_that_there_are_not_fail_without_a_connection() {
    let world = World::start().await;
    world.dns.answer(NAME, &[&[]]);
    for host in [NAME, "unknown.example"] {
        let url = format!("https://{host}:{}/", world.outside.port());
        let failed = post(&world.client(), url.parse().unwrap()).await.unwrap_err();
        assert_eq!(failed.failure, Failure::Dns, "{failed:?}");
    }
    assert_eq!(world.outside.came().await, NOBODY);
}

#[tokio::test]
async fn a_name_server_that_does_not_answer_is_waited_for_only_so_long() {
    let world = World::start().await;
    world.dns.silence(NAME);
    let (clock, time): (Clock, _) = manual_clock();
    let client = WebhookClient::new(Policy::new(world.rules()), world.dns.resolver(), None, clock).unwrap();
    let url = format!("https://{NAME}:{}/", world.outside.port());
    let (failed, _) = tokio::join!(post(&client, url.parse().unwrap()), time.advance_to_next("connect limit"));
    let failed = failed.unwrap_err();
    assert_eq!((failed.failure, failed.trip.timings.dns), (Failure::Dns, Some(CONNECT_LIMIT)), "{failed:?}");
    assert_eq!(world.outside.came().await, NOBODY);
}

/// The server and the resolver agree with each other, both kinds of addresses included.
#[tokio::test]
async fn the_resolver_finds_what_the_server_was_told() {
    let dns = DnsServer::start().await;
    dns.answer("both.example", &[&["8.8.8.8", "2606:4700::1111", "1.1.1.1"]]);
    let found = dns.resolver().resolve("both.example").await.unwrap();
    let expected: Vec<IpAddr> = ["8.8.8.8", "1.1.1.1", "2606:4700::1111"].map(|it| it.parse().unwrap()).to_vec();
    assert_eq!((found.to_vec(), dns.lookups("both.example")), (expected, 1));
}
