//! The laws of a feed, from the receiver's side.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::feed::testing::{self, any_changes, any_table, records};
use crate::feed::{Digest, SessionId};

fn session() -> SessionId {
    "0190b8a3-6b5e-7000-8000-000000000001".parse().unwrap()
}

fn position(serial: u64, table: &RouteTable) -> Position {
    Position { session: session(), serial, digest: table.digest() }
}

fn table(model: &testing::Table) -> RouteTable {
    records(model).into_iter().collect()
}

fn snapshot(serial: u64, model: &testing::Table) -> Body {
    let table = table(model);
    Body::Snapshot { position: position(serial, &table), routes: table.records().collect() }
}

/// The delta between two moments of a history of tables; serials are places in it, from 1.
fn delta(history: &[testing::Table], steps: &[Vec<Change>], from: u64, to: u64) -> Body {
    let now = &history[to as usize - 1];
    let prefixes: BTreeSet<_> =
        steps[from as usize - 1..to as usize - 1].iter().flatten().map(Change::prefix).collect();
    let changes = prefixes.iter().map(|p| Change::new(*p, now.get(p).cloned())).collect();
    Body::Delta { from, position: position(to, &table(now)), changes }
}

fn history(start: testing::Table, steps: &[Vec<Change>]) -> Vec<testing::Table> {
    let mut history = vec![start];
    for step in steps {
        let mut next = history.last().unwrap().clone();
        testing::apply(&mut next, step);
        history.push(next);
    }
    history
}

fn take(receiver: &mut Receiver, body: Body) -> Answer {
    match receiver.check_body(body) {
        Verdict::Apply(update) => {
            let answer = update.answer();
            receiver.commit(update).unwrap();
            answer
        }
        Verdict::Reply(answer) => answer,
    }
}

fn start(model: &testing::Table) -> Receiver {
    let mut receiver = Receiver::new();
    assert!(matches!(take(&mut receiver, snapshot(1, model)), Answer::Ok(_)));
    receiver
}

proptest! {
    #[test]
    fn steps_and_one_direct_delta_lead_to_the_same(
        first in any_table(),
        steps in prop::collection::vec(any_changes(), 1..6),
    ) {
        let history = history(first.clone(), &steps);
        let last = history.len() as u64;
        let mut slow = start(&first);
        for to in 2..=last {
            take(&mut slow, delta(&history, &steps, to - 1, to));
        }
        let mut quick = start(&first);
        take(&mut quick, delta(&history, &steps, 1, last));
        prop_assert!(slow == quick);
        // A message whose answer was lost, and then a longer one from the same start.
        let mut between = start(&first);
        take(&mut between, delta(&history, &steps, 1, 2));
        let answer = take(&mut between, delta(&history, &steps, 1, last));
        prop_assert_eq!(answer, Answer::Ok(slow.position().unwrap()));
        prop_assert!(slow == between);
        prop_assert!(*slow.table() == table(history.last().unwrap()));
    }

    /// Whatever comes, in whatever order and how often: the receiver holds one of the tables that
    /// the node had, never an older one than before, and says which.
    #[test]
    fn replays_and_gaps_do_no_harm(
        first in any_table(),
        steps in prop::collection::vec(any_changes(), 1..6),
        arrivals in prop::collection::vec(any::<(bool, prop::sample::Index, prop::sample::Index)>(), 0..30),
    ) {
        let history = history(first, &steps);
        let mut receiver = Receiver::new();
        let mut serial = 0;
        for (is_snapshot, a, b) in arrivals {
            let (a, b) = (a.index(history.len()) as u64 + 1, b.index(history.len()) as u64 + 1);
            let body = if is_snapshot || a == b {
                snapshot(a, &history[a as usize - 1])
            } else {
                delta(&history, &steps, a.min(b), a.max(b))
            };
            let answer = take(&mut receiver, body);
            if let Some(held) = receiver.position() {
                prop_assert!(held.serial >= serial);
                serial = held.serial;
                prop_assert!(*receiver.table() == table(&history[serial as usize - 1]));
                prop_assert!(answer == Answer::Ok(held) || answer == Answer::Resync(Some(held)));
            } else {
                prop_assert_eq!(answer, Answer::Resync(None));
            }
        }
    }

    #[test]
    fn commit_tells_just_what_is_different(first in any_table(), second in any_table(), step in any_changes()) {
        let mut index = testing::Table::new();
        let mut receiver = Receiver::new();
        let mut third = second.clone();
        testing::apply(&mut third, &step);
        let history = [first.clone(), second.clone(), third.clone()];
        let bodies = [
            snapshot(1, &first),
            snapshot(2, &second),
            delta(&history, &[vec![], step], 2, 3),
        ];
        for (body, model) in bodies.into_iter().zip(&history) {
            let Verdict::Apply(update) = receiver.check_body(body) else { panic!("refused") };
            let changes = receiver.commit(update).unwrap();
            for change in &changes {
                prop_assert!(index.get(&change.prefix()) != change.attributes());
            }
            testing::apply(&mut index, &changes);
            prop_assert_eq!(&index, model);
        }
    }

    #[test]
    fn comes_back_from_a_blob_and_from_its_bodies(first in any_table(), step in any_changes()) {
        let mut second = first.clone();
        testing::apply(&mut second, &step);
        let history = [first.clone(), second];
        let mut receiver = start(&first);
        let stored_first = receiver.to_blob().unwrap().unwrap();
        let body = delta(&history, std::slice::from_ref(&step), 1, 2);
        let Body::Delta { position, .. } = &body else { unreachable!() };
        let head = Head::Delta {
            version: VERSION, session: session(), from: 1, to: 2, digest: position.digest,
        };
        let stored_second = body::write(&head, step.iter().cloned()).unwrap();
        take(&mut receiver, body);

        let bodies = [(&*stored_first, Encoding::Zstd), (&*stored_second, Encoding::Zstd)];
        prop_assert!(Receiver::restore(bodies).unwrap() == receiver);
        let blob = receiver.to_blob().unwrap().unwrap();
        prop_assert!(Receiver::restore([(&*blob, Encoding::Zstd)]).unwrap() == receiver);
    }
}

