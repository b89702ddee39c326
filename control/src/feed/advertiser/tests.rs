//! What the advertiser sends and when, and the whole feed over a link that fails in every way.

use proptest::prelude::*;

use super::*;
use crate::feed::testing::{self, any_changes, any_table, records};
use crate::feed::{BodyLimits, Encoding, Receiver, Verdict};

const SECOND: Duration = Duration::from_secs(1);

fn session() -> SessionId {
    "0190b8a3-6b5e-7000-8000-000000000001".parse().unwrap()
}

fn route(prefix: &str) -> RouteRecord {
    let attributes = Arc::new(RouteAttributes::bgp(1, 65100));
    RouteRecord { prefix: prefix.parse().unwrap(), attributes }
}

fn routes(count: u32) -> Vec<RouteRecord> {
    (0..count).map(|n| route(&format!("10.{}.{}.0/24", n / 256, n % 256))).collect()
}

fn head(request: &Request) -> (char, u64, u64) {
    match request.head {
        Head::Snapshot { serial, .. } => ('s', 0, serial),
        Head::Delta { from, to, .. } => ('d', from, to),
    }
}

fn ok(request: &Request) -> Answer {
    Answer::Ok(request.head.position())
}

/// An advertiser whose first table of `count` routes is acknowledged.
fn settled(count: u32, now: Instant) -> Advertiser {
    let mut node = Advertiser::new(session(), 1, Pace::default(), now);
    node.snapshot(routes(count), now);
    let mut request = node.poll(now).unwrap();
    if request.changes.is_empty() && count > 0 {
        node.answer(Answer::Resync(None), now);
        request = node.poll(now).unwrap();
    }
    assert_eq!(head(&request), ('s', 0, 1));
    node.answer(ok(&request), now);
    assert!(node.status().acknowledged);
    node
}

#[test]
fn says_nothing_before_it_knows_the_footprint() {
    let now = Instant::now();
    let mut node = Advertiser::new(session(), 1, Pace::default(), now);
    node.changes([Change::Present(route("192.0.2.0/24"))], now);
    assert!(node.poll(now + 60 * SECOND).is_none());
    assert_eq!(node.next_deadline(), None);
    assert_eq!(node.status().state, AdvertiserState::NoFootprint);
    // An empty footprint is a footprint: the control plane may still hold an old one.
    node.snapshot([], now);
    let request = node.poll(now).unwrap();
    assert_eq!((head(&request), request.changes.len()), (('s', 0, 1), 0));
}

#[test]
fn tells_changes_after_a_second_or_when_there_are_a_thousand() {
    let now = Instant::now();
    let mut node = settled(0, now);
    assert_eq!(node.next_deadline(), None);
    node.changes([Change::Present(route("192.0.2.0/24"))], now);
    assert!(node.poll(now + SECOND / 2).is_none());
    assert_eq!(node.next_deadline(), Some(now + SECOND));
    // What comes and goes within the second is not told at all.
    node.changes([Change::Present(route("198.51.100.0/24"))], now + SECOND / 2);
    node.changes([Change::Absent("198.51.100.0/24".parse().unwrap())], now + SECOND / 2);
    let request = node.poll(now + SECOND).unwrap();
    assert_eq!(head(&request), ('d', 1, 2));
    assert_eq!(request.changes, [Change::Present(route("192.0.2.0/24"))]);
    node.answer(ok(&request), now + SECOND);

    node.changes(routes(999).into_iter().map(Change::Present), now + SECOND);
    assert!(node.poll(now + SECOND).is_none());
    node.changes([Change::Absent("192.0.2.0/24".parse().unwrap())], now + SECOND);
    assert_eq!(node.poll(now + SECOND).unwrap().changes.len(), 1_000);
}

#[test]
fn no_change_is_no_message() {
    let now = Instant::now();
    let mut node = settled(3, now);
    node.changes(routes(3).into_iter().map(Change::Present), now);
    node.snapshot(routes(3), now);
    assert_eq!(node.next_deadline(), None);
    assert!(node.status().acknowledged);
}

