//! Real data: every package record of the machine's Debian package index goes in through the client, survives kill -9, and comes
//! out through the client, to the byte.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::support::cli::{cli, collect, run};
use crate::support::needs::{program, skip};
use crate::support::node::Place;
use crate::support::wait_until;

type Records = BTreeMap<String, String>;

/// All records, by package, version and architecture.
fn records() -> Option<Records> {
    let apt = program("apt-cache")?;
    let output = Command::new(apt)
        .arg("dumpavail")
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let records: Records = text
        .split("\n\n")
        .filter_map(|record| {
            let field = |name: &str| {
                let mut lines = record.lines();
                lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            };
            let key = format!(
                "{}/{}/{}",
                field("Package")?,
                field("Version")?,
                field("Architecture")?
            );
            Some((key, record.to_owned()))
        })
        .collect();
    (!records.is_empty()).then_some(records)
}

/// Made-up data is as its maker thinks that data is. These records are of all lengths, in many languages, and about fifty
/// megabytes of them: several segments on each shard.
#[test]
fn every_package_record_survives_import_kill_and_export() {
    let Some(records) = records() else {
        return skip("apt-cache with package lists (apt-get update)");
    };
    let place = Place::new();
    let input = place.path().join("packages.jsonl");
    let mut file = std::io::BufWriter::new(fs::File::create(&input).unwrap());
    for (key, value) in &records {
        let line = serde_json::json!({ "key": key, "value": value });
        writeln!(file, "{line}").unwrap();
    }
    file.into_inner().unwrap();
    let node = place.start(&["--memory", "128MiB", "--segment-len", "8MiB"]);
    let input = input.to_str().unwrap();
    let import = cli(&node, &["import", input])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    collect(import).ended(0);
    eprintln!("{} records imported", records.len());
    node.kill();
    let node = place.start(&["--memory", "128MiB", "--segment-len", "8MiB"]);
    let keyspace = node.client().default_keyspace();
    wait_until("all are counted", || {
        keyspace.count().unwrap() == records.len() as u64
    });
    let output = place.path().join("exported.jsonl");
    run(&node, &["export", output.to_str().unwrap()]).ended(0);
    let mut exported = Records::new();
    for line in fs::read_to_string(output).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let key = line["key"].as_str().unwrap().to_owned();
        let value = line["value"].as_str().unwrap().to_owned();
        exported.insert(key, value);
    }
    assert_eq!(exported.len(), records.len());
    for (key, value) in &records {
        assert!(exported.get(key) == Some(value), "{key} has changed");
    }
    node.stop();
}
