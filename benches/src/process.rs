//! What `/proc` says about a process, the CPU time and the memory that it has used, and about the machine around it.
//!
//! CPU time is `utime + stime` of `/proc/PID/stat`, which counts all threads, those that have ended and the kernel's
//! io_uring workers included. Its unit is the clock tick (10 ms on Linux), so a window of seconds is exact to a fraction of
//! a percent. The threads are read too: their sum is a cross-check, and their names tell where the time went.

use std::{fs, io, time::Duration};

use serde::Serialize;

/// A process's CPU time since it began.
#[derive(Clone, Debug)]
pub struct CpuTime {
    /// All threads, living and ended.
    pub total: Duration,
    /// The living threads: id, name, time.
    pub threads: Vec<(u32, String, Duration)>,
}

/// The CPU time of one thread within a window.
#[derive(Clone, Debug, Serialize)]
pub struct ThreadCpu {
    /// As in `/proc/PID/task/TID/comm`.
    pub name: String,
    /// User and system time together.
    pub seconds: f64,
}

impl CpuTime {
    /// Reads the CPU time of a process.
    pub fn of(pid: u32) -> io::Result<CpuTime> {
        let (_, total) = read_stat(&format!("/proc/{pid}/stat"))?;
        let mut threads = Vec::new();
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let Ok(tid) = task?.file_name().to_string_lossy().parse::<u32>() else {
                continue;
            };
            // A thread may end between the listing and the reading; its time is in the total all the same.
            if let Ok((name, time)) = read_stat(&format!("/proc/{pid}/task/{tid}/stat")) {
                threads.push((tid, name, time));
            }
        }
        Ok(CpuTime { total, threads })
    }

    /// What each thread that is alive now has used since `earlier`, the busiest first; idle threads are left out.
    #[must_use]
    pub fn threads_since(&self, earlier: &CpuTime) -> Vec<ThreadCpu> {
        let mut threads: Vec<ThreadCpu> = self
            .threads
            .iter()
            .map(|(tid, name, time)| {
                let before = earlier.threads.iter().find(|(id, _, _)| id == tid);
                let used = time.saturating_sub(before.map_or(Duration::ZERO, |(_, _, time)| *time));
                ThreadCpu {
                    name: name.clone(),
                    seconds: used.as_secs_f64(),
                }
            })
            .filter(|thread| thread.seconds > 0.0)
            .collect();
        threads.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        threads
    }
}

/// The CPU time, user and system, of this process's children that have ended and were waited for.
pub fn ended_children_time() -> io::Result<Duration> {
    let text = fs::read_to_string("/proc/self/stat")?;
    // proc(5): cutime is field 16, cstime 17.
    let (_, ticks) = parse_stat(&text, 16)
        .ok_or_else(|| malformed("/proc/self/stat is not what proc(5) describes"))?;
    Ok(from_ticks(ticks))
}

/// What the living threads of a process have used since each began, exact to the nanosecond: for windows of milliseconds, in which no
/// thread ends.
#[derive(Clone, Debug)]
pub struct ThreadsTime(Vec<(u32, Duration)>);

impl ThreadsTime {
    /// Reads it.
    pub fn of(pid: u32) -> io::Result<ThreadsTime> {
        let mut threads = Vec::new();
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let task = task?;
            let Ok(tid) = task.file_name().to_string_lossy().parse::<u32>() else {
                continue;
            };
            let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else {
                continue;
            };
            // Documentation/scheduler/sched-stats.rst: nanoseconds on a core, waiting for one, and slices.
            let nanos = text
                .split_ascii_whitespace()
                .next()
                .and_then(|word| word.parse().ok())
                .ok_or_else(|| malformed("a schedstat does not begin with a time"))?;
            threads.push((tid, Duration::from_nanos(nanos)));
        }
        Ok(ThreadsTime(threads))
    }

    /// What has been used since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &ThreadsTime) -> Duration {
        let used = |&(tid, time): &(u32, Duration)| {
            let before = earlier.0.iter().find(|(id, _)| *id == tid);
            time.saturating_sub(before.map_or(Duration::ZERO, |(_, time)| *time))
        };
        self.0.iter().map(used).sum()
    }
}

/// The time of all cores together since the machine started.
#[derive(Clone, Copy, Debug)]
pub struct MachineTime {
    /// In which they did something.
    pub busy: Duration,
    /// All of it.
    pub all: Duration,
}

impl MachineTime {
    /// Reads it.
    pub fn now() -> io::Result<MachineTime> {
        let stat = fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().unwrap_or_default();
        // proc(5): cpu user nice system idle iowait irq softirq steal; a guest's time is part of user.
        let words = line.split_ascii_whitespace().skip(1).take(8);
        let ticks: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        let [_, _, _, idle, iowait, ..] = ticks[..] else {
            return Err(malformed(
                "/proc/stat does not begin with the time of all cores",
            ));
        };
        let all: u64 = ticks.iter().sum();
        Ok(MachineTime {
            busy: from_ticks(all - idle - iowait),
            all: from_ticks(all),
        })
    }

