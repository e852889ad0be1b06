//! The configuration as a whole: which layer wins, what is refused with which sentence, what is chosen on which machine.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::limits;

const GIB: u64 = 1 << 30;

fn machine(cores: impl IntoIterator<Item = usize>, memory: u64) -> Machine {
    Machine {
        cores: Ok(cores.into_iter().collect()),
        memory: Ok(Memory {
            bytes: memory,
            cgroup: false,
        }),
    }
}

/// What the layers are made of in a test.
#[derive(Default)]
struct Given {
    flags: Vec<(&'static str, String)>,
    environment: Vec<(String, String)>,
    file: Option<&'static str>,
    salvage: bool,
}

impl Given {
    fn flag(mut self, name: &'static str, text: impl Into<String>) -> Given {
        self.flags.push((name, text.into()));
        self
    }

    fn variable(mut self, name: &str, text: &str) -> Given {
        self.environment.push((name.to_owned(), text.to_owned()));
        self
    }

    fn file(mut self, text: &'static str) -> Given {
        self.file = Some(text);
        self
    }

    fn on(self, machine: Machine) -> Result<Resolved, Rejected> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("corduroy.toml");
        if let Some(text) = self.file {
            fs::write(&path, text).unwrap();
        }
        let settings = self
            .flags
            .iter()
            .map(|(name, text)| (Setting::named(name).unwrap(), OsString::from(text)))
            .collect();
        let environment = self
            .environment
            .iter()
            .map(|(name, text)| (name.into(), text.into()));
        Resolved::new(
            Flags {
                file: None,
                settings,
                salvage: self.salvage,
            },
            environment,
            &path,
            machine,
        )
    }

    fn resolve(self) -> Result<Resolved, Rejected> {
        self.on(machine(0..4, 16 * GIB))
    }

    /// Each error as its sentence, the file's directory taken away.
    fn sentences(self, machine: Machine) -> Vec<String> {
        let rejected = self.on(machine).expect_err("something is wrong here");
        let sentences = rejected.errors.iter().map(ToString::to_string);
        sentences
            .map(|text| {
                text.rsplit_once("/corduroy.toml")
                    .map_or(text.clone(), |(_, rest)| format!("FILE{rest}"))
            })
            .collect()
    }

    fn sentence(self) -> String {
        let sentences = self.sentences(machine(0..4, 16 * GIB));
        assert_eq!(sentences.len(), 1, "{sentences:?}");
        sentences.into_iter().next().unwrap()
    }
}

#[test]
fn defaults_make_a_node() {
    let config = Given::default().resolve().unwrap().config;
    assert_eq!(config.data, Path::new("./corduroy-data"));
    assert_eq!(config.listen.to_string(), "127.0.0.1:7379");
    assert_eq!(
        (config.cores.as_slice(), config.shard_count()),
        ([0, 1, 2, 3].as_slice(), 4)
    );
    assert_eq!(config.memory, 4 * GIB);
    assert_eq!(config.sync, SyncPolicy::Always);
    assert_eq!(
        (config.value_len_max, config.segment_len),
        (16 << 20, 64 << 20)
    );
    assert_eq!(
        (config.idle_timeout, config.stall_timeout),
        (None, Duration::from_secs(30))
    );
    assert!(!config.salvage);
}

// The order of the layers is what operators rely on when they mend a broken file with a flag at three in the morning.
#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let given = || {
        Given::default()
            .flag("in_flight_max", "1")
            .variable("CORDUROY_IN_FLIGHT_MAX", "2")
            .variable("CORDUROY_CONNECTIONS_MAX", "20")
            .file("# comment\nin_flight_max = 3\nconnections_max = 30\nstop_timeout = \"3s\"\n")
    };
    let resolved = given().resolve().unwrap();
    let config = &resolved.config;
    assert_eq!((config.in_flight_max, config.connections_max), (1, 20));
    assert_eq!(config.stop_timeout, Duration::from_secs(3));
    let sources: Vec<_> = resolved
        .values()
        .filter(|value| {
            ["in_flight_max", "connections_max", "stop_timeout", "spin"]
                .contains(&value.setting.name)
        })
        .map(|value| {
            value
                .source
                .origin(value.setting)
                .rsplit('/')
                .next()
                .unwrap()
                .to_owned()
        })
        .collect();
    let expected = [
        "environment CORDUROY_CONNECTIONS_MAX",
        "flag --in-flight-max",
        "corduroy.toml:4",
        "default",
    ];
    assert_eq!(sources, expected);
}

// A covered value is not looked at: otherwise a flag could not mend what an image has baked into its environment.
#[test]
fn a_flag_covers_a_broken_variable() {
    let resolved = Given::default()
        .flag("memory", "1GiB")
        .variable("CORDUROY_MEMORY", "lots")
        .resolve()
        .unwrap();
    assert_eq!(resolved.config.memory, GIB);
}

