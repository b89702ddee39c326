use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::*;
use crate::wire::{
    Capability, DecodeError, Family, Message, Notification, NotificationCode, Open, Outgoing,
    RouteRefresh, RouteRefreshKind, Update,
};

use Role::{Accepted, Dialled};

mod endings;
mod opens;

pub(super) const LOW: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(super) const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
pub(super) const HIGH: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);

pub(super) fn settings() -> PeerSettings {
    PeerSettings {
        max_prefixes_rest: Duration::from_secs(1800),
        asn: 65100,
        local_asn: 65100,
        router_id: OURS,
        hold_time: 90,
        passive: false,
        connect_retry: Duration::from_secs(60),
        delay_open: Duration::ZERO,
        ipv6: false,
        graceful_restart: true,
        restarted: false,
        long_lived_stale_time: Duration::from_secs(86_400),
        add_path: true,
        role: None,
        ttl_security: false,
        role_strict: false,
    }
}

pub(super) fn their_open(bgp_id: Ipv4Addr) -> Open {
    let capabilities = vec![
        Capability::Multiprotocol(Family::IPV4_UNICAST),
        Capability::FourOctetAs(65100),
        Capability::RouteRefresh,
    ];
    Open { asn: 65100, hold_time: 30, bgp_id, capabilities }
}

pub(super) fn restarting_open() -> Open {
    graceful_open(false)
}

/// With graceful restart; `notification` is the N flag of RFC 8538.
fn graceful_open(notification: bool) -> Open {
    let mut open = their_open(LOW);
    open.capabilities.push(Capability::GracefulRestart {
        restarting: false,
        notification,
        restart_time: 120,
        families: vec![(Family::IPV4_UNICAST, true)],
    });
    open
}

/// Drives a [`Peer`] and prints what it does in short: `dial`, `send dialled OPEN`, `up`, ….
pub(super) struct Fixture {
    pub(super) peer: Peer,
    pub(super) now: Instant,
}

impl Fixture {
    pub(super) fn new(change: impl FnOnce(&mut PeerSettings)) -> Self {
        let mut settings = settings();
        change(&mut settings);
        let peer = Peer::new(settings, SmallRng::seed_from_u64(7));
        Self { peer, now: Instant::now() }
    }

    /// A peer whose dialled connection is established with a neighbor that sent `open`.
    pub(super) fn established(open: Open) -> Self {
        let mut f = Self::new(|_| {});
        f.feed(Event::Start);
        f.feed(Event::Connected);
        f.message(Dialled, Message::Open(open));
        f.message(Dialled, Message::Keepalive);
        assert_eq!(f.peer.state(), State::Established);
        f
    }

    pub(super) fn feed(&mut self, event: Event) -> Vec<String> {
        let mut actions = Vec::new();
        self.peer.handle(event, self.now, &mut actions);
        actions.iter().map(describe).collect()
    }

    pub(super) fn message(&mut self, role: Role, message: Message) -> Vec<String> {
        self.feed(Event::Received(role, message))
    }

    pub(super) fn pass(&mut self, seconds: f64) -> Vec<String> {
        self.now += Duration::from_secs_f64(seconds);
        let mut actions = Vec::new();
        self.peer.handle_timeout(self.now, &mut actions);
        actions.iter().map(describe).collect()
    }

    /// Lets time pass up to the next deadline.
    pub(super) fn wait(&mut self) -> (Duration, Vec<String>) {
        let at = self.peer.next_deadline().expect("something to wait for");
        let waited = at.saturating_duration_since(self.now);
        (waited, self.pass(waited.as_secs_f64()))
    }
}

