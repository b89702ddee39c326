//! The index against a search through everything, and the rules one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::feed::testing::{any_attributes, any_prefix};
use crate::feed::{RouteAttributes, RouteRecord, Source};
use crate::steering::{Candidate, NodeState, PassedOver, Reason, Standing};

fn state(id: u32, standing: Standing, weight: u32) -> (NodeId, NodeState) {
    let state = NodeState {
        name: format!("edge-{id}").parse().unwrap(),
        address: IpAddr::from([192, 0, 2, u8::try_from(id).unwrap()]),
        standing,
        weight: NonZeroU32::new(weight).unwrap(),
    };
    (NodeId(id), state)
}

fn eligible(ids: &[u32]) -> NodeStates {
    ids.iter().map(|id| state(*id, Standing::Eligible, 1)).collect()
}

fn present(prefix: &str, attributes: RouteAttributes) -> Change {
    let attributes = Arc::new(attributes);
    Change::Present(RouteRecord { prefix: prefix.parse().unwrap(), attributes })
}

fn index(routes: &[(u32, &str, RouteAttributes)]) -> Steering {
    let mut index = Index::new();
    for (node, prefix, attributes) in routes {
        index.apply(NodeId(*node), &[present(prefix, attributes.clone())]);
    }
    index.publish(Instant::now());
    index.steering()
}

fn bgp(path_len: u32) -> RouteAttributes {
    RouteAttributes::bgp(path_len, 65100)
}

fn client() -> IpAddr {
    IpAddr::from([198, 51, 100, 7])
}

/// Nodes of the candidates in order, with their reasons.
fn story(candidates: &[Candidate]) -> Vec<(&str, Reason)> {
    candidates.iter().map(|c| (c.node.as_str(), c.reason)).collect()
}

#[test]
fn each_rule_decides_where_those_before_it_do_not() {
    let net = "198.51.100.0/24";
    let with_med = |med, asn| RouteAttributes { med, ..RouteAttributes::bgp(1, asn) };
    for (routes, reason) in [
        (vec![(1, "198.51.0.0/16", bgp(1)), (2, net, bgp(9))], Reason::OnlyCandidate),
        (vec![(1, net, bgp(0)), (2, net, RouteAttributes::manual())], Reason::Manual),
        (vec![(1, net, bgp(3)), (2, net, bgp(2))], Reason::AsPathLength),
        (
            vec![(1, net, with_med(Some(20), 65100)), (2, net, with_med(Some(10), 65100))],
            Reason::Med,
        ),
        // A missing MED is the lowest.
        (vec![(1, net, with_med(Some(20), 65100)), (2, net, with_med(None, 65100))], Reason::Med),
        // The path goes before the MED.
        (
            vec![
                (1, net, RouteAttributes { med: Some(0), ..bgp(3) }),
                (2, net, RouteAttributes { med: Some(9), ..bgp(2) }),
            ],
            Reason::AsPathLength,
        ),
    ] {
        let steering = index(&routes);
        let decision = steering.view().steer(client(), &eligible(&[1, 2]));
        let chosen = decision.chosen.unwrap();
        assert_eq!(chosen.node.as_str(), "edge-2", "{routes:?}");
        assert_eq!(chosen.prefix.to_string(), net);
        assert_eq!(chosen.reasons, [Reason::LongestPrefix, reason]);
        let second = decision.candidates.get(1).unwrap();
        let lost_by = if reason == Reason::OnlyCandidate { Reason::LongestPrefix } else { reason };
        assert_eq!(second.reason, lost_by);
    }
}

#[test]
fn meds_of_different_neighbors_do_not_compare() {
    let net = "198.51.100.0/24";
    let of = |med, asn| RouteAttributes { med: Some(med), ..RouteAttributes::bgp(1, asn) };
    // Node 1 loses to node 2. Between 2 and 3 the MED says nothing, whatever it is.
    let steering =
        index(&[(1, net, of(50, 65100)), (2, net, of(40, 65100)), (3, net, of(99, 65200))]);
    let decision = steering.view().steer(client(), &eligible(&[1, 2, 3]));
    let story = story(&decision.candidates);
    assert_eq!(story.first().unwrap().1, Reason::Rendezvous);
    assert_eq!(story.last(), Some(&("edge-1", Reason::Med)));
    // Nor does it where the neighbor is not known.
    let unknown = |med| RouteAttributes { neighbor_asn: None, ..of(med, 0) };
    let steering_unknown = index(&[(1, net, unknown(50)), (2, net, unknown(40))]);
    let decision = steering_unknown.view().steer(client(), &eligible(&[1, 2]));
    assert_eq!(decision.candidates.first().unwrap().reason, Reason::Rendezvous);
    // A node that gets no clients does not spoil the others' MED.
    let mut nodes = eligible(&[1, 3]);
    let (id, draining) = state(2, Standing::PassedOver(PassedOver::Draining), 1);
    nodes.insert(id, draining);
    let decision = steering.view().steer(client(), &nodes);
    assert_eq!(decision.candidates.first().unwrap().reason, Reason::Rendezvous);
}

