//! Ctrl-C while something long runs.
//!
//! The first one asks: whoever runs looks at [`Interrupt::wait`] or [`Interrupt::requested`], finishes what is under way, writes
//! down how far it came and says how to go on. The second one ends the process at once: a person who presses twice means it.
//! Commands that take no time don't listen, and the operating system ends them as it always does.

use crate::exit::Exit;
use tokio::sync::watch;

/// Whether Ctrl-C was pressed since listening began.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    requested: watch::Receiver<bool>,
}

impl Interrupt {
    /// Listens until the returned guard is dropped. Must be called inside a runtime.
    pub(crate) fn listen() -> (Self, Listening) {
        let (sender, requested) = watch::channel(false);
        let task = tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                if sender.send_replace(true) {
                    std::process::exit(i32::from(Exit::Interrupted.code()));
                }
            }
        });
        (Self { requested }, Listening { task })
    }

    /// Whether it was pressed.
    pub(crate) fn requested(&self) -> bool {
        *self.requested.borrow()
    }

    /// Resolves when it is pressed, at once if it was. Never resolves when nobody listens any more.
    pub(crate) async fn wait(&mut self) {
        if self
            .requested
            .wait_for(|requested| *requested)
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }
    }
}

/// Keeps an [`Interrupt`] listening.
#[derive(Debug)]
pub(crate) struct Listening {
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}
