//! What people do wrong, and what they are told.

use crate::{
    process::{corduroy, memcached, redis},
    support::{bench, say},
};

#[test]
fn alone_it_says_what_to_try() {
    bench("").with(0).says("corduroy-bench quick");
    bench("--help").with(0).says("130  ended by Ctrl-C");
    for command in [
        "load", "run", "sweep", "compare", "plot", "show", "verify", "quick",
    ] {
        bench(&format!("help {command}")).with(0).says("Example");
        bench(&format!("{command} -h")).with(0);
    }
}

#[test]
fn command_lines_that_make_no_sense() {
    for (words, told) in [
        ("fly", "unrecognized subcommand"),
        ("run --mix gut=1", "write operations with weights"),
        ("run -d zipf", "zipfian"),
        ("run --rate 0", "0.001"),
        ("run --rate fast", "poisson"),
        ("run -w ycsb-z", "ycsb-a"),
        ("run --fail-if p99>2", "2ms"),
        ("run -c 0", "1 to 1000000"),
        ("run --duration 5", "10ms"),
        ("run --duration 1s -n 5", "cannot be used with"),
        ("run --rate 1k --think 1s", "cannot be used with"),
        ("load --keys 0", "100k"),
        ("run --cores 3-1", "2,4-7"),
        ("run --password x", "--protocol resp"),
        ("run --protocol resp --route direct", "--protocol native"),
        ("run --protocol resp --keyspace k", "--protocol native"),
        ("run --server nowhere.invalid:1", "HOST:PORT"),
    ] {
        bench(words).with(2).says(told);
    }
}

// Each of these would be found out by a server alone, or be ignored without a word.
#[test]
fn what_does_not_go_together() {
    let server = corduroy();
    for (words, told) in [
        ("run --key-size 5", "at least 10"),
        ("run --batch-size 0", "1 to 65536"),
        ("run --value-size 2MiB", "--value-len-max"),
        ("run --keyspace nope", "--create-keyspace"),
        ("run --hot-keys 5%", "--distribution hot-cold"),
        ("run -d zipfian --hot-ops 90%", "--distribution hot-cold"),
        ("run -d hot-cold --move-every 1s", "--distribution moving"),
        ("run --cores 999", "nproc"),
        ("run --mix get --record journal", "--mix put=100"),
        ("run --mix put --value-size 8 --record journal", "12 bytes"),
        ("run --mix cas -P 4 --record journal", "--pipeline 1"),
        ("run --mix put --runs 2 --record journal", "--runs"),
        (
            "run --mix put --keys 10 -c 20 --record journal",
            "fewer connections",
        ),
    ] {
        server.bench(words).with(2).says(told);
    }
    for flag in ["--json", "--csv", "--hlog", "--html", "--mix put --record"] {
        server
            .bench(&format!("run {flag} no/such/file"))
            .with(7)
            .says("there is no directory no/such");
    }
    server
        .bench("run --create-keyspace --keyspace made --load --keys 100 -n 100 --warm-up 0")
        .with(0);
}

#[test]
fn no_server_and_another_one() {
    bench("run --server 127.0.0.1:1")
        .with(3)
        .says("is it running? `corduroy serve` starts one");
    let other = "is --protocol right?";
    let server = corduroy();
    server
        .bench("run --protocol memcached-text")
        .with(3)
        .says(other);
    if let Some(server) = redis(&[]) {
        server.bench("load").with(3).says(other);
        server
            .bench("run --protocol memcached-text")
            .with(3)
            .says(other);
    }
    if let Some(server) = memcached(&[]) {
        server.bench("sweep --protocol resp").with(3).says(other);
    }
}

// Somebody who gives the wrong file wants to know where the right one comes from.
#[test]
fn files_that_are_not_there_or_none_of_ours() {
    for (words, told) in [
        ("show no/such/file", "`--json FILE` wrote"),
        ("plot Cargo.toml", "`--json FILE` wrote"),
        ("compare Cargo.toml Cargo.toml", "`--json FILE` wrote"),
        ("verify no/such/file", "`run --record FILE` wrote"),
        ("verify Cargo.toml", "`run --record FILE` wrote"),
    ] {
        bench(words).with(7).says(told);
    }
}

// One variable for all that a shell starts: what is meant for a server of another protocol is no mistake of this command line.
#[test]
fn a_password_in_the_environment_is_for_those_who_ask_for_one() {
    let mut servers = vec![(corduroy(), "native")];
    servers.extend(memcached(&[]).map(|server| (server, "memcached-text")));
    for (server, protocol) in servers {
        let words = format!("load --protocol {protocol} --keys 10");
        let mut command = server.command(&words);
        command.env("CORDUROY_PASSWORD", "swordfish");
        say(command).with(0);
        let said = server.bench(&format!("{words} --password swordfish"));
        said.with(2).says("--protocol resp");
    }
}

// A flag that a command does nothing with would be taken for one that it obeys.
#[test]
fn flags_that_mean_nothing_are_none() {
    for words in [
        "verify journal --route direct",
        "verify journal --create-keyspace",
        "verify journal --server-pid 1",
        "load --server-pid 1",
        "quick --server-pid 1",
    ] {
        bench(words).with(2).says("unexpected argument");
    }
}

// Reports are passed around.
#[test]
fn the_password_is_in_no_report() {
    let Some(server) = redis(&["--requirepass", "swordfish"]) else {
        return;
    };
    let run = "run --protocol resp --keys 100 --load -n 100 --warm-up 0 -o json";
    server.bench(run).with(2).says("--password");
    for words in [
        format!("{run} --password swordfish"),
        format!("{run} --password=swordfish"),
    ] {
        let said = server.bench(&words).with(0);
        assert!(!format!("{said:?}").contains("swordfish"), "{said:?}");
        said.says("(hidden)");
    }
    let mut by_environment = server.command(run);
    by_environment.env("CORDUROY_PASSWORD", "swordfish");
    let said = say(by_environment).with(0);
    assert!(!format!("{said:?}").contains("swordfish"), "{said:?}");
    let said = server.bench(&format!("{run} --user default"));
    said.with(2).says("CORDUROY_PASSWORD");
    server
        .bench(&format!("{run} --password haddock"))
        .with(2)
        .says("WRONGPASS");
}
