//! What each call sends, and what it makes of each answer.

use std::time::Duration;

use corduroy_client::{
    AtomicOutcome, BatchOp, BatchResult, Bytes, Client, Condition, Counter, Cursor, DeleteOptions,
    DeleteOutcome, Error, ExpireOutcome, Expiry, ExpiryCondition, FailedOperation, FloatSum,
    Keyspace, KeyspaceInfo, PutOptions, PutOutcome, Status, Versioned, Written,
};
use corduroy_proto_wire as wire;
use corduroy_proto_wire::{BatchItem, Body, Delete, ItemResult, Put, Request, ScanItem, Ttl};

use crate::server::{Act, Server};

/// What the scripted server puts on every answer.
const WRITTEN: Written = Written {
    version: 7,
    timestamp_ms: 1000,
};

/// A keyspace on a server that answers everything alike.
async fn answering(status: Status, body: Body<'static>) -> (Server, Client, Keyspace) {
    let server = Server::start(move |_| Act::Answer(status, body.clone())).await;
    let client = Client::connect(server.address.to_string()).await.unwrap();
    let keyspace = client.default_keyspace();
    (server, client, keyspace)
}

fn put_request<'a>(ttl: Ttl, condition: wire::Condition<'a>, return_value: bool) -> Request<'a> {
    Request::Put {
        keyspace: 1,
        put: Put {
            key: b"key",
            value: b"value",
            ttl,
            condition,
            return_value,
        },
    }
}

/// An option that is lost on the way to the wire turns a compare-and-set into an overwrite.
#[tokio::test]
async fn options_reach_the_wire() {
    let (server, _client, keyspace) = answering(Status::Ok, Body::Empty).await;
    let put = |options| keyspace.put_with("key", "value", options);
    keyspace.put("key", "value").await.unwrap();
    put(PutOptions::new().keep_ttl()).await.unwrap();
    put(PutOptions::new()
        .ttl(Duration::from_secs(10))
        .return_value(true))
    .await
    .unwrap();
    put(PutOptions::new().condition(Condition::IfAbsent))
        .await
        .unwrap();
    put(PutOptions::new().condition(Condition::IfPresent))
        .await
        .unwrap();
    put(PutOptions::new().condition(Condition::IfVersion(3)))
        .await
        .unwrap();
    put(PutOptions::new().condition(Condition::IfValue("old".into())))
        .await
        .unwrap();
    let condition = Condition::IfVersion(4);
    keyspace
        .delete_with(
            "key",
            DeleteOptions::new().condition(condition).return_value(true),
        )
        .await
        .unwrap();
    keyspace.delete("key").await.unwrap();
    keyspace
        .touch("key", Duration::from_micros(1))
        .await
        .unwrap();
    keyspace.persist("key").await.unwrap();
    put(PutOptions::new().expires_at_ms(77)).await.unwrap();
    for (expiry, condition) in [
        (Expiry::Never, ExpiryCondition::IfSome),
        (
            Expiry::After(Duration::from_micros(1500)),
            ExpiryCondition::IfLater,
        ),
        (Expiry::AtMs(77), ExpiryCondition::Always),
    ] {
        let outcome = keyspace.expire("key", expiry, condition).await.unwrap();
        assert_eq!(outcome, ExpireOutcome::Done(WRITTEN));
    }
    keyspace.flush().await.unwrap();

    let delete = |condition, return_value| Request::Delete {
        keyspace: 1,
        delete: Delete {
            key: b"key",
            condition,
            return_value,
        },
    };
    let expire = |expiry, condition| Request::Expire {
        keyspace: 1,
        key: b"key",
        expiry,
        condition,
        return_value: false,
    };
    use wire::Condition as C;
    let expected = [
        put_request(Ttl::None, C::Always, false),
        put_request(Ttl::Keep, C::Always, false),
        put_request(Ttl::Millis(10_000), C::Always, true),
        put_request(Ttl::None, C::IfAbsent, false),
        put_request(Ttl::None, C::IfPresent, false),
        put_request(Ttl::None, C::IfVersion(3), false),
        put_request(Ttl::None, C::IfValue(b"old"), false),
        delete(C::IfVersion(4), true),
        delete(C::Always, false),
        Request::Touch {
            keyspace: 1,
            key: b"key",
            ttl_ms: 1,
        },
        Request::Persist {
            keyspace: 1,
            key: b"key",
        },
        put_request(Ttl::At(77), C::Always, false),
        expire(wire::Expiry::Never, wire::ExpiryCondition::IfSome),
        expire(wire::Expiry::Millis(2), wire::ExpiryCondition::IfLater),
        expire(wire::Expiry::At(77), wire::ExpiryCondition::Always),
        Request::Flush { keyspace: 1 },
    ];
    let seen = server.seen();
    assert_eq!(seen.len(), expected.len());
    for (seen, expected) in seen.iter().zip(expected) {
        assert_eq!(seen.request(), expected);
    }
}

