//! RFC 4271 §8.2.2 as a table: every event in every state, with the next state and the actions.
//!
//! The RFC's machine is one connection; ours is a neighbor with up to two, in the state of the one
//! that has come further. Each cell says whether that is as the RFC has it:
//! * `Rfc(state, actions)`: yes;
//! * `Ours(state, actions, reason)`: no, and why;
//! * `Never(reason)`: our machine has no such thing in this state. That is tried as well: see
//!   [`cannot_happen`].

use std::time::Duration;

use super::tests::{Fixture, HIGH, LOW, their_open};
use super::*;
use crate::wire::{DecodeError, Message, Notification, Update};

use Role::{Accepted, Dialled};
use State::{Active, Connect, Established, Idle, OpenConfirm, OpenSent};

/// What an event leads to. Actions are in order, without the connection that they are about; a
/// refusal and a failure without their words.
enum Cell {
    Rfc(State, &'static str),
    Ours(State, &'static str, &'static str),
    Never(&'static str),
}
use Cell::{Never, Ours, Rfc};

/// How the states are reached.
#[derive(Clone, Copy)]
enum Way {
    /// By dialling. In Connect a dial is under way, in Active the next one waits.
    Dials,
    /// By being dialled, with `passive`.
    IsDialled,
    /// With `delay_open`: in Connect there is a connection that we dialled, in Active one that the
    /// neighbor dialled, and on both our OPEN is held back.
    HoldsBack,
    /// By being dialled, with a dial of ours still under way.
    BothDial,
    /// By dialling; Idle is the rest after a failure.
    Rests,
}

struct Row {
    /// Numbers and names of RFC 4271 §8.1 that are one to us.
    events: &'static [(u8, &'static str)],
    way: Way,
    happens: fn(&mut Fixture, Role) -> Vec<String>,
    /// Idle, Connect, Active, OpenSent, OpenConfirm, Established.
    cells: [Cell; 6],
}

const STATES: [State; 6] = [Idle, Connect, Active, OpenSent, OpenConfirm, Established];

const NO_CONNECTION: &str = "there is no connection yet: with one our OPEN is out, or held back";
const NO_DIAL: &str = "there is no dial under way";
const NOT_HELD_BACK: &str = "our OPEN is out, so the DelayOpenTimer does not run";
const NEIGHBOR_MAY_DIAL: &str =
    "RFC: Idle. We stay where the neighbor can dial us, and dial again by our back-off";
const ONE_ERROR_FOR_ONE_FAULT: &str =
    "RFC: 5/3. §6.1 has a code that says more, and all routers send it";
const NEVER_ANSWERED: &str = "RFC: a NOTIFICATION with 5/0. One is never answered with another";

