//! Values of many megabytes, and the other requests that could keep a core or the memory to themselves: batches of thousands, conditions and
//! appends on long values.

use std::io::{ErrorKind, Write as _};
use std::net::Shutdown;
use std::time::Duration;

use corduroy_client::blocking::Client;
use corduroy_proto_wire::{
    BatchItem, CONNECTION_REQUEST_ID, Condition, Put, Request, Status, partition_of_slot,
    shard_of_partition, slot_of,
};
use socket2::SockRef;

use crate::hostile::{beside_a_good_client, last_word, until_closed};
use crate::support::needs::cores;
use crate::support::node::{Node, Place};
use crate::support::random::Random;
use crate::support::value::{described, describing};
use crate::support::wait_until;
use crate::support::wire::{Answer, Wire, plain_delete, plain_put};

/// The longest value that there may be.
const LONGEST: usize = 16 << 20;
/// Just long enough to be kept apart.
const LONG: usize = 300 << 10;
/// Room for the longest values, in segments as short and memory as little as those allow on two cores.
const ROOMY: [&str; 8] = [
    "--value-len-max",
    "16MiB",
    "--segment-len",
    "32MiB",
    "--memory",
    "256MiB",
    // All that a test asks for at once.
    "--output-bytes-max",
    "512MiB",
];

/// A key of each shard, as many times as asked for: `name` tells them from others.
fn keys_of_all_shards(node: &Node, name: &str, times: usize) -> Vec<Vec<u8>> {
    let wire = node.connect();
    let partitions = wire.hello().keyspace.as_ref().unwrap().partitions;
    let shards = wire.hello().shard_count;
    let mut keys = Vec::new();
    for round in 0..times {
        for shard in 0..shards {
            let key = (0..)
                .map(|number| format!("{name}:{round}:{number}").into_bytes())
                .find(|key| {
                    shard_of_partition(partition_of_slot(slot_of(key), partitions), shards) == shard
                });
            keys.push(key.unwrap());
        }
    }
    keys
}

fn cold_reads(node: &Node) -> u64 {
    let status = node.status();
    let shards = status["shards"].as_array().unwrap();
    shards
        .iter()
        .map(|shard| shard["cold_reads"].as_u64().unwrap())
        .sum()
}

#[track_caller]
fn expect(wire: &mut Wire, keys: &[(Vec<u8>, u64)]) {
    for (key, sequence) in keys {
        let value = wire
            .get(key)
            .unwrap_or_else(|| panic!("{} is gone", key.escape_ascii()));
        assert_eq!(described(key, &value), *sequence);
    }
}

/// What a scan with values shows, each value checked.
fn scanned(client: &Client, prefix: &str) -> Vec<(Vec<u8>, u64)> {
    let entries = client.default_keyspace().scan(prefix).with_values(true);
    let mut found: Vec<(Vec<u8>, u64)> = entries
        .map(|entry| {
            let entry = entry.unwrap();
            let value = entry.value.expect("values were asked for");
            (entry.key.to_vec(), described(&entry.key, &value))
        })
        .collect();
    found.sort();
    found
}