/// The key is there.
#[tokio::test]
async fn answers_about_keys_that_exist() {
    let (_server, _client, keyspace) = answering(Status::Ok, Body::Value(b"old")).await;
    let found = Versioned {
        value: "old".into(),
        version: 7,
        timestamp_ms: 1000,
    };
    assert_eq!(keyspace.get("key").await.unwrap(), Some(found));
    let old = Some(Bytes::from("old"));
    let options = PutOptions::new().return_value(true);
    assert_eq!(
        keyspace.put_with("key", "value", options).await.unwrap(),
        PutOutcome::Done(WRITTEN, old.clone())
    );
    let options = DeleteOptions::new().return_value(true);
    assert_eq!(
        keyspace.delete_with("key", options).await.unwrap(),
        DeleteOutcome::Done(WRITTEN, old)
    );

    let (_server, _client, keyspace) = answering(Status::Ok, Body::Empty).await;
    assert_eq!(keyspace.put("key", "value").await.unwrap(), WRITTEN);
    assert_eq!(keyspace.delete("key").await.unwrap(), Some(WRITTEN));
    assert_eq!(keyspace.version("key").await.unwrap(), Some(WRITTEN));
    assert!(keyspace.exists("key").await.unwrap());
    assert_eq!(keyspace.persist("key").await.unwrap(), Some(WRITTEN));
    let done = PutOutcome::Done(WRITTEN, None);
    assert_eq!(
        keyspace
            .put_with("key", "value", PutOptions::new())
            .await
            .unwrap(),
        done
    );

    let (server, _client, keyspace) = answering(Status::Ok, Body::Value(b"10.6")).await;
    assert_eq!(
        keyspace.add_float("key", "0.1").await.unwrap(),
        FloatSum {
            value: "10.6".into(),
            version: 7,
            timestamp_ms: 1000
        }
    );
    let request = Request::AddFloat {
        keyspace: 1,
        key: b"key",
        increment: b"0.1",
    };
    assert_eq!(server.seen()[0].request(), request);
    let (_server, _client, keyspace) = answering(Status::Ok, Body::Counter(-3)).await;
    assert_eq!(
        keyspace.add("key", -4).await.unwrap(),
        Counter {
            value: -3,
            version: 7,
            timestamp_ms: 1000
        }
    );
    let (server, _client, keyspace) = answering(Status::Ok, Body::Number(12)).await;
    assert_eq!(keyspace.append("key", "suffix").await.unwrap().length, 12);
    let overwritten = keyspace.overwrite("key", 6, "bytes").await.unwrap();
    assert_eq!(overwritten.length, 12);
    let request = Request::Overwrite {
        keyspace: 1,
        key: b"key",
        offset: 6,
        bytes: b"bytes",
    };
    assert_eq!(server.seen()[1].request(), request);
    assert_eq!(keyspace.count().await.unwrap(), 12);
    let (server, _client, keyspace) = answering(Status::Ok, Body::Ttl(Some(1500))).await;
    assert_eq!(
        keyspace.ttl("key").await.unwrap(),
        Some(Some(Duration::from_millis(1500)))
    );
    assert_eq!(keyspace.expires_at("key").await.unwrap(), Some(Some(1500)));
    let request = Request::ExpiresAt {
        keyspace: 1,
        key: b"key",
    };
    assert_eq!(server.seen()[1].request(), request);
    let (_server, _client, keyspace) = answering(Status::Ok, Body::Ttl(None)).await;
    assert_eq!(keyspace.ttl("key").await.unwrap(), Some(None));
}