/// The table. Times are those of the fixture: hold time 30 s, DelayOpenTime 5 s.
fn table() -> Vec<Row> {
    vec![
        Row {
            events: &[
                (1, "ManualStart"),
                (3, "AutomaticStart"),
                (6, "AutomaticStart_with_DampPeerOscillations"),
            ],
            way: Way::Dials,
            happens: |f, _| f.feed(Event::Start),
            cells: [
                Rfc(Connect, "dial"),
                Rfc(Connect, ""),
                Rfc(Active, ""),
                Rfc(OpenSent, ""),
                Rfc(OpenConfirm, ""),
                Rfc(Established, ""),
            ],
        },
        Row {
            events: &[
                (4, "ManualStart_with_PassiveTcpEstablishment"),
                (5, "AutomaticStart_with_PassiveTcpEstablishment"),
                (7, "AutomaticStart_with_DampPeerOscillations_and_PassiveTcpEstablishment"),
            ],
            way: Way::IsDialled,
            happens: |f, _| f.feed(Event::Start),
            cells: [
                Rfc(Active, ""),
                Never("a passive peer does not dial"),
                Rfc(Active, ""),
                Rfc(OpenSent, ""),
                Rfc(OpenConfirm, ""),
                Rfc(Established, ""),
            ],
        },
        Row {
            events: &[(2, "ManualStop")],
            way: Way::Dials,
            happens: |f, _| f.feed(Event::Stop(StopReason::Shutdown(None))),
            cells: [
                Rfc(Idle, ""),
                Rfc(Idle, "abort dial"),
                Rfc(Idle, ""),
                Rfc(Idle, "send 6/2; close; failed"),
                Rfc(Idle, "send 6/2; close; failed"),
                Rfc(Idle, "send 6/2; close; failed; down, keep 0"),
            ],
        },
        Row {
            events: &[(8, "AutomaticStop")],
            way: Way::Dials,
            happens: |f, _| f.feed(Event::Stop(StopReason::MaxPrefixes { limit: 1 })),
            cells: [
                Rfc(Idle, ""),
                Rfc(Idle, "abort dial"),
                Rfc(Idle, ""),
                Rfc(Idle, "send 6/1; close; failed"),
                Rfc(Idle, "send 6/1; close; failed"),
                Rfc(Idle, "send 6/1; close; failed; down, withdraw"),
            ],
        },
        Row {
            events: &[(9, "ConnectRetryTimer_Expires")],
            way: Way::Dials,
            happens: |f, _| f.pass_to_deadline(),
            cells: [
                Rfc(Idle, ""),
                Ours(
                    Active,
                    "abort dial; failed",
                    "RFC: Connect, a new dial at once. It waits by its back-off first",
                ),
                Rfc(Connect, "dial"),
                Never("it stops when the connection is there"),
                Never("it stops when the connection is there"),
                Never("it stops when the connection is there"),
            ],
        },
        Row {
            events: &[(10, "HoldTimer_Expires")],
            way: Way::Dials,
            happens: |f, _| {
                let open_wait = if f.peer.state() == OpenSent { 240.0 } else { 30.0 };
                f.pass(open_wait)
            },
            cells: [
                Rfc(Idle, ""),
                Never("it begins with our OPEN"),
                Never("it begins with our OPEN"),
                Rfc(Idle, "send 4/0; close; failed"),
                Rfc(Idle, "send 4/0; close; failed"),
                Rfc(Idle, "send 4/0; close; failed; down, keep 0"),
            ],
        },
        Row {
            events: &[(11, "KeepaliveTimer_Expires")],
            way: Way::Dials,
            happens: |f, _| f.pass(10.0),
            cells: [
                Rfc(Idle, ""),
                Never("it begins with the neighbor's OPEN"),
                Never("it begins with the neighbor's OPEN"),
                Never("it begins with the neighbor's OPEN"),
                Rfc(OpenConfirm, "send KEEPALIVE"),
                Rfc(Established, "send KEEPALIVE"),
            ],
        },
        Row {
            events: &[(12, "DelayOpenTimer_Expires")],
            way: Way::HoldsBack,
            happens: |f, _| f.pass(5.0),
            cells: [
                Rfc(Idle, ""),
                Rfc(OpenSent, "send OPEN"),
                Rfc(OpenSent, "send OPEN"),
                Never(NOT_HELD_BACK),
                Never(NOT_HELD_BACK),
                Never(NOT_HELD_BACK),
            ],
        },
        Row {
            events: &[(13, "IdleHoldTimer_Expires")],
            way: Way::Rests,
            happens: |f, _| f.pass_to_deadline(),
            cells: [
                Rfc(Connect, "dial"),
                Never("it ends with Idle"),
                Never("it ends with Idle"),
                Never("it ends with Idle"),
                Never("it ends with Idle"),
                Never("it ends with Idle"),
            ],
        },
        Row {
            events: &[(14, "TcpConnection_Valid"), (15, "Tcp_CR_Invalid")],
            way: Way::Dials,
            happens: |_, _| Vec::new(),
            cells: std::array::from_fn(|_| {
                Never(
                    "the system answers a SYN; the listener closes what comes from a stranger; a \
                     peer hears of a connection when it is there (event 17)",
                )
            }),
        },
        Row {
            events: &[(16, "Tcp_CR_Acked")],
            way: Way::Dials,
            happens: |f, _| f.feed(Event::Connected),
            cells: [
                Never("the dial was dropped on the way to Idle"),
                Rfc(OpenSent, "send OPEN"),
                Never(NO_DIAL),
                Never(NO_DIAL),
                Never(NO_DIAL),
                Never(NO_DIAL),
            ],
        },
        Row {
            events: &[(16, "Tcp_CR_Acked, and DelayOpen")],
            way: Way::Dials,
            happens: |f, _| {
                *f = Fixture::new(|settings| settings.delay_open = Duration::from_secs(5));
                f.feed(Event::Start);
                f.feed(Event::Connected)
            },
            cells: [
                Never("the dial was dropped on the way to Idle"),
                Rfc(Connect, ""),
                Never(NO_DIAL),
                Never(NO_DIAL),
                Never(NO_DIAL),
                Never(NO_DIAL),
            ],
        },
        Row {
            events: &[(16, "Tcp_CR_Acked, as a second connection")],
            way: Way::BothDial,
            happens: |f, _| f.feed(Event::Connected),
            cells: [
                Never("there is no first one"),
                Never("there is no first one"),
                Never("there is no first one"),
                Rfc(OpenSent, "send OPEN"),
                Rfc(OpenConfirm, "send OPEN"),
                Never("the dial was dropped on the way to Established"),
            ],
        },
        Row {
            events: &[(17, "TcpConnectionConfirmed")],
            way: Way::Dials,
            happens: |f, _| f.feed(Event::Incoming),
            cells: [
                Rfc(Idle, "refuse"),
                Rfc(OpenSent, "accept; send OPEN"),
                Rfc(OpenSent, "accept; send OPEN"),
                Rfc(OpenSent, "accept; send OPEN"),
                Rfc(OpenConfirm, "accept; send OPEN"),
                Rfc(Established, "refuse"),
            ],
        },
        Row {
            events: &[(18, "TcpConnectionFails")],
            way: Way::Dials,
            happens: |f, role| match f.peer.state() {
                Connect => f.feed(Event::DialFailed { text: "refused".to_owned(), advice: None }),
                _ => f.feed(Event::Closed(role, "reset".to_owned())),
            },
            cells: [
                Rfc(Idle, ""),
                Ours(Active, "failed", NEIGHBOR_MAY_DIAL),
                Never(NO_CONNECTION),
                Rfc(Active, "close; failed"),
                Rfc(Idle, "close; failed"),
                Rfc(Idle, "close; failed; down, keep 0"),
            ],
        },
        Row {
            events: &[(18, "TcpConnectionFails, and DelayOpenTimer runs")],
            way: Way::HoldsBack,
            happens: |f, role| f.feed(Event::Closed(role, "reset".to_owned())),
            cells: [
                Rfc(Idle, ""),
                Rfc(Active, "close; failed"),
                Ours(Active, "close; failed", NEIGHBOR_MAY_DIAL),
                Never(NOT_HELD_BACK),
                Never(NOT_HELD_BACK),
                Never(NOT_HELD_BACK),
            ],
        },
        Row {
            events: &[(19, "BGPOpen")],
            way: Way::Dials,
            happens: |f, role| f.message(role, Message::Open(their_open(LOW))),
            cells: [
                Rfc(Idle, ""),
                Never(NO_CONNECTION),
                Never(NO_CONNECTION),
                Rfc(OpenConfirm, "send KEEPALIVE"),
                Ours(
                    Idle,
                    "send 5/2; close; failed",
                    "RFC: collision detection. It is done when the OPEN comes on the other \
                     connection; a second one on this is a fault (RFC 6608)",
                ),
                Rfc(Idle, "send 5/3; close; failed; down, keep 0"),
            ],
        },
        Row {
            events: &[(20, "BGPOpen with DelayOpenTimer running")],
            way: Way::HoldsBack,
            happens: |f, role| f.message(role, Message::Open(their_open(LOW))),
            cells: [
                Rfc(Idle, ""),
                Rfc(OpenConfirm, "send OPEN; send KEEPALIVE"),
                Rfc(OpenConfirm, "send OPEN; send KEEPALIVE"),
                Never(NOT_HELD_BACK),
                Never(NOT_HELD_BACK),
                Never(NOT_HELD_BACK),
            ],
        },
        // The attribute SendNOTIFICATIONwithoutOPEN is true: the other operator is to read why.
        Row {
            events: &[(21, "BGPHeaderErr")],
            way: Way::HoldsBack,
            happens: |f, role| f.feed(malformed(role, 1, 1)),
            cells: [
                Rfc(Idle, ""),
                Rfc(Idle, "send 1/1; close; failed"),
                Rfc(Idle, "send 1/1; close; failed"),
                Rfc(Idle, "send 1/1; close; failed"),
                Rfc(Idle, "send 1/1; close; failed"),
                Ours(Idle, "send 1/1; close; failed; down, keep 0", ONE_ERROR_FOR_ONE_FAULT),
            ],
        },
        Row {
            events: &[(22, "BGPOpenMsgErr")],
            way: Way::HoldsBack,
            happens: |f, role| f.feed(malformed(role, 2, 1)),
            cells: [
                Rfc(Idle, ""),
                Rfc(Idle, "send 2/1; close; failed"),
                Rfc(Idle, "send 2/1; close; failed"),
                Rfc(Idle, "send 2/1; close; failed"),
                Rfc(Idle, "send 2/1; close; failed"),
                Rfc(Idle, "send 5/3; close; failed; down, keep 0"),
            ],
        },
        // The connection that we dialled loses, and the RFC's machine of it is Idle; the other one
        // goes on, and the neighbor is in its state.
        Row {
            events: &[(23, "OpenCollisionDump")],
            way: Way::BothDial,
            happens: dump_the_dialled,
            cells: [
                Rfc(Idle, ""),
                Never(NO_CONNECTION),
                Never(NO_CONNECTION),
                Rfc(Established, "send 6/7; close; up"),
                Rfc(OpenConfirm, "send 6/7; close; send KEEPALIVE"),
                Never("CollisionDetectEstablishedState is false: it always wins"),
            ],
        },
        Row {
            events: &[(24, "NotifMsgVerErr")],
            way: Way::HoldsBack,
            happens: |f, role| f.message(role, notification(2, 1)),
            cells: [
                Rfc(Idle, ""),
                Rfc(Idle, "close; failed"),
                Rfc(Idle, "close; failed"),
                Rfc(Idle, "close; failed"),
                Rfc(Idle, "close; failed"),
                Rfc(Idle, "close; failed; down, keep 0"),
            ],
        },
        Row {
            events: &[(25, "NotifMsg")],
            way: Way::HoldsBack,
            happens: |f, role| f.message(role, notification(4, 0)),
            cells: [
                Rfc(Idle, ""),
                Rfc(Idle, "close; failed"),
                Rfc(Idle, "close; failed"),
                Ours(Idle, "close; failed", NEVER_ANSWERED),
                Rfc(Idle, "close; failed"),
                Rfc(Idle, "close; failed; down, keep 0"),
            ],
        },
        // As an automatic start after an IdleHoldTime of 0: the neighbor means to come back.
        Row {
            events: &[(25, "NotifMsg of a reset (6/4)")],
            way: Way::HoldsBack,
            happens: |f, role| f.message(role, notification(6, 4)),
            cells: [
                Rfc(Idle, ""),
                Ours(Active, "close; failed", NEIGHBOR_MAY_DIAL),
                Ours(Active, "close; failed", NEIGHBOR_MAY_DIAL),
                Ours(Active, "close; failed", NEIGHBOR_MAY_DIAL),
                Ours(Active, "close; failed", NEIGHBOR_MAY_DIAL),
                Ours(Active, "close; failed; down, keep 0", NEIGHBOR_MAY_DIAL),
            ],
        },
        Row {
            events: &[(26, "KeepAliveMsg")],
            way: Way::HoldsBack,
            happens: |f, role| f.message(role, Message::Keepalive),
            cells: [
                Rfc(Idle, ""),
                Rfc(Idle, "close; failed"),
                Rfc(Idle, "close; failed"),
                Rfc(Idle, "send 5/1; close; failed"),
                Rfc(Established, "up"),
                Rfc(Established, ""),
            ],
        },
        Row {
            events: &[(27, "UpdateMsg")],
            way: Way::HoldsBack,
            happens: |f, role| f.message(role, Message::Update(Update::default())),
            cells: [
                Rfc(Idle, ""),
                Rfc(Idle, "close; failed"),
                Rfc(Idle, "close; failed"),
                Rfc(Idle, "send 5/1; close; failed"),
                Rfc(Idle, "send 5/2; close; failed"),
                Rfc(Established, "update"),
            ],
        },
        // Few malformed UPDATEs are one: most are an Update that says what is wrong (RFC 7606).
        Row {
            events: &[(28, "UpdateMsgErr")],
            way: Way::HoldsBack,
            happens: |f, role| f.feed(malformed(role, 3, 1)),
            cells: [
                Rfc(Idle, ""),
                Rfc(Idle, "close; failed"),
                Rfc(Idle, "close; failed"),
                Rfc(Idle, "send 5/1; close; failed"),
                Rfc(Idle, "send 5/2; close; failed"),
                Rfc(Idle, "send 3/1; close; failed; down, keep 0"),
            ],
        },
    ]
}

