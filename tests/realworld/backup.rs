//! Backups of real nodes: taken while clients write, looked at, and restored elsewhere. They are for the day on which everything else is gone, so what
//! counts is what comes out at the other end.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use corduroy_client::Status;
use corduroy_client::blocking::Client;
use serde_json::Value;

use crate::support::cli::cli;
use crate::support::node::{Node, Place, serve};
use crate::support::tool::{Ended, tool};
use crate::support::{PATIENCE, wait_until};

fn backups(place: &Place) -> PathBuf {
    place.path().join("backups")
}

/// The series that has no name of its own.
fn series(place: &Place) -> PathBuf {
    backups(place).join("default")
}

fn start(place: &Place, flags: &[&str]) -> Node {
    let backups = backups(place);
    let mut all = vec!["--backup-directory", backups.to_str().unwrap()];
    all.extend(flags);
    place.start(&all)
}

/// Takes a backup, and gives back what is told of it.
fn back_up(node: &Node) -> Value {
    let told = node.client().backup("", PATIENCE).unwrap();
    serde_json::from_str(&told).unwrap()
}

fn verify(directory: &Path, flags: &[&str]) -> Ended {
    let mut all = vec![directory.to_str().unwrap()];
    all.extend(flags);
    tool("backup", Path::new("verify"), &all)
}

fn restore(directory: &Path, to: &Path, flags: &[&str]) -> Ended {
    let mut all = vec!["--to", to.to_str().unwrap()];
    all.extend(flags);
    tool("restore", directory, &all)
}

fn key(number: u64) -> String {
    format!("key {number:08}")
}

fn put(client: &Client, number: u64, len: usize) {
    let mut value = number.to_le_bytes().to_vec();
    value.resize(len, 7);
    client.default_keyspace().put(key(number), value).unwrap();
}

fn holds(client: &Client, number: u64) -> bool {
    let found = client.default_keyspace().get(key(number)).unwrap();
    if let Some(found) = &found {
        assert_eq!(found.value[..8], number.to_le_bytes(), "key {number}");
    }
    found.is_some()
}

/// Fills several segments of every shard: so many MiB in all.
fn fill(node: &Node, from: u64, mib: u64) -> u64 {
    let client = node.client();
    let values = mib * 16;
    for number in from..from + values {
        put(&client, number, 64 << 10);
    }
    from + values
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// The segments' files of a backup or of a data directory, with their inodes.
fn inodes(directory: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for shard in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        if !shard.file_name().to_string_lossy().starts_with("shard-") {
            continue;
        }
        for file in fs::read_dir(shard.path()).unwrap().map(Result::unwrap) {
            let name = file
                .path()
                .strip_prefix(directory)
                .unwrap()
                .display()
                .to_string();
            if name.ends_with(".seg") {
                found.push((name, file.metadata().unwrap().ino()));
            }
        }
    }
    found.sort();
    found
}

