//! What the protocol demands of a request beyond its layout, in the words that a client gets to read; what may be sent
//! twice; which version is spoken.

use corduroy_proto_wire::{
    ATOMIC_LEN_MAX, BATCH_LEN_MAX, BatchItem, Body, Condition, Cursor, DecodeError, Delete,
    EXPIRES_AT_MS_MAX, Expiry, ExpiryCondition, HELLO_FRAME_LEN_MAX, Hello, INCREMENT_LEN_MAX,
    PING_LEN_MAX, Precondition, Put, Request, Response, Status, TTL_MS_MAX, Ttl,
    frame_len_max_least,
};

const HELLO: Hello<'static> = Hello {
    version_min: 1,
    version_max: 1,
    shard: None,
    keyspace: "default",
    client_name: "test",
};
const PUT: Put<'static> = Put {
    key: b"k",
    value: b"v",
    ttl: Ttl::None,
    condition: Condition::Always,
    return_value: false,
};
const GET: BatchItem<'static> = BatchItem::Get { key: b"k" };
const DELETE: Delete<'static> = Delete {
    key: b"k",
    condition: Condition::Always,
    return_value: false,
};

use crate::material;

fn put(put: Put<'_>) -> Request<'_> {
    Request::Put { keyspace: 1, put }
}

fn batch(items: Vec<BatchItem<'_>>) -> Request<'_> {
    Request::Batch { keyspace: 1, items }
}

fn atomic(items: Vec<BatchItem<'_>>) -> Request<'_> {
    Request::AtomicBatch { keyspace: 1, items }
}

fn scan(limit: u32) -> Request<'static> {
    Request::Scan {
        keyspace: 1,
        prefix: b"",
        cursor: Cursor::START,
        limit,
        with_values: false,
    }
}

/// That `validate` refuses the request with this text, and the decoder on the other side with the very same error.
#[track_caller]
fn assert_refused(request: &Request<'_>, text: &str, status: Status) {
    let error = request.validate().unwrap_err();
    assert_eq!(error.to_string(), text);
    assert_eq!(error.status(), status);
    assert_eq!(
        Request::decode(&material::request_frame(request, 1)),
        Err(error)
    );
}

#[track_caller]
fn assert_accepted(request: &Request<'_>) {
    assert_eq!(request.validate(), Ok(()));
    assert_eq!(
        Request::decode(&material::request_frame(request, 1)),
        Ok((1, request.clone()))
    );
}

/// "Invalid request" alone leaves its reader to guess. The limit is named, and is exact on both sides.
#[test]
fn each_limit_is_exact_and_named() {
    let limit = Status::LimitExceeded;
    let longest_key = vec![7; 65_535];
    assert_accepted(&put(Put {
        key: &longest_key,
        ..PUT
    }));
    let without_key = "key length 0 is outside 1..=65535";
    assert_refused(&put(Put { key: b"", ..PUT }), without_key, limit);
    assert_refused(
        &Request::Get {
            keyspace: 1,
            key: b"",
        },
        without_key,
        limit,
    );
    assert_refused(
        &Request::Delete {
            keyspace: 1,
            delete: Delete { key: b"", ..DELETE },
        },
        without_key,
        limit,
    );
    assert_refused(
        &batch(vec![GET, BatchItem::Get { key: b"" }]),
        without_key,
        limit,
    );

    assert_accepted(&batch(vec![GET; BATCH_LEN_MAX]));
    assert_refused(
        &batch(vec![GET; BATCH_LEN_MAX + 1]),
        "batch length 4097 is outside 1..=4096",
        limit,
    );
    assert_refused(&atomic(vec![]), "batch length 0 is outside 1..=1024", limit);

    assert_accepted(&scan(4096));
    assert_refused(&scan(4097), "scan limit 4097 is outside 1..=4096", limit);
    assert_refused(&scan(0), "scan limit 0 is outside 1..=4096", limit);

    let ttl_text =
        |ttl_ms: u64| format!("time to live in milliseconds {ttl_ms} is outside 1..=3153600000000");
    assert_accepted(&put(Put {
        ttl: Ttl::Millis(TTL_MS_MAX),
        ..PUT
    }));
    for ttl_ms in [0, TTL_MS_MAX + 1, u64::MAX] {
        assert_refused(
            &put(Put {
                ttl: Ttl::Millis(ttl_ms),
                ..PUT
            }),
            &ttl_text(ttl_ms),
            limit,
        );
        assert_refused(
            &Request::Touch {
                keyspace: 1,
                key: b"k",
                ttl_ms,
            },
            &ttl_text(ttl_ms),
            limit,
        );
    }

    let expire = |expiry| Request::Expire {
        keyspace: 1,
        key: b"k",
        expiry,
        condition: ExpiryCondition::Always,
        return_value: false,
    };
    assert_accepted(&expire(Expiry::Millis(0)));
    assert_accepted(&expire(Expiry::Millis(TTL_MS_MAX)));
    assert_refused(
        &expire(Expiry::Millis(TTL_MS_MAX + 1)),
        "time to live in milliseconds 3153600000001 is outside 0..=3153600000000",
        limit,
    );
    let too_late = "expiry in milliseconds 9223372036854775808 is outside 0..=9223372036854775807";
    assert_accepted(&expire(Expiry::At(EXPIRES_AT_MS_MAX)));
    assert_refused(&expire(Expiry::At(EXPIRES_AT_MS_MAX + 1)), too_late, limit);
    let at = |at_ms| {
        put(Put {
            ttl: Ttl::At(at_ms),
            ..PUT
        })
    };
    assert_accepted(&at(0));
    assert_accepted(&at(EXPIRES_AT_MS_MAX));
    assert_refused(&at(EXPIRES_AT_MS_MAX + 1), too_late, limit);

    let digits = vec![b'9'; INCREMENT_LEN_MAX + 1];
    let add_float = |increment| Request::AddFloat {
        keyspace: 1,
        key: b"k",
        increment,
    };
    assert_accepted(&add_float(&digits[1..]));
    assert_refused(
        &add_float(&digits),
        "increment length 5120 is outside 0..=5119",
        limit,
    );

    assert_accepted(&Request::Ping {
        payload: &vec![0; PING_LEN_MAX],
    });
    let payload = vec![0; PING_LEN_MAX + 1];
    assert_refused(
        &Request::Ping { payload: &payload },
        "ping payload length 65537 is outside 0..=65536",
        limit,
    );
}

/// A unit is carried out in one go: what it may hold is bounded, and what can't be done in one go is not let in.
#[test]
fn a_unit_is_bounded_and_holds_requests_about_keys_alone() {
    let limit = Status::LimitExceeded;
    let get = material::request_frame(
        &Request::Get {
            keyspace: 1,
            key: b"k",
        },
        7,
    );
    let unit = |frames: &[&'static [u8]]| Request::Unit {
        preconditions: vec![],
        frames: frames.to_vec(),
    };
    let get: &'static [u8] = get.leak();
    assert_accepted(&unit(&vec![get; ATOMIC_LEN_MAX]));
    assert_refused(
        &unit(&vec![get; ATOMIC_LEN_MAX + 1]),
        "number of requests in a unit 1025 is outside 0..=1024",
        limit,
    );
    let precondition = Precondition {
        keyspace: 1,
        key: b"k",
        version: None,
    };
    assert_refused(
        &Request::Unit {
            preconditions: vec![precondition; ATOMIC_LEN_MAX + 1],
            frames: vec![],
        },
        "number of preconditions 1025 is outside 0..=1024",
        limit,
    );
    let key = vec![1; 65_535];
    assert_refused(
        &Request::Unit {
            preconditions: vec![
                Precondition {
                    key: &key,
                    ..precondition
                };
                16
            ],
            frames: vec![],
        },
        "length of a unit's preconditions 1048672 is outside 0..=1048576",
        limit,
    );
    let value = vec![1; 1 << 20];
    let large: &'static [u8] = material::request_frame(
        &put(Put {
            value: &value,
            ..PUT
        }),
        1,
    )
    .leak();
    assert_refused(
        &unit(&[large]),
        "length of a unit's requests 1048593 is outside 0..=1048576",
        limit,
    );
    for refused in [
        Request::Flush { keyspace: 1 },
        batch(vec![GET]),
        unit(&[get]),
        Request::Status,
    ] {
        let text = format!(
            "opcode of a request in a unit {} is not known",
            refused.opcode() as u8
        );
        let frame: &'static [u8] = material::request_frame(&refused, 1).leak();
        assert_refused(&unit(&[get, frame]), &text, Status::InvalidRequest);
    }
}

/// A name with a line break in it forges lines in logs; one that is empty or endless can't be listed.
#[test]
fn names_are_short_and_fit_for_a_log() {
    let limit = Status::LimitExceeded;
    let longest = "ä".repeat(127) + "x";
    let too_long = longest.clone() + "x";
    assert_accepted(&Request::KeyspaceCreate {
        name: &longest,
        partitions: 16_384,
    });
    assert_accepted(&Request::KeyspaceCreate {
        name: "x",
        partitions: 0,
    });
    let text = "number of partitions 16385 is outside 0..=16384";
    assert_refused(
        &Request::KeyspaceCreate {
            name: "x",
            partitions: 16_385,
        },
        text,
        limit,
    );
    for (name, length) in [("", 0), (too_long.as_str(), 256)] {
        let text = format!("keyspace name length {length} is outside 1..=255");
        assert_refused(
            &Request::KeyspaceCreate {
                name,
                partitions: 0,
            },
            &text,
            limit,
        );
        assert_refused(&Request::KeyspaceDrop { name }, &text, limit);
        assert_refused(&Request::KeyspaceOpen { name }, &text, limit);
    }
    let invalid = Status::InvalidRequest;
    let text = "the keyspace name holds a control character at byte 3";
    assert_refused(&Request::KeyspaceOpen { name: "ab \n" }, text, invalid);
    let text = "the client name holds a control character at byte 0";
    assert_refused(
        &Request::Hello(Hello {
            client_name: "\u{1b}[2J",
            ..HELLO
        }),
        text,
        invalid,
    );
    assert_accepted(&Request::Hello(Hello {
        client_name: "",
        keyspace: "",
        ..HELLO
    }));
}

/// A get in an atomic batch would have to answer with a value from before or after the writes: the protocol has no word
/// for which.
#[test]
fn an_atomic_batch_holds_writes_alone() {
    let text = "operation 1 of the atomic batch is a get; only puts and deletes may be in one";
    assert_refused(
        &atomic(vec![BatchItem::Put(PUT), GET]),
        text,
        Status::InvalidRequest,
    );
    assert_accepted(&atomic(vec![
        BatchItem::Put(PUT),
        BatchItem::Delete(DELETE),
    ]));
}

/// Text that is not UTF-8 must not become text.
#[test]
fn bytes_that_are_no_text_are_refused_as_a_name() {
    let mut frame = material::request_frame(&Request::KeyspaceOpen { name: "abc" }, 1);
    frame[13] = 0xff;
    assert_eq!(
        Request::decode(&frame),
        Err(DecodeError::NotUtf8 {
            field: "keyspace name",
            offset: 1
        })
    );
}

/// A retry that is not harmless doubles a counter or blames the user's own write on another.
#[test]
fn only_what_leaves_no_second_trace_is_idempotent() {
    let key: &[u8] = b"k";
    let keyspace = 1;
    let blind = BatchItem::Put(PUT);
    let if_absent = Put {
        condition: Condition::IfAbsent,
        ..PUT
    };
    let with_ttl = Put {
        ttl: Ttl::Millis(5),
        ..PUT
    };
    let expire = |expiry, condition| Request::Expire {
        keyspace,
        key,
        expiry,
        condition,
        return_value: false,
    };
    let idempotent = [
        Request::Hello(HELLO),
        Request::Ping { payload: b"" },
        Request::Get { keyspace, key },
        Request::Exists { keyspace, key },
        Request::Ttl { keyspace, key },
        Request::Persist { keyspace, key },
        Request::ExpiresAt { keyspace, key },
        expire(Expiry::Never, ExpiryCondition::Always),
        scan(1),
        Request::Count { keyspace },
        Request::KeyspaceList,
        Request::KeyspaceOpen { name: "x" },
        Request::Status,
        Request::Compact,
        put(PUT),
        put(with_ttl),
        put(Put {
            ttl: Ttl::Keep,
            ..PUT
        }),
        batch(vec![GET, GET]),
        batch(vec![blind, blind]),
        batch(vec![blind, GET]),
        atomic(vec![blind, BatchItem::Put(with_ttl)]),
    ];
    for request in idempotent {
        assert!(request.is_idempotent(), "{request:?}");
    }
    let not_idempotent = [
        put(if_absent),
        put(Put {
            condition: Condition::IfPresent,
            ..PUT
        }),
        put(Put {
            condition: Condition::IfVersion(1),
            ..PUT
        }),
        put(Put {
            condition: Condition::IfValue(b"v"),
            ..PUT
        }),
        put(Put {
            return_value: true,
            ..PUT
        }),
        Request::Delete {
            keyspace,
            delete: DELETE,
        },
        Request::Touch {
            keyspace,
            key,
            ttl_ms: 1,
        },
        Request::Add {
            keyspace,
            key,
            delta: 1,
        },
        Request::Append {
            keyspace,
            key,
            suffix: b"s",
        },
        Request::Overwrite {
            keyspace,
            key,
            offset: 0,
            bytes: b"s",
        },
        Request::AddFloat {
            keyspace,
            key,
            increment: b"1",
        },
        expire(Expiry::Never, ExpiryCondition::IfSome),
        expire(Expiry::At(u64::MAX), ExpiryCondition::Always),
        Request::Move {
            source: (keyspace, key),
            destination: (keyspace, b"other"),
            if_absent: false,
            keep_source: false,
        },
        Request::Unit {
            preconditions: vec![],
            frames: vec![],
        },
        Request::Flush { keyspace },
        Request::KeyspaceCreate {
            name: "x",
            partitions: 1,
        },
        Request::KeyspaceDrop { name: "x" },
        Request::Backup { series: "" },
        batch(vec![GET, blind]),
        batch(vec![blind, BatchItem::Put(if_absent)]),
        batch(vec![GET, BatchItem::Delete(DELETE)]),
        atomic(vec![blind, BatchItem::Delete(DELETE)]),
    ];
    for request in not_idempotent {
        assert!(!request.is_idempotent(), "{request:?}");
    }
}

/// A client and a server of different ages must settle on the newest version that both know, or part at once.
#[test]
fn the_newest_common_version_is_spoken() {
    let version = |version_min, version_max| {
        Hello {
            version_min,
            version_max,
            ..HELLO
        }
        .negotiate()
    };
    assert_eq!(version(1, 1), Some(1));
    assert_eq!(version(0, 9), Some(1));
    assert_eq!(version(2, 9), None);
    assert_eq!(version(0, 0), None);
    let text = "protocol versions 2..=1 are an empty range";
    let hello = Request::Hello(Hello {
        version_min: 2,
        version_max: 1,
        ..HELLO
    });
    assert_refused(&hello, text, Status::InvalidRequest);
}

/// A server configured with a frame limit close to its value limit would take a value with a short key and cut the
/// connection over the same value with a long one.
#[test]
fn the_least_frame_limit_holds_the_largest_put_and_its_answer() {
    let (key, value) = (vec![1; 65_535], vec![2; 2 << 20]);
    let limit = frame_len_max_least(value.len() as u32) as usize;
    let largest = Put {
        key: &key,
        value: &value,
        ttl: Ttl::Millis(1),
        condition: Condition::IfVersion(1),
        return_value: true,
    };
    assert_eq!(
        material::request_frame(&put(largest), 1).len(),
        limit,
        "exact: nothing is wasted, nothing lacks"
    );
    let answer = Response {
        status: Status::Ok,
        version: 1,
        timestamp_ms: 1,
        body: Body::Value(&value),
    };
    assert!(material::response_frame(&answer, 1).len() <= limit);
    assert_eq!(frame_len_max_least(0), 1 << 20);
    assert_eq!(frame_len_max_least(u32::MAX), u32::MAX);
}

/// Nothing larger than a hello is buffered for a stranger; a hello that is one byte larger than that would never be heard.
#[test]
fn the_largest_hello_fits_what_is_buffered_before_it() {
    let name = "n".repeat(255);
    let hello = Request::Hello(Hello {
        shard: Some(1),
        keyspace: &name,
        client_name: &name,
        ..HELLO
    });
    assert_accepted(&hello);
    assert_eq!(
        material::request_frame(&hello, 1).len(),
        HELLO_FRAME_LEN_MAX as usize
    );
}

/// The name becomes a part of a path on the server: one that leads elsewhere would let everyone who can connect write there.
#[test]
fn a_series_of_backups_has_a_plain_name() {
    let limit = Status::LimitExceeded;
    let too_long = "x".repeat(65);
    assert_refused(
        &Request::Backup { series: &too_long },
        "name of a series of backups 65 is outside 0..=64",
        limit,
    );
    let text = "the name of a series of backups may hold letters, digits, '-', '_' and '.', and not begin with '.'";
    for series in ["..", ".hidden", "a/b", "/", "a b", "ä", "a\0"] {
        assert_refused(&Request::Backup { series }, text, Status::InvalidRequest);
    }
}
