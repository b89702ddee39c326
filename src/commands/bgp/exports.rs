//! The lines of `mcc bgp status` about MRT files and BMP stations; none where there are none.

use serde::Deserialize;

use crate::table::indented;
use crate::terminal::Output;
use crate::text;

/// What `GET /v1/bgp` says of them.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Exports {
    mrt: Option<Recorder>,
    #[serde(default)]
    bmp: Vec<Station>,
}

#[derive(Debug, Deserialize)]
struct Recorder {
    tables: u64,
    message_files: u64,
    failures: u64,
    lost_messages: u64,
    last_error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Station {
    station: String,
    connected: bool,
    overruns: u64,
    sent_bytes: u64,
    last_error: Option<String>,
}

impl Exports {
    pub(super) fn render(&self, output: Output) -> String {
        let stations = self.bmp.iter().map(Station::line);
        let lines = self.mrt.iter().map(Recorder::line).chain(stations);
        lines.map(|line| indented(&line, 0, output)).collect()
    }
}

impl Recorder {
    fn line(&self) -> String {
        let mut line = format!(
            "MRT files: {} of the table, {} of messages",
            text::count(self.tables),
            text::count(self.message_files)
        );
        if self.failures > 0 {
            line += &format!("; {} could not be written", text::count(self.failures));
        }
        if self.lost_messages > 0 {
            let lost = self.lost_messages;
            line += &format!("; {} {} in none", text::messages(lost), text::are(lost));
        }
        match &self.last_error {
            Some(error) => line + ": " + error,
            None => line,
        }
    }
}

impl Station {
    fn line(&self) -> String {
        let state = if self.connected { "connected" } else { "not connected" };
        let mut line =
            format!("BMP station {}: {state}, {} sent", self.station, text::bytes(self.sent_bytes));
        if self.overruns > 0 {
            let overruns = text::counted(self.overruns, "time", "times");
            line += &format!("; begun anew {overruns}, since it was too slow");
        }
        match &self.last_error {
            Some(error) => line + "; " + error,
            None => line,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_each_and_none_for_nothing() {
        assert_eq!(Exports::default().render(Output::Pipe), "");
        let exports = serde_json::json!({
            "mrt": {"tables": 2, "message_files": 1, "failures": 1, "lost_messages": 1200,
                "last_error": "/mrt/x.part: No space left on device"},
            "bmp": [{"station": "192.0.2.50:11019", "connected": false, "connections": 2,
                "overruns": 1, "sent_bytes": 1500, "last_error": "the station closed the connection"}],
        });
        let exports = Exports::deserialize(&exports).unwrap();
        assert_eq!(
            exports.render(Output::Pipe),
            "MRT files: 2 of the table, 1 of messages; 1 could not be written; 1,200 messages are in \
             none: /mrt/x.part: No space left on device\n\
             BMP station 192.0.2.50:11019: not connected, 1.50 kB sent; begun anew 1 time, since it \
             was too slow; the station closed the connection\n"
        );
    }
}
