//! Objects that nobody has asked for within the age limit: they go first when room is needed.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::object::Object;
use crate::time::{SteadyClock, hour};

/// How often all objects are looked at.
const TURN: Duration = Duration::from_secs(3600);

/// The aged objects of one drive.
#[derive(Debug)]
pub(super) struct Ageing {
    limit: Duration,
    clock: SteadyClock,
    next_look: Instant,
    /// Those asked for least lately come last.
    aged: Vec<Arc<Object>>,
}

impl Ageing {
    /// `limit` is how long an object keeps its rights without being asked for.
    pub(super) fn new(limit: Duration, clock: SteadyClock, now: Instant) -> Self {
        Self { limit, clock, next_look: now, aged: Vec::new() }
    }

    /// Looks through `objects` if it is time to.
    pub(super) fn look<'a>(
        &mut self,
        objects: impl Iterator<Item = &'a Arc<Object>>,
        now: Instant,
    ) {
        if now < self.next_look {
            return;
        }
        self.next_look = now + TURN;
        let hour = self.hour(now);
        self.aged = objects.filter(|object| self.is_aged(object, hour)).cloned().collect();
        self.aged.sort_by_cached_key(|object| Reverse(object.last_asked(hour)));
    }

    /// The object to give up next.
    pub(super) fn next(&mut self, now: Instant) -> Option<Arc<Object>> {
        let hour = self.hour(now);
        while let Some(object) = self.aged.pop() {
            // It may have been asked for, or pinned, since it was looked at.
            if self.is_aged(&object, hour) {
                return Some(object);
            }
        }
        None
    }

    fn hour(&self, now: Instant) -> u32 {
        hour(self.clock.at(now))
    }

    fn is_aged(&self, object: &Object, now: u32) -> bool {
        let age = now.saturating_sub(object.last_asked(now));
        !object.is_pinned() && Duration::from_secs(u64::from(age) * 3600) > self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::ObjectKey;
    use super::super::object::ObjectMeta;
    use super::*;

    const DAY: u64 = 24 * 3600;
    const START: u64 = 20_000 * DAY;

    fn object(path: &str, fresh_until: u64) -> Arc<Object> {
        let key = ObjectKey::new(&"dl.example".parse().unwrap(), path, None);
        let meta = ObjectMeta {
            length: 1,
            etag: None,
            last_modified: None,
            headers: Vec::new(),
            stored_at: 0,
            fresh_until,
        };
        Arc::new(Object::new(key, 1, &meta))
    }

    #[test]
    fn what_nobody_asked_for_goes_first_and_the_oldest_before_others() {
        let began = Instant::now();
        let day = |days: u64| began + Duration::from_secs(days * DAY);
        let clock = SteadyClock::new(began, START);
        let mut ageing = Ageing::new(Duration::from_secs(30 * DAY), clock, began);
        let old = object("/old", START - 40 * DAY);
        let older = object("/older", START - 50 * DAY);
        let fresh = object("/fresh", START + 100 * DAY);
        let pinned = object("/pinned", START - 90 * DAY);
        pinned.set_pinned(true);
        let asked = object("/asked", START - 60 * DAY);
        asked.note_asked(hour(START));
        let all = [old, older, fresh, pinned, asked];
        let next = |ageing: &mut Ageing, at| {
            ageing.next(at).map(|object| object.key().target().to_owned())
        };

        ageing.look(all.iter(), began);
        assert_eq!(next(&mut ageing, began).as_deref(), Some("/older"));
        // Somebody comes just in time.
        all[0].note_asked(hour(START));
        assert_eq!(next(&mut ageing, began), None);
        ageing.look(all.iter(), began + TURN / 2);
        assert_eq!(next(&mut ageing, began), None, "not looked at yet");

        ageing.look(all.iter(), day(31));
        let mut gone: Vec<_> = std::iter::from_fn(|| next(&mut ageing, day(31))).collect();
        gone.sort();
        assert_eq!(gone, ["/asked", "/old", "/older"]);
    }
}
