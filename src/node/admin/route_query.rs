//! The query of `GET /v1/bgp/routes`: from text to what the RIB is asked.

use std::net::IpAddr;

use ipnet::IpNet;
use mcc_bgp::rib::{RouteConditions, RouteFilter, RouteQuery, Verdict};
use serde::Deserialize;

use super::page;
use super::problem::Problem;

/// All that can be asked, each at most once. Conditions add up.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Routes {
    /// The routes of the longest prefix that has this address in it.
    ip: Option<IpAddr>,
    /// The routes of this prefix.
    prefix: Option<IpNet>,
    /// Those inside the prefix too.
    #[serde(default)]
    longer: bool,
    /// Only of this neighbor.
    neighbor: Option<IpAddr>,
    #[serde(default)]
    accepted: bool,
    #[serde(default)]
    rejected: bool,
    /// Only refused ones, for this reason.
    reason: Option<String>,
    #[serde(default)]
    stale: bool,
    /// Only of paths that begin in this AS.
    origin_as: Option<u32>,
    /// Only of paths with this AS.
    #[serde(rename = "as")]
    path_as: Option<u32>,
    community: Option<String>,
    limit: Option<usize>,
    /// Where an earlier page ended.
    after: Option<String>,
}

impl Routes {
    /// What the RIB is asked. Without `ipv6` it can have no IPv6 route, and "none" would be a
    /// misleading answer.
    pub(super) fn query(self, ipv6: bool) -> Result<RouteQuery, Problem> {
        let prefix = self.prefix.map(|prefix| prefix.addr());
        let mut addresses = [self.ip, prefix, self.neighbor].into_iter().flatten();
        if let Some(address) = addresses.find(|address| address.is_ipv6() && !ipv6) {
            return Err(Problem::bad_request(format!(
                "`{address}` is IPv6, which is off: `[node] ipv6 = true` switches it on"
            )));
        }
        if let Some(prefix) = self.prefix
            && prefix.trunc() != prefix
        {
            return Err(Problem::bad_request(format!(
                "`{prefix}`: host bits are set; the prefix is {}",
                prefix.trunc()
            )));
        }
        let filter = match (self.ip, self.prefix, self.longer) {
            (None, None, false) => RouteFilter::All,
            (Some(ip), None, false) => RouteFilter::LongestMatch(ip),
            (None, Some(prefix), false) => RouteFilter::Exact(prefix),
            (None, Some(prefix), true) => RouteFilter::Longer(prefix),
            (Some(_), Some(_), _) => {
                return Err(Problem::bad_request("`ip` or `prefix`, not both"));
            }
            (_, None, true) => return Err(Problem::bad_request("`longer` goes with `prefix`")),
        };
        let after = self.after.as_deref().map(str::parse).transpose();
        Ok(RouteQuery {
            filter,
            neighbor: self.neighbor,
            limit: page(self.limit)?,
            after: after.map_err(|error| unreadable(&error))?,
            conditions: self.conditions()?,
        })
    }

    fn conditions(self) -> Result<RouteConditions, Problem> {
        let verdict = match (self.accepted, self.rejected, self.reason) {
            (false, false, None) => Verdict::Any,
            (true, false, None) => Verdict::Accepted,
            (false, true, None) => Verdict::Refused,
            (false, _, Some(reason)) => {
                Verdict::refused_for(&reason).map_err(|error| unreadable(&error))?
            }
            (true, ..) => {
                return Err(Problem::bad_request(
                    "`accepted` does not go with `rejected` or `reason`",
                ));
            }
        };
        let community = self.community.as_deref().map(|text| {
            text.parse().map_err(|error| {
                Problem::bad_request(format!("`{text}` is no community; it is {error}"))
            })
        });
        Ok(RouteConditions {
            verdict,
            stale: self.stale,
            origin_as: self.origin_as,
            path_as: self.path_as,
            community: community.transpose()?,
        })
    }
}

fn unreadable(error: &impl ToString) -> Problem {
    Problem::bad_request(error.to_string())
}

#[cfg(test)]
mod tests {
    use axum::extract::Query;
    use axum::http::StatusCode;

    use super::*;

    fn ask(query: &str, ipv6: bool) -> Result<RouteQuery, (StatusCode, String)> {
        let uri = format!("http://node/v1/bgp/routes?{query}").parse().unwrap();
        let Query(routes) = Query::<Routes>::try_from_uri(&uri).unwrap();
        routes.query(ipv6).map_err(|problem| (problem.status, problem.detail))
    }

    #[test]
    fn ipv6_is_refused_where_it_is_off() {
        for query in ["ip=2001:db8::1", "prefix=2001:db8::/32", "neighbor=2001:db8::1"] {
            let (status, detail) = ask(query, false).unwrap_err();
            assert_eq!(status, StatusCode::BAD_REQUEST);
            assert!(detail.contains("`[node] ipv6 = true`"), "{detail}");
            assert!(ask(query, true).is_ok());
        }
        assert!(ask("ip=192.0.2.7&neighbor=192.0.2.1", false).is_ok());
    }

    #[test]
    fn conditions_are_read_and_what_makes_no_sense_is_told() {
        let asked =
            ask("reason=too_long&stale=true&origin_as=64500&as=64501&community=65100:911", false);
        let conditions = asked.unwrap().conditions;
        assert_eq!(conditions.verdict, Verdict::refused_for("too_long").unwrap());
        assert!(conditions.stale);
        assert_eq!((conditions.origin_as, conditions.path_as), (Some(64500), Some(64501)));
        assert_eq!(conditions.community, Some("65100:911".parse().unwrap()));
        for (query, words) in [
            ("reason=toolong", "the reasons are: "),
            ("community=65100", "is no community"),
            ("accepted=true&rejected=true", "does not go with"),
            ("accepted=true&reason=too_long", "does not go with"),
            ("longer=true", "`longer` goes with `prefix`"),
            ("prefix=1.2.3.4/8", "host bits are set; the prefix is 1.0.0.0/8"),
            ("prefix=1.2.3.4/8&longer=true", "`1.2.3.4/8`: host bits are set"),
            ("limit=0", "`limit` is 1 or more"),
            ("after=x", "use what an earlier page gave"),
        ] {
            let (status, detail) = ask(query, false).unwrap_err();
            assert_eq!(status, StatusCode::BAD_REQUEST);
            assert!(detail.contains(words), "{query}: {detail}");
        }
    }
}
