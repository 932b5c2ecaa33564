//! Free ports on loopback.

use std::net::{Ipv4Addr, TcpListener};

use rand::RngExt;

use super::LocalError;

/// Below the range from which the systems take the ports of outgoing connections: a client that
/// tries to reach a stopped server could otherwise be given the server's own port.
const RANGE: std::ops::Range<u16> = 15_000..30_000;

/// `count` different ports that nobody listens on. They are chosen at random, since several runs
/// may be starting at once; one can still be lost until its server has started.
pub(super) fn free(count: u16) -> Result<Vec<u16>, LocalError> {
    let mut held = Vec::new();
    let mut random = rand::rng();
    for _ in 0..usize::from(count) + 1000 {
        if held.len() == usize::from(count) {
            break;
        }
        let port = random.random_range(RANGE);
        // Held until all are found, so that no port is found twice.
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push((port, listener));
        }
    }
    if held.len() < usize::from(count) {
        return Err(LocalError::NoPorts { found: held.len(), wanted: count });
    }
    Ok(held.into_iter().map(|(port, _)| port).collect())
}

/// Whether nobody listens on `port`.
pub(super) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_are_different_and_below_those_of_outgoing_connections() {
        let mut ports = free(20).expect("twenty of fifteen thousand ports");
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 20);
        assert!(ports.iter().all(|port| RANGE.contains(port)));
    }
}
