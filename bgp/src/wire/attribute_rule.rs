//! What RFC 7606 says about each path attribute, in one table: which flags it must have, how long
//! it must be, who may send it, and what follows if it is malformed.
//!
//! What the value says is judged where it is read, in `path_attributes`. An attribute without a
//! row here is not looked into, so it cannot be malformed.

use super::Disposition::{self, AttributeDiscard, SessionReset, TreatAsWithdraw};
use super::attribute::code::{
    AGGREGATOR, AS_PATH, AS4_AGGREGATOR, AS4_PATH, ATOMIC_AGGREGATE, CLUSTER_LIST, COMMUNITIES,
    EXTENDED_COMMUNITIES, IPV6_EXTENDED_COMMUNITIES, LARGE_COMMUNITY, LOCAL_PREF, MP_REACH_NLRI,
    MP_UNREACH_NLRI, MULTI_EXIT_DISC, NEXT_HOP, ONLY_TO_CUSTOMER, ORIGIN, ORIGINATOR_ID,
};
use super::notification::subcode::update;
use super::{DecodeContext, NeighborKind};

/// Attribute flags (RFC 4271 §4.3).
pub(super) const OPTIONAL: u8 = 0x80;
const TRANSITIVE: u8 = 0x40;
/// The value's length has two bytes.
pub(super) const EXTENDED_LENGTH: u8 = 0x10;

const WELL_KNOWN: u8 = TRANSITIVE;
const OPTIONAL_TRANSITIVE: u8 = OPTIONAL | TRANSITIVE;

/// How one attribute is to be judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// What the Optional and Transitive flags must be.
    flags: u8,
    length: Length,
    sender: Sender,
    /// What follows from a malformed one.
    pub(super) malformed: Disposition,
    wrong_length: &'static str,
}

/// Bytes of the value.
#[derive(Debug, Clone, Copy)]
enum Length {
    Exactly(usize),
    /// Of this, and not 0 (RFC 7606 §4).
    MultipleOf(usize),
    AtLeast(usize),
}
use Length::{AtLeast, Exactly, MultipleOf};

/// From whom an attribute means something. From others it is discarded, malformed or not.
#[derive(Debug, Clone, Copy)]
enum Sender {
    Anyone,
    /// iBGP.
    Internal,
    /// A speaker without four-octet AS numbers.
    Old,
}
use Sender::{Anyone, Internal, Old};

/// Why an attribute is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) disposition: Disposition,
    pub(super) reason: &'static str,
    /// Of an UPDATE Message Error, should it come to a session reset.
    pub(super) subcode: u8,
}

