//! What is chosen on which machine, and how settings relate.

use std::io;

use proptest::prelude::*;

use super::{GIB, Given, machine};
use crate::limits;
use crate::server::config::{Machine, Resolved};

#[test]
fn cores_are_those_that_the_process_may_run_on() {
    let on = |text: &str| {
        Given::default()
            .flag("cores", text)
            .on(machine([2, 3, 6], 16 * GIB))
            .map(|resolved| resolved.config.cores)
    };
    assert_eq!(on("all").unwrap(), [2, 3, 6]);
    assert_eq!(on("2").unwrap(), [2, 3]);
    assert_eq!(on("6,2").unwrap(), [2, 6]);
    assert_eq!(
        on("4").unwrap_err().to_string(),
        "cores = 4 (flag --cores) is more than the 3 cores that this process may run on (2-3,6): lower it, or widen the \
         process's CPU affinity (taskset, cpuset)"
    );
    assert!(
        on("0-3")
            .unwrap_err()
            .to_string()
            .contains("names 0-1, on which this process may not run (it may on 2-3,6)")
    );
}

// On a machine with more cores than a node has shards, the defaults must still start one.
#[test]
fn all_cores_are_at_most_the_most_shards() {
    let resolved = Given::default().on(machine(0..400, 4096 * GIB)).unwrap();
    assert_eq!(resolved.config.cores.len(), limits::SHARDS_MAX);
    let cores = resolved
        .values()
        .find(|value| value.setting.name == "cores")
        .unwrap();
    assert_eq!(
        (cores.text.as_str(), cores.note),
        ("0-255", Some("the first 256 of 400"))
    );
}

// A sandbox without /proc, or a kernel with more CPUs than the call knows: what the person says must do.
#[test]
fn a_machine_that_does_not_say_is_told_by_hand() {
    let silent = || Machine {
        cores: Err(io::ErrorKind::NotFound.into()),
        memory: Err(io::ErrorKind::NotFound.into()),
    };
    let sentences = Given::default().sentences(silent());
    assert_eq!(sentences.len(), 1);
    assert!(
        sentences[0].ends_with("give a list of cores by hand"),
        "{sentences:?}"
    );
    let sentences = Given::default().flag("cores", "0-1").sentences(silent());
    assert!(
        sentences[0].ends_with("give memory by hand"),
        "{sentences:?}"
    );
    let config = Given::default()
        .flag("cores", "0-1")
        .flag("memory", "1GiB")
        .on(silent())
        .unwrap()
        .config;
    assert_eq!((config.cores, config.memory), (vec![0, 1], GIB));
}

// A node on a small machine must start on its defaults; one that can't work must say what would make it work.
#[test]
fn memory_is_a_quarter_or_what_the_shards_need() {
    let memory = |given: Given, machine| given.on(machine).map(|resolved| resolved.config.memory);
    assert_eq!(
        memory(Given::default(), machine(0..2, 24 * GIB + 12345)).unwrap(),
        6 * GIB
    );
    let needed = 2 * (3 * (32 << 20) + limits::SHARD_MEMORY_BASE);
    assert_eq!(
        memory(Given::default(), machine(0..2, GIB / 2)).unwrap(),
        needed
    );
    let error = memory(Given::default(), machine(0..8, GIB))
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "memory = 256MiB (default) is too little for 8 shards with segments of 32MiB, which need 896MiB: raise memory \
         to 896MiB, or take fewer cores (--cores 2), or lower value_len_max, by which segment_len is chosen"
    );
    assert_eq!(
        memory(
            Given::default().flag("value_len_max", "1MiB"),
            machine(0..8, GIB)
        )
        .unwrap(),
        256 << 20
    );
    let error = memory(
        Given::default().flag("memory", "32GiB"),
        machine(0..8, 24 * GIB),
    )
    .unwrap_err()
    .to_string();
    assert!(
        error.starts_with("memory = 32GiB (flag --memory) is more than the 24GiB of this machine"),
        "{error}"
    );
}

#[test]
fn a_segment_holds_one_of_the_longest_values() {
    let sentence = Given::default().flag("segment_len", "16MiB").sentence();
    assert_eq!(
        sentence,
        "segment_len = 16MiB (flag --segment-len) is too short for value_len_max = 16MiB (default): a segment holds at least \
         one of the longest values and 3MiB; raise segment_len to 32MiB, or lower value_len_max to 13MiB"
    );
    // What the sentence advises must be right.
    let fitting = Given::default()
        .flag("segment_len", "16MiB")
        .flag("value_len_max", "13MiB");
    assert_eq!(fitting.resolve().unwrap().config.segment_len, 16 << 20);
    assert!(
        Given::default()
            .flag("segment_len", "48MiB")
            .sentence()
            .contains("not a power of two")
    );
}

#[test]
fn a_reply_with_the_longest_value_fits_among_those_that_wait() {
    let sentence = Given::default()
        .variable("CORDUROY_OUTPUT_BYTES_MAX", "16MiB")
        .sentence();
    assert!(
        sentence.ends_with("raise output_bytes_max to 16512KiB"),
        "{sentence}"
    );
    assert!(
        Given::default()
            .variable("CORDUROY_OUTPUT_BYTES_MAX", "16512KiB")
            .resolve()
            .is_ok()
    );
}

proptest! {
    // Whatever the machine, a configuration that is accepted keeps the relations that storage and runtime rely on.
    #[test]
    fn an_accepted_configuration_keeps_its_relations(
        core_count in 1_usize..300,
        machine_mib in 1_u64..2_000_000,
        memory_mib in proptest::option::of(16_u64..2_000_000),
        value_len_max in 1_u64..=limits::VALUE_LEN_MAX as u64,
        segment_exponent in proptest::option::of(22_u32..=30),
    ) {
        let mut given = Given::default().flag("value_len_max", value_len_max.to_string());
        if let Some(mib) = memory_mib { given = given.flag("memory", format!("{mib}MiB")); }
        if let Some(exponent) = segment_exponent { given = given.flag("segment_len", (1_u64 << exponent).to_string()); }
        let machine_bytes = machine_mib << 20;
        if let Ok(Resolved { config, .. }) = given.on(machine(0..core_count, machine_bytes)) {
            prop_assert!(config.segment_len.is_power_of_two());
            prop_assert!((limits::SEGMENT_LEN_ASKED_MIN..=limits::SEGMENT_LEN_MAX).contains(&config.segment_len));
            prop_assert!(config.segment_len >= config.value_len_max as u64 + limits::SEGMENT_SLACK_LEN);
            let shard = limits::TAIL_SEGMENTS_MIN * config.segment_len + limits::SHARD_MEMORY_BASE;
            prop_assert!(config.memory >= u64::from(config.shard_count()) * shard);
            prop_assert!(config.memory <= machine_bytes);
        }
    }
}