/// A value that is kept apart from its record is in one piece nowhere but on the disk: in the frame that brought it, in the block that is
/// written, in the log's memory, behind a read and on its way out it is something else each time.
fn a_life_of_large_values(cores: usize) {
    let place = Place::new();
    let cores = cores.to_string();
    let flags = [&ROOMY[..], &["--cores", &cores]].concat();
    let node = place.start(&flags);
    let mut wire = node.connect();
    let mut there: Vec<(Vec<u8>, u64)> = Vec::new();
    for key in keys_of_all_shards(&node, "longest", 3) {
        wire.put(&key, &describing(&key, 1, LONGEST));
        there.push((key, 1));
    }
    for key in keys_of_all_shards(&node, "long", 6) {
        wire.put(&key, &describing(&key, 1, LONG));
        there.push((key, 1));
    }
    expect(&mut wire, &there);

    // All at once, so that answers of both shards are under way together.
    let asked: Vec<u32> = there.iter().map(|(key, _)| wire.queue_get(key)).collect();
    wire.flush().unwrap();
    for _ in &asked {
        let answer = wire.receive().unwrap();
        let at = asked.iter().position(|id| *id == answer.id).unwrap();
        assert_eq!(answer.status, Status::Ok, "{answer:?}");
        assert_eq!(described(&there[at].0, &answer.value.unwrap()), 1);
    }

    let client = node.client();
    let keyspace = client.default_keyspace();
    let (mut dropped, mut touched) = (Vec::new(), Vec::new());
    for (number, (key, sequence)) in there.iter_mut().enumerate() {
        match number % 3 {
            0 => {
                *sequence = 2;
                wire.put(
                    key,
                    &describing(key, 2, if number < 3 { LONGEST } else { LONG }),
                );
            }
            1 => {
                keyspace.touch(&*key, Duration::from_secs(3_600)).unwrap();
                touched.push(key.clone());
            }
            _ => {
                keyspace.delete(&*key).unwrap();
                dropped.push(key.clone());
            }
        }
    }
    there.retain(|(key, _)| !dropped.contains(key));
    let check = |node: &Node| {
        let mut wire = node.connect();
        expect(&mut wire, &there);
        for key in &dropped {
            assert!(wire.get(key).is_none(), "{}", key.escape_ascii());
        }
        let client = node.client();
        for key in &touched {
            let left = client.default_keyspace().ttl(key).unwrap();
            assert!(left.unwrap().is_some(), "{}", key.escape_ascii());
        }
        let mut all = there.clone();
        all.sort();
        assert_eq!(scanned(&client, "long"), all);
    };
    check(&node);
    node.kill();
    let node = place.start(&flags);
    check(&node);

    // More than memory holds: what was there before is read from the disk from now on.
    let mut wire = node.connect();
    let fillers = keys_of_all_shards(&node, "filler", 6);
    for key in &fillers {
        wire.put(key, &describing(key, 1, LONGEST));
    }
    let before = cold_reads(&node);
    check(&node);
    assert!(cold_reads(&node) > before, "nothing left memory");
    // A touch of a cold value logs it again, out of what was read.
    let cold = touched[0].clone();
    for key in &fillers[..2] {
        let touch = node
            .client()
            .default_keyspace()
            .touch(key, Duration::from_secs(3_600));
        assert!(touch.unwrap().is_some());
    }
    assert!(wire.get(&cold).is_some());
    node.stop();
    let node = place.start(&flags);
    check(&node);
    expect(&mut node.connect(), &[(fillers[0].clone(), 1)]);
}

#[test]
fn large_values_live_on_one_core() {
    a_life_of_large_values(1);
}

#[test]
fn large_values_live_on_two_cores() {
    if cores() > 1 {
        a_life_of_large_values(2);
    }
}

