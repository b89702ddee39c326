//! The footprint on disk: what each neighbor announced and was accepted, so that a node that starts
//! again serves its clients before its routers have spoken.
//!
//! A file is a magic number, pages, and an end mark; each page has a length and a checksum. A page
//! holds routes of one neighbor, with each attribute set once. A file without its end mark, or with one
//! page that is not what was written, is not read at all: it is good as a whole or not good.
//!
//! Bytes come in and go out as values; who writes the file is [`crate::speaker`].

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use nom::bytes::complete::{tag, take};
use nom::combinator::{cond, map_opt, verify};
use nom::multi::{length_count, length_data};
use nom::number::complete::{be_u8, be_u16, be_u32, be_u64};
use nom::{IResult, Parser};
use thiserror::Error;

use super::adj_rib_in::Place;
use super::walk::Position;
use super::{Neighbor, NeighborId, Rib, SessionEvent};
use crate::session::Retention;
use crate::wire::{AttributeSet, Nlri, NlriList, Update};

/// Of the second version of the format, in which a page has a time.
const MAGIC: &[u8; 8] = b"mccfoot2";
/// Of the first one, which is still read.
const MAGIC_1: &[u8; 8] = b"mccfoot1";
/// In place of a page's time: its routes are not those of an earlier run.
const NOT_RESTORED: u32 = u32::MAX;
/// In place of a page's length: the number of routes in the whole file follows.
const END: u32 = u32::MAX;
/// How many prefixes one call of [`Rib::save`] looks at.
const SLICE: usize = 8192;

/// How far the saving has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaveCursor {
    neighbor: NeighborId,
    position: Position,
}

impl Default for SaveCursor {
    fn default() -> Self {
        Self { neighbor: NeighborId(0), position: Position::Start }
    }
}

/// A part of the file, and where the next begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedPage {
    /// To be appended to the file.
    pub bytes: Vec<u8>,
    /// How many routes are in it.
    pub routes: u64,
    /// None after the last.
    pub next: Option<SaveCursor>,
}

/// What one neighbor had announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedRoutes {
    /// The neighbor.
    pub neighbor: IpAddr,
    /// Its AS number.
    pub asn: u32,
    /// If they were of an earlier run already: how long they were still to stay.
    pub left: Option<Duration>,
    /// The routes, as if they came in.
    pub updates: Vec<Update>,
}

/// A file that is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LastGoodError {
    /// It does not begin as such a file does.
    #[error("it is no footprint of mcc, or one of another version")]
    Unknown,
    /// It ends too soon.
    #[error("it ends at byte {0}, before its end mark: it was not written to the end")]
    CutShort(usize),
    /// What is there is not what was written.
    #[error("the page at byte {0} is damaged")]
    Damaged(usize),
}

/// What the file begins with.
#[must_use]
pub fn file_head() -> Vec<u8> {
    MAGIC.to_vec()
}

/// What the file ends with.
#[must_use]
pub fn file_end(routes: u64) -> Vec<u8> {
    [END.to_be_bytes().as_slice(), &routes.to_be_bytes()].concat()
}

/// Reads a whole file.
///
/// # Errors
/// What is wrong with it, and where.
pub fn read_file(file: &[u8]) -> Result<Vec<SavedRoutes>, LastGoodError> {
    let (mut left, with_time) = match (file.strip_prefix(MAGIC), file.strip_prefix(MAGIC_1)) {
        (Some(pages), _) => (pages, true),
        (None, Some(pages)) => (pages, false),
        (None, None) => return Err(LastGoodError::Unknown),
    };
    let (mut pages, mut count) = (Vec::new(), 0u64);
    loop {
        let at = file.len() - left.len();
        let length: IResult<_, _, ()> = be_u32(left);
        let (rest, length) = length.map_err(|_| LastGoodError::CutShort(file.len()))?;
        if length == END {
            let total: IResult<_, _, ()> = be_u64(rest);
            let (_, total) = total.map_err(|_| LastGoodError::CutShort(file.len()))?;
            return if total == count { Ok(pages) } else { Err(LastGoodError::Damaged(at)) };
        }
        let parts: IResult<_, _, ()> =
            (be_u32, take(usize::try_from(length).unwrap_or(usize::MAX))).parse(rest);
        let (rest, (checksum, body)) = parts.map_err(|_| LastGoodError::CutShort(file.len()))?;
        if crc32c::crc32c(body) != checksum {
            return Err(LastGoodError::Damaged(at));
        }
        let routes = page(body, with_time).map_err(|_| LastGoodError::Damaged(at))?.1;
        count += routes.updates.iter().map(|update| update.announced.len() as u64).sum::<u64>();
        pages.push(routes);
        left = rest;
    }
}

