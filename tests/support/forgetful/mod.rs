//! A disk that forgets what was not synced: a filesystem in this process (FUSE) with a switch for its power.
//!
//! kill -9 keeps the page cache, so it proves nothing about `fdatasync`. Here every write goes to a volatile image, a sync copies it
//! to a durable one, and when the power is cut each sector that was not synced either made it or not, by seed
//! ([`image`]). The disk can also refuse a sync, and be full.

pub(crate) mod image;
mod mount;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};

use fuser::{BackgroundSession, Config, MountOption, Session};

use super::needs::{program, skip};
use image::Image;
use mount::Mounted;

/// A disk, plugged in or not.
#[derive(Debug)]
pub(crate) struct Disk {
    image: Arc<Mutex<Image>>,
    directory: PathBuf,
    session: Option<BackgroundSession>,
}

impl Disk {
    /// A new disk, to be found in `directory`. None, and the test is skipped, where FUSE is missing.
    pub(crate) fn plug_in(directory: &Path) -> Option<Disk> {
        let mut disk = Disk {
            image: Arc::default(),
            directory: directory.to_owned(),
            session: None,
        };
        if program("fusermount3").is_none() && program("umount").is_none() {
            skip("fusermount3 (FUSE)");
            return None;
        }
        fs::create_dir_all(directory).unwrap();
        match disk.mount() {
            Ok(()) => Some(disk),
            Err(error) => {
                skip(&format!("FUSE ({error})"));
                None
            }
        }
    }

    fn mount(&mut self) -> std::io::Result<()> {
        let mut options = Config::default();
        options.mount_options = vec![
            MountOption::FSName("forgetful".to_owned()),
            MountOption::NoAtime,
        ];
        let mounted = Mounted::new(Arc::clone(&self.image));
        let session = Session::new(mounted, &self.directory, &options)?;
        self.session = Some(session.spawn()?);
        Ok(())
    }

    /// What is on it.
    pub(crate) fn image(&self) -> MutexGuard<'_, Image> {
        self.image.lock().unwrap()
    }

    /// Plugs the disk in again, after a cut: what is to be seen is what it has kept. Whoever used it must have ended.
    pub(crate) fn plug_in_again(&mut self) {
        self.unplug();
        self.image().power_on();
        self.mount().unwrap();
    }

    /// Takes the disk away, and waits until the kernel has let go of it.
    fn unplug(&mut self) {
        let Some(session) = self.session.take() else {
            return;
        };
        // Lazily: a process that was killed a moment ago may still be giving back its files.
        for (name, flags) in [("fusermount3", ["-u", "-z"]), ("umount", ["-l", "-n"])] {
            let done = Command::new(name)
                .args(flags)
                .arg(&self.directory)
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success());
            if done {
                // It answers nothing of interest once it is unmounted.
                let _ = session.join();
                return;
            }
        }
        panic!("can't unmount {}", self.directory.display());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A second panic would end the whole run.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.unplug()));
        } else {
            self.unplug();
        }
    }
}