/// A backup that lacks a write that was acknowledged before it was asked for lies; one that has a write that was sent after it was whole is no state that
/// there ever was. Both are looked for while a client writes without a pause.
#[test]
fn what_was_acknowledged_before_is_in_it_and_what_came_after_is_not() {
    let place = Place::new();
    let node = start(&place, &[]);
    let next = fill(&node, 0, 40);
    let (sent, acknowledged) = (AtomicU64::new(next), AtomicU64::new(next));
    let stop = AtomicBool::new(false);
    let mut spans = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let client = node.client();
            for number in next.. {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                sent.store(number + 1, Ordering::SeqCst);
                put(&client, number, 2000);
                acknowledged.store(number + 1, Ordering::SeqCst);
            }
        });
        for _ in 0..3 {
            let before = acknowledged.load(Ordering::SeqCst);
            let told = back_up(&node);
            let after = sent.load(Ordering::SeqCst);
            let name = told["name"].as_str().unwrap().to_owned();
            spans.push((name, before, after));
            wait_until("the client writes on", || {
                acknowledged.load(Ordering::SeqCst) > after + 200
            });
        }
        stop.store(true, Ordering::SeqCst);
    });
    let last = acknowledged.load(Ordering::SeqCst);
    node.stop();
    verify(&series(&place), &["--all"])
        .with(0)
        .says(&["whole", "records"]);
    for (name, before, after) in spans {
        let data = place.path().join(format!("restored {name}"));
        restore(&series(&place).join(&name), &data, &[])
            .with(0)
            .says(&["--cores", &name]);
        let restored = place.start_on(&data, &[]);
        let client = restored.client();
        for number in 0..before {
            assert!(
                holds(&client, number),
                "{name} lacks key {number} of {before}"
            );
        }
        for number in after..last {
            assert!(
                !holds(&client, number),
                "{name} has key {number}, from {after} on"
            );
        }
        // It goes on from there as any node.
        put(&client, last, 100);
        restored.stop();
    }
}

/// What makes backups every hour possible: what one has, the next does not copy again. And it must not need it: the first is deleted some day.
#[test]
fn the_next_backup_shares_what_the_last_one_has() {
    let place = Place::new();
    let node = start(&place, &["--cores", "1"]);
    let next = fill(&node, 0, 40);
    let first = back_up(&node);
    // On one filesystem nothing but the active segment is copied even then.
    assert!(
        first["bytes_linked"].as_u64().unwrap() >= 32 << 20,
        "{first}"
    );
    assert!(
        first["bytes_copied"].as_u64().unwrap() <= 8 << 20,
        "{first}"
    );
    fill(&node, next, 10);
    let second = back_up(&node);
    assert_eq!(second["bytes_reused"], first["bytes_linked"]);
    assert_eq!(second["previous"], first["name"]);
    let path = |told: &Value| series(&place).join(told["name"].as_str().unwrap());
    let (in_first, in_second) = (inodes(&path(&first)), inodes(&path(&second)));
    let sealed = in_first.len() - 1;
    assert_eq!(in_first[..sealed], in_second[..sealed]);
    assert_ne!(
        in_first[sealed], in_second[sealed],
        "the active segment is a copy"
    );
    verify(&series(&place), &["--all"]).with(0);
    fs::remove_dir_all(path(&first)).unwrap();
    verify(&path(&second), &[]).with(0);
    // Nor does it need the node.
    node.stop();
    fs::remove_dir_all(place.data()).unwrap();
    let data = place.path().join("restored");
    restore(&series(&place), &data, &[]).with(0);
    let restored = place.start_on(&data, &["--cores", "1"]);
    let client = restored.client();
    assert!((0..next + 160).all(|number| holds(&client, number)));
    restored.stop();
}

/// Compaction cuts a removed segment's file down to a stub. If it is the file that a backup is linked to, that must not lose it.
#[test]
fn compaction_takes_nothing_from_a_backup() {
    let place = Place::new();
    let node = start(&place, &["--cores", "1"]);
    fill(&node, 0, 40);
    let told = back_up(&node);
    let removed = |node: &Node| {
        let status = node.status();
        status["shards"][0]["segments_removed"].as_u64().unwrap()
    };
    // Everything is overwritten.
    fill(&node, 0, 40);
    let compacted = cli(&node, &["--timeout", "60s", "compact"])
        .output()
        .unwrap();
    assert!(compacted.status.success(), "{compacted:?}");
    assert!(removed(&node) >= 3, "{} removed", removed(&node));
    let stubs_and_all = back_up(&node);
    let name = |told: &Value| told["name"].as_str().unwrap().to_owned();
    verify(&series(&place), &["--all"]).with(0);
    node.stop();
    for told in [&told, &stubs_and_all] {
        let data = place.path().join(format!("restored {}", name(told)));
        restore(&series(&place).join(name(told)), &data, &[]).with(0);
        let restored = place.start_on(&data, &["--cores", "1"]);
        let client = restored.client();
        assert!((0..640).all(|number| holds(&client, number)));
        restored.stop();
    }
}

