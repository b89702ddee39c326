//! The table of a speaker as TABLE_DUMP_V2.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use jiff::Timestamp;

use super::table::{PeerIndexTable, RibEntry, RibPrefix, TablePeer};
use super::{Body, Record, Time};
use crate::rebuilt_update::{MP_REACH_NLRI, four_octet_block, push_attribute};
use crate::rib::{TablePage, TablePrefix};
use crate::speaker::{SpeakerHandle, Stopped};
use crate::wire::AttributeSet;

/// Makes records of pages of a table.
#[derive(Debug)]
pub struct TableDump {
    time: Time,
    /// Place of each peer in the peer table.
    peers: HashMap<IpAddr, u16>,
    sequence: u32,
}

impl TableDump {
    /// Begins a dump that says it was made at `at`: appends the table of the peers.
    pub fn begin(peers: PeerIndexTable, at: Timestamp, out: &mut Vec<u8>) -> Self {
        let time = Time::seconds_of(at);
        let places = peers.peers.iter().map(|peer| peer.address).zip(0..=u16::MAX).collect();
        Record { time, body: Body::PeerIndexTable(peers) }.encode(out);
        Self { time, peers: places, sequence: 0 }
    }

    /// Appends a page. Routes of a neighbor that is no peer of this dump are left out.
    pub fn page(&mut self, page: &TablePage, out: &mut Vec<u8>) {
        for prefix in &page.prefixes {
            // Entries with and without path identifiers have records of their own.
            for add_path in [false, true] {
                self.prefix(prefix, add_path, out);
            }
        }
    }

    fn prefix(&mut self, prefix: &TablePrefix, add_path: bool, out: &mut Vec<u8>) {
        let routes = prefix.routes.iter().filter(|route| (route.path_id != 0) == add_path);
        let routes: Vec<_> = routes
            .filter_map(|route| {
                let block = table_block(&route.attributes);
                Some((*self.peers.get(&route.neighbor)?, route, block))
            })
            .collect();
        if routes.is_empty() {
            return;
        }
        let entries = routes.iter().map(|(peer, route, block)| {
            let age = u32::try_from(route.age.as_secs()).unwrap_or(u32::MAX);
            RibEntry {
                peer: *peer,
                originated: self.time.seconds.saturating_sub(age),
                path_id: route.path_id,
                attributes: block,
            }
        });
        let rib = RibPrefix {
            sequence: self.sequence,
            prefix: prefix.prefix,
            add_path,
            entries: entries.collect(),
        };
        Record { time: self.time, body: Body::Rib(rib) }.encode(out);
        self.sequence = self.sequence.wrapping_add(1);
    }
}

/// Attributes as they stand in a table: four-octet AS numbers, and the next hop of
/// `MP_REACH_NLRI` alone with its length (RFC 6396 §4.3.4).
fn table_block(set: &AttributeSet) -> Vec<u8> {
    const OPTIONAL: u8 = 0x80;
    let mut block = four_octet_block(set);
    if let Some(next_hop) = set.multiprotocol_next_hop() {
        let mut value = Vec::with_capacity(17);
        match next_hop {
            IpAddr::V4(address) => {
                value.push(4);
                value.extend(address.octets());
            }
            IpAddr::V6(address) => {
                value.push(16);
                value.extend(address.octets());
            }
        }
        push_attribute(&mut block, OPTIONAL, MP_REACH_NLRI, &value);
    }
    block
}

/// A dump of a running speaker's table, a piece at a time. The pieces are of successive moments: a
/// dump takes as long as whoever takes the pieces, and holds up nobody.
#[derive(Debug)]
pub struct TableDumpStream {
    speaker: SpeakerHandle,
    neighbor: Option<IpAddr>,
    dump: TableDump,
    /// What goes before the first page.
    begin: Vec<u8>,
    progress: Progress,
}

#[derive(Debug)]
enum Progress {
    Page { after: Option<IpNet> },
    Done,
}

impl TableDumpStream {
    /// Of the routes of all neighbors, or of one. `view` names the table in the file.
    #[must_use]
    pub fn new(speaker: SpeakerHandle, neighbor: Option<IpAddr>, view: &str) -> Self {
        let status = speaker.status();
        let asked = status.neighbors.iter().filter(|it| neighbor.is_none_or(|a| a == it.address));
        let peers = asked.map(|it| TablePeer {
            bgp_id: it.remote_id.unwrap_or(Ipv4Addr::UNSPECIFIED),
            address: it.address,
            asn: it.asn,
        });
        let peers = PeerIndexTable {
            collector: status.router_id,
            view: view.to_owned(),
            peers: peers.collect(),
        };
        let mut begin = Vec::new();
        let dump = TableDump::begin(peers, Timestamp::now(), &mut begin);
        Self { speaker, neighbor, dump, begin, progress: Progress::Page { after: None } }
    }

    /// The next piece: whole records. `None` after the last.
    ///
    /// # Errors
    /// The speaker has stopped: the dump is not whole.
    pub async fn next(&mut self) -> Option<Result<Vec<u8>, Stopped>> {
        let Progress::Page { after } = self.progress else { return None };
        let page = match self.speaker.table_page(self.neighbor, after).await {
            Ok(page) => page,
            Err(stopped) => {
                self.progress = Progress::Done;
                return Some(Err(stopped));
            }
        };
        let mut piece = std::mem::take(&mut self.begin);
        self.dump.page(&page, &mut piece);
        self.progress = match page.next {
            Some(prefix) => Progress::Page { after: Some(prefix) },
            None => Progress::Done,
        };
        Some(Ok(piece))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::mrt::Reader;
    use crate::rib::TableRoute;
    use crate::testing::{attributes, prefix, set};

    #[test]
    fn paths_with_identifiers_have_a_record_of_their_own_and_strangers_none() {
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let peer = |address| TablePeer { bgp_id: Ipv4Addr::UNSPECIFIED, address, asn: 65100 };
        let peers = PeerIndexTable {
            collector: Ipv4Addr::LOCALHOST,
            view: String::new(),
            peers: vec![peer(one), peer(other)],
        };
        let route = |neighbor, path_id| TableRoute {
            neighbor,
            path_id,
            attributes: set(&attributes(&[65100])),
            age: Duration::from_secs(60),
            accepted: true,
            stale: false,
        };
        let stranger = IpAddr::from([192, 0, 2, 3]);
        let routes = vec![route(one, 0), route(other, 5), route(other, 6), route(stranger, 0)];
        let page = TablePage {
            prefixes: vec![TablePrefix { prefix: prefix("198.51.100.0/24"), routes }],
            next: None,
        };
        let mut out = Vec::new();
        let at = Timestamp::from_second(1000).unwrap();
        TableDump::begin(peers, at, &mut out).page(&page, &mut out);

        let mut reader = Reader::new(out.as_slice());
        let mut found = Vec::new();
        while let Some(record) = reader.next() {
            if let Body::Rib(rib) = record.unwrap().1.body {
                let entry = |entry: &RibEntry<'_>| (entry.peer, entry.path_id, entry.originated);
                let entries: Vec<_> = rib.entries.iter().map(entry).collect();
                found.push((rib.sequence, rib.add_path, entries));
            }
        }
        let expected = [(0, false, vec![(0, 0, 940)]), (1, true, vec![(1, 5, 940), (1, 6, 940)])];
        assert_eq!(found, expected);
    }
}
