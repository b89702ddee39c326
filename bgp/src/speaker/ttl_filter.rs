//! TTL security (RFC 5082) of connections that a router dials: the filter of the listener.
//!
//! `IP_MINTTL` can be set only on what was accepted, since one listener serves neighbors with
//! `ttl_security` and without. That is too late: whoever is far away and knows to guess sends SYN,
//! OPEN, KEEPALIVE and routes in one flight, which is received before anybody has called `accept`.
//! Nor can what is there be judged afterwards, because TCP keeps bytes and forgets the segments; and
//! to refuse whoever was faster than `accept` would refuse any router that sends its OPEN at once.
//!
//! So the listener has a classic BPF program (`SO_ATTACH_FILTER`), which knows of each source address
//! how little its TTL may be. Linux runs it (`tcp_filter` in tcp_ipv4.c and tcp_ipv6.c) over every
//! segment for the listener, the last of the handshake included, and an accepted connection begins
//! with the program of its listener: there is no moment at which nobody looks. When `IP_MINTTL` is
//! set the program is taken off, as it would run for each segment of a table.
//!
//! What the filter drops is counted nowhere by its reason: a router that dials from too far away hears
//! nothing, and only the dial in the other direction finds out (see
//! [`tcp_refused`](super::tcp_refused)).

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use socket2::{SockFilter, SockRef, Socket};

use super::socket::TcpSettings;

/// The kernel's bound.
const LONGEST_PROGRAM: usize = libc::BPF_MAXINSNS as usize;
/// Places of the program's memory, behind the words of the source address.
const TTL: u32 = 4;
/// What the program returns: how much of the segment may stay.
const ALL: u32 = u32::MAX;
const NOTHING: u32 = 0;

/// The least TTL for the sources of a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bound {
    sources: IpNet,
    /// 0: any TTL is good.
    least: u8,
}