#[test]
fn nodes_that_get_no_clients_are_passed_over_with_the_reason() {
    let routes = [
        (1, "198.51.100.0/24", bgp(1)),
        (2, "198.51.100.0/24", bgp(1)),
        (3, "198.51.100.0/23", bgp(1)),
        (4, "198.51.0.0/16", bgp(1)),
        (5, "198.51.0.0/16", bgp(2)),
        (6, "0.0.0.0/0", bgp(1)),
    ];
    let steering = index(&routes);
    let nodes: NodeStates = [
        state(1, Standing::PassedOver(PassedOver::Draining), 1),
        state(2, Standing::PassedOver(PassedOver::Unhealthy), 1),
        state(3, Standing::PassedOver(PassedOver::OverEgress), 1),
        state(4, Standing::Eligible, 1),
        state(5, Standing::Eligible, 1),
        state(6, Standing::PassedOver(PassedOver::Disabled), 1),
    ]
    .into_iter()
    .collect();
    let decision = steering.view().steer(client(), &nodes);
    assert_eq!(
        serde_json::to_value(&decision).unwrap(),
        serde_json::json!({
            "client": "198.51.100.7",
            "chosen": {
                "node": "edge-4", "address": "192.0.2.4", "prefix": "198.51.0.0/16",
                "reason": ["covering_prefix", "as_path_length"]
            },
            "candidates": [
                {"node": "edge-4", "address": "192.0.2.4", "prefix": "198.51.0.0/16",
                 "source": "bgp", "path_len": 1, "neighbor_asn": 65100, "reason": "as_path_length"},
                {"node": "edge-5", "address": "192.0.2.5", "prefix": "198.51.0.0/16",
                 "source": "bgp", "path_len": 2, "neighbor_asn": 65100, "reason": "as_path_length"},
            ],
            "passed_over": [
                {"node": "edge-1", "prefix": "198.51.100.0/24", "source": "bgp", "path_len": 1,
                 "neighbor_asn": 65100, "reason": "draining"},
                {"node": "edge-2", "prefix": "198.51.100.0/24", "source": "bgp", "path_len": 1,
                 "neighbor_asn": 65100, "reason": "unhealthy"},
                {"node": "edge-3", "prefix": "198.51.100.0/23", "source": "bgp", "path_len": 1,
                 "neighbor_asn": 65100, "reason": "over_egress"},
                {"node": "edge-6", "prefix": "0.0.0.0/0", "source": "bgp", "path_len": 1,
                 "neighbor_asn": 65100, "reason": "disabled"},
            ]
        })
    );
    assert_eq!(
        steering.view().choose(client(), &nodes),
        Some(Choice { node: NodeId(4), prefix: "198.51.0.0/16".parse().unwrap() })
    );
    // Outside every prefix but that of the disabled node.
    let elsewhere = IpAddr::from([203, 0, 113, 1]);
    let decision = steering.view().steer(elsewhere, &nodes);
    assert_eq!((decision.chosen, decision.passed_over.len()), (None, 1));
    assert_eq!(steering.view().choose(elsewhere, &nodes), None);
}

#[test]
fn clients_are_shared_in_proportion_to_capacity_and_stay_where_they_are() {
    let net = "10.0.0.0/8";
    let steering = index(&[(1, net, bgp(1)), (2, net, bgp(1)), (3, net, bgp(1))]);
    let nodes: NodeStates = [
        state(1, Standing::Eligible, 10_000),
        state(2, Standing::Eligible, 10_000),
        state(3, Standing::Eligible, 40_000),
    ]
    .into_iter()
    .collect();
    let mut without_2 = nodes.clone();
    let (id, drained) = state(2, Standing::PassedOver(PassedOver::Draining), 10_000);
    without_2.insert(id, drained);
    let mut counts = BTreeMap::new();
    let mut reasons = BTreeSet::new();
    for block in 0..6_000_u16 {
        let [high, low] = block.to_be_bytes();
        let client = IpAddr::from([10, high, low, 1]);
        let node = steering.view().choose(client, &nodes).unwrap().node;
        *counts.entry(node.0).or_insert(0) += 1;
        // All of a /24 go to one node.
        let neighbor = IpAddr::from([10, high, low, 254]);
        assert_eq!(steering.view().choose(neighbor, &nodes).unwrap().node, node);
        // When a node goes, only its own clients move.
        let then = steering.view().choose(client, &without_2).unwrap().node;
        assert!(then == node || node == NodeId(2));
        let decision = steering.view().steer(client, &nodes);
        reasons.extend(decision.chosen.unwrap().reasons.last().map(|r| format!("{r:?}")));
    }
    assert!((900..1_100).contains(&counts[&1]), "{counts:?}");
    assert!((900..1_100).contains(&counts[&2]), "{counts:?}");
    assert!((3_850..4_150).contains(&counts[&3]), "{counts:?}");
    assert_eq!(reasons, ["Rendezvous", "Weight"].map(str::to_owned).into());
}

