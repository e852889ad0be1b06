//! The CPU time of the server's process, and which process that is.
//!
//! CPU time is `utime + stime` of `/proc/PID/stat`, which counts all threads, those that have ended and the kernel's io_uring workers
//! included. Its unit is the clock tick (10 ms on Linux), so a window of seconds is exact to a fraction of a percent.

use std::{
    fs, io,
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

/// The CPU time of a process since it began, of all its threads, living and ended.
///
/// # Errors
///
/// There is no such process, or it may not be looked at.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path)?;
    let ticks = parse_stat(&text).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{path} is not what proc(5) describes"),
        )
    })?;
    Ok(Duration::from_nanos(
        ticks * (1_000_000_000 / rustix::param::clock_ticks_per_second()),
    ))
}

/// The process that listens on this address, if it is one on this machine that may be looked at. Of several the one with the lowest number: a child
/// that was forked to write a snapshot has its parent's sockets.
///
/// `/proc/net/tcp` names a listening socket's inode; whose it is, the descriptors of all processes tell. An address that every interface
/// listens on counts too.
#[must_use]
pub fn listener_of(address: SocketAddr) -> Option<u32> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inodes: Vec<String> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, address.port()))
        .collect();
    if inodes.is_empty() || !is_local(address) {
        return None;
    }
    let wanted: Vec<String> = inodes
        .iter()
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let listening = |process: fs::DirEntry| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let descriptors = fs::read_dir(process.path().join("fd")).ok()?;
        descriptors
            .flatten()
            .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
            .any(|target| {
                wanted
                    .iter()
                    .any(|wanted| target.as_os_str() == wanted.as_str())
            })
            .then_some(pid)
    };
    fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(listening)
        .min()
}

/// What a process is called.
#[must_use]
pub fn name(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// Whether a socket can be bound to the address: it is one of this machine's.
fn is_local(address: SocketAddr) -> bool {
    UdpSocket::bind((address.ip(), 0)).is_ok()
}

/// The inodes of the sockets that listen on a port, as `/proc/net/tcp` shows them.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    // proc(5): number, local address, remote address, state (0A listens), queues, timers, retransmissions, user, timeout, inode.
    let port = format!(":{port:04X}");
    let listening = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_it = words.get(1)?.ends_with(&port) && *words.get(3)? == "0A";
        is_it.then(|| words.get(9).map(|inode| (*inode).to_owned()))?
    };
    table.lines().skip(1).filter_map(listening).collect()
}

/// `utime + stime` in ticks. The name stands in parentheses and may itself hold parentheses and blanks, so the numbers are counted from the last
/// closing one.
fn parse_stat(text: &str) -> Option<u64> {
    let close = text.rfind(')')?;
    // proc(5): state is field 3, utime 14, stime 15.
    let mut fields = text.get(close + 1..)?.split_ascii_whitespace().skip(14 - 3);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Counting the fields from the left would take a name like `(a) b` for two of them, and page faults for CPU time.
    #[test]
    fn a_name_with_parentheses_and_blanks_shifts_no_field() {
        let line = "7 ((a) b) S 1 7 7 0 -1 4194560 999 0 0 0 120 34 0 0 20 0 1 0 5 1 1";
        assert_eq!(parse_stat(line), Some(154));
        assert_eq!(parse_stat("7 (a) S 1"), None);
        assert_eq!(parse_stat("7"), None);
    }

    // A figure per CPU second is only as good as the reading of the CPU time: work that is done must show.
    #[test]
    fn work_shows_in_the_total() {
        let pid = std::process::id();
        let before = cpu_time(pid).unwrap();
        let mut x = 1_u64;
        while cpu_time(pid).unwrap() < before + Duration::from_millis(50) {
            for _ in 0..1_000_000 {
                x = std::hint::black_box(x.wrapping_mul(3));
            }
        }
        assert!(cpu_time(u32::MAX).is_err());
    }

    #[test]
    fn a_listener_is_found_by_its_address() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(listener_of(address), Some(std::process::id()));
        drop(listener);
        assert_eq!(listener_of(address), None);
        assert_eq!(listener_of("192.0.2.1:80".parse().unwrap()), None);
    }
}
