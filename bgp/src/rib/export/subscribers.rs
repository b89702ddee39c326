//! Who wants to know of changes of the footprint, and what they have not been told yet.

use std::sync::{Arc, Weak};

use ipnet::IpNet;
use prefix_trie::joint::JointPrefixSet;

/// Names a subscriber. When the last clone is dropped, the subscriber is forgotten.
#[derive(Debug, Clone)]
pub struct SubscriberId(Arc<()>);

#[derive(Debug)]
struct Subscriber {
    id: Weak<()>,
    /// Only which prefixes, not what became of them: that is looked up when they are taken. So a
    /// subscriber that does not ask costs no more than the table, however often it changes.
    changed: JointPrefixSet<IpNet>,
}

#[derive(Debug, Default)]
pub(super) struct Subscribers(Vec<Subscriber>);

impl Subscribers {
    pub(super) fn add(&mut self) -> SubscriberId {
        let id = Arc::new(());
        self.0.push(Subscriber { id: Arc::downgrade(&id), changed: JointPrefixSet::new() });
        SubscriberId(id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn changed(&mut self, prefix: IpNet) {
        self.0.retain_mut(|subscriber| {
            let alive = subscriber.id.strong_count() > 0;
            if alive {
                subscriber.changed.insert(prefix);
            }
            alive
        });
    }

    pub(super) fn take(&mut self, id: &SubscriberId, max: usize) -> Vec<IpNet> {
        let mut subscribers = self.0.iter_mut();
        let asks = |s: &&mut Subscriber| s.id.as_ptr() == Arc::as_ptr(&id.0);
        let Some(subscriber) = subscribers.find(asks) else { return Vec::new() };
        let taken: Vec<_> = subscriber.changed.iter().take(max).collect();
        if taken.len() < max {
            // Not one by one: the memory of a whole table's change goes back at once.
            subscriber.changed = JointPrefixSet::new();
        } else {
            for prefix in &taken {
                subscriber.changed.remove(prefix);
            }
        }
        taken
    }
}
