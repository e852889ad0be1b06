//! Which layer wins, and what is refused.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{GIB, Given, machine};
use crate::server::config::{ConfigError, Flags, Resolved, SyncPolicy};

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

// A file that was named and isn't there would start a node on defaults, in an empty directory: "all data lost".
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
