//! Every vector of `vectors.txt`: refused when a sync with it is compiled, and once more when a connection is made.

use std::{collections::HashSet, net::IpAddr};

use http::Uri;
use sluice_node::{guard::Resolver, http::WebhookClient};
use sluice_pipeline::{outcome::Failure, sync::Rules, violation::reason};

use crate::{
    SCHEMES, client,
    listener::{Came, Listener, NOBODY},
    only_addresses_count, post, resolving_to,
    table::{hosts, in_url, names, ranges},
    violations,
};

/// Listeners on one port of every address of this machine.
struct Inside {
    v4: Listener,
    v6: Option<Listener>,
}

impl Inside {
    async fn listen() -> Self {
        let v4 = Listener::bind("0.0.0.0:0").await.unwrap();
        let v6 = Listener::bind(&format!("[::1]:{}", v4.port())).await;
        Self { v4, v6 }
    }

    fn port(&self) -> u16 {
        self.v4.port()
    }

    async fn assert_nobody_came(&self) {
        assert_eq!(self.v4.came().await, NOBODY);
        if let Some(v6) = &self.v6 {
            assert_eq!(v6.came().await, NOBODY);
        }
    }
}

#[test]
fn there_are_at_least_300_vectors_and_none_twice() {
    let mut vectors: Vec<String> = ranges().into_iter().flat_map(|range| range.refused).map(in_url).collect();
    vectors.extend(hosts().into_iter().flat_map(|hosts| hosts.hosts));
    for names in names() {
        vectors.extend(names.names.iter().map(|name| format!("{name} at {:?}", names.addresses)));
    }
    let mut seen = HashSet::new();
    let twice: Vec<_> = vectors.iter().filter(|vector| !seen.insert(*vector)).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert!(vectors.len() >= 300, "{}", vectors.len());
}

#[test]
fn syncs_to_addresses_that_are_not_public_are_refused_and_their_neighbours_are_not() {
    let rules = Rules { allow_http: true, ..Rules::default() };
    for range in ranges() {
        for (scheme, address) in SCHEMES.iter().flat_map(|scheme| range.refused.iter().map(move |it| (scheme, it))) {
            let url = format!("{scheme}://{}/hook", in_url(address));
            assert_violation(&url, &rules, reason::ADDRESS_NOT_ALLOWED, "not on the public internet", range.name);
        }
        for (scheme, address) in SCHEMES.iter().flat_map(|scheme| range.public.iter().map(move |it| (scheme, it))) {
            let url = format!("{scheme}://{}/hook", in_url(address));
            assert_eq!(violations(&url, &rules), [], "{}: {url}", range.name);
            assert_eq!(rules.check(address.parse().unwrap(), 443), Ok(()), "{}: {address}", range.name);
        }
    }
}

#[test]
fn syncs_to_hosts_that_mean_something_else_to_somebody_are_refused() {
    let rules = Rules { allow_http: true, ..Rules::default() };
    for group in hosts() {
        for (scheme, host) in SCHEMES.iter().flat_map(|scheme| group.hosts.iter().map(move |it| (scheme, it))) {
            assert_violation(&format!("{scheme}://{host}/hook"), &rules, group.reason, group.words, group.name);
        }
    }
    let label = "a".repeat(64);
    let name = [["a"; 63].concat(), ["b"; 63].concat(), ["c"; 63].concat(), ["d"; 62].concat()].join(".");
    for host in [format!("{label}.example.com"), name] {
        assert_violation(&format!("https://{host}/"), &rules, reason::INVALID_URL, "not a host name", "too long");
    }
}

#[tokio::test]
async fn connections_to_addresses_that_are_not_public_are_refused_before_a_byte_is_sent() {
    let inside = Inside::listen().await;
    let port = inside.port();
    let refused: Vec<_> = ranges().into_iter().flat_map(|range| range.refused).collect();
    let client = client(only_addresses_count(port), resolving_numbers_to(refused.clone()));
    for (number, address) in refused.into_iter().enumerate() {
        for scheme in SCHEMES {
            assert_blocked(&client, &format!("{scheme}://{}:{port}/", in_url(address)), "is not public").await;
            let error =
                assert_blocked(&client, &format!("{scheme}://n{number}.example:{port}/"), "is not public").await;
            let canonical = address.parse::<IpAddr>().unwrap().to_canonical().to_string();
            assert!(error.contains(&canonical), "{address}: {error}");
        }
    }
    inside.assert_nobody_came().await;
}

/// The compiler of syncs has refused them; the guard does not rely on it. The resolver is as obliging as can be: it takes
/// everything for a name of this machine.
#[tokio::test]
async fn connections_to_hosts_that_the_compiler_refuses_are_refused_too() {
    let inside = Inside::listen().await;
    let port = inside.port();
    let client = client(only_addresses_count(port), resolving_to(&["127.0.0.1"]));
    let mut tried = 0;
    for host in hosts().into_iter().flat_map(|group| group.hosts) {
        for scheme in SCHEMES {
            let Some(uri) = uri(scheme, &host, port) else { continue };
            tried += 1;
            let failed = post(&client, uri).await.expect_err(&host);
            assert!(matches!(failed.failure, Failure::BlockedAddress | Failure::Dns), "{host}: {failed:?}");
            assert_eq!(failed.trip.timings.connect, None, "{host}");
        }
    }
    assert!(tried >= 200, "{tried}");
    inside.assert_nobody_came().await;
}