// Every mistake costs a start, so all are told at once, each with its place and what to write instead.
#[test]
fn everything_wrong_is_told_at_once() {
    let sentences = Given::default()
        .flag("sync", "allways")
        .variable("CORDUROY_MEMROY", "1GiB")
        .file("listen = \"localhost:7379\"\nvalue-len-max = 5\nsalvage = true\nspin = false\ncores = 2\n")
        .sentences(machine(0..4, 16 * GIB));
    let expected = [
        "FILE:3: salvage can only be given as the flag --salvage, for one start: kept in a file or in the environment it \
         would drop damaged data at a later start that nobody watches",
        "FILE:4: spin is a boolean here; write it as a string or a whole number, such as spin = \"auto\"",
        "FILE:2: there is no setting \"value-len-max\"; did you mean value_len_max?",
        "there is no setting for the environment variable CORDUROY_MEMROY; did you mean CORDUROY_MEMORY?",
        "listen can't be \"localhost:7379\" (FILE:1): it is not an IP address with a port (a host's name is not looked up); \
         allowed is an IP address and a port, such as 127.0.0.1:7379, 0.0.0.0:7379 or [::1]:7379",
        "sync can't be \"allways\" (flag --sync): it is none of the choices; did you mean always?; allowed is always, never, \
         or interval= and a time from 1ms to 1m",
    ];
    assert_eq!(sentences.len(), expected.len(), "{sentences:#?}");
    for (sentence, expected) in sentences.iter().zip(expected) {
        let tail = expected
            .split_once("FILE")
            .map_or(expected, |(_, tail)| tail);
        assert!(sentence.ends_with(tail), "{sentence}\nis not\n{expected}");
    }
}

#[test]
fn a_file_that_is_not_toml_names_its_line() {
    let sentence = Given::default()
        .file("cores = 2\nmemory = = 1\n")
        .sentence();
    assert!(
        sentence.starts_with("FILE:2: this is not TOML: "),
        "{sentence}"
    );
    let sentence = Given::default()
        .file("cores = 2\n[limits]\nmemory = 1\n")
        .sentence();
    assert_eq!(sentence, "FILE:2: there is no setting \"limits\"");
}

// A file that was named and isn't there once started a node on defaults, in an empty directory: "all data lost".
#[test]
fn a_named_file_must_be_there() {
    let nowhere = Path::new("nowhere/corduroy.toml");
    let flags = Flags {
        file: Some(nowhere.to_owned()),
        ..Flags::default()
    };
    let error = Resolved::new(flags, [], nowhere, machine(0..1, GIB))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(
            "can't read the configuration file nowhere/corduroy.toml (flag --config): "
        ),
        "{error}"
    );
    let environment = [("CORDUROY_CONFIG".into(), "elsewhere.toml".into())];
    let error = Resolved::new(Flags::default(), environment, nowhere, machine(0..1, GIB))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("elsewhere.toml (environment CORDUROY_CONFIG)"),
        "{error}"
    );
    assert!(Resolved::new(Flags::default(), [], nowhere, machine(0..1, GIB)).is_ok());
}

#[test]
fn a_file_far_too_long_is_refused_unread() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data.log");
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let flags = Flags {
        file: Some(path),
        ..Flags::default()
    };
    let error = Resolved::new(flags, [], Path::new("none"), machine(0..1, GIB)).unwrap_err();
    assert!(
        matches!(error.errors.as_slice(), [ConfigError::FileTooLong { .. }]),
        "{error}"
    );
}

