//! What the kernel tells of segments that it dropped because of their TCP MD5 signature or their TTL.
//!
//! Neither side of a connection hears of a wrong password, or of a router too far away. The counters
//! are of the whole network namespace and name no neighbor, so that they only give a hint.

use super::tcp_hops::Hops;

/// Where Linux has the counters; a table of names over a table of numbers, for each protocol part.
const COUNTERS: &str = "/proc/net/netstat";

/// Segments that were dropped since the system started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RefusedSegments {
    /// Signed with another password than ours.
    wrong: u64,
    /// Not signed, from a neighbor that has a password.
    missing: u64,
    /// Signed, from an address without a password.
    unexpected: u64,
    /// With a lower TTL than `ttl_security` takes.
    from_afar: u64,
}

impl RefusedSegments {
    /// As it is now; all 0 where the kernel does not tell.
    pub(super) fn now() -> Self {
        // A small file without a disk behind it: this does not wait.
        std::fs::read_to_string(COUNTERS)
            .map_or_else(|_| Self::default(), |text| Self::parse(&text))
    }

    fn parse(netstat: &str) -> Self {
        let mut tables = netstat.lines().filter(|line| line.starts_with("TcpExt:"));
        let (Some(names), Some(numbers)) = (tables.next(), tables.next()) else {
            return Self::default();
        };
        let mut refused = Self::default();
        for (name, number) in names.split_whitespace().zip(numbers.split_whitespace()) {
            let number = number.parse().unwrap_or_default();
            match name {
                "TCPMD5Failure" => refused.wrong = number,
                "TCPMD5NotFound" => refused.missing = number,
                "TCPMD5Unexpected" => refused.unexpected = number,
                "TCPMinTTLDrop" => refused.from_afar = number,
                _ => {}
            }
        }
        refused
    }

    /// What has come since `before`, in words for a neighbor that is to be as near as `hops` says.
    /// Without numbers, so that the same trouble gives the same words.
    pub(super) fn since(self, before: Self, hops: Hops) -> Option<&'static str> {
        if self.from_afar > before.from_afar && hops.least_ttl().is_some() {
            Some(
                "segments with too low a TTL came in meanwhile: a router has no TTL security \
                 (GTSM), or is more hops away than `ttl_security` says",
            )
        } else if self.wrong > before.wrong {
            Some("segments with a wrong TCP MD5 signature came in meanwhile: the passwords differ")
        } else if self.missing > before.missing {
            Some(
                "segments without TCP MD5 signature came in meanwhile: a router has no password set",
            )
        } else if self.unexpected > before.unexpected {
            Some(
                "segments with TCP MD5 signature came in meanwhile from a router that has no \
                 password here",
            )
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETSTAT: &str = "\
TcpExt: SyncookiesSent TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure TCPMinTTLDrop
TcpExt: 7 3 2 1 9
IpExt: InNoRoutes TCPMD5Failure
IpExt: 0 100
";

    #[test]
    fn counters_are_found_by_name() {
        let refused = RefusedSegments::parse(NETSTAT);
        assert_eq!(refused, RefusedSegments { wrong: 1, missing: 3, unexpected: 2, from_afar: 9 });
        for other in ["", "TcpExt: TCPMD5Failure\n", "TcpExt:\nTcpExt: 1\n", "TcpExt: a\nTcpExt: ü"]
        {
            assert_eq!(RefusedSegments::parse(other), RefusedSegments::default(), "{other}");
        }
    }

    #[test]
    fn growth_is_told_in_words_and_without_growth_nothing() {
        let before = RefusedSegments { wrong: 1, missing: 3, unexpected: 2, from_afar: 9 };
        assert_eq!(before.since(before, Hops::Security(1)), None);
        let hint = |now: RefusedSegments| now.since(before, Hops::System).unwrap_or_default();
        assert!(hint(RefusedSegments { wrong: 2, ..before }).contains("passwords differ"));
        assert!(hint(RefusedSegments { missing: 4, ..before }).contains("has no password set"));
        assert!(hint(RefusedSegments { unexpected: 3, ..before }).contains("no password here"));
        // A neighbor that may be anywhere has nothing to do with a TTL.
        let from_afar = RefusedSegments { from_afar: 10, ..before };
        assert_eq!(hint(from_afar), "");
        let words = from_afar.since(before, Hops::Security(1)).unwrap_or_default();
        assert!(words.contains("has no TTL security"), "{words}");
    }
}