fn describe(action: &Action) -> String {
    let role = |role: &Role| if *role == Dialled { "dialled" } else { "accepted" };
    match action {
        Action::Dial => "dial".to_owned(),
        Action::AbortDial => "abort dial".to_owned(),
        Action::Accept => "accept".to_owned(),
        Action::Refuse(Refused::Idle) => "refuse: idle".to_owned(),
        Action::Refuse(Refused::Established) => "refuse: established".to_owned(),
        Action::Send(to, Outgoing::Notification(n)) => {
            format!("send {} {}/{}", role(to), u8::from(n.code), n.subcode)
        }
        Action::Send(to, Outgoing::Open(_)) => format!("send {} OPEN", role(to)),
        Action::Send(to, Outgoing::Keepalive) => format!("send {} KEEPALIVE", role(to)),
        Action::Send(to, Outgoing::RouteRefreshRequest(family)) => {
            format!("send {} REFRESH {family}", role(to))
        }
        Action::Send(to, Outgoing::EndOfRib(family)) => format!("send {} EoR {family}", role(to)),
        Action::Close(which) => format!("close {}", role(which)),
        Action::Up(_) => "up".to_owned(),
        Action::Update(_) => "update".to_owned(),
        Action::RefreshMarker(_) => "marker".to_owned(),
        Action::Failed(error) => format!("failed: {}", error.text),
        Action::Down(Retention::Keep { at_least, restart, long_lived }) => {
            let restart_time = restart.iter().map(|(_, time)| *time).max();
            let mut words = format!("down, keep {}", restart_time.unwrap_or(*at_least).as_secs());
            for (family, time) in long_lived {
                words.push_str(&format!(" + {} of {family}", time.as_secs()));
            }
            words
        }
        Action::Down(Retention::Withdraw) => "down, withdraw".to_owned(),
    }
}

pub(super) fn cease(subcode: u8) -> Message {
    Message::Notification(Notification::new(NotificationCode::Cease, subcode))
}

pub(super) fn request() -> Message {
    let kind = RouteRefreshKind::Request;
    Message::RouteRefresh(RouteRefresh { family: Family::IPV4_UNICAST, kind })
}

#[test]
fn the_way_up_by_dialling() {
    let mut f = Fixture::new(|_| {});
    assert_eq!(f.peer.state(), State::Idle);
    assert_eq!(f.feed(Event::Start), ["dial"]);
    assert_eq!(f.peer.state(), State::Connect);
    assert_eq!(f.feed(Event::Connected), ["send dialled OPEN"]);
    assert_eq!(f.peer.state(), State::OpenSent);
    let open = Message::Open(their_open(LOW));
    assert_eq!(f.message(Dialled, open), ["send dialled KEEPALIVE"]);
    assert_eq!(f.peer.state(), State::OpenConfirm);
    assert_eq!(f.message(Dialled, Message::Keepalive), ["up"]);
    assert_eq!(f.peer.state(), State::Established);
    assert_eq!(f.message(Dialled, Message::Update(Update::default())), ["update"]);
    assert_eq!(f.peer.negotiated(Dialled).unwrap().hold_time, 30);
}

/// The short way of an UPDATE is open where the long one leads to its routes, and does the same.
#[test]
fn an_update_is_taken_when_established_only_and_starts_the_hold_timer_anew() {
    let mut f = Fixture::new(|_| {});
    f.feed(Event::Start);
    f.feed(Event::Connected);
    assert!(!f.peer.takes_update(Dialled, f.now), "OpenSent");
    f.message(Dialled, Message::Open(their_open(LOW)));
    assert!(!f.peer.takes_update(Dialled, f.now), "OpenConfirm");
    f.message(Dialled, Message::Keepalive);
    assert!(!f.peer.takes_update(Accepted, f.now), "there is no such connection");
    f.now += Duration::from_secs(7);
    assert!(f.peer.takes_update(Dialled, f.now));
    let short = f.peer.timers().hold;
    f.message(Dialled, Message::Update(Update::default()));
    assert_eq!((short, short), (f.peer.timers().hold, Some(f.now + Duration::from_secs(30))));
}

#[test]
fn the_way_up_when_passive() {
    let mut f = Fixture::new(|settings| settings.passive = true);
    assert!(f.feed(Event::Start).is_empty());
    assert_eq!(f.peer.state(), State::Active);
    assert_eq!(f.peer.next_deadline(), None);
    assert_eq!(f.feed(Event::Incoming), ["accept", "send accepted OPEN"]);
    let open = Message::Open(their_open(LOW));
    assert_eq!(f.message(Accepted, open), ["send accepted KEEPALIVE"]);
    assert_eq!(f.message(Accepted, Message::Keepalive), ["up"]);
}

