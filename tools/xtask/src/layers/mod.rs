//! `cargo xtask layers`: the import rules of the design, held by reading the sources.
//!
//! Modules of the root crate are layers, and each may import only the layers that [`LAYERS`] lists for it. Besides:
//!
//! - only `src/runtime/glommio` names glommio, and only `src/runtime` is unsafe;
//! - the layers in [`PURE`] take time, randomness and bytes as arguments: they name no file, socket, clock, thread or
//!   environment, and nothing in them is async. Their tests may;
//! - `proto-wire` depends on no crate of ours, `client` on `proto-wire` alone, in code and in `Cargo.toml`.
//!
//! [`mentions`] turns a file into what it names; this module judges that, one small function a rule.

mod mentions;
#[cfg(test)]
mod tests;

use mentions::{Mention, Mentions, module_of};

use crate::workspace::{TaskError, Workspace};

/// Each layer, and those that it may import. Lower ones first; none may import one that stands after it.
const LAYERS: [(&str, &[&str]); 9] = [
    ("limits", &[]),
    ("types", &["limits"]),
    ("ports", &["limits", "types"]),
    ("storage", &["limits", "types", "ports"]),
    ("replication", &["limits", "types", "ports"]),
    (
        "shard",
        &["limits", "types", "ports", "storage", "replication"],
    ),
    // The door speaks the shard's commands and replies; it knows nothing of how they are kept.
    ("gateway", &["limits", "types", "ports", "shard"]),
    (
        "runtime",
        &[
            "limits",
            "types",
            "ports",
            "storage",
            "replication",
            "shard",
            "gateway",
        ],
    ),
    (
        "server",
        &[
            "limits",
            "types",
            "ports",
            "storage",
            "replication",
            "shard",
            "gateway",
            "runtime",
        ],
    ),
];

/// Layers without I/O.
const PURE: [&str; 6] = [
    "limits",
    "types",
    "storage",
    "replication",
    "shard",
    "gateway",
];

/// What a pure layer doesn't name.
const IMPURE: [&[&str]; 16] = [
    &["std", "env"],
    &["std", "fs"],
    &["std", "net", "TcpListener"],
    &["std", "net", "TcpStream"],
    &["std", "net", "ToSocketAddrs"],
    &["std", "net", "UdpSocket"],
    &["std", "os"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
    &["std", "time", "UNIX_EPOCH"],
    &["flume"],
    &["libc"],
    &["rustix"],
    &["socket2"],
];

/// Crates of ours, and what each other crate may name of them.
const OURS: [&str; 3] = ["corduroy", "corduroy_client", "corduroy_proto_wire"];
const CRATES: [(&str, &[&str]); 2] = [("proto-wire", &[]), ("client", &["corduroy_proto_wire"])];

/// Checks all sources of the workspace.
pub(crate) fn run(workspace: &Workspace) -> Result<(), TaskError> {
    let malformed = |what: &str, why: String| TaskError::Malformed {
        what: what.to_owned(),
        why,
    };
    let (mut findings, mut sources) = (Vec::new(), Vec::new());
    for file in workspace.files()? {
        let is_source =
            file.ends_with(".rs") && (file.starts_with("src/") || crate_of(&file).is_some());
        let is_manifest = CRATES
            .iter()
            .any(|(name, _)| file == format!("{name}/Cargo.toml"));
        let Some(text) = (if is_source || is_manifest {
            workspace.text(&file)?
        } else {
            None
        }) else {
            continue;
        };
        if is_source {
            sources.push((file, text));
        } else {
            findings.extend(manifest_findings(&file, &text).map_err(|why| malformed(&file, why))?);
        }
    }
    findings.extend(findings_of_sources(&sources).map_err(|(file, why)| malformed(&file, why))?);
    for finding in &findings {
        println!("{finding}");
    }
    let count = findings.len();
    if count == 0 {
        Ok(())
    } else {
        Err(TaskError::Findings {
            count,
            check: "layers",
        })
    }
}

/// What is wrong in sources, each a path and a text, a line each; or which of them can't be read as Rust, and why.
fn findings_of_sources(sources: &[(String, String)]) -> Result<Vec<String>, (String, String)> {
    // A file doesn't say that it is for tests: the module above it does, in `#[cfg(test)] mod name;`.
    let mut test_modules = Vec::new();
    for (file, text) in sources {
        let mentions = Mentions::of_source(file, text, false)
            .map_err(|error| (file.clone(), error.to_string()))?;
        test_modules.extend(
            mentions
                .test_modules
                .into_iter()
                .map(|module| (crate_of(file).map(|(name, _)| name), module)),
        );
    }
    let mut findings = Vec::new();
    for (file, text) in sources {
        let (name, module) = (crate_of(file).map(|(name, _)| name), module_of(file));
        let in_test = test_modules
            .iter()
            .any(|(owner, test)| *owner == name && module.starts_with(test));
        let mentions = Mentions::of_source(file, text, in_test)
            .map_err(|error| (file.clone(), error.to_string()))?;
        findings.extend(source_findings(file, &mentions));
    }
    Ok(findings)
}

/// The crate in [`CRATES`] whose source this is, with what it may name.
fn crate_of(file: &str) -> Option<(&'static str, &'static [&'static str])> {
    CRATES.into_iter().find(|(name, _)| {
        file.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with("/src/"))
    })
}

/// What is wrong in a source, a line each.
fn source_findings(file: &str, mentions: &Mentions) -> Vec<String> {
    let mut findings = Vec::new();
    let mut found =
        |line: usize, what: String| findings.push((line, format!("{file}:{line}: {what}")));
    if let Some((name, allowed)) = crate_of(file) {
        for mention in &mentions.paths {
            if let Some(ours) = OURS
                .iter()
                .find(|ours| mention.starts_with(&[ours]) && !allowed.contains(ours))
            {
                found(mention.line, format!("{name} must not depend on {ours}"));
            }
        }
    } else {
        let layer = layer_of(file);
        for mention in &mentions.paths {
            if let Some(why) =
                import_finding(layer, mention).or_else(|| glommio_finding(file, mention))
            {
                found(mention.line, why);
            }
        }
        if layer.is_some_and(|layer| PURE.contains(&layer)) {
            for mention in mentions.paths.iter().filter(|mention| !mention.in_test) {
                if let Some(why) = purity_finding(mention) {
                    found(mention.line, why);
                }
            }
            for line in &mentions.async_lines {
                found(
                    *line,
                    "a layer without I/O has nothing to wait for: no async".to_owned(),
                );
            }
        }
    }
    // A prefetch is a hint that takes a pointer and reads nothing; the index and its users are where it is needed.
    if !file.starts_with("src/runtime/") && file != "src/storage/prefetch.rs" {
        for line in &mentions.unsafe_lines {
            found(*line, "unsafe belongs under src/runtime".to_owned());
        }
    }
    findings.sort();
    findings.dedup();
    findings.into_iter().map(|(_, finding)| finding).collect()
}

/// The layer of a source of the root crate; `None` for its roots, which tie the layers together.
fn layer_of(file: &str) -> Option<&str> {
    let inside = file.strip_prefix("src/")?;
    let first = inside.split('/').next()?;
    let layer = first.strip_suffix(".rs").unwrap_or(first);
    (!["lib", "main", "bin"].contains(&layer)).then_some(layer)
}

/// Whether a layer may name what it names of our crate.
fn import_finding(layer: Option<&str>, mention: &Mention) -> Option<String> {
    let layer = layer?;
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
        return Some(format!(
            "{layer} is no layer: give it a row in LAYERS of cargo xtask layers"
        ));
    };
    let [root, target, ..] = mention.segments.as_slice() else {
        return None;
    };
    if !["crate", "corduroy"].contains(&root.as_str())
        || target == layer
        || allowed.contains(&target.as_str())
    {
        return None;
    }
    if LAYERS.iter().any(|(name, _)| name == target) {
        Some(format!("{layer} must not import {target}"))
    } else {
        Some(format!(
            "{layer} names {target} of the crate's root, which is no layer"
        ))
    }
}