#[test]
fn one_message_at_a_time_and_changes_wait_for_it() {
    let now = Instant::now();
    let mut node = settled(1, now);
    node.changes([Change::Absent("10.0.0.0/24".parse().unwrap())], now);
    let request = node.poll(now + SECOND).unwrap();
    node.changes(routes(2_000).into_iter().map(Change::Present), now + SECOND);
    assert!(node.poll(now + 60 * SECOND).is_none());
    assert_eq!(node.next_deadline(), None);
    assert!(!node.status().acknowledged);
    node.answer(ok(&request), now + 60 * SECOND);
    assert_eq!(head(&node.poll(now + 60 * SECOND).unwrap()), ('d', 2, 3));
}

#[test]
fn a_large_table_is_offered_by_its_digest_first() {
    let now = Instant::now();
    let mut node = Advertiser::new(session(), 1, Pace::default(), now);
    node.snapshot(routes(1_001), now);
    let claim = node.poll(now).unwrap();
    assert!(claim.changes.is_empty());
    assert!(matches!(claim.head, Head::Snapshot { routes: 1_001, .. }));
    // The control plane has another: the table follows at once.
    node.answer(Answer::Resync(None), now);
    assert_eq!(node.poll(now).unwrap().changes.len(), 1_001);
    // It may have arrived all the same.
    node.failed(Failure::Unreachable("timed out".to_owned()), now);
    assert!(node.poll(now + 60 * SECOND).unwrap().changes.is_empty());
}

#[test]
fn falls_back_to_where_the_control_plane_is() {
    let now = Instant::now();
    let mut node = settled(1, now);
    let older = node.position().unwrap();
    node.changes([Change::Present(route("192.0.2.0/24"))], now);
    let second = node.poll(now + SECOND).unwrap();
    node.answer(ok(&second), now);
    node.changes([Change::Present(route("198.51.100.0/24"))], now + SECOND);
    assert_eq!(head(&node.poll(now + 2 * SECOND).unwrap()), ('d', 2, 3));
    // Restored from a backup: it is at serial 1 again.
    node.answer(Answer::Resync(Some(older)), now + 2 * SECOND);
    let request = node.poll(now + 2 * SECOND).unwrap();
    assert_eq!((head(&request), request.changes.len()), (('d', 1, 3), 2));
    // It says the same again: wait, then try.
    node.answer(Answer::Resync(Some(older)), now + 2 * SECOND);
    assert!(matches!(node.status().state, AdvertiserState::Waiting { .. }));
}

#[test]
fn sends_all_when_the_log_does_not_reach_back() {
    let now = Instant::now();
    for (pace, later) in [
        (Pace { log_changes: 1, ..Pace::default() }, now + 2 * SECOND),
        (Pace::default(), now + Duration::from_secs(3_700)),
    ] {
        let mut node = Advertiser::new(session(), 1, pace, now);
        node.snapshot(routes(1), now);
        let first = node.poll(now).unwrap();
        node.answer(ok(&first), now);
        let mut at = now + SECOND;
        for prefix in ["192.0.2.0/24", "198.51.100.0/24"] {
            node.changes([Change::Present(route(prefix))], at - SECOND);
            let request = node.poll(at).unwrap();
            assert_eq!(head(&request).0, 'd');
            node.answer(ok(&request), at);
            at = later;
        }
        node.changes([Change::Present(route("203.0.113.0/24"))], later);
        node.poll(later + SECOND).unwrap();
        node.answer(Answer::Resync(Some(first.head.position())), later + SECOND);
        assert_eq!(head(&node.poll(later + SECOND).unwrap()), ('s', 0, 4));
    }
}

