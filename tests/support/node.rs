//! A real node: `mcc run` on free ports, and the command line that asks it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use serde_json::Value;
use tempfile::TempDir;

use super::command::{self, Output};
use super::process::{Process, Stopped};
use super::terminal::mcc_on_terminal;
use super::wait::wait_for;
use super::{http, ports};

/// Who a node is and where it listens. The same can be started again after a stop.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) name: String,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) bgp: SocketAddr,
    /// IPv6 everywhere.
    pub(crate) ipv6: bool,
    /// Folder and size of its drive.
    pub(crate) drive: (String, &'static str),
    /// What its file says beside the above.
    pub(crate) rest: String,
}

impl Setup {
    /// A node on free ports at `address`; its admin API is on loopback.
    pub(crate) fn new(name: &str, address: Ipv4Addr, rest: &str) -> Self {
        Self {
            name: name.to_owned(),
            http: ports::free_port_at(address),
            https: ports::free_port_at(address),
            admin: ports::free_address(),
            bgp: ports::free_port_at(address),
            ipv6: false,
            drive: ("drive".to_owned(), "320MiB"),
            rest: rest.to_owned(),
        }
    }

    /// Its file. Paths are relative to the folder that it runs in.
    pub(crate) fn file(&self) -> String {
        let Self { name, http, https, admin, bgp, ipv6, drive: (path, size), rest } = self;
        format!(
            r#"[node]
name = "{name}"
address = "{address}"
data_dir = "."
ipv6 = {ipv6}
[http]
listen = ["{http}"]
[https]
listen = ["{https}"]
[admin]
listen = "{admin}"
[[drive]]
path = "{path}"
size = "{size}"
[bgp]
listen = ["{bgp}"]
{rest}
"#,
            address = http.ip()
        )
    }

    /// Starts it.
    #[track_caller]
    pub(crate) fn start(self) -> Node {
        self.start_in(tempfile::tempdir().unwrap())
    }

    /// Starts it in the folder of an earlier run.
    #[track_caller]
    pub(crate) fn start_in(self, folder: TempDir) -> Node {
        fs::create_dir_all(folder.path().join("drive")).unwrap();
        let file = self.file();
        let args = ["run", "--config", "mcc.toml"];
        let mut process = Process::mcc_in(folder, &args, &[("mcc.toml", &file)]);
        let alive = format!("http://{}/healthz", self.admin);
        process.wait_for("answer of /healthz", |_| http::get(&alive, &[]));
        // What is on a drive is missing until it has joined.
        let cache = format!("http://{}/v1/cache", self.admin);
        process.wait_for("drives", |_| {
            let answer = http::get(&cache, &[])?;
            if answer.text().contains("\"opening\"") { Err(answer.text()) } else { Ok(()) }
        });
        Node { setup: self, process }
    }
}

/// A node that runs.
pub(crate) struct Node {
    pub(crate) setup: Setup,
    pub(crate) process: Process,
}

impl Node {
    /// `http://ADDRESS` + `path`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.setup.http)
    }

    /// `GET path` of its admin API.
    #[track_caller]
    pub(crate) fn admin(&self, path: &str) -> http::Response {
        http::get(&format!("http://{}{path}", self.setup.admin), &[]).unwrap()
    }

    /// The output of a command that asks this node, such as `bgp status --json`.
    pub(crate) fn ask(&self, command: &str) -> Output {
        let admin = format!("http://{}", self.setup.admin);
        let words: Vec<&str> = command.split_whitespace().collect();
        // A busy machine is no node that hangs.
        command::mcc(&[&words[..], &["--admin", &admin, "--timeout", "60"]].concat())
    }

    /// The same on a terminal with so many columns.
    pub(crate) fn show(&self, command: &str, columns: u16) -> String {
        let admin = format!("http://{}", self.setup.admin);
        let words: Vec<&str> = command.split_whitespace().collect();
        mcc_on_terminal(
            &[&words[..], &["--admin", &admin, "--timeout", "60"]].concat(),
            columns,
            None,
        )
    }

    /// Asks again and again until `found` gives a value of the JSON that is answered.
    #[track_caller]
    pub(crate) fn wait_for<T>(
        &self,
        what: &str,
        command: &str,
        found: impl Fn(&Value) -> Option<T>,
    ) -> T {
        let command = format!("{command} --json");
        wait_for(what, || {
            let output = self.ask(&command);
            let json = serde_json::from_str(&output.stdout).map_err(|_| format!("{output:?}"))?;
            found(&json).ok_or(output.stdout)
        })
    }

    /// Waits until each neighbor's session is established and the footprint has `prefixes`.
    #[track_caller]
    pub(crate) fn wait_for_footprint(&self, prefixes: usize) -> Value {
        self.wait_for(&format!("footprint of {prefixes}"), "bgp status", |status| {
            let all = status["neighbors"].as_array()?.iter();
            let up = all.into_iter().all(|neighbor| neighbor["state"] == "Established");
            (up && status["footprint"]["prefixes"] == prefixes).then(|| status.clone())
        })
    }

    /// SIGTERM, and what is left.
    #[track_caller]
    pub(crate) fn stop(self) -> (Setup, Stopped) {
        (self.setup, self.process.stop())
    }

    /// SIGKILL, and what is left.
    #[track_caller]
    pub(crate) fn kill(self) -> (Setup, Stopped) {
        (self.setup, self.process.kill())
    }
}
