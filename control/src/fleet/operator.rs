//! What operators do with nodes: create, change, drain, disable, delete, enrol.
//!
//! Each change is checked against all nodes, committed together with its line in the audit log,
//! and only then made in memory and published for steering.

use jiff::{SignedDuration, Timestamp};
use mcc_config::{NodeName, Secret};
use serde::Serialize;

use super::keeper::{Keeper, Member};
use super::{FleetError, Wish};
use crate::api::types::{Node, NodePatch};
use crate::node::NodeSettings;
use crate::steering::NodeId;
use crate::store::{self, Change};
use crate::tokens::{self, Hash};

/// How long an enrolment key is good.
const KEY_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// What the audit log tells of a wish.
#[derive(Serialize)]
struct Wishes {
    enabled: bool,
    draining: bool,
}

impl Keeper {
    pub(super) fn list(&self) -> Vec<Node> {
        let now = Timestamp::now();
        let mut nodes: Vec<_> =
            self.members.values().map(|member| self.show(member, now)).collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        nodes
    }

    pub(super) fn get(&self, name: &NodeName) -> Result<Node, FleetError> {
        Ok(self.show(self.named(name)?, Timestamp::now()))
    }

    pub(super) async fn create(
        &mut self,
        actor: &str,
        settings: NodeSettings,
    ) -> Result<Node, FleetError> {
        settings.check(self.ipv6)?;
        // Names are DNS labels, which have no case: `Edge-1` beside `edge-1` would be one name twice.
        let same = |other: &NodeName| other.as_str().eq_ignore_ascii_case(settings.name.as_str());
        if let Some(other) = self.members.values().find(|m| same(&m.settings.name)) {
            return Err(FleetError::InUse {
                what: "name",
                value: settings.name.to_string(),
                holder: other.settings.name.clone(),
                way_out: "names are unique, choose another",
            });
        }
        self.check_against_others(&settings, None)?;
        let now = Timestamp::now();
        let mut write = self.store.write().await?;
        let id = store::nodes::insert(&mut write, &settings, now).await?;
        let change = Change {
            actor,
            action: "node.create",
            subject: settings.name.as_str(),
            before: None,
            after: Some(&settings.redacted()),
        };
        store::audit::record(&mut write, now, change).await?;
        write.commit().await.map_err(store::StoreError::from)?;

        tracing::info!(node = %settings.name, address = %settings.address, actor, "node created");
        let member = Member::created(id, settings, now);
        let shown = self.show(&member, now);
        self.members.insert(id, member);
        self.place_cidrs(id, &[]);
        self.publish(now);
        Ok(shown)
    }

    pub(super) async fn change(
        &mut self,
        actor: &str,
        name: &NodeName,
        patch: NodePatch,
        expected: Option<u64>,
    ) -> Result<Node, FleetError> {
        let member = self.named(name)?;
        if let Some(expected) = expected.filter(|expected| *expected != member.generation) {
            return Err(FleetError::Outdated { expected, now: member.generation });
        }
        let (id, before, generation) = (member.id, member.settings.clone(), member.generation + 1);
        let after = patch.apply(&before);
        let now = Timestamp::now();
        if after == before {
            return Ok(self.show(member, now));
        }
        after.check(self.ipv6)?;
        self.check_against_others(&after, Some(id))?;
        let mut write = self.store.write().await?;
        store::nodes::update_settings(&mut write, id, &after, generation).await?;
        let change = Change {
            actor,
            action: "node.change",
            subject: name.as_str(),
            before: Some(&before.redacted()),
            after: Some(&after.redacted()),
        };
        store::audit::record(&mut write, now, change).await?;
        write.commit().await.map_err(store::StoreError::from)?;

        tracing::info!(node = %name, generation, actor, "node settings changed");
        if let Some(member) = self.members.get_mut(&id) {
            member.settings = after;
            member.generation = generation;
        }
        self.place_cidrs(id, &before.cidrs);
        self.publish(now);
        self.get(name)
    }

