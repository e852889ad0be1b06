//! What each kind of setting takes and refuses.

use std::time::Duration;

use proptest::prelude::*;

use crate::limits::SHARDS_MAX;
use crate::server::config::ValueError;
use crate::server::config::choices::{Cores, Filter, Format, Spinning, Sync, cores_text};
use crate::server::config::kinds::{Address, Bytes, Kind, Time, bytes_text, time_text};
use crate::server::config::values::{CoreSelection, SyncPolicy};

const CORES: Cores = Cores { max: SHARDS_MAX };
const ANY_BYTES: Bytes = Bytes {
    min: 0,
    max: u64::MAX,
};
const ANY_TIME: Time = Time {
    min: Duration::ZERO,
    max: Duration::from_secs(u64::MAX),
};

proptest! {
    // `corduroy config` prints values that people paste into a file. A text that parses back to something else would
    // change a node by copying its own configuration.
    #[test]
    fn a_printed_value_parses_back(
        bytes in prop_oneof![any::<u64>(), (0_u64..4096, 0_u32..44).prop_map(|(n, shift)| n << shift)],
        nanos in any::<u64>(),
        cores in proptest::collection::btree_set(0_usize..2000, 1..40),
    ) {
        prop_assert_eq!(ANY_BYTES.parse(&bytes_text(bytes)), Ok(bytes));
        let time = Duration::from_nanos(nanos);
        prop_assert_eq!(ANY_TIME.parse(&time_text(time)), Ok(time));
        let cores: Vec<usize> = cores.into_iter().collect();
        prop_assert_eq!(CORES.parse(&cores_text(&cores)), Ok(CoreSelection::List(cores)));
    }

    // Whatever stands in a file or the environment, the start answers with a sentence and not with a panic.
    #[test]
    fn no_text_panics(text in ".{0,40}", numbers in "[0-9,. =-]{0,30}(ms|s|GiB|kB)?") {
        for text in [text.as_str(), numbers.as_str()] {
            let _ = (ANY_BYTES.parse(text), ANY_TIME.parse(text), CORES.parse(text), Address.parse(text));
            let _ = (Filter.parse(text), Sync { interval: ANY_TIME }.parse(text), Spinning { time: ANY_TIME }.parse(text));
        }
    }
}

// A list that is expanded before it is bounded lets one typo take all memory at the start.
#[test]
fn a_list_of_cores_is_bounded_before_it_is_expanded() {
    assert_eq!(
        CORES.parse("0-18446744073709551615"),
        Err(ValueError::OutOfBounds)
    );
    assert_eq!(CORES.parse("0-256"), Err(ValueError::OutOfBounds));
    assert_eq!(CORES.parse("0-199,300-499"), Err(ValueError::OutOfBounds));
    assert_eq!(
        CORES.parse("0-255"),
        Ok(CoreSelection::List((0..256).collect()))
    );
}

// Two shards on one core halve each other's speed and nobody sees why.
#[test]
fn a_core_is_listed_once() {
    assert_eq!(CORES.parse("0-3,2"), Err(ValueError::CoreTwice { core: 2 }));
    assert_eq!(
        CORES.parse("3-1"),
        Err(ValueError::CoresBackwards { first: 3, last: 1 })
    );
    assert_eq!(CORES.parse("3,0-1"), Ok(CoreSelection::List(vec![0, 1, 3])));
    assert_eq!(CORES.parse("0"), Err(ValueError::OutOfBounds));
    assert_eq!(CORES.parse("1,"), Err(ValueError::Cores));
}

// `1G` meant gibibytes to whoever wrote it in another server's file, gigabytes in a third one's. What a unit means
// here is fixed by this test.
#[test]
fn units_of_size_mean_what_they_say() {
    for (text, bytes) in [
        ("1024", 1024),
        ("1KiB", 1024),
        ("1kB", 1000),
        ("1.5GiB", 3 << 29),
        ("64 MiB", 64 << 20),
        ("1G", 1_000_000_000),
    ] {
        assert_eq!(ANY_BYTES.parse(text), Ok(bytes), "{text}");
    }
    for text in ["", "-1", "GiB", "1 parsec", "1GiB2"] {
        assert_eq!(ANY_BYTES.parse(text), Err(ValueError::Bytes), "{text}");
    }
}

// The filter takes a bare word that is no level for a target: `--log inof` would leave a node without a single log line.
#[test]
fn a_misspelt_level_is_refused() {
    assert_eq!(
        Filter.parse("inof"),
        Err(ValueError::Choice {
            nearest: Some("info")
        })
    );
    assert_eq!(Filter.parse("A¡="), Err(ValueError::NotAscii));
    assert_eq!(
        Filter.parse("info,"),
        Err(ValueError::Choice { nearest: None })
    );
    assert!(matches!(
        Filter.parse("info,corduroy=loud"),
        Err(ValueError::Filter { .. })
    ));
    assert_eq!(
        Filter
            .parse("WARN,corduroy::storage=debug")
            .map(|filter| filter.0),
        Ok("WARN,corduroy::storage=debug".into())
    );
}

#[test]
fn choices_suggest_the_nearest() {
    let sync = Sync {
        interval: Time {
            min: Duration::from_millis(1),
            max: Duration::from_secs(60),
        },
    };
    assert_eq!(
        sync.parse("allways"),
        Err(ValueError::Choice {
            nearest: Some("always")
        })
    );
    assert_eq!(
        sync.parse("interval"),
        Err(ValueError::Choice {
            nearest: Some("interval=50ms")
        })
    );
    assert_eq!(sync.parse("interval=0s"), Err(ValueError::OutOfBounds));
    assert_eq!(
        sync.parse("interval=50ms"),
        Ok(SyncPolicy::Interval(Duration::from_millis(50)))
    );
    assert_eq!(
        Format.parse("jsno"),
        Err(ValueError::Choice {
            nearest: Some("json")
        })
    );
}