#[test]
fn a_mapped_address_is_the_ipv4_address() {
    let steering = index(&[(1, "198.51.100.0/24", bgp(1))]);
    let mapped = "::ffff:198.51.100.7".parse().unwrap();
    let decision = steering.view().steer(mapped, &eligible(&[1]));
    assert_eq!(decision.client, client());
    assert!(decision.chosen.is_some());
    assert!(steering.view().choose(mapped, &eligible(&[1])).is_some());
}

#[test]
fn publishes_at_most_once_a_second_and_only_news() {
    let start = Instant::now();
    let mut index = Index::new();
    let steering = index.steering();
    assert!(!index.publish_if_due(start));
    let changes = [present("198.51.100.0/24", bgp(1))];
    index.apply(NodeId(1), &changes);
    assert!(steering.view().is_empty());
    assert!(index.publish_if_due(start));
    assert_eq!(steering.view().len(), 1);
    index.apply(NodeId(2), &changes);
    assert_eq!(index.next_publish(start), Some(start + PUBLISH_EVERY));
    assert!(!index.publish_if_due(start + PUBLISH_EVERY / 2));
    assert!(index.publish_if_due(start + PUBLISH_EVERY));
    assert!(!index.publish_if_due(start + 2 * PUBLISH_EVERY));
    // The absence of what was not there is no news.
    index.apply(NodeId(3), &[Change::Absent("198.51.100.0/24".parse().unwrap())]);
    assert_eq!(index.next_publish(start), None);
}

#[test]
fn nodes_alike_share_one_set() {
    let mut index = Index::new();
    for node in 0..50 {
        let changes: Vec<_> =
            (0..100).map(|n| present(&format!("10.0.{n}.0/24"), bgp(1))).collect();
        index.apply(NodeId(node), &changes);
    }
    assert_eq!(index.node_sets(), 1);
    for node in 0..50 {
        index.remove_node(NodeId(node));
    }
    assert_eq!(index.node_sets(), 0);
    index.publish(Instant::now());
    assert!(index.steering().view().is_empty());
}

type Footprints = BTreeMap<(u32, IpNet), Arc<RouteAttributes>>;

fn any_footprints() -> impl Strategy<Value = Vec<(u32, Change)>> {
    let change = (any_prefix(), prop::option::weighted(0.8, any_attributes()))
        .prop_map(|(prefix, attributes)| Change::new(prefix, attributes));
    prop::collection::vec((0..6_u32, change), 0..60)
}

fn any_states() -> impl Strategy<Value = NodeStates> {
    let standing = prop_oneof![
        3 => Just(Standing::Eligible),
        1 => prop::sample::select(vec![
            PassedOver::Draining, PassedOver::Unhealthy, PassedOver::Disabled, PassedOver::OverEgress,
        ]).prop_map(Standing::PassedOver),
    ];
    // Nodes 0 to 4: node 5 is in the index and not known any more.
    prop::collection::vec((standing, 1..4_u32), 5).prop_map(|states| {
        (0..).zip(states).map(|(id, (standing, weight))| state(id, standing, weight)).collect()
    })
}

fn any_client() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0..=255_u8).prop_map(|last| IpAddr::from([198, 51, 100, last])),
        (0..16_u128).prop_map(|n| IpAddr::from((0x2001_0db8_u128 << 96 | n).to_be_bytes())),
    ]
}

