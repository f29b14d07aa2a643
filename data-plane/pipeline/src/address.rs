//! Which addresses a webhook may go to.
//!
//! Only addresses of the public internet: everything that IANA's special-purpose registries
//! ([RFC 6890](https://www.rfc-editor.org/rfc/rfc6890)) name as private, local, reserved or for documentation is not. An
//! IPv6 address that stands for an IPv4 one (mapped, NAT64) is judged by that one; the tunnels of the years of transition
//! (6to4, Teredo, IPv4-compatible) lead where no endpoint is, and are not public whatever they carry.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether `ip` is an address of the public internet, so that a webhook may go there by default.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

/// Whether a connection to `ip` ends on this very machine: loopback, and the unspecified address, which systems take for
/// loopback; also as an IPv4 address within an IPv6 one.
#[must_use]
pub fn is_this_host(ip: IpAddr) -> bool {
    ends(ip).any(|end| match end {
        IpAddr::V4(ip) => ip.is_loopback() || ip.octets()[0] == 0,
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unspecified(),
    })
}

/// The addresses at which a connection to `ip` may end: itself in its canonical form, and the IPv4 addresses within it.
pub fn ends(ip: IpAddr) -> impl Iterator<Item = IpAddr> {
    let carried = match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => carried_v4(ip),
    };
    std::iter::once(ip.to_canonical()).chain(carried.into_iter().flatten().map(IpAddr::V4))
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    !matches!(
        ip.octets(),
        [0, ..]                             // "this network"
            | [10, ..]                      // private
            | [100, 64..=127, ..]           // shared by carriers (CGNAT)
            | [127, ..]                     // loopback
            | [168, 63, 129, 16]            // Azure's platform, which answers to every virtual machine
            | [169, 254, ..]                // link-local, cloud metadata
            | [172, 16..=31, ..]            // private
            | [192, 0, 0, _]                // IETF protocols
            | [192, 0, 2, _]                // documentation
            | [192, 31, 196, _]             // AS112
            | [192, 52, 193, _]             // AMT
            | [192, 88, 99, _]              // 6to4 relays
            | [192, 168, ..]                // private
            | [192, 175, 48, _]             // AS112
            | [198, 18..=19, ..]            // benchmarking
            | [198, 51, 100, _]             // documentation
            | [203, 0, 113, _]              // documentation
            | [224..=255, ..] // multicast, reserved, broadcast
    )
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    match ip.segments() {
        // mapped, and NAT64
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => is_public_v4(v4(high, low)),
        // ISATAP puts an IPv4 address behind 5efe, whatever the prefix is
        [.., 0x0000 | 0x0200, 0x5efe, high, low] if !is_public_v4(v4(high, low)) => false,
        [0x2001, 0x0000..=0x01ff, ..]       // IETF protocols: Teredo, ORCHID, benchmarking, AMT …
        | [0x2001, 0x0db8, ..]              // documentation
        | [0x2002, ..]                      // 6to4
        | [0x2620, 0x004f, 0x8000, ..]      // AS112
        | [0x3ffe, ..]                      // 6bone, given back
        | [0x3fff, 0x0000..=0x0fff, ..] => false, // documentation
        // only 2000::/3 is global unicast; outside lie loopback, IPv4-compatible, unique local, link-local, site-local,
        // multicast, discard, NAT64 for local use, segment routing and what is not assigned
        [first, ..] => first >> 13 == 0b001,
    }
}