#[test]
fn a_node_that_was_set_back_counts_on_from_where_the_control_plane_is() {
    let now = Instant::now();
    let mut node = settled(1, now);
    node.changes([Change::Present(route("192.0.2.0/24"))], now);
    let request = node.poll(now + SECOND).unwrap();
    let ahead = Position { serial: 60, ..request.head.position() };
    node.answer(Answer::Ok(ahead), now + SECOND);
    let request = node.poll(now + 120 * SECOND).unwrap();
    assert_eq!(head(&request), ('s', 0, 61));
    node.answer(ok(&request), now + 120 * SECOND);
    node.changes([Change::Absent("192.0.2.0/24".parse().unwrap())], now + 120 * SECOND);
    assert_eq!(head(&node.poll(now + 121 * SECOND).unwrap()), ('d', 61, 62));
    // What it did at serials before that, in the life that it forgot, it cannot tell.
    let forgotten = Position { serial: 50, ..ahead };
    node.answer(Answer::Resync(Some(forgotten)), now + 121 * SECOND);
    assert_eq!(head(&node.poll(now + 121 * SECOND).unwrap()), ('s', 0, 62));
}

#[test]
fn waits_as_long_as_it_is_asked_to() {
    let now = Instant::now();
    let mut node = settled(0, now);
    node.changes([Change::Present(route("192.0.2.0/24"))], now);
    node.poll(now + SECOND).unwrap();
    let at = now + SECOND;
    node.failed(Failure::Busy { retry_after: Some(30 * SECOND) }, at);
    assert!(node.poll(at + 29 * SECOND).is_none());
    assert_eq!(head(&node.poll(at + 31 * SECOND).unwrap()), ('d', 1, 2));
    // But not for ever.
    node.failed(Failure::Busy { retry_after: Some(Duration::MAX) }, at);
    assert!(node.next_deadline().unwrap() <= at + 32 * SECOND + RETRY_AFTER_MAX);
}

#[test]
fn backs_off_further_and_further_but_not_beyond_a_minute() {
    let now = Instant::now();
    let longest = |failures: u32| {
        (0..200_u64)
            .map(|seed| {
                let mut node = Advertiser::new(session(), seed, Pace::default(), now);
                node.snapshot([], now);
                let mut at = now;
                let mut wait = Duration::ZERO;
                for _ in 0..failures {
                    node.poll(at).unwrap();
                    node.failed(Failure::Unreachable("refused".to_owned()), at);
                    wait = node.next_deadline().unwrap() - at;
                    at += wait;
                }
                wait
            })
            .max()
            .unwrap()
    };
    // Full jitter: of 200 nodes the unluckiest waits nearly the whole time.
    for (failures, seconds) in [(1, 1.0), (2, 2.0), (4, 8.0), (7, 60.0), (40, 60.0)] {
        let found = longest(failures).as_secs_f64();
        assert!(found <= seconds && found > seconds * 0.9, "{failures}: {found}");
    }
}

#[test]
fn stops_when_no_retry_can_help_and_says_what_to_do() {
    let now = Instant::now();
    for (refusal, expected) in [
        (Refusal::Unauthorized, "enrol this node again"),
        (Refusal::Forbidden, "control.token_file"),
        (Refusal::Gone, "create it again"),
    ] {
        let mut node = settled(1, now);
        node.failed(Failure::Refused(refusal), now);
        node.snapshot([], now);
        assert_eq!(node.next_deadline(), None);
        assert!(node.poll(now + 600 * SECOND).is_none());
        let AdvertiserState::Stopped { reason } = node.status().state else { panic!("goes on") };
        assert!(reason.contains(expected), "{reason}");
        // A new token, say: all that has changed meanwhile is told.
        node.resume(now);
        assert!(matches!(node.poll(now), Some(request) if head(&request) == ('s', 0, 2)));
    }
}

#[test]
fn a_refused_message_is_followed_by_the_whole_table_later() {
    let now = Instant::now();
    let mut node = settled(1, now);
    node.changes([Change::Present(route("192.0.2.0/24"))], now);
    node.poll(now + SECOND).unwrap();
    let refused = Answer::Invalid { line: 2, reason: "no".to_owned(), too_large: false };
    node.answer(refused, now + SECOND);
    assert_eq!(
        node.status().state,
        AdvertiserState::Waiting {
            reason: "the control plane refused the message, line 2: no".to_owned()
        }
    );
    assert_eq!(head(&node.poll(now + 60 * SECOND).unwrap()), ('s', 0, 2));
}

