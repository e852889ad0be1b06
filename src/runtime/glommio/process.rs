//! What this process uses, as the kernel tells it: for INFO, on request alone.

use std::fs;

use crate::ports::ProcessFigures;

/// Microseconds of a second.
const MICROS: u64 = 1_000_000;

/// Reads the figures; those that the kernel does not tell are 0.
pub(super) fn figures() -> ProcessFigures {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let (cpu_user_us, cpu_system_us) =
        times(&fs::read_to_string("/proc/self/stat").unwrap_or_default());
    ProcessFigures {
        resident_bytes: kibibytes(&status, "VmRSS:"),
        resident_bytes_max: kibibytes(&status, "VmHWM:"),
        machine_bytes: kibibytes(&machine, "MemTotal:"),
        cpu_user_us,
        cpu_system_us,
    }
}

/// The number in the line that begins with `name`, which is in KiB, in bytes.
fn kibibytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

/// Processor time in and outside the kernel, of a line as in `/proc/PID/stat` (proc(5)): fields 14 and 15.
fn times(stat: &str) -> (u64, u64) {
    // The program's name may hold blanks and parentheses.
    let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
    let mut fields = behind.split_whitespace().skip(11);
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    let mut micros = || {
        let field = fields.next().and_then(|field| field.parse::<u64>().ok());
        field.unwrap_or(0) * MICROS / ticks
    };
    (micros(), micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A figure from the wrong line or field misleads whoever looks for a leak.
    #[test]
    fn the_kernels_lines_are_taken_apart() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\n";
        assert_eq!(kibibytes(status, "VmRSS:"), 1 << 20);
        assert_eq!(kibibytes(status, "VmHWM:"), 2 << 20);
        assert_eq!(kibibytes(status, "VmSwap:"), 0);
        let ticks = rustix::param::clock_ticks_per_second();
        let stat = format!(
            "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 {} {} 0 0",
            3 * ticks,
            2 * ticks
        );
        assert_eq!(times(&stat), (3 * MICROS, 2 * MICROS));
        assert_eq!(times(""), (0, 0));
    }
}
