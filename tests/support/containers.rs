//! Real peers in containers, each test's on a network of its own that this host is a part of:
//! routers, an origin, a subscriber.
//!
//! `tests/containers/prepare` starts the engine and builds the images. Where that has not been done
//! the tests are skipped and say so, unless `MCC_REQUIRE_CONTAINERS=1` makes a skip a failure.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::wait::wait_for;

/// Whose containers and networks they are: the value is the id of the test process.
const LABEL: &str = "mcc-test-process";

/// The peers that there are images for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Image {
    Bird,
    GoBgp,
    /// Its bgpd alone.
    Frr,
    OpenBgpd,
    ExaBgp,
    Nginx,
    /// `curl` and `wget`.
    Client,
}

impl Image {
    const ALL: [Self; 7] = [
        Self::Bird,
        Self::GoBgp,
        Self::Frr,
        Self::OpenBgpd,
        Self::ExaBgp,
        Self::Nginx,
        Self::Client,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Bird => "mcc-test-bird",
            Self::GoBgp => "mcc-test-gobgp",
            Self::Frr => "mcc-test-frr",
            Self::OpenBgpd => "mcc-test-openbgpd",
            Self::ExaBgp => "mcc-test-exabgp",
            Self::Nginx => "mcc-test-nginx",
            Self::Client => "mcc-test-client",
        }
    }

    /// Where its configuration stands, in `/config`.
    fn config_file(self) -> &'static str {
        match self {
            Self::Bird => "bird.conf",
            Self::GoBgp => "gobgpd.conf",
            Self::Frr | Self::OpenBgpd => "bgpd.conf",
            Self::ExaBgp => "exabgp.conf",
            Self::Nginx => "nginx.conf",
            Self::Client => "none",
        }
    }

    /// What [`Container::ask`] puts before a question.
    fn asked_by(self) -> &'static [&'static str] {
        match self {
            Self::Bird => &["birdc", "-s", "/run/bird.ctl"],
            Self::GoBgp => &["gobgp"],
            Self::Frr => &["vtysh", "--vty_socket", "/run/frr", "-d", "bgpd", "-c"],
            Self::OpenBgpd => &["bgpctl"],
            Self::ExaBgp | Self::Nginx | Self::Client => &["sh", "-c"],
        }
    }
}

/// Why no container can run here; none if they can. Asked once.
static OBSTACLE: LazyLock<Option<String>> = LazyLock::new(|| {
    let images = Image::ALL.map(Image::name);
    match docker(&[&["image", "inspect"], &images[..]].concat()) {
        Ok(_) => {
            remove_leftovers();
            None
        }
        Err(error) => Some(error),
    }
});

/// A network that this host and the peers of one test are on. Dropped, it is removed.
pub(crate) struct Network {
    name: String,
    /// The first three bytes of its addresses.
    prefix: [u8; 3],
    /// Whether it has IPv6 too.
    ipv6: bool,
}

impl Network {
    /// A new network; none where no container can run, after saying so.
    ///
    /// # Panics
    /// No container can run, and `MCC_REQUIRE_CONTAINERS=1` says that they must.
    pub(crate) fn create() -> Option<Self> {
        Self::of_families(false)
    }

    /// The same, and everyone on it has an IPv6 address too.
    pub(crate) fn create_with_ipv6() -> Option<Self> {
        Self::of_families(true)
    }

    fn of_families(ipv6: bool) -> Option<Self> {
        if let Some(obstacle) = &*OBSTACLE {
            let thread = std::thread::current();
            let test = thread.name().unwrap_or("a test");
            assert!(
                std::env::var_os("MCC_REQUIRE_CONTAINERS").is_none_or(|value| value != "1"),
                "no containers: {obstacle}"
            );
            // Not eprintln!, which the test runner keeps to itself when a test passes.
            let _ = writeln!(
                std::io::stderr(),
                "skipped {test}: no containers, run tests/containers/prepare ({})",
                obstacle.lines().next().unwrap_or_default()
            );
            return None;
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Test processes that run at the same time begin at different places.
        let start = std::process::id();
        let mut last = String::new();
        for _ in 0..256 {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let [.., c] = start.wrapping_mul(7).wrapping_add(number).to_be_bytes();
            let prefix = [10, 213, c];
            let name = format!("mcc-test-{start}-{number}");
            let subnet = format!("10.213.{c}.0/24");
            let label = format!("{LABEL}={start}");
            let subnet6 = format!("fd00:213:{c:x}::/64");
            let create = ["network", "create", "--label", &label, "--subnet", &subnet, &name];
            let second = ["--ipv6", "--subnet", &subnet6];
            match docker(&[&create[..], if ipv6 { &second } else { &[] }].concat()) {
                Ok(_) => return Some(Self { name, prefix, ipv6 }),
                Err(error) => last = error,
            }
        }
        panic!("no free network in 10.213.0.0/16: {last}");
    }

    /// This host's address on the network.
    pub(crate) fn host(&self) -> Ipv4Addr {
        self.address(1)
    }

    /// The address that ends in `last`: 2 to 254 are for peers.
    pub(crate) fn address(&self, last: u8) -> Ipv4Addr {
        let [a, b, c] = self.prefix;
        Ipv4Addr::new(a, b, c, last)
    }

    /// The IPv6 address that ends in `last`, on a network that has IPv6.
    pub(crate) fn address6(&self, last: u8) -> Ipv6Addr {
        let [.., c] = self.prefix;
        Ipv6Addr::new(0xfd00, 0x213, u16::from(c), 0, 0, 0, 0, u16::from(last))
    }

    /// Starts a peer at the address that ends in `last`, with the text of its configuration.
    #[track_caller]
    pub(crate) fn start(&self, image: Image, last: u8, config: &str) -> Container {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(image.config_file()), config).unwrap();
        let name = format!("{}-{last}", self.name);
        let label = format!("{LABEL}={}", std::process::id());
        let volume = format!("{}:/config:ro", folder.path().display());
        let address = self.address(last);
        let address6 = self.address6(last).to_string();
        let ipv6: &[&str] = if self.ipv6 { &["--ip6", &address6] } else { &[] };
        // The name stands before the start can fail, so that the drop removes what is there.
        let container = Container { name, address, image, folder };
        let run = [
            "run",
            "--detach",
            "--name",
            &container.name,
            "--label",
            &label,
            "--network",
            &self.name,
            "--ip",
            &address.to_string(),
            "--volume",
            &volume,
        ];
        docker(&[&run, ipv6, &[image.name()]].concat())
            .unwrap_or_else(|error| panic!("cannot start {image:?}: {error}"));
        container
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Err(error) = docker(&["network", "rm", &self.name]) {
            eprintln!("network {} stays behind: {error}", self.name);
        }
    }
}

