//! UPDATE (RFC 4271 §4.3): its three fields, and what becomes of it by RFC 7606.

use std::mem;

use nom::combinator::rest;
use nom::multi::length_data;
use nom::number::complete::be_u16;
use nom::{Offset, Parser};

use super::nlri::NlriField;
use super::notification::subcode::update as subcode;
use super::path_attributes::{Block, Fault};
use super::{
    DecodeContext, DecodeError, Disposition, Family, Finding, NlriList, Notification,
    NotificationCode, Update,
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
    update.withdrawn = classic_field(message, withdrawn_field, context, &mut update.findings)?;
    let mut block = Block::decode(message, attribute_block, context)?;
    update.announced = classic_field(message, nlri_field, context, &mut update.findings)?;

    let mut has_reachable = !nlri_field.is_empty();
    let mut multiprotocol = NlriList::new();
    if let Some(reach) = &mut block.reach {
        // Prefixes of a family that is not ours are prefixes all the same.
        has_reachable |= reach.family.is_none() || !reach.prefixes.is_empty();
        multiprotocol = mem::take(&mut reach.prefixes);
    }
    if let Some(unreach) = &mut block.unreach {
        let nothing_else = block.count == 1 && withdrawn_field.is_empty() && nlri_field.is_empty();
        if unreach.prefixes.is_empty() && nothing_else {
            update.end_of_rib = unreach.family;
        }
        append(&mut update.withdrawn, mem::take(&mut unreach.prefixes));
    }
    let has_routes = !update.announced.is_empty() || !multiprotocol.is_empty();
    if has_routes && let Some(missing) = block.missing(!update.announced.is_empty()) {
        block.faults.push(missing_attribute(missing, message.offset(nlri_field)));
    }
    conclude(update, multiprotocol, block, has_reachable, context)
}

/// The prefixes of one of the two fields outside of the attributes: IPv4 unicast, always.
fn classic_field(
    message: &[u8],
    bytes: &[u8],
    context: &DecodeContext,
    findings: &mut Vec<Finding>,
) -> Result<NlriList, DecodeError> {
    let mut prefixes = NlriList::new();
    if bytes.is_empty() {
        return Ok(prefixes);
    }
    let Some(options) = context.ipv4_unicast else {
        findings.push(not_negotiated(message.offset(bytes)));
        return Ok(prefixes);
    };
    let field = NlriField { bytes, family: Family::IPV4_UNICAST, options };
    match field.read_into(&mut prefixes) {
        Ok(()) => Ok(prefixes),
        Err((at, reason)) => Err(DecodeError {
            reason,
            offset: message.offset(at),
            notification: Notification::new(
                NotificationCode::UpdateMessage,
                subcode::INVALID_NETWORK_FIELD,
            ),
        }),
    }
}

/// The gravest fault decides (RFC 7606 §3h). `multiprotocol` are the prefixes of `MP_REACH_NLRI`.
fn conclude(
    mut update: Update,
    multiprotocol: NlriList,
    mut block: Block<'_>,
    has_reachable: bool,
    context: &DecodeContext,
) -> Result<Update, DecodeError> {
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
        append(&mut update.withdrawn, mem::take(&mut update.announced));
        append(&mut update.withdrawn, multiprotocol);
        return Ok(update);
    }
    if multiprotocol.is_empty() {
        update.attributes = (!update.announced.is_empty()).then(|| block.attributes(context));
        return Ok(update);
    }
    let attributes = Some(block.multiprotocol_attributes(context));
    if update.announced.is_empty() {
        (update.announced, update.attributes) = (multiprotocol, attributes);
    } else {
        update.attributes = Some(block.attributes(context));
        let other = Update { announced: multiprotocol, attributes, ..Update::default() };
        update.other_next_hop = Some(Box::new(other));
    }
    Ok(update)
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

/// Without a copy where there was nothing before.
fn append(list: &mut NlriList, mut more: NlriList) {
    if list.is_empty() {
        *list = more;
    } else {
        list.append(&mut more);
    }
}
