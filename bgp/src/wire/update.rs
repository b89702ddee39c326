//! UPDATE (RFC 4271 §4.3): its three fields, and what becomes of it by RFC 7606.

use std::mem;

use nom::combinator::rest;
use nom::multi::length_data;
use nom::number::complete::be_u16;
use nom::{Offset, Parser};

use super::nlri::{CheckedNlri, NlriField};
use super::notification::subcode::update as subcode;
use super::path_attributes::{Block, Fault};
use super::{
    DecodeContext, DecodeError, Disposition, Family, Finding, Notification, NotificationCode,
    Update,
};

/// From a whole message; `body` is its part after the header.
pub(super) fn decode(
    message: &[u8],
    body: &[u8],
    context: &DecodeContext,
) -> Result<Update, DecodeError> {
    let sections = (length_data(be_u16::<_, ()>), length_data(be_u16), rest).parse(body);
    let Ok((_, (withdrawn_field, attribute_block, nlri_field))) = sections else {
        let notification =
            Notification::new(NotificationCode::UpdateMessage, subcode::MALFORMED_ATTRIBUTE_LIST);
        return Err(DecodeError {
            reason: "withdrawn routes or attributes go beyond the end (RFC 4271 §6.3)",
            offset: message.offset(body),
            notification,
        });
    };
    let mut update = Update::default();
    if withdrawn_field.is_empty() && attribute_block.is_empty() && nlri_field.is_empty() {
        if context.ipv4_unicast.is_some() {
            update.end_of_rib = Some(Family::IPV4_UNICAST);
        } else {
            update.findings.push(not_negotiated(message.len()));
        }
        return Ok(update);
    }
    let withdrawn = classic_field(message, withdrawn_field, context, &mut update.findings)?;
    let mut block = Block::new(attribute_block);
    block.read_all(message, context)?;
    if nlri_field.is_empty() {
        block.ignore_next_hop();
    }
    let announced = classic_field(message, nlri_field, context, &mut update.findings)?;

    withdrawn.append_to(&mut update.withdrawn);
    if let Some(unreach) = &block.unreach {
        let nothing_else = block.count == 1 && withdrawn_field.is_empty() && nlri_field.is_empty();
        if unreach.prefixes.is_empty() && nothing_else {
            update.end_of_rib = unreach.family;
        }
        unreach.prefixes.append_to(&mut update.withdrawn);
    }
    // Prefixes of a family that is not ours are prefixes all the same.
    let has_reachable = !nlri_field.is_empty()
        || block.reach.is_some_and(|it| it.family.is_none() || !it.prefixes.is_empty());
    let multiprotocol = block.reach.map_or(CheckedNlri::EMPTY, |reach| reach.prefixes);
    let has_routes = !announced.is_empty() || !multiprotocol.is_empty();
    if has_routes && let Some(missing) = block.missing(!announced.is_empty()) {
        block.faults.push(missing_attribute(missing, message.offset(nlri_field)));
    }
    conclude(&mut update, announced, multiprotocol, &mut block, has_reachable, context)?;
    Ok(update)
}

/// The prefixes of one of the two fields outside of the attributes: IPv4 unicast, always.
fn classic_field<'a>(
    message: &[u8],
    bytes: &'a [u8],
    context: &DecodeContext,
    findings: &mut Vec<Finding>,
) -> Result<CheckedNlri<'a>, DecodeError> {
    if bytes.is_empty() {
        return Ok(CheckedNlri::EMPTY);
    }
    let Some(options) = context.ipv4_unicast else {
        findings.push(not_negotiated(message.offset(bytes)));
        return Ok(CheckedNlri::EMPTY);
    };
    let field = NlriField { bytes, family: Family::IPV4_UNICAST, options };
    field.check().map_err(|(at, reason)| DecodeError {
        reason,
        offset: message.offset(at),
        notification: Notification::new(
            NotificationCode::UpdateMessage,
            subcode::INVALID_NETWORK_FIELD,
        ),
    })
}

/// The gravest fault decides (RFC 7606 §3h). `multiprotocol` are the prefixes of `MP_REACH_NLRI`,
/// `announced` those outside of it.
fn conclude(
    update: &mut Update,
    announced: CheckedNlri<'_>,
    multiprotocol: CheckedNlri<'_>,
    block: &mut Block<'_>,
    has_reachable: bool,
    context: &DecodeContext,
) -> Result<(), DecodeError> {
    let is_withdraw = |fault: &Fault<'_>| fault.finding.disposition >= Disposition::TreatAsWithdraw;
    let gravest = block.faults.iter().position(is_withdraw);
    if let Some(position) = gravest
        && !has_reachable
    {
        // With nothing to withdraw, the prefixes may have been lost with the attribute
        // (RFC 7606 §5.2).
        return Err(block.faults.swap_remove(position).into_error());
    }
    let faults = mem::take(&mut block.faults);
    update.findings.extend(faults.into_iter().map(|fault| fault.finding));
    if gravest.is_some() {
        announced.append_to(&mut update.withdrawn);
        multiprotocol.append_to(&mut update.withdrawn);
        return Ok(());
    }
    if !announced.is_empty() {
        announced.append_to(&mut update.announced);
        update.attributes = Some(block.attributes(context));
    }
    if !multiprotocol.is_empty() {
        let other = if announced.is_empty() {
            update
        } else {
            &mut **update.other_next_hop.insert(Box::default())
        };
        multiprotocol.append_to(&mut other.announced);
        other.attributes = Some(block.multiprotocol_attributes(context));
    }
    Ok(())
}

/// Such routes are ignored: what they are was never agreed on.
fn not_negotiated(offset: usize) -> Finding {
    Finding {
        disposition: Disposition::AttributeDiscard,
        attribute: None,
        offset,
        reason: "IPv4 unicast was not negotiated (RFC 4760 §8)",
    }
}

/// Never told to the neighbor (3/3): it takes prefixes to need the attribute, and where these are
/// known they are withdrawn (RFC 7606 §3d).
fn missing_attribute(code: u8, offset: usize) -> Fault<'static> {
    Fault {
        finding: Finding {
            disposition: Disposition::TreatAsWithdraw,
            attribute: Some(code),
            offset,
            reason: "it is mandatory, and missing (RFC 7606 §3d)",
        },
        subcode: subcode::MISSING_WELL_KNOWN_ATTRIBUTE,
        data: &[],
    }
}
