//! What a thread and the process need of the kernel before a run: a core, short timers, enough descriptors.

use std::num::NonZeroU64;

use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_setaffinity, set_current_timer_slack},
};

use super::EngineError;

/// Descriptors besides those of connections: epolls, standard streams, files of the report.
const OTHER_DESCRIPTORS: u64 = 64;

/// Confines the calling thread, and all that it spawns from now on, to these cores.
///
/// # Errors
///
/// If the machine has no such core, or this process may not use it.
pub(crate) fn pin_to(cores: &[usize]) -> Result<(), EngineError> {
    let mut set = CpuSet::new();
    for &core in cores {
        if core >= CpuSet::MAX_CPU {
            return Err(EngineError::Config(format!(
                "core {core}: a machine has at most {} of them",
                CpuSet::MAX_CPU
            )));
        }
        set.set(core);
    }
    sched_setaffinity(None, &set).map_err(|error| EngineError::Cores {
        cores: cores.to_vec(),
        source: error.into(),
    })
}

/// Has the kernel wake the calling thread when its time is over, and not up to 50 µs later as is usual.
pub(crate) fn ask_for_short_timers() {
    // If it refuses, sleeps are longer, and the lag shows it.
    let _ = set_current_timer_slack(NonZeroU64::new(1));
}

/// Raises the limit of open files so far that these connections fit.
///
/// # Errors
///
/// If the hard limit is lower and this process may not raise it.
pub(crate) fn raise_descriptor_limit(connections: u32) -> Result<(), EngineError> {
    let needed = u64::from(connections) + OTHER_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(needed));
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(needed),
            maximum,
        },
    )
    .map_err(|_| EngineError::Descriptors {
        connections,
        needed,
        limit: limit.maximum.unwrap_or(u64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // Ten thousand connections fail at the 1,024th with the limit that most shells start with.
    #[test]
    fn the_limit_is_raised_or_the_error_names_it() {
        let before = getrlimit(Resource::Nofile);
        match raise_descriptor_limit(3_000) {
            Ok(()) => assert!(
                getrlimit(Resource::Nofile)
                    .current
                    .is_none_or(|current| current >= 3_000)
            ),
            Err(error) => {
                assert!(before.maximum.is_some_and(|maximum| maximum < 3_064));
                assert!(error.to_string().contains("ulimit"), "{error}");
            }
        }
    }

    #[test]
    fn a_core_beyond_the_mask_is_an_error() {
        assert!(matches!(pin_to(&[usize::MAX]), Err(EngineError::Config(_))));
    }
}