/// That there is no key is an answer, not an error.
#[tokio::test]
async fn answers_about_keys_that_do_not_exist() {
    let (_server, client, keyspace) = answering(Status::NotFound, Body::Empty).await;
    assert_eq!(keyspace.get("key").await.unwrap(), None);
    assert_eq!(keyspace.delete("key").await.unwrap(), None);
    assert_eq!(
        keyspace
            .delete_with("key", DeleteOptions::new())
            .await
            .unwrap(),
        DeleteOutcome::NotFound
    );
    assert!(!keyspace.exists("key").await.unwrap());
    assert_eq!(keyspace.ttl("key").await.unwrap(), None);
    assert_eq!(
        keyspace.touch("key", Duration::from_secs(1)).await.unwrap(),
        None
    );
    assert_eq!(keyspace.persist("key").await.unwrap(), None);
    assert_eq!(keyspace.expires_at("key").await.unwrap(), None);
    let always = ExpiryCondition::Always;
    assert_eq!(
        keyspace
            .expire("key", Expiry::AtMs(1), always)
            .await
            .unwrap(),
        ExpireOutcome::NotFound
    );
    assert!(!client.drop_keyspace("orders").await.unwrap());
}

/// Who lost a race needs to know against which version, and if asked for, against which value.
#[tokio::test]
async fn a_failed_condition_tells_what_is_there() {
    let (_server, _client, keyspace) =
        answering(Status::ConditionFailed, Body::Value(b"theirs")).await;
    let value = Some(Bytes::from("theirs"));
    let options = PutOptions::new()
        .condition(Condition::IfAbsent)
        .return_value(true);
    assert_eq!(
        keyspace.put_with("key", "value", options).await.unwrap(),
        PutOutcome::ConditionFailed {
            current: Some(WRITTEN),
            value: value.clone()
        }
    );
    let options = DeleteOptions::new()
        .condition(Condition::IfVersion(1))
        .return_value(true);
    assert_eq!(
        keyspace.delete_with("key", options).await.unwrap(),
        DeleteOutcome::ConditionFailed {
            current: Some(WRITTEN),
            value
        }
    );
    let outcome = keyspace
        .expire("key", Expiry::Never, ExpiryCondition::IfSome)
        .await
        .unwrap();
    assert_eq!(
        outcome,
        ExpireOutcome::ConditionFailed {
            current: Some(WRITTEN)
        }
    );
    // An unconditional put has no condition that could fail.
    let error = keyspace.put("key", "value").await.unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
}

