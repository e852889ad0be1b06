//! From what was asked to what is run with: decides what is left to the machine, and checks how settings relate.
//!
//! The order matters: the number of shards first; the shortest segment that the longest value allows; memory, which must feed
//! that many shards with segments of at least that length; then the segments' length, which goes by the memory of a shard.

#![expect(
    clippy::result_large_err,
    reason = "an error here ends the start: it is made once, and its size costs nothing"
)]

use std::io;

use super::choices::cores_text;
use super::error::ConfigError;
use super::kinds::{bytes_text, time_text};
use super::layers::Given;
use super::machine::{Machine, Memory};
use super::settings::Requested;
use super::values::CoreSelection;
use super::{Config, Note};
use crate::limits;

/// A quarter of the machine's memory: what a store may take that shares the machine with its clients and the page cache.
const MEMORY_PART: u64 = 4;
/// Chosen memory is a multiple of this.
const MEMORY_STEP: u64 = 64 << 20;

/// The configuration, with a note for each value that was chosen. `None` after adding what is wrong to `errors`.
pub(super) fn decide(
    requested: &Requested,
    salvage: bool,
    machine: Machine,
    errors: &mut Vec<ConfigError>,
) -> Option<(Config, Vec<Note>)> {
    let mut notes = Vec::new();
    let cores = keep(
        decide_cores(&requested.cores, machine.cores, &mut notes),
        errors,
    );
    check_output(requested, errors);
    check_backups(requested, errors);
    let segment_len_min = keep(segment_len_min(requested), errors);
    // Without these two there is nothing to measure memory by.
    let (cores, segment_len_min) = (cores?, segment_len_min?);
    let memory = keep(
        decide_memory(
            requested,
            cores.len(),
            segment_len_min,
            &machine.memory,
            &mut notes,
        ),
        errors,
    )?;
    let segment_len = requested
        .segment_len
        .value
        .unwrap_or_else(|| decide_segment_len(memory, cores.len(), segment_len_min, &mut notes));
    if !errors.is_empty() {
        return None;
    }
    let config = Config {
        data: requested.data.value.clone(),
        listen: requested.listen.value,
        admin: requested.admin.value,
        cores,
        memory,
        sync: requested.sync.value,
        value_len_max: to_usize(requested.value_len_max.value),
        segment_len,
        connections_max: requested.connections_max.value,
        idle_timeout: requested.idle_timeout.value,
        handshake_timeout: requested.handshake_timeout.value,
        stall_timeout: requested.stall_timeout.value,
        in_flight_max: requested.in_flight_max.value,
        output_bytes_max: to_usize(requested.output_bytes_max.value),
        stop_timeout: requested.stop_timeout.value,
        spin: requested.spin.value,
        coalesce: requested.coalesce.value,
        compaction: requested.compaction.value,
        scrub_period: requested.scrub_period.value,
        backup_directory: requested.backup_directory.value.clone(),
        backup_every: requested.backup_every.value,
        backup_keep: requested.backup_keep.value,
        debug_commands: requested.debug_commands.value,
        salvage,
        log: requested.log.value.clone(),
        log_format: requested.log_format.value,
    };
    Some((config, notes))
}

/// The value, or its error among `errors`.
fn keep<T>(result: Result<T, ConfigError>, errors: &mut Vec<ConfigError>) -> Option<T> {
    result.map_err(|error| errors.push(error)).ok()
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).expect("its kind bounds it far below the address space")
}

fn decide_cores(
    asked: &Given<CoreSelection>,
    available: io::Result<Vec<usize>>,
    notes: &mut Vec<Note>,
) -> Result<Vec<usize>, ConfigError> {
    let available = match (available, &asked.value) {
        (Ok(available), _) => available,
        // Named one by one, they can be tried without knowing what there is.
        (Err(_), CoreSelection::List(cores)) => return Ok(cores.clone()),
        (Err(source), _) => {
            let (what, path) = (
                "which cores this process may run on",
                "sched_getaffinity".into(),
            );
            return Err(ConfigError::Machine {
                what,
                setting: "a list of cores",
                path,
                source,
            });
        }
    };
    match &asked.value {
        CoreSelection::All => {
            let mut cores = available;
            if cores.len() > limits::SHARDS_MAX {
                notes.push(Note::new(
                    "cores",
                    format!("the first {} of {}", limits::SHARDS_MAX, cores.len()),
                ));
                cores.truncate(limits::SHARDS_MAX);
            } else {
                notes.push(Note::new(
                    "cores",
                    "all that this process may run on".to_owned(),
                ));
            }
            Ok(cores)
        }
        CoreSelection::Count(count) if *count > available.len() => Err(ConfigError::CoreCount {
            asked: *count,
            origin: asked.origin.clone(),
            available_count: available.len(),
            available: cores_text(&available),
        }),
        CoreSelection::Count(count) => Ok(available[..*count].to_vec()),
        CoreSelection::List(cores) => {
            let missing: Vec<usize> = cores
                .iter()
                .copied()
                .filter(|core| !available.contains(core))
                .collect();
            if missing.is_empty() {
                return Ok(cores.clone());
            }
            Err(ConfigError::CoreMissing {
                asked: cores_text(cores),
                origin: asked.origin.clone(),
                missing: cores_text(&missing),
                available: cores_text(&available),
            })
        }
    }
}

