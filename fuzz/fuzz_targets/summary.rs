//! Any bytes as a saved index: refused, or a list of records that a start can merge.
//!
//! Random bytes fail the checksum, so half of the inputs have their checksums closed over them. What comes through then may be anything that the
//! structure allows: merging it with itself must come to an end, in order, with each key once.
#![no_main]

use corduroy::storage::format::{BlockKind, LogTag, SegmentHeader, SegmentState};
use corduroy::storage::summary::{Run, Summary, SummaryHeader, newest, range_bits};
use corduroy::types::{Position, SegmentId, ShardId, WallMillis};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, &[u8])| {
    let (is_closed, bytes) = input;
    let base = Position(64);
    let closed;
    let file = if is_closed {
        let header = SummaryHeader {
            segment: SegmentHeader {
                node: 1,
                shard: ShardId(0),
                shard_count: 1,
                log: LogTag(1),
                segment: SegmentId(1),
                segment_len: 1 << 30,
                created: WallMillis(0),
                state: SegmentState::Active { base },
            },
            base,
            end: Position(1 << 29),
            first_sequence: 1,
            next_sequence: 2,
            durable: base,
            timestamp_max: WallMillis(0),
            fingerprint: 0,
            last: BlockKind::Data,
        };
        closed = [&header.encode(bytes)[..], bytes].concat();
        &closed[..]
    } else {
        bytes
    };
    let Ok(summary) = Summary::parse(file) else {
        return;
    };
    for group in summary.body.groups() {
        let runs = [
            Run { base, group: *group },
            Run { base, group: *group },
        ];
        for bits in [range_bits(&runs), 3] {
            let mut before = None;
            let mut seen = 0;
            newest(&runs, bits, |items| {
                for item in items {
                    assert!(before < Some(item.key()));
                    assert!(item.position() < summary.header.end);
                    before = Some(item.key());
                    seen += 1;
                }
            });
            assert!(seen <= group.len());
        }
    }
});