#[test]
fn sends_all_when_a_heartbeat_finds_the_ends_apart() {
    let now = Instant::now();
    let mut node = settled(1, now);
    node.resync(now);
    assert_eq!(head(&node.poll(now).unwrap()), ('s', 0, 1));
    // Asked for while a message is on its way: after it.
    let mut node = settled(1, now);
    node.changes([Change::Present(route("192.0.2.0/24"))], now);
    let delta = node.poll(now + SECOND).unwrap();
    node.resync(now + SECOND);
    node.answer(ok(&delta), now + SECOND);
    assert_eq!(head(&node.poll(now + 60 * SECOND).unwrap()).0, 's');
}

/// What happens to one message on the simulated link.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Delivered,
    LostOnTheWay,
    AnswerLost,
    /// Delivered now, and once more after later messages.
    Duplicated,
    Busy,
    /// Cut off in the middle: half of the bytes arrive.
    Cut,
    /// The control plane crashes before it has stored, and restarts from what it had stored.
    CrashBeforeStore,
    CrashAfterStore,
    /// The control plane loses its disk.
    Wiped,
    /// It comes back from an old backup.
    SetBack,
}

#[derive(Debug, Clone)]
enum Event {
    Change(Vec<Change>),
    Replace(testing::Table),
    Message(Fate),
    NodeRestarts,
}

fn any_event() -> impl Strategy<Value = Event> {
    use Fate::{
        AnswerLost, Busy, CrashAfterStore, CrashBeforeStore, Cut, Delivered, Duplicated,
        LostOnTheWay, SetBack, Wiped,
    };
    prop_oneof![
        4 => any_changes().prop_map(Event::Change),
        1 => any_table().prop_map(Event::Replace),
        8 => prop::sample::select(vec![
            Delivered, Delivered, Delivered, LostOnTheWay, AnswerLost, Duplicated, Busy, Cut,
            CrashBeforeStore, CrashAfterStore, Wiped, SetBack,
        ]).prop_map(Event::Message),
        1 => Just(Event::NodeRestarts),
    ]
}

/// The control plane: a receiver, its disk, and a backup of the disk.
#[derive(Default)]
struct Control {
    receiver: Receiver,
    disk: Vec<Vec<u8>>,
    backup: Vec<Vec<u8>>,
    delayed: Vec<Vec<u8>>,
    index: testing::Table,
}

impl Control {
    fn limits() -> BodyLimits {
        BodyLimits::default()
    }

    fn take(&mut self, body: &[u8]) -> Answer {
        match self.receiver.check(body, Encoding::Zstd, &Self::limits()) {
            Verdict::Reply(answer) => answer,
            Verdict::Apply(update) => {
                if update.replaces_all() {
                    self.backup = std::mem::take(&mut self.disk);
                }
                self.disk.push(body.to_vec());
                let answer = update.answer();
                let changes = self.receiver.commit(update).unwrap();
                testing::apply(&mut self.index, &changes);
                answer
            }
        }
    }

    fn restart(&mut self) {
        let stored = self.disk.iter().map(|body| (body.as_slice(), Encoding::Zstd));
        self.receiver = Receiver::restore(stored).unwrap();
        self.index = self.receiver.table().records().map(|r| (r.prefix, r.attributes)).collect();
    }
}

