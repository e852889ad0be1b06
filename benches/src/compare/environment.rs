//! What a comparison ran on, so that its figures can be judged and repeated.

use std::{fs, io, path::Path, process::Command, thread, time::Duration};

use serde::Serialize;

use crate::process::MachineTime;

use super::{
    arena::Arena,
    row,
    server::{Server, Sync},
};

/// How long the machine is watched before anything is started.
const WATCH: Duration = Duration::from_secs(1);
/// From which share of busy cores on the figures are doubtful.
const BUSY_SHARE_MAX: f64 = 0.05;

/// The machine and the programs.
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    /// As the processor names itself.
    pub cpu: String,
    /// The cores that may be used.
    pub cores: Vec<usize>,
    /// The kernel's release.
    pub kernel: String,
    /// How TCP decides when to send, which costs CPU on the loopback too.
    pub congestion_control: String,
    /// Memory of the machine, in bytes.
    pub memory_bytes: u64,
    /// How much of all cores was busy before anything was started, 0 to 1.
    pub busy_share_before: f64,
    /// The source that was built, if this is a checkout; `-dirty` if it has changes that are not committed.
    pub commit: Option<String>,
    /// What each program says of its version; those that are missing are left out.
    pub versions: Vec<String>,
}

impl Environment {
    /// Looks.
    ///
    /// # Errors
    ///
    /// If `/proc` can't be read.
    pub fn observe(arena: &Arena) -> io::Result<Environment> {
        let programs = [
            Server::Corduroy {
                cores: 1,
                sync: Sync::Never,
                memory_mib: row::MEMORY_MIB,
            },
            Server::Redis {
                append_always: false,
            },
            Server::Memcached,
        ];
        let mut versions: Vec<String> = programs
            .into_iter()
            .filter_map(|server| {
                first_line(Command::new(arena.program(server).ok()?).arg("--version"))
            })
            .collect();
        versions.extend(
            ["redis-benchmark", "rustc"]
                .into_iter()
                .filter_map(|program| first_line(Command::new(program).arg("--version"))),
        );
        Ok(Environment {
            cpu: field("/proc/cpuinfo", "model name")?,
            cores: arena.cores.clone(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            congestion_control: fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control")?
                .trim()
                .to_owned(),
            memory_bytes: kibibytes(&field("/proc/meminfo", "MemTotal")?),
            busy_share_before: busy_share(WATCH)?,
            commit: first_line(Command::new("git").args([
                "describe",
                "--always",
                "--abbrev=12",
                "--dirty",
                "--exclude=*",
            ])),
            versions,
        })
    }

    /// What to tell a person before the figures, if they are doubtful.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        (self.busy_share_before > BUSY_SHARE_MAX).then(|| {
            format!(
                "warning: {:.0} % of this machine was busy before anything was started; figures will be off",
                self.busy_share_before * 100.0
            )
        })
    }
}

/// How much of all cores was busy over this time, 0 to 1.
fn busy_share(time: Duration) -> io::Result<f64> {
    let before = MachineTime::now()?;
    thread::sleep(time);
    let passed = MachineTime::now()?.since(before);
    let all = passed.all.as_secs_f64();
    Ok(if all > 0.0 {
        passed.busy.as_secs_f64() / all
    } else {
        0.0
    })
}

/// What stands behind `name` and a colon in a file of `/proc`.
fn field(path: impl AsRef<Path>, name: &str) -> io::Result<String> {
    let text = fs::read_to_string(path)?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
    Ok(value.unwrap_or("unknown").trim().to_owned())
}

fn kibibytes(text: &str) -> u64 {
    text.trim_end_matches("kB")
        .trim()
        .parse::<u64>()
        .unwrap_or(0)
        * 1024
}

/// The first line that a program prints, if it runs and ends well.
fn first_line(command: &mut Command) -> Option<String> {
    let output = command
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .next()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    // A share outside 0 to 1 would either always warn or never.
    #[test]
    fn a_share_is_a_share() {
        let share = busy_share(Duration::from_millis(50)).unwrap();
        assert!((0.0..=1.0).contains(&share), "{share}");
    }

    #[test]
    fn the_kernel_names_processor_and_memory() {
        assert_ne!(field("/proc/meminfo", "MemTotal").unwrap(), "unknown");
        assert_eq!(kibibytes("24 kB"), 24 << 10);
        assert_eq!(field("/proc/meminfo", "NoSuchThing").unwrap(), "unknown");
    }
}