/// The rules as they are written down, by going through everything and striking out: the longest
/// prefix with an eligible node, and those of its nodes that nothing but the hash tells apart.
fn naive(client: IpAddr, footprints: &Footprints, nodes: &NodeStates) -> (Option<IpNet>, Vec<u32>) {
    let may = |id| nodes.get(NodeId(id)).is_some_and(|n| n.standing == Standing::Eligible);
    let mut left: Vec<_> = (footprints.iter())
        .filter(|((node, prefix), _)| prefix.contains(&client) && may(*node))
        .map(|((node, prefix), attributes)| (*node, *prefix, attributes))
        .collect();
    let Some(longest) = left.iter().map(|(_, p, _)| p.prefix_len()).max() else {
        return (None, Vec::new());
    };
    left.retain(|(_, p, _)| p.prefix_len() == longest);
    if left.iter().any(|(_, _, a)| a.source == Source::Manual) {
        left.retain(|(_, _, a)| a.source == Source::Manual);
    }
    let shortest = left.iter().map(|(_, _, a)| a.path_len).min();
    left.retain(|(_, _, a)| Some(a.path_len) == shortest);
    let rivals = left.clone();
    left.retain(|(_, _, a)| {
        a.neighbor_asn.is_none()
            || !rivals.iter().any(|(_, _, b)| {
                b.neighbor_asn == a.neighbor_asn && b.med.unwrap_or(0) < a.med.unwrap_or(0)
            })
    });
    (left.first().map(|(_, p, _)| *p), left.iter().map(|(node, _, _)| *node).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn agrees_with_a_search_through_everything(
        changes in any_footprints(),
        removed in prop::option::of(0..6_u32),
        nodes in any_states(),
        clients in prop::collection::vec(any_client(), 1..20),
    ) {
        let mut footprints = Footprints::new();
        let mut index = Index::new();
        for (node, change) in &changes {
            index.apply(NodeId(*node), std::slice::from_ref(change));
            match change.attributes() {
                Some(a) => footprints.insert((*node, change.prefix()), Arc::clone(a)),
                None => footprints.remove(&(*node, change.prefix())),
            };
        }
        if let Some(removed) = removed {
            index.remove_node(NodeId(removed));
            footprints.retain(|(node, _), _| *node != removed);
        }
        index.publish(Instant::now());
        let steering = index.steering();
        let view = steering.view();
        for client in clients {
            let (prefix, equals) = naive(client, &footprints, &nodes);
            let decision = view.steer(client, &nodes);
            let choice = view.choose(client, &nodes);
            prop_assert_eq!(choice.map(|c| c.prefix), prefix);
            prop_assert!(choice.is_none_or(|c| equals.contains(&c.node.0)));

            // The long answer says the same, and tells of every node there is.
            let chosen = decision.chosen.as_ref();
            prop_assert_eq!(chosen.map(|c| c.prefix), prefix);
            let name = choice.and_then(|c| nodes.get(c.node)).map(|n| &n.name);
            prop_assert_eq!(chosen.map(|c| &c.node), name);
            let first = decision.candidates.first();
            prop_assert_eq!(first.map(|c| (&c.node, c.prefix)), chosen.map(|c| (&c.node, c.prefix)));
            let covering = footprints.keys().filter(|(node, p)| p.contains(&client) && *node < 5).count();
            prop_assert_eq!(decision.candidates.len() + decision.passed_over.len(), covering);
            if let Some(chosen) = chosen {
                let longer = decision.passed_over.iter().any(|p| p.prefix.prefix_len() > chosen.prefix.prefix_len());
                let why = if longer { Reason::CoveringPrefix } else { Reason::LongestPrefix };
                prop_assert_eq!(&chosen.reasons, &[why, first.unwrap().reason]);
            }
        }
        // No set stays behind.
        let used: BTreeSet<Vec<_>> = index.prefixes.values().map(|id| index.sets.get(*id).to_vec()).collect();
        prop_assert_eq!(index.node_sets(), used.len());
    }

    #[test]
    fn the_order_of_arrival_does_not_count(
        changes in prop::collection::btree_map((0..6_u32, any_prefix()), any_attributes(), 0..30),
        nodes in any_states(),
        client in any_client(),
        shuffle in any::<prop::sample::Index>(),
    ) {
        let mut changes: Vec<_> = (changes.into_iter())
            .map(|((node, prefix), a)| (NodeId(node), Change::new(prefix, Some(a))))
            .collect();
        let decide = |changes: &[(NodeId, Change)]| {
            let mut index = Index::new();
            for (node, change) in changes {
                index.apply(*node, std::slice::from_ref(change));
            }
            index.publish(Instant::now());
            index.steering().view().steer(client, &nodes)
        };
        let before = decide(&changes);
        if !changes.is_empty() {
            let by = shuffle.index(changes.len());
            changes.rotate_left(by);
        }
        changes.reverse();
        prop_assert_eq!(before, decide(&changes));
    }
}
