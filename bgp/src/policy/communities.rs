//! A list of communities of all three kinds, and whether a route carries them.

use mcc_config::CommunityRule;

use crate::wire::{Community, LargeCommunity, PathAttributes};

/// Communities by kind, as the attributes have them.
#[derive(Debug, Clone, Default)]
pub(super) struct CommunityList {
    standard: Vec<Community>,
    large: Vec<LargeCommunity>,
    extended: Vec<[u8; 8]>,
}

impl CommunityList {
    pub(super) fn new(rules: &[CommunityRule]) -> Self {
        let mut list = Self::default();
        for rule in rules {
            match *rule {
                CommunityRule::Standard(value) => list.standard.push(Community(value)),
                CommunityRule::Large([global, local1, local2]) => {
                    list.large.push(LargeCommunity { global, local1, local2 });
                }
                CommunityRule::Extended(bytes) => list.extended.push(bytes),
            }
        }
        list
    }

    pub(super) fn is_empty(&self) -> bool {
        self.standard.is_empty() && self.large.is_empty() && self.extended.is_empty()
    }

    /// Whether the route carries at least one of the list.
    pub(super) fn has_any_of(&self, attributes: &PathAttributes) -> bool {
        let PathAttributes { communities, large_communities, extended_communities, .. } =
            attributes;
        self.standard.iter().any(|it| communities.contains(it))
            || self.large.iter().any(|it| large_communities.contains(it))
            || self.extended.iter().any(|it| extended_communities.contains(it))
    }

    /// Whether the route carries the whole list.
    pub(super) fn are_all_of(&self, attributes: &PathAttributes) -> bool {
        let PathAttributes { communities, large_communities, extended_communities, .. } =
            attributes;
        self.standard.iter().all(|it| communities.contains(it))
            && self.large.iter().all(|it| large_communities.contains(it))
            && self.extended.iter().all(|it| extended_communities.contains(it))
    }
}
