//! All of an atomic batch, or nothing.
//!
//! A batch that was answered is part of each key's history, and `check` holds it there. One that was cut short by a death is not: it
//! may have happened or not, but not in part. The audit after the death tells: all keys of the batch are in one partition, whose versions
//! are given in the order in which effects are logged, so if one key holds what the batch wrote, at version `v`, then each other key
//! that it wrote holds a version near `v` or a later one. A key that is not there must have been removed since.

use super::action::Act;
use super::history::{Entry, EntryId, History, Outcome, Time};
use super::value::Value;

/// Checks one atomic batch whose outcome nobody was told, by what an audit read.
pub(super) fn check_atomic(
    history: &History,
    batch: &[EntryId],
    audited: Time,
) -> Result<(), String> {
    let entry = |id: &EntryId| &history.keys[&id.place][id.index];
    let audit = |id: &EntryId| {
        let entries = &history.keys[&id.place];
        entries
            .iter()
            .rev()
            .find(|entry| entry.invoked >= audited && entry.outcome != Outcome::Refused)
    };
    let written = batch.iter().find_map(|id| {
        let Outcome::Saw { version, value, .. } = &audit(id)?.outcome else {
            return None;
        };
        // A touch writes the same value again, at another version.
        let touched = history.keys[&id.place]
            .iter()
            .any(|entry| entry.act.rewrites() && entry.outcome != Outcome::Refused);
        (wrote(entry(id), value.as_ref()) && !touched).then_some(*version)
    });
    let Some(version) = written else {
        return Ok(());
    };
    for id in batch {
        let (Act::Put { .. }, Some(audit)) = (&entry(id).act, audit(id)) else {
            continue;
        };
        let is_half = match &audit.outcome {
            Outcome::Saw { version: found, .. } => found + (batch.len() as u64) <= version,
            Outcome::Absent => !may_have_been_removed(history, id),
            _ => false,
        };
        if is_half {
            return Err(format!(
                "half of an atomic batch is there, at version {version}: {:?} and then {audit:?}",
                entry(id)
            ));
        }
    }
    Ok(())
}

/// Whether a value is the very one that an entry wrote. Values that any other write could have left prove nothing.
fn wrote(entry: &Entry, seen: Option<&Value>) -> bool {
    match (&entry.act, seen) {
        (Act::Put { value, .. }, Some(seen)) => {
            value == seen && *value != Value::Pieces(Vec::new())
        }
        _ => false,
    }
}

fn may_have_been_removed(history: &History, id: &EntryId) -> bool {
    let flushed = history
        .flushes
        .iter()
        .any(|flush| flush.keyspace == id.place.keyspace);
    flushed
        || history.keys[&id.place]
            .iter()
            .any(|entry| entry.act.removes())
}