    /// What has passed since `earlier`.
    #[must_use]
    pub fn since(self, earlier: MachineTime) -> MachineTime {
        MachineTime {
            busy: self.busy.saturating_sub(earlier.busy),
            all: self.all.saturating_sub(earlier.all),
        }
    }
}

/// Resident memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    /// All resident pages.
    pub resident_bytes: u64,
    /// Those that are no file's: heap, stacks, anonymous mappings.
    pub anonymous_bytes: u64,
    /// Those of mapped files, the program itself included.
    pub file_bytes: u64,
    /// Shared memory, io_uring's rings included.
    pub shared_bytes: u64,
}

impl Memory {
    /// Reads the resident memory of a process.
    pub fn of(pid: u32) -> io::Result<Memory> {
        let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| {
            text.lines()
                .find_map(|line| {
                    line.strip_prefix(name)?
                        .strip_prefix(':')?
                        .trim()
                        .strip_suffix("kB")
                })
                .and_then(|kibibytes| kibibytes.trim().parse::<u64>().ok())
                .map(|kibibytes| kibibytes * 1024)
                .ok_or_else(|| malformed(&format!("/proc/{pid}/status has no readable {name}")))
        };
        Ok(Memory {
            resident_bytes: field("VmRSS")?,
            anonymous_bytes: field("RssAnon")?,
            file_bytes: field("RssFile")?,
            shared_bytes: field("RssShmem")?,
        })
    }
}

/// The name and the CPU time in one `stat` file.
fn read_stat(path: &str) -> io::Result<(String, Duration)> {
    let text = fs::read_to_string(path)?;
    // proc(5): utime is field 14, stime 15.
    let (name, ticks) = parse_stat(&text, 14)
        .ok_or_else(|| malformed(&format!("{path} is not what proc(5) describes")))?;
    Ok((name.to_owned(), from_ticks(ticks)))
}

fn from_ticks(ticks: u64) -> Duration {
    Duration::from_nanos(ticks * (1_000_000_000 / rustix::param::clock_ticks_per_second()))
}

/// The name and the sum of a user and a system time in ticks, which are the fields `user_field` and the next one. The name
/// stands in parentheses and may itself hold parentheses and blanks, so the numbers are counted from the last closing one.
fn parse_stat(text: &str, user_field: usize) -> Option<(&str, u64)> {
    let open = text.find('(')?;
    let close = text.rfind(')')?;
    let name = text.get(open + 1..close)?;
    // proc(5): what follows the name is field 3.
    let fields = text.get(close + 1..)?.split_ascii_whitespace();
    let mut times = fields.skip(user_field - 3);
    let user: u64 = times.next()?.parse().ok()?;
    let system: u64 = times.next()?.parse().ok()?;
    Some((name, user + system))
}

fn malformed(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Counting the fields from the left would take a name like `(a) b` for two of them, and page faults for CPU time.
    #[test]
    fn a_name_with_parentheses_and_blanks_shifts_no_field() {
        let line = "7 ((a) b) S 1 7 7 0 -1 4194560 999 0 0 0 120 34 7 3 20 0 1 0 5 1 1";
        assert_eq!(parse_stat(line, 14), Some(("(a) b", 154)));
        assert_eq!(parse_stat(line, 16), Some(("(a) b", 10)));
        assert_eq!(parse_stat("7 (a) S 1", 14), None);
        assert_eq!(parse_stat(") 7 (", 14), None);
    }

    // A figure per CPU second is only as good as the reading of the CPU time: work that is done must show.
    #[test]
    fn work_shows_in_the_total_and_in_its_thread() {
        let pid = std::process::id();
        let before = CpuTime::of(pid).unwrap();
        let mut x = 1_u64;
        while CpuTime::of(pid).unwrap().total < before.total + Duration::from_millis(50) {
            for _ in 0..1_000_000 {
                x = std::hint::black_box(x.wrapping_mul(3));
            }
        }
        let after = CpuTime::of(pid).unwrap();
        let threads = after.threads_since(&before);
        assert!(
            threads.iter().any(|thread| thread.seconds >= 0.01),
            "{threads:?}"
        );
    }

    // Bursts last milliseconds: a reading in ticks would show none of the work, or ten times as much.
    #[test]
    fn a_millisecond_of_work_shows() {
        let pid = std::process::id();
        let before = ThreadsTime::of(pid).unwrap();
        let mut x = 1_u64;
        while ThreadsTime::of(pid).unwrap().since(&before) < Duration::from_millis(1) {
            for _ in 0..10_000 {
                x = std::hint::black_box(x.wrapping_mul(3));
            }
        }
        assert_eq!(before.since(&before), Duration::ZERO);
    }

    #[test]
    fn resident_memory_is_the_sum_of_its_kinds() {
        let memory = Memory::of(std::process::id()).unwrap();
        assert!(memory.resident_bytes > 0);
        assert_eq!(
            memory.resident_bytes,
            memory.anonymous_bytes + memory.file_bytes + memory.shared_bytes
        );
    }
}
