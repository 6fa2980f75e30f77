//! Which address a request came from. `X-Forwarded-For` is what anybody likes to write into it, except
//! where a proxy that the operator names has written it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The other end of the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// The client's address: the peer's, or if that is a trusted proxy, the last address in
/// `X-Forwarded-For` that is none.
pub(crate) fn of(peer: Peer, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_proxy = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.0.ip().to_canonical();
    let values: Vec<&str> =
        headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
    for hop in values.iter().rev().flat_map(|value| value.rsplit(',')) {
        if !is_proxy(&client) {
            break;
        }
        let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
        client = address.to_canonical();
    }
    client
}

/// What shares a budget: an address, or the network of 64 bits that one customer gets in IPv6.
pub(crate) fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        let peer = Peer(SocketAddr::new(peer.parse().unwrap(), 1));
        of(peer, &headers, &trusted).to_string()
    }

    #[test]
    fn what_a_stranger_forwards_is_not_believed() {
        assert_eq!(seen("203.0.113.9", &["198.51.100.1"], &[]), "203.0.113.9");
        assert_eq!(seen("203.0.113.9", &["198.51.100.1"], &["10.0.0.0/8"]), "203.0.113.9");
    }

    #[test]
    fn a_trusted_proxy_is_believed_about_its_own_client_alone() {
        let trusted = ["10.0.0.0/8"];
        let cases: [(&[&str], &str); 6] = [
            (&["198.51.100.1"], "198.51.100.1"),
            (&["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            (&["1.1.1.1", "198.51.100.1, 10.0.0.7"], "198.51.100.1"),
            (&["1.1.1.1, nonsense"], "10.0.0.2"),
            (&["10.0.0.3"], "10.0.0.3"),
            (&[], "10.0.0.2"),
        ];
        for (forwarded, client) in cases {
            assert_eq!(seen("10.0.0.2", forwarded, &trusted), client, "{forwarded:?}");
        }
        assert_eq!(seen("::ffff:10.0.0.2", &["198.51.100.1"], &trusted), "198.51.100.1");
    }

    #[test]
    fn a_household_is_an_address_or_64_bits() {
        let shared = |text: &str| household(text.parse().unwrap()).to_string();
        assert_eq!(shared("198.51.100.1"), "198.51.100.1");
        assert_eq!(shared("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
