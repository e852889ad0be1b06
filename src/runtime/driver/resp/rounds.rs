//! Commands that take several rounds: they ask for something, and are looked at again when it has come.
//!
//! The command stays at the front of the connection's input meanwhile. Each round begins when the connection's reply queue is empty; what the last one
//! asked for is then in [`Resp::collected`](super::Resp) or among the queue's versions. So there is no state beside [`Step`], and a connection that
//! goes away in between takes everything with it.
//!
//! KEYS is bounded: its reply must fit into the connection's output. SCAN is what goes through large keyspaces.

use corduroy_proto_wire::{Cursor, Status};

use super::super::gather::{Gathering, ScanProgress};
use super::super::{Driver, Ports};
use super::input::Done;
use super::{Found, Front, Step, Tag};
use crate::gateway::resp::glob;
use crate::gateway::resp::order::ScanOrder;
use crate::gateway::resp::{Order, reply};
use crate::limits;
use crate::ports::ConnectionId;
use crate::shard::{OwnedScanItem, ShardCommand};
use crate::storage::index::HashCursor;
use crate::types::{KeyspaceId, MonoNanos, Now};

/// Bits of a place in a partition, which is at most 2⁴⁰. With the 64 partitions of a keyspace cursors stay below 2⁵³, which JavaScript's
/// numbers can hold.
const CURSOR_PLACE_BITS: u32 = 41;

/// What a round came to.
pub(super) enum Round {
    /// The reply, and the command is over.
    Reply(Vec<u8>),
    /// It has asked for something.
    Asked(Step),
}

impl<P: Ports> Driver<P> {
    /// Carries out the next round of a command.
    pub(super) fn next_round(
        &mut self,
        now: Now,
        id: ConnectionId,
        front: &mut Front,
        tag: Tag,
        order: Order<'_>,
    ) -> Done {
        let step = std::mem::take(&mut front.step);
        if let Some(bytes) = self.take_failure(id) {
            return self.end_rounds(id, tag, Round::Reply(bytes), front);
        }
        let collected = self.resp(id).collected.take().and_then(Result::ok);
        let keyspace = front.session.keyspace();
        let round = match order {
            Order::DbSize => self.count_round(now, id, tag, keyspace, collected.as_ref()),
            Order::Flush { all } => self.flush_round(now, id, tag, keyspace, all, step),
            Order::Scan(scan) => self.scan_round(now, id, tag, keyspace, &scan, collected),
            Order::Keys { pattern } => {
                self.keys_round(now, id, tag, keyspace, pattern, step, collected)
            }
            Order::RandomKey => {
                self.random_round(now, id, tag, front, keyspace, &step, collected.as_ref())
            }
            Order::Info(sections) => {
                self.info_round(now, id, front, tag, &sections, step, collected)
            }
            Order::Sleep { nanos } => self.sleep_round(now, id, nanos, &step),
            other => unreachable!("{other:?} takes one round"),
        };
        self.end_rounds(id, tag, round, front)
    }

    pub(super) fn end_rounds(
        &mut self,
        id: ConnectionId,
        tag: Tag,
        round: Round,
        front: &mut Front,
    ) -> Done {
        match round {
            Round::Reply(bytes) => {
                self.reply_known(id, tag, &bytes);
                if self.resp(id).ends {
                    self.hub.connections[id.slot as usize].read_nothing_more();
                    return Done::Closed;
                }
                Done::Yes
            }
            Round::Asked(step) => {
                front.step = step;
                self.wait_for_replies(id)
            }
        }
    }

    /// A slot for what a gather brings; its number is the gather's request.
    pub(super) fn collect(&mut self, id: ConnectionId, tag: Tag) -> u32 {
        self.hub.connections[id.slot as usize].in_flight += 1;
        self.resp(id).queue.silent(tag)
    }