/// Whether glommio is named where it may be.
fn glommio_finding(file: &str, mention: &Mention) -> Option<String> {
    let outside = !file.starts_with("src/runtime/glommio/") && file != "src/runtime/glommio.rs";
    (outside && mention.starts_with(&["glommio"]))
        .then(|| "only src/runtime/glommio names glommio".to_owned())
}

/// Whether a pure layer names something that is not.
fn purity_finding(mention: &Mention) -> Option<String> {
    let is_std = ["std", "core", "alloc"].contains(&mention.segments.first()?.as_str());
    // `libc::ENOSPC` is a number, whatever else the crate can do.
    let is_number = mention
        .segments
        .last()?
        .chars()
        .all(|character| !character.is_lowercase());
    if mention.starts_with(&["libc"]) && is_number {
        return None;
    }
    let banned = IMPURE.iter().find(|banned| {
        // `use std::time;` and `use std::time::*;` would hide what comes after.
        let hides = is_std
            && mention.opens
            && banned.len() > mention.segments.len()
            && mention.is_start_of(banned);
        mention.starts_with(banned) || hides
    })?;
    let (what, named) = (banned.join("::"), mention.segments.join("::"));
    if mention.starts_with(banned) {
        Some(format!("a layer without I/O must not name {what}"))
    } else {
        Some(format!(
            "a layer without I/O names what it takes from {named}, so that {what} can't hide there"
        ))
    }
}

/// What is wrong in the manifest of a crate in [`CRATES`], a line each; or why it can't be read.
fn manifest_findings(file: &str, text: &str) -> Result<Vec<String>, String> {
    let manifest: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| error.to_string())?;
    let Some((name, allowed)) = CRATES.iter().find(|(name, _)| file.starts_with(name)) else {
        return Ok(Vec::new());
    };
    let mut findings = Vec::new();
    for section in ["dependencies", "build-dependencies"] {
        let Some(dependencies) = manifest.get(section).and_then(toml::Value::as_table) else {
            continue;
        };
        for (key, dependency) in dependencies {
            let package = dependency
                .get("package")
                .and_then(toml::Value::as_str)
                .unwrap_or(key)
                .replace('-', "_");
            if OURS.contains(&package.as_str()) && !allowed.contains(&package.as_str()) {
                findings.push(format!("{file}: {name} must not depend on {package}"));
            }
        }
    }
    Ok(findings)
}
