//! The engine in each language, against the server that it is for: all operations at once, through connections that it opens and greets itself.

use std::{sync::atomic::AtomicBool, time::Duration};

use corduroy_bench::{
    engine::{self, Config, Length, Load, Pace},
    protocol::Language,
    results::Run,
    workload::{Ask, Operation},
};

use crate::{
    process::Process,
    story::demand,
    support::{Plain, ask},
};

/// Every operation that the language knows, in turn, on a few keys that all connections share.
struct Everything<'a, L> {
    language: &'a L,
    operations: Vec<Operation>,
}

impl<L: Language> Load for Everything<'_, L> {
    type Dialect = L::Dialect<Plain, Plain>;
    type Source = Box<dyn FnMut(u64) -> Option<Ask>>;
    type Arrivals = Box<dyn Iterator<Item = u64>>;

    fn dialect(&self, _: u32) -> Self::Dialect {
        self.language.dialect(Plain, Plain)
    }

    fn source(&self, connection: u32) -> Self::Source {
        let operations = self.operations.clone();
        let mut number = u64::from(connection) << 32;
        Box::new(move |_| {
            number += 1;
            let operation = operations[number as usize % operations.len()];
            Some(ask(operation, number % 50, number))
        })
    }

    fn arrivals(&self, thread: u32, threads: u32) -> Self::Arrivals {
        Box::new(
            (u64::from(thread)..)
                .step_by(threads as usize)
                .map(|number| number * 1_000_000),
        )
    }

    fn greeting(&self, connection: u32, out: &mut Vec<u8>) {
        self.language.greeting(connection as usize, out);
    }

    fn greeted(&self, connection: u32, bytes: &[u8]) -> Result<Option<usize>, String> {
        let greeted = self.language.greeted(connection as usize, bytes);
        greeted.map_err(|error| error.to_string())
    }

    fn is_right(&self, key: u64, value: &[u8]) -> bool {
        value.len() == 100 && value.starts_with(format!("{key}\r\n").as_bytes())
    }

    fn may_miss(&self, _: &Ask) -> bool {
        true
    }
}

/// Carries everything out, in a closed loop and in an open one.
pub(crate) fn drive<L: Language>(language: &L, server: &Process) {
    let operations = Operation::ALL
        .into_iter()
        .filter(|&operation| language.accepts(&demand(operation)).is_ok())
        .collect();
    let load = Everything {
        language,
        operations,
    };
    let closed = Config {
        threads: 2,
        connections: 12,
        pipeline: 5,
        warm_up: Duration::from_millis(50),
        length: Length::Time(Duration::from_millis(400)),
        ..Config::new(server.address)
    };
    let open = Config {
        pace: Pace::Open {
            schedule: "constant".to_owned(),
            target_rate: Some(1_000.0),
        },
        ..closed.clone()
    };
    for config in [closed, open] {
        let run = engine::run(&load, &config, &AtomicBool::new(false), &mut |_| {}).unwrap();
        assert_all_was_asked(&load.operations, &run.run);
    }
}

fn assert_all_was_asked(operations: &[Operation], run: &Run) {
    assert!(run.errors.is_empty(), "{:?}", run.errors);
    for operation in operations {
        let row = run
            .latencies
            .iter()
            .find(|row| row.operation == Some(*operation));
        assert!(
            row.is_some_and(|row| row.response.count > 0),
            "{operation:?}"
        );
    }
}