#[test]
fn end_of_rib_is_sent_to_who_knows_it() {
    let mut f = Fixture::new(|_| {});
    f.feed(Event::Start);
    f.feed(Event::Connected);
    f.message(Dialled, Message::Open(restarting_open()));
    let up = f.message(Dialled, Message::Keepalive);
    assert_eq!(up, ["send dialled EoR ipv4-unicast", "up"]);
}

/// RFC 4271 §8.2.2 from OpenSent on: what each message does in each state.
#[test]
fn messages_by_state() {
    let fsm = |subcode: u8, kind: u8| {
        let words = Notification {
            code: NotificationCode::FiniteStateMachine,
            subcode,
            data: bytes::Bytes::copy_from_slice(&[kind]),
        };
        vec![
            format!("send dialled 5/{subcode}"),
            "close dialled".to_owned(),
            format!("failed: {words}"),
        ]
    };
    let open = || Message::Open(their_open(LOW));
    let update = || Message::Update(Update::default());
    let lines = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>();
    for (message, open_sent, open_confirm, established) in [
        (open(), lines(&["send dialled KEEPALIVE"]), fsm(2, 1), fsm(3, 1)),
        (Message::Keepalive, fsm(1, 4), lines(&["up"]), lines(&[])),
        (update(), fsm(1, 2), fsm(2, 2), lines(&["update"])),
        (request(), fsm(1, 5), fsm(2, 5), lines(&[])),
    ] {
        for (state, expected) in [open_sent, open_confirm, established].into_iter().enumerate() {
            let mut f = Fixture::new(|_| {});
            f.feed(Event::Start);
            f.feed(Event::Connected);
            for message in [open(), Message::Keepalive].into_iter().take(state) {
                f.message(Dialled, message);
            }
            let mut expected = expected;
            if state == 2 && expected.len() == 3 {
                expected.push("down, keep 0".to_owned());
            }
            assert_eq!(f.message(Dialled, message.clone()), expected, "{message:?} in {state}");
        }
    }
}

#[test]
fn a_received_notification_ends_every_state_and_is_not_answered() {
    for state in 0..3 {
        let mut f = Fixture::new(|_| {});
        f.feed(Event::Start);
        f.feed(Event::Connected);
        for message in [Message::Open(their_open(LOW)), Message::Keepalive].into_iter().take(state)
        {
            f.message(Dialled, message);
        }
        let expired = Notification::new(NotificationCode::HoldTimerExpired, 0);
        let actions = f.message(Dialled, Message::Notification(expired));
        assert_eq!(actions[..2], ["close dialled", "failed: Hold Timer Expired"]);
        assert_eq!(actions.len(), if state == 2 { 3 } else { 2 });
        assert_eq!(f.peer.state(), State::Idle);
    }
}

/// Two connections, the first one in OpenConfirm; then the OPEN comes on the second.
fn collide(first: Role, their_id: Ipv4Addr) -> (Fixture, Vec<String>) {
    let mut f = Fixture::new(|_| {});
    f.feed(Event::Start);
    assert_eq!(f.feed(Event::Incoming), ["accept", "send accepted OPEN"]);
    assert_eq!(f.feed(Event::Connected), ["send dialled OPEN"]);
    let second = if first == Dialled { Accepted } else { Dialled };
    f.message(first, Message::Open(their_open(their_id)));
    let actions = f.message(second, Message::Open(their_open(their_id)));
    (f, actions)
}

#[test]
fn of_two_connections_the_one_of_the_higher_identifier_stays() {
    let (_, actions) = collide(Dialled, HIGH);
    assert_eq!(actions, ["send dialled 6/7", "close dialled", "send accepted KEEPALIVE"]);
    let (_, actions) = collide(Accepted, HIGH);
    assert_eq!(actions, ["send dialled 6/7", "close dialled"]);
    let (_, actions) = collide(Dialled, LOW);
    assert_eq!(actions, ["send accepted 6/7", "close accepted"]);
    let (mut f, actions) = collide(Accepted, LOW);
    assert_eq!(actions, ["send accepted 6/7", "close accepted", "send dialled KEEPALIVE"]);
    assert_eq!(f.message(Dialled, Message::Keepalive), ["up"]);
}

