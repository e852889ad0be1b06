//! The driver alone, over ports that keep what they are told: what a turn may take, and who waits for whom.

mod answers;
mod mesh;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use corduroy_proto_wire::{
    BatchItem, Condition, Hello, LENGTH_LEN, PREAMBLE, Put, Request, RequestId, Response, Status,
    Ttl, VERSION_MAX, VERSION_MIN,
};

use super::{Driver, DriverConfig, Flow, MeshBatch, NodeFacts, TurnEnd};
use crate::limits;
use crate::ports::{
    BackupProgress, Backups, Clock, ConnectionId, Mesh, Net, NoBackup, ProcessFigures, Surroundings,
};
use crate::shard::{Shard, ShardConfig, SyncMode};
use crate::storage::buffer::{LargeBuffer, Memory};
use crate::storage::disk::{Disk, DiskDone, DiskOperation, DiskOutcome, DiskTicket};
use crate::storage::format::{LogTag, SEGMENT_HEADER_LEN};
use crate::storage::log::SegmentMemory;
use crate::storage::recovery::Identity;
use crate::types::{KeyspaceId, MonoNanos, Now, ShardId, WallMillis};

const KEYSPACE: u32 = KeyspaceId::DEFAULT.0;
const SECOND: u64 = 1_000_000_000;

/// Ports of a world in which sockets take everything.
#[derive(Debug)]
struct Plain {
    now: Now,
    operations: Vec<(DiskTicket, DiskOperation)>,
    /// Blocks that are not to be synced are written before their submission returns.
    writes_at_once: bool,
    /// What was sent to all clients together.
    heard: Vec<u8>,
    sent: BTreeMap<u32, usize>,
    last_sent: Vec<u8>,
    resumed: Vec<ConnectionId>,
    closed: Vec<ConnectionId>,
    batches: Vec<(ShardId, MeshBatch)>,
}

impl Backups for Plain {
    fn back_up(&mut self, _: ConnectionId, _: RequestId, _: &str) -> Result<(), NoBackup> {
        Err(NoBackup::NoDirectory)
    }

    fn backup_progress(&self) -> Option<BackupProgress> {
        None
    }
}

impl Surroundings for Plain {
    fn addresses(&self, _: ConnectionId) -> Option<(SocketAddr, SocketAddr)> {
        None
    }

    fn process(&self) -> ProcessFigures {
        ProcessFigures::default()
    }
}

impl Clock for Plain {
    fn now(&self) -> Now {
        self.now
    }
}

impl Memory for Plain {
    fn large_buffer(&mut self, capacity: usize) -> io::Result<LargeBuffer> {
        LargeBuffer::new(capacity)
    }
}

impl Disk for Plain {
    fn submit(&mut self, ticket: DiskTicket, operation: DiskOperation) -> Option<DiskOutcome> {
        match operation {
            DiskOperation::Write {
                block, sync: false, ..
            } if self.writes_at_once => Some(Ok(DiskDone::Written(block))),
            operation => {
                self.operations.push((ticket, operation));
                None
            }
        }
    }
}

impl Net for Plain {
    fn send(&mut self, connection: ConnectionId, bytes: &[u8]) -> io::Result<usize> {
        *self.sent.entry(connection.slot).or_default() += bytes.len();
        bytes.clone_into(&mut self.last_sent);
        self.heard.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn resume(&mut self, connection: ConnectionId) {
        self.resumed.push(connection);
    }

    fn close(&mut self, connection: ConnectionId) {
        self.closed.push(connection);
    }

    fn hand_over(&mut self, _: ConnectionId, _: ShardId, _: Vec<u8>) {
        unreachable!("there is one shard")
    }
}

impl Mesh<MeshBatch> for Plain {
    fn send(&mut self, to: ShardId, batch: MeshBatch) -> Result<(), MeshBatch> {
        self.batches.push((to, batch));
        Ok(())
    }
}

struct World {
    driver: Driver<Plain>,
    /// The longest block that was written.
    block_len_max: usize,
}

impl World {
    fn new() -> World {
        World::of(1, SyncMode::Always)
    }