    fn count_round(
        &mut self,
        now: Now,
        id: ConnectionId,
        tag: Tag,
        keyspace: KeyspaceId,
        collected: Option<&Gathering>,
    ) -> Round {
        if let Some(Gathering::Count { keys }) = collected {
            let mut bytes = Vec::new();
            reply::integer(&mut bytes, *keys as i64);
            return Round::Reply(bytes);
        }
        let slot = self.collect(id, tag);
        let gathering = Gathering::Count { keys: 0 };
        self.ask_all(now, id, slot, gathering, &ShardCommand::Count { keyspace });
        Round::Asked(Step::Asked)
    }

    fn flush_round(
        &mut self,
        now: Now,
        id: ConnectionId,
        tag: Tag,
        keyspace: KeyspaceId,
        all: bool,
        step: Step,
    ) -> Round {
        let mut left = match step {
            Step::Flush(left) => left,
            _ if all => self.shard.keyspaces().map(|it| it.id()).collect(),
            _ => vec![keyspace],
        };
        let Some(keyspace) = left.pop() else {
            return Round::Reply(b"+OK\r\n".to_vec());
        };
        let slot = self.collect(id, tag);
        let command = ShardCommand::Flush { keyspace };
        self.ask_all(now, id, slot, Gathering::Flush, &command);
        Round::Asked(Step::Flush(left))
    }

