//! Roles of the two ASes of an eBGP session (RFC 9234 §4): which fit together, and what is wrong
//! with those of an OPEN.

use mcc_config::BgpRole;

use crate::wire::{Capability, Open};

/// The number of a role on the wire (RFC 9234 §4.1).
pub(super) const fn code(role: BgpRole) -> u8 {
    match role {
        BgpRole::Provider => 0,
        BgpRole::Rs => 1,
        BgpRole::RsClient => 2,
        BgpRole::Customer => 3,
        BgpRole::Peer => 4,
    }
}

/// The role with a number on the wire.
pub(super) fn from_code(number: u8) -> Option<BgpRole> {
    use BgpRole::{Customer, Peer, Provider, Rs, RsClient};

    [Provider, Rs, RsClient, Customer, Peer].into_iter().find(|&role| code(role) == number)
}

/// The code of the role capability (RFC 9234 §4.1).
const CAPABILITY: u8 = 9;

/// Whether there is a role capability that is not of one octet: it is one that is not there.
pub(super) fn is_malformed_in(open: &Open) -> bool {
    let mut capabilities = open.capabilities.iter();
    capabilities.any(|it| matches!(it, Capability::Unknown { code: CAPABILITY, .. }))
}

/// The role that the neighbor says it has, which is the one that ours, `role`, asks for; `None` if it
/// says nothing (RFC 9234 §4.2).
///
/// # Errors
/// In words, with 2/11 to be sent: another role than ours asks for, several, or none although
/// `strict`.
pub(super) fn of_neighbor(
    role: BgpRole,
    strict: bool,
    open: &Open,
) -> Result<Option<BgpRole>, String> {
    let expected = role.of_neighbor();
    let mut claimed = open.capabilities.iter().filter_map(|capability| match capability {
        Capability::Role(code) => Some(*code),
        _ => None,
    });
    if let Some(wrong) = claimed.find(|&claimed| claimed != code(expected)) {
        return Err(format!(
            "the router says that it is {}, and `role = \"{role}\"` asks for {expected}",
            Capability::Role(wrong).detail().unwrap_or_default(),
        ));
    }
    if open.capabilities.contains(&Capability::Role(code(expected))) {
        return Ok(Some(expected));
    }
    if !strict {
        return Ok(None);
    }
    let what = if is_malformed_in(open) {
        "the router's role is malformed: it is not of one octet (RFC 9234 §4.1)"
    } else {
        "the router names no role"
    };
    Err(format!("{what}, and `role_strict` asks for {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::{LOW, their_open};

    /// RFC 9234 §4.2, table 2, and the cases in the text below it.
    #[test]
    fn roles_that_fit() {
        let open = |codes: &[u8]| {
            let mut open = their_open(LOW);
            open.capabilities.extend(codes.iter().copied().map(Capability::Role));
            open
        };
        let all =
            [BgpRole::Provider, BgpRole::Rs, BgpRole::RsClient, BgpRole::Customer, BgpRole::Peer];
        for (ours, theirs) in all.into_iter().zip([3, 2, 1, 0, 4]) {
            for code in 0..=255 {
                let fits = of_neighbor(ours, false, &open(&[code])).is_ok();
                assert_eq!(fits, code == theirs, "{ours} and {code}");
            }
            assert_eq!(of_neighbor(ours, false, &open(&[])), Ok(None), "no role is no mismatch");
            assert!(of_neighbor(ours, true, &open(&[])).is_err(), "but in strict mode");
            assert!(of_neighbor(ours, true, &open(&[theirs])).is_ok());
            assert!(of_neighbor(ours, false, &open(&[theirs, theirs])).is_ok(), "said twice");
            assert!(of_neighbor(ours, false, &open(&[theirs, 9])).is_err(), "two different ones");
        }
        let mut odd = open(&[]);
        let value = bytes::Bytes::from_static(&[0, 0]);
        odd.capabilities.push(Capability::Unknown { code: CAPABILITY, value });
        assert_eq!(of_neighbor(BgpRole::Customer, false, &odd), Ok(None));
        let words = of_neighbor(BgpRole::Customer, true, &odd).unwrap_err();
        assert!(words.contains("malformed") && words.contains("asks for provider"), "{words}");
        let words = of_neighbor(BgpRole::Customer, true, &open(&[])).unwrap_err();
        assert_eq!(words, "the router names no role, and `role_strict` asks for provider");
        let words = of_neighbor(BgpRole::Customer, false, &open(&[3])).unwrap_err();
        assert_eq!(
            words,
            "the router says that it is customer, and `role = \"customer\"` asks for provider"
        );
    }
}
