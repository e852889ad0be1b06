//! A process that was told to stop, and goes on when this value ends.

use std::{
    fs, io,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// How long a process may take to stop.
const STOP_MAX: Duration = Duration::from_secs(5);
/// Between two looks at whether it has.
const LOOK: Duration = Duration::from_micros(200);

/// A stopped process.
#[derive(Debug)]
pub(super) struct Stopped {
    pid: Pid,
}

impl Stopped {
    /// Stops a process and waits until all its threads stand still.
    pub(super) fn stop(pid: u32) -> io::Result<Stopped> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pid = raw.ok_or_else(|| io::Error::other(format!("{pid} is no process")))?;
        kill_process(pid, Signal::STOP)?;
        let stopped = Stopped { pid };
        let began = Instant::now();
        while !stopped.do_all_threads_stand()? {
            if began.elapsed() > STOP_MAX {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("some thread of process {pid:?} doesn't stop"),
                ));
            }
            std::thread::sleep(LOOK);
        }
        Ok(stopped)
    }

    /// Lets it go on.
    pub(super) fn go_on(self) -> io::Result<()> {
        let result = self.signal();
        std::mem::forget(self);
        result
    }

    fn signal(&self) -> io::Result<()> {
        Ok(kill_process(self.pid, Signal::CONT)?)
    }

    fn do_all_threads_stand(&self) -> io::Result<bool> {
        let tasks = format!("/proc/{}/task", self.pid.as_raw_nonzero());
        for task in fs::read_dir(tasks)? {
            // A thread may end between the listing and the reading.
            let Ok(stat) = fs::read_to_string(task?.path().join("stat")) else {
                continue;
            };
            // proc(5): T is stopped, t is stopped under a debugger. The state stands behind the name, which is in parentheses and may hold any others.
            let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
            if !state.is_some_and(|state| state.starts_with(['T', 't'])) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It fails only if the process has ended.
        let _ = self.signal();
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    // A server that stayed stopped after a failed burst would hang whatever asks it next; one that was not stopped would answer while the
    // client is still asking, and the client's time would count as the server's.
    #[test]
    fn a_process_stands_still_until_the_value_ends() {
        let mut child = Command::new("sleep")
            .arg("1000")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let stopped = Stopped::stop(child.id()).unwrap();
        assert!(stopped.do_all_threads_stand().unwrap());
        let pid = stopped.pid;
        drop(stopped);
        let after = Stopped { pid };
        while after.do_all_threads_stand().unwrap() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        std::mem::forget(after);
    }
}