    fn scan_round(
        &mut self,
        now: Now,
        id: ConnectionId,
        tag: Tag,
        keyspace: KeyspaceId,
        scan: &ScanOrder<'_>,
        collected: Option<Gathering>,
    ) -> Round {
        let partitions = self.partitions_of(keyspace);
        if let Some(Gathering::Scan(page)) = collected {
            let keys: Vec<&[u8]> = matching(&page.items, scan.pattern).collect();
            return Round::Reply(scan_reply(redis_cursor(page.cursor()), &keys));
        }
        let place = native_cursor(scan.cursor, keyspace, partitions);
        let Some(cursor) = place.filter(|_| scan.strings) else {
            // What is not a cursor of this keyspace is one behind its end, as in Redis.
            return Round::Reply(scan_reply(0, &[]));
        };
        let prefix = scan.pattern.map_or(&[][..], glob::literal_prefix);
        let limit = scan.count.clamp(1, limits::BATCH_LEN_MAX as u64) as u32;
        self.page(now, id, tag, keyspace, prefix, cursor, limit);
        Round::Asked(Step::Asked)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a round's surroundings and what it goes on with"
    )]
    fn keys_round(
        &mut self,
        now: Now,
        id: ConnectionId,
        tag: Tag,
        keyspace: KeyspaceId,
        pattern: &[u8],
        step: Step,
        collected: Option<Gathering>,
    ) -> Round {
        let mut found = match step {
            Step::Keys(found) => found,
            _ => Found::default(),
        };
        let mut cursor = Cursor::START;
        if let Some(Gathering::Scan(page)) = collected {
            for key in matching(&page.items, Some(pattern)) {
                reply::bulk(&mut found.bytes, key);
                found.count += 1;
            }
            let most = self.config.output_bytes_max / 2;
            if found.bytes.len() > most {
                let mut bytes = Vec::new();
                let text = format!(
                    "ERR the keys that match take over {most} bytes (half of output_bytes_max): use SCAN"
                );
                reply::error(&mut bytes, text);
                return Round::Reply(bytes);
            }
            cursor = page.cursor();
            if cursor == Cursor::START {
                let mut bytes = Vec::with_capacity(found.bytes.len() + 16);
                reply::array(&mut bytes, found.count);
                bytes.append(&mut found.bytes);
                return Round::Reply(bytes);
            }
        }
        let prefix = glob::literal_prefix(pattern);
        let limit = limits::BATCH_LEN_MAX as u32;
        self.page(now, id, tag, keyspace, prefix, cursor, limit);
        Round::Asked(Step::Keys(found))
    }

    /// RANDOMKEY: the first key behind a random place of a random partition; if there is none, of the next partition, once around.
    #[expect(
        clippy::too_many_arguments,
        reason = "a round's surroundings and what it goes on with"
    )]
    fn random_round(
        &mut self,
        now: Now,
        id: ConnectionId,
        tag: Tag,
        front: &mut Front,
        keyspace: KeyspaceId,
        step: &Step,
        collected: Option<&Gathering>,
    ) -> Round {
        let protocol = self.resp(id).protocol;
        let partitions = self.partitions_of(keyspace);
        let tried = match step {
            Step::Random(tried) => *tried,
            _ => 0,
        };
        if let Some(Gathering::Scan(page)) = collected {
            let mut bytes = Vec::new();
            if let Some(item) = page.items.first() {
                reply::bulk(&mut bytes, &item.key);
                return Round::Reply(bytes);
            }
            if tried > u32::from(partitions) {
                reply::null(&mut bytes, protocol);
                return Round::Reply(bytes);
            }
        }
        if tried == 0 {
            front.random = self.next_random(now);
        }
        let partition =
            ((front.random >> 41) as u32 % 0xffff + tried) % u32::from(partitions.max(1));
        // The first try begins anywhere; those after it, and the last, at a partition's beginning.
        let place = HashCursor::from_u64(front.random & ((1 << 40) - 1));
        let from = place.filter(|_| tried == 0).unwrap_or(HashCursor::START);
        let cursor = ScanProgress::cursor_at(keyspace, partition as u16, from);
        self.page(now, id, tag, keyspace, &[], cursor, 1);
        Round::Asked(Step::Random(tried + 1))
    }

    fn sleep_round(&mut self, now: Now, id: ConnectionId, nanos: u64, step: &Step) -> Round {
        if matches!(step, Step::Asked) {
            self.resp(id).sleeps_until = None;
            return Round::Reply(b"+OK\r\n".to_vec());
        }
        let until = MonoNanos(now.mono.0.saturating_add(nanos));
        self.resp(id).sleeps_until = Some(until);
        // Where there are too many the connection is looked at when the house is kept.
        if self.hub.sleeps.len() < limits::DEBUG_SLEEPS_MAX {
            self.hub.sleeps.insert(until);
        }
        Round::Asked(Step::Asked)
    }

    #[expect(clippy::too_many_arguments, reason = "a page and its surroundings")]
    fn page(
        &mut self,
        now: Now,
        id: ConnectionId,
        tag: Tag,
        keyspace: KeyspaceId,
        prefix: &[u8],
        cursor: Cursor,
        limit: u32,
    ) {
        let slot = self.collect(id, tag);
        self.begin_scan(now, id, slot, keyspace, prefix, cursor, limit, false);
    }

    /// A number without a pattern that anybody could tell.
    fn next_random(&mut self, now: Now) -> u64 {
        // SplitMix64's finalizer over the clock and a count.
        self.hub.randoms = self.hub.randoms.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.hub.randoms ^ now.mono.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    fn partitions_of(&self, keyspace: KeyspaceId) -> u16 {
        self.shard.partitions_of(keyspace).unwrap_or(0)
    }

    /// The keyspace of a database's number, if there is one: its name is the number, and 0 is `default`.
    pub(super) fn keyspace_of_database(&self, number: u32) -> Option<KeyspaceId> {
        if number == 0 {
            return Some(KeyspaceId::DEFAULT);
        }
        let name = number.to_string();
        let found = self
            .shard
            .keyspaces()
            .find(|keyspace| keyspace.name() == name);
        found.map(|keyspace| keyspace.id())
    }

    /// SELECT's or COPY's keyspace, once every shard has it. Else it begins to make it, or asks them all whether they do: another connection may have made it
    /// just now, and this shard may have heard of it before those to which the next commands go.
    pub(super) fn open_database(
        &mut self,
        now: Now,
        id: ConnectionId,
        tag: Tag,
        number: u32,
        step: &Step,
    ) -> Result<KeyspaceId, Round> {
        // One that does not know it yet is asked again.
        let not_yet = |it: &mut Result<_, (Status, String)>| {
            it.as_ref()
                .is_err_and(|(status, _)| *status == Status::UnknownKeyspace)
        };
        self.resp(id).collected.take_if(not_yet);
        if let Some(bytes) = self.take_failure(id) {
            return Err(Round::Reply(bytes));
        }
        let counted = self.resp(id).collected.take();
        let Some(keyspace) = self.keyspace_of_database(number) else {
            // If it was asked for already, another connection was quicker, and its keyspace is on its way to this shard; or it was dropped since.
            let slot = self.collect(id, tag);
            self.create_keyspace(now, id, slot, &number.to_string(), 0);
            return Err(Round::Asked(Step::Asked));
        };
        if matches!(step, Step::Looked(looked) if *looked == keyspace)
            && matches!(counted, Some(Ok(Gathering::Count { .. })))
        {
            self.note_everywhere(keyspace);
        }
        if self.is_everywhere(keyspace) {
            return Ok(keyspace);
        }
        let slot = self.collect(id, tag);
        let command = ShardCommand::Count { keyspace };
        self.ask_all(now, id, slot, Gathering::Count { keys: 0 }, &command);
        Err(Round::Asked(Step::Looked(keyspace)))
    }

    /// Whether it is known that every shard has this keyspace.
    pub(super) fn is_everywhere(&self, keyspace: KeyspaceId) -> bool {
        self.config.shard_count == 1 || self.everywhere.contains(&keyspace)
    }

    /// Every shard has this keyspace. Those that were dropped are forgotten.
    fn note_everywhere(&mut self, keyspace: KeyspaceId) {
        let shard = &self.shard;
        self.everywhere
            .retain(|known| shard.partitions_of(*known).is_some());
        self.everywhere.push(keyspace);
    }
}

