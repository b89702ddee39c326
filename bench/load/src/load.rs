//! The load: many connections, one thread, one window of time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustls::ClientConfig;

use crate::connection::{Connection, Finished, Object};
use crate::content::Content;
use crate::plan::{Order, Plan};
use crate::report::{IdleReport, Report, Spread};
use crate::server_process::{CpuTime, MachineTime, resident};
use crate::stream::{Stream, tls_client};

/// Bytes taken from a connection at once. With MSG_TRUNC nothing is written there, so that no page is touched.
const SCRATCH: usize = 4 << 20;

/// Bytes that an idle connection asks for before and after.
const IDLE_RANGE: u64 = 1 << 10;

/// Idle connections opened before their first answers are waited for: fewer than wait to be accepted anywhere.
const IDLE_AT_ONCE: usize = 250;

/// How long idle connections may take to be answered, those of one turn together.
const IDLE_PATIENCE: Duration = Duration::from_secs(20);

#[derive(Args)]
pub(crate) struct LoadArgs {
    /// Server under test
    #[arg(long)]
    address: SocketAddr,
    /// Its name in the `Host` header
    #[arg(long, default_value = "bench.test")]
    host: String,
    /// Object to ask for, as `make` made it
    #[arg(long)]
    path: String,
    /// The object's length in bytes
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    size: u64,
    /// Ask for ranges of so many bytes instead of the whole object
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    range: Option<u64>,
    /// Which range is next
    #[arg(long, value_enum, default_value_t = Order::Random)]
    order: Order,
    /// Connections with one request each at any time
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Length of the window; it ends earlier when all has been asked for
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Requests per connection; without it as many as the window has room for
    #[arg(long)]
    requests: Option<u64>,
    /// Compares every so many-th response byte for byte; 0 for none
    #[arg(long, default_value_t = 64)]
    verify_every: u64,
    /// TLS 1.3 with this cipher suite, such as TLS13_AES_128_GCM_SHA256
    #[arg(long)]
    tls: Option<String>,
    /// So many further connections, which make a request before and one after
    #[arg(long, default_value_t = 0)]
    idle: usize,
    /// The server's processes, whose CPU time and memory are measured
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
}

/// Runs one load.
pub(crate) fn run(args: &LoadArgs) -> Result<Report> {
    ensure!(args.order != Order::Once || args.range.is_some(), "--order once needs --range");
    let object = Arc::new(Object {
        host: args.host.clone(),
        path: args.path.clone(),
        size: args.size,
        content: Content::of(&args.path),
    });
    let tls = args.tls.as_deref().map(tls_client).transpose()?;
    let fleet = |plan| Fleet::new(args.address, tls.clone(), Arc::clone(&object), plan);

    let resident_before = resident(&args.pids);
    let idle_plan = Plan::new(args.size, Some(IDLE_RANGE.min(args.size)), Order::Sequential);
    let mut idle = fleet(idle_plan)?;
    let mut idle_tally = Tally::default();
    while idle.connections.len() < args.idle {
        idle.open(IDLE_AT_ONCE.min(args.idle - idle.connections.len()), &mut idle_tally);
        idle.run(Some(1), 1, IDLE_PATIENCE, &mut idle_tally)?;
    }
    let resident_with = resident(&args.pids);

    let mut busy = fleet(Plan::new(args.size, args.range, args.order))?;
    let mut tally = Tally::default();
    busy.open(args.connections, &mut tally);
    let (machine, cpu, began) = (MachineTime::now(), CpuTime::of(&args.pids), Instant::now());
    let window = Duration::try_from_secs_f64(args.seconds).context("--seconds")?;
    busy.run(args.requests, args.verify_every, window, &mut tally)?;
    let seconds = began.elapsed().as_secs_f64();
    let cpu = CpuTime::of(&args.pids) - cpu;
    let stolen = MachineTime::now().stolen_since(machine);

    idle.run(Some(2), 1, IDLE_PATIENCE, &mut idle_tally)?;
    let idle = (args.idle > 0).then(|| IdleReport {
        connections: idle.connections.iter().flatten().count() as u64,
        failed: 2 * args.idle as u64 - idle_tally.latencies.len() as u64,
        first_failure: idle_tally.first_failure,
        resident_before,
        resident_with,
    });
    Ok(Report {
        seconds,
        bytes: tally.bytes,
        requests: tally.latencies.len() as u64,
        cpu_user: cpu.user,
        cpu_system: cpu.system,
        latency: Spread::of(tally.latencies),
        first_byte: Spread::of(tally.first_bytes),
        verified: tally.verified,
        failed: tally.failed,
        first_failure: tally.first_failure,
        stolen,
        idle,
    })
}

