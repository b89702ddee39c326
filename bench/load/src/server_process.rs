//! What the processes of the server under test use, and what the hypervisor took meanwhile: from /proc.

use std::fs;
use std::ops::Sub;

/// CPU time in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CpuTime {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

impl CpuTime {
    /// Of all threads of `processes`, those that have ended included.
    pub(crate) fn of(processes: &[u32]) -> Self {
        let tick = 1.0 / rustix::param::clock_ticks_per_second() as f64;
        let mut total = Self::default();
        for process in processes {
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            // proc_pid_stat(5): utime and stime are the 12th and 13th field behind the name in brackets.
            let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
            let mut fields = behind_name.split_whitespace().skip(11).map(number);
            total.user += fields.next().unwrap_or(0.0) * tick;
            total.system += fields.next().unwrap_or(0.0) * tick;
        }
        total
    }
}

impl Sub for CpuTime {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self { user: self.user - earlier.user, system: self.system - earlier.system }
    }
}

/// Resident memory of `processes` in bytes.
pub(crate) fn resident(processes: &[u32]) -> u64 {
    let of = |process: &u32| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    processes.iter().filter_map(of).sum::<u64>() << 10
}

/// Time of the machine's processors since its start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MachineTime {
    stolen: f64,
    all: f64,
}

impl MachineTime {
    pub(crate) fn now() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let first = stat.lines().next().unwrap_or_default();
        // proc_stat(5): the eighth figure is what the hypervisor gave to others.
        let figures: Vec<f64> = first.split_whitespace().skip(1).take(8).map(number).collect();
        Self { stolen: figures.get(7).copied().unwrap_or(0.0), all: figures.iter().sum() }
    }

    /// Share of the time since `earlier` that the hypervisor took, 0 to 1.
    pub(crate) fn stolen_since(self, earlier: Self) -> f64 {
        (self.stolen - earlier.stolen) / (self.all - earlier.all).max(1.0)
    }
}

fn number(field: &str) -> f64 {
    field.parse().unwrap_or(0.0)
}
