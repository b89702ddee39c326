//! What nodes do: register, call, read their settings, advertise.

use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;
use mcc_config::Secret;
use serde::Serialize;

use super::FleetError;
use super::keeper::{Heard, Keeper, Kept};
use super::publish;
use crate::api::types::{Heartbeat, HeartbeatAnswer, LeftOut, NodeConfiguration, Registered};
use crate::feed::body::Body;
use crate::feed::{Answer, Encoding, Position, Receiver, Update, Verdict};
use crate::health::HEARTBEAT_INTERVAL;
use crate::steering::NodeId;
use crate::store::{self, Change, StoreError};
use crate::tokens::{self, Hash};

/// Deltas are kept beside their snapshot until they outgrow it, or this many bytes if it is small.
/// Then one new snapshot takes their place, which costs no more than they did.
const COMPACT_FROM: usize = 256 << 10;

/// A body that has been read and found good, with the bytes to keep.
#[derive(Debug)]
pub(crate) struct Advertisement {
    pub(crate) body: Body,
    pub(crate) encoding: Encoding,
    pub(crate) bytes: Bytes,
}

impl Keeper {
    /// Turns an enrolment key into a token.
    pub(super) async fn register(&mut self, key: &Secret) -> Result<Registered, FleetError> {
        #[derive(Serialize)]
        struct Nothing;
        let now = Timestamp::now();
        let token = tokens::new_token();
        let mut write = self.store.write().await?;
        let id = store::enrolment::redeem(&mut write, &Hash::of(key.expose()), now).await?;
        let member = self.members.get(&id).ok_or(FleetError::NodeGone)?;
        let name = member.settings.name.clone();
        let subject = format!("node:{name}");
        let hash = Hash::of(token.expose());
        store::tokens::replace_node(&mut write, &hash, id, &subject, now).await?;
        store::nodes::note_registered(&mut write, id, now).await?;
        let change: Change<'_, Nothing> = Change {
            actor: &subject,
            action: "node.register",
            subject: name.as_str(),
            before: None,
            after: None,
        };
        store::audit::record(&mut write, now, change).await?;
        write.commit().await.map_err(StoreError::from)?;

