//! The configuration as a whole: which layer wins, what is refused with which sentence, what is chosen on which machine.

mod decide;
mod kinds;
mod layers;
mod print;

use std::ffi::OsString;
use std::fs;

use super::{Flags, Machine, Memory, Rejected, Resolved, Setting};

const GIB: u64 = 1 << 30;

fn machine(cores: impl IntoIterator<Item = usize>, memory: u64) -> Machine {
    Machine {
        cores: Ok(cores.into_iter().collect()),
        memory: Ok(Memory {
            bytes: memory,
            cgroup: false,
        }),
    }
}

/// What the layers are made of in a test.
#[derive(Default)]
struct Given {
    flags: Vec<(&'static str, String)>,
    environment: Vec<(String, String)>,
    file: Option<&'static str>,
    salvage: bool,
}

impl Given {
    fn flag(mut self, name: &'static str, text: impl Into<String>) -> Given {
        self.flags.push((name, text.into()));
        self
    }

    fn variable(mut self, name: &str, text: &str) -> Given {
        self.environment.push((name.to_owned(), text.to_owned()));
        self
    }

    fn file(mut self, text: &'static str) -> Given {
        self.file = Some(text);
        self
    }

    fn on(self, machine: Machine) -> Result<Resolved, Rejected> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("corduroy.toml");
        if let Some(text) = self.file {
            fs::write(&path, text).unwrap();
        }
        let settings = self
            .flags
            .iter()
            .map(|(name, text)| (Setting::named(name).unwrap(), OsString::from(text)))
            .collect();
        let environment = self
            .environment
            .iter()
            .map(|(name, text)| (name.into(), text.into()));
        Resolved::new(
            Flags {
                file: None,
                settings,
                salvage: self.salvage,
            },
            environment,
            &path,
            machine,
        )
    }

    fn resolve(self) -> Result<Resolved, Rejected> {
        self.on(machine(0..4, 16 * GIB))
    }

    /// Each error as its sentence, the file's directory taken away.
    fn sentences(self, machine: Machine) -> Vec<String> {
        let rejected = self.on(machine).expect_err("something is wrong here");
        let sentences = rejected.errors.iter().map(ToString::to_string);
        sentences
            .map(|text| {
                text.rsplit_once("/corduroy.toml")
                    .map_or(text.clone(), |(_, rest)| format!("FILE{rest}"))
            })
            .collect()
    }

    fn sentence(self) -> String {
        let sentences = self.sentences(machine(0..4, 16 * GIB));
        assert_eq!(sentences.len(), 1, "{sentences:?}");
        sentences.into_iter().next().unwrap()
    }
}