// In a cluster with a service called `corduroy`, every container gets CORDUROY_SERVICE_HOST and its kin. Refused as unknown
// settings they would keep every node from starting, and nobody put them there.
#[test]
fn variables_of_an_orchestrator_are_not_settings() {
    let resolved = Given::default()
        .variable("CORDUROY_SERVICE_HOST", "10.0.0.1")
        .variable("CORDUROY_SERVICE_PORT", "7379")
        .variable("CORDUROY_SERVICE_PORT_CLIENT", "7379")
        .variable("CORDUROY_PORT", "tcp://10.0.0.1:7379")
        .variable("CORDUROY_PEERS_PORT_7380_TCP_ADDR", "10.0.0.1")
        .variable("CORDUROY_PORT_7379_TCP", "tcp://10.0.0.1:7379")
        .variable("CORDUROY_SERVER", "127.0.0.1:7379")
        .resolve();
    assert!(resolved.is_ok(), "{}", resolved.unwrap_err());
    assert!(
        Given::default()
            .variable("CORDUROY_PORT", "7379")
            .resolve()
            .is_err()
    );
    assert!(
        Given::default()
            .variable("CORDUROY_SALVAGE", "1")
            .sentence()
            .contains("the flag --salvage")
    );
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    use std::os::unix::ffi::OsStringExt;
    let environment = [("CORDUROY_DATA".into(), OsString::from_vec(vec![b'd', 0xff]))];
    let error = Resolved::new(
        Flags::default(),
        environment,
        Path::new("none"),
        machine(0..1, GIB),
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("data can't be") && error.to_string().contains("not UTF-8"),
        "{error}"
    );
}

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
    let needed = 2 * (2 * (64 << 20) + limits::SHARD_MEMORY_BASE);
    assert_eq!(
        memory(Given::default(), machine(0..2, GIB)).unwrap(),
        needed
    );
    let error = memory(Given::default(), machine(0..8, GIB))
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "memory = 256MiB (default) is too little for 8 shards with segments of 64MiB, which need 1152MiB: take fewer cores \
         (--cores 1), or lower value_len_max, by which segment_len is chosen"
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
fn a_segment_holds_two_of_the_longest_values() {
    let sentence = Given::default().flag("segment_len", "32MiB").sentence();
    assert_eq!(
        sentence,
        "segment_len = 32MiB (flag --segment-len) is too short for value_len_max = 16MiB (default): a segment holds at least \
         two of the longest values and 256KiB; raise segment_len to 64MiB, or lower value_len_max to 16256KiB"
    );
    // What the sentence advises must be right.
    let fitting = Given::default()
        .flag("segment_len", "32MiB")
        .flag("value_len_max", "16256KiB");
    assert_eq!(fitting.resolve().unwrap().config.segment_len, 32 << 20);
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
        segment_exponent in proptest::option::of(20_u32..=30),
    ) {
        let mut given = Given::default().flag("value_len_max", value_len_max.to_string());
        if let Some(mib) = memory_mib { given = given.flag("memory", format!("{mib}MiB")); }
        if let Some(exponent) = segment_exponent { given = given.flag("segment_len", (1_u64 << exponent).to_string()); }
        let machine_bytes = machine_mib << 20;
        if let Ok(Resolved { config, .. }) = given.on(machine(0..core_count, machine_bytes)) {
            prop_assert!(config.segment_len.is_power_of_two());
            prop_assert!((limits::SEGMENT_LEN_MIN..=limits::SEGMENT_LEN_MAX).contains(&config.segment_len));
            prop_assert!(config.segment_len >= 2 * config.value_len_max as u64 + limits::SEGMENT_SLACK_LEN);
            let shard = limits::TAIL_SEGMENTS_MIN * config.segment_len + limits::SHARD_MEMORY_BASE;
            prop_assert!(config.memory >= u64::from(config.shard_count()) * shard);
            prop_assert!(config.memory <= machine_bytes);
        }
    }
}

// `corduroy config > corduroy.toml` is how people begin a file. It must mean the node that printed it.
#[test]
fn the_printed_configuration_is_a_file_that_means_the_same() {
    let resolved = Given::default()
        .flag("data", "a \"b\" # c")
        .flag("cores", "2-2")
        .flag("sync", "interval=1500ms")
        .flag("idle_timeout", "90s")
        .flag("log", "info,corduroy::storage=debug")
        .flag("value_len_max", "1000")
        .resolve()
        .unwrap();
    let mut text = Vec::new();
    write_toml(&resolved, &mut text).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("printed.toml");
    fs::write(&path, &text).unwrap();
    let flags = Flags {
        file: Some(path),
        ..Flags::default()
    };
    let again = Resolved::new(flags, [], Path::new("none"), machine(0..4, 16 * GIB)).unwrap();
    assert_eq!(
        again.config,
        resolved.config,
        "{}",
        String::from_utf8_lossy(&text)
    );
    assert!(
        again
            .values()
            .all(|value| matches!(value.source, Source::File { .. }))
    );
}

#[test]
fn json_has_value_source_and_note_of_every_setting() {
    let given = Given {
        salvage: true,
        ..Given::default()
    };
    let resolved = given.variable("CORDUROY_SYNC", "never").resolve().unwrap();
    let mut text = Vec::new();
    write_json(&resolved, &mut text).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(json["salvage"], true);
    let sync = serde_json::json!({ "value": "never", "source": "environment", "origin": "environment CORDUROY_SYNC", "note": null });
    assert_eq!(json["settings"]["sync"], sync);
    assert_eq!(
        json["settings"]["memory"]["note"],
        "a quarter of the machine's 16.0 GiB"
    );
    assert_eq!(json["settings"].as_object().unwrap().len(), SETTINGS.len());
}

// A manual that lags behind the program is worse than none. Each setting has its row there, with its names and its default.
#[test]
fn the_manual_lists_every_setting_with_its_default() {
    let manual = include_str!("../../../docs/configuration.md");
    for setting in SETTINGS {
        let row = format!(
            "| `{}` | `--{}` | `{}` | `{}` |",
            setting.name,
            setting.flag(),
            setting.variable(),
            setting.default
        );
        assert!(
            manual.contains(&row),
            "docs/configuration.md has no row\n{row}"
        );
        let allowed = setting.allowed();
        assert!(
            manual.contains(&allowed),
            "docs/configuration.md doesn't say what {} may be: {allowed}",
            setting.name
        );
    }
    let rows = manual
        .lines()
        .filter(|line| line.starts_with("| `") && line.contains("`CORDUROY_"))
        .count();
    assert_eq!(
        rows,
        SETTINGS.len(),
        "docs/configuration.md has a row for a setting that does not exist"
    );
}