/// A peer that runs. Dropped, it is removed; if the test is failing, its log is printed first.
pub(crate) struct Container {
    name: String,
    address: Ipv4Addr,
    image: Image,
    folder: TempDir,
}

impl Container {
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The output of a command in the container; its error output if it fails.
    pub(crate) fn exec(&self, command: &[&str]) -> Result<String, String> {
        docker(&[&["exec", &self.name], command].concat())
    }

    /// Asks the peer in its own words (`birdc`, `gobgp`, `vtysh`, `bgpctl`), or a shell command.
    pub(crate) fn ask(&self, question: &str) -> Result<String, String> {
        let words: Vec<&str> = match self.image {
            Image::Bird | Image::GoBgp | Image::OpenBgpd => question.split_whitespace().collect(),
            Image::Frr | Image::ExaBgp | Image::Nginx | Image::Client => vec![question],
        };
        self.exec(&[self.image.asked_by(), &words].concat())
    }

    /// Asks the peer until `found` gives a value of the answer, as long as the peer runs.
    #[track_caller]
    pub(crate) fn wait_for<T>(
        &self,
        what: &str,
        question: &str,
        found: impl Fn(&str) -> Option<T>,
    ) -> T {
        wait_for(what, || {
            let answer = self.ask(question).inspect_err(|error| {
                assert!(self.runs(), "{:?} has ended before {what}: {error}", self.image);
            })?;
            found(&answer).ok_or(answer)
        })
    }

    fn runs(&self) -> bool {
        let state = docker(&["inspect", "--format", "{{.State.Running}}", &self.name]);
        state.is_ok_and(|state| state.trim() == "true")
    }

    /// Writes a new configuration. The peer reads it when it is told to.
    pub(crate) fn configure(&self, config: &str) {
        fs::write(self.folder.path().join(self.image.config_file()), config).unwrap();
    }

    /// Adds to the end of a file beside the configuration.
    pub(crate) fn append(&self, file: &str, text: &str) {
        let path = self.folder.path().join(file);
        let mut file = fs::File::options().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Kills the peer at once, with no word to anyone.
    pub(crate) fn kill(&self) {
        docker(&["kill", &self.name]).unwrap();
    }

    /// Starts it again, with the address it had.
    pub(crate) fn start_again(&self) {
        docker(&["start", &self.name]).unwrap();
    }

    /// Freezes the peer: its connections stay, and nothing is answered.
    pub(crate) fn pause(&self) {
        docker(&["pause", &self.name]).unwrap();
    }

    /// Ends [`Container::pause`].
    pub(crate) fn unpause(&self) {
        docker(&["unpause", &self.name]).unwrap();
    }

    /// What the peer has printed so far.
    pub(crate) fn log(&self) -> String {
        let output = Command::new("docker").args(["logs", &self.name]).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of {:?} at {}\n{}", self.image, self.address, self.log());
        }
        if let Err(error) = docker(&["rm", "--force", "--volumes", &self.name]) {
            eprintln!("container {} stays behind: {error}", self.name);
        }
    }
}

/// What a command prints in a container of its own.
pub(crate) fn run_once(image: Image, command: &[&str]) -> Result<String, String> {
    let output = Command::new("docker")
        .args([&["run", "--rm", image.name()], command].concat())
        .output()
        .map_err(|error| error.to_string())?;
    // Some print their version as an error.
    Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// Removes what test processes that no longer live have left: they were killed, and dropped nothing.
fn remove_leftovers() {
    let filter = format!("label={LABEL}");
    let format = format!("{{{{.ID}}}} {{{{.Label \"{LABEL}\"}}}}");
    for (list, remove) in [
        (&["ps", "--all"][..], &["rm", "--force", "--volumes"][..]),
        (&["network", "ls"], &["network", "rm"]),
    ] {
        let all = docker(&[list, &["--filter", &filter, "--format", &format]].concat());
        for line in all.unwrap_or_default().lines() {
            if let Some((id, process)) = line.split_once(' ')
                && !Path::new("/proc").join(process).exists()
            {
                // Another test process may be faster.
                let _ = docker(&[remove, &[id]].concat());
            }
        }
    }
}

/// The output of a docker command, or why it failed.
fn docker(args: &[&str]) -> Result<String, String> {
    let output = Command::new("docker").args(args).output().map_err(|e| format!("docker: {e}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}
