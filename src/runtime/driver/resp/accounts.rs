//! What is counted and noted of Redis clients' commands: INFO's `commandstats`, and the slow log.
//!
//! A command is **called** when it is carried out, and **settled** when its last answer is there. Most commands on keys of this shard settle as they
//! are carried out; the others (writes that wait for the disk, keys of other shards, cold records) are kept in the connection's [`Unsettled`].
//!
//! # What it costs
//!
//! The clock is the turn's, read once a turn. A command that settles in its turn is counted by its row, and the turn's time is shared out among them when
//! it ends. For one that does not, its first bytes are copied to the end of a buffer, from which its arguments are read if it turns out to be slow.
//! Only where the slow log's bound is below a millisecond, which is what a turn may take, the clock is read for each command.
//!
//! # What the figures mean
//!
//! `usec` counts from when a command is taken to its last answer, the wait for the disk included; not what it waits for earlier commands' replies.
//! A command of an EXEC counts as a call, its time and its failure as the EXEC's.

use std::collections::VecDeque;

use corduroy_proto_wire::RequestId;

use crate::gateway::resp::commands::table::Row;
use crate::gateway::resp::info::CommandStatistics;
use crate::gateway::resp::slowlog::{Entry, Slowlog};
use crate::limits;
use crate::ports::ConnectionId;
use crate::types::{MonoNanos, ShardId};

/// Bounds of the slow log below this many microseconds have the clock read for each command.
const PRECISE_BELOW_US: i64 = 1000;

/// Memory that a connection without unsettled commands keeps for the next ones, in bytes, twice.
const KEPT_WHEN_IDLE_LEN: usize = 16 << 10;

/// One command's figures.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    calls: u64,
    nanos: u64,
    rejected: u64,
    failed: u64,
    /// Calls that settled in this turn, whose time is known at its end.
    this_turn: u32,
}

/// Whether a command has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Failing {
    #[default]
    No,
    /// By an answer to one of its requests: in an EXEC, that of one of its commands.
    Answered,
    /// As a whole.
    Refused,
}

/// The counts and the slow log of one shard's Redis clients.
#[derive(Debug)]
pub(in super::super) struct Accounts {
    pub(super) slowlog: Slowlog,
    /// When the turn began.
    pub(in super::super) clock: MonoNanos,
    /// By [`Row`].
    figures: Vec<Figures>,
    /// Rows with calls in this turn.
    touched: Vec<Row>,
    /// Whether the command in hand has failed.
    failing: Failing,
    /// Slow commands, the oldest first, of which it is not looked up yet who sent them.
    slow: VecDeque<Slow>,
}

/// A slow command.
#[derive(Debug)]
pub(super) struct Slow {
    pub(super) client: ConnectionId,
    pub(super) micros: u64,
    pub(super) arguments: Vec<Vec<u8>>,
}

impl Accounts {
    pub(in super::super) fn new(me: ShardId, shard_count: u16) -> Accounts {
        let (first, step) = (u64::from(me.0), u64::from(shard_count));
        Accounts {
            slowlog: Slowlog::new(
                limits::SLOWLOG_SLOWER_THAN_US,
                limits::SLOWLOG_LEN,
                first,
                step,
            ),
            clock: MonoNanos(0),
            figures: vec![Figures::default(); Row::COUNT],
            touched: Vec::new(),
            failing: Failing::No,
            slow: VecDeque::new(),
        }
    }

    /// Whether the clock is to be read for each command.
    #[inline]
    pub(super) fn is_precise(&self) -> bool {
        (0..PRECISE_BELOW_US).contains(&self.slowlog.slower_than_us())
    }

    /// A command was refused before it was carried out.
    pub(super) fn rejected(&mut self, row: Option<Row>) {
        if let Some(row) = row {
            self.figures[row.index()].rejected += 1;
        }
    }

    /// The command in hand is refused.
    pub(super) fn refuses(&mut self) {
        self.failing = Failing::Refused;
    }

    /// A request of the command in hand was answered with an error.
    pub(super) fn fails(&mut self) {
        if self.failing == Failing::No {
            self.failing = Failing::Answered;
        }
    }

    /// Whether the command in hand has failed. To be asked once for each.
    #[inline]
    pub(super) fn take_failing(&mut self) -> Failing {
        std::mem::take(&mut self.failing)
    }

    pub(super) fn failed(&mut self, row: Row) {
        self.figures[row.index()].failed += 1;
    }

    /// A command of an EXEC is carried out.
    pub(super) fn called_inside(&mut self, row: Row) {
        self.figures[row.index()].calls += 1;
    }

