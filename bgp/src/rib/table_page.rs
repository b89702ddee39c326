//! The whole table, prefix by prefix, with everything that the neighbors said of each: for dumps
//! and for BMP stations.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::prefix_table::Inclusive;
use super::{Rib, Seconds};
use crate::wire::AttributeSet;

/// How many prefixes one page looks at, whoever has them.
const SLICE: usize = 4096;
/// After so many routes a page ends with the prefix that it is at.
const ROUTES: usize = 8192;

/// A page of the table. It is as the table was at one moment; the next one is of a later moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TablePage {
    /// In order of address, then length. Only prefixes that have a route.
    pub prefixes: Vec<TablePrefix>,
    /// Where the next page begins: after this prefix. `None` on the last.
    pub next: Option<IpNet>,
}

/// A prefix with its routes, refused and stale ones included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePrefix {
    /// The prefix.
    pub prefix: IpNet,
    /// In the order of the neighbors, then of the path identifiers. At least one.
    pub routes: Vec<TableRoute>,
}

/// One route of a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRoute {
    /// Who announced it.
    pub neighbor: IpAddr,
    /// ADD-PATH identifier; 0 without.
    pub path_id: u32,
    /// Its attributes as they came.
    pub attributes: AttributeSet,
    /// Time since it was announced.
    pub age: Duration,
    /// Whether it is footprint.
    pub accepted: bool,
    /// Whether it is of a lost session.
    pub stale: bool,
}

impl Rib {
    /// The page of the table after `after`, of all neighbors or of one.
    #[must_use]
    pub fn table_page(
        &self,
        neighbor: Option<IpAddr>,
        after: Option<IpNet>,
        now: Instant,
    ) -> TablePage {
        let now = Seconds::between(self.began, now);
        let mut page = TablePage::default();
        let mut routes_on_page = 0;
        let prefixes = self.prefixes.iter(after.map(|after| (after, Inclusive(false))));
        for (looked_at, (prefix, id)) in prefixes.enumerate() {
            let asked = self
                .neighbors
                .iter()
                .filter(|n| neighbor.is_none_or(|address| n.rules.address == address));
            let routes = asked.flat_map(|n| {
                let routes = n.table.of(id);
                routes.filter_map(move |(path_id, route)| {
                    Some(TableRoute {
                        neighbor: n.rules.address,
                        path_id,
                        attributes: self.attributes.get(route.attributes())?,
                        age: route.learned().until(now),
                        accepted: route.is_accepted(),
                        stale: n.table.is_stale(&prefix, route),
                    })
                })
            });
            let routes: Vec<_> = routes.collect();
            routes_on_page += routes.len();
            if !routes.is_empty() {
                page.prefixes.push(TablePrefix { prefix, routes });
            }
            if looked_at + 1 >= SLICE || routes_on_page >= ROUTES {
                page.next = Some(prefix);
                break;
            }
        }
        page
    }
}
