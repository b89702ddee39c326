//! The real `mcc` program (or another), started with a configuration in a folder of its own.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use tempfile::TempDir;

use super::wait::wait_for;

/// A running program. Dropped, it is killed; if the test is failing, its log is printed first.
pub(crate) struct Process {
    name: String,
    child: Child,
    folder: TempDir,
}

impl Process {
    /// Starts `mcc` with `args`. The text of each of `files` is written into the folder that is
    /// its working directory, so `--config mcc.toml` finds it.
    pub(crate) fn mcc(args: &[&str], files: &[(&str, &str)]) -> Self {
        Self::mcc_in(tempfile::tempdir().unwrap(), args, files)
    }

    /// The same in a folder that exists, such as that of a node that was stopped.
    pub(crate) fn mcc_in(folder: TempDir, args: &[&str], files: &[(&str, &str)]) -> Self {
        Self::start(env!("CARGO_BIN_EXE_mcc"), folder, args, files)
    }

    /// Starts any program.
    pub(crate) fn start(
        program: impl AsRef<OsStr>,
        folder: TempDir,
        args: &[&str],
        files: &[(&str, &str)],
    ) -> Self {
        for (file, text) in files {
            fs::write(folder.path().join(file), text).unwrap();
        }
        // A file takes all that is written, where a pipe that nobody reads would stop the program.
        let log = File::options().create(true).append(true).open(log_of(folder.path())).unwrap();
        let program = program.as_ref();
        let child = Command::new(program)
            .args(args)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let name = [&[program.to_string_lossy().as_ref()], args].concat().join(" ");
        Self { name, child, folder }
    }

    /// The folder that the program works in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the program has printed so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(log_of(self.folder())).unwrap()).into_owned()
    }

    /// Asks `condition` until it gives a value, as long as the program runs.
    #[track_caller]
    pub(crate) fn wait_for<T>(
        &mut self,
        what: &str,
        mut condition: impl FnMut(&Self) -> Result<T, String>,
    ) -> T {
        wait_for(what, || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{} has ended ({status}) before {what}", self.name);
            }
            condition(self)
        })
    }

    /// Waits for a line of the log that contains `text`.
    #[track_caller]
    pub(crate) fn wait_for_log(&mut self, text: &str) -> String {
        self.wait_for(&format!("`{text}` in the log"), |process| {
            let log = process.log();
            log.lines().find(|line| line.contains(text)).map(str::to_owned).ok_or(log.clone())
        })
    }

    /// Sends SIGTERM and waits for the end. Gives what is left: the status, and the folder with
    /// the log in it.
    #[track_caller]
    pub(crate) fn stop(self) -> Stopped {
        self.end(Signal::TERM)
    }

    /// The same with SIGKILL: the program has no time for anything.
    #[track_caller]
    pub(crate) fn kill(self) -> Stopped {
        self.end(Signal::KILL)
    }

    #[track_caller]
    fn end(mut self, signal: Signal) -> Stopped {
        self.signal(signal);
        let status = self.wait();
        let log = self.log();
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        Stopped { status, log, folder }
    }

    /// Sets how many files it may have open. Gives how many those were before.
    pub(crate) fn limit_files(&self, files: u64) -> u64 {
        let pid = Some(Pid::from_child(&self.child));
        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit { current: Some(files), maximum };
        prlimit(pid, Resource::Nofile, limit).unwrap().current.unwrap()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the program to end by itself.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_for(&format!("end of {}", self.name), || {
            self.child.try_wait().unwrap().ok_or_else(|| "it still runs".to_owned())
        })
    }
}

/// What a program leaves behind.
pub(crate) struct Stopped {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
    pub(crate) folder: TempDir,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read(log_of(self.folder.path())).unwrap_or_default();
            eprintln!("--- log of {}\n{}", self.name, String::from_utf8_lossy(&log));
        }
    }
}

fn log_of(folder: &Path) -> PathBuf {
    folder.join("log")
}
