//! Each rule bites on a small source that breaks it, and lets pass the nearest one that doesn't.

use super::{LAYERS, findings_of_sources, manifest_findings};

fn findings(file: &str, text: &str) -> Vec<String> {
    findings_of_sources(&[(file.to_owned(), text.to_owned())]).expect("the fixture is Rust")
}

#[track_caller]
fn bites(file: &str, text: &str, part: &str) {
    let findings = findings(file, text);
    assert!(
        findings.iter().any(|finding| finding.contains(part)),
        "nothing says \"{part}\" of `{text}`: {findings:?}"
    );
}

#[track_caller]
fn passes(file: &str, text: &str) {
    assert_eq!(findings(file, text), Vec::<String>::new());
}

#[test]
fn no_layer_may_import_one_above_it() {
    for (index, (name, allowed)) in LAYERS.iter().enumerate() {
        for target in *allowed {
            let below = LAYERS[..index].iter().any(|(lower, _)| lower == target);
            assert!(below, "{name} may import {target}, which is not below it");
        }
        for (target, _) in &LAYERS[index + 1..] {
            bites(
                &format!("src/{name}/a.rs"),
                &format!("use crate::{target}::A;"),
                &format!("{name} must not import {target}"),
            );
        }
    }
}

// Storage that knows of replication can't be tested, fuzzed or replaced without it; nor the other way round.
#[test]
fn storage_and_replication_do_not_know_each_other() {
    bites(
        "src/storage/log/mod.rs",
        "use crate::replication::Entry;",
        "storage must not import replication",
    );
    bites(
        "src/replication/stream.rs",
        "fn a() -> crate::storage::Log { b() }",
        "replication must not import storage",
    );
    passes(
        "src/shard/mod.rs",
        "use crate::{replication::Entry, storage::Log, types::ShardId};",
    );
    passes(
        "src/storage/log/mod.rs",
        "use crate::storage::format::A; use crate::types::Position;",
    );
}

// An import can be written in a dozen ways. One that the check doesn't see is the one that will be used.
#[test]
fn every_way_to_write_an_import_is_seen() {
    for text in [
        "use crate::{types::A, server::{self, config::B}};",
        "use crate::server as s;",
        "use crate::server::*;",
        "fn a() { crate::server::b(); }",
        "fn a(b: &crate::server::B) {}",
        "impl A for crate::server::B {}",
        "use super::super::server::A;",
        "mod inner { use super::super::super::server::A; }",
        "fn a() { format!(\"{}\", crate::server::b()); }",
        "macro_rules! a { () => { [crate::server::B] }; }",
        "#[cfg(test)] mod tests { use crate::server::A; }",
        "pub(crate) use crate::server::A;",
        "use corduroy::server::A;",
        "#[derive(crate::server::A)] struct B;",
    ] {
        bites(
            "src/storage/index.rs",
            text,
            "storage must not import server",
        );
    }
    passes(
        "src/storage/index/mod.rs",
        "mod inner { use super::super::log::A; } use self::inner::A;",
    );
}

#[test]
fn a_finding_names_its_line() {
    let findings = findings(
        "src/types.rs",
        "use std::fmt;\n\nuse crate::{\n    limits::A,\n    shard::B,\n};\n",
    );
    assert_eq!(findings, ["src/types.rs:5: types must not import shard"]);
}

// A module that nobody gave a place is a way around all the rules.
#[test]
fn what_is_no_layer_is_found() {
    bites("src/helpers.rs", "use std::fmt;", "helpers is no layer");
    bites(
        "src/shard/mod.rs",
        "use crate::helpers::A;",
        "which is no layer",
    );
    passes("src/main.rs", "use corduroy::server::cli::Cli;");
    passes(
        "src/lib.rs",
        "pub use crate::server::config::Config; pub mod server;",
    );
}

#[test]
fn only_one_folder_names_glommio() {
    bites(
        "src/runtime/driver.rs",
        "use glommio::timer::Timer;",
        "only src/runtime/glommio",
    );
    bites(
        "src/server/start.rs",
        "fn a() { ::glommio::spawn_local(b); }",
        "only src/runtime/glommio",
    );
    bites(
        "src/server/start.rs",
        "extern crate glommio;",
        "only src/runtime/glommio",
    );
    passes(
        "src/runtime/glommio/disk.rs",
        "use glommio::io::BufferedFile;",
    );
    passes(
        "src/runtime/mod.rs",
        "pub mod glommio; pub use self::glommio::run;",
    );
    passes("src/server/start.rs", "use crate::runtime::glommio::run;");
}

#[test]
fn only_the_runtime_is_unsafe() {
    for text in [
        "fn a() { unsafe { b() } }",
        "unsafe fn a() {}",
        "unsafe impl Send for A {}",
        "a! { unsafe { b() } }",
    ] {
        bites(
            "src/storage/hash.rs",
            text,
            "unsafe belongs under src/runtime",
        );
        bites(
            "client/src/lib.rs",
            text,
            "unsafe belongs under src/runtime",
        );
        passes("src/runtime/glommio/affinity.rs", text);
    }
    passes(
        "src/storage/hash.rs",
        "/// Not unsafe.\nconst UNSAFE: &str = \"unsafe\";",
    );
}