/// A kill in the middle of a backup leaves the earlier ones whole, and nothing that is taken for one.
#[test]
fn a_kill_in_the_middle_leaves_the_earlier_backups_whole() {
    let place = Place::new();
    let mut next = 0;
    let mut killed = 0;
    let mut whole = Vec::new();
    while killed < 3 {
        let node = start(&place, &["--sync", "never"]);
        if whole.is_empty() {
            next = fill(&node, next, 20);
            whole.push(back_up(&node)["name"].as_str().unwrap().to_owned());
        }
        next = fill(&node, next, 40);
        let directories = || {
            let entries = fs::read_dir(series(&place)).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<_> = names.filter(|name| name.starts_with("backup-")).collect();
            names.sort();
            names
        };
        // A new name, not one more: what the last kill left is deleted before the next backup begins.
        let before = directories();
        let client = node.client();
        let asking = thread::spawn(move || client.backup("", PATIENCE));
        wait_until("another backup is begun", || {
            directories().iter().any(|name| !before.contains(name))
        });
        thread::sleep(Duration::from_millis(10 * killed));
        node.kill();
        // Without an answer, unless it was quicker than the kill.
        let outcome = asking.join().unwrap();
        let begun = directories().pop().unwrap();
        let is_whole = series(&place).join(&begun).join("BACKUP").exists();
        if is_whole {
            whole.push(begun);
        } else {
            assert!(outcome.is_err());
            killed += 1;
        }
        let said = verify(&series(&place), &["--all", "--json"]).with(0);
        let names: Vec<_> = said
            .lines()
            .iter()
            .map(|line| line["name"].clone())
            .collect();
        assert_eq!(names, whole);
        // What is left of the others goes with the next.
        if !is_whole && killed == 2 {
            let node = start(&place, &[]);
            whole.push(back_up(&node)["name"].as_str().unwrap().to_owned());
            assert_eq!(directories(), whole);
            node.stop();
        }
    }
}

/// A node that can't be stopped while it takes a backup would be killed instead.
#[test]
fn a_stop_gives_a_backup_up() {
    let place = Place::new();
    let node = start(&place, &["--sync", "never"]);
    fill(&node, 0, 60);
    let client = node.client();
    let asking = thread::spawn(move || client.backup("", PATIENCE));
    wait_until("a backup is begun", || series(&place).join("LOCK").exists());
    node.stop();
    match asking.join().unwrap() {
        Ok(_) => {
            verify(&series(&place), &[]).with(0);
        }
        Err(_) => {
            verify(&series(&place), &[])
                .with(1)
                .complains(&["there is no whole backup"]);
        }
    }
}

/// Each refusal is a sentence that says what to do, and nothing is changed.
#[test]
fn what_makes_no_sense_is_refused() {
    let place = Place::new();
    let node = place.start(&[]);
    let error = node.client().backup("", PATIENCE).unwrap_err();
    assert!(error.to_string().contains("--backup-directory"), "{error}");
    assert_eq!(error.status(), Some(Status::Unsupported));
    let said = cli(&node, &["backup"]).output().unwrap();
    assert!(!said.status.success());
    node.stop();

    let node = start(&place, &[]);
    for bad in ["../elsewhere", "/tmp/x", ".hidden", "a b"] {
        assert!(node.client().backup(bad, PATIENCE).is_err(), "{bad}");
    }
    assert!(!backups(&place).exists());
    let said = cli(&node, &["-o", "raw", "backup", "nightly"])
        .output()
        .unwrap();
    assert!(said.status.success(), "{said:?}");
    let name = String::from_utf8(said.stdout).unwrap();
    let nightly = backups(&place).join("nightly");
    assert!(nightly.join(name.trim()).join("BACKUP").exists());
    // A node's data is never written over, nor anything else.
    restore(&nightly, &place.data(), &[])
        .with(1)
        .complains(&["is not empty"]);
    restore(&backups(&place), &place.path().join("new"), &[])
        .with(1)
        .complains(&["there is no whole backup"]);
    node.stop();

    // Another node's backups are not mixed with these.
    let other = Place::new();
    let backups = backups(&place);
    let node = other.start(&["--backup-directory", backups.to_str().unwrap()]);
    let error = node.client().backup("nightly", PATIENCE).unwrap_err();
    assert!(error.to_string().contains("another node"), "{error}");
    node.stop();
    verify(&nightly, &["--all"]).with(0);
}