    /// A command was carried out, and settled in the turn in which it came.
    #[inline]
    pub(super) fn called(&mut self, row: Row) {
        let figures = &mut self.figures[row.index()];
        figures.calls += 1;
        figures.this_turn += 1;
        if figures.this_turn == 1 {
            self.touched.push(row);
        }
    }

    /// A command was carried out that took so long or, if it is not settled, will be told of by [`Accounts::settled`].
    #[inline]
    pub(super) fn called_for(&mut self, row: Row, nanos: u64) {
        let figures = &mut self.figures[row.index()];
        figures.calls += 1;
        figures.nanos += nanos;
    }

    /// A command that was called is settled after so long. True if it is slow.
    #[inline]
    fn settled(&mut self, row: Row, nanos: u64) -> bool {
        self.figures[row.index()].nanos += nanos;
        self.slowlog.is_slow(nanos / 1000)
    }

    /// The turn ends, which took so long.
    #[inline]
    pub(in super::super) fn turn_ended(&mut self, nanos: u64) {
        if self.touched.is_empty() {
            return;
        }
        let counts = |row: &Row| u64::from(self.figures[row.index()].this_turn);
        let share = nanos / self.touched.iter().map(counts).sum::<u64>();
        for row in self.touched.drain(..) {
            let figures = &mut self.figures[row.index()];
            figures.nanos += share * u64::from(figures.this_turn);
            figures.this_turn = 0;
        }
    }

    /// Notes a slow command until [`Accounts::take_slow`].
    pub(super) fn note(&mut self, client: ConnectionId, nanos: u64, arguments: Vec<Vec<u8>>) {
        if self.slow.len() as u64 >= self.slowlog.len_max() {
            self.slow.pop_front();
        }
        self.slow.push_back(Slow {
            client,
            micros: nanos / 1000,
            arguments,
        });
    }

    /// What was noted.
    #[inline]
    pub(super) fn take_slow(&mut self) -> VecDeque<Slow> {
        std::mem::take(&mut self.slow)
    }

    /// CONFIG RESETSTAT.
    pub(super) fn reset(&mut self) {
        self.touched.clear();
        self.figures.fill(Figures::default());
    }

    /// The figures of commands that were called or rejected.
    pub(super) fn statistics(&self) -> Vec<CommandStatistics> {
        let figures = self.figures.iter().enumerate();
        figures
            .filter(|(_, figures)| figures.calls + figures.rejected > 0)
            .map(|(index, figures)| CommandStatistics {
                name: Row::at(index).command().name,
                calls: figures.calls,
                micros: figures.nanos / 1000,
                rejected: figures.rejected,
                failed: figures.failed,
            })
            .collect()
    }
}

/// A connection's commands that were called and have not settled, in order.
#[derive(Debug, Default)]
pub(in super::super) struct Unsettled {
    commands: VecDeque<Pending>,
    /// The first bytes of those of which they are kept, one after the other.
    bytes: Vec<u8>,
    /// Before this place they belong to commands that have settled.
    begin: usize,
}

/// One of them.
#[derive(Debug)]
struct Pending {
    /// Its slots in the reply queue.
    first: RequestId,
    last: RequestId,
    began: MonoNanos,
    row: Row,
    kept: Kept,
    /// It has settled, and one before it has not.
    is_settled: bool,
}

/// What the slow log would show of a command.
#[derive(Debug)]
pub(super) enum Kept {
    /// Its name alone.
    Name,
    /// So many of its bytes, among [`Unsettled::bytes`].
    Bytes(u16),
    Arguments(Vec<Vec<u8>>),
}

/// A command, when it was called, and its first slot in the reply queue.
pub(super) type Called = (Row, MonoNanos, RequestId);

/// A command that was called, and its slots in the reply queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) row: Row,
    pub(super) began: MonoNanos,
    pub(super) first: RequestId,
    pub(super) last: RequestId,
}

impl Unsettled {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Keeps a command's first bytes, if there is room.
    #[inline]
    pub(super) fn keep(&mut self, bytes: &[u8]) -> Kept {
        let bytes = &bytes[..bytes.len().min(limits::SLOWLOG_KEPT_LEN_MAX)];
        if self.bytes.len() + bytes.len() > limits::SLOWLOG_KEPT_BYTES_MAX {
            return Kept::Name;
        }
        self.bytes.extend_from_slice(bytes);
        Kept::Bytes(bytes.len() as u16)
    }

    #[inline]
    pub(super) fn push(&mut self, call: Call, kept: Kept) {
        self.commands.push_back(Pending {
            first: call.first,
            last: call.last,
            began: call.began,
            row: call.row,
            kept,
            is_settled: false,
        });
    }