struct World {
    now: Instant,
    node: Advertiser,
    footprint: testing::Table,
    control: Control,
    restarts: u64,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let mut world = Self {
            now,
            node: Advertiser::new(session(), 0, Self::pace(), now),
            footprint: testing::Table::new(),
            control: Control::default(),
            restarts: 0,
        };
        world.node.snapshot([], now);
        world
    }

    /// So small that the log overflows and tables are claimed.
    fn pace() -> Pace {
        Pace { log_changes: 12, claim_above: 4, ..Pace::default() }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Change(changes) => {
                testing::apply(&mut self.footprint, &changes);
                self.node.changes(changes, self.now);
            }
            Event::Replace(table) => {
                self.node.snapshot(records(&table), self.now);
                self.footprint = table;
            }
            Event::NodeRestarts => {
                self.restarts += 1;
                let session = format!("0190b8a3-6b5e-7000-8001-{:012}", self.restarts);
                let session = session.parse().unwrap();
                self.node = Advertiser::new(session, self.restarts, Self::pace(), self.now);
                self.node.snapshot(records(&self.footprint), self.now);
            }
            Event::Message(fate) => self.message(fate),
        }
    }

    /// The next message, if there is one, meets this fate.
    fn message(&mut self, fate: Fate) {
        let Some(due) = self.node.next_deadline() else { return };
        self.now = self.now.max(due);
        let request = self.node.poll(self.now).expect("it is due");
        let body = request.body().unwrap();
        let lost = || Failure::Unreachable("lost".to_owned());
        let result = match fate {
            Fate::Delivered => Ok(self.control.take(&body)),
            Fate::LostOnTheWay => Err(lost()),
            Fate::AnswerLost => {
                self.control.take(&body);
                Err(lost())
            }
            Fate::Duplicated => {
                self.control.delayed.push(body.clone());
                Ok(self.control.take(&body))
            }
            Fate::Busy => Err(Failure::Busy { retry_after: Some(SECOND) }),
            Fate::Cut => {
                let answer = self.control.take(&body[..body.len() / 2]);
                assert!(matches!(answer, Answer::Invalid { .. }), "half a body is no body");
                Err(lost())
            }
            Fate::CrashBeforeStore => {
                self.control.restart();
                Err(lost())
            }
            Fate::CrashAfterStore => {
                self.control.take(&body);
                self.control.restart();
                Err(lost())
            }
            Fate::Wiped => {
                self.control.disk.clear();
                self.control.restart();
                Err(lost())
            }
            Fate::SetBack => {
                self.control.disk = self.control.backup.clone();
                self.control.restart();
                Err(lost())
            }
        };
        match result {
            Ok(answer) => self.node.answer(answer, self.now),
            Err(failure) => self.node.failed(failure, self.now),
        }
    }

    /// A good link again: how many messages until both ends are at one?
    fn settle(&mut self) -> usize {
        for body in std::mem::take(&mut self.control.delayed) {
            self.control.take(&body);
        }
        let mut heartbeats = 0;
        for messages in 0..20 {
            if self.node.next_deadline().is_some() {
                self.message(Fate::Delivered);
                continue;
            }
            if self.node.position() == self.control.receiver.position() {
                return messages;
            }
            // A heartbeat finds that the control plane holds another table.
            heartbeats += 1;
            assert_eq!(heartbeats, 1, "one heartbeat heals");
            self.node.resync(self.now);
        }
        panic!("the ends do not come together: {:?}", self.node.status());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_ends_come_together_whatever_the_link_does(events in prop::collection::vec(any_event(), 0..60)) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
        }
        world.settle();
        prop_assert!(world.node.status().acknowledged);
        let held = world.control.receiver.table();
        prop_assert_eq!(held.records().collect::<Vec<_>>(), records(&world.footprint));
        prop_assert_eq!(&world.control.index, &world.footprint);
        prop_assert_eq!(world.node.position().unwrap().digest, held.digest());
    }

    #[test]
    fn pending_changes_are_bounded_by_the_prefixes(
        steps in prop::collection::vec(any_changes(), 0..100),
    ) {
        let now = Instant::now();
        let mut node = settled(0, now);
        let mut seen = std::collections::BTreeSet::new();
        for changes in steps {
            seen.extend(changes.iter().map(Change::prefix));
            node.changes(changes, now);
            prop_assert!(node.status().pending <= seen.len());
        }
    }
}