        tracing::info!(node = %name, "node registered");
        if let Some(member) = self.members.get_mut(&id) {
            member.registered_at = Some(now);
            member.key_expires_at = None;
        }
        self.publish_nodes(now);
        Ok(Registered { node: name, token })
    }

    pub(super) fn heartbeat(
        &mut self,
        node: NodeId,
        heartbeat: Heartbeat,
    ) -> Result<HeartbeatAnswer, FleetError> {
        let now = Timestamp::now();
        let member = self.members.get_mut(&node).ok_or(FleetError::NodeGone)?;
        let answer = HeartbeatAnswer {
            config_generation: member.generation,
            send_snapshot: has_come_apart(heartbeat.feed, member.feed.position()),
            interval_seconds: HEARTBEAT_INTERVAL.as_secs(),
            left_out: LeftOut::ipv6_off(publish::left_out(member, self.ipv6)),
        };
        if answer.send_snapshot {
            tracing::warn!(node = %member.settings.name, "its feed has come apart: asked for all of it");
        }
        let before = publish::standing(member, member.verdict(now).state);
        member.heard = Some(Heard { at: now, instant: Instant::now(), heartbeat, saved: false });
        let after = publish::standing(member, member.verdict(now).state);
        // Most heartbeats change nothing for steering; what they change else the next tick shows.
        if before != after {
            self.publish_nodes(now);
        }
        Ok(answer)
    }

    pub(super) fn configuration(&self, node: NodeId) -> Result<NodeConfiguration, FleetError> {
        let member = self.members.get(&node).ok_or(FleetError::NodeGone)?;
        Ok(NodeConfiguration { generation: member.generation, settings: member.settings.clone() })
    }

    /// Checks an advertisement, keeps it, and only then makes it steer. Says too what of the node's
    /// footprint does not steer.
    pub(super) async fn advertise(
        &mut self,
        node: NodeId,
        advertisement: Advertisement,
    ) -> Result<(Answer, Option<LeftOut>), FleetError> {
        let answer = self.take(node, advertisement).await?;
        let member = self.members.get(&node).ok_or(FleetError::NodeGone)?;
        Ok((answer, LeftOut::ipv6_off(publish::left_out(member, self.ipv6))))
    }

    async fn take(
        &mut self,
        node: NodeId,
        advertisement: Advertisement,
    ) -> Result<Answer, FleetError> {
        let Advertisement { body, encoding, bytes } = advertisement;
        let member = self.members.get_mut(&node).ok_or(FleetError::NodeGone)?;
        let update = match member.feed.check_body(body) {
            Verdict::Apply(update) => update,
            Verdict::Reply(answer) => return Ok(answer),
        };
        let answer = update.answer();
        let replaces = update.replaces_all();
        let mut write = self.store.write().await?;
        if replaces {
            store::feeds::replace(&mut write, node, encoding, &bytes).await?;
        } else {
            store::feeds::append(&mut write, node, encoding, &bytes).await?;
        }
        write.commit().await.map_err(StoreError::from)?;
        member.kept = if replaces {
            Kept { snapshot: bytes.len(), deltas: 0 }
        } else {
            Kept { deltas: member.kept.deltas + bytes.len(), ..member.kept }
        };
        self.make_steer(node, update);
        self.compact(node).await;
        Ok(answer)
    }

    fn make_steer(&mut self, node: NodeId, update: Update) {
        let Some(member) = self.members.get_mut(&node) else { return };
        let left_out = publish::left_out(member, self.ipv6);
        // Nothing else commits to this feed: the keeper is its only owner.
        match member.feed.commit(update) {
            Ok(changes) => {
                self.place(node, changes.iter().map(crate::feed::Change::prefix));
                self.publish_index(Instant::now());
                self.say_left_out(node, left_out);
            }
            Err(superseded) => tracing::error!(%superseded, "a feed has two owners"),
        }
    }

    /// Counts how much of a node's footprint does not steer, and logs it if all of it did `before`,
    /// when so many prefixes did not.
    pub(super) fn say_left_out(&self, node: NodeId, before: usize) {
        let Some(member) = self.members.get(&node) else { return };
        let now = publish::left_out(member, self.ipv6);
        if now != before {
            self.count_left_out();
        }
        if before == 0
            && let Some(LeftOut { prefixes, reason }) = LeftOut::ipv6_off(now)
        {
            let node = &member.settings.name;
            tracing::warn!(%node, prefixes, reason, "no client is steered by a part of a footprint");
        }
    }

    /// Puts one snapshot in the place of many deltas. Failing costs only room.
    async fn compact(&mut self, node: NodeId) {
        let Some(member) = self.members.get_mut(&node) else { return };
        if member.kept.deltas < COMPACT_FROM.max(member.kept.snapshot) {
            return;
        }
        match try_compact(&self.store, node, &member.feed).await {
            Ok(snapshot) => member.kept = Kept { snapshot, deltas: 0 },
            Err(error) => {
                tracing::warn!(node = %member.settings.name, %error, "cannot compact a feed");
            }
        }
    }

    /// Loads what each node has advertised. A feed that cannot be read costs its node's routes until
    /// its next heartbeat, which finds that they are missing; it does not keep the others down.
    pub(super) async fn load_feeds(&mut self) -> Result<(), StoreError> {
        let bodies = self.store.feeds().await?;
        for of_node in bodies.chunk_by(|a, b| a.node == b.node) {
            let Some(member) = of_node.first().and_then(|body| self.members.get_mut(&body.node))
            else {
                continue;
            };
            let feed = of_node.iter().map(|body| (body.bytes.as_slice(), body.encoding));
            match Receiver::restore(feed) {
                Ok(feed) => {
                    let lengths = of_node.iter().map(|body| body.bytes.len());
                    let snapshot = of_node.first().map_or(0, |body| body.bytes.len());
                    let deltas = lengths.sum::<usize>() - snapshot;
                    member.feed = feed;
                    member.kept = Kept { snapshot, deltas };
                }
                Err(error) => {
                    let name = &member.settings.name;
                    tracing::error!(node = %name, %error, "its stored feed cannot be read");
                }
            }
        }
        Ok(())
    }
}

async fn try_compact(
    store: &store::Store,
    node: NodeId,
    feed: &Receiver,
) -> Result<usize, StoreError> {
    let blob = feed.to_blob().map_err(|error| StoreError::Corrupt {
        table: "feeds",
        why: format!("cannot write a snapshot: {error}"),
    })?;
    let blob = blob.unwrap_or_default();
    let mut write = store.write().await?;
    store::feeds::replace(&mut write, node, Encoding::Zstd, &blob).await?;
    write.commit().await?;
    Ok(blob.len())
}

/// Whether the node believes to have told what is not here. Being behind is no such case: an
/// acknowledgement may be on its way.
pub(super) fn has_come_apart(node: Option<Position>, here: Option<Position>) -> bool {
    match (node, here) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(node), Some(here)) => {
            node.session != here.session
                || node.serial > here.serial
                || (node.serial == here.serial && node.digest != here.digest)
        }
    }
}
