//! What the operator allows is allowed exactly; what is next to it stays refused.

use sluice_node::guard::Resolver;
use sluice_pipeline::{
    outcome::Failure,
    sync::{Refusal, Rules},
    violation::reason,
};

use crate::{
    SCHEMES, client,
    listener::{Came, Listener, NOBODY},
    only_addresses_count, post, resolving_to, violations,
};

fn allowing(networks: &[&str], ports: &[u16]) -> Rules {
    Rules {
        allow_http: true,
        allowed_ports: ports.to_vec(),
        allowed_networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
        ..Rules::default()
    }
}

#[tokio::test]
async fn one_allowed_address_is_reached_and_its_neighbours_are_not() {
    let [before, allowed, after] = listeners_on_one_port(["127.0.0.1", "127.0.0.2", "127.0.0.3"]).await;
    let port = allowed.port();
    let rules = allowing(&["127.0.0.2/32"], &[port]);
    let literal = client(rules.clone(), Resolver::system());
    for address in ["127.0.0.2", "[::ffff:127.0.0.2]"] {
        assert_eq!(violations(&format!("http://{address}:{port}/"), &rules), []);
        assert_eq!(post(&literal, format!("http://{address}:{port}/").parse().unwrap()).await.unwrap().status, 200);
    }
    let named = client(rules.clone(), resolving_to(&["127.0.0.2"]));
    assert_eq!(post(&named, format!("http://a.example:{port}/").parse().unwrap()).await.unwrap().status, 200);
    assert_eq!(allowed.came().await.connections, 3);

    for address in ["127.0.0.1", "127.0.0.3", "[::ffff:127.0.0.1]", "[::1]", "[64:ff9b::127.0.0.2]", "localhost"] {
        for scheme in SCHEMES {
            let url = format!("{scheme}://{address}:{port}/");
            assert_eq!(violations(&url, &rules)[0].reason, reason::ADDRESS_NOT_ALLOWED, "{url}");
            let failed = post(&literal, url.parse().unwrap()).await.expect_err(&url);
            assert_eq!(failed.failure, Failure::BlockedAddress, "{url}: {failed:?}");
        }
    }
    assert_eq!((before.came().await, after.came().await), (NOBODY, NOBODY));
}

#[tokio::test]
async fn one_allowed_port_is_reached_and_its_neighbours_are_not() {
    let allowed = Listener::bind("127.0.0.2:0").await.unwrap();
    let other = Listener::bind("127.0.0.2:0").await.unwrap();
    let rules = allowing(&["127.0.0.0/8"], &[allowed.port()]);
    let client = client(rules.clone(), Resolver::system());
    post(&client, format!("http://127.0.0.2:{}/", allowed.port()).parse().unwrap()).await.unwrap();
    for port in [other.port(), allowed.port() - 1, allowed.port() + 1, 1, 22, 65_535] {
        for scheme in SCHEMES {
            let url = format!("{scheme}://127.0.0.2:{port}/");
            assert_eq!(violations(&url, &rules)[0].reason, reason::PORT_NOT_ALLOWED, "{url}");
            let failed = post(&client, url.parse().unwrap()).await.expect_err(&url);
            assert!(failed.detail.contains(&format!("port {port} is not allowed")), "{url}: {failed:?}");
        }
    }
    assert_eq!((allowed.came().await.connections, other.came().await), (1, NOBODY));
}

