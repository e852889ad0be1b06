//! Under which rule the replies to a command are compared.

use std::time::Instant;

use super::generate::Step;
use crate::reply::Reply;

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Byte for byte.
    Same,
    /// A time in units of so many milliseconds, which may differ by what has passed since the run began; negative ones are the same.
    Time(i64),
    /// Arrays of the same elements in any order.
    AnyOrder,
    /// One key of those that are there, or none.
    AnyKey,
    /// A page of SCAN: a cursor and keys, of which no two servers choose the same.
    Page,
    /// Not a reply but a whole scan: the same keys.
    WholeScan,
    /// Numbers or strings with a meaning of each server's own, or nothing on both sides.
    Own,
    /// OBJECT ENCODING: by the value here, by how it came about there.
    Encoding,
    /// HELLO: the connection's number is each server's own.
    Hello,
    /// Begins a transaction.
    Multi,
    /// Ends one: each reply under the rule of the command that was queued.
    Exec,
}

impl Check {
    /// The rule of a command.
    pub(super) fn of(words: &[Vec<u8>]) -> Check {
        let word = |at: usize| {
            let word = words.get(at).map(|word| word.to_ascii_lowercase());
            String::from_utf8(word.unwrap_or_default()).unwrap_or_default()
        };
        match (word(0).as_str(), word(1).as_str()) {
            ("ttl" | "expiretime", _) => Check::Time(1000),
            ("pttl" | "pexpiretime", _) => Check::Time(1),
            ("keys", _) => Check::AnyOrder,
            ("randomkey", _) => Check::AnyKey,
            ("scan", _) => Check::Page,
            ("hello", _) => Check::Hello,
            ("multi", _) => Check::Multi,
            ("exec", _) => Check::Exec,
            ("object", "encoding") => Check::Encoding,
            ("object", "idletime" | "refcount") | ("memory", "usage") => Check::Own,
            ("time" | "lastsave", _) | ("client", "id") => Check::Own,
            _ => Check::Same,
        }
    }
}

/// What the comparison of a run remembers.
pub(super) struct Clock {
    pub(super) began: Instant,
    /// Rules of the commands that wait for EXEC, for each connection.
    pub(super) queued: Vec<Vec<Check>>,
}

/// Compares the replies to a step, and says what is wrong with them.
pub(super) fn compare(
    step: &Step,
    ours: &Reply,
    theirs: &Reply,
    clock: &mut Clock,
) -> Result<(), String> {
    let queued = &mut clock.queued[step.connection];
    if theirs.line == b"+QUEUED" {
        queued.push(step.check);
        return same(ours, theirs);
    }
    if step.check == Check::Exec && theirs.sign() == b'*' {
        let checks = std::mem::take(queued);
        if theirs.is_null() || ours.items.len() != theirs.items.len() {
            return same(ours, theirs);
        }
        if checks.len() != theirs.items.len() {
            return Err("EXEC has another number of replies than commands were queued".to_owned());
        }
        for (at, check) in checks.iter().enumerate() {
            let (ours, theirs) = (&ours.items[at], &theirs.items[at]);
            under(*check, ours, theirs, clock.began)
                .map_err(|why| format!("command {at} of the transaction: {why}"))?;
        }
        return Ok(());
    }
    if matches!(step.check, Check::Multi | Check::Exec) && !theirs.is_error() {
        queued.clear();
    }
    under(step.check, ours, theirs, clock.began)
}

fn same(ours: &Reply, theirs: &Reply) -> Result<(), String> {
    if ours == theirs {
        return Ok(());
    }
    Err("the replies differ".to_owned())
}

fn under(check: Check, ours: &Reply, theirs: &Reply, began: Instant) -> Result<(), String> {
    if ours == theirs {
        return Ok(());
    }
    if ours.is_error() || theirs.is_error() || ours.is_null() || theirs.is_null() {
        return same(ours, theirs);
    }
    let holds = match check {
        Check::Same | Check::WholeScan | Check::Multi | Check::Exec => false,
        Check::Time(unit_ms) => times_agree(ours, theirs, unit_ms, began),
        Check::AnyOrder => sorted(ours) == sorted(theirs) && ours.line == theirs.line,
        Check::AnyKey => ours.sign() == b'$' && theirs.sign() == b'$',
        Check::Page => {
            let is_page = |reply: &Reply| {
                let [cursor, keys] = reply.items.as_slice() else {
                    return false;
                };
                let cursor = cursor.bulk.as_deref().unwrap_or_default();
                !cursor.is_empty() && cursor.iter().all(u8::is_ascii_digit) && keys.sign() == b'*'
            };
            is_page(ours) && is_page(theirs)
        }
        Check::Own => ours.sign() == theirs.sign(),
        Check::Encoding => {
            let is_encoding =
                |reply: &Reply| ["int", "embstr", "raw"].contains(&reply.text().as_str());
            is_encoding(ours) && is_encoding(theirs)
        }
        Check::Hello => without_id(ours) == without_id(theirs),
    };
    if holds {
        return Ok(());
    }
    Err(format!("the replies differ ({check:?})"))
}

fn times_agree(ours: &Reply, theirs: &Reply, unit_ms: i64, began: Instant) -> bool {
    let (Some(ours), Some(theirs)) = (ours.integer(), theirs.integer()) else {
        return false;
    };
    // Not there, or no time to live.
    if ours < 0 || theirs < 0 {
        return false;
    }
    let passed_ms = began.elapsed().as_millis() as i64;
    (ours - theirs).abs() <= passed_ms / unit_ms + 1
}

fn sorted(reply: &Reply) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let items = reply.items.iter();
    let mut items: Vec<_> = items
        .map(|item| (item.line.clone(), item.bulk.clone()))
        .collect();
    items.sort();
    items
}

fn without_id(reply: &Reply) -> Reply {
    let mut reply = reply.clone();
    let id = reply.items.iter().position(|item| item.text() == "id");
    if let Some(id) = id {
        reply.items.remove(id + 1);
    }
    reply
}
