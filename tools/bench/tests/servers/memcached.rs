//! memcached's text against `memcached`.

use corduroy_bench::{
    protocol::{
        Demand, Language, Protocol,
        memcached::MemcachedLanguage,
        resp::{RespLanguage, RespOptions},
    },
    workload::Operation,
};

use crate::{
    process::memcached as start,
    story::{self, demand},
};

#[test]
fn the_story_is_true_of_memcached() {
    let Some(server) = start(&[]) else { return };
    let mut met = server.connect();
    let mut language = MemcachedLanguage::meet(&mut met).unwrap();
    story::tell(&mut language, &server, &mut met);

    let told = language.describe(&mut met).unwrap();
    assert_eq!(told.protocol, "memcached-text");
    assert_eq!(told.address, server.address.to_string());
    assert!(told.version.starts_with("memcached 1."), "{told:?}");
    assert_eq!(told.durability, "memory alone, drops items when it is full");
    assert_eq!(told.consistency, "one node");
    assert_eq!(told.shards, Some(2));
    assert!(language.accepts(&demand(Operation::Scan)).is_err());
}

#[test]
fn the_servers_own_limit_is_known() {
    let Some(server) = start(&["-M"]) else { return };
    let mut met = server.connect();
    let language = MemcachedLanguage::meet(&mut met).unwrap();
    let larger = Demand {
        value_len_max: 2 << 20,
        ..demand(Operation::Put)
    };
    let refused = language.accepts(&larger).unwrap_err();
    assert!(refused.to_string().contains("-I"), "{refused}");
    let told = language.describe(&mut met).unwrap();
    let durability = "memory alone, refuses writes when it is full";
    assert_eq!(told.durability, durability);
}

#[test]
fn another_language_is_recognized() {
    let Some(server) = start(&[]) else { return };
    let error = RespLanguage::meet(&mut server.connect(), &RespOptions::default()).unwrap_err();
    let words = error.to_string();
    assert!(words.contains(Protocol::Resp.name()), "{words}");
}