/// The IPv4 address within an IPv6 one, twice where there is only one: mapped, compatible, translated, NAT64, 6to4, ISATAP,
/// and the server's and the client's of Teredo.
fn carried_v4(ip: Ipv6Addr) -> Option<[Ipv4Addr; 2]> {
    let one = |high, low| Some([v4(high, low); 2]);
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None, // unspecified and loopback
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => one(high, low), // compatible, mapped
        [0, 0, 0, 0, 0xffff, 0, high, low] => one(high, low), // translated (SIIT)
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => one(high, low), // NAT64
        [0x64, 0xff9b, ..] => Some([Ipv4Addr::UNSPECIFIED; 2]), // NAT64 for local use: where it leads is not known
        [0x2002, high, low, ..] => one(high, low), // 6to4
        [0x2001, 0, server_high, server_low, _, _, high, low] => {
            Some([v4(server_high, server_low), v4(!high, !low)]) // Teredo
        }
        [.., 0x0000 | 0x0200, 0x5efe, high, low] => one(high, low), // ISATAP
        _ => None,
    }
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn judge(addresses: &[&str], public: bool) {
        for address in addresses {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    }

    #[test]
    fn the_public_internet_is_public() {
        judge(
            &[
                "1.1.1.1",
                "8.8.8.8",
                "93.184.215.14",
                "100.63.255.255",
                "100.128.0.0",
                "172.15.255.255",
                "172.32.0.0",
                "192.0.1.1",
                "192.167.255.255",
                "198.17.255.255",
                "198.20.0.0",
                "223.255.255.255",
                "2606:4700::1111",
                "2a00:1450:4001:82a::200e",
                "2001:4860:4860::8888",
                "2001:200::1",
                "2400:cb00::1",
                "2003::1",
            ],
            true,
        );
    }

    #[test]
    fn special_ipv4_ranges_are_not_public_at_either_end() {
        judge(
            &[
                "0.0.0.0",
                "0.255.255.255",
                "10.0.0.0",
                "10.255.255.255",
                "100.64.0.0",
                "100.127.255.255",
                "127.0.0.1",
                "127.255.255.255",
                "169.254.0.0",
                "169.254.169.254",
                "169.254.255.255",
                "172.16.0.0",
                "172.31.255.255",
                "192.0.0.0",
                "192.0.0.255",
                "192.0.2.1",
                "192.88.99.1",
                "192.168.0.0",
                "192.168.255.255",
                "198.18.0.0",
                "198.19.255.255",
                "198.51.100.1",
                "203.0.113.1",
                "224.0.0.1",
                "239.255.255.255",
                "240.0.0.0",
                "255.255.255.255",
            ],
            false,
        );
    }

    #[test]
    fn special_ipv6_ranges_are_not_public() {
        judge(
            &[
                "::",
                "::1",
                "100::1",
                "fc00::1",
                "fdff::1",
                "fe80::1",
                "febf::1",
                "fec0::1",
                "ff02::1",
                "ff0e::1",
                "2001:2::1",
                "2001:10::1",
                "2001:20::1",
                "2001:db8::1",
                "3fff::1",
                "3ffe::1",
                "5f00::1",
                "4000::1",
                "64:ff9b:1::1",
                "64:ff9b:1:ffff::8.8.8.8",
                "fd00:ec2::254",
            ],
            false,
        );
    }

    #[test]
    fn carried_ipv4_addresses_are_judged() {
        judge(
            &[
                "::ffff:127.0.0.1",
                "::ffff:169.254.169.254",
                "64:ff9b::127.0.0.1",
                "2600::5efe:10.0.0.1",
                "2600::200:5efe:10.0.0.1",
            ],
            false,
        );
        judge(&["::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2600::5efe:8.8.8.8"], true);
    }

    #[test]
    fn tunnels_are_not_public_whatever_they_carry() {
        judge(
            &[
                "::10.0.0.1",
                "::8.8.8.8",
                "::ffff:0:8.8.8.8",
                "2002:7f00:1::1",
                "2002:808:808::1",
                "2001:0:a00:1::f7f7:f7f7",
                "2001:0:808:808:0:0:f7f7:f7f7",
                "64:ff9b:1::8.8.8.8",
            ],
            false,
        );
    }

    #[test]
    fn this_host_has_many_names() {
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "2002:7f00:1::",
            "2600::5efe:127.0.0.1",
            // Teredo: the server 8.8.8.8, then the client 127.0.0.1 with its bits turned over
            "2001:0:808:808:0:0:80ff:fffe",
        ] {
            assert!(is_this_host(address.parse().unwrap()), "{address}");
        }
        for address in ["10.0.0.1", "8.8.8.8", "::ffff:8.8.8.8", "fe80::1"] {
            assert!(!is_this_host(address.parse().unwrap()), "{address}");
        }
    }
}