/// A frame's length is said before its bytes come. Fifty clients that say 16 MiB, send most of it and stop would take 800 MiB for as long as
/// they like from a server that believes each of them.
#[test]
fn large_frames_that_stop_cost_bounded_memory_and_are_cut() {
    const CLIENTS: usize = 50;
    let place = Place::new();
    let node = place.start(&[&ROOMY[..], &["--stall-timeout", "700ms"]].concat());
    let sockets = node.sockets();
    // The log's memory is there before the attack, and so is what the good client makes.
    node.connect()
        .put(b"large", &describing(b"large", 0, LONGEST));
    let before = node.resident_bytes();
    let mut most = before;
    beside_a_good_client(&node, |gets_on| {
        let value = describing(b"large", 1, LONGEST);
        let mut frame = Vec::new();
        Request::Put {
            keyspace: node.connect().keyspace(),
            put: plain_put(b"large", &value),
        }
        .encode(7, &mut frame);
        let nearly = &frame[..15 << 20];
        let mut stopping: Vec<(Wire, usize)> = (0..CLIENTS)
            .map(|_| {
                let wire = node.connect();
                wire.stream().set_nonblocking(true).unwrap();
                (wire, 0)
            })
            .collect();
        // Each sends as long as it is read, and those that wait are read once others are cut.
        wait_until("all of them are cut", || {
            stopping.retain_mut(|(wire, sent)| {
                while *sent < nearly.len() {
                    let slice = &nearly[*sent..nearly.len().min(*sent + (64 << 10))];
                    match wire.stream().write(slice) {
                        Ok(len) => *sent += len,
                        Err(error) => return error.kind() == ErrorKind::WouldBlock,
                    }
                }
                let nothing = wire.stream().peek(&mut [0]);
                nothing.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
            });
            most = most.max(node.resident_bytes());
            stopping.is_empty()
        });
        gets_on();
        let mut wire = node.connect();
        wire.put(b"large", &value);
        let read = wire.get(b"large").unwrap();
        assert_eq!(described(b"large", &read), 1);
    });
    let grown = most.saturating_sub(before);
    eprintln!("{CLIENTS} large frames that stop: {} MiB more", grown >> 20);
    // What large frames may take on each shard, and what the log had room for and now uses.
    let bound = cores() as u64 * (64 << 20) + (192 << 20);
    assert!(grown < bound, "{} MiB more", grown >> 20);
    wait_until("their sockets are gone", || node.sockets() <= sockets);
    node.stop();
}

/// Sends a request and holds the server to refusing it by the name of a limit.
#[track_caller]
fn refused(wire: &mut Wire, request: &Request<'_>, named: &str) {
    let id = wire.queue(request);
    let answer = wire.answer(id);
    assert_eq!(answer.status, Status::LimitExceeded, "{}", answer.text());
    assert!(answer.text().contains(named), "{}", answer.text());
}