fn malformed(role: Role, code: u8, subcode: u8) -> Event {
    let notification = Notification::new(code.into(), subcode);
    Event::Malformed(role, DecodeError { reason: "it is malformed", offset: 0, notification })
}

fn notification(code: u8, subcode: u8) -> Message {
    Message::Notification(Notification::new(code.into(), subcode))
}

/// The connection that the neighbor dialled wins over ours.
fn dump_the_dialled(f: &mut Fixture, _: Role) -> Vec<String> {
    let theirs = || Message::Open(their_open(HIGH));
    match f.peer.state() {
        Idle => f.message(Accepted, theirs()),
        // Ours stays in OpenSent until the other one is established.
        OpenSent => {
            f.feed(Event::Connected);
            f.message(Accepted, theirs());
            f.message(Accepted, Message::Keepalive)
        }
        // Ours is the one in OpenConfirm.
        _ => {
            *f = Fixture::new(|_| {});
            f.feed(Event::Start);
            f.feed(Event::Incoming);
            f.feed(Event::Connected);
            f.message(Dialled, theirs());
            f.message(Accepted, theirs())
        }
    }
}

/// A peer in `state`, and its connection; `None` if it does not get there in this way.
fn reach(state: State, way: Way) -> Option<(Fixture, Role)> {
    let mut f = Fixture::new(|settings| match way {
        // Else a connection is in OpenSent at once.
        Way::HoldsBack if matches!(state, Connect | Active) => {
            settings.delay_open = Duration::from_secs(5);
            settings.passive = state == Active;
        }
        Way::IsDialled => settings.passive = true,
        Way::HoldsBack | Way::Dials | Way::BothDial | Way::Rests => {}
    });
    let role = match (way, state) {
        (Way::IsDialled | Way::BothDial, _) | (Way::HoldsBack, Active) => Accepted,
        _ => Dialled,
    };
    if !matches!((state, way), (Idle, Way::Dials | Way::HoldsBack | Way::IsDialled | Way::BothDial))
    {
        f.feed(Event::Start);
    }
    let connect = |f: &mut Fixture| {
        f.feed(if role == Accepted { Event::Incoming } else { Event::Connected });
    };
    match (state, way) {
        (Idle, Way::Rests) => {
            connect(&mut f);
            f.feed(malformed(role, 1, 1));
        }
        (Connect | Active, Way::HoldsBack) => connect(&mut f),
        (Active, Way::Dials | Way::BothDial | Way::Rests) => {
            f.feed(Event::DialFailed { text: "refused".to_owned(), advice: None });
        }
        (Idle | Connect | Active, _) => {}
        (OpenSent | OpenConfirm | Established, _) => connect(&mut f),
    }
    if matches!(state, OpenConfirm | Established) {
        f.message(role, Message::Open(their_open(LOW)));
    }
    if state == Established {
        f.message(role, Message::Keepalive);
    }
    (f.peer.state() == state).then_some((f, role))
}

