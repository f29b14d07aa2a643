//! URLs of destinations: what is valid, and where webhooks may not go.

use sluice_pipeline::{
    destination::origin,
    sync::{Rules, compile},
    violation::reason,
};

use crate::support::{SyncExt, sync, violations_by};

fn open_rules() -> Rules {
    Rules { allow_http: true, allow_private_destinations: true, own_ports: vec![7600, 7601], ..Rules::default() }
}

#[track_caller]
fn check_urls(rules: &Rules, urls: &[&str], expected: Option<&'static str>) {
    for url in urls {
        let sync = sync("s").with_url(url);
        match expected {
            None => assert!(compile(&sync, rules).is_ok(), "{url}: {:?}", violations_by(&sync, rules)),
            Some(reason) => {
                assert!(compile(&sync, rules).is_err(), "{url} is taken");
                assert_eq!(violations_by(&sync, rules), [("destination.url".to_owned(), reason)], "{url}");
            }
        }
    }
}

#[test]
fn urls_are_absolute_https_urls_with_a_host() {
    let strict = Rules::default();
    check_urls(
        &strict,
        &[
            "https://example.com",
            "https://example.com/",
            "HTTPS://Example.COM:443/a/b?c=d&e=%20",
            "https://example.com:80/",
            "https://example.com?x=1",
            "https://a_b.example.com./in",
            "https://xn--bcher-kva.example/",
            "https://8.8.8.8/in",
            "https://[2606:4700::1111]:443/",
            "https://localhost.example.com/",
            "https://1.example.com/",
            "https://example.com/a:b@c",
        ],
        None,
    );
    check_urls(
        &strict,
        &[
            "example.com",
            "example.com/in",
            "/in",
            "https://",
            "https:///in",
            "https:example.com",
            "file:///etc/passwd",
            "https://user@example.com/",
            "https://user:password@example.com/",
            "https://example.com/#top",
            "https://example.com/a b",
            "https://example.com/\n",
            "https://bücher.example/",
            "https://example.com:0/",
            "https://example.com:65536/",
            "https://example.com:/",
            "https://example.com:http/",
            "https://example.com:+443/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://127.0.0.0x1/",
            "https://1.2.3.4.5/",
            "https://a..b/",
            "https://[::1/",
            "https://[::g]/",
            "https://[fe80::1%25eth0]/",
            "https://ex%61mple.com/",
            "https://exa$mple.com/",
            "https://*.example.com/",
            "https://.../",
        ],
        Some(reason::INVALID_URL),
    );
    check_urls(
        &strict,
        &["http://example.com/", "ftp://example.com/", "ws://example.com/"],
        Some(reason::SCHEME_NOT_ALLOWED),
    );
    check_urls(&strict, &[""], Some(reason::REQUIRED));
    let long = format!("https://example.com/{}", "a".repeat(2028));
    check_urls(&strict, &[&long], None);
    check_urls(&strict, &[&format!("{long}a")], Some(reason::TOO_LONG));
}

#[test]
fn urls_that_name_an_address_that_is_not_public_are_refused_unless_the_operator_allows_them() {
    let strict = Rules { allow_http: true, ..Rules::default() };
    let private = [
        "http://localhost/",
        "https://LOCALHOST./",
        "https://api.localhost/",
        "http://127.0.0.1:9000/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://0.0.0.0/",
        "https://[::1]/",
        "https://[::]/",
        "https://[fd00::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::10.0.0.1]/",
    ];
    check_urls(&strict, &private, Some(reason::ADDRESS_NOT_ALLOWED));
    check_urls(&open_rules(), &private, None);
    check_urls(&open_rules(), &["http://example.com/"], None);
}

#[test]
fn ports_other_than_80_and_443_are_the_operators_to_allow() {
    let others =
        ["https://example.com:8443/", "http://example.com:8080/", "https://8.8.8.8:22/", "https://[2606:4700::1]:1/"];
    let strict = Rules { allow_http: true, ..Rules::default() };
    check_urls(&strict, &others, Some(reason::PORT_NOT_ALLOWED));
    check_urls(&open_rules(), &others, None);
    let some = Rules { allowed_ports: vec![8443, 8080], ..strict };
    check_urls(&some, &["https://example.com:8443/", "http://example.com:8080/"], None);
    check_urls(&some, &["https://example.com:8444/"], Some(reason::PORT_NOT_ALLOWED));
}

#[test]
fn networks_are_allowed_one_by_one() {
    let rules = Rules { allowed_networks: vec!["10.1.0.0/16".parse().unwrap()], ..Rules::default() };
    check_urls(&rules, &["https://10.1.2.3/", "https://[::ffff:10.1.2.3]/"], None);
    check_urls(&rules, &["https://10.2.2.3/", "https://127.0.0.1/"], Some(reason::ADDRESS_NOT_ALLOWED));
    check_urls(&rules, &["https://10.1.2.3:8443/"], Some(reason::PORT_NOT_ALLOWED));
}

#[test]
fn our_own_ports_on_this_host_are_refused_always() {
    check_urls(
        &open_rules(),
        &[
            "http://localhost:7600/",
            "http://x.localhost:7601/",
            "http://127.0.0.1:7600/",
            "http://127.8.8.8:7600/",
            "http://0.0.0.0:7600/",
            "http://[::1]:7601/",
            "http://[::]:7601/",
            "http://[::ffff:127.0.0.1]:7600/",
        ],
        Some(reason::ADDRESS_NOT_ALLOWED),
    );
    check_urls(&open_rules(), &["http://localhost:7602/", "http://10.0.0.1:7600/", "http://example.com:7600/"], None);
    let own_https = Rules { own_ports: vec![443], ..open_rules() };
    check_urls(&own_https, &["https://localhost/"], Some(reason::ADDRESS_NOT_ALLOWED));
}

#[test]
fn origins_are_compared_with_their_default_ports() {
    assert_eq!(origin("https://Example.com/a"), origin("HTTPS://example.com.:443/b?c"));
    for other in ["http://example.com/", "https://example.com:8443/", "https://www.example.com/"] {
        assert_ne!(origin("https://example.com/"), origin(other), "{other}");
    }
    assert_eq!(origin("/in"), None);
    assert_eq!(origin("ftp://example.com/"), None);
}