/// A backup whose damage is found on the day of the restore is no backup: verify finds each, and a restore refuses it.
#[test]
fn one_flipped_byte_is_found() {
    let place = Place::new();
    let node = start(&place, &["--cores", "1"]);
    fill(&node, 0, 20);
    let told = back_up(&node);
    node.stop();
    let backup = series(&place).join(told["name"].as_str().unwrap());
    let files = [
        "shard-000/0000000000000001.seg",
        "shard-000/0000000000000003.seg",
        "BACKUP",
        "MANIFEST",
    ];
    for (number, file) in files.into_iter().enumerate() {
        let path = backup.join(file);
        let flip = || {
            let file = File::options().read(true).write(true).open(&path).unwrap();
            let at = if number < 2 { 100_000 } else { 60 };
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            byte[0] ^= 1;
            file.write_all_at(&byte, at).unwrap();
        };
        flip();
        verify(&series(&place), &[]).with(4);
        let data = place.path().join(format!("restored {number}"));
        restore(&series(&place), &data, &[]).with(4);
        assert!(!data.join("MANIFEST").exists(), "it could be started");
        flip();
        verify(&series(&place), &[]).with(0);
    }
    let missing = backup.join(files[0]);
    fs::rename(&missing, backup.join("elsewhere")).unwrap();
    verify(&series(&place), &[]).with(4);
}

/// Somebody has overwritten what should have been kept, and it is noticed hours later: the log still has it.
#[test]
fn a_moment_before_a_mistake_can_be_restored() {
    let place = Place::new();
    // So soon after the mistake compaction would take its log: see the next test.
    let node = start(&place, &["--compaction", "no"]);
    let client = node.client();
    let keyspace = client.default_keyspace();
    let next = fill(&node, 0, 10);
    keyspace.put("mistaken", "right").unwrap();
    thread::sleep(Duration::from_millis(20));
    let moment = now_ms();
    thread::sleep(Duration::from_millis(20));
    keyspace.put("mistaken", "wrong").unwrap();
    keyspace.flush().unwrap();
    fill(&node, next, 20);
    back_up(&node);
    // A later one has it as well; the first will do.
    back_up(&node);
    drop(client);
    node.stop();
    let moment = moment.to_string();
    let data = place.path().join("restored");
    restore(&series(&place), &data, &["--until", &moment])
        .with(0)
        .says(&["as of"]);
    let restored = place.start_on(&data, &[]);
    let client = restored.client();
    let found = client.default_keyspace().get("mistaken").unwrap().unwrap();
    assert_eq!(found.value, "right");
    assert!((0..next).all(|number| holds(&client, number)));
    assert!(!holds(&client, next));
    assert_eq!(client.default_keyspace().count().unwrap(), next + 1);
    put(&client, next, 10);
    drop(client);
    restored.stop();
    // Before the first write there was nothing; after the backup nobody knows.
    let empty = place.path().join("empty");
    restore(
        &series(&place),
        &empty,
        &["--until", "1970-01-02T00:00:00Z"],
    )
    .with(0);
    let restored = place.start_on(&empty, &[]);
    assert_eq!(restored.client().default_keyspace().count().unwrap(), 0);
    restored.stop();
    let later = (now_ms() + 3_600_000).to_string();
    restore(
        &series(&place),
        &place.path().join("later"),
        &["--until", &later],
    )
    .with(1)
    .complains(&["no backup reaches"]);
}