/// Shows that what a row is about is not there: its timer does not run, its connection does not exist;
/// or else that the event, if it came all the same, would do nothing but close what is not wanted.
fn cannot_happen(row: &Row, f: &mut Fixture, role: Role) -> bool {
    let state = f.peer.state();
    let has = |f: &mut Fixture, role| !f.feed(Event::Closed(role, "gone".to_owned())).is_empty();
    match row.events[0] {
        (9, _) => f.peer.retries_at().is_none(),
        (10, _) => f.peer.timers().hold.is_none(),
        (11, _) => f.peer.timers().keepalive.is_none(),
        (12 | 20, _) | (18, "TcpConnectionFails, and DelayOpenTimer runs") => {
            !f.pass(5.0).iter().any(|action| action.contains("OPEN"))
        }
        (13, _) => state != Idle,
        (16, "Tcp_CR_Acked, as a second connection") if state != Established => !has(f, Accepted),
        (23, _) if state == Established => f.feed(Event::Incoming) == ["refuse: established"],
        (23, _) => !has(f, Dialled) && !has(f, Accepted),
        (number, _) => {
            let done = match number {
                16 => f.feed(Event::Connected),
                _ => (row.happens)(f, role),
            };
            f.peer.state() == state && done.iter().all(|action| action == "close dialled")
        }
    }
}

