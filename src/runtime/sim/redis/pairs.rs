//! Pairs of counters that are zero in sum.
//!
//! Each transfer adds to one what it takes from the other, in a transaction, so both are zero in sum whenever anybody looks, wherever their shards are.
//! Transfers only ever add to the first counter. So what it shows is at least what was acknowledged or seen before the look was
//! sent, and at most what was ever asked for. That takes no search, so any number of clients may do it at once.
//!
//! After a death, a pair that shares a tag still adds up: one shard, one block. A pair without one may be torn by a transfer that was not
//! acknowledged, and then begins anew under other names; so does every pair when a death may have cost acknowledged writes.
//! Where disks fail or rot, a transfer may be refused in part while the node lives: there only the form of the replies is looked at.

use super::reply::Reply;

/// How many there are; every third shares a tag.
pub(super) const PAIRS: usize = 6;

/// One pair.
#[derive(Debug, Default)]
struct Pair {
    /// How often it began anew.
    generation: u32,
    /// What the first counter shows at least, for whoever looks from now on.
    floor: i64,
    /// The sum of all that was ever asked for.
    ceiling: i64,
    /// A transfer was not acknowledged in this life of the process.
    is_open: bool,
}

/// What clients know of all pairs.
#[derive(Debug)]
pub(super) struct Pairs {
    pairs: [Pair; PAIRS],
    /// No disk fails: every transfer is carried out as a whole.
    is_calm: bool,
}

/// What was acknowledged to one client, by pair.
pub(super) type Own = [i64; PAIRS];

impl Pairs {
    pub(super) fn new(is_calm: bool) -> Pairs {
        Pairs {
            pairs: Default::default(),
            is_calm,
        }
    }

    /// From now on requests may be refused because of a disk.
    pub(super) fn disturb(&mut self) {
        self.is_calm = false;
    }

    fn is_tagged(pair: usize) -> bool {
        pair.is_multiple_of(3)
    }

    pub(super) fn names(&self, pair: usize) -> [String; 2] {
        let generation = self.pairs[pair].generation;
        ["a", "b"].map(|side| match Pairs::is_tagged(pair) {
            true => format!("{{{pair}.{generation}}}{side}"),
            false => format!("{side}{pair}.{generation}"),
        })
    }

    /// A transfer is going to be asked for.
    pub(super) fn ask(&mut self, pair: usize, by: i64) {
        self.pairs[pair].ceiling += by;
    }

    /// What a look that is sent now shows at least.
    pub(super) fn floor(&self, pair: usize) -> i64 {
        self.pairs[pair].floor
    }

    /// A client will never hear what became of a transfer.
    pub(super) fn leave_open(&mut self, pair: usize) {
        self.pairs[pair].is_open = true;
    }

    /// The process is dead.
    pub(super) fn died(&mut self) {
        for (number, pair) in self.pairs.iter_mut().enumerate() {
            if pair.is_open && !Pairs::is_tagged(number) {
                pair.begin_anew();
            }
            pair.is_open = false;
        }
    }

    /// The death may have cost acknowledged writes.
    pub(super) fn lost(&mut self) {
        self.pairs.iter_mut().for_each(Pair::begin_anew);
    }

    /// Judges the reply to a transaction on both counters: they add up, and the first shows `least` or more. Where disks fail, its form.
    pub(super) fn judge(
        &mut self,
        pair: usize,
        least: i64,
        own: &mut Own,
        reply: &Reply,
    ) -> Result<(), String> {
        let parts = match reply {
            Reply::Error(_) if !self.is_calm => return Ok(()),
            Reply::Array(parts) => parts.as_slice(),
            _ => return Err("a transaction on two counters has another reply".to_owned()),
        };
        let [first, second] = parts else {
            return Err("there are two counters".to_owned());
        };
        let (Some(first), Some(second)) = (number(first)?, number(second)?) else {
            return match self.is_calm {
                true => Err("a part of a transaction was refused".to_owned()),
                false => Ok(()),
            };
        };
        if !self.is_calm {
            return Ok(());
        }
        let known = &mut self.pairs[pair];
        if first + second != 0 {
            return Err(format!(
                "pair {pair} does not add up: {first} and {second}, {known:?}"
            ));
        }
        let least = least.max(own[pair]);
        if first < least || first > known.ceiling {
            return Err(format!(
                "pair {pair} shows {first}, and {least} was certain, {known:?}"
            ));
        }
        own[pair] = first;
        known.floor = known.floor.max(first);
        Ok(())
    }
}

impl Pair {
    fn begin_anew(&mut self) {
        *self = Pair {
            generation: self.generation + 1,
            ..Pair::default()
        };
    }
}

/// The number of a counter; one that is not there counts as zero, and there is none in an error.
fn number(reply: &Reply) -> Result<Option<i64>, String> {
    match reply {
        Reply::Number(number) => Ok(Some(*number)),
        Reply::Bulk(None) => Ok(Some(0)),
        Reply::Bulk(Some(text)) => {
            let number = text.parse().map_err(|_| format!("{text:?} is no number"))?;
            Ok(Some(number))
        }
        Reply::Error(_) => Ok(None),
        other => Err(format!("{other:?} is no counter")),
    }
}
