//! Whether some order of a family's requests explains all their replies.
//!
//! Replies of Redis commands carry no versions, so the order has to be searched for (Wing and Gong, *Testing and verifying concurrent objects*,
//! 1993; what was tried once is not tried again: Lowe, *Testing for linearizability*, 2017). The order keeps to real time (a request that was
//! sent after another's reply comes after it), and to that of one connection's requests on a key. Values say who wrote them, so there is
//! hardly ever more than one way to go on.
//!
//! A request without a reply may have been carried out until the node died, once or not at all. One over several shards that the death cut in two
//! may have taken effect on some of its keys; then nobody saw the others any more, for they were held.

use std::collections::HashSet;

use super::command::KEYS;
use super::model::{Bounds, Clock, Deed, State};
use super::reply::Reply;

/// One request on a family.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) connection: u32,
    pub(super) deed: Deed,
    /// It was sent after the node's death.
    pub(super) is_audit: bool,
    /// Moments of the family's own count; `u64::MAX`: never.
    pub(super) invoked: u64,
    pub(super) answered: u64,
    pub(super) clock: Clock,
    pub(super) reply: Option<Reply>,
    /// A disk failed: it may be done when the node starts again, though later ones were done before.
    pub(super) has_failed: bool,
}

/// What may happen to a request that has no reply, if its keys are on several shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    Never,
    /// The node died between its parts.
    AtDeath,
    /// A disk failed: a part was refused.
    AnyTime,
}

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Explained,
    /// There is no such order; so many requests could be put into one.
    Contradiction(usize),
    /// It would take too long to find out.
    Undecided,
}

/// Steps of a search, at most.
const STEPS_MAX: usize = 400_000;

/// Which requests were carried out, a bit each.
type Done = Vec<u64>;

#[derive(Debug)]
struct Search<'a> {
    requests: &'a [Request],
    half: Half,
    bounds: Bounds,
    /// Those without a reply.
    open: Vec<usize>,
    /// Those that were sent after the node's death.
    audits: Vec<usize>,
    /// Of each, those of the same connection that share a key with it: earlier and later ones.
    earlier: Vec<Vec<usize>>,
    later: Vec<Vec<usize>>,
}

fn is_done(done: &Done, number: usize) -> bool {
    done[number / 64] & 1 << (number % 64) != 0
}

/// Looks for an order of the requests, which are in the order in which they were sent.
pub(super) fn explain(start: &State, requests: &[Request], half: Half, bounds: Bounds) -> Verdict {
    let mut earlier = vec![Vec::new(); requests.len()];
    let mut later = vec![Vec::new(); requests.len()];
    for (number, request) in requests.iter().enumerate() {
        for (before, other) in requests[..number].iter().enumerate() {
            if other.connection == request.connection
                && other.deed.keys() & request.deed.keys() != 0
            {
                earlier[number].push(before);
                later[before].push(number);
            }
        }
    }
    let open = |number: &usize| requests[*number].reply.is_none();
    let audits = |number: &usize| requests[*number].is_audit;
    let search = Search {
        requests,
        half,
        bounds,
        open: (0..requests.len()).filter(open).collect(),
        audits: (0..requests.len()).filter(audits).collect(),
        earlier,
        later,
    };
    search.run(start)
}

impl Search<'_> {
    fn run(&self, start: &State) -> Verdict {
        let mut stack = vec![(vec![0u64; self.requests.len().div_ceil(64)], start.clone())];
        let mut seen = HashSet::from([stack[0].clone()]);
        let mut best = 0;
        while let Some((done, state)) = stack.pop() {
            let Some(first) = self.first_left(&done) else {
                return Verdict::Explained;
            };
            if seen.len() > STEPS_MAX {
                return Verdict::Undecided;
            }
            let count: u32 = done.iter().map(|word| word.count_ones()).sum();
            best = best.max(count as usize);
            let mut ways = Vec::new();
            // What is put onto the stack last is tried first: requests with replies, the oldest before others.
            for &number in &self.open {
                self.try_one(&done, &state, number, &mut ways);
            }
            for number in self.may_be_next(&done, first).into_iter().rev() {
                self.try_one(&done, &state, number, &mut ways);
            }
            for way in ways {
                if seen.insert(way.clone()) {
                    stack.push(way);
                }
            }
        }
        Verdict::Contradiction(best)
    }

    /// The first request with a reply that is not carried out.
    fn first_left(&self, done: &Done) -> Option<usize> {
        let is_left =
            |number: &usize| self.requests[*number].reply.is_some() && !is_done(done, *number);
        (0..self.requests.len()).find(is_left)
    }

    /// Requests with replies that real time lets come next.
    fn may_be_next(&self, done: &Done, first: usize) -> Vec<usize> {
        let mut next = Vec::new();
        let mut answered_first = u64::MAX;
        for (number, request) in self.requests.iter().enumerate().skip(first) {
            if request.invoked > answered_first {
                break;
            }
            if request.reply.is_some() && !is_done(done, number) {
                answered_first = answered_first.min(request.answered);
                next.push(number);
            }
        }
        next.retain(|&number| self.requests[number].invoked <= answered_first);
        next
    }

    /// Adds what is so after this request is carried out, if it may be now.
    fn try_one(&self, done: &Done, state: &State, number: usize, ways: &mut Vec<(Done, State)>) {
        let request = &self.requests[number];
        let waits =
            |before: &usize| self.requests[*before].reply.is_some() && !is_done(done, *before);
        let is_late = |after: &usize| is_done(done, *after);
        if is_done(done, number)
            || self.earlier[number].iter().any(waits)
            || !request.has_failed && self.later[number].iter().any(is_late)
            || self.is_out_of_time(done, number)
            || state.stuck & request.deed.keys() != 0 && !request.is_audit
        {
            return;
        }
        let mut then = done.clone();
        then[number / 64] |= 1 << (number % 64);
        let after = state.after(
            request.connection,
            &request.deed,
            request.reply.as_ref(),
            request.clock,
            self.bounds,
        );
        if request.reply.is_none() && self.half != Half::Never {
            for whole in &after {
                for state in self.halves(state, whole, request.deed.keys()) {
                    ways.push((then.clone(), state));
                }
            }
        }
        ways.extend(after.into_iter().map(|state| (then.clone(), state)));
    }

    /// Whether a request without a reply can't come now: it was sent after the reply of one that is not carried out, or the node is dead.
    fn is_out_of_time(&self, done: &Done, number: usize) -> bool {
        let request = &self.requests[number];
        if request.reply.is_some() {
            return false;
        }
        self.audits.iter().any(|audit| is_done(done, *audit))
            || self.requests[..number]
                .iter()
                .enumerate()
                .any(|(before, other)| {
                    other.reply.is_some()
                        && other.answered < request.invoked
                        && !is_done(done, before)
                })
    }

    /// What is so if a request took effect on some of its keys only.
    fn halves(&self, before: &State, whole: &State, keys: u8) -> Vec<State> {
        let mut halves = Vec::new();
        for kept in 1..(1u8 << KEYS) - 1 {
            if kept & !keys != 0 || kept == keys {
                continue;
            }
            let mut half = whole.clone();
            for key in 0..KEYS {
                if keys & !kept & 1 << key != 0 {
                    half.keys[key].clone_from(&before.keys[key]);
                }
            }
            if self.half == Half::AtDeath {
                half.stuck |= keys & !kept;
            }
            halves.push(half);
        }
        halves
    }
}

#[cfg(test)]
mod tests;
