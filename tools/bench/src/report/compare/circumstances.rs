//! What was different around two measurements, apart from what they measured.

use std::collections::BTreeSet;

use crate::results::{Report, Run};

/// A sentence a difference.
pub(super) fn differences(before: &Report, after: &Report) -> Vec<String> {
    let mut said = Vec::new();
    let mut differ = |what: &str, left: String, right: String| {
        if left != right {
            said.push(format!(
                "{what}: {} before, {} after",
                shown(&left),
                shown(&right)
            ));
        }
    };
    let none = String::new();
    let names: BTreeSet<&String> = before
        .settings
        .keys()
        .chain(after.settings.keys())
        .collect();
    for name in names {
        let setting = |report: &Report| report.settings.get(name).unwrap_or(&none).clone();
        differ(&format!("setting {name}"), setting(before), setting(after));
    }
    let (left, right) = (&before.server, &after.server);
    for (what, left, right) in [
        ("server", &left.version, &right.version),
        ("server's durability", &left.durability, &right.durability),
        (
            "server's consistency",
            &left.consistency,
            &right.consistency,
        ),
        ("protocol", &left.protocol, &right.protocol),
        ("server's address", &left.address, &right.address),
    ] {
        differ(what, left.clone(), right.clone());
    }
    let shards = |report: &Report| report.server.shards.map(|shards| shards.to_string());
    differ(
        "server's shards",
        shards(before).unwrap_or_default(),
        shards(after).unwrap_or_default(),
    );
    let (left, right) = (&before.machine, &after.machine);
    differ("kernel", left.kernel.clone(), right.kernel.clone());
    differ("CPU", left.cpu.clone(), right.cpu.clone());
    differ("CPUs online", left.cpus.to_string(), right.cpus.to_string());
    differ(
        "generator's CPUs",
        format!("{:?}", left.client_cpus),
        format!("{:?}", right.client_cpus),
    );
    differ("generator", before.tool.clone(), after.tool.clone());
    differ("seconds a run", seconds(before), seconds(after));
    said
}

/// The lengths of the windows, to the tenth of a second: none is exact.
fn seconds(report: &Report) -> String {
    let length = |run: &Run| format!("{:.1}", run.seconds);
    let lengths: BTreeSet<String> = report.runs.iter().map(length).collect();
    lengths.into_iter().collect::<Vec<_>>().join(", ")
}

fn shown(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}