fn matching<'a>(
    items: &'a [OwnedScanItem],
    pattern: Option<&'a [u8]>,
) -> impl Iterator<Item = &'a [u8]> {
    items
        .iter()
        .map(|item| item.key.as_slice())
        .filter(move |key| pattern.is_none_or(|pattern| glob::matches(pattern, key)))
}

fn scan_reply(cursor: u64, keys: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    reply::array(&mut bytes, 2);
    reply::bulk(&mut bytes, cursor.to_string().as_bytes());
    reply::array(&mut bytes, keys.len());
    for key in keys {
        reply::bulk(&mut bytes, key);
    }
    bytes
}

/// A cursor as Redis clients take it: a number.
fn redis_cursor(cursor: Cursor) -> u64 {
    // One more than the place, for 0 means the beginning and the end.
    ScanProgress::place_of(cursor).map_or(0, |(partition, place)| {
        ((u64::from(partition) << CURSOR_PLACE_BITS) | place.as_u64()) + 1
    })
}

/// The native cursor of a number that [`redis_cursor`] gave, if it is one of this keyspace.
fn native_cursor(number: u64, keyspace: KeyspaceId, partitions: u16) -> Option<Cursor> {
    let Some(number) = number.checked_sub(1) else {
        return Some(Cursor::START);
    };
    let partition = u16::try_from(number >> CURSOR_PLACE_BITS).ok()?;
    let place = HashCursor::from_u64(number & ((1 << CURSOR_PLACE_BITS) - 1))?;
    (partition < partitions).then(|| ScanProgress::cursor_at(keyspace, partition, place))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cursor that lost its partition or a bit of its place would skip keys.
    #[test]
    fn cursors_survive_the_way_to_a_redis_client() {
        let keyspace = KeyspaceId(7);
        for partition in [0, 1, 63] {
            for place in [0, 1, (1 << 40) - 1, 1 << 40] {
                let place = HashCursor::from_u64(place).expect("it is one");
                let cursor = ScanProgress::cursor_at(keyspace, partition, place);
                let number = redis_cursor(cursor);
                assert!(number > 0 && number < 1 << 53);
                assert_eq!(native_cursor(number, keyspace, 64), Some(cursor));
            }
        }
        assert_eq!(redis_cursor(Cursor::START), 0);
        assert_eq!(native_cursor(0, keyspace, 64), Some(Cursor::START));
    }

    /// Clients send what they like as a cursor.
    #[test]
    fn what_is_no_cursor_of_the_keyspace_is_refused() {
        for number in [64 << CURSOR_PLACE_BITS, u64::MAX, (1 << 40) + 3] {
            assert_eq!(native_cursor(number, KeyspaceId(7), 63), None, "{number}");
        }
    }
}
