//! All nodes, as one task holds them: the [`Keeper`] owns every node's settings, heartbeat and
//! feed, and the steering index. Everything that changes any of it is a [`Command`] to that task,
//! so that changes have one order, in memory and in the database.
//!
//! Steering answers do not pass through it: they read the [`Steering`] that it has published last.

mod command;
mod keeper;
mod link;
mod operator;
mod publish;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use mcc_config::{NodeName, Secret};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

pub(crate) use keeper::Keeper;
pub(crate) use link::Advertisement;
pub(crate) use publish::Steering;

use crate::api::types::{
    Heartbeat, HeartbeatAnswer, LeftOut, Node, NodeConfiguration, NodePatch, Registered,
};
use crate::feed;
use crate::node::{NodeSettings, SettingsError};
use crate::steering::NodeId;
use crate::store::{RedeemError, StoreError};
pub(crate) use command::Wish;
use command::{Command, Reply};

/// Commands that wait for the keeper. When it is full the caller gets [`FleetError::Busy`], which
/// the API turns into 503 with `Retry-After`: a node tries again later and coalesces meanwhile.
const QUEUE: usize = 1024;

/// Why the fleet refuses something.
#[derive(Debug, Error)]
pub(crate) enum FleetError {
    /// No node has this name.
    #[error("there is no node `{0}`")]
    NoSuchNode(NodeName),
    /// The node was deleted.
    #[error("this node was deleted")]
    NodeGone,
    /// The settings are impossible.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Two nodes would get in each other's way.
    #[error("{what} `{value}` is in use by node `{holder}`: {way_out}")]
    InUse {
        /// Which setting.
        what: &'static str,
        /// Its value.
        value: String,
        /// The node that has it.
        holder: NodeName,
        /// What to do.
        way_out: &'static str,
    },
    /// The settings have changed since they were read.
    #[error(
        "the settings are at generation {now}, not {expected}: read them again, then change them"
    )]
    Outdated {
        /// The caller's generation.
        expected: u64,
        /// The present generation.
        now: u64,
    },
    /// The enrolment key does not enrol.
    #[error(transparent)]
    Redeem(#[from] RedeemError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Too many commands wait.
    #[error("the control plane has too much to do: try again in a moment")]
    Busy,
    /// The control plane stops.
    #[error("the control plane is being stopped")]
    Stopped,
}

/// The handle to all nodes. Clones lead to the same [`Keeper`].
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    commands: mpsc::Sender<Command>,
    steering: Steering,
}

impl Fleet {
    /// What steering answers are made from.
    pub(crate) fn steering(&self) -> &Steering {
        &self.steering
    }

    pub(crate) async fn list(&self) -> Result<Vec<Node>, FleetError> {
        self.ask(Command::List).await
    }

    pub(crate) async fn get(&self, name: NodeName) -> Result<Node, FleetError> {
        self.ask(|reply| Command::Get { name, reply }).await
    }

    pub(crate) async fn create(
        &self,
        actor: String,
        settings: NodeSettings,
    ) -> Result<Node, FleetError> {
        self.ask(|reply| Command::Create { actor, settings, reply }).await
    }

    /// Changes settings, if they are still at generation `expected`.
    pub(crate) async fn change(
        &self,
        actor: String,
        name: NodeName,
        patch: NodePatch,
        expected: Option<u64>,
    ) -> Result<Node, FleetError> {
        self.ask(|reply| Command::Change { actor, name, patch, expected, reply }).await
    }

    pub(crate) async fn wish(
        &self,
        actor: String,
        name: NodeName,
        wish: Wish,
    ) -> Result<Node, FleetError> {
        self.ask(|reply| Command::Wish { actor, name, wish, reply }).await
    }

    pub(crate) async fn delete(&self, actor: String, name: NodeName) -> Result<(), FleetError> {
        self.ask(|reply| Command::Delete { actor, name, reply }).await
    }

    /// A new enrolment key for a node, and from when on it is refused.
    pub(crate) async fn enrolment_key(
        &self,
        actor: String,
        name: NodeName,
    ) -> Result<(Secret, Timestamp), FleetError> {
        self.ask(|reply| Command::EnrolmentKey { actor, name, reply }).await
    }

    pub(crate) async fn register(&self, key: Secret) -> Result<Registered, FleetError> {
        self.ask(|reply| Command::Register { key, reply }).await
    }

    pub(crate) async fn heartbeat(
        &self,
        node: NodeId,
        heartbeat: Heartbeat,
    ) -> Result<HeartbeatAnswer, FleetError> {
        self.ask(|reply| Command::Heartbeat { node, heartbeat: Box::new(heartbeat), reply }).await
    }

    pub(crate) async fn configuration(
        &self,
        node: NodeId,
    ) -> Result<NodeConfiguration, FleetError> {
        self.ask(|reply| Command::Configuration { node, reply }).await
    }

    /// Applies an advertisement. The answer comes when it is committed, with what of the footprint no
    /// client is steered by.
    pub(crate) async fn advertise(
        &self,
        node: NodeId,
        advertisement: Advertisement,
    ) -> Result<(feed::Answer, Option<LeftOut>), FleetError> {
        self.ask(|reply| Command::Advertise { node, advertisement, reply }).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, FleetError> {
        let (reply, answer) = oneshot::channel();
        self.commands.try_send(command(reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => FleetError::Busy,
            mpsc::error::TrySendError::Closed(_) => FleetError::Stopped,
        })?;
        answer.await.map_err(|_| FleetError::Stopped)?
    }
}
