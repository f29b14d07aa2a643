//! What the operator allows of destinations: the same answer counts when a sync is compiled and when a connection is made.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::address;

/// The ports that need no word of the operator.
const USUAL_PORTS: [u16; 2] = [80, 443];

/// What the operator allows. The default allows `https` to ports 80 and 443 of public addresses only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Whether `http` URLs are taken beside `https`.
    pub allow_http: bool,
    /// Whether webhooks may go to every port of every address, public or not.
    pub allow_private_destinations: bool,
    /// Ports that webhooks may go to beside 80 and 443. Port 0 is never one.
    pub allowed_ports: Vec<u16>,
    /// Networks whose addresses webhooks may go to although they are not public.
    pub allowed_networks: Vec<IpNet>,
    /// Ports on which Sluice itself listens: on this host they are refused whatever else is allowed.
    pub own_ports: Vec<u16>,
    /// Addresses other than loopback at which Sluice itself listens: refused whatever else is allowed.
    pub own_addresses: Vec<SocketAddr>,
}

/// Why webhooks may not go to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Sluice itself listens there.
    Own,
    /// The address is not public, nor in a network that the operator has allowed.
    NotPublic,
    /// The port is neither 80 nor 443 nor one that the operator has allowed.
    Port,
}

impl Rules {
    /// Whether a request may go to `port` of `ip`.
    ///
    /// # Errors
    /// Why not. What cannot be allowed comes first, then the address, then the port.
    pub fn check(&self, ip: IpAddr, port: u16) -> Result<(), Refusal> {
        let canonical = ip.to_canonical();
        let is_own =
            |own: &SocketAddr| own.port() == port && address::ends(ip).any(|end| end == own.ip().to_canonical());
        if (address::is_this_host(ip) && self.own_ports.contains(&port)) || self.own_addresses.iter().any(is_own) {
            return Err(Refusal::Own);
        }
        let is_allowed = |network: &IpNet| network.contains(&canonical);
        if !self.allow_private_destinations && !address::is_public(ip) && !self.allowed_networks.iter().any(is_allowed)
        {
            return Err(Refusal::NotPublic);
        }
        self.check_port(port)
    }

    /// Whether a request may go to `port` of an address that is not known yet.
    ///
    /// # Errors
    /// [`Refusal::Port`].
    pub fn check_port(&self, port: u16) -> Result<(), Refusal> {
        let is_allowed =
            self.allow_private_destinations || USUAL_PORTS.contains(&port) || self.allowed_ports.contains(&port);
        if port != 0 && is_allowed { Ok(()) } else { Err(Refusal::Port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: &Rules, address: &str) -> Result<(), Refusal> {
        let address: SocketAddr = address.parse().unwrap();
        rules.check(address.ip(), address.port())
    }

    #[test]
    fn without_a_word_only_the_usual_ports_of_public_addresses_are_reached() {
        let rules = Rules::default();
        for address in ["8.8.8.8:443", "8.8.8.8:80", "[2606:4700::1111]:443", "[::ffff:8.8.8.8]:443"] {
            assert_eq!(check(&rules, address), Ok(()), "{address}");
        }
        for address in ["8.8.8.8:0", "8.8.8.8:8443", "8.8.8.8:22", "[2606:4700::1111]:65535"] {
            assert_eq!(check(&rules, address), Err(Refusal::Port), "{address}");
        }
        for address in ["10.0.0.1:443", "127.0.0.1:22", "[::ffff:10.0.0.1]:443", "[64:ff9b::a00:1]:443"] {
            assert_eq!(check(&rules, address), Err(Refusal::NotPublic), "{address}");
        }
    }

    #[test]
    fn the_operator_adds_ports_and_networks_one_by_one() {
        let rules = Rules {
            allowed_ports: vec![8443, 0],
            allowed_networks: vec!["10.1.0.0/16".parse().unwrap(), "fd00:1::/32".parse().unwrap()],
            ..Rules::default()
        };
        for address in ["8.8.8.8:8443", "10.1.2.3:443", "10.1.2.3:8443", "[::ffff:10.1.2.3]:443", "[fd00:1::7]:80"] {
            assert_eq!(check(&rules, address), Ok(()), "{address}");
        }
        for address in ["10.2.0.1:443", "[fd00:2::7]:80", "[64:ff9b::10.1.2.3]:443", "127.0.0.1:8443"] {
            assert_eq!(check(&rules, address), Err(Refusal::NotPublic), "{address}");
        }
        for address in ["10.1.2.3:8080", "8.8.8.8:0"] {
            assert_eq!(check(&rules, address), Err(Refusal::Port), "{address}");
        }
    }

    #[test]
    fn where_sluice_itself_listens_nothing_goes_whatever_is_allowed() {
        let rules = Rules {
            allow_private_destinations: true,
            allowed_networks: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
            own_ports: vec![7600],
            own_addresses: vec!["10.0.0.5:7600".parse().unwrap()],
            ..Rules::default()
        };
        for address in [
            "127.0.0.1:7600",
            "0.0.0.0:7600",
            "[::1]:7600",
            "[::ffff:127.0.0.1]:7600",
            "10.0.0.5:7600",
            "[64:ff9b::10.0.0.5]:7600",
        ] {
            assert_eq!(check(&rules, address), Err(Refusal::Own), "{address}");
        }
        for address in ["127.0.0.1:7601", "10.0.0.6:7600", "8.8.8.8:1"] {
            assert_eq!(check(&rules, address), Ok(()), "{address}");
        }
    }
}
