//! What is printed, and what the manual says.

use std::fs;
use std::path::Path;

use super::{GIB, Given, machine};
use crate::server::config::{Flags, Resolved, SETTINGS, Source, write_json, write_toml};

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
    let manual = include_str!("../../../../docs/configuration.md");
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