    /// The command that a slot is of, and whether that is its first one.
    pub(super) fn find(&self, slot: RequestId) -> Option<(Row, bool)> {
        let pending = self.commands.get(self.place(slot))?;
        let is_its = slot.wrapping_sub(pending.first) <= pending.last.wrapping_sub(pending.first);
        is_its.then_some((pending.row, slot == pending.first))
    }

    /// The first command whose last slot is not before this one. Slots' numbers wrap around.
    fn place(&self, slot: RequestId) -> usize {
        let is_before = |pending: &Pending| slot.wrapping_sub(pending.last) as i32 > 0;
        self.commands.partition_point(is_before)
    }

    /// A slot waits for no further answer, and `front` is the first one whose reply has not left. A command of one slot has settled then, one of several
    /// when they all have left.
    #[inline]
    pub(super) fn answered(
        &mut self,
        slot: RequestId,
        front: RequestId,
        client: ConnectionId,
        accounts: &mut Accounts,
    ) {
        let at = match self.commands.front() {
            Some(pending) if pending.last == slot => 0,
            _ => self.place(slot),
        };
        if let Some(pending) = self.commands.get(at)
            && pending.first == slot
            && pending.last == slot
        {
            self.settle(at, client, accounts);
        }
        while let Some(pending) = self.commands.front() {
            if !pending.is_settled {
                if front.wrapping_sub(pending.last) as i32 <= 0 {
                    return;
                }
                self.settle(0, client, accounts);
            }
            self.pop();
        }
    }

    fn settle(&mut self, at: usize, client: ConnectionId, accounts: &mut Accounts) {
        let pending = &mut self.commands[at];
        pending.is_settled = true;
        let nanos = accounts.clock.0.saturating_sub(pending.began.0);
        if accounts.settled(pending.row, nanos) {
            let arguments = self.arguments(at);
            accounts.note(client, nanos, arguments);
        }
    }

    #[cold]
    fn arguments(&self, at: usize) -> Vec<Vec<u8>> {
        let pending = &self.commands[at];
        match &pending.kept {
            Kept::Name => name_alone(pending.row),
            Kept::Arguments(arguments) => arguments.clone(),
            Kept::Bytes(len) => {
                let before: usize = self
                    .commands
                    .range(..at)
                    .map(|pending| pending.kept.len())
                    .sum();
                let begin = self.begin + before;
                Entry::cut_off_bytes(&self.bytes[begin..begin + usize::from(*len)])
            }
        }
    }

    #[inline]
    fn pop(&mut self) {
        if let Some(pending) = self.commands.pop_front() {
            self.begin += pending.kept.len();
        }
        if self.commands.is_empty() {
            self.bytes.clear();
            self.begin = 0;
            self.bytes.shrink_to(KEPT_WHEN_IDLE_LEN);
            self.commands
                .shrink_to(KEPT_WHEN_IDLE_LEN / size_of::<Pending>());
        } else if self.begin > limits::SLOWLOG_KEPT_BYTES_MAX / 2 {
            self.bytes.drain(..self.begin);
            self.begin = 0;
        }
    }
}

fn name_alone(row: Row) -> Vec<Vec<u8>> {
    vec![row.command().name.as_bytes().to_vec()]
}

impl Kept {
    /// What was not put among a connection's bytes.
    pub(super) fn into_arguments(self, row: Row) -> Vec<Vec<u8>> {
        match self {
            Kept::Arguments(arguments) => arguments,
            Kept::Name | Kept::Bytes(_) => name_alone(row),
        }
    }