/// Compaction moves what lives to the log's end and drops where it was. A moment before that is not in the log any more, and restoring to it would leave keys out.
#[test]
fn a_moment_that_compaction_has_taken_is_refused() {
    let place = Place::new();
    let node = start(&place, &["--cores", "1"]);
    let client = node.client();
    client.default_keyspace().put("lives on", "value").unwrap();
    fill(&node, 0, 30);
    thread::sleep(Duration::from_millis(20));
    let early = now_ms().to_string();
    let first = back_up(&node);
    fill(&node, 0, 30);
    client.compact().unwrap();
    thread::sleep(Duration::from_millis(20));
    let late = now_ms().to_string();
    thread::sleep(Duration::from_millis(20));
    client
        .default_keyspace()
        .put("lives on", "overwritten")
        .unwrap();
    let second = back_up(&node);
    drop(client);
    node.stop();
    let path = |told: &Value| series(&place).join(told["name"].as_str().unwrap());
    let data = |name: &str| place.path().join(name);
    restore(&path(&second), &data("refused"), &["--until", &early])
        .with(1)
        .complains(&["no backup reaches", "compaction"]);
    assert!(!data("refused").exists());
    // The first backup was taken before.
    let between = early.parse::<u64>().unwrap() - 10;
    restore(
        &series(&place),
        &data("early"),
        &["--until", &between.to_string()],
    )
    .with(0)
    .says(&[first["name"].as_str().unwrap()]);
    restore(&series(&place), &data("late"), &["--until", &late])
        .with(0)
        .says(&[second["name"].as_str().unwrap()]);
    for name in ["early", "late"] {
        let restored = place.start_on(&data(name), &["--cores", "1"]);
        let client = restored.client();
        let found = client.default_keyspace().get("lives on").unwrap().unwrap();
        assert_eq!(found.value, "value", "{name}");
        drop(client);
        restored.stop();
    }
    let listed = tool(
        "backup",
        Path::new("list"),
        &[series(&place).to_str().unwrap()],
    )
    .with(0);
    assert_eq!(listed.output.lines().count(), 2);
    assert!(listed.output.contains("from the beginning to"));
}

/// A schedule that nobody looks after must neither stop nor fill the disk, and a restart must not make it begin anew each time.
#[test]
fn backups_are_taken_by_themselves_and_the_oldest_go() {
    let place = Place::new();
    let flags = ["--cores", "1", "--backup-every", "1s", "--backup-keep", "2"];
    let node = start(&place, &flags);
    fill(&node, 0, 2);
    let names = || -> Vec<String> {
        let listed = tool(
            "backup",
            Path::new("list"),
            &[series(&place).to_str().unwrap(), "--json"],
        );
        let lines = listed.lines();
        let names = lines
            .iter()
            .map(|line| line["name"].as_str().unwrap().to_owned());
        names.collect()
    };
    wait_until("there is a backup", || !names().is_empty());
    let first = names().remove(0);
    wait_until("the oldest is gone", || !names().contains(&first));
    assert!(names().len() <= 3);
    node.stop();
    assert!(names().len() <= 2);
    verify(&series(&place), &["--all"]).with(0);
    let last = names().pop();
    let flags = ["--cores", "1", "--backup-every", "1h", "--backup-keep", "1"];
    let node = start(&place, &flags);
    fill(&node, 0, 2);
    node.stop();
    assert_eq!(names().pop(), last, "none is due for an hour");
    let refused = place.try_start(serve(&place.data(), &["--backup-every", "1h"]));
    assert!(refused.unwrap_err().messages.contains("backup_directory"));
}
