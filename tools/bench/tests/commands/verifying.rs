//! `run --record` and `verify`: servers that keep their promise are not accused, and those that don't are caught.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use crate::{
    process::{Process, corduroy, memcached, redis},
    support::{is_progress, word},
};

/// The journal of a test.
fn journal(server: &Process) -> String {
    word(&server.data.path().join("journal"))
}

// The promise itself: with every write synced before it is acknowledged, `kill -9` in the middle of everything loses nothing. Each round comes
// upon what the ones before have left: loaded values, values with the same seed, counters that have counted.
#[test]
fn corduroy_keeps_its_promise() {
    let mut server = corduroy();
    let journal = journal(&server);
    server.bench("load --keys 2000").with(0);
    let rounds = [
        "--mix put=60,delete=10,add=20,get=10 -P 8 -c 10",
        "--mix put=60,delete=10,add=20,get=10 -P 8 -c 10",
        "--mix put=30,delete=10,add=10,cas=20,rmw=20,insert=10 -c 10 --threads 2 -d zipfian",
        "--mix put=80,delete=20 -c 6 -P 4 --route direct --ttl 1ms:20% --value-size 12-3000",
        "--mix add -c 4",
    ];
    for round in rounds {
        let words = format!(
            "run --keys 2000 {round} --record {journal} --duration 1h --warm-up 200ms --timeout 2s"
        );
        let mut running = server.begin(&words);
        running.until(is_progress);
        server.start_again();
        running.until(|line| line.contains("errors"));
        running.until(is_progress);
        running.interrupt();
        running.end().with(130).says("are noted in");
        let said = server.bench(&format!("verify {journal}")).with(0);
        said.says("every acknowledged write is there");
    }
    // The same connections, seed and keys, and nothing goes wrong: what is there was written by this run or is older.
    for _ in 0..2 {
        let words = format!(
            "run --keys 2000 {} --record {journal} -n 5000 --warm-up 0",
            rounds[0]
        );
        server.run(&words);
        server
            .bench(&format!("verify {journal} --pipeline 3"))
            .with(0);
    }
    for (wrong, told) in [
        ("--keyspace other", "--keyspace default"),
        ("--protocol resp", "--protocol native"),
    ] {
        server
            .bench(&format!("verify {journal} {wrong}"))
            .with(2)
            .says(told);
    }
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    server.bench(&format!("verify {journal}")).with(3);
}

// What is changed behind the generator's back is found, and named.
#[test]
fn a_change_behind_its_back_is_found() {
    let Some(server) = redis(&[]) else { return };
    let journal = journal(&server);
    let run = format!(
        "run --protocol resp --keys 100 -d sequential --mix put -c 2 --record {journal} -n 300 --warm-up 0"
    );
    let verify = format!("verify --protocol resp {journal}");
    let mut client = server.connect();
    server.run(&run);
    let old = get(&mut client, 5);
    server.run(&run);
    server.bench(&verify).with(0).says("100 keys checked");
    let new = get(&mut client, 5);
    let other = get(&mut client, 6);
    assert!(old != new && new != other);
    let mut flipped = new.clone();
    flipped[40] ^= 1;
    for (value, told) in [
        (None, "key 5: write "),
        (
            Some(&old),
            "a value that this run did not write is there instead",
        ),
        (Some(&other), "key 5: holds bytes that nobody wrote to it"),
        (Some(&flipped), "key 5: holds bytes that nobody wrote to it"),
        (Some(&b"hello".to_vec()), "key 5: holds bytes"),
        (Some(&new[..63].to_vec()), "key 5: holds bytes"),
    ] {
        match value {
            None => talk(&mut client, &[b"DEL", &name(5)]),
            Some(value) => talk(&mut client, &[b"SET", &name(5), value]),
        };
        let said = server.bench(&verify).with(1);
        said.says(told);
        said.says("100 keys checked: 1 FAULTS");
        said.says("key 5");
    }
    talk(&mut client, &[b"SET", &name(5), &new]);
    server.bench(&verify).with(0);

    let run = run
        .replace("--mix put", "--mix delete=50,add=50")
        .replace("-n 300", "-n 3000");
    server.run(&run);
    server.run(&run);
    server.bench(&verify).with(0);
    talk(&mut client, &[b"SET", &name(5), &new]);
    server
        .bench(&verify)
        .with(1)
        .says("key 5: the delete by write");
    talk(&mut client, &[b"DEL", &name(5)]);
    talk(&mut client, &[b"INCR", b"key:c00000000006"]);
    server.bench(&verify).with(1).says("counter 6: it can be");
    talk(&mut client, &[b"DECRBY", b"key:c00000000006", b"2"]);
    server.bench(&verify).with(1).says("counter 6: it must be");
}

// A server that keeps everything in memory loses everything, which must not pass for a promise kept.
#[test]
fn a_server_without_persistence_is_caught() {
    let Some(mut server) = redis(&[]) else { return };
    let journal = journal(&server);
    let words = format!(
        "run --protocol resp --keys 200 --mix put=90,add=10 -n 5000 --warm-up 0 --record {journal}"
    );
    server.run(&words);
    server.start_again();
    let said = server.bench(&format!("verify --protocol resp {journal} --list 3"));
    let said = said.with(1);
    said.says("was acknowledged and is lost: there is no such key");
    said.says(" more\n");
}

#[test]
fn counters_and_pipelines_of_memcached() {
    let Some(server) = memcached(&[]) else { return };
    let journal = journal(&server);
    for _ in 0..2 {
        let words = format!(
            "run --protocol memcached-text --keys 300 --mix put=40,delete=10,add=50 -P 16 -c 3 -n 9000 --warm-up 0 --record {journal}"
        );
        server.run(&words);
        server
            .bench(&format!("verify --protocol memcached-text {journal}"))
            .with(0);
    }
}

// Half a journal would be held against half the keys.
#[test]
fn a_journal_that_is_cut_off_is_refused() {
    let Some(server) = redis(&[]) else { return };
    let journal = journal(&server);
    let words = format!(
        "run --protocol resp --keys 50 --mix put -c 2 -n 200 --warm-up 0 --record {journal}"
    );
    server.run(&words);
    let text = std::fs::read(&journal).unwrap();
    std::fs::write(&journal, &text[..text.len() / 2]).unwrap();
    server
        .bench(&format!("verify --protocol resp {journal}"))
        .with(7)
        .says("the file ends before its trailer");
}

fn name(number: u64) -> Vec<u8> {
    format!("key:{number:012}").into_bytes()
}

fn get(client: &mut TcpStream, number: u64) -> Vec<u8> {
    let reply = talk(client, &[b"GET", &name(number)]);
    assert!(reply.starts_with(b"$64\r\n"), "{}", reply.escape_ascii());
    reply[5..69].to_vec()
}

/// One command, and its reply, which must come at once.
fn talk(client: &mut TcpStream, words: &[&[u8]]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
    client.write_all(&request).unwrap();
    let mut reply = vec![0; 4096];
    let len = client.read(&mut reply).unwrap();
    reply.truncate(len);
    assert!(!reply.starts_with(b"-"), "{}", reply.escape_ascii());
    reply
}