#[test]
fn an_established_connection_wins_always() {
    let mut f = Fixture::new(|_| {});
    f.feed(Event::Start);
    f.feed(Event::Incoming);
    f.feed(Event::Connected);
    f.message(Dialled, Message::Open(their_open(HIGH)));
    let actions = f.message(Dialled, Message::Keepalive);
    assert_eq!(actions, ["send accepted 6/7", "close accepted", "up"]);
    assert_eq!(f.feed(Event::Incoming), ["refuse: established"]);
}

#[test]
fn a_dial_under_way_is_dropped_when_the_other_connection_comes_up() {
    let mut f = Fixture::new(|_| {});
    f.feed(Event::Start);
    f.feed(Event::Incoming);
    f.message(Accepted, Message::Open(their_open(LOW)));
    assert_eq!(f.message(Accepted, Message::Keepalive), ["abort dial", "up"]);
}

#[test]
fn losing_a_collision_on_their_side_leaves_the_door_open() {
    let mut f = Fixture::new(|_| {});
    f.feed(Event::Start);
    f.feed(Event::Connected);
    f.message(Dialled, cease(7));
    assert_eq!(f.peer.state(), State::Active);
    assert_eq!(f.feed(Event::Incoming), ["accept", "send accepted OPEN"]);
}

#[test]
fn the_neighbor_dials_again_before_its_first_connection_got_anywhere() {
    let mut f = Fixture::new(|settings| settings.passive = true);
    f.feed(Event::Start);
    f.feed(Event::Incoming);
    let actions = f.feed(Event::Incoming);
    assert_eq!(actions, ["send accepted 6/7", "close accepted", "accept", "send accepted OPEN"]);
}

#[test]
fn a_new_connection_of_a_gracefully_restarting_router_replaces_the_old_one() {
    let mut f = Fixture::established(restarting_open());
    assert_eq!(f.feed(Event::Incoming), ["refuse: established"], "a late collision");
    f.now += Duration::from_secs(6);
    let actions = f.feed(Event::Incoming);
    assert_eq!(actions[0], "close dialled", "without a NOTIFICATION");
    assert_eq!(actions[2..], ["down, keep 120", "accept", "send accepted OPEN"]);
    f.message(Accepted, Message::Open(restarting_open()));
    assert_eq!(f.message(Accepted, Message::Keepalive).last().unwrap(), "up");
}

#[test]
fn every_failure_waits_longer() {
    let refuse = |f: &mut Fixture| {
        f.feed(Event::Connected);
        let open = Open { asn: 1, ..their_open(LOW) };
        assert_eq!(f.message(Dialled, Message::Open(open))[0], "send dialled 2/2");
        assert_eq!(f.peer.state(), State::Idle);
        assert_eq!(f.feed(Event::Incoming), ["refuse: idle"]);
    };
    let mut f = Fixture::new(|_| {});
    f.feed(Event::Start);
    for full in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0] {
        refuse(&mut f);
        let (waited, actions) = f.wait();
        let waited = waited.as_secs_f64();
        assert!((full * 0.75..=full).contains(&waited), "{waited} of {full}");
        assert_eq!(actions, ["dial"]);
    }
}

#[test]
fn a_refused_dial_is_tried_again_and_incoming_connections_are_welcome() {
    let mut f = Fixture::new(|_| {});
    f.feed(Event::Start);
    let failed = f.feed(Event::DialFailed { text: "connection refused".to_owned(), advice: None });
    assert_eq!(failed, ["failed: connection refused"]);
    assert_eq!(f.peer.state(), State::Active);
    assert_eq!(f.wait().1, ["dial"]);
    // Nobody answers.
    let (waited, actions) = f.wait();
    assert_eq!(waited, Duration::from_secs(30));
    assert_eq!(actions[0], "abort dial");
    assert!(actions[1].contains("no answer for 30 s"), "{actions:?}");
    assert_eq!(f.feed(Event::Incoming), ["accept", "send accepted OPEN"]);
    assert_eq!(f.wait().0, Duration::from_secs(240), "no dial while their connection is alive");
}