fn item(status: Status, value: Option<&'static [u8]>) -> ItemResult<'static> {
    ItemResult {
        status,
        version: 7,
        timestamp_ms: 1000,
        value,
    }
}

/// Each operation has its own fate; one that failed must not take the others' results with it, nor shift them.
#[tokio::test]
async fn each_operation_of_a_batch_gets_its_own_result() {
    let results = vec![
        item(Status::Ok, Some(b"value")),
        item(Status::NotFound, None),
        item(Status::ReadOnly, None),
        item(Status::ConditionFailed, None),
        item(Status::Ok, Some(b"old")),
        item(Status::NotFound, None),
    ];
    let (server, _client, keyspace) = answering(Status::Ok, Body::Batch(results)).await;
    let operations = vec![
        BatchOp::get("a"),
        BatchOp::get("b"),
        BatchOp::put("c", "value"),
        BatchOp::put_with(
            "d",
            "value",
            PutOptions::new().condition(Condition::IfAbsent),
        ),
        BatchOp::delete_with("e", DeleteOptions::new().return_value(true)),
        BatchOp::delete("f"),
    ];
    let results = keyspace.batch(operations).await.unwrap();
    let found = Versioned {
        value: "value".into(),
        version: 7,
        timestamp_ms: 1000,
    };
    assert_eq!(results[0].as_ref().unwrap(), &BatchResult::Get(Some(found)));
    assert_eq!(results[1].as_ref().unwrap(), &BatchResult::Get(None));
    assert_eq!(
        results[2].as_ref().unwrap_err().status(),
        Some(Status::ReadOnly)
    );
    let lost = PutOutcome::ConditionFailed {
        current: Some(WRITTEN),
        value: None,
    };
    assert_eq!(results[3].as_ref().unwrap(), &BatchResult::Put(lost));
    let deleted = DeleteOutcome::Done(WRITTEN, Some("old".into()));
    assert_eq!(results[4].as_ref().unwrap(), &BatchResult::Delete(deleted));
    assert_eq!(
        results[5].as_ref().unwrap(),
        &BatchResult::Delete(DeleteOutcome::NotFound)
    );

    let seen = server.seen();
    let Request::Batch { keyspace: 1, items } = seen[0].request() else {
        panic!("{seen:?}")
    };
    assert!(matches!(items[0], BatchItem::Get { key: b"a" }));
    assert!(matches!(
        items[2],
        BatchItem::Put(Put {
            key: b"c",
            value: b"value",
            ..
        })
    ));
    assert!(matches!(
        items[4],
        BatchItem::Delete(Delete {
            key: b"e",
            return_value: true,
            ..
        })
    ));
    assert!(keyspace.batch(Vec::new()).await.unwrap().is_empty());
    assert_eq!(server.seen().len(), 1, "an empty batch is not sent");
}

/// Results that are fewer than the operations can't be told apart: none of them may be believed.
#[tokio::test]
async fn a_batch_with_too_few_results_is_an_error() {
    let (_server, _client, keyspace) =
        answering(Status::Ok, Body::Batch(vec![item(Status::Ok, None)])).await;
    let error = keyspace
        .batch(vec![BatchOp::put("a", "1"), BatchOp::put("b", "2")])
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    assert!(error.is_outcome_unknown());
}

/// All or nothing: the answer must never look like some of it.
#[tokio::test]
async fn an_atomic_batch_is_done_or_tells_which_condition_failed() {
    let operations = || vec![BatchOp::put("{t}a", "1"), BatchOp::delete("{t}b")];
    let results = vec![item(Status::Ok, None), item(Status::NotFound, None)];
    let (_server, _client, keyspace) = answering(Status::Ok, Body::Batch(results)).await;
    let done = vec![
        BatchResult::Put(PutOutcome::Done(WRITTEN, None)),
        BatchResult::Delete(DeleteOutcome::NotFound),
    ];
    assert_eq!(
        keyspace.atomic(operations()).await.unwrap(),
        AtomicOutcome::Done(done)
    );

    let results = vec![
        item(Status::Ok, None),
        item(Status::ConditionFailed, Some(b"theirs")),
    ];
    let (_server, _client, keyspace) =
        answering(Status::ConditionFailed, Body::Batch(results)).await;
    let failed = FailedOperation {
        index: 1,
        current: Some(WRITTEN),
        value: Some("theirs".into()),
    };
    assert_eq!(
        keyspace.atomic(operations()).await.unwrap(),
        AtomicOutcome::ConditionFailed(vec![failed])
    );

    let (_server, _client, keyspace) =
        answering(Status::CrossPartition, Body::Error("a and b")).await;
    let error = keyspace.atomic(operations()).await.unwrap_err();
    assert_eq!(error.status(), Some(Status::CrossPartition));
}

/// Three pages, of which the second is empty and yet not the last. The cursor's first byte counts the pages.
async fn paged() -> (Server, Keyspace) {
    let server = Server::start(|seen| {
        let Request::Scan {
            cursor,
            with_values,
            prefix: b"k",
            ..
        } = seen.request()
        else {
            panic!("{seen:?}")
        };
        let number = cursor.0[0];
        let item = |key: &'static [u8]| ScanItem {
            key,
            value: with_values.then_some(key),
            version: 7,
            timestamp_ms: 1000,
            expires_at_ms: None,
        };
        let (items, next) = match number {
            0 => (vec![item(b"k1"), item(b"k2")], 1),
            1 => (vec![], 2),
            2 => (vec![item(b"k3"), item(b"k4")], 0),
            other => panic!("cursor {other}"),
        };
        let mut cursor = wire::Cursor::START;
        cursor.0[0] = next;
        Act::Answer(Status::Ok, Body::Scan { cursor, items })
    })
    .await;
    let keyspace = Client::connect(server.address.to_string())
        .await
        .unwrap()
        .default_keyspace();
    (server, keyspace)
}