    fn len(&self) -> usize {
        match self {
            Kept::Bytes(len) => usize::from(*len),
            Kept::Name | Kept::Arguments(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: ConnectionId = ConnectionId {
        slot: 0,
        generation: 1,
    };

    fn accounts(now_us: u64) -> Accounts {
        let mut accounts = Accounts::new(ShardId(0), 1);
        accounts.clock = MonoNanos(now_us * 1000);
        accounts
    }

    fn call(first: RequestId, last: RequestId) -> Call {
        Call {
            row: Row::SET,
            began: MonoNanos(0),
            first,
            last,
        }
    }

    fn command(key: &[u8]) -> Vec<u8> {
        [b"*2\r\n$3\r\nGET\r\n$1\r\n", key, b"\r\n"].concat()
    }

    /// A cold read at the front of a pipeline holds up the replies behind it: those commands were not slow, and an operator who is told so looks in
    /// the wrong place. Numbers of slots wrap around.
    #[test]
    fn a_command_settles_with_its_own_answer_and_keeps_its_own_arguments() {
        for base in [0u32, u32::MAX - 1] {
            let mut accounts = accounts(0);
            let mut unsettled = Unsettled::default();
            for index in 0..4u32 {
                let slot = base.wrapping_add(index);
                let kept = unsettled.keep(&command(&[b'a' + index as u8]));
                unsettled.push(call(slot, slot), kept);
            }
            let at = |index: u32| base.wrapping_add(index);
            // The third is quick, the others slow; replies leave in order.
            unsettled.answered(at(2), base, CLIENT, &mut accounts);
            accounts.clock = MonoNanos(20_000_000);
            unsettled.answered(at(1), base, CLIENT, &mut accounts);
            unsettled.answered(base, at(3), CLIENT, &mut accounts);
            unsettled.answered(at(3), at(4), CLIENT, &mut accounts);
            assert!(unsettled.is_empty() && unsettled.bytes.is_empty());
            let slow: Vec<Vec<u8>> = accounts
                .take_slow()
                .into_iter()
                .map(|slow| slow.arguments.concat())
                .collect();
            assert_eq!(slow, [b"GETb", b"GETa", b"GETd"]);
        }
    }

    /// A command of several slots has settled with the last one, and what is behind it is not taken for it.
    #[test]
    fn a_command_of_several_slots_settles_when_all_have_left() {
        let mut accounts = accounts(20_000);
        let mut unsettled = Unsettled::default();
        unsettled.push(call(0, 2), Kept::Name);
        unsettled.push(call(3, 3), Kept::Name);
        assert_eq!(unsettled.find(0), Some((Row::SET, true)));
        assert_eq!(unsettled.find(2), Some((Row::SET, false)));
        unsettled.answered(1, 0, CLIENT, &mut accounts);
        unsettled.answered(0, 2, CLIENT, &mut accounts);
        assert!(accounts.slow.is_empty());
        unsettled.answered(2, 3, CLIENT, &mut accounts);
        assert_eq!(accounts.slow.len(), 1);
        assert_eq!(unsettled.commands.len(), 1);
        assert_eq!(unsettled.find(2), None);
    }

    /// A pipeline of a gigabyte must not be kept because it might be slow.
    #[test]
    fn what_is_kept_is_bounded_and_given_back() {
        let mut accounts = accounts(0);
        let mut unsettled = Unsettled::default();
        let long = vec![b'x'; 10_000];
        let count = 1000u32;
        for slot in 0..count {
            let kept = unsettled.keep(&long);
            unsettled.push(call(slot, slot), kept);
            assert!(unsettled.bytes.len() <= limits::SLOWLOG_KEPT_BYTES_MAX);
        }
        assert!(matches!(unsettled.commands[999].kept, Kept::Name));
        for slot in 0..count {
            unsettled.answered(slot, slot + 1, CLIENT, &mut accounts);
        }
        assert!(unsettled.is_empty());
        let capacity = unsettled.commands.capacity() * size_of::<Pending>();
        assert!(capacity <= 2 * KEPT_WHEN_IDLE_LEN, "{capacity}");
        assert!(unsettled.bytes.capacity() <= 2 * KEPT_WHEN_IDLE_LEN);
        assert!(accounts.take_slow().is_empty());
        accounts.slowlog.set_slower_than(0);
        for _ in 0..2 * accounts.slowlog.len_max() {
            accounts.note(CLIENT, 1, Vec::new());
        }
        assert_eq!(accounts.slow.len() as u64, accounts.slowlog.len_max());
    }

    /// A turn's time is shared out among the commands that were answered in it, and no call is lost or counted twice.
    #[test]
    fn figures_add_up() {
        let mut accounts = accounts(0);
        for _ in 0..3 {
            accounts.called(Row::GET);
        }
        accounts.called(Row::SET);
        accounts.turn_ended(8000);
        accounts.called(Row::GET);
        accounts.turn_ended(2000);
        accounts.turn_ended(9000);
        accounts.called_for(Row::SET, 5000);
        accounts.failed(Row::SET);
        accounts.rejected(Some(Row::SET));
        let figures = |name: &str, accounts: &Accounts| {
            let all = accounts.statistics();
            let it = all.into_iter().find(|it| it.name == name);
            it.map(|it| (it.calls, it.micros, it.rejected, it.failed))
        };
        assert_eq!(figures("get", &accounts), Some((4, 8, 0, 0)));
        assert_eq!(figures("set", &accounts), Some((2, 7, 1, 1)));
        accounts.reset();
        assert_eq!(accounts.statistics(), []);
        accounts.turn_ended(1000);
    }
}