#[test]
fn a_router_that_hangs_up_before_its_open_is_let_in_when_it_dials() {
    let mut f = Fixture::new(|_| {});
    f.feed(Event::Start);
    for full in [1.0, 2.0, 4.0] {
        f.feed(Event::Connected);
        f.feed(Event::Closed(Dialled, "reset".to_owned()));
        assert_eq!(f.peer.state(), State::Active, "RFC 4271 §8.2.2, event 18");
        let (waited, actions) = f.wait();
        let waited = waited.as_secs_f64();
        assert!((full * 0.75..=full).contains(&waited), "{waited} of {full}");
        assert_eq!(actions, ["dial"], "no storm of connections");
    }
    assert_eq!(f.feed(Event::Incoming), ["accept", "send accepted OPEN"]);
}

#[test]
fn a_session_that_lasted_ends_the_row_of_failures() {
    let mut f = Fixture::new(|_| {});
    f.feed(Event::Start);
    for _ in 0..5 {
        f.feed(Event::DialFailed { text: String::new(), advice: None });
        f.wait();
    }
    f.feed(Event::Connected);
    f.message(Dialled, Message::Open(Open { hold_time: 0, ..their_open(LOW) }));
    f.message(Dialled, Message::Keepalive);
    f.now += Duration::from_secs(61);
    f.feed(Event::Closed(Dialled, "gone".to_owned()));
    assert!(f.wait().0 <= Duration::from_secs(1));
}

#[test]
fn silence_ends_the_session_and_keepalives_go_on_until_then() {
    let mut f = Fixture::established(their_open(LOW));
    let begin = f.now;
    let mut keepalives = 0;
    let end = loop {
        let (_, actions) = f.wait();
        if actions != ["send dialled KEEPALIVE"] {
            break actions;
        }
        keepalives += 1;
    };
    assert_eq!(f.now - begin, Duration::from_secs(30));
    // Every 7.5 to 10 s.
    assert!((2..=4).contains(&keepalives), "{keepalives}");
    assert_eq!(end[0], "send dialled 4/0");
    assert_eq!(end.last().unwrap(), "down, keep 0");
}

#[test]
fn whatever_comes_in_restarts_the_hold_time() {
    for message in [Message::Keepalive, Message::Update(Update::default()), request()] {
        let mut f = Fixture::established(their_open(LOW));
        f.now += Duration::from_secs(29);
        f.message(Dialled, message);
        assert!(!f.pass(29.0).iter().any(|action| action.contains("4/0")));
        assert_eq!(f.pass(1.0)[0], "send dialled 4/0");
    }
    let mut f = Fixture::established(their_open(LOW));
    f.now += Duration::from_secs(40);
    f.peer.reading_was_paused(f.now);
    assert_eq!(f.pass(0.0), ["send dialled KEEPALIVE"], "our own pause is not its silence");
}

#[test]
fn a_hold_time_of_zero_never_ends() {
    let f = Fixture::established(Open { hold_time: 0, ..their_open(LOW) });
    assert_eq!(f.peer.next_deadline(), None);
}

#[test]
fn a_neighbor_without_an_open_is_given_up() {
    let mut f = Fixture::new(|_| {});
    f.feed(Event::Start);
    f.feed(Event::Connected);
    let (waited, actions) = f.wait();
    assert_eq!(waited, Duration::from_secs(240));
    assert_eq!(actions[0], "send dialled 4/0");
}

