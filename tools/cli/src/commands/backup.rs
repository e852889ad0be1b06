//! `backup`: asks the node for one, and shows how far it is.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use corduroy_client::Client;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::Session;
use crate::arguments::OutputFormat;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::Output;

/// Nobody waits longer.
const PATIENCE: Duration = Duration::from_secs(30 * 86_400);
/// How often the node is asked how far it is.
const LOOK: Duration = Duration::from_millis(500);

pub(super) async fn backup(
    session: &mut Session,
    series: &str,
    output: &mut Output,
) -> Result<Exit, Error> {
    let client = session.client().await?;
    let told = {
        let watch = watch(client);
        let taken = client.backup(series, PATIENCE);
        tokio::pin!(watch, taken);
        tokio::select! {
            told = &mut taken => told,
            () = &mut watch => taken.await,
        }
    }?;
    let told: Value = serde_json::from_str(&told).unwrap_or(Value::String(told));
    match output.format {
        OutputFormat::Json => output.json(&told),
        OutputFormat::Raw => output.line(told["name"].as_str().unwrap_or_default()),
        OutputFormat::Table => output.line(&sentence(&told)),
    }
    .map_err(Error::Stdout)?;
    Ok(Exit::Done)
}

/// Shows how far the node is, where somebody can see it; else it ends at once. It never fails: what counts is the backup's own answer.
async fn watch(client: &Client) {
    if !io::stderr().is_terminal() {
        return;
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style =
        ProgressStyle::with_template("backing up {bar:30} {percent}% {bytes}/{total_bytes}");
    bar.set_style(style.expect("the template is well-formed"));
    loop {
        tokio::time::sleep(LOOK).await;
        let Ok(status) = client.status().await else {
            continue;
        };
        let status: Value = serde_json::from_str(&status).unwrap_or_default();
        let figure = |name: &str| status["backup"][name].as_u64();
        if let (Some(done), Some(total)) = (figure("bytes_done"), figure("bytes_total")) {
            bar.set_length(total.max(done));
            bar.set_position(done);
        }
    }
}

fn sentence(told: &Value) -> String {
    let text = |name: &str| told[name].as_str().unwrap_or_default();
    let mib = |name: &str| told[name].as_u64().unwrap_or(0) as f64 / f64::from(1 << 20);
    format!(
        "{}/{}: {:.1} MiB, of which {:.1} copied, {:.1} linked to the node's files, {:.1} as in the backup before; {} ms",
        text("directory"),
        text("name"),
        mib("bytes"),
        mib("bytes_copied"),
        mib("bytes_linked"),
        mib("bytes_reused"),
        told["elapsed_ms"],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_a_sentence() {
        let told = serde_json::json!({
            "directory": "/b/default", "name": "backup-1", "bytes": 3 << 20, "bytes_copied": 1 << 20,
            "bytes_linked": 0, "bytes_reused": 2 << 20, "elapsed_ms": 12,
        });
        assert_eq!(
            sentence(&told),
            "/b/default/backup-1: 3.0 MiB, of which 1.0 copied, 0.0 linked to the node's files, 2.0 as in the backup before; 12 ms"
        );
    }
}