/// Whoever meets a limit must learn which one; and the connection goes on.
#[test]
fn limits_are_refused_by_name() {
    let place = Place::new();
    let node = place.start(&["--value-len-max", "2MiB"]);
    let mut wire = node.connect();
    let keyspace = wire.keyspace();
    let mebibyte = vec![7; 1 << 20];
    let long = vec![7; (1 << 20) + 1];
    let longer = vec![7; (2 << 20) + 1];
    let put = |key, value| plain_put(key, value);

    let too_long = Request::Put {
        keyspace,
        put: put(b"k", &longer),
    };
    refused(&mut wire, &too_long, "value_len_max");
    let compared = Put {
        condition: Condition::IfValue(&long),
        ..put(b"k", b"new")
    };
    let conditional = Request::Put {
        keyspace,
        put: compared,
    };
    refused(&mut wire, &conditional, "compare_len_max");
    let deleted = corduroy_proto_wire::Delete {
        condition: Condition::IfValue(&long),
        ..plain_delete(b"k")
    };
    let conditional = Request::Delete {
        keyspace,
        delete: deleted,
    };
    refused(&mut wire, &conditional, "compare_len_max");
    wire.put(b"k", &mebibyte);
    let append = Request::Append {
        keyspace,
        key: b"k",
        suffix: b"x",
    };
    refused(&mut wire, &append, "append_len_max");
    assert_eq!(
        wire.get(b"k").unwrap().len(),
        1 << 20,
        "nothing was appended"
    );

    let items = vec![BatchItem::Put(put(b"k", &long))];
    let batch = Request::Batch {
        keyspace,
        items: items.clone(),
    };
    refused(&mut wire, &batch, "batch_bytes_max");
    refused(
        &mut wire,
        &Request::AtomicBatch { keyspace, items },
        "batch_bytes_max",
    );
    let items = vec![BatchItem::Get { key: b"k" }; 4097];
    refused(&mut wire, &Request::Batch { keyspace, items }, "4096");
    let keys: Vec<Vec<u8>> = (0..1025)
        .map(|number| format!("{{t}}{number}").into_bytes())
        .collect();
    let items = keys
        .iter()
        .map(|key| BatchItem::Put(put(key, b"v")))
        .collect();
    refused(&mut wire, &Request::AtomicBatch { keyspace, items }, "1024");
    assert!(wire.get(&keys[0]).is_none(), "nothing of it was done");
    for key in &keys[..3] {
        wire.put(key, &mebibyte[..400 << 10]);
    }
    let giving_back = keys[..3].iter().map(|key| {
        BatchItem::Put(Put {
            return_value: true,
            ..put(key, b"v")
        })
    });
    let atomic = Request::AtomicBatch {
        keyspace,
        items: giving_back.collect(),
    };
    refused(&mut wire, &atomic, "batch_bytes_max");
    assert_eq!(wire.get(&keys[0]).unwrap().len(), 400 << 10);
    let scan = Request::Scan {
        keyspace,
        prefix: b"",
        cursor: corduroy_proto_wire::Cursor::START,
        limit: 4097,
        with_values: false,
    };
    refused(&mut wire, &scan, "4096");

    // What does not fit into a batch's answer stands there as an operation of its own that was refused.
    let items = keys[..3].iter().map(|key| BatchItem::Get { key }).collect();
    let id = wire.queue(&Request::Batch { keyspace, items });
    let answer = wire.answer(id);
    let statuses: Vec<Status> = answer.items.iter().map(|(status, _)| *status).collect();
    let fitting = statuses.iter().filter(|status| **status == Status::Ok);
    assert_eq!(
        (answer.status, fitting.count()),
        (Status::Ok, 2),
        "{statuses:?}"
    );
    assert!(statuses.contains(&Status::LimitExceeded), "{statuses:?}");

    // The one limit that ends the connection, for the frame is not read.
    let length = wire.hello().frame_len_max + 1;
    wire.stream().write_all(&length.to_le_bytes()).unwrap();
    let (id, status, text) = last_word(&until_closed(wire.stream()));
    assert_eq!((id, status), (CONNECTION_REQUEST_ID, Status::LimitExceeded));
    assert!(text.contains(&length.to_string()), "{text}");
}

/// Values that were stored while longer ones were allowed are answered whole, in frames that are longer than any the server would take now.
#[test]
fn values_over_a_limit_that_was_lowered_stay_readable() {
    let place = Place::new();
    let node = place.start(&["--value-len-max", "2MiB"]);
    let key = b"long:1".to_vec();
    node.connect().put(&key, &describing(&key, 1, 2 << 20));
    node.stop();

    let node = place.start(&["--value-len-max", "64KiB"]);
    let mut wire = node.connect();
    assert!(wire.hello().frame_len_max < 2 << 20);
    expect(&mut wire, &[(key.clone(), 1)]);
    let client = node.client();
    let found = client.default_keyspace().get(&key[..]).unwrap().unwrap();
    assert_eq!(described(&key, &found.value), 1);
    assert_eq!(scanned(&client, "long:"), [(key.clone(), 1)]);
    wire.put(&key, &describing(&key, 2, 100));
    expect(&mut wire, &[(key, 2)]);
    node.stop();
}

fn many_puts<'a>(keys: &'a [Vec<u8>], values: &'a [Vec<u8>]) -> Vec<BatchItem<'a>> {
    let pairs = keys.iter().zip(values);
    pairs
        .map(|(key, value)| BatchItem::Put(plain_put(key, value)))
        .collect()
}

