//! What the speaker learned, told to others: files in MRT and stations that speak BMP, as the
//! configuration asks.

use std::time::Duration;

use anyhow::Result;
use mcc_bgp::bmp::{Station, StationSettings, StationStatus};
use mcc_bgp::mrt::{Recorder, RecorderSettings, RecorderStatus};
use mcc_bgp::speaker::SpeakerHandle;
use mcc_config::{BmpStation, Mrt, NodeConfig};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// How long the last messages may take to be written after the speaker has stopped.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The recorder and the stations, if there are any.
pub(super) struct Exports {
    recorder: Option<Recorder>,
    stations: Vec<Station>,
    tasks: TaskTracker,
}

impl Exports {
    /// Starts all of them. None of them can stop the node, nor hold up a session.
    pub(super) fn start(config: &NodeConfig, speaker: &SpeakerHandle) -> Result<Self> {
        let tasks = TaskTracker::new();
        let (mut recorder, mut stations) = (None, Vec::new());
        if let Some(bgp) = &config.bgp {
            if let Some(mrt) = &bgp.mrt {
                let settings = recorder_settings(mrt, config.node.name.as_str());
                recorder = Some(Recorder::start(settings, speaker, &tasks)?);
            }
            for station in &bgp.stations {
                let settings = station_settings(station, config.node.name.as_str());
                stations.push(Station::start(settings, speaker.clone(), &tasks));
            }
        }
        tasks.close();
        Ok(Self { recorder, stations, tasks })
    }

    /// How it goes with the files; `None` without `[bgp.mrt]`.
    pub(super) fn recorder(&self) -> Option<RecorderStatus> {
        self.recorder.as_ref().map(Recorder::status)
    }

    /// How it goes with the stations.
    pub(super) fn stations(&self) -> Vec<StationStatus> {
        self.stations.iter().map(Station::status).collect()
    }

    /// To be called after the speaker has stopped: waits up to 2 s for the last words.
    pub(super) async fn finish(&self) {
        if timeout(LAST_WORDS, self.tasks.wait()).await.is_err() {
            tracing::warn!("a BMP station or the MRT files did not take the end in time");
        }
    }
}

fn recorder_settings(mrt: &Mrt, view: &str) -> RecorderSettings {
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    RecorderSettings {
        dir: mrt.dir.clone(),
        view: view.to_owned(),
        table_interval: (mrt.table_interval > 0).then(|| seconds(mrt.table_interval)),
        messages: mrt.messages,
        rotate: seconds(mrt.rotate),
        keep: usize::try_from(mrt.keep).unwrap_or(usize::MAX),
    }
}

fn station_settings(station: &BmpStation, name: &str) -> StationSettings {
    let interval = u64::from(station.statistics_interval);
    StationSettings {
        address: station.station,
        name: name.to_owned(),
        pre_policy: station.pre_policy,
        post_policy: station.post_policy,
        statistics_interval: (interval > 0).then(|| Duration::from_secs(interval)),
    }
}