/// What has come.
#[derive(Default)]
struct Tally {
    bytes: u64,
    /// In microseconds, one for each whole response.
    latencies: Vec<u64>,
    first_bytes: Vec<u64>,
    verified: u64,
    failed: u64,
    first_failure: Option<String>,
}

impl Tally {
    fn finished(&mut self, finished: &Finished) {
        self.latencies.push(finished.latency.as_micros() as u64);
        self.first_bytes.push(finished.first_byte.as_micros() as u64);
        self.verified += u64::from(finished.verified);
    }

    fn failed(&mut self, error: &anyhow::Error) {
        self.failed += 1;
        self.first_failure.get_or_insert_with(|| format!("{error:#}"));
    }
}

/// Connections that do the same.
struct Fleet {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    object: Arc<Object>,
    plan: Plan,
    epoll: OwnedFd,
    /// `None` where there is nobody to connect to any more.
    connections: Vec<Option<Connection>>,
    asked: u64,
}

impl Fleet {
    fn new(
        address: SocketAddr,
        tls: Option<Arc<ClientConfig>>,
        object: Arc<Object>,
        plan: Plan,
    ) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { address, tls, object, plan, epoll, connections: Vec::new(), asked: 0 })
    }

    /// Opens `count` connections.
    fn open(&mut self, count: usize, tally: &mut Tally) {
        for index in 0..count {
            let connection = self.connect(index).map_err(|error| tally.failed(&error)).ok();
            self.connections.push(connection);
        }
    }

    fn connect(&self, index: usize) -> Result<Connection> {
        let stream = Stream::connect(self.address, self.tls.as_ref(), &self.object.host)?;
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN)?;
        Ok(Connection::new(stream, Arc::clone(&self.object)))
    }

    /// Keeps every connection busy until it has made `requests` requests since it was opened, there is no more to
    /// ask for, or `window` is over.
    fn run(
        &mut self,
        requests: Option<u64>,
        verify_every: u64,
        window: Duration,
        tally: &mut Tally,
    ) -> Result<()> {
        let until = Instant::now() + window;
        let mut scratch = vec![0; SCRATCH];
        let mut events = Vec::with_capacity(256);
        let mut busy = 0;
        for index in 0..self.connections.len() {
            busy += usize::from(self.ask(index, requests, verify_every, tally));
        }
        while busy > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            events.clear();
            let patience = Timespec::try_from(left)?;
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                Some(&patience),
            ) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let index = event.data.u64() as usize;
                let Some(Some(connection)) = self.connections.get_mut(index) else { continue };
                let was_busy = connection.is_busy();
                match connection.advance(&mut scratch, &mut tally.bytes) {
                    Ok(None) => continue,
                    Ok(Some(finished)) => tally.finished(&finished),
                    Err(error) => {
                        tally.failed(&error);
                        self.reopen(index, tally);
                    }
                }
                let is_busy = self.ask(index, requests, verify_every, tally);
                busy = busy + usize::from(is_busy) - usize::from(was_busy);
            }
        }
        Ok(())
    }

    /// Has a connection ask for what is next, unless it has asked often enough: whether it has.
    fn ask(
        &mut self,
        index: usize,
        most: Option<u64>,
        verify_every: u64,
        tally: &mut Tally,
    ) -> bool {
        let Some(Some(connection)) = self.connections.get_mut(index) else { return false };
        if most.is_some_and(|most| connection.requests >= most) {
            return false;
        }
        let Some(range) = self.plan.next(connection.requests) else { return false };
        self.asked += 1;
        let verified = verify_every > 0 && self.asked.is_multiple_of(verify_every);
        match connection.ask(range, self.plan.is_ranged(), verified) {
            Ok(()) => true,
            Err(error) => {
                tally.failed(&error);
                self.reopen(index, tally);
                false
            }
        }
    }

    /// Replaces a connection that is of no use any more. The new one has made as many requests.
    fn reopen(&mut self, index: usize, tally: &mut Tally) {
        let made =
            self.connections.get(index).and_then(Option::as_ref).map_or(0, |old| old.requests);
        let mut replacement = self.connect(index).map_err(|error| tally.failed(&error)).ok();
        if let Some(connection) = &mut replacement {
            connection.requests = made;
        }
        if let Some(place) = self.connections.get_mut(index) {
            *place = replacement;
        }
    }
}