    pub(super) async fn wish(
        &mut self,
        actor: &str,
        name: &NodeName,
        wish: Wish,
    ) -> Result<Node, FleetError> {
        let member = self.named(name)?;
        let id = member.id;
        let before = Wishes { enabled: member.enabled, draining: member.draining };
        let after = match wish {
            Wish::Drain => Wishes { draining: true, ..before },
            Wish::Undrain => Wishes { draining: false, ..before },
            Wish::Enable => Wishes { enabled: true, ..before },
            Wish::Disable => Wishes { enabled: false, ..before },
        };
        let now = Timestamp::now();
        let mut write = self.store.write().await?;
        store::nodes::update_wish(&mut write, id, after.enabled, after.draining).await?;
        let action = format!("node.{}", wish.as_str());
        let change = Change {
            actor,
            action: &action,
            subject: name.as_str(),
            before: Some(&before),
            after: Some(&after),
        };
        store::audit::record(&mut write, now, change).await?;
        write.commit().await.map_err(store::StoreError::from)?;

        if let Some(member) = self.members.get_mut(&id) {
            member.enabled = after.enabled;
            member.draining = after.draining;
        }
        self.publish(now);
        self.get(name)
    }

    pub(super) async fn delete(&mut self, actor: &str, name: &NodeName) -> Result<(), FleetError> {
        let member = self.named(name)?;
        let (id, before) = (member.id, member.settings.redacted());
        let now = Timestamp::now();
        let mut write = self.store.write().await?;
        store::nodes::delete(&mut write, id).await?;
        let change = Change {
            actor,
            action: "node.delete",
            subject: name.as_str(),
            before: Some(&before),
            after: None,
        };
        store::audit::record(&mut write, now, change).await?;
        write.commit().await.map_err(store::StoreError::from)?;

        tracing::info!(node = %name, actor, "node deleted");
        self.forget(id);
        self.publish(now);
        Ok(())
    }

    pub(super) async fn enrolment_key(
        &mut self,
        actor: &str,
        name: &NodeName,
    ) -> Result<(Secret, Timestamp), FleetError> {
        #[derive(Serialize)]
        struct Made {
            expires_at: Timestamp,
        }
        let id = self.named(name)?.id;
        let now = Timestamp::now();
        let key = tokens::new_enrolment_key();
        let expires_at = now.saturating_add(KEY_LIFE).unwrap_or(Timestamp::MAX);
        let mut write = self.store.write().await?;
        store::enrolment::insert(&mut write, id, &Hash::of(key.expose()), now, expires_at).await?;
        let change = Change {
            actor,
            action: "node.enrolment_key",
            subject: name.as_str(),
            before: None,
            after: Some(&Made { expires_at }),
        };
        store::audit::record(&mut write, now, change).await?;
        write.commit().await.map_err(store::StoreError::from)?;

        if let Some(member) = self.members.get_mut(&id) {
            member.key_expires_at = Some(expires_at);
        }
        self.publish(now);
        Ok((key, expires_at))
    }

    /// Refuses an address or a CIDR block that another node has. A block inside another's is fine:
    /// the longest prefix decides.
    fn check_against_others(
        &self,
        settings: &NodeSettings,
        own: Option<NodeId>,
    ) -> Result<(), FleetError> {
        for other in self.members.values().filter(|member| Some(member.id) != own) {
            let in_use = |what, value: String, way_out| {
                Err(FleetError::InUse { what, value, holder: other.settings.name.clone(), way_out })
            };
            if other.settings.address == settings.address {
                let way_out = "each node has its own address";
                return in_use("address", settings.address.to_string(), way_out);
            }
            let shared = settings.cidrs.iter().find(|cidr| other.settings.cidrs.contains(cidr));
            if let Some(cidr) = shared {
                let way_out = "remove it there first, or enter a longer prefix";
                return in_use("CIDR block", cidr.to_string(), way_out);
            }
        }
        Ok(())
    }

    fn named(&self, name: &NodeName) -> Result<&Member, FleetError> {
        self.members
            .values()
            .find(|member| member.settings.name == *name)
            .ok_or_else(|| FleetError::NoSuchNode(name.clone()))
    }
}