/// A long batch is worked off a slice a turn, and what its client sent behind it waits for all of it: else it would read what was there before.
#[test]
fn what_follows_a_long_batch_comes_after_it() {
    const LEN: usize = 4096;
    let place = Place::new();
    let node = place.start(&[]);
    beside_a_good_client(&node, |_| {
        let mut wire = node.connect();
        let keyspace = wire.keyspace();
        let keys: Vec<Vec<u8>> = (0..LEN)
            .map(|number| format!("batch:{number}").into_bytes())
            .collect();
        for sequence in 1..=5 {
            let values: Vec<Vec<u8>> = keys
                .iter()
                .map(|key| describing(key, sequence, 100))
                .collect();
            let batch = wire.queue(&Request::Batch {
                keyspace,
                items: many_puts(&keys, &values),
            });
            let asked: Vec<(usize, u32)> = [LEN - 1, 0, LEN / 2, LEN - 2]
                .map(|at| (at, wire.queue_get(&keys[at])))
                .into();
            wire.flush().unwrap();
            let mut answers: Vec<Answer> = Vec::new();
            for _ in 0..=asked.len() {
                answers.push(wire.receive().unwrap());
            }
            let answer = |id| answers.iter().find(|answer| answer.id == id).unwrap();
            let items = &answer(batch).items;
            assert_eq!(items.len(), LEN);
            assert!(items.iter().all(|(status, _)| *status == Status::Ok));
            for (at, id) in asked {
                let value = answer(id).value.as_ref().unwrap();
                assert_eq!(
                    described(&keys[at], value),
                    sequence,
                    "an older value is read"
                );
            }
        }
    });
}

/// The rest of a batch whose client is gone is asked for by nobody. It must not stay in the node, and must not keep it from stopping.
#[test]
fn clients_that_close_in_the_middle_of_a_long_batch_leave_nothing_behind() {
    let place = Place::new();
    let node = place.start(&[]);
    let sockets = node.sockets();
    let keys: Vec<Vec<u8>> = (0..4096)
        .map(|number| format!("gone:{number}").into_bytes())
        .collect();
    let mut random = Random::new(44);
    beside_a_good_client(&node, |_| {
        for sequence in 1..=60 {
            let values: Vec<Vec<u8>> = keys
                .iter()
                .map(|key| describing(key, sequence, 200))
                .collect();
            let mut wire = node.connect();
            let keyspace = wire.keyspace();
            wire.queue(&Request::Batch {
                keyspace,
                items: many_puts(&keys, &values),
            });
            wire.queue_get(&keys[0]);
            wire.flush().unwrap();
            std::thread::sleep(Duration::from_micros(random.below(3000)));
            if random.percent(50) {
                SockRef::from(wire.stream())
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
            } else {
                wire.stream().shutdown(Shutdown::Both).unwrap();
            }
        }
    });
    wait_until("their sockets are gone", || node.sockets() <= sockets);
    let mut wire = node.connect();
    for key in &keys {
        if let Some(value) = wire.get(key) {
            described(key, &value);
        }
    }
    node.stop();
}

/// Pages with large values are asked for by a few bytes each. Those that are on their way through other shards when the client stops reading can't be
/// stopped, but refused; the connection must live.
#[test]
fn scans_that_are_not_read_are_refused_and_not_cut() {
    const SCANS: usize = 40;
    let place = Place::new();
    let node = place.start(&["--output-bytes-max", "8MiB"]);
    let mut wire = node.connect_narrow();
    let keyspace = wire.keyspace();
    for number in 0..20 {
        let key = format!("large:{number}").into_bytes();
        wire.put(&key, &describing(&key, 1, 2 << 20));
    }
    for _ in 0..SCANS {
        wire.queue(&Request::Scan {
            keyspace,
            prefix: b"large:",
            cursor: corduroy_proto_wire::Cursor::START,
            limit: 10,
            with_values: true,
        });
    }
    wire.flush().unwrap();
    for _ in 0..SCANS {
        let answer = wire.receive().unwrap();
        assert!(
            matches!(answer.status, Status::Ok | Status::Overloaded),
            "{answer:?}"
        );
    }
}
