//! The order among the nodes that have the same prefix.

use std::cmp::Ordering;
use std::net::IpAddr;

use super::decision::Reason;
use super::nodes::{Known, NodeId, NodeStates, Standing};
use super::sets::Entry;

/// A node that may be sent the client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contender<'a> {
    pub(super) entry: Entry,
    pub(super) known: &'a Known,
    /// 0 for the lowest MED among the contenders that are alike in all that counts before and
    /// have the same neighbor AS, 1 for the next lowest. MEDs of different AS do not compare
    /// (RFC 4271 §9.1.2.2 (c)), these places do, and unlike the plain rule they make one order.
    med_place: u32,
    /// The rendezvous hash.
    hash: u64,
    /// The hash, weighted: the lowest wins.
    draw: f64,
}

impl Contender<'_> {
    /// Which goes first, and the rule that says so.
    pub(super) fn compare(&self, other: &Self) -> (Ordering, Reason) {
        let (a, b) = (&self.entry.rank, &other.entry.rank);
        let by_draw =
            (self.draw.total_cmp(&other.draw)).then_with(|| self.entry.node.cmp(&other.entry.node));
        // What the hash alone would have said: the higher wins.
        let by_hash = other.hash.cmp(&self.hash);
        let rules = [
            (a.source.cmp(&b.source), Reason::Manual),
            (a.path_len.cmp(&b.path_len), Reason::AsPathLength),
            (self.med_place.cmp(&other.med_place), Reason::Med),
            (if by_draw == by_hash { Ordering::Equal } else { by_draw }, Reason::Weight),
        ];
        (rules.into_iter().find(|(order, _)| order.is_ne()))
            .unwrap_or((by_draw, Reason::Rendezvous))
    }
}

/// The nodes that may be sent the client, best first.
pub(super) fn rank<'a>(
    client: IpAddr,
    entries: &[Entry],
    nodes: &'a NodeStates,
) -> Vec<Contender<'a>> {
    let block = client_block(client);
    let mut contenders: Vec<_> = (eligible(entries, nodes))
        .map(|(entry, known)| {
            let hash = mix(block ^ known.seed);
            let draw = draw(hash, known.state.weight.get());
            Contender { entry, known, med_place: 0, hash, draw }
        })
        .collect();
    place_meds(&mut contenders);
    contenders.sort_unstable_by(|a, b| a.compare(b).0);
    contenders
}

/// The best of them.
pub(super) fn best(client: IpAddr, entries: &[Entry], nodes: &NodeStates) -> Option<NodeId> {
    let mut eligible_nodes = eligible(entries, nodes);
    let (first, _) = eligible_nodes.next()?;
    if eligible_nodes.next().is_none() {
        return Some(first.node);
    }
    rank(client, entries, nodes).first().map(|contender| contender.entry.node)
}

fn eligible<'a>(
    entries: &[Entry],
    nodes: &'a NodeStates,
) -> impl Iterator<Item = (Entry, &'a Known)> {
    (entries.iter())
        .filter_map(|entry| Some((*entry, nodes.known(entry.node)?)))
        .filter(|(_, known)| known.state.standing == Standing::Eligible)
}

fn place_meds(contenders: &mut [Contender<'_>]) {
    let group =
        |c: &Contender<'_>| (c.entry.rank.source, c.entry.rank.path_len, c.entry.rank.neighbor_asn);
    let med = |c: &Contender<'_>| c.entry.rank.med.unwrap_or(0);
    contenders.sort_unstable_by_key(|c| (group(c), med(c)));
    let mut before: Option<Contender<'_>> = None;
    for contender in contenders {
        if let Some(before) = before
            && contender.entry.rank.neighbor_asn.is_some()
            && group(&before) == group(contender)
        {
            contender.med_place = before.med_place + u32::from(med(&before) != med(contender));
        }
        before = Some(*contender);
    }
}

/// What clients have in common that are kept together on one node: IPv4 /24, IPv6 /48.
fn client_block(client: IpAddr) -> u64 {
    match client {
        IpAddr::V4(address) => mix(u64::from(address.to_bits() >> 8)),
        // Above all IPv4 blocks. The 48 bits fit.
        IpAddr::V6(address) => {
            mix(1 << 48 | u64::try_from(address.to_bits() >> 80).unwrap_or(u64::MAX))
        }
    }
}

/// Spreads a number over all 64 bits (the finaliser of SplitMix64).
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Weighted rendezvous hashing: each node draws from an exponential distribution whose rate is its
/// weight, and the lowest draw wins. A node gets clients in proportion to its weight, and when one
/// goes only its clients move.
fn draw(hash: u64, weight: u32) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit an f64 exactly")]
    let uniform = ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -uniform.ln() / f64::from(weight)
}