/// An empty page that is taken for the end loses the rest of the keys, silently.
#[tokio::test]
async fn a_scan_goes_on_to_its_last_page() {
    let (server, keyspace) = paged().await;
    let mut scan = keyspace.scan("k").with_values(true).page_size(1_000_000);
    let mut keys = Vec::new();
    while let Some(entry) = scan.next().await.unwrap() {
        assert_eq!(entry.value, Some(entry.key.clone()));
        keys.push(entry.key);
    }
    assert_eq!(keys, ["k1", "k2", "k3", "k4"]);
    assert_eq!(scan.next().await.unwrap(), None);
    assert_eq!(scan.cursor(), None);
    for seen in server.seen() {
        let Request::Scan { limit, .. } = seen.request() else {
            panic!("{seen:?}")
        };
        assert_eq!(limit, 4096, "a page is never larger than the server allows");
    }

    let mut scan = keyspace.scan("k");
    let mut sizes = Vec::new();
    while let Some(page) = scan.next_page().await.unwrap() {
        assert!(page.iter().all(|entry| entry.value.is_none()));
        sizes.push(page.len());
    }
    assert_eq!(sizes, [2, 0, 2]);
}

/// A scan may be interrupted after any entry. What it goes on from must bring back all that was not handed out.
#[tokio::test]
async fn a_scan_that_goes_on_from_its_cursor_misses_nothing() {
    let (_server, keyspace) = paged().await;
    for taken in 0..=4 {
        let mut scan = keyspace.scan("k");
        let mut keys = Vec::new();
        for _ in 0..taken {
            keys.push(scan.next().await.unwrap().unwrap().key);
        }
        if let Some(cursor) = scan.cursor() {
            let kept: Cursor = cursor.to_string().parse().unwrap();
            let mut scan = keyspace.scan("k").from_cursor(kept);
            while let Some(entry) = scan.next().await.unwrap() {
                keys.push(entry.key);
            }
        }
        keys.sort();
        keys.dedup();
        assert_eq!(keys, ["k1", "k2", "k3", "k4"], "after {taken}");
    }
}

/// Keyspaces and the node.
#[tokio::test]
async fn answers_about_keyspaces_and_the_server() {
    let orders = KeyspaceInfo {
        id: 9,
        partitions: 8,
        name: "orders".to_owned(),
    };
    let (server, client, _) = answering(Status::Ok, Body::Keyspaces(vec![orders.clone()])).await;
    assert_eq!(
        client
            .create_keyspace("orders", Some(8))
            .await
            .unwrap()
            .name(),
        "orders"
    );
    assert_eq!(client.list_keyspaces().await.unwrap(), [orders]);
    let made = Request::KeyspaceCreate {
        name: "orders",
        partitions: 8,
    };
    assert_eq!(server.seen()[0].request(), made);

    let (_server, client, _) = answering(Status::Ok, Body::Status("{\"shards\":[]}")).await;
    assert_eq!(client.status().await.unwrap(), "{\"shards\":[]}");
    let (_server, client, _) = answering(Status::Ok, Body::Value(b"")).await;
    client.ping().await.unwrap();
    assert_eq!(client.server().server_name, "scripted");
    let (_server, client, _) = answering(Status::AlreadyExists, Body::Error("orders")).await;
    let error = client.create_keyspace("orders", None).await.unwrap_err();
    assert_eq!(error.status(), Some(Status::AlreadyExists));
}