#[test]
fn stopping() {
    let mut f = Fixture::established(restarting_open());
    let text = Some("maintenance".to_owned());
    let actions = f.feed(Event::Stop(StopReason::Shutdown(text)));
    assert_eq!(
        actions,
        [
            "send dialled 6/2",
            "close dialled",
            "failed: Cease / Administrative Shutdown: maintenance",
            "down, keep 0"
        ]
    );
    assert_eq!(f.peer.next_deadline(), None);
    assert_eq!(f.feed(Event::Incoming), ["refuse: idle"]);

    let mut f = Fixture::established(their_open(LOW));
    let actions = f.feed(Event::Stop(StopReason::Reset));
    assert_eq!(actions.first().unwrap(), "send dialled 6/4");
    assert_eq!(actions.last().unwrap(), "dial", "it starts again at once");

    let mut f = Fixture::established(their_open(LOW));
    let actions = f.feed(Event::Stop(StopReason::MaxPrefixes { limit: 1000 }));
    assert_eq!(actions.first().unwrap(), "send dialled 6/1");
    assert_eq!(actions.last().unwrap(), "down, withdraw");
    assert_eq!(f.wait().0, Duration::from_secs(1800));

    // `reset` ends the rest.
    let mut f = Fixture::established(their_open(LOW));
    f.feed(Event::Stop(StopReason::MaxPrefixes { limit: 1000 }));
    assert_eq!(f.feed(Event::Stop(StopReason::Reset)), ["dial"]);
}

#[test]
fn refresh_is_asked_for_only_where_it_is_understood() {
    let mut actions = Vec::new();
    let f = Fixture::established(their_open(LOW));
    assert_eq!(f.peer.request_refresh(&mut actions), Ok(()));
    assert_eq!(
        actions.iter().map(describe).collect::<Vec<_>>(),
        ["send dialled REFRESH ipv4-unicast"]
    );
    let f = Fixture::established(Open { capabilities: vec![], ..their_open(LOW) });
    assert_eq!(f.peer.request_refresh(&mut actions), Err(CannotRefresh::NotNegotiated));
    let f = Fixture::new(|_| {});
    assert_eq!(f.peer.request_refresh(&mut actions), Err(CannotRefresh::NotEstablished));
}

/// RFC 7313 §5: a marker is one only where both sides said so, and of a family that was agreed on.
#[test]
fn refresh_markers_count_where_they_were_agreed_on() {
    let marker = |family, kind| Message::RouteRefresh(RouteRefresh { family, kind });
    let begin = |family| marker(family, RouteRefreshKind::BeginningOfRefresh);
    let mut f = Fixture::established(their_open(LOW));
    assert!(f.message(Dialled, begin(Family::IPV4_UNICAST)).is_empty());
    let mut open = their_open(LOW);
    open.capabilities.push(Capability::EnhancedRouteRefresh);
    let mut f = Fixture::established(open);
    assert_eq!(f.message(Dialled, begin(Family::IPV4_UNICAST)), ["marker"]);
    let end = marker(Family::IPV4_UNICAST, RouteRefreshKind::EndOfRefresh);
    assert_eq!(f.message(Dialled, end), ["marker"]);
    assert!(f.message(Dialled, begin(Family::IPV6_UNICAST)).is_empty());
    let unknown = marker(Family::IPV4_UNICAST, RouteRefreshKind::Unknown(9));
    assert!(f.message(Dialled, unknown).is_empty());
}

#[test]
fn keepalives_come_once_a_second_at_most() {
    let mut f = Fixture::established(Open { hold_time: 3, ..their_open(LOW) });
    for _ in 0..20 {
        assert_eq!(f.wait(), (Duration::from_secs(1), vec!["send dialled KEEPALIVE".to_owned()]));
        f.message(Dialled, Message::Keepalive);
    }
}

#[test]
fn bytes_that_are_no_message_are_answered_with_what_the_decoder_says() {
    let mut f = Fixture::established(their_open(LOW));
    let notification = Notification::new(NotificationCode::MessageHeader, 1);
    let error = DecodeError { reason: "marker is not all ones", offset: 3, notification };
    let actions = f.feed(Event::Malformed(Dialled, error));
    assert_eq!(actions[0], "send dialled 1/1");
    assert!(actions[2].contains("marker is not all ones"), "{actions:?}");
}