/// One reply with the longest value must fit among those that wait, or a client that asks for it would wait for ever.
fn check_output(requested: &Requested, errors: &mut Vec<ConfigError>) {
    let (output, value) = (&requested.output_bytes_max, &requested.value_len_max);
    let needed = value.value + limits::REPLY_SLACK_LEN;
    if output.value < needed {
        errors.push(ConfigError::OutputTooSmall {
            output_bytes_max: bytes_text(output.value),
            origin: output.origin.clone(),
            value_len_max: bytes_text(value.value),
            value_origin: value.origin.clone(),
            slack: bytes_text(limits::REPLY_SLACK_LEN),
            needed: bytes_text(needed),
        });
    }
}

fn check_backups(requested: &Requested, errors: &mut Vec<ConfigError>) {
    let (every, directory) = (&requested.backup_every, &requested.backup_directory);
    if let (Some(time), None) = (every.value, &directory.value) {
        errors.push(ConfigError::NoBackupDirectory {
            backup_every: time_text(time),
            origin: every.origin.clone(),
        });
    }
}

/// The shortest segment that the longest value allows; the one that was asked for, if any, after checking it against that.
fn segment_len_min(requested: &Requested) -> Result<u64, ConfigError> {
    let (segment, value) = (&requested.segment_len, &requested.value_len_max);
    let needed = (value.value + limits::SEGMENT_SLACK_LEN)
        .next_power_of_two()
        .max(limits::SEGMENT_LEN_ASKED_MIN);
    match segment.value {
        Some(segment_len) if segment_len < needed => Err(ConfigError::SegmentTooShort {
            segment_len: bytes_text(segment_len),
            origin: segment.origin.clone(),
            value_len_max: bytes_text(value.value),
            value_origin: value.origin.clone(),
            slack: bytes_text(limits::SEGMENT_SLACK_LEN),
            needed: bytes_text(needed),
            value_len_fitting: bytes_text(segment_len - limits::SEGMENT_SLACK_LEN),
        }),
        Some(segment_len) => Ok(segment_len),
        None => Ok(needed),
    }
}

/// What one shard needs with segments of a length, in bytes.
fn shard_memory_min(segment_len: u64) -> u64 {
    limits::TAIL_SEGMENTS_MIN * segment_len + limits::SHARD_MEMORY_BASE
}

fn decide_memory(
    requested: &Requested,
    shard_count: usize,
    segment_len: u64,
    available: &io::Result<Memory>,
    notes: &mut Vec<Note>,
) -> Result<u64, ConfigError> {
    let asked = &requested.memory;
    let needed = shard_count as u64 * shard_memory_min(segment_len);
    let memory = match (asked.value, available) {
        (Some(memory), Ok(available)) if memory > available.bytes => {
            return Err(ConfigError::MemoryBeyondMachine {
                memory: bytes_text(memory),
                origin: asked.origin.clone(),
                available: bytes_text(available.bytes),
                limit: if available.cgroup {
                    "this process's cgroup"
                } else {
                    "this machine"
                },
            });
        }
        (Some(memory), _) => memory,
        (None, Ok(available)) => choose_memory(*available, needed, notes),
        (None, Err(source)) => {
            let source = io::Error::new(source.kind(), source.to_string());
            let (what, path) = ("how much memory there is", "/proc/meminfo".into());
            return Err(ConfigError::Machine {
                what,
                setting: "memory",
                path,
                source,
            });
        }
    };
    if memory >= needed {
        return Ok(memory);
    }
    Err(ConfigError::MemoryTooSmall {
        memory: bytes_text(memory),
        origin: asked.origin.clone(),
        shard_count,
        segment_len: bytes_text(segment_len),
        segment_given: requested.segment_len.value.is_some(),
        needed: bytes_text(needed),
        memory_raise: available
            .as_ref()
            .map_or(true, |available| needed <= available.bytes),
        shard_count_fitting: to_usize(memory / shard_memory_min(segment_len)),
    })
}

/// A quarter of what there is; what the shards need if that is more and no more than half.
fn choose_memory(available: Memory, needed: u64, notes: &mut Vec<Note>) -> u64 {
    let whose = if available.cgroup {
        "the cgroup's"
    } else {
        "the machine's"
    };
    // Rounded for people to read; the full figure is of no use to them.
    let whole = format!(
        "{whose} {:.1} GiB",
        available.bytes as f64 / (1_u64 << 30) as f64
    );
    let part = (available.bytes / MEMORY_PART / MEMORY_STEP * MEMORY_STEP).max(MEMORY_STEP);
    if part >= needed || needed > available.bytes / 2 {
        notes.push(Note::new("memory", format!("a quarter of {whole}")));
        return part;
    }
    notes.push(Note::new(
        "memory",
        format!("what the shards need at least, of {whole}"),
    ));
    needed
}

fn decide_segment_len(
    memory: u64,
    shard_count: usize,
    segment_len_min: u64,
    notes: &mut Vec<Note>,
) -> u64 {
    let part = memory / shard_count as u64 / limits::SEGMENTS_PER_SHARD_MEMORY;
    let by_memory = part
        .checked_ilog2()
        .map_or(0, |exponent| 1 << exponent)
        .min(limits::SEGMENT_LEN_AUTO_MAX);
    if by_memory >= segment_len_min {
        notes.push(Note::new("segment_len", "by memory and cores".to_owned()));
        by_memory
    } else {
        notes.push(Note::new("segment_len", "by value_len_max".to_owned()));
        segment_len_min
    }
}
