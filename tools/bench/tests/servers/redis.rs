//! RESP against `redis-server` and `valkey-server`.

use std::time::Duration;

use corduroy_bench::{
    protocol::{
        Language, MeetError,
        memcached::MemcachedLanguage,
        native::{NativeLanguage, NativeOptions},
        resp::{RespLanguage, RespOptions},
    },
    workload::Operation,
};

use crate::{
    process::{redis as start, valkey},
    story::{self, demand, greeted},
    support::{Ended, ask},
};

#[test]
fn the_story_is_true_of_redis() {
    let Some(server) = start(&[]) else { return };
    let mut met = server.connect();
    let mut language = RespLanguage::meet(&mut met, &RespOptions::default()).unwrap();
    story::tell(&mut language, &server, &mut met);

    let told = language.describe(&mut met).unwrap();
    assert_eq!(told.protocol, "resp");
    assert_eq!(told.address, server.address.to_string());
    assert!(told.version.starts_with("redis "), "{told:?}");
    assert_eq!(
        told.durability,
        "appendonly no, no snapshots (memory alone)"
    );
    assert_eq!(told.consistency, "one node");
    assert_eq!(told.shards, Some(1));
}

// What Debian's server is too old for: compare-and-set.
#[test]
fn the_story_is_true_of_valkey() {
    let Some(server) = valkey() else { return };
    let mut met = server.connect();
    let mut language = RespLanguage::meet(&mut met, &RespOptions::default()).unwrap();
    story::tell(&mut language, &server, &mut met);

    let told = language.describe(&mut met).unwrap();
    assert!(told.version.starts_with("valkey "), "{told:?}");
    let swap = demand(Operation::CompareAndSet);
    assert_eq!(language.accepts(&swap), Ok(()));
}

// A run that asks an old server for what only new ones know must not count a million syntax errors as a fast server.
#[test]
fn compare_and_set_is_refused_in_words_where_it_is_not_known() {
    let Some(server) = start(&[]) else { return };
    let mut met = server.connect();
    let language = RespLanguage::meet(&mut met, &RespOptions::default()).unwrap();
    let accepted = language.accepts(&demand(Operation::CompareAndSet));
    let mut wire = greeted(&language, &server);
    assert_eq!(wire.run(ask(Operation::Put, 1, 1)), Ended::Done);
    let ended = wire.run(ask(Operation::CompareAndSet, 1, 2));
    match accepted {
        // Redis 8.4 or later.
        Ok(()) => assert_eq!(ended, Ended::Done),
        Err(refused) => {
            assert!(refused.to_string().contains("IFEQ"), "{refused}");
            assert_eq!(ended, Ended::Refused(refused.to_string()));
        }
    }
    // Nothing was written to find that out, and the words leave the connection in step.
    assert_eq!(
        wire.run(ask(Operation::Batch, 1, 0)),
        Ended::Many {
            found: 1,
            missing: 9
        }
    );
}

#[test]
fn durability_is_what_the_server_was_told() {
    let Some(server) = start(&["--appendonly", "yes", "--appendfsync", "always"]) else {
        return;
    };
    let mut met = server.connect();
    let language = RespLanguage::meet(&mut met, &RespOptions::default()).unwrap();
    let told = language.describe(&mut met).unwrap();
    assert_eq!(
        told.durability,
        "appendonly yes, appendfsync always, no snapshots"
    );
}

// Managed servers hide their settings; the report then says so and the run goes on.
#[test]
fn a_server_that_hides_its_settings_is_described_as_such() {
    let Some(server) = start(&["--rename-command", "CONFIG", ""]) else {
        return;
    };
    let mut met = server.connect();
    let language = RespLanguage::meet(&mut met, &RespOptions::default()).unwrap();
    let told = language.describe(&mut met).unwrap();
    assert!(
        told.durability
            .starts_with("not told by the server (CONFIG GET was refused"),
        "{told:?}"
    );
    assert!(told.version.starts_with("redis "), "{told:?}");
}

#[test]
fn passwords_and_databases_are_used_on_every_connection() {
    let Some(server) = start(&["--requirepass", "open sesame"]) else {
        return;
    };
    let meet = |options: &RespOptions| RespLanguage::meet(&mut server.connect(), options);
    let refused = meet(&RespOptions::default()).unwrap_err();
    assert!(matches!(refused, MeetError::Refused { .. }), "{refused}");
    let wrong = RespOptions {
        password: Some("open".to_owned()),
        ..RespOptions::default()
    };
    let refused = meet(&wrong).unwrap_err().to_string();
    assert!(refused.contains("AUTH"), "{refused}");
    let right = RespOptions {
        user: Some("default".to_owned()),
        password: Some("open sesame".to_owned()),
        database: Some(3),
    };
    let elsewhere = RespOptions {
        database: Some(4),
        ..right.clone()
    };
    let (third, fourth) = (meet(&right).unwrap(), meet(&elsewhere).unwrap());
    let mut wire = greeted(&third, &server);
    assert_eq!(wire.run(ask(Operation::Put, 1, 1)), Ended::Done);
    let get = ask(Operation::Get, 1, 0);
    assert!(matches!(greeted(&third, &server).run(get), Ended::Value(_)));
    assert_eq!(greeted(&fourth, &server).run(get), Ended::Missing);
    let none = RespOptions {
        database: Some(99),
        ..right
    };
    assert!(meet(&none).is_err());
}

// Whoever leaves `--protocol` out for another server must be told so.
#[test]
fn another_language_is_recognized() {
    let Some(server) = start(&[]) else { return };
    let error = MemcachedLanguage::meet(&mut server.connect()).unwrap_err();
    let words = error.to_string();
    assert!(words.contains("is --protocol right?"), "{words}");
    // Redis waits for the end of what it takes for a line, and for ever.
    let mut stream = server.connect();
    let patience = Some(Duration::from_millis(100));
    stream.set_read_timeout(patience).unwrap();
    let error = NativeLanguage::meet(&mut stream, &NativeOptions::default()).unwrap_err();
    let words = error.to_string();
    assert!(words.contains("is --protocol right?"), "{words}");
}
