//! The egress limit, shared fairly: who wants to send content waits for a turn of some bytes, and turns are given in
//! the order in which they were asked for. A response asks for one turn at a time, so that all that want to send get
//! equal shares; what one leaves, the others get.
//!
//! A client that gets under 4,000 bytes per second bans the node. So no more responses are admitted than the limit can
//! give [`FLOOR`] to; others are told 503.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What each running response can count on, in bytes per second (1 Mbit/s). Where the limit itself is less, one response
/// at a time has all of it.
const FLOOR: u64 = 125_000;
/// The length of a turn is what the limit gives in so much time, ...
const TURN: Duration = Duration::from_millis(50);
/// ... but not less than this, nor more than that, in bytes.
const SHORTEST_TURN: u64 = 16 << 10;
const LONGEST_TURN: u64 = 256 << 10;
/// What went out too late, because the system woke somebody too late, may be made up for up to so much time (and
/// for two turns in any case).
const CATCH_UP: Duration = Duration::from_millis(20);

const NANOS: u64 = 1_000_000_000;

/// The limit of the node, if it has one.
#[derive(Debug)]
pub(crate) struct EgressGate(Option<Shaper>);

#[derive(Debug)]
struct Shaper {
    start: Instant,
    schedule: Schedule,
    /// When the line is free for the next turn, in nanoseconds since `start`.
    free_at: AtomicU64,
    /// Responses that are running.
    running: AtomicU64,
}

/// How turns follow each other on a line of a rate. All times in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    /// Bytes per second.
    rate: u64,
    /// Most bytes of a turn.
    turn: u64,
    /// How long ago a turn may have been free that is still given.
    credit: u64,
}

impl Schedule {
    fn new(rate: u64) -> Self {
        let rate = rate.max(1);
        let in_time = |time: Duration| rate.saturating_mul(time.as_millis() as u64) / 1000;
        let turn = in_time(TURN).clamp(SHORTEST_TURN, LONGEST_TURN);
        let schedule = Self { rate, turn, credit: 0 };
        let credit = schedule.time(2 * turn).max(CATCH_UP.as_nanos() as u64);
        Self { credit, ..schedule }
    }

    /// How long `bytes` take.
    fn time(&self, bytes: u64) -> u64 {
        let nanos = u128::from(bytes) * u128::from(NANOS) / u128::from(self.rate);
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }

    /// When `bytes` may go that are asked for at `now`, on a line that is free at `free_at`.
    fn departure(&self, free_at: u64, now: u64) -> u64 {
        free_at.max(now.saturating_sub(self.credit))
    }
}