impl Rule {
    /// The rule for an attribute type; `None` for one that this speaker does not read.
    #[rustfmt::skip]
    pub(super) const fn of(code: u8, context: &DecodeContext) -> Option<Self> {
        let asn = if context.four_octet_as { 4 } else { 2 };
        Some(match code {
            //                               flags                length           sender    if malformed      if the length is wrong
            ORIGIN                    => row(WELL_KNOWN,          Exactly(1),      Anyone,   TreatAsWithdraw,  "the length is not 1 (RFC 7606 §7.1)"),
            AS_PATH                   => row(WELL_KNOWN,          AtLeast(0),      Anyone,   TreatAsWithdraw,  ""),
            NEXT_HOP                  => row(WELL_KNOWN,          Exactly(4),      Anyone,   TreatAsWithdraw,  "the length is not 4 (RFC 7606 §7.3)"),
            MULTI_EXIT_DISC           => row(OPTIONAL,            Exactly(4),      Anyone,   TreatAsWithdraw,  "the length is not 4 (RFC 7606 §7.4)"),
            LOCAL_PREF                => row(WELL_KNOWN,          Exactly(4),      Internal, TreatAsWithdraw,  "the length is not 4 (RFC 7606 §7.5)"),
            ATOMIC_AGGREGATE          => row(WELL_KNOWN,          Exactly(0),      Anyone,   AttributeDiscard, "the length is not 0 (RFC 7606 §7.6)"),
            AGGREGATOR                => row(OPTIONAL_TRANSITIVE, Exactly(asn + 4), Anyone,  AttributeDiscard, "the length is not 6, or 8 with four-octet AS numbers (RFC 7606 §7.7)"),
            COMMUNITIES               => row(OPTIONAL_TRANSITIVE, MultipleOf(4),   Anyone,   TreatAsWithdraw,  "the length is 0 or no multiple of 4 (RFC 7606 §7.8)"),
            ORIGINATOR_ID             => row(OPTIONAL,            Exactly(4),      Internal, TreatAsWithdraw,  "the length is not 4 (RFC 7606 §7.9)"),
            CLUSTER_LIST              => row(OPTIONAL,            MultipleOf(4),   Internal, TreatAsWithdraw,  "the length is 0 or no multiple of 4 (RFC 7606 §7.10)"),
            MP_REACH_NLRI             => row(OPTIONAL,            AtLeast(5),      Anyone,   SessionReset,     "the length is under 5 (RFC 7606 §5.3)"),
            MP_UNREACH_NLRI           => row(OPTIONAL,            AtLeast(3),      Anyone,   SessionReset,     "the length is under 3 (RFC 7606 §5.3)"),
            EXTENDED_COMMUNITIES      => row(OPTIONAL_TRANSITIVE, MultipleOf(8),   Anyone,   TreatAsWithdraw,  "the length is 0 or no multiple of 8 (RFC 7606 §7.14)"),
            AS4_PATH                  => row(OPTIONAL_TRANSITIVE, MultipleOf(2),   Old,      AttributeDiscard, "the length is 0 or odd (RFC 6793 §6)"),
            AS4_AGGREGATOR            => row(OPTIONAL_TRANSITIVE, Exactly(8),      Old,      AttributeDiscard, "the length is not 8 (RFC 6793 §6)"),
            IPV6_EXTENDED_COMMUNITIES => row(OPTIONAL_TRANSITIVE, MultipleOf(20),  Anyone,   TreatAsWithdraw,  "the length is 0 or no multiple of 20 (RFC 7606 §7.15)"),
            LARGE_COMMUNITY           => row(OPTIONAL_TRANSITIVE, MultipleOf(12),  Anyone,   TreatAsWithdraw,  "the length is 0 or no multiple of 12 (RFC 8092 §6)"),
            ONLY_TO_CUSTOMER          => row(OPTIONAL_TRANSITIVE, Exactly(4),      Anyone,   TreatAsWithdraw,  "the length is not 4 (RFC 9234 §5)"),
            _ => return None,
        })
    }

    /// Judges everything but the value's content.
    pub(super) fn check(
        &self,
        code: u8,
        flags: u8,
        value: &[u8],
        context: &DecodeContext,
    ) -> Result<(), Refusal> {
        let unwanted = match self.sender {
            Anyone => None,
            Internal => (context.neighbor == NeighborKind::External).then_some(
                "from an external neighbor it means nothing (RFC 7606 §7.5, §7.9, §7.10)",
            ),
            Old => context
                .four_octet_as
                .then_some("with four-octet AS numbers it means nothing (RFC 6793 §4.1)"),
        };
        if let Some(reason) = unwanted {
            return Err(Refusal {
                disposition: AttributeDiscard,
                reason,
                subcode: update::OPTIONAL_ATTRIBUTE_ERROR,
            });
        }
        if flags & (OPTIONAL | TRANSITIVE) != self.flags {
            // Also where a malformed one is only discarded: the flags have a rule of their own. And
            // one for those with prefixes, which are not to be believed then.
            return Err(Refusal {
                disposition: self.malformed.max(TreatAsWithdraw),
                reason: "the Optional or Transitive flag is not what its type has (RFC 7606 §3c, \
                         §5.3)",
                subcode: update::ATTRIBUTE_FLAGS_ERROR,
            });
        }
        let length_is_right = match self.length {
            Exactly(length) => value.len() == length,
            MultipleOf(unit) => !value.is_empty() && value.len().is_multiple_of(unit),
            AtLeast(length) => value.len() >= length,
        };
        if !length_is_right {
            let multiprotocol = matches!(code, MP_REACH_NLRI | MP_UNREACH_NLRI);
            return Err(Refusal {
                disposition: self.malformed,
                reason: self.wrong_length,
                subcode: if multiprotocol {
                    update::OPTIONAL_ATTRIBUTE_ERROR
                } else {
                    update::ATTRIBUTE_LENGTH_ERROR
                },
            });
        }
        Ok(())
    }
}

const fn row(
    flags: u8,
    length: Length,
    sender: Sender,
    malformed: Disposition,
    wrong_length: &'static str,
) -> Rule {
    Rule { flags, length, sender, malformed, wrong_length }
}
