//! The command line of `mcc` on a terminal of a given width.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// What `mcc` with these arguments shows on a terminal with so many columns (0: it does not know), while
/// the environment says `COLUMNS` or nothing.
pub(crate) fn mcc_on_terminal(args: &[&str], columns: u16, environment: Option<&str>) -> String {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let end = rustix::fs::open(&*name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let size = Winsize { ws_row: 50, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&end, size).unwrap();

    let mut command = Command::new(env!("CARGO_BIN_EXE_mcc"));
    command.args(args).env_remove("COLUMNS").stdin(Stdio::null()).stdout(end);
    if let Some(environment) = environment {
        command.env("COLUMNS", environment);
    }
    let mut child = command.spawn().unwrap();
    // It holds the program's end of the terminal.
    drop(command);
    let reader = thread::spawn(move || {
        let mut shown = Vec::new();
        // When the last one closes the other end, that is an error here (EIO).
        let _ = File::from(terminal).read_to_end(&mut shown);
        shown
    });
    child.wait().unwrap();
    String::from_utf8(reader.join().unwrap()).unwrap().replace("\r\n", "\n")
}
