//! Compare-and-set in RESP: `SET key value IFEQ old`, as Redis 8.4 and Valkey 8.1 document it: `OK` if the key holds the old value, nil if it holds another one or
//! there is no such key. Debian's servers are older, so a small one in this process stands in for them, beside Corduroy
//! and Valkey themselves.

use std::{
    collections::HashMap,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use corduroy_bench::{
    results::{self, Run},
    workload::Operation,
};

use crate::{
    process::{corduroy, valkey},
    running::everything,
    support::{command, operations, say, word},
};

/// A key-value store in threads of this process. It stops to listen when it is dropped.
struct Server {
    address: SocketAddr,
    held: Arc<Held>,
    stopped: Arc<AtomicBool>,
}

/// What it holds, and how often it was asked to compare.
#[derive(Default)]
struct Held {
    values: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    swapped: AtomicU64,
    refused: AtomicU64,
    /// `NX`: the key was absent, and is no more.
    made: AtomicU64,
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server {
            address: listener.local_addr().unwrap(),
            held: Arc::default(),
            stopped: Arc::default(),
        };
        let (held, stopped) = (Arc::clone(&server.held), Arc::clone(&server.stopped));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let held = Arc::clone(&held);
                // Ends when the other side does.
                thread::spawn(move || serve(stream, &held));
            }
        });
        server
    }

    /// Runs the program against it.
    fn run(&self, words: &str) -> Run {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("result.json");
        let mut command = command(&format!(
            "run --protocol resp --warm-up 0 {words} --json {}",
            word(&path)
        ));
        command.env("CORDUROY_SERVER", self.address.to_string());
        say(command).with(0);
        results::read(&path).unwrap().runs.remove(0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, held: &Held) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    while let Some(words) = request(&mut reader)? {
        writer.write_all(&answer(&words, held))?;
    }
    Ok(())
}

/// An array of bulk strings; `None` at the end.
fn request(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<Vec<u8>>>> {
    let number = |reader: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        Ok::<usize, io::Error>(line.trim_end().get(1..).map_or(0, |n| n.parse().unwrap()))
    };
    let count = number(reader)?;
    let mut words = Vec::new();
    for _ in 0..count {
        let mut word = vec![0; number(reader)? + 2];
        reader.read_exact(&mut word)?;
        word.truncate(word.len() - 2);
        words.push(word);
    }
    Ok((count > 0).then_some(words))
}

fn answer(words: &[Vec<u8>], held: &Held) -> Vec<u8> {
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let mut values = held.values.lock().unwrap();
    let count = |of: &AtomicU64| {
        of.fetch_add(1, Ordering::Relaxed);
    };
    let is_done = match words[..] {
        [b"PING"] => return b"+PONG\r\n".to_vec(),
        [b"CONFIG", ..] => return b"*0\r\n".to_vec(),
        [b"INFO", ..] => return b"$19\r\nredis_version:8.4.0\r\n".to_vec(),
        [b"GET", key] => {
            return values.get(key).map_or(b"$-1\r\n".to_vec(), |value| {
                let head = format!("${}\r\n", value.len());
                [head.as_bytes(), value, b"\r\n"].concat()
            });
        }
        [b"SET", _, _] => true,
        [b"SET", key, _, b"NX"] if values.contains_key(key) => {
            count(&held.refused);
            false
        }
        [b"SET", _, _, b"NX"] => {
            count(&held.made);
            true
        }
        [b"SET", key, _, b"IFEQ", old] => {
            let is_held = values.get(key).is_some_and(|value| value == old);
            count(if is_held {
                &held.swapped
            } else {
                &held.refused
            });
            is_held
        }
        _ => return b"-ERR syntax error\r\n".to_vec(),
    };
    if is_done {
        values.insert(words[1].to_vec(), words[2].to_vec());
        b"+OK\r\n".to_vec()
    } else {
        b"$-1\r\n".to_vec()
    }
}

// A swap that sent another value than the one it had read would lose every race, and one whose nil were taken for success would lose none: server and
// generator must have counted the same.
#[test]
fn swaps_and_lost_races_are_those_that_the_server_counted() {
    for (pace, keys) in [
        ("-c 1 -n 300", "--keys 100 --load"),
        ("-c 8 -n 4000", "--keys 1 --load"),
        ("-c 8 -P 4 -n 4000", "--keys 3"),
        (
            "-c 8 -n 3000 --rate 3k",
            "--keys 1 --load --value-size 8-900",
        ),
    ] {
        let server = Server::start();
        let run = server.run(&format!("--mix cas=1 {pace} {keys}"));
        assert!(run.errors.is_empty(), "{pace}: {:?}", run.errors);
        assert_eq!(operations(&run), [Operation::CompareAndSet]);
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let held = &server.held;
        // The generator has asked once, before, whether the server knows the condition at all.
        assert_eq!(run.conflicts, count(&held.refused) - 1, "{pace}");
        let won = count(&held.swapped) + count(&held.made);
        assert_eq!(run.operations, won + run.conflicts, "{pace}");
        assert!(count(&held.swapped) > 0, "{pace}");
        assert_eq!(run.conflicts > 0, !pace.starts_with("-c 1 "), "{pace}");
        assert_eq!(count(&held.made) > 0, !keys.contains("--load"), "{keys}");
    }
}

// One port, two languages: what a Redis client asks, the same generator can compare with what a native one gets.
#[test]
fn everything_in_resp_of_corduroy() {
    let server = corduroy();
    everything(&server, "resp", &[]);
    let run = server.run("run --protocol resp --keys 1 -c 8 --mix cas=1 -n 4000 --warm-up 0");
    assert!(run.conflicts > 0 && run.conflicts < 4000, "{run:?}");
}

// The real one, where it is installed: no package of Debian 12 has it.
#[test]
fn everything_in_resp_of_valkey() {
    if let Some(server) = valkey() {
        everything(&server, "resp", &[]);
        let run = server.run("run --protocol resp --keys 1 -c 8 --mix cas=1 -n 4000 --warm-up 0");
        assert!(run.conflicts > 0 && run.conflicts < 4000, "{run:?}");
    }
}
