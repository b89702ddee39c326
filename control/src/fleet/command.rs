//! What can be asked of the keeper. Each command carries the way back for its answer; a caller
//! that has gone away does not undo the command.

use jiff::Timestamp;
use mcc_config::{NodeName, Secret};
use tokio::sync::oneshot;

use super::FleetError;
use super::link::Advertisement;
use crate::api::types::{
    Heartbeat, HeartbeatAnswer, LeftOut, Node, NodeConfiguration, NodePatch, Registered,
};
use crate::feed;
use crate::node::NodeSettings;
use crate::steering::NodeId;

/// The way back for an answer.
pub(super) type Reply<T> = oneshot::Sender<Result<T, FleetError>>;

/// What an operator wants of a node, beside its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// No new clients.
    Drain,
    /// New clients again.
    Undrain,
    /// On.
    Enable,
    /// Off.
    Disable,
}

impl Wish {
    /// The word in paths and in the audit log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Undrain => "undrain",
            Self::Enable => "enable",
            Self::Disable => "disable",
        }
    }
}

/// `actor` is who the audit log says it was.
#[derive(Debug)]
pub(super) enum Command {
    List(Reply<Vec<Node>>),
    Get {
        name: NodeName,
        reply: Reply<Node>,
    },
    Create {
        actor: String,
        settings: NodeSettings,
        reply: Reply<Node>,
    },
    Change {
        actor: String,
        name: NodeName,
        patch: NodePatch,
        expected: Option<u64>,
        reply: Reply<Node>,
    },
    Wish {
        actor: String,
        name: NodeName,
        wish: Wish,
        reply: Reply<Node>,
    },
    Delete {
        actor: String,
        name: NodeName,
        reply: Reply<()>,
    },
    EnrolmentKey {
        actor: String,
        name: NodeName,
        reply: Reply<(Secret, Timestamp)>,
    },
    Register {
        key: Secret,
        reply: Reply<Registered>,
    },
    Heartbeat {
        node: NodeId,
        heartbeat: Box<Heartbeat>,
        reply: Reply<HeartbeatAnswer>,
    },
    Configuration {
        node: NodeId,
        reply: Reply<NodeConfiguration>,
    },
    Advertise {
        node: NodeId,
        advertisement: Advertisement,
        reply: Reply<(feed::Answer, Option<LeftOut>)>,
    },
}