#[test]
fn a_claim_carries_a_table_into_a_new_session() {
    let model = testing::Table::from([("192.0.2.0/24".parse().unwrap(), manual())]);
    let mut receiver = start(&model);
    let session = "0190b8a3-6b5e-7000-8000-000000000002".parse().unwrap();
    let digest = receiver.table().digest();
    let claimed = Position { session, serial: 1, digest };
    let Verdict::Apply(update) = receiver.check_body(Body::Claim { position: claimed }) else {
        panic!("the claim is true")
    };
    assert!(!update.replaces_all());
    assert_eq!(receiver.commit(update).unwrap(), []);
    assert_eq!(receiver.position(), Some(claimed));

    let other = Position { session, serial: 2, digest: Digest::EMPTY };
    let answer = take(&mut receiver, Body::Claim { position: other });
    assert_eq!(answer, Answer::Resync(Some(claimed)));
    // Even of an empty table: a receiver that has never heard of the node holds nothing.
    let answer = take(&mut Receiver::new(), Body::Claim { position: other });
    assert_eq!(answer, Answer::Resync(None));
}

#[test]
fn a_wrong_digest_changes_nothing() {
    let model = testing::Table::from([("192.0.2.0/24".parse().unwrap(), manual())]);
    let mut receiver = start(&model);
    let before = receiver.clone();
    let wrong = Position { session: session(), serial: 2, digest: Digest::EMPTY };
    let changes = vec![Change::new("198.51.100.0/24".parse().unwrap(), Some(manual()))];
    let body = Body::Delta { from: 1, position: wrong, changes };
    assert_eq!(take(&mut receiver, body), Answer::Resync(None));
    let routes = table(&model).records().collect();
    let Answer::Invalid { line: 0, reason, too_large: false } =
        take(&mut receiver, Body::Snapshot { position: wrong, routes })
    else {
        panic!("accepted")
    };
    assert!(reason.starts_with("the first line says digest 00000000"), "{reason}");
    assert!(receiver == before);
}

#[test]
fn what_was_checked_against_an_older_table_is_not_committed() {
    let model = testing::Table::new();
    let mut receiver = start(&model);
    let Verdict::Apply(early) = receiver.check_body(snapshot(2, &model)) else { panic!() };
    take(&mut receiver, snapshot(3, &model));
    assert_eq!(receiver.commit(early), Err(Superseded));
    assert_eq!(receiver.position().unwrap().serial, 3);
}

#[test]
fn damaged_storage_is_an_error_that_names_the_body() {
    let mut receiver = start(&testing::Table::new());
    let blob = receiver.to_blob().unwrap().unwrap();
    take(&mut receiver, snapshot(2, &testing::Table::new()));
    let error = Receiver::restore([(&*blob, Encoding::Zstd), (&blob[1..], Encoding::Zstd)]);
    assert_eq!(error.unwrap_err().to_string(), "stored body 1");
    let error = Receiver::restore([(&*blob, Encoding::Zstd), (&*blob, Encoding::Zstd)]);
    assert!(matches!(error, Err(RestoreError::Sequence { index: 1 })));
}

fn manual() -> std::sync::Arc<crate::feed::RouteAttributes> {
    std::sync::Arc::new(crate::feed::RouteAttributes::manual())
}