    /// The first of so many shards.
    fn of(shard_count: u16, sync: SyncMode) -> World {
        let mut shard = Shard::new(ShardConfig {
            identity: Identity {
                node: 7,
                shard: ShardId(0),
                shard_count,
            },
            log_tag: LogTag(0x1234_5678),
            sync,
            value_len_max: 1 << 20,
            large_len: 50_000,
            memory_bytes: 64 << 20,
            segment_len: 8 << 20,
            compacts: true,
            scrub_period_ns: None,
            hash_secret: [3; 16],
        });
        shard.install(KeyspaceId::SYSTEM, 1, "system");
        shard.install(KeyspaceId::DEFAULT, 64, "default");
        let config = DriverConfig {
            node: NodeFacts::default(),
            shard: ShardId(0),
            shard_count,
            value_len_max: 1 << 20,
            large_len: 50_000,
            large_input_bytes_max: 300_000,
            batch_slice_len: 256,
            connections_max: 100,
            in_flight_max: 100,
            output_bytes_max: 4 << 20,
            handshake_timeout_ns: 10 * SECOND,
            idle_timeout_ns: 0,
            stall_timeout_ns: 10 * SECOND,
            server_name: "test".to_owned(),
            resp: crate::gateway::resp::session::Settings::default(),
        };
        let ports = Plain {
            now: Now {
                mono: MonoNanos(SECOND),
                wall: WallMillis(1_700_000_000_000),
            },
            operations: Vec::new(),
            writes_at_once: false,
            sent: BTreeMap::new(),
            last_sent: Vec::new(),
            heard: Vec::new(),
            resumed: Vec::new(),
            closed: Vec::new(),
            batches: Vec::new(),
        };
        let mut world = World {
            driver: Driver::new(config, shard, ports),
            block_len_max: 0,
        };
        world.settle();
        world
    }

    fn end_turn(&mut self) -> TurnEnd {
        self.driver.end_turn()
    }

    /// Turns and disk operations until nothing is left to do.
    fn settle(&mut self) {
        loop {
            let end = self.end_turn();
            let operations = std::mem::take(&mut self.driver.ports().operations);
            if operations.is_empty() && !end.again {
                return;
            }
            for (ticket, operation) in operations {
                let done = match operation {
                    DiskOperation::Prepare { len, memory, .. } => {
                        let len = len as usize - SEGMENT_HEADER_LEN;
                        let memory = memory.unwrap_or_else(|| SegmentMemory::new(len).unwrap());
                        DiskDone::Prepared(memory)
                    }
                    DiskOperation::Write { mut block, .. } => {
                        block.seal(|| {});
                        self.block_len_max = self.block_len_max.max(block.len());
                        DiskDone::Written(block)
                    }
                    DiskOperation::Sync { .. } => DiskDone::Synced,
                    DiskOperation::Remove { .. } => DiskDone::Removed,
                    DiskOperation::Release(_) => continue,
                    DiskOperation::Read { .. } => DiskDone::Read(Bytes::new()),
                    DiskOperation::Summarize { .. } => DiskDone::Summarized,
                    DiskOperation::Load(_) => unreachable!("nothing was recovered"),
                };
                self.driver.disk_completed(ticket, Ok(done));
            }
        }
    }

    fn later(&mut self, seconds: u64) {
        let now = &mut self.driver.ports().now;
        now.mono.0 += seconds * SECOND;
        now.wall.0 += seconds * 1000;
        self.settle();
    }

