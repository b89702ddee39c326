//! BGP-4 messages: from bytes, and the few that a listener sends, to bytes.
//!
//! What comes in is a [`Message`]. What goes out is an [`Outgoing`], a type of its own without a
//! place for a reachable prefix: that a node never announces a route is a fact of the types, not
//! of a setting.

mod attribute;
mod error;
mod message;
mod notification;
mod open;

pub use attribute::{
    AsPath, AsPathSegment, Community, LargeCommunity, OriginCode, PathAttributes, SegmentKind,
};
pub use error::{DecodeError, Disposition, Finding};
pub use message::{Family, Message, Nlri, Outgoing, RouteRefresh, RouteRefreshKind, Update};
pub use notification::{Notification, NotificationCode};
pub use open::{AddPathMode, Capability, Open};

/// The longest message before both sides have agreed on extended messages (RFC 4271 §4.1).
pub const MAX_MESSAGE: usize = 4096;
/// The longest message after both sides have agreed on extended messages (RFC 8654 §2).
pub const MAX_EXTENDED_MESSAGE: usize = 65535;
/// Marker, length and type (RFC 4271 §4.1).
pub const HEADER: usize = 19;
/// Stands for a four-octet AS number in a two-octet field (RFC 6793 §9).
pub const AS_TRANS: u16 = 23456;
