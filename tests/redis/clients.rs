//! The clients that people use, as they come, against one node each: every group of commands over a real socket.
//!
//! Those in Python and JavaScript are installed by `tests/redis/clients/prepare`, below `target/`; the scripts that drive them stand beside it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use redis::{Commands, ErrorKind, RedisError, ServerErrorKind};

use crate::support::needs::{program, skip};
use crate::support::node::{Node, Place};

/// Where `prepare` has put the libraries.
fn libraries() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("redis-clients")
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/redis/clients")
}

fn host_and_port(node: &Node) -> [String; 2] {
    [
        node.address().ip().to_string(),
        node.address().port().to_string(),
    ]
}

#[track_caller]
fn succeeds(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// redis-py looks closer than a byte stream: its asyncio client pipelines, its cluster client reads CLUSTER SLOTS and COMMAND.
#[test]
fn redis_py_in_all_its_forms() {
    let python = libraries().join("python/bin/python");
    if !python.is_file() {
        return skip("redis-py (tests/redis/clients/prepare installs it)");
    }
    let place = Place::new();
    let node = place.start(&[]);
    let script = scripts().join("python.py");
    succeeds(Command::new(python).arg(script).args(host_and_port(&node)));
    node.stop();
}

#[test]
fn ioredis() {
    let modules = libraries().join("node_modules");
    let (Some(javascript), true) = (program("node"), modules.join("ioredis").is_dir()) else {
        return skip("ioredis (tests/redis/clients/prepare installs it)");
    };
    let place = Place::new();
    let node = place.start(&[]);
    let script = scripts().join("javascript.js");
    succeeds(
        Command::new(javascript)
            .arg(script)
            .args(host_and_port(&node))
            .env("NODE_PATH", modules),
    );
    node.stop();
}

/// The tool in everybody's hand.
#[test]
fn redis_cli() {
    let Some(tool) = program("redis-cli") else {
        return skip("redis-cli");
    };
    let place = Place::new();
    let node = place.start(&[]);
    let [host, port] = host_and_port(&node);
    let cli = |arguments: &[&str]| {
        let mut command = Command::new(&tool);
        command.args(["-h", &host, "-p", &port, "--no-raw"]);
        let output = succeeds(command.args(arguments));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    for (line, expected) in [
        ("SET greeting hello EX 1000", "OK"),
        ("GET greeting", "\"hello\""),
        ("GET nokey", "(nil)"),
        ("MSET a 1 b 2", "OK"),
        ("MGET a b nokey", "1) \"1\"\n2) \"2\"\n3) (nil)"),
        ("INCRBY a 41", "(integer) 42"),
        (
            "INCR greeting",
            "(error) ERR value is not an integer or out of range",
        ),
        ("EXPIRE a 1000 XX", "(integer) 0"),
        ("RENAME a c", "OK"),
        ("DEL c b nokey", "(integer) 2"),
        ("TYPE greeting", "string"),
        ("KEYS *", "1) \"greeting\""),
        (
            "SCAN 0 COUNT 1000 MATCH nothing:*",
            "1) \"0\"\n2) (empty array)",
        ),
        ("DBSIZE", "(integer) 1"),
        ("EXEC", "(error) ERR EXEC without MULTI"),
        (
            "HSET h f v",
            "(error) ERR command 'hset' is not supported: Corduroy holds strings only",
        ),
        ("CLUSTER KEYSLOT foo", "(integer) 12182"),
        ("CONFIG GET maxmemory", "1) \"maxmemory\"\n2) \"0\""),
        // On a machine that is busy some command may have been slow.
        ("CONFIG SET slowlog-log-slower-than -1", "OK"),
        ("SLOWLOG RESET", "OK"),
        ("SLOWLOG LEN", "(integer) 0"),
        ("SELECT 99", "(error) ERR DB index is out of range"),
        ("FLUSHALL", "OK"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let scan_may_go_on = line.starts_with("SCAN");
        let found = cli(&words);
        if scan_may_go_on {
            assert!(found.starts_with("1) \""), "{line}: {found}");
        } else {
            assert_eq!(found, expected, "{line}");
        }
    }
    // RESP3, and maps in it.
    let maps = cli(&["-3", "CONFIG", "GET", "maxmemory"]);
    assert_eq!(maps, "1# \"maxmemory\" => \"0\"");
    assert!(cli(&["INFO", "server"]).contains("redis_version"));
    assert!(cli(&["CLIENT", "LIST"]).contains("resp=2"));
    assert!(cli(&["COMMAND", "DOCS", "get"]).contains("summary"));
    // Its own loops over SCAN and MEMORY.
    cli(&["SET", "big", &"x".repeat(1000)]);
    assert!(cli(&["--scan", "--pattern", "b*"]).contains("big"));
    assert!(cli(&["--bigkeys"]).contains("Biggest string found"));
    assert!(cli(&["-n", "3", "SET", "in-three", "1"]).contains("OK"));
    assert_eq!(cli(&["EXISTS", "in-three"]), "(integer) 0");
    assert_eq!(
        cli(&["-r", "5", "INCR", "n"]).lines().last(),
        Some("(integer) 5")
    );

    // Mass insertion, inline and as arrays.
    let mass = place.path().join("mass");
    let mut bytes = Vec::new();
    for number in 0..2_000 {
        bytes.extend_from_slice(format!("SET inline:{number} {number}\r\n").as_bytes());
        let key = format!("array:{number}");
        crate::connection::encode(&[b"SET", key.as_bytes(), b"v"], &mut bytes);
    }
    std::fs::write(&mass, bytes).unwrap();
    let mut command = Command::new(&tool);
    command.args(["-h", &host, "-p", &port, "--pipe"]);
    let piped = command
        .stdin(std::fs::File::open(&mass).unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&piped.stdout).into_owned();
    assert!(said.contains("errors: 0, replies: 4000"), "{said}");
    // `big` and `n` beside them.
    assert_eq!(cli(&["DBSIZE"]), "(integer) 4002");
    node.stop();
}

#[test]
fn redis_benchmark() {
    let Some(tool) = program("redis-benchmark") else {
        return skip("redis-benchmark");
    };
    let place = Place::new();
    let node = place.start(&["--sync", "never"]);
    let [host, port] = host_and_port(&node);
    for pipeline in ["1", "16"] {
        let mut command = Command::new(&tool);
        command.args(["-h", &host, "-p", &port, "-P", pipeline, "-n", "20000"]);
        let output =
            succeeds(command.args(["-t", "ping,set,get,incr,mset", "-r", "1000", "--csv"]));
        let said = String::from_utf8(output.stdout).unwrap();
        for name in ["PING_INLINE", "SET", "GET", "INCR", "MSET (10 keys)"] {
            assert!(said.contains(&format!("\"{name}\"")), "{said}");
        }
        let warned = String::from_utf8(output.stderr).unwrap();
        assert!(!warned.contains("rror"), "{warned}");
    }
    node.stop();
}

/// The `redis` crate, sync and with its cluster client.
#[test]
fn redis_crate() {
    let place = Place::new();
    let node = place.start(&[]);
    for protocol in ["resp2", "resp3"] {
        let url = format!("redis://{}/?protocol={protocol}", node.address());
        let client = redis::Client::open(url).unwrap();
        let mut connection = client.get_connection().unwrap();
        let mut other = client.get_connection().unwrap();
        drive(&mut connection, &mut other).unwrap();
    }
    let url = format!("redis://{}/", node.address());
    let cluster = redis::cluster::ClusterClient::new(vec![url]).unwrap();
    let mut connection = cluster.get_connection().unwrap();
    for number in 0..200 {
        let key = format!("cluster:{number}");
        let () = connection.set(&key, number).unwrap();
        assert_eq!(connection.get::<_, i64>(&key).unwrap(), number);
    }
    node.stop();
}

fn drive(
    connection: &mut redis::Connection,
    other: &mut redis::Connection,
) -> Result<(), RedisError> {
    let () = redis::cmd("FLUSHALL").query(connection)?;
    let () = connection.set("a", 1)?;
    assert_eq!(connection.get::<_, i64>("a")?, 1);
    assert_eq!(connection.get::<_, Option<String>>("nokey")?, None);
    assert_eq!(connection.incr::<_, _, i64>("a", 41)?, 42);
    let () = connection.mset(&[("b", "x"), ("c", "y")])?;
    let values: Vec<Option<String>> = connection.mget(&["b", "nokey", "c"])?;
    assert_eq!(values, [Some("x".to_owned()), None, Some("y".to_owned())]);
    assert_eq!(connection.append::<_, _, usize>("b", "yz")?, 3);
    assert!(connection.expire::<_, bool>("b", 1000)?);
    assert!(connection.ttl::<_, i64>("b")? > 900);
    assert!(connection.persist::<_, bool>("b")?);
    assert_eq!(connection.del::<_, usize>(&["b", "nokey"])?, 1);
    let () = connection.rename("c", "d")?;
    let mut found: Vec<String> = connection.scan::<String>()?.collect::<Result<_, _>>()?;
    found.sort();
    assert_eq!(found, ["a", "d"]);
    let long: Vec<u8> = (0..1_000_000_u32).map(|number| number as u8).collect();
    let () = connection.set("long", &long)?;
    assert_eq!(connection.get::<_, Vec<u8>>("long")?, long);

    let mut pipe = redis::pipe();
    pipe.atomic().set("a", 1).ignore().incr("a", 1).get("a");
    assert_eq!(pipe.query::<(i64, i64)>(connection)?, (2, 2));
    let mut plain = redis::pipe();
    for number in 0..1000 {
        plain.set(format!("p:{number}"), number).ignore();
    }
    let () = plain.query(connection)?;

    // WATCH, and a change from elsewhere before the first EXEC.
    let mut tries = 0;
    let total: (i64,) = redis::transaction(connection, &["a"], |connection, pipe| {
        let value: i64 = connection.get("a")?;
        tries += 1;
        if tries == 1 {
            let () = other.set("a", 100)?;
        }
        pipe.set("a", value + 1).ignore().get("a").query(connection)
    })?;
    assert_eq!((total.0, tries), (101, 2));

    let refused = redis::cmd("INCR")
        .arg("long")
        .query::<i64>(connection)
        .unwrap_err();
    assert_eq!(
        refused.kind(),
        ErrorKind::Server(ServerErrorKind::ResponseError)
    );
    let info: redis::InfoDict = redis::cmd("INFO").query(connection)?;
    assert!(info.get::<String>("redis_version").is_some());
    let () = redis::cmd("CLIENT")
        .arg("SETNAME")
        .arg("crate")
        .query(connection)?;
    assert_eq!(
        redis::cmd("CLIENT")
            .arg("GETNAME")
            .query::<String>(connection)?,
        "crate"
    );
    let () = redis::cmd("SELECT").arg(1).query(connection)?;
    assert!(!connection.exists::<_, bool>("a")?);
    let settings: std::collections::HashMap<String, String> = redis::cmd("CONFIG")
        .arg("GET")
        .arg("maxmemory")
        .query(connection)?;
    assert_eq!(settings["maxmemory"], "0");
    Ok(())
}