/// Makes `listener`, which listens for IPv4 or for IPv6, deaf to segments of `neighbors` that come
/// from farther away than they may. Before it listens.
///
/// # Errors
/// More neighbors than the system takes.
pub(super) fn attach(listener: &Socket, neighbors: &[&TcpSettings], ipv4: bool) -> io::Result<()> {
    let bounds = bounds(neighbors);
    if bounds.is_empty() {
        return Ok(());
    }
    let program = program(&bounds, ipv4);
    if program.len() > LONGEST_PROGRAM {
        let message = format!("a socket filter has at most {LONGEST_PROGRAM} instructions");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let program: Vec<_> = program.iter().map(Instruction::for_the_kernel).collect();
    listener.attach_filter(&program)
}

/// Takes the listener's filter off a connection that was accepted and has its own bound by now.
pub(super) fn detach(accepted: &SockRef<'_>) {
    // Mostly there is none; and one that stayed would do no harm.
    let _ = accepted.detach_filter();
}

/// In the order in which they are to be looked at: the first that fits an address is the one that
/// the listener takes for it. Empty if there is nothing to filter.
fn bounds(neighbors: &[&TcpSettings]) -> Vec<Bound> {
    let bound = |tcp: &&TcpSettings| Bound {
        sources: tcp.neighbors,
        least: tcp.hops.least_ttl().unwrap_or_default(),
    };
    let mut bounds: Vec<_> = neighbors.iter().map(bound).collect();
    // Stable: a neighbor stays before a range of its address alone.
    bounds.sort_by_key(|bound| std::cmp::Reverse(bound.sources.prefix_len()));
    // Who is in none of them is let through, so that those without a bound matter only inside of one.
    let around: Vec<_> = bounds.iter().filter(|bound| bound.least > 0).copied().collect();
    let matters = |it: &Bound| around.iter().any(|around| around.sources.contains(&it.sources));
    bounds.retain(|bound| bound.least > 0 || matters(bound));
    bounds
}

/// One instruction, as `struct sock_filter` of linux/filter.h.
#[derive(Debug, Clone, Copy)]
struct Instruction {
    code: u32,
    if_true: u8,
    if_false: u8,
    operand: u32,
}

impl Instruction {
    const fn new(code: u32, operand: u32) -> Self {
        Self { code, if_true: 0, if_false: 0, operand }
    }

    /// Loads from the IP header. The filter begins at the TCP header, and what is before it has
    /// negative offsets.
    const fn load(width: u32, offset: u32) -> Self {
        let network_header = libc::SKF_NET_OFF.cast_unsigned();
        Self::new(libc::BPF_LD | width | libc::BPF_ABS, network_header.wrapping_add(offset))
    }

    const fn store(place: u32) -> Self {
        Self::new(libc::BPF_ST, place)
    }

    const fn recall(place: u32) -> Self {
        Self::new(libc::BPF_LD | libc::BPF_MEM, place)
    }

    const fn mask(mask: u32) -> Self {
        Self::new(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, mask)
    }

    /// Goes on, or skips `instructions` if what is loaded does not compare in this way.
    const fn unless(comparison: u32, operand: u32, instructions: u8) -> Self {
        let code = libc::BPF_JMP | comparison | libc::BPF_K;
        Self { code, if_true: 0, if_false: instructions, operand }
    }

    const fn give(length: u32) -> Self {
        Self::new(libc::BPF_RET | libc::BPF_K, length)
    }

    fn for_the_kernel(&self) -> SockFilter {
        // Codes are the sum of a few bits.
        let code = u16::try_from(self.code).unwrap_or_default();
        SockFilter::new(code, self.if_true, self.if_false, self.operand)
    }
}

/// The program that lets through what keeps the first of `bounds` that fits it, or fits none.
fn program(bounds: &[Bound], ipv4: bool) -> Vec<Instruction> {
    // RFC 791 §3.1, RFC 8200 §3.
    let (ttl, source, words) = if ipv4 { (8, 12, 1) } else { (7, 8, 4) };
    let mut program = vec![Instruction::load(libc::BPF_B, ttl), Instruction::store(TTL)];
    for word in 0..words {
        program.push(Instruction::load(libc::BPF_W, source + 4 * word));
        program.push(Instruction::store(word));
    }
    for bound in bounds {
        program.extend(judge(*bound));
    }
    program.push(Instruction::give(ALL));
    program
}

/// Lets the segment through or drops it if it is one of this bound; else runs to its end.
fn judge(bound: Bound) -> Vec<Instruction> {
    let mut judge = match bound.least {
        0 => vec![Instruction::give(ALL)],
        least => vec![
            Instruction::recall(TTL),
            Instruction::unless(libc::BPF_JGE, least.into(), 1),
            Instruction::give(ALL),
            Instruction::give(NOTHING),
        ],
    };
    // From the end to the beginning: how far to skip is how much there is.
    for (place, (address, mask)) in (0..TTL).zip(words(bound.sources)).rev() {
        let all_there_is = u8::try_from(judge.len()).unwrap_or(u8::MAX);
        let mut compare = vec![Instruction::recall(place)];
        match mask {
            0 => continue,
            u32::MAX => {}
            mask => compare.push(Instruction::mask(mask)),
        }
        compare.push(Instruction::unless(libc::BPF_JEQ, address, all_there_is));
        judge.splice(..0, compare);
    }
    judge
}

/// The words of a prefix, each with its mask.
fn words(net: IpNet) -> Vec<(u32, u32)> {
    let words = |address: IpAddr| -> Vec<u32> {
        match address {
            IpAddr::V4(address) => vec![address.to_bits()],
            IpAddr::V6(address) => {
                let octets = address.octets();
                octets.as_chunks().0.iter().map(|&word| u32::from_be_bytes(word)).collect()
            }
        }
    };
    words(net.network()).into_iter().zip(words(net.netmask())).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::authentication::Authentication;
    use super::super::tcp_hops::Hops;
    use super::*;

    fn settings(neighbors: &str, security: Option<u8>) -> TcpSettings {
        let hops = security.map_or(Hops::System, Hops::Security);
        let neighbors = neighbors.parse().unwrap();
        TcpSettings { neighbors, authentication: Authentication::None, hops }
    }

    /// What the kernel would do with a segment from `source`.
    fn lets_through(program: &[Instruction], source: IpAddr, ttl: u8) -> bool {
        assert!(program.len() <= LONGEST_PROGRAM);
        let mut header = [0_u8; 40];
        match source {
            IpAddr::V4(source) => {
                header[8] = ttl;
                header[12..16].copy_from_slice(&source.octets());
            }
            IpAddr::V6(source) => {
                header[7] = ttl;
                header[8..24].copy_from_slice(&source.octets());
            }
        }
        let at =
            |k: u32| usize::try_from(k.wrapping_sub(libc::SKF_NET_OFF.cast_unsigned())).unwrap();
        let (mut loaded, mut memory, mut next) = (0_u32, [None; 16], 0);
        loop {
            let Instruction { code, if_true, if_false, operand } = program[next];
            let mut skip = 0;
            match code {
                0x20 => {
                    let bytes = header[at(operand)..at(operand) + 4].try_into().unwrap();
                    loaded = u32::from_be_bytes(bytes);
                }
                0x30 => loaded = header[at(operand)].into(),
                0x60 => loaded = memory[operand as usize].unwrap(),
                0x02 => memory[operand as usize] = Some(loaded),
                0x54 => loaded &= operand,
                0x15 => skip = if loaded == operand { if_true } else { if_false },
                0x35 => skip = if loaded >= operand { if_true } else { if_false },
                0x06 => return operand != 0,
                other => panic!("{other:#x}"),
            }
            next += 1 + usize::from(skip);
        }
    }

    #[test]
    fn the_nearest_setting_of_a_source_decides() {
        let all = [
            settings("192.0.2.1/32", Some(1)),
            settings("192.0.2.2/32", None),
            settings("203.0.113.1/32", None),
            settings("192.0.2.0/24", Some(3)),
            settings("192.0.2.1/32", None),
            settings("192.0.0.0/19", None),
        ];
        let bounds = bounds(&all.each_ref());
        assert_eq!(bounds.len(), 4, "those in no secure prefix are not looked for: {bounds:?}");
        let program = program(&bounds, true);
        for (source, least) in [
            ("192.0.2.1", 255),
            ("192.0.2.2", 0),
            ("192.0.2.3", 253),
            ("192.0.2.255", 253),
            ("192.0.3.1", 0),
            ("203.0.113.1", 0),
            ("0.0.0.0", 0),
        ] {
            for ttl in 0..=255 {
                let passes = lets_through(&program, source.parse().unwrap(), ttl);
                assert_eq!(passes, ttl >= least, "{source} with {ttl}");
            }
        }
    }

    #[test]
    fn nothing_is_filtered_where_nobody_asks_for_it() {
        let open = [settings("192.0.2.1/32", None), settings("0.0.0.0/0", None)];
        assert_eq!(bounds(&open.each_ref()), []);
    }

    #[test]
    fn hundreds_of_neighbors_fit_and_what_does_not_is_an_error() {
        let socket = || Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).unwrap();
        let neighbors = |count: u16| -> Vec<_> {
            (0..count).map(|i| settings(&format!("2001:db8::{i:x}/128"), Some(1))).collect()
        };
        let attach = |count| {
            let neighbors = neighbors(count);
            attach(&socket(), &neighbors.iter().collect::<Vec<_>>(), false)
        };
        attach(100).unwrap();
        let error = attach(5000).unwrap_err();
        assert!(error.to_string().contains("at most 4096 instructions"), "{error}");
    }

    fn prefix() -> impl Strategy<Value = IpNet> {
        // Near to each other, so that they lie in one another.
        prop_oneof![
            (0..8_u32, 24..=32_u8).prop_map(|(i, length)| {
                IpNet::new(IpAddr::from(0x0a00_0000_u32.wrapping_add(i).to_be_bytes()), length)
            }),
            (any::<[bool; 4]>(), 0..=128_u8).prop_map(|(bits, length)| {
                let bit = |(at, set): (u32, bool)| u128::from(set) << (at * 40);
                let address: u128 = (0..).zip(bits).map(bit).sum();
                IpNet::new(IpAddr::from(address.to_be_bytes()), length)
            }),
        ]
        .prop_map(|net| net.unwrap())
    }

    proptest! {
        #[test]
        fn the_program_is_what_it_is_made_from(
            all in prop::collection::vec((prefix(), prop::option::of(1..=254_u8)), 0..12),
            source in prefix(),
            ttl in any::<u8>(),
        ) {
            let (source, ipv4) = (source.addr(), source.addr().is_ipv4());
            let all: Vec<_> = all
                .into_iter()
                .filter(|(net, _)| net.addr().is_ipv4() == ipv4)
                .map(|(net, security)| settings(&net.trunc().to_string(), security))
                .collect();
            let holding = all.iter().filter(|tcp| tcp.neighbors.contains(&source));
            // The first of the longest, as a stable order has it.
            let nearest = holding.rev().max_by_key(|tcp| tcp.neighbors.prefix_len());
            let least = nearest.and_then(|tcp| tcp.hops.least_ttl()).unwrap_or_default();
            let bounds = bounds(&all.iter().collect::<Vec<_>>());
            prop_assert_eq!(lets_through(&program(&bounds, ipv4), source, ttl), ttl >= least);
        }
    }
}
