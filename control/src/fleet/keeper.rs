//! The task that owns all nodes: what it holds, how it loads it, and its loop.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::command::Command;
use super::publish::{self, Steering};
use super::{Fleet, FleetError, QUEUE};
use crate::api::types::{self, Heartbeat};
use crate::feed::Receiver;
use crate::health::{self, Facts, HeartbeatFacts, Verdict};
use crate::metrics::Metrics;
use crate::node::NodeSettings;
use crate::steering::{Index, NodeId};
use crate::store::{self, Store, StoreError, StoredHeartbeat, StoredNode};

/// How often silence is noticed.
const JUDGE_EVERY: Duration = Duration::from_secs(1);
/// How often heartbeats are written down, all in one transaction. A crash of the control plane
/// forgets at most this much of them, and nothing else.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// Owns all nodes and the steering index.
pub(crate) struct Keeper {
    pub(super) store: Store,
    pub(super) metrics: Metrics,
    pub(super) ipv6: bool,
    pub(super) members: BTreeMap<NodeId, Member>,
    pub(super) index: Index,
    pub(super) steering: Steering,
    commands: mpsc::Receiver<Command>,
}

/// A node in memory.
pub(super) struct Member {
    pub(super) id: NodeId,
    pub(super) settings: NodeSettings,
    pub(super) generation: u64,
    pub(super) created_at: Timestamp,
    pub(super) enabled: bool,
    pub(super) draining: bool,
    pub(super) registered_at: Option<Timestamp>,
    pub(super) key_expires_at: Option<Timestamp>,
    pub(super) heard: Option<Heard>,
    pub(super) feed: Receiver,
    /// Bytes of the kept snapshot, and of the deltas kept after it.
    pub(super) kept: Kept,
}

/// How much of a feed is in the database, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kept {
    pub(super) snapshot: usize,
    pub(super) deltas: usize,
}

/// The last heartbeat of a node.
pub(super) struct Heard {
    /// By the wall clock, for people.
    pub(super) at: Timestamp,
    /// By the clock that nobody sets, for judging. Before a restart of the control plane: moved so
    /// that the time in which nothing could be heard does not count as silence.
    pub(super) instant: Instant,
    pub(super) heartbeat: Heartbeat,
    /// Written down.
    pub(super) saved: bool,
}

impl Member {
    /// A node that has just been created.
    pub(super) fn created(id: NodeId, settings: NodeSettings, now: Timestamp) -> Self {
        Self {
            id,
            settings,
            generation: 1,
            created_at: now,
            enabled: true,
            draining: false,
            registered_at: None,
            key_expires_at: None,
            heard: None,
            feed: Receiver::new(),
            kept: Kept::default(),
        }
    }

    fn stored(node: StoredNode, alive_at: Option<Timestamp>) -> Self {
        let heard = node.heartbeat.map(|StoredHeartbeat { heard_at, heartbeat }| {
            let silence = alive_at.map_or(Duration::ZERO, |alive| {
                Duration::try_from(alive.duration_since(heard_at)).unwrap_or_default()
            });
            let now = Instant::now();
            let instant = now.checked_sub(silence).unwrap_or(now);
            Heard { at: heard_at, instant, heartbeat, saved: true }
        });
        Self {
            generation: node.generation,
            enabled: node.enabled,
            draining: node.draining,
            registered_at: node.registered_at,
            key_expires_at: node.key_expires_at,
            heard,
            ..Self::created(node.id, node.settings, node.created_at)
        }
    }

    /// The node's state at this moment.
    pub(super) fn verdict(&self, now: Timestamp) -> Verdict {
        let facts = Facts {
            enabled: self.enabled,
            draining: self.draining,
            configured: !self.settings.cidrs.is_empty() || !self.settings.neighbors.is_empty(),
            registered_at: self.registered_at,
            key_expires_at: self.key_expires_at,
            heartbeat: self.heard.as_ref().map(|heard| HeartbeatFacts {
                silence: heard.instant.elapsed(),
                ready: heard.heartbeat.ready,
                reasons: heard.heartbeat.reasons.clone(),
                draining: heard.heartbeat.draining,
            }),
        };
        health::judge(&facts, now)
    }
}