// One look at the clock inside the core, and no failing run can be replayed by its seed.
#[test]
fn the_core_has_no_clock_no_file_no_socket() {
    for text in [
        "use std::fs::File;",
        "use std::{fmt, fs};",
        "use std::time::{Duration, Instant};",
        "use std::time;",
        "use std::time::*;",
        "use std::net::TcpStream;",
        "fn a() { std::thread::sleep(b); }",
        "fn a() { let now = std::time::SystemTime::now(); }",
        "fn a() { let b = std::env::var(\"SEED\"); }",
        "fn a() { assert!(std::time::Instant::now() > b); }",
        "use flume::Sender;",
    ] {
        for layer in ["storage", "shard", "gateway", "replication"] {
            bites(&format!("src/{layer}/mod.rs"), text, "a layer without I/O");
        }
        assert!(findings("src/server/stop.rs", text).is_empty(), "{text}");
    }
    passes(
        "src/storage/mod.rs",
        "use std::time::Duration; use std::io; use std::net::SocketAddr; use std::collections::*;",
    );
}

#[test]
fn the_core_is_not_async() {
    for text in [
        "async fn a() {}",
        "fn a() { async {} }",
        "fn a() { b.await; }",
        "fn a() { let b = async || 1; }",
        "trait A { async fn b(); }",
        "fn a() { vec![b.await]; }",
    ] {
        bites("src/shard/mod.rs", text, "no async");
        passes("src/runtime/driver.rs", text);
    }
}

// Tests of the core may read a seed from the environment or a fixture from a file; code beside them may not.
#[test]
fn tests_of_the_core_may_do_io_and_nothing_else_may() {
    let text = "use std::fs::File;";
    for (parent, child) in [
        ("storage/log/mod.rs", "storage/log/tests.rs"),
        ("storage/log.rs", "storage/log/tests/crash.rs"),
    ] {
        let file = |name: &str, text: &str| (format!("src/{name}"), text.to_owned());
        let found = |parent_text| {
            findings_of_sources(&[file(parent, parent_text), file(child, text)])
                .map(|found| found.len())
        };
        assert_eq!(found("#[cfg(test)] mod tests;"), Ok(0), "{child}");
        assert_eq!(found("mod tests;"), Ok(1), "{child}");
    }
    bites("src/storage/mod.rs", "use libc::fsync;", "libc");
    passes(
        "src/storage/mod.rs",
        "use libc::ENOSPC; fn a() -> bool { b == libc::EIO }",
    );
    passes(
        "src/storage/mod.rs",
        "#[cfg(test)] mod tests { use std::fs::File; }",
    );
    passes(
        "src/storage/mod.rs",
        "#[cfg(all(test, unix))] mod tests { use std::fs::File; }",
    );
    passes("src/storage/mod.rs", "#[cfg(test)] use std::fs::File;");
    bites(
        "src/storage/mod.rs",
        "#[cfg(not(test))] mod a { use std::fs::File; }",
        "std::fs",
    );
    bites(
        "src/storage/mod.rs",
        "#[cfg(any(test, unix))] mod a { use std::fs::File; }",
        "std::fs",
    );
    bites(
        "src/storage/mod.rs",
        "#[cfg(test)] mod tests {} use std::fs::File;",
        "std::fs",
    );
}

// A client that pulls in the server is no thin client any more.
#[test]
fn the_protocol_stands_alone_and_the_client_on_it() {
    bites(
        "proto-wire/src/lib.rs",
        "use corduroy::limits::A;",
        "proto-wire must not depend on corduroy",
    );
    bites(
        "proto-wire/src/lib.rs",
        "fn a() { corduroy_client::b() }",
        "proto-wire must not depend on corduroy_client",
    );
    bites(
        "client/src/lib.rs",
        "use corduroy::types::A;",
        "client must not depend on corduroy",
    );
    passes(
        "client/src/lib.rs",
        "use corduroy_proto_wire::Frame; use crate::server::A;",
    );
    let manifest =
        |text| manifest_findings("client/Cargo.toml", text).expect("the fixture is TOML");
    assert_eq!(
        manifest("[dependencies]\ncorduroy = { path = \"..\" }"),
        ["client/Cargo.toml: client must not depend on corduroy"]
    );
    assert_eq!(
        manifest("[dependencies]\nx = { path = \"..\", package = \"corduroy\" }").len(),
        1
    );
    assert!(manifest("[dependencies]\ncorduroy-proto-wire.workspace = true\n[dev-dependencies]\ncorduroy.workspace = true").is_empty());
    assert_eq!(
        manifest_findings(
            "proto-wire/Cargo.toml",
            "[dependencies]\ncorduroy-client = \"1\""
        )
        .map(|found| found.len()),
        Ok(1)
    );
}

#[test]
fn a_source_that_is_not_rust_is_an_error() {
    assert!(findings_of_sources(&[("src/types.rs".to_owned(), "fn (".to_owned())]).is_err());
}