#[tokio::test]
async fn names_are_judged_by_every_address_that_they_resolve_to() {
    let inside = Inside::listen().await;
    let port = inside.port();
    for names in names() {
        let client = client(only_addresses_count(port), resolving_to(&names.addresses));
        for name in names.names {
            for scheme in SCHEMES {
                let url = format!("{scheme}://{name}:{port}/");
                assert_eq!(violations(&url, &only_addresses_count(port)), [], "{name}: a URL shows no address");
                assert_blocked(&client, &url, "is not public").await;
            }
        }
    }
    inside.assert_nobody_came().await;
}

#[tokio::test]
async fn the_systems_resolver_reads_other_forms_of_ipv4_addresses_and_the_guard_judges_what_it_read() {
    let inside = Inside::listen().await;
    let port = inside.port();
    let client = client(only_addresses_count(port), Resolver::system());
    for host in ALIASES.into_iter().chain(["2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "10.1", "192.168.257"]) {
        assert_blocked(&client, &format!("http://{host}:{port}/"), "is not public").await;
        // TLS refuses most of them already, since no certificate can be for such a name.
        let failed = post(&client, format!("https://{host}:{port}/").parse().unwrap()).await.expect_err(host);
        assert!(matches!(failed.failure, Failure::BlockedAddress | Failure::Dns), "{host}: {failed:?}");
    }
    inside.assert_nobody_came().await;
}

/// Other forms of addresses of this machine.
const ALIASES: [&str; 8] =
    ["127.1", "127.0.1", "2130706433", "0177.0.0.1", "017700000001", "0x7f.1", "0x7f000001", "localhost"];

/// Without this the tests above would also pass if nothing could be reached at all.
#[tokio::test]
async fn what_is_refused_arrives_where_private_destinations_are_allowed() {
    let inside = Inside::listen().await;
    let port = inside.port();
    let rules = Rules { allow_http: true, allow_private_destinations: true, ..Rules::default() };
    let by_system = client(rules.clone(), Resolver::system());
    let addresses = ["127.0.0.1", "127.1.2.3", "127.0.0.53", "0.0.0.0", "[::ffff:127.0.0.1]", "[::FFFF:7F00:1]"];
    for host in addresses.into_iter().chain(ALIASES) {
        let answer = post(&by_system, format!("http://{host}:{port}/").parse().unwrap()).await;
        assert_eq!(answer.expect(host).status, 200);
    }
    let by_name = client(rules, resolving_to(&["127.0.0.1"]));
    post(&by_name, format!("http://a.example:{port}/").parse().unwrap()).await.unwrap();
    post(&by_name, format!("https://a.example:{port}/").parse().unwrap()).await.expect_err("it speaks no TLS");
    let Came { connections, .. } = inside.v4.came().await;
    let v6 = match &inside.v6 {
        Some(v6) => v6.came().await.connections,
        None => 0,
    };
    assert_eq!(connections + v6, addresses.len() + ALIASES.len() + 2);
}

/// Resolves `n3.example` to the fourth of the addresses.
fn resolving_numbers_to(addresses: Vec<&str>) -> Resolver {
    let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Resolver::new(move |name| {
        let number = name.trim_start_matches('n').trim_end_matches(".example").parse::<usize>();
        let address = addresses[number.expect(&name)];
        Box::pin(async move { Ok(vec![address]) })
    })
}

#[track_caller]
fn assert_violation(url: &str, rules: &Rules, reason: &str, words: &str, name: &str) {
    let violations = violations(url, rules);
    let [violation] = violations.as_slice() else { panic!("{name}: {url:?}: {violations:?}") };
    assert_eq!(
        (violation.field.as_str(), violation.reason),
        ("destination.url", reason),
        "{name}: {url:?}: {violation}"
    );
    assert!(violation.description.contains(words), "{name}: {url:?}: {violation}");
}

/// Gives what the error says.
async fn assert_blocked(client: &WebhookClient, url: &str, words: &str) -> String {
    let failed = post(client, url.parse().unwrap()).await.expect_err(url);
    assert_eq!(failed.failure, Failure::BlockedAddress, "{url}: {failed:?}");
    assert!(failed.detail.contains(words), "{url}: {failed:?}");
    assert_eq!(failed.trip.timings.connect, None, "{url}: no connection was tried");
    failed.detail
}

/// The URL of a host, at the port unless it names one; `None` if it is no URL.
fn uri(scheme: &str, host: &str, port: u16) -> Option<Uri> {
    let uri: Uri = format!("{scheme}://{host}/").parse().ok()?;
    let authority = uri.authority()?;
    let rest = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, rest)| rest);
    if rest.len() > authority.host().len() {
        return Some(uri);
    }
    format!("{scheme}://{authority}:{port}/").parse().ok()
}