impl Keeper {
    /// Loads all nodes and their feeds and publishes them for steering.
    ///
    /// # Errors
    /// When the database does not answer or holds what cannot be read.
    pub(crate) async fn load(
        store: Store,
        ipv6: bool,
        metrics: Metrics,
    ) -> Result<(Self, Fleet), StoreError> {
        let alive_at = store.alive_at().await?;
        let members = store
            .nodes()
            .await?
            .into_iter()
            .map(|node| (node.id, Member::stored(node, alive_at)))
            .collect();
        let (sender, commands) = mpsc::channel(QUEUE);
        let index = Index::new();
        let steering = Steering { index: index.steering(), ..Steering::default() };
        let fleet = Fleet { commands: sender, steering: steering.clone() };
        let mut keeper = Self { store, metrics, ipv6, members, index, steering, commands };
        keeper.load_feeds().await?;
        let ids: Vec<NodeId> = keeper.members.keys().copied().collect();
        for id in ids {
            keeper.place_all(id);
            keeper.say_left_out(id, 0);
        }
        keeper.publish(Timestamp::now());
        tracing::info!(
            nodes = keeper.members.len(),
            prefixes = keeper.steering.index.view().len(),
            "loaded from the database"
        );
        Ok((keeper, fleet))
    }

    /// Carries out commands until it is stopped, then writes down what is only in memory.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut judge = tokio::time::interval(JUDGE_EVERY);
        let mut save = tokio::time::interval(SAVE_EVERY);
        judge.set_missed_tick_behavior(MissedTickBehavior::Delay);
        save.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.carry_out(command).await,
                    None => break,
                },
                _ = judge.tick() => self.tick(Timestamp::now()),
                _ = save.tick() => self.save().await,
                () = stop.cancelled() => break,
            }
        }
        self.save().await;
    }

    async fn carry_out(&mut self, command: Command) {
        match command {
            Command::List(reply) => answer(reply, Ok(self.list())),
            Command::Get { name, reply } => answer(reply, self.get(&name)),
            Command::Create { actor, settings, reply } => {
                answer(reply, self.create(&actor, settings).await);
            }
            Command::Change { actor, name, patch, expected, reply } => {
                answer(reply, self.change(&actor, &name, patch, expected).await);
            }
            Command::Wish { actor, name, wish, reply } => {
                answer(reply, self.wish(&actor, &name, wish).await);
            }
            Command::Delete { actor, name, reply } => {
                answer(reply, self.delete(&actor, &name).await);
            }
            Command::EnrolmentKey { actor, name, reply } => {
                answer(reply, self.enrolment_key(&actor, &name).await);
            }
            Command::Register { key, reply } => answer(reply, self.register(&key).await),
            Command::Heartbeat { node, heartbeat, reply } => {
                answer(reply, self.heartbeat(node, *heartbeat));
            }
            Command::Configuration { node, reply } => answer(reply, self.configuration(node)),
            Command::Advertise { node, advertisement, reply } => {
                answer(reply, self.advertise(node, advertisement).await);
            }
        }
    }

    /// Writes down heartbeats that are only in memory. When the database fails they stay there
    /// until the next time.
    async fn save(&mut self) {
        match self.try_save().await {
            Ok(()) => {
                for heard in self.members.values_mut().filter_map(|member| member.heard.as_mut()) {
                    heard.saved = true;
                }
            }
            Err(error) => tracing::error!(%error, "cannot write heartbeats down"),
        }
    }

    async fn try_save(&self) -> Result<(), StoreError> {
        let mut write = self.store.write().await?;
        store::note_alive(&mut write, Timestamp::now()).await?;
        for member in self.members.values() {
            let Some(heard) = member.heard.as_ref().filter(|heard| !heard.saved) else { continue };
            let stored = StoredHeartbeat { heard_at: heard.at, heartbeat: heard.heartbeat.clone() };
            store::nodes::update_heartbeat(&mut write, member.id, &stored).await?;
        }
        Ok(write.commit().await?)
    }

    /// A node as the API shows it.
    pub(super) fn show(&self, member: &Member, now: Timestamp) -> types::Node {
        let Verdict { state, reason } = member.verdict(now);
        let settings = member.settings.redacted();
        types::Node {
            name: settings.name,
            address: settings.address,
            max_egress_mbps: settings.max_egress_mbps,
            cidrs: settings.cidrs,
            neighbors: settings.neighbors,
            generation: member.generation,
            created_at: member.created_at,
            state,
            reason,
            footprint: publish::footprint(member, self.ipv6),
            heard_at: member.heard.as_ref().map(|heard| heard.at),
            heartbeat: member.heard.as_ref().map(|heard| heard.heartbeat.clone()),
        }
    }
}

/// Sends an answer. The caller may have hung up; what was asked for is done all the same.
fn answer<T>(reply: oneshot::Sender<Result<T, FleetError>>, result: Result<T, FleetError>) {
    let _ = reply.send(result);
}
