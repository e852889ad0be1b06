//! What to ask.

use std::sync::Arc;

use clap::{Args, ValueEnum};

use crate::workload::{
    Spec, SpecError, Workload,
    keys::{Distribution, Hot, KeyNames},
    mix::Mix,
    share::Share,
    sizes::Sizes,
    ttl::Ttls,
    values::{Depth, Values},
    ycsb::Ycsb,
};

use super::pace;

/// Keys, values, and what is done with them.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Workload")]
pub struct WorkloadArguments {
    /// Number of keys
    #[arg(long, value_name = "N", default_value = "100k", value_parser = pace::number)]
    pub keys: u64,
    /// Which keys are asked: uniform, sequential, zipfian or zipfian:0.99, latest or latest:0.99, hot-cold, moving (hot keys that change), single (one hot key) [default: uniform, or the workload's]
    #[arg(short, long, value_name = "NAME")]
    pub distribution: Option<Distribution>,
    /// Share of the keys that are hot [default: 5%]
    #[arg(long, value_name = "SHARE")]
    pub hot_keys: Option<Share>,
    /// Share of the operations that hot keys get [default: 95%; all for `single`]
    #[arg(long, value_name = "SHARE")]
    pub hot_ops: Option<Share>,
    /// How long a moving hot set stays [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = pace::duration)]
    pub move_every: Option<std::time::Duration>,
    /// Operations and their weights, such as `get=80,put=15,delete=5`: get, put, insert, delete, compare-and-set, read-modify-write, add, batch, scan [default: get=90,put=10]
    #[arg(short, long, value_name = "MIX", conflicts_with = "workload")]
    pub mix: Option<Mix>,
    /// A workload of YCSB by name, `ycsb-a` to `ycsb-f`: it sets mix and distribution
    #[arg(short, long, value_name = "NAME")]
    pub workload: Option<Ycsb>,
    /// Bytes of a value: `64`, `16-1024`, `64:50,1024:40,64KiB:10` (sizes with weights) or `@FILE` with such lines
    #[arg(long, value_name = "SIZES", default_value = "64")]
    pub value_size: Sizes,
    /// Bytes of a key, written in the same way
    #[arg(long, value_name = "SIZES", default_value = "16")]
    pub key_size: Sizes,
    /// What every key begins with
    #[arg(long, value_name = "TEXT", default_value = "key:")]
    pub key_prefix: String,
    /// Times to live and the share of writes that get them, such as `60s:10%` or `1s:50%,1h:10%` [default: none]
    #[arg(long, value_name = "TTLS")]
    pub ttl: Option<Ttls>,
    /// Keys of a batch
    #[arg(long, value_name = "SIZES", default_value = "10")]
    pub batch_size: Sizes,
    /// Keys of a scan's page [default: 100, or the workload's]
    #[arg(long, value_name = "SIZES")]
    pub scan_size: Option<Sizes>,
    /// How values that are read are checked
    #[arg(long, value_name = "HOW", default_value = "whole")]
    pub check: Check,
    /// Where chance begins: the same seed draws the same operations
    #[arg(long, value_name = "N", default_value = "1")]
    pub seed: u64,
}

/// How values are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Check {
    /// Every byte.
    Whole,
    /// Key, stamp and length alone: cheaper for long values.
    Header,
    /// Not at all: for data that something else has written.
    None,
}

impl Check {
    /// As the values know it.
    #[must_use]
    pub fn depth(self) -> Depth {
        match self {
            Check::Whole => Depth::Whole,
            Check::Header | Check::None => Depth::Header,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Check::Whole => "whole",
            Check::Header => "header",
            Check::None => "none",
        }
    }
}

impl WorkloadArguments {
    /// As the workload takes it.
    #[must_use]
    pub fn spec(&self) -> Spec {
        let mix = match (self.workload, &self.mix) {
            (Some(named), _) => named.mix(),
            (None, Some(mix)) => mix.clone(),
            (None, None) => Spec::default().mix,
        };
        let named = self.workload.or_else(|| mix.ycsb());
        Spec {
            keys: self.keys,
            distribution: self
                .distribution
                .or_else(|| named.map(Ycsb::distribution))
                .unwrap_or(Distribution::Uniform),
            hot: Hot {
                keys: self.hot_keys,
                ops: self.hot_ops,
                move_every: self.move_every,
            },
            mix,
            value_len: self.value_size.clone(),
            ttls: self.ttl.clone().unwrap_or_else(Ttls::none),
            batch: self.batch_size.clone(),
            scan: self
                .scan_size
                .clone()
                .or_else(|| named.and_then(Ycsb::scan))
                .unwrap_or_else(|| Spec::default().scan),
            seed: self.seed,
        }
    }

    /// The workload.
    ///
    /// # Errors
    ///
    /// [`SpecError`]: settings that don't go together.
    pub fn workload(&self) -> Result<Arc<Workload>, SpecError> {
        Workload::new(self.spec())
    }

    /// The first setting that says nothing with this distribution. Ignored without a word, it would make a measurement of something
    /// else than was meant.
    ///
    /// # Errors
    ///
    /// In words: which setting, and what it is for.
    pub fn check(&self) -> Result<(), String> {
        use Distribution::{HotCold, Latest, Moving, Single, Zipfian};
        let distribution = self.spec().distribution;
        let keys_fit = matches!(
            distribution,
            HotCold | Moving | Zipfian { .. } | Latest { .. }
        );
        let ops_fit = matches!(distribution, HotCold | Moving | Single);
        for (flag, is_given, fits, example) in [
            ("--hot-keys", self.hot_keys.is_some(), keys_fit, "hot-cold"),
            ("--hot-ops", self.hot_ops.is_some(), ops_fit, "hot-cold"),
            (
                "--move-every",
                self.move_every.is_some(),
                distribution == Moving,
                "moving",
            ),
        ] {
            if is_given && !fits {
                return Err(format!(
                    "{flag} says nothing with --distribution {distribution}: add --distribution {example}, or leave it out"
                ));
            }
        }
        Ok(())
    }

    /// How keys are written.
    ///
    /// # Errors
    ///
    /// [`SpecError`] if they are too short.
    pub fn names(&self) -> Result<KeyNames, SpecError> {
        KeyNames::new(&self.key_prefix, self.key_size.clone(), self.keys)
    }

    /// How values are made and checked.
    #[must_use]
    pub fn values(&self) -> Values {
        Values::new(self.check.depth())
    }

    /// For the report: each setting with the value that it has.
    #[must_use]
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let spec = self.spec();
        let mut settings = vec![
            ("keys", spec.keys.to_string()),
            ("distribution", spec.distribution.to_string()),
            ("mix", spec.mix.to_string()),
            ("value-size", spec.value_len.to_string()),
            ("key-size", self.key_size.to_string()),
            ("key-prefix", self.key_prefix.clone()),
            ("ttl", spec.ttls.to_string()),
            ("check", self.check.name().to_owned()),
            ("seed", spec.seed.to_string()),
        ];
        if spec.distribution.has_hot_keys() {
            settings.push(("hot-keys", spec.hot.keys().to_string()));
            settings.push(("hot-ops", spec.hot.ops(spec.distribution).to_string()));
        }
        if spec.distribution == Distribution::Moving {
            let every = humantime::format_duration(spec.hot.move_every());
            settings.push(("move-every", every.to_string()));
        }
        if spec.mix.asks(crate::workload::Operation::Batch) {
            settings.push(("batch-size", spec.batch.to_string()));
        }
        if spec.mix.asks(crate::workload::Operation::Scan) {
            settings.push(("scan-size", spec.scan.to_string()));
        }
        settings
    }
}
