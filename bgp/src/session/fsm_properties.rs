//! Whatever happens, in whatever order: what the state machine never does, and what it always does.

use std::time::Duration;

use mcc_config::BgpRole;
use proptest::prelude::*;

use super::tests::{Fixture, HIGH, LOW, cease, restarting_open, settings, their_open};
use super::*;
use crate::wire::{
    DecodeContext, DecodeError, FamilyOptions, MAX_EXTENDED_MESSAGE, Message, Notification, Open,
    Outgoing, Update, decode, frame,
};

use Role::{Accepted, Dialled};

fn any_event() -> impl Strategy<Value = (u8, bool, u16)> {
    (0u8..18, any::<bool>(), 0u16..700)
}

/// Settings that change what the machine does.
fn any_settings() -> impl Strategy<Value = PeerSettings> {
    let role = prop::option::of(prop::sample::select(vec![BgpRole::Customer, BgpRole::Peer]));
    (any::<[bool; 5]>(), 0u64..3, role).prop_map(|(flags, delay_open, role)| {
        let [passive, graceful_restart, restarted, role_strict, ipv6] = flags;
        PeerSettings {
            local_asn: if role.is_some() { 65200 } else { 65100 },
            passive,
            delay_open: Duration::from_secs(delay_open * 7),
            graceful_restart,
            restarted,
            role,
            role_strict,
            ipv6,
            ..settings()
        }
    })
}

/// What goes to a neighbor, read as it reads it, is never a reachable prefix.
fn announces_nothing(message: &Outgoing) -> bool {
    let bytes = message.encode();
    let whole = frame(&bytes, MAX_EXTENDED_MESSAGE).unwrap().expect("a whole message");
    let options = Some(FamilyOptions::default());
    let context =
        DecodeContext { ipv4_unicast: options, ipv6_unicast: options, ..Default::default() };
    match decode(whole, &context) {
        Ok(Message::Update(update)) => {
            update.announced.is_empty()
                && update.withdrawn.is_empty()
                && update.end_of_rib.is_some()
        }
        Ok(_) | Err(_) => true,
    }
}

proptest! {
    /// Any events in any order, also ones that cannot be: no panic, the outside is never asked for
    /// what makes no sense, no route goes out, and it always goes on some time.
    #[test]
    fn invariants(
        settings in any_settings(),
        events in prop::collection::vec(any_event(), 1..80),
    ) {
        let passive = settings.passive;
        let mut f = Fixture::new(|fixture| *fixture = settings);
        let (mut dialling, mut up) = (false, false);
        let mut open = [false; 2];
        let mut incoming = false;
        for (kind, accepted, seconds) in events {
            let role = if accepted { Accepted } else { Dialled };
            let exists = open[usize::from(accepted)];
            let event = match kind {
                0 | 1 => Some(Event::Start),
                2 if dialling => { dialling = false; open[0] = true; Some(Event::Connected) }
                3 if dialling => { dialling = false; Some(Event::DialFailed { text: String::new(), advice: None }) }
                4 | 5 => { incoming = true; Some(Event::Incoming) }
                6 | 7 => Some(Event::Received(role, Message::Open(their_open(HIGH)))),
                8 if accepted => Some(Event::Received(role, Message::Open(restarting_open()))),
                8 => {
                    let open = Open { hold_time: 0, ..their_open(LOW) };
                    Some(Event::Received(role, Message::Open(open)))
                }
                9 | 10 => Some(Event::Received(role, Message::Keepalive)),
                11 => Some(Event::Received(role, Message::Update(Update::default()))),
                12 => {
                    let subcode = u8::try_from(seconds % 12).unwrap();
                    Some(Event::Received(role, cease(subcode)))
                }
                13 if exists => Some(Event::Closed(role, String::new())),
                14 if seconds < 100 => Some(Event::Stop(StopReason::Shutdown(None))),
                14 => Some(Event::Stop(StopReason::Reset)),
                15 if seconds > 400 => {
                    let code = u8::try_from(seconds % 9).unwrap();
                    let notification = Notification::new(code.into(), 1);
                    let error = DecodeError { reason: "test", offset: 0, notification };
                    Some(Event::Malformed(role, error))
                }
                15 if seconds < 100 => Some(Event::Stop(StopReason::MaxPrefixes { limit: 1 })),
                _ => None,
            };
            let mut actions = Vec::new();
            match event {
                Some(event) => f.peer.handle(event, f.now, &mut actions),
                None => {
                    f.now += Duration::from_secs(u64::from(seconds));
                    f.peer.handle_timeout(f.now, &mut actions);
                }
            }
            for action in actions {
                let index = |role| usize::from(role == Accepted);
                match action {
                    Action::Dial => {
                        prop_assert!(!dialling && !passive && !open[0]);
                        dialling = true;
                    }
                    Action::AbortDial => {
                        prop_assert!(dialling);
                        dialling = false;
                    }
                    Action::Accept => {
                        prop_assert!(incoming && !open[1]);
                        (incoming, open[1]) = (false, true);
                    }
                    Action::Refuse(_) => {
                        prop_assert!(incoming);
                        incoming = false;
                    }
                    Action::Send(role, message) => {
                        prop_assert!(open[index(role)]);
                        prop_assert!(announces_nothing(&message));
                    }
                    Action::Close(role) => {
                        prop_assert!(open[index(role)]);
                        open[index(role)] = false;
                    }
                    Action::Up(_) => {
                        prop_assert!(!up);
                        up = true;
                    }
                    Action::Down(_) => {
                        prop_assert!(up);
                        up = false;
                    }
                    Action::Update(_) | Action::RefreshMarker(_) => prop_assert!(up),
                    Action::Failed(_) => {}
                }
            }
            prop_assert!(!incoming, "an incoming connection is always answered");
            prop_assert_eq!(up, f.peer.state() == State::Established);
            prop_assert!(!up || open.iter().filter(|open| **open).count() == 1);
            let waits = f.peer.next_deadline().is_some();
            let idle = !dialling && open == [false; 2];
            let stopped = f.peer.state() == State::Idle && !waits;
            prop_assert!(!idle || waits || passive || stopped, "it tries again some time");
            let state = f.peer.state();
            let ends_by_itself = matches!(state, State::OpenSent | State::OpenConfirm);
            let hold_time = f.peer.negotiated(Dialled).or(f.peer.negotiated(Accepted));
            let forever = hold_time.is_some_and(|negotiated| negotiated.hold_time == 0);
            prop_assert!(!ends_by_itself || waits || forever, "no state without a way out");
        }
    }
}
