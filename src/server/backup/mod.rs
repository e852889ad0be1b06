//! Backups: taken of a running node, looked at, and restored.
//!
//! A backup is what a power loss at one moment of each shard would have left: every block of its log below a point, and none behind it. A start on a
//! restored backup is therefore a start after a crash, about which everything is argued already (`docs/on-disk-format.md`). What that means over
//! several shards says `docs/backup.md`; why it is done so, `docs/decisions/0026-backups.md`.
//!
//! | part | |
//! |---|---|
//! | [`Keeper`] | the node's thread that takes them; the shards' part is `shard::backup` |
//! | `series`, `manifest`, `files` | the directory of a series, what a backup says of itself, its segments |
//! | `shelf`, `until` | for `corduroy backup` and `corduroy restore` (`server::tools`): the backups that somebody names, and where their logs are cut |

mod error;
mod files;
mod keeper;
mod manifest;
mod series;
mod shelf;
mod until;

pub use error::BackupError;
pub(super) use error::failed;
pub use keeper::Keeper;
pub use manifest::{BackupManifest, FileBackup, FileKind, ShardBackup};
pub use series::Series;
pub use shelf::{Shelved, shelved};
pub use until::{Cut, cut, earliest};
