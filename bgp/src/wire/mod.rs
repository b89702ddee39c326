//! BGP-4 messages: from bytes, and the few that a listener sends, to bytes.
//!
//! What comes in is a [`Message`]: [`frame`] finds where it ends, [`decode`] reads it. What goes
//! out is an [`Outgoing`], a type of its own without a place for a reachable prefix: that a node
//! never announces a route is a fact of the types, not of a setting.
//!
//! Bytes become values in this order: `framing` (header), `decode` (which message), `open` and
//! `capability`, or `update` (sections), `path_attributes` (the attributes by the rules in
//! `attribute_rule`), `as_path` and `nlri`. What goes on to the RIB is a `nlri_list` with an `attribute_set`.

mod as_path;
mod attribute;
mod attribute_rule;
mod attribute_set;
mod capability;
mod capability_words;
mod context;
mod decode;
mod error;
mod framing;
mod message;
mod nlri;
mod nlri_list;
mod notification;
mod notification_words;
mod open;
mod outgoing;
mod path_attributes;
mod update;

pub use as_path::{AsPath, AsPathSegment, SegmentKind};
pub use attribute::{
    Aggregator, Community, Ipv6ExtendedCommunity, LargeCommunity, OriginCode, PathAttributes,
};
pub use attribute_set::AttributeSet;
pub use capability::{AddPathMode, Capability};
pub use context::{DecodeContext, FamilyOptions, NeighborKind};
pub use decode::decode;
pub use error::{DecodeError, Disposition, Finding};
pub use framing::{Frame, MessageType, frame};
pub use message::{Family, Message, Nlri, RouteRefresh, RouteRefreshKind, Update};
pub use nlri_list::NlriList;
pub use notification::{Notification, NotificationCode, subcode};
pub use open::Open;
pub use outgoing::Outgoing;

/// The longest message before both sides have agreed on extended messages (RFC 4271 §4.1).
pub const MAX_MESSAGE: usize = 4096;
/// The longest message after both sides have agreed on extended messages (RFC 8654 §2).
pub const MAX_EXTENDED_MESSAGE: usize = 65535;
/// Marker, length and type (RFC 4271 §4.1).
pub const HEADER: usize = 19;
/// Stands for a four-octet AS number in a two-octet field (RFC 6793 §9).
pub const AS_TRANS: u16 = 23456;
