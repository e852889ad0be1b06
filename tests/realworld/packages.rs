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

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// All records, by package, version and architecture, as the index has them: in whatever encoding their maintainers write.
fn records() -> Option<Records> {
    let apt = program("apt-cache")?;
    let output = Command::new(apt)
        .arg("dumpavail")
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let mut records = Records::new();
    let mut rest = &output.stdout[..];
    while !rest.is_empty() {
        let end = rest.windows(2).position(|pair| pair == b"\n\n");
        let record = &rest[..end.unwrap_or(rest.len())];
        rest = end.map_or(&[][..], |end| &rest[end + 2..]);
        let field = |name: &[u8]| {
            let mut lines = record.split(|&byte| byte == b'\n');
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(b": "))
        };
        if let (Some(package), Some(version), Some(architecture)) =
            (field(b"Package"), field(b"Version"), field(b"Architecture"))
        {
            let key = [package, version, architecture].join(&b'/');
            records.insert(key, record.to_vec());
        }
    }
    (!records.is_empty()).then_some(records)
}

/// A value as a line of `key<TAB>value` holds it. Written here once more so that the program's reader and writer are not only compared with
/// each other.
fn escaped(value: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(value.len());
    for &byte in value {
        match byte {
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\t' => line.extend_from_slice(b"\\t"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            byte => line.push(byte),
        }
    }
    line
}

/// Made-up data is as its maker thinks that data is. These records are of all lengths, in many languages, and about fifty
/// megabytes of them: several segments on each shard.
#[test]
fn every_package_record_survives_import_kill_and_export() {
    let Some(records) = records() else {
        return skip("apt-cache with package lists (apt-get update)");
    };
    let place = Place::new();
    let input = place.path().join("packages.tsv");
    let mut file = std::io::BufWriter::new(fs::File::create(&input).unwrap());
    for (key, value) in &records {
        let line = [&escaped(key)[..], b"\t", &escaped(value), b"\n"].concat();
        file.write_all(&line).unwrap();
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
    let output = place.path().join("exported.tsv");
    run(&node, &["export", output.to_str().unwrap()]).ended(0);
    let exported = fs::read(output).unwrap();
    let mut lines: Vec<&[u8]> = exported.split(|&byte| byte == b'\n').collect();
    assert_eq!(lines.pop(), Some(&b""[..]), "the last line has its end");
    let exported: Records = lines
        .iter()
        .map(|line| {
            let tab = line.iter().position(|&byte| byte == b'\t').unwrap();
            (line[..tab].to_vec(), line[tab + 1..].to_vec())
        })
        .collect();
    assert_eq!(
        (lines.len(), exported.len()),
        (records.len(), records.len())
    );
    for (key, value) in &records {
        let found = exported.get(&escaped(key));
        let name = key.escape_ascii();
        assert!(found == Some(&escaped(value)), "{name} has changed");
    }
    node.stop();
}