/// Neighbor, AS number, seconds that are left, sets, routes by the number of their set.
fn page(body: &[u8], with_time: bool) -> IResult<&[u8], SavedRoutes, ()> {
    let (left, neighbor) = address(body)?;
    let (left, asn) = be_u32(left)?;
    let (left, seconds) = cond(with_time, be_u32).parse(left)?;
    let seconds = seconds.filter(|seconds| *seconds != NOT_RESTORED);
    let time = seconds.map(|seconds| Duration::from_secs(u64::from(seconds)));
    let set = length_data(be_u16).map(AttributeSet::from_bytes);
    let (left, sets) = length_count(be_u16, set).parse(left)?;
    let announced = length_count(be_u32, (be_u16, nlri));
    let (left, routes) = verify(announced, |routes: &Vec<_>| {
        routes.iter().all(|(set, _): &(u16, Nlri)| usize::from(*set) < sets.len())
    })
    .parse(left)?;
    let mut by_set: Vec<NlriList> = vec![NlriList::new(); sets.len()];
    for (set, nlri) in routes {
        if let Some(list) = by_set.get_mut(usize::from(set)) {
            list.push(nlri);
        }
    }
    let updates = by_set.into_iter().zip(sets).map(|(announced, set)| Update {
        announced,
        attributes: Some(set),
        ..Update::default()
    });
    let updates = updates.filter(|update| !update.announced.is_empty()).collect();
    Ok((left, SavedRoutes { neighbor, asn, left: time, updates }))
}

fn nlri(input: &[u8]) -> IResult<&[u8], Nlri, ()> {
    let prefix = map_opt((address, be_u8), |(address, length)| {
        IpNet::new(address, length).ok().filter(|prefix| prefix.trunc() == *prefix)
    });
    (prefix, be_u32).map(|(prefix, path_id)| Nlri { prefix, path_id }).parse(input)
}

fn address(input: &[u8]) -> IResult<&[u8], IpAddr, ()> {
    if let Ok((left, _)) = tag::<_, _, ()>(&[4u8][..]).parse(input) {
        return be_u32.map(|bits| Ipv4Addr::from_bits(bits).into()).parse(left);
    }
    let octets = map_opt(take(16usize), |octets: &[u8]| <[u8; 16]>::try_from(octets).ok());
    (tag(&[6u8][..]), octets).map(|(_, octets)| Ipv6Addr::from(octets).into()).parse(input)
}

fn put_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            out.push(4);
            out.extend(address.octets());
        }
        IpAddr::V6(address) => {
            out.push(6);
            out.extend(address.octets());
        }
    }
}

impl Rib {
    /// Takes in what a file held, before any session is up: the routes are stale ones, and stay
    /// until their neighbor has announced its table or `keep` has passed. Once its session has come
    /// up, it has the time that a neighbor has after any loss of its session. What the neighbors and
    /// the rules of today do not have is left out. How many routes there are now.
    pub fn restore(&mut self, saved: Vec<SavedRoutes>, keep: Duration, now: Instant) -> usize {
        let mut left = HashMap::new();
        for SavedRoutes { neighbor, asn, left: of_page, updates } in saved {
            let is_same = |n: &Neighbor| n.rules.address == neighbor && n.rules.asn == asn;
            let known = self.ids().zip(&self.neighbors).find(|(_, known)| is_same(known));
            let Some((id, _)) = known else { continue };
            left.insert(id, of_page.map_or(keep, |time| time.min(keep)));
            for update in updates {
                self.handle(id, &SessionEvent::Update(update), now);
            }
        }
        let mut routes = 0;
        for id in self.ids() {
            let lost = SessionEvent::Down(Retention::keep(Duration::ZERO));
            self.handle(id, &lost, now);
            let Some(neighbor) = self.neighbors.get_mut(usize::from(id.0)) else { continue };
            if let Some(&left) = left.get(&id) {
                neighbor.restored_until = Some(now + left);
                neighbor.known_good.is_good();
                for generations in neighbor.table.families_mut() {
                    generations.stale_until_then(now + left);
                }
            }
            routes += neighbor.table.stale() as usize;
        }
        if routes > 0 {
            let totals = self.footprint.totals(&self.prefixes);
            self.export.restored(totals, now);
        }
        routes
    }

