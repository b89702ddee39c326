//! A real control plane: `mcc control run` on a free port, and an owner's token.

use std::fs;
use std::path::PathBuf;

use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;

use super::command::mcc;
use super::http::{self, Response};
use super::ports;
use super::process::Process;

/// A control plane that runs.
pub(crate) struct ControlPlane {
    pub(crate) url: String,
    owner: String,
    process: Process,
}

/// A control plane that has been stopped, with all it knows.
pub(crate) struct StoppedPlane {
    url: String,
    owner: String,
    folder: TempDir,
}

impl ControlPlane {
    /// Starts a new one, and has an owner's token made on the command line.
    #[track_caller]
    pub(crate) fn start() -> Self {
        let address = ports::free_address();
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        let file = format!(
            "[control]\nlisten = [\"{address}\"]\ndata_dir = \"{}\"\ntrusted_proxies = [\"127.0.0.0/8\"]\n",
            data.display()
        );
        fs::write(folder.path().join("control.toml"), file).unwrap();
        let url = format!("http://{address}");
        let stopped = StoppedPlane { url, owner: String::new(), folder };
        let mut plane = stopped.start();
        let file = plane.process.folder().join("control.toml");
        let args = ["control", "token", "create", "--role", "owner", "--config"];
        let output = mcc(&[&args[..], &[file.to_str().unwrap()]].concat()).good();
        plane.owner = output.stdout.trim().to_owned();
        plane
    }

    /// Any request with the owner's token.
    #[track_caller]
    pub(crate) fn api(&self, method: Method, path: &str, body: Option<&Value>) -> Response {
        let bearer = format!("Bearer {}", self.owner);
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let body = body.map(ToString::to_string).unwrap_or_default();
        http::send(method, &format!("{}{path}", self.url), &headers, body.into()).unwrap()
    }

    /// Creates a node, has a key made for it, and turns the key into a token file with `mcc enrol`.
    /// Gives the section of the node's file that leads here.
    #[track_caller]
    pub(crate) fn enrol(&self, settings: &Value) -> String {
        let created = self.api(Method::POST, "/v1/nodes", Some(settings));
        assert_eq!(created.status, 201, "{}", created.text());
        let name = settings["name"].as_str().unwrap();
        let enrolment = self.api(Method::POST, &format!("/v1/nodes/{name}/enrolment"), None);
        assert_eq!(enrolment.status, 201, "{}", enrolment.text());
        let enrolment = enrolment.json();
        let token_file = self.token_file(name);
        let file = token_file.to_str().unwrap();
        // What the answer tells the operator to run, with another place for the file.
        let command = enrolment["command"].as_str().unwrap();
        let command = command.replace("/etc/mcc/node.token", file);
        let words: Vec<&str> = command.split(' ').collect();
        assert_eq!(words[0], "mcc");
        mcc(&words[1..]).good();
        format!("[control]\nurl = \"{}\"\ntoken_file = \"{file}\"\n", self.url)
    }

    /// Where [`ControlPlane::enrol`] puts the token of a node.
    pub(crate) fn token_file(&self, node: &str) -> PathBuf {
        self.process.folder().join(format!("{node}.token"))
    }

    /// `GET /v1/steer` for a client.
    #[track_caller]
    pub(crate) fn steer(&self, client: &str) -> Response {
        http::get(&format!("{}/v1/steer?client={client}&explain=true", self.url), &[]).unwrap()
    }

    /// The name of the node that a client is steered to, if any.
    #[track_caller]
    pub(crate) fn node_of(&self, client: &str) -> Option<String> {
        Some(self.steer(client).json()["node"].as_str()?.to_owned())
    }

    /// SIGTERM.
    #[track_caller]
    pub(crate) fn stop(self) -> StoppedPlane {
        let stopped = self.process.stop();
        assert!(stopped.status.success(), "{}", stopped.log);
        StoppedPlane { url: self.url, owner: self.owner, folder: stopped.folder }
    }
}

impl StoppedPlane {
    /// Starts it again. Returns as soon as it answers anything.
    #[track_caller]
    pub(crate) fn start(self) -> ControlPlane {
        let args = ["control", "run", "--config", "control.toml"];
        let mut process = Process::mcc_in(self.folder, &args, &[]);
        let alive = format!("{}/healthz", self.url);
        process.wait_for("answer of the control plane", |_| http::get(&alive, &[]));
        ControlPlane { url: self.url, owner: self.owner, process }
    }
}