    /// A connection, its hello done.
    fn connect(&mut self) -> ConnectionId {
        let id = self.driver.opened().unwrap();
        let mut bytes = PREAMBLE.to_vec();
        Request::Hello(Hello {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            shard: None,
            keyspace: "default",
            client_name: "test",
        })
        .encode(1, &mut bytes);
        assert_eq!(self.driver.received(id, &bytes), Flow::Continue);
        self.settle();
        id
    }
}

fn encoded(request: &Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.encode(7, &mut bytes);
    bytes
}

fn put<'a>(key: &'a [u8], value: &'a [u8]) -> Put<'a> {
    Put {
        key,
        value,
        ttl: Ttl::None,
        condition: Condition::Always,
        return_value: false,
    }
}

fn put_frame(key: &[u8], len: usize) -> Vec<u8> {
    encoded(&Request::Put {
        keyspace: KEYSPACE,
        put: put(key, &vec![1; len]),
    })
}

/// A client that sent a unit, or a move, of its own would skip whatever the node checks before it makes one.
#[test]
fn what_shards_ask_of_each_other_is_unknown_to_clients() {
    let mut world = World::new();
    let client = world.connect();
    let frame = put_frame(b"key", 10).split_off(LENGTH_LEN);
    let internal = [
        Request::Unit {
            preconditions: vec![],
            frames: vec![&frame],
        },
        Request::Move {
            source: (KEYSPACE, b"key"),
            destination: (KEYSPACE, b"other"),
            if_absent: false,
            keep_source: true,
        },
    ];
    for request in internal {
        world.driver.received(client, &encoded(&request));
        world.settle();
        let answer = world.driver.ports().last_sent[LENGTH_LEN..].to_vec();
        let (id, answer) = Response::decode(&answer).unwrap();
        assert_eq!((id, answer.status), (7, Status::Unsupported), "{request:?}");
    }
    assert_eq!(world.driver.shard.count(KeyspaceId::DEFAULT), 0);
}

/// A hundred clients that download large values at a time are offered 256 KiB each; copying all that into the kernel in one turn held
/// the core up for many milliseconds.
#[test]
fn a_turn_sends_no_more_than_its_slice() {
    const CLIENTS: usize = 20;
    const LEN: usize = 200_000;
    let mut world = World::new();
    let writer = world.connect();
    world.driver.received(writer, &put_frame(b"key", LEN));
    world.settle();
    let get = encoded(&Request::Get {
        keyspace: KEYSPACE,
        key: b"key",
    });
    let readers: Vec<ConnectionId> = (0..CLIENTS).map(|_| world.connect()).collect();
    world.driver.ports().sent.clear();
    for reader in readers {
        world.driver.received(reader, &get);
    }
    let sent = |world: &mut World| world.driver.ports().sent.values().sum::<usize>();
    let mut before = 0;
    loop {
        let again = world.end_turn().again;
        let now = sent(&mut world);
        let most = limits::TURN_SEND_BYTES + limits::SEND_SLICE_BYTES;
        assert!(now - before <= most, "{} bytes in a turn", now - before);
        if !again {
            break;
        }
        before = now;
    }
    assert!(sent(&mut world) > CLIENTS * LEN, "all is sent");
}

/// While a large value went to a slow disk and another was staged, nobody could read anything, though the core had nothing to do. A connection's own
/// order holds: what it reads behind a write that waits, waits too.
#[test]
fn reads_go_on_while_there_is_no_room_for_writes() {
    let mut world = World::new();
    let [writer, reader, both] = [0; 3].map(|_| world.connect());
    let get = |key| {
        encoded(&Request::Get {
            keyspace: KEYSPACE,
            key,
        })
    };
    world.driver.received(writer, &put_frame(b"small", 10));
    world.settle();
    let large = [b"1", b"2"].map(|key| put_frame(key, 1 << 20));
    for frame in &large {
        world.driver.received(writer, frame);
        world.end_turn();
    }
    assert!(!world.driver.shard.has_room());
    let answers = |world: &mut World, id: ConnectionId| {
        let sent = world.driver.ports().sent.get(&id.slot).copied();
        sent.unwrap_or(0)
    };
    let before = [reader, both].map(|id| answers(&mut world, id));
    for key in [&b"small"[..], b"1"] {
        assert_eq!(world.driver.received(reader, &get(key)), Flow::Continue);
    }
    let mixed = [get(b"small"), put_frame(b"small", 20), get(b"small")].concat();
    assert_eq!(world.driver.received(both, &mixed), Flow::Pause);
    world.end_turn();
    let first = answers(&mut world, both) - before[1];
    assert!(first > 10, "the value of the read before the write");
    assert!(
        answers(&mut world, reader) - before[0] > first,
        "and an absent key besides"
    );
    assert_eq!(world.driver.shard.count(KeyspaceId::DEFAULT), 1);
    world.settle();
    assert_eq!(world.driver.shard.count(KeyspaceId::DEFAULT), 3);
    let heard = &world.driver.ports().heard;
    assert!(
        heard.windows(20).any(|bytes| bytes == [1; 20]),
        "the second read shows what the connection wrote before"
    );
}

/// Where a block is written at once its answers leave in the turn that appended it, and nothing comes back that would bring another turn: what waited for the block must ask for one.
#[test]
fn what_is_written_at_once_is_answered_in_its_turn() {
    let mut world = World::of(1, SyncMode::Never);
    world.driver.ports().writes_at_once = true;
    let client = world.connect();
    let before = world.driver.ports().sent[&client.slot];
    let answered = |world: &mut World| world.driver.ports().sent[&client.slot] > before;
    world.driver.received(client, &put_frame(b"key", 10));
    let end = world.end_turn();
    assert!(answered(&mut world) && !end.again);
    assert!(!world.driver.shard.has_block_in_flight());
    // A point of a backup behind what this turn appends.
    world.driver.begin_backup();
    world.driver.received(client, &put_frame(b"key", 10));
    assert!(world.end_turn().again, "the point is not on disk");
    world.end_turn();
    let operations = std::mem::take(&mut world.driver.ports().operations);
    let is_sync = |operation: &DiskOperation| matches!(operation, DiskOperation::Sync { .. });
    assert!(operations.iter().any(|(_, operation)| is_sync(operation)));
}

/// Who reads what it has just written is answered after the commit, from a copy. Eight thousand of those, each as long as can be copied, were gigabytes.
#[test]
fn copies_that_wait_for_a_commit_are_bounded() {
    let mut world = World::new();
    let client = world.connect();
    world.driver.received(client, &put_frame(b"key", 40_000));
    world.end_turn();
    let get = encoded(&Request::Get {
        keyspace: KEYSPACE,
        key: b"key",
    });
    let mut taken = 0;
    while world.driver.received(client, &get) == Flow::Continue {
        taken += 1;
        assert!(
            taken <= limits::BATCH_ARENA_MAX / 40_000 + 1,
            "{taken} copies"
        );
    }
    world.settle();
    assert!(world.driver.shard.has_room());
    assert!(world.driver.ports().sent[&client.slot] > taken * 40_000);
}

/// Ten thousand connections that wait for memory must not be looked through in every turn: they stand in line, and only the first of
/// them is looked at. Who comes and finds room need not wait for them: else a client that begins large frames and stops would keep out all.
#[test]
fn large_frames_wait_for_memory_in_line() {
    let mut world = World::new();
    let begin = |world: &mut World, len| {
        let connection = world.connect();
        let frame = put_frame(b"key", len);
        let flow = world.driver.received(connection, &frame[..1000]);
        world.settle();
        (connection, frame, flow)
    };
    let (first, ..) = begin(&mut world, 200_000);
    let (second, frame, flow) = begin(&mut world, 250_000);
    assert_eq!(flow, Flow::Pause, "there is no memory for it");
    let (third, _, flow) = begin(&mut world, 150_000);
    assert_eq!(flow, Flow::Pause, "there is no memory for it");
    let (small, _, flow) = begin(&mut world, 60_000);
    assert_eq!(flow, Flow::Continue, "there is memory for it");
    world.driver.closed(small);
    world.driver.closed(first);
    world.settle();
    assert_eq!(world.driver.ports().resumed, [second]);
    for part in frame[1000..].chunks(50_000) {
        assert_eq!(world.driver.received(second, part), Flow::Continue);
    }
    world.settle();
    assert_eq!(world.driver.ports().resumed, [second, third]);
    // A connection that is gone holds nobody up.
    let (fourth, ..) = begin(&mut world, 250_000);
    let (fifth, ..) = begin(&mut world, 200_000);
    world.driver.closed(fourth);
    world.driver.closed(third);
    world.settle();
    assert_eq!(world.driver.ports().resumed, [second, third, fifth]);
}

/// Each 256 KiB of a frame earn its client patience, for a slow line. A client that sends nearly all of 16 MiB at once and then nothing
/// had earned half an hour, and kept the memory of a large frame for as long.
#[test]
fn a_client_that_falls_silent_is_cut_however_much_it_has_sent() {
    let mut world = World::new();
    let (silent, slow) = (world.connect(), world.connect());
    let frame = put_frame(b"key", 1 << 20);
    let (begin, rest) = frame.split_at(900_000);
    world.driver.received(silent, begin);
    world.settle();
    world.later(9);
    assert_eq!(world.driver.ports().closed, []);
    world.later(2);
    assert_eq!(world.driver.ports().closed, [silent]);
    world.driver.received(slow, begin);
    for part in rest.chunks(50_000) {
        world.later(9);
        world.driver.received(slow, part);
    }
    world.settle();
    assert_eq!(world.driver.ports().closed, [silent], "it went on sending");
    assert_eq!(world.driver.shard().count(KeyspaceId::DEFAULT), 1);
}

/// Each operation of a batch may stage much, or ask for a large record on disk. A slice of them that went on when the shard had no more room
/// would take as much memory as it liked.
#[test]
fn a_batch_stops_where_the_shard_has_no_room() {
    let mut world = World::new();
    let client = world.connect();
    let keys: Vec<Vec<u8>> = (0..20_u8).map(|number| vec![number]).collect();
    let value = vec![1; 45_000];
    let items = keys.iter().map(|key| BatchItem::Put(put(key, &value)));
    let batch = encoded(&Request::Batch {
        keyspace: KEYSPACE,
        items: items.collect(),
    });
    // One block takes an eighth of a segment here, and one request more.
    for _ in 0..3 {
        for part in batch.chunks(limits::RECEIVE_SLICE_BYTES) {
            world.driver.received(client, part);
        }
    }
    world.settle();
    assert_eq!(world.driver.shard().count(KeyspaceId::DEFAULT), 20);
    let most = limits::BATCH_ARENA_MAX + 50_000 + SEGMENT_HEADER_LEN;
    assert!(world.block_len_max <= most, "{}", world.block_len_max);
}

/// A command that held memory for one large argument waited for more, for the next one: for itself, if there was not enough for both, or for another that
/// did the same. Then no client of the shard got a large value through any more.
#[test]
fn a_command_with_several_large_arguments_does_not_wait_for_itself() {
    let mut world = World::new();
    let mset = |world: &mut World, values: usize, len: usize| {
        let id = world.driver.opened().unwrap();
        let mut bytes = format!("*{}\r\n$4\r\nMSET\r\n", 1 + 2 * values).into_bytes();
        for number in 0..values {
            bytes.extend(format!("$1\r\n{number}\r\n${len}\r\n").bytes());
            bytes.extend(vec![b'x'; len]);
            bytes.extend(b"\r\n");
        }
        world.driver.received(id, &bytes);
        world.settle();
        String::from_utf8(world.driver.ports().last_sent.clone()).unwrap()
    };
    assert_eq!(mset(&mut world, 5, 100_000), "+OK\r\n");
    let refused = mset(&mut world, 8, 1_000_000);
    assert!(refused.starts_with("-ERR Protocol error"), "{refused}");
    let client = world.connect();
    world.driver.received(client, &put_frame(b"key", 250_000));
    world.settle();
    let answer = world.driver.ports().last_sent[LENGTH_LEN..].to_vec();
    let (_, answer) = Response::decode(&answer).unwrap();
    assert_eq!(answer.status, Status::Ok, "all memory is given back");
}
