//! Checks that both files have in common.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ipnet::IpNet;

use super::Findings;
use crate::document::KeyPath;

/// Whether IPv6 may appear, and the switch that says so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ipv6 {
    pub(super) on: bool,
    /// The section that holds the switch.
    pub(super) section: &'static str,
}

impl Findings<'_, '_> {
    /// Reports an address or prefix of a family that is switched off.
    pub(super) fn family(&mut self, path: &KeyPath, is_ipv6: bool, ipv6: Ipv6) {
        if is_ipv6 && !ipv6.on {
            self.report(
                &[path],
                &format!(
                    "IPv4, since IPv6 is off; `[{}] ipv6 = true` switches it on",
                    ipv6.section
                ),
            );
        }
    }

    /// A list of addresses that must not be empty.
    pub(super) fn sockets(&mut self, path: &KeyPath, sockets: &[SocketAddr], ipv6: Ipv6) {
        if sockets.is_empty() {
            self.wrong_list(path, "at least one address");
        }
        self.socket_families(path, sockets, ipv6);
    }

    pub(super) fn socket_families(&mut self, path: &KeyPath, sockets: &[SocketAddr], ipv6: Ipv6) {
        for (i, socket) in sockets.iter().enumerate() {
            self.family(&path.index(i), socket.is_ipv6(), ipv6);
        }
    }

    fn wrong_list(&mut self, path: &KeyPath, accepted: &str) {
        self.report(&[path], &format!("{accepted}, such as `[\"192.0.2.10:80\"]`"));
    }

    /// Prefixes: their family, and no bit beyond their length.
    pub(super) fn prefixes(&mut self, path: &KeyPath, prefixes: &[IpNet], ipv6: Ipv6) {
        for (i, prefix) in prefixes.iter().enumerate() {
            self.prefix(&path.index(i), *prefix, ipv6);
        }
    }

    /// A prefix: its family, and no bit beyond its length.
    pub(super) fn prefix(&mut self, path: &KeyPath, prefix: IpNet, ipv6: Ipv6) {
        self.family(path, matches!(prefix, IpNet::V6(_)), ipv6);
        if prefix.trunc() != prefix {
            self.report(
                &[path],
                &format!(
                    "`\"{}\"`, or for the one address `\"{}/{}\"`",
                    prefix.trunc(),
                    prefix.addr(),
                    prefix.max_prefix_len()
                ),
            );
        }
    }

    /// Reports each address and port that two listeners would want, by itself or as one of all addresses.
    pub(super) fn listeners(&mut self, mut all: Vec<(KeyPath, SocketAddr)>) {
        // Port 0 is a free port, another one each time.
        all.retain(|(_, socket)| socket.port() != 0);
        // What only the default sets has no line of its own; the other one has.
        all.sort_by_key(|(path, _)| self.is_in_file(path));
        for (i, (path, socket)) in all.iter().enumerate() {
            let before = all.iter().take(i);
            let Some((first, taken)) = before.into_iter().find(|(_, it)| overlap(*it, *socket))
            else {
                continue;
            };
            let place = self.place(first);
            let same = if taken == socket {
                format!("is the same {place}")
            } else {
                format!("has `\"{taken}\"` {place}, and one of the two is every address")
            };
            let accepted =
                format!("an address and port that nothing else listens on; `{first}` {same}");
            self.report(&[path, first], &accepted);
        }
    }

    /// Where a value comes from.
    fn place(&self, path: &KeyPath) -> String {
        match self.line_in_file(path) {
            Some(line) => format!("in line {line}"),
            None => "by default".to_owned(),
        }
    }

    /// Reports each value that stands in the file more than once.
    pub(super) fn unique<T: Ord>(
        &mut self,
        values: impl IntoIterator<Item = (KeyPath, T)>,
        accepted: &str,
    ) {
        let mut seen: BTreeMap<T, KeyPath> = BTreeMap::new();
        for (path, value) in values {
            if let Some(first) = seen.get(&value) {
                let place = self.place(first);
                let accepted = format!("{accepted}; `{first}` is the same {place}");
                self.report(&[&path, first], &accepted);
            } else {
                seen.insert(value, path);
            }
        }
    }
}

/// Whether the system lets only one of two sockets listen. What `[::]` means for IPv4 is a setting of the
/// system, so that families are not compared.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let same_address = one.ip() == other.ip();
    let all = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && (same_address || (all && one.is_ipv4() == other.is_ipv4()))
}