/// The right of one response to run. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Admission(Option<Arc<EgressGate>>);

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(shaper) = self.0.as_ref().and_then(|gate| gate.0.as_ref()) {
            shaper.running.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl EgressGate {
    /// A gate for `max_mbps` megabits (10^6 bits) per second; without a limit it is always open.
    pub(crate) fn new(max_mbps: Option<u32>, start: Instant) -> Self {
        let shaper = |mbps| Shaper {
            start,
            schedule: Schedule::new(u64::from(mbps) * 1_000_000 / 8),
            free_at: AtomicU64::new(0),
            running: AtomicU64::new(0),
        };
        Self(max_mbps.map(shaper))
    }

    /// Whether there is a limit.
    pub(crate) fn is_limited(&self) -> bool {
        self.0.is_some()
    }

    /// Admits one more response; `None` when the running ones need all there is.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<Admission> {
        let Some(shaper) = &self.0 else { return Some(Admission(None)) };
        let most = (shaper.schedule.rate / FLOOR).max(1);
        let one_more = |running| (running < most).then_some(running + 1);
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        shaper.running.fetch_update(set, fetch, one_more).ok()?;
        Some(Admission(Some(self.clone())))
    }

    /// Waits until some of `wanted` bytes may be sent, and says how many. They count as sent.
    pub(crate) async fn turn(&self, wanted: usize) -> usize {
        if self.0.is_none() {
            return wanted;
        }
        let (granted, departure) = self.reserve(wanted, Instant::now());
        if let Some(departure) = departure {
            tokio::time::sleep_until(departure.into()).await;
        }
        granted
    }

    /// Takes a turn for some of `wanted` bytes: how many, and when they may go; `None`: at once.
    fn reserve(&self, wanted: usize, now: Instant) -> (usize, Option<Instant>) {
        let Some(shaper) = &self.0 else { return (wanted, None) };
        let Shaper { start, schedule, .. } = shaper;
        let granted = wanted.min(usize::try_from(schedule.turn).unwrap_or(usize::MAX));
        let since = now.saturating_duration_since(*start).as_nanos();
        let now = u64::try_from(since).unwrap_or(u64::MAX);
        let taken = schedule.time(granted as u64);
        let next = |free_at| Some(schedule.departure(free_at, now).saturating_add(taken));
        let before = shaper.free_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        let departure = schedule.departure(before.unwrap_or_else(|free_at| free_at), now);
        (granted, (departure > now).then(|| *start + Duration::from_nanos(departure)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One response of a simulated node.
    #[derive(Debug, Clone, Copy)]
    struct Client {
        /// Bytes per second that its own line takes.
        line: u64,
        sent: u64,
        /// When it asks for its next turn, in nanoseconds.
        asks: u64,
    }

    /// Lets clients with `lines` send for `seconds`. Returns what each has sent, and all departures with their bytes.
    fn simulate(mbps: u32, lines: &[u64], seconds: u64) -> (Vec<u64>, Vec<(u64, u64)>) {
        let start = Instant::now();
        let gate = EgressGate::new(Some(mbps), start);
        let mut clients: Vec<Client> =
            lines.iter().map(|line| Client { line: *line, sent: 0, asks: 0 }).collect();
        let mut departures = Vec::new();
        loop {
            let next = clients.iter_mut().min_by_key(|client| client.asks).unwrap();
            if next.asks >= seconds * NANOS {
                break;
            }
            let (granted, at) = gate.reserve(1 << 20, start + Duration::from_nanos(next.asks));
            let departure = at.map_or(next.asks, |at| (at - start).as_nanos() as u64);
            departures.push((departure, granted as u64));
            if departure < seconds * NANOS {
                next.sent += granted as u64;
            }
            next.asks = departure + granted as u64 * NANOS / next.line;
        }
        departures.sort_unstable();
        (clients.iter().map(|client| client.sent).collect(), departures)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn shares_are_fair_and_never_over_the_limit(
            mbps in 1_u32..3000,
            lines in proptest::collection::vec(2_000_u64..4_000_000_000, 1..60),
        ) {
            let rate = u64::from(mbps) * 125_000;
            let admitted = lines.len().min((rate / FLOOR).max(1) as usize);
            let lines = &lines[..admitted];
            let seconds = 40;
            let (sent, departures) = simulate(mbps, lines, seconds);
            let schedule = Schedule::new(rate);

            // Over no stretch of time did more go out than the limit and one burst.
            let burst = rate * schedule.credit / NANOS + schedule.turn;
            for from in (0..departures.len()).step_by(departures.len() / 50 + 1) {
                let mut sum = 0;
                for (at, bytes) in &departures[from..] {
                    sum += bytes;
                    let time = at - departures[from].0;
                    let most = u128::from(rate) * u128::from(time) / u128::from(NANOS);
                    prop_assert!(u128::from(sum) <= most + u128::from(burst) + 1);
                }
            }

            // Everybody gets a fair share, or what its own line takes: a response that is one turn at a time on the line
            // of the node, and then on its own, comes to the one divided by the sum of both times.
            let slack = 3 * schedule.turn + burst;
            let share = rate as f64 / lines.len() as f64;
            for (line, sent) in lines.iter().zip(&sent) {
                let least = 1.0 / (1.0 / share + 1.0 / *line as f64) * seconds as f64;
                prop_assert!((sent + slack) as f64 >= least, "{line} B/s: {sent} of {least}");
                prop_assert!(share >= FLOOR.min(rate) as f64);
            }

            // Nothing is left unused while somebody wants it.
            let total: u64 = sent.iter().sum();
            if lines.iter().any(|line| *line >= 100 * rate) {
                prop_assert!(total + slack >= rate * seconds / 100 * 98, "{total}");
            }
        }
    }

    #[test]
    fn as_many_are_admitted_as_get_the_floor() {
        let gate = Arc::new(EgressGate::new(Some(3), Instant::now()));
        let mut running: Vec<_> = (0..3).map(|_| gate.admit().unwrap()).collect();
        assert!(gate.admit().is_none());
        running.pop();
        assert!(gate.admit().is_some_and(|one| gate.admit().is_none() && one.0.is_some()));
        // A limit under the floor: one at a time.
        let mut slow = EgressGate::new(Some(1), Instant::now());
        slow.0.as_mut().unwrap().schedule.rate = FLOOR / 2;
        let slow = Arc::new(slow);
        let one = slow.admit();
        assert!(one.is_some() && slow.admit().is_none());
    }

    #[test]
    fn a_turn_that_comes_late_is_made_up_for() {
        let start = Instant::now();
        let gate = EgressGate::new(Some(8000), start);
        let mut now = start + Duration::from_secs(10);
        let end = now + Duration::from_secs(1);
        let mut sent = 0;
        while now < end {
            let (granted, at) = gate.reserve(1 << 20, now);
            sent += granted as u64;
            // Timers have a grain of a millisecond.
            now = at.map_or(now, |at| at + Duration::from_millis(1));
        }
        let limit = 1_000_000_000;
        assert!((limit..limit + limit / 20).contains(&sent), "{sent}");
    }

    #[test]
    fn without_a_limit_everything_goes_at_once() {
        let gate = Arc::new(EgressGate::new(None, Instant::now()));
        let held: Vec<_> = (0..1000).map(|_| gate.admit().unwrap()).collect();
        assert_eq!(held.len(), 1000);
        assert_eq!(gate.reserve(usize::MAX, Instant::now()), (usize::MAX, None));
    }
}
