//! One record on its way to the server, patiently.
//!
//! Hundreds of these run at once. Each goes on trying by itself as long as its failures may pass ([`Patience`]); that the server does not
//! answer is said once, by whichever notices first, until one of them succeeds.

use super::patience::{Patience, may_pass};
use super::progress::Progress;
use super::record::Record;
use crate::interrupt::Interrupt;
use corduroy_client::{Error as ClientError, Keyspace, PutOptions, PutOutcome, Status};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What the futures of single records share.
pub(super) struct Delivery {
    keyspace: Keyspace,
    patience: Duration,
    pub(super) interrupt: Interrupt,
    pub(super) progress: Progress,
    /// That the server does not answer was said, and nothing succeeded since.
    outage_told: AtomicBool,
}

impl Delivery {
    /// Nothing failed yet.
    pub(super) fn new(
        keyspace: Keyspace,
        patience: Duration,
        interrupt: Interrupt,
        progress: Progress,
    ) -> Self {
        Self {
            keyspace,
            patience,
            interrupt,
            progress,
            outage_told: AtomicBool::new(false),
        }
    }

    /// Writes one record, patiently.
    pub(super) async fn put(&self, record: &Record) -> Result<PutOutcome, ClientError> {
        let mut interrupt = self.interrupt.clone();
        let mut patience = Patience::new(self.patience);
        loop {
            let options = match record.ttl_ms {
                Some(ttl_ms) => PutOptions::new().ttl(Duration::from_millis(ttl_ms)),
                None => PutOptions::new(),
            };
            let error = match self
                .keyspace
                .put_with(&record.key, &record.value, options)
                .await
            {
                Ok(outcome) => {
                    self.outage_told.store(false, Ordering::Relaxed);
                    return Ok(outcome);
                }
                Err(error) => error,
            };
            if !may_pass(&error) || interrupt.requested() {
                return Err(error);
            }
            let Some(pause) = patience.failed() else {
                return Err(error);
            };
            if !self.outage_told.swap(true, Ordering::Relaxed) {
                let limit = humantime::format_duration(self.patience);
                self.progress
                    .note(format_args!("{error}; trying again for up to {limit}"));
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = interrupt.wait() => return Err(error),
            }
        }
    }
}

/// Whether another record could fare better: the error is about this one's length or form, not about the server.
pub(super) fn is_about_the_record(error: &ClientError) -> bool {
    matches!(error, ClientError::Limit(_))
        || matches!(
            error,
            ClientError::Server {
                status: Status::LimitExceeded | Status::InvalidRequest,
                ..
            }
        )
}