#[test]
fn networks_end_where_they_end() {
    let rules = allowing(&["10.1.0.0/16", "169.254.169.254/32", "fd00:7::/32", "168.63.129.16/32"], &[8443]);
    let judge = |address: &str, port| rules.check(address.parse().unwrap(), port);
    for address in [
        "10.1.0.0",
        "10.1.255.255",
        "::ffff:10.1.2.3",
        "169.254.169.254",
        "fd00:7::",
        "fd00:7:ffff::1",
        "168.63.129.16",
    ] {
        assert_eq!((judge(address, 443), judge(address, 8443)), (Ok(()), Ok(())), "{address}");
        assert_eq!(judge(address, 8442), Err(Refusal::Port), "{address}");
        assert_eq!(judge(address, 0), Err(Refusal::Port), "{address}");
    }
    for address in [
        "10.0.255.255",
        "10.2.0.0",
        "::ffff:10.2.0.0",
        "169.254.169.253",
        "169.254.169.255",
        "fd00:6:ffff::1",
        "fd00:8::",
        "64:ff9b::10.1.2.3",
        "::10.1.2.3",
        "2002:a01:203::1",
    ] {
        assert_eq!(judge(address, 443), Err(Refusal::NotPublic), "{address}");
    }
}

/// 0.0.0.0 is the one address that leads to another than is asked for: systems take it for 127.0.0.1.
#[tokio::test]
async fn a_connection_that_ends_elsewhere_than_it_was_let_to_is_closed_before_a_byte_is_sent() {
    let inside = Listener::bind("127.0.0.1:0").await.unwrap();
    let port = inside.port();
    let client = client(allowing(&["0.0.0.0/32"], &[port]), resolving_to(&["0.0.0.0"]));
    for (scheme, host) in SCHEMES.into_iter().flat_map(|scheme| ["0.0.0.0", "a.example"].map(|host| (scheme, host))) {
        let failed = post(&client, format!("{scheme}://{host}:{port}/").parse().unwrap()).await.expect_err(host);
        assert_eq!(failed.failure, Failure::BlockedAddress, "{failed:?}");
        assert!(failed.detail.contains("127.0.0.1 is not public"), "{failed:?}");
    }
    assert_eq!(inside.came().await, Came { connections: 4, bytes: 0 });
}

#[tokio::test]
async fn plain_http_is_refused_unless_it_is_allowed() {
    let listener = Listener::bind("127.0.0.2:0").await.unwrap();
    let rules = Rules { allow_http: false, ..allowing(&["127.0.0.2/32"], &[listener.port()]) };
    let url = format!("http://127.0.0.2:{}/", listener.port());
    assert_eq!(violations(&url, &rules)[0].reason, reason::SCHEME_NOT_ALLOWED);
    let failed = post(&client(rules, Resolver::system()), url.parse().unwrap()).await.unwrap_err();
    assert_eq!(failed.failure, Failure::BlockedAddress, "{failed:?}");
    assert_eq!(listener.came().await, NOBODY);
}

#[tokio::test]
async fn a_redirect_inside_is_an_answer_and_not_followed() {
    let inside = Listener::bind("127.0.0.1:0").await.unwrap();
    let outside = sluice_tests::endpoint::Endpoint::start().await;
    let location = format!("http://127.0.0.1:{}/latest/meta-data", inside.port());
    for status in [301, 302, 303, 307, 308] {
        outside.script([sluice_tests::endpoint::status(status).header("location", &location)]);
        let url = outside.url("/");
        let port = url.parse::<http::Uri>().unwrap().port_u16().unwrap();
        let rules = Rules { allow_private_destinations: true, ..only_addresses_count(port) };
        let answer = post(&client(rules, Resolver::system()), url.parse().unwrap()).await.unwrap();
        assert_eq!(answer.status, status);
    }
    assert_eq!(inside.came().await, NOBODY);
}

/// Listeners on a port that is free at each of these addresses.
pub(crate) async fn listeners_on_one_port<const N: usize>(addresses: [&str; N]) -> [Listener; N] {
    'another_port: loop {
        let first = Listener::bind(&format!("{}:0", addresses[0])).await.unwrap();
        let port = first.port();
        let mut listeners = vec![first];
        for address in &addresses[1..] {
            let Some(listener) = Listener::bind(&format!("{address}:{port}")).await else { continue 'another_port };
            listeners.push(listener);
        }
        return listeners.try_into().unwrap_or_else(|_| unreachable!());
    }
}
