//! What a run leaves: its numbers, its last events, and a hash of everything that happened.

use std::collections::VecDeque;

use super::random::spread;

/// What happened in a run, for its report and to see that a test reaches what it is meant to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events.
    pub events: u64,
    /// Requests sent by clients.
    pub requests: u64,
    /// Requests answered.
    pub answers: u64,
    /// Times that the machine lost power.
    pub power_losses: u64,
    /// Times that the process was killed.
    pub kills: u64,
    /// Clean stops.
    pub clean_stops: u64,
    /// Of those, the ones that the process did not live through.
    pub stops_cut_short: u64,
    /// Deaths in the middle of a recovery's repairs.
    pub deaths_in_repair: u64,
    /// Records that recovery replayed.
    pub records_recovered: u64,
    /// Torn or unfinished blocks that recovery cut, and other repairs.
    pub repairs: u64,
    /// Damage that recovery reported.
    pub damage_reported: u64,
    /// Starts of a shard with salvage.
    pub salvages: u64,
    /// Records that were given up there.
    pub records_given_up: u64,
    /// Reads of records that were not in memory.
    pub cold_reads: u64,
    /// Of those, the ones that found damage or failed.
    pub bad_reads: u64,
    /// Answers that said so.
    pub damage_told: u64,
    /// Segments that compaction removed.
    pub removals: u64,
    /// Backups of a shard that were whole, recovered and compared.
    pub backups: u64,
    /// Pieces of segments that the scrub asked for.
    pub scrub_reads: u64,
    /// Places there that it found to be wrong.
    pub scrub_found: u64,
    /// Writes, syncs, preparations, removals and reads that were made to fail.
    pub disk_errors: u64,
    /// Disks that others filled.
    pub fillings: u64,
    /// Of those, on which no more could be put.
    pub full_disks: u64,
    /// Bits that were turned over.
    pub flips: u64,
    /// Sectors that were synced and came back as zeros.
    pub lost_sectors: u64,
    /// Files that lost their end.
    pub cut_files: u64,
    /// Files that somebody deleted.
    pub gone_files: u64,
    /// Jumps of the wall clock.
    pub clock_jumps: u64,
    /// Scans that went through to their end.
    pub scans: u64,
    /// Clients that broke the protocol.
    pub rogues: u64,
    /// Redis clients.
    pub redis_clients: u64,
    /// Replies that they took.
    pub redis_replies: u64,
    /// Searches for an order of their requests that were given up.
    pub redis_undecided: u64,
    /// Summaries of segments that were written.
    pub summaries_saved: u64,
    /// Segments that a start did not read, because it had their summaries.
    pub summaries_used: u64,
    /// Summaries that a start had and did not use.
    pub summaries_refused: u64,
    /// Summaries to which something happened at rest.
    pub summaries_damaged: u64,
    /// Segments that were taken back into memory after a start.
    pub segments_loaded: u64,
    /// Blocks that were written before the call that submitted them returned.
    pub written_at_once: u64,
    /// Starts with another number of shards.
    pub reshards: u64,
    /// Deaths in the middle of moving data there.
    pub deaths_in_reshard: u64,
    /// Records that were moved.
    pub records_moved: u64,
    /// Batches that a full channel refused.
    pub batches_refused: u64,
}

/// The last things that happened, and a hash of all of them.
#[derive(Debug)]
pub(super) struct Trace {
    hash: u64,
    last: VecDeque<String>,
}

/// Events that a failure shows.
const TRACE_LEN: usize = 60;

impl Trace {
    pub(super) fn new(seed: u64) -> Trace {
        Trace {
            hash: spread(seed),
            last: VecDeque::new(),
        }
    }

    pub(super) fn mix(&mut self, number: u64) {
        self.hash = spread(self.hash ^ number);
    }

    pub(super) fn note(&mut self, line: String) {
        if self.last.len() == TRACE_LEN {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}
