//! Which cores a thread may run on.
//!
//! Affinity belongs to a thread and is inherited by what it spawns. That gives a safe way to start a child process on a
//! given core: the spawning thread moves there first ([`on_cores`]) and moves back afterwards.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores that the calling thread may use, ascending.
pub fn allowed_cores() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|&core| set.is_set(core))
        .collect())
}

/// Confines the calling thread to these cores, from now on and for all that it spawns.
pub fn pin_to(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for &core in cores {
        if core >= CpuSet::MAX_CPU {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "core {core} is beyond the {} that an affinity mask holds",
                    CpuSet::MAX_CPU
                ),
            ));
        }
        set.set(core);
    }
    Ok(sched_setaffinity(None, &set)?)
}

/// Runs `work` with the calling thread confined to these cores, and restores its affinity afterwards.
///
/// A child process that `work` spawns stays on `cores`.
pub fn on_cores<T>(cores: &[usize], work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = sched_getaffinity(None)?;
    pin_to(cores)?;
    let result = work();
    sched_setaffinity(None, &before)?;
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    // A driver that stayed on the server's core after starting the server would share that core with it, and every figure
    // would measure the scheduler instead.
    #[test]
    fn a_thread_returns_to_its_cores_after_spawning_elsewhere() {
        let before = allowed_cores().unwrap();
        let last = *before.last().unwrap();
        let inside = on_cores(&[last], || {
            // A thread, like a process, inherits the mask of its parent.
            Ok(std::thread::spawn(|| allowed_cores().unwrap())
                .join()
                .unwrap())
        })
        .unwrap();
        assert_eq!(inside, [last]);
        assert_eq!(allowed_cores().unwrap(), before);
    }

    #[test]
    fn a_core_beyond_the_mask_is_an_error() {
        assert_eq!(
            pin_to(&[usize::MAX]).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
    }
}
