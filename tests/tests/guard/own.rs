//! Sluice's own addresses are refused whatever else is allowed.

use std::net::{IpAddr, UdpSocket};

use sluice_node::{
    guard::{Policy, Resolver},
    http::WebhookClient,
};
use sluice_pipeline::{outcome::Failure, sync::Rules};
use sluice_tests::{cluster::Cluster, dns::DnsServer};

use crate::{
    SCHEMES, client_with,
    exceptions::listeners_on_one_port,
    listener::{Listener, NOBODY},
    post, resolving_to,
    table::in_url,
};

fn everything() -> Rules {
    Rules {
        allow_http: true,
        allow_private_destinations: true,
        allowed_networks: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
        allowed_ports: (1..=u16::MAX).collect(),
        ..Rules::default()
    }
}

/// Ways to this machine.
fn ways() -> Vec<String> {
    let mut ways: Vec<String> =
        ["127.0.0.1", "127.9.8.7", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0", "64:ff9b::127.0.0.1"]
            .map(in_url)
            .to_vec();
    ways.extend(address_to_the_outside().map(|address| in_url(&address.to_string())));
    ways
}

/// The address that this machine has outwards, if it has one. Nothing is sent to find out.
fn address_to_the_outside() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("8.8.8.8:53").ok()?;
    Some(socket.local_addr().ok()?.ip())
}

async fn assert_own(client: &WebhookClient, host: &str, port: u16) {
    for scheme in SCHEMES {
        let url = format!("{scheme}://{host}:{port}/");
        let failed = post(client, url.parse().unwrap()).await.expect_err(&url);
        assert_eq!(failed.failure, Failure::BlockedAddress, "{url}: {failed:?}");
        assert!(failed.detail.contains("Sluice itself"), "{url}: {failed:?}");
    }
}

#[tokio::test]
async fn the_nodes_listener_is_refused_by_every_way_to_this_machine() {
    let own = Listener::bind("0.0.0.0:0").await.unwrap();
    let port = own.port();
    let policy = || Policy::new(everything()).barring_listener(format!("0.0.0.0:{port}").parse().unwrap());
    let literal = client_with(policy(), Resolver::system());
    for way in ways() {
        assert_own(&literal, &way, port).await;
        let address = way.trim_matches(['[', ']']);
        assert_own(&client_with(policy(), resolving_to(&[address])), "a.example", port).await;
    }
    assert_eq!(own.came().await, NOBODY);
    let other = Listener::bind("127.0.0.1:0").await.unwrap();
    post(&literal, format!("http://127.0.0.1:{}/", other.port()).parse().unwrap()).await.unwrap();
}

#[tokio::test]
async fn the_control_plane_is_refused_by_its_name_and_every_address_that_it_has_or_had() {
    let [first, second, other] = listeners_on_one_port(["127.0.0.1", "127.0.0.2", "127.0.0.3"]).await;
    let port = first.port();
    let dns = DnsServer::start().await;
    // Addresses of this machine are refused one and all; these stand for another's.
    dns.answer("control.example", &[&["203.0.113.7"], &["203.0.113.8"], &[]]);
    dns.answer("alias.example", &[&["203.0.113.7"]]);
    dns.answer("second.example", &[&["203.0.113.8"]]);
    let client = client_with(Policy::new(everything()).barring_control_plane("control.example", port), dns.resolver());
    assert_own(&client, "alias.example", port).await;
    assert_eq!(dns.lookups("control.example"), 2);
    // From here on its name has no address any more: what it had is remembered.
    for host in ["alias.example", "second.example", "203.0.113.7", "203.0.113.8", "[::ffff:203.0.113.8]"] {
        assert_own(&client, host, port).await;
    }
    dns.answer("control.example", &[&["127.0.0.3"]]);
    for host in ["control.example", "CONTROL.example.", "127.0.0.3", "127.0.0.1", "[::1]"] {
        assert_own(&client, host, port).await;
    }
    for listener in [first, second, other] {
        assert_eq!(listener.came().await, NOBODY);
    }
}

/// The whole way: what the control plane takes by its URL is refused by the node when it connects.
#[tokio::test]
async fn neither_plane_of_a_cluster_can_be_reached_by_a_sync() {
    use sluice_proto::delivery::v1::AttemptError;
    use sluice_tests::events::{event, sync_to};

    let cluster = Cluster::start().await;
    let node = cluster.node().address().port();
    // The control plane does not know where its nodes listen: it takes the URL.
    cluster.create("inside", sync_to(&format!("http://127.0.0.1:{node}/"))).await;
    cluster.send([event("a", "u")]).await;
    let attempts = cluster.wait_for_attempts("inside", 1).await;
    assert_eq!(attempts[0].error(), AttemptError::BlockedAddress, "{}", attempts[0].error_message);
}