    /// The next part of the file: accepted routes that are not about to be removed.
    #[must_use]
    pub fn save(&self, cursor: SaveCursor, now: Instant) -> SavedPage {
        let Some(neighbor) = self.neighbors.get(usize::from(cursor.neighbor.0)) else {
            return SavedPage { bytes: Vec::new(), routes: 0, next: None };
        };
        let mut slice = self.slice(neighbor, cursor.position, None, SLICE);
        let mut numbers = HashMap::new();
        let (mut sets, mut routes, mut count) = (Vec::new(), Vec::new(), 0u32);
        for (place, route) in slice.by_ref() {
            if !route.is_accepted() || neighbor.table.is_doomed(place, route) {
                continue;
            }
            let Some(set) = self.attributes.get(route.attributes()) else { continue };
            let next = u16::try_from(numbers.len());
            let length = u16::try_from(set.as_bytes().len());
            // There are no more sets than routes in a page, and none is longer than an UPDATE.
            let (Ok(next), Ok(length)) = (next, length) else { continue };
            let number = *numbers.entry(route.attributes().number()).or_insert_with(|| {
                sets.extend(length.to_be_bytes());
                sets.extend(set.as_bytes());
                next
            });
            routes.extend(number.to_be_bytes());
            let Place { prefix, path_id, .. } = place;
            put_address(&mut routes, prefix.addr());
            routes.push(prefix.prefix_len());
            routes.extend(path_id.to_be_bytes());
            count += 1;
        }
        let next = match slice.more() {
            Some(position) => Some(SaveCursor { position, ..cursor }),
            None => {
                let neighbor = NeighborId(cursor.neighbor.0.saturating_add(1));
                let exists = usize::from(neighbor.0) < self.neighbors.len();
                exists.then_some(SaveCursor { neighbor, position: Position::Start })
            }
        };
        if count == 0 {
            return SavedPage { bytes: Vec::new(), routes: 0, next };
        }
        let mut body = Vec::new();
        put_address(&mut body, neighbor.rules.address);
        body.extend(neighbor.rules.asn.to_be_bytes());
        // So that node after node that starts does not keep for ever what nobody announces.
        let left = neighbor.restored_until.map(|until| until.saturating_duration_since(now));
        let left =
            left.map_or(NOT_RESTORED, |left| u32::try_from(left.as_secs()).unwrap_or(NOT_RESTORED));
        body.extend(left.to_be_bytes());
        body.extend(u16::try_from(numbers.len()).unwrap_or(u16::MAX).to_be_bytes());
        body.extend(sets);
        body.extend(count.to_be_bytes());
        body.extend(routes);
        let length = u32::try_from(body.len()).unwrap_or(END);
        let head = [length.to_be_bytes(), crc32c::crc32c(&body).to_be_bytes()].concat();
        SavedPage { bytes: [head, body].concat(), routes: u64::from(count), next }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rib::ExportRules;
    use crate::testing::{announce, attributes};

    const DAY: Duration = Duration::from_secs(86_400);

    fn rib() -> Rib {
        let rules = |last| crate::rib::tests::rules(last, 100_000);
        Rib::new(vec![rules(1), rules(2)], &[], ExportRules::default(), Instant::now())
    }

    fn file(rib: &Rib) -> Vec<u8> {
        let (mut file, mut count) = (file_head(), 0);
        let mut cursor = Some(SaveCursor::default());
        while let Some(at) = cursor {
            let page = rib.save(at, Instant::now());
            file.extend(page.bytes);
            count += page.routes;
            cursor = page.next;
        }
        file.extend(file_end(count));
        file
    }

    fn filled() -> Rib {
        let mut rib = rib();
        let now = Instant::now();
        for i in 0..20_000u32 {
            let prefix = format!("11.{}.{}.0/24", i >> 8, i & 255);
            let update = announce(&[&prefix], &attributes(&[64500, i % 7 + 1]));
            rib.handle(NeighborId(0), &SessionEvent::Update(update), now);
        }
        let update = announce(&["11.0.0.0/24", "10.0.0.0/8"], &attributes(&[64501]));
        rib.handle(NeighborId(1), &SessionEvent::Update(update), now);
        rib
    }

    #[test]
    fn what_was_saved_is_what_comes_back() {
        let rib = filled();
        let mut back = self::rib();
        let mut pages = read_file(&file(&rib)).unwrap();
        assert!(pages.len() > 2, "more than a page a neighbor");
        let stranger = SavedRoutes { neighbor: IpAddr::from([192, 0, 2, 9]), ..pages[0].clone() };
        pages.push(stranger);
        assert_eq!(back.restore(pages, DAY, Instant::now()), 20_001);
        assert_eq!(back.summary().neighbors[0].stale, 20_000);
        let sets = |rib: &Rib| rib.summary().neighbors.into_iter().map(|n| n.set_hash);
        assert!(sets(&rib).eq(sets(&back)));
        assert_eq!(back.summary().neighbors[1].received, 1, "refused routes are not saved");
        let of = |rib: &Rib, prefix: &str| {
            let filter = crate::rib::RouteFilter::Exact(prefix.parse().unwrap());
            let query = crate::rib::RouteQuery { filter, ..Default::default() };
            let routes = rib.routes(&query, 10, Instant::now()).routes;
            routes.into_iter().map(|route| (route.neighbor, route.as_path)).collect::<Vec<_>>()
        };
        for prefix in ["11.0.0.0/24", "11.31.7.0/24", "11.50.0.0/24"] {
            assert_eq!(of(&rib, prefix), of(&back, prefix));
        }
    }

    #[test]
    fn a_file_is_good_as_a_whole_or_not_good() {
        let good = file(&filled());
        assert_eq!(read_file(b"something else"), Err(LastGoodError::Unknown));
        for end in [8, 12, 100, good.len() / 2, good.len() - 13, good.len() - 1] {
            let cut = read_file(&good[..end]);
            assert!(matches!(cut, Err(LastGoodError::CutShort(_))), "{end}: {cut:?}");
        }
        let mut damaged = good.clone();
        damaged[good.len() / 2] ^= 1;
        assert!(matches!(read_file(&damaged), Err(LastGoodError::Damaged(_))));
        let one_page_less = [file_head(), file_end(20_001)].concat();
        assert_eq!(read_file(&one_page_less), Err(LastGoodError::Damaged(8)));
    }

    #[test]
    fn restored_routes_wait_for_their_router_and_then_as_those_of_any_lost_session() {
        let now = Instant::now();
        let pages = |rib: &Rib| read_file(&file(rib)).unwrap();
        let restored = |at| {
            let mut rib = rib();
            rib.restore(pages(&filled()), DAY, at);
            rib
        };
        let settle = |rib: &mut Rib, now| {
            while rib.next_deadline().is_some_and(|at| at <= now) {
                rib.handle_timeout(now);
            }
            rib.summary().neighbors[0].clone()
        };
        let seconds = Duration::from_secs;
        let mut rib = restored(now);
        let waiting = settle(&mut rib, now + DAY - seconds(1));
        assert_eq!((waiting.restored, waiting.stale_until), (20_000, Some(now + DAY)));
        assert_eq!(settle(&mut rib, now + DAY).received, 0, "nobody has come");

        // The router has booted, but says no End-of-RIB.
        let mut rib = restored(now);
        rib.handle(NeighborId(0), &SessionEvent::Up, now + seconds(900));
        let back = settle(&mut rib, now + seconds(1199));
        assert_eq!((back.restored, back.stale), (0, 20_000));
        assert_eq!(settle(&mut rib, now + seconds(1200)).received, 0);

        // What was restored once is not restored anew for a whole day.
        let mut rib = restored(now);
        settle(&mut rib, now);
        let mut again = self::rib();
        let left = pages(&rib)[0].left.unwrap();
        assert!(left <= DAY && left > DAY - seconds(600), "{left:?}");
        let pages =
            pages(&rib).into_iter().map(|page| SavedRoutes { left: Some(seconds(60)), ..page });
        again.restore(pages.collect(), DAY, now);
        assert_eq!(settle(&mut again, now + seconds(60)).received, 0);
    }

    #[test]
    fn a_file_of_the_first_version_is_read() {
        let page = read_file(&file(&filled())).unwrap().remove(0);
        let new = file(&filled());
        let (mut old, mut at) = (MAGIC_1.to_vec(), MAGIC.len());
        loop {
            let length = u32::from_be_bytes(new[at..at + 4].try_into().unwrap());
            if length == END {
                old.extend(&new[at..]);
                break;
            }
            let body = &new[at + 8..at + 8 + length as usize];
            // An IPv4 address and an AS number, then the time.
            let body = [&body[..9], &body[13..]].concat();
            old.extend((body.len() as u32).to_be_bytes());
            old.extend(crc32c::crc32c(&body).to_be_bytes());
            old.extend(body);
            at += 8 + length as usize;
        }
        assert_eq!(read_file(&old).unwrap().remove(0), page);
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let head = [(body.len() as u32).to_be_bytes(), crc32c::crc32c(&body).to_be_bytes()];
            let file = [file_head(), head.concat(), body, file_end(0)].concat();
            if let Ok(pages) = read_file(&file) {
                for update in pages.into_iter().flat_map(|page| page.updates) {
                    drop(update.attributes.unwrap().decode());
                }
            }
        }
    }
}
