//! Power loss in the kernel's own code: ext4 on a loop device that is shut down under the node and mounted again.
//!
//! The disk that forgets (`power`) tears more, and is ours; this one is the real path through a real filesystem's journal,
//! page cache and block layer. It needs root.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use corduroy_proto_wire::Status;

use crate::support::load::Load;
use crate::support::needs::{is_root, program, skip};
use crate::support::node::Place;
use crate::support::random::Random;
use crate::support::wait_until;

/// A filesystem in a file, unmounted when it is dropped.
struct Ext4 {
    image: PathBuf,
    directory: PathBuf,
}

impl Ext4 {
    /// Makes and mounts one. None, and the test is skipped, where that can't be.
    fn new(place: &Path) -> Option<Ext4> {
        if !is_root() {
            skip("root, to mount a filesystem,");
            return None;
        }
        for needed in ["mkfs.ext4", "mount", "umount", "xfs_io"] {
            if program(needed).is_none() {
                skip(needed);
                return None;
            }
        }
        let ext4 = Ext4 {
            image: place.join("ext4"),
            directory: place.join("mounted"),
        };
        File::create(&ext4.image)
            .unwrap()
            .set_len(512 << 20)
            .unwrap();
        fs::create_dir(&ext4.directory).unwrap();
        let image = ext4.image.to_str().unwrap();
        assert!(done("mkfs.ext4", &["-q", "-F", image]));
        if !ext4.mount() {
            skip("a loop device");
            return None;
        }
        Some(ext4)
    }

    fn mount(&self) -> bool {
        let image = self.image.to_str().unwrap();
        done(
            "mount",
            &["-o", "loop", image, self.directory.to_str().unwrap()],
        )
    }

    /// Ends it as a power cut does: what is not on the device, the journal included, never will be.
    fn cut(&self) {
        let directory = self.directory.to_str().unwrap();
        assert!(done("xfs_io", &["-x", "-c", "shutdown", directory]));
    }

    /// Mounts it again, which replays its journal.
    fn mount_again(&self) {
        let directory = self.directory.to_str().unwrap();
        // A process that was killed a moment ago may still be giving back its files.
        wait_until("the filesystem can be unmounted", || {
            done("umount", &[directory])
        });
        assert!(self.mount());
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        // Lazily, for the same reason. It fails if it isn't mounted.
        done("umount", &["-l", self.directory.to_str().unwrap()]);
    }
}

fn done(name: &str, arguments: &[&str]) -> bool {
    let program = program(name).unwrap();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().unwrap().success()
}

/// A file that was synced, but not its length or its name, is there on our own disk's terms and gone on the kernel's.
#[test]
fn acknowledged_writes_survive_a_shutdown_of_the_filesystem() {
    let place = Place::new();
    let Some(ext4) = Ext4::new(place.path()) else {
        return;
    };
    let data = ext4.directory.join("data");
    let mut random = Random::new(51);
    let mut load = Load::new(51, 2, 4);
    for round in 0..5 {
        let node = place.start_on(&data, &["--sync", "always"]);
        let found = load.verify(node.address());
        eprintln!("round {round}: {found:?}");
        let more = 1_000 + random.below(5_000);
        let pause = Duration::from_micros(random.below(20_000));
        load.run(node.address(), |progress| {
            progress.wait_for(more);
            thread::sleep(pause);
            ext4.cut();
            node.kill();
        });
        load.expect_refused_only(&[Status::ReadOnly, Status::OutcomeUnknown, Status::Damaged]);
        ext4.mount_again();
    }
    let node = place.start_on(&data, &[]);
    load.verify(node.address());
    node.stop();
}