/// Without the connection, and without the words of a failure or refusal.
fn short(actions: &[String]) -> String {
    let short = actions.iter().map(|action| {
        let action = action.replace(" dialled", "").replace(" accepted", "");
        match action.split_once(": ") {
            Some((what, _words)) => what.to_owned(),
            None => action,
        }
    });
    short.collect::<Vec<_>>().join("; ")
}

impl Fixture {
    /// Lets time pass up to the next deadline, or for an hour if there is none.
    fn pass_to_deadline(&mut self) -> Vec<String> {
        match self.peer.next_deadline() {
            Some(_) => self.wait().1,
            None => self.pass(3600.0),
        }
    }
}

#[test]
fn every_event_in_every_state() {
    for row in table() {
        for (state, cell) in STATES.into_iter().zip(&row.cells) {
            let (next, actions) = match cell {
                Rfc(next, actions) => (next, actions),
                Ours(next, actions, reason) => {
                    assert!(!reason.is_empty());
                    (next, actions)
                }
                Never(reason) => {
                    assert!(!reason.is_empty());
                    if let Some((mut f, role)) = reach(state, row.way) {
                        let proof = cannot_happen(&row, &mut f, role);
                        assert!(proof, "{:?} in {state:?}: {reason}", row.events);
                    }
                    continue;
                }
            };
            let (mut f, role) = reach(state, row.way).expect("a way there");
            let done = (row.happens)(&mut f, role);
            let found = (f.peer.state(), short(&done));
            let expected = (*next, (*actions).to_owned());
            assert_eq!(found, expected, "{:?} in {state:?}", row.events);
        }
    }
}

/// Each event of RFC 4271 §8.1 has a row.
#[test]
fn no_event_is_forgotten() {
    let mut numbers: Vec<_> =
        table().iter().flat_map(|row| row.events).map(|(number, _)| *number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (1..=28).collect::<Vec<_>>());
}
