//! What a latency is of: the names of heats and cores, and of what belongs together, in tables, legends, conditions and tags. An operation knows its own.

use crate::{
    results::Latency,
    workload::{Heat, Operation},
};

/// A heat's name, as in the JSON.
#[must_use]
pub fn heat(heat: Heat) -> &'static str {
    match heat {
        Heat::Hot => "hot",
        Heat::Cold => "cold",
    }
}

/// What a distribution is of: `all`, `get`, `hot`, `get.hot`, `core3`. A condition has the same in front of its figure.
#[must_use]
pub fn scope(latency: &Latency) -> String {
    scope_of(latency.operation, latency.heat, latency.server_core)
}

/// [`scope`] of its parts.
#[must_use]
pub fn scope_of(of: Option<Operation>, warm: Option<Heat>, core: Option<u32>) -> String {
    let parts: Vec<String> = [
        of.map(|of| of.name().to_owned()),
        warm.map(|warm| heat(warm).to_owned()),
        core.map(|core| format!("core{core}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    if parts.is_empty() {
        "all".to_owned()
    } else {
        parts.join(".")
    }
}
