//! Where the lines of earlier sessions are kept: `corduroy/history` in the user's state directory, `$XDG_STATE_HOME` or
//! `~/.local/state`.
//!
//! The lines hold keys and values, so the file is the user's alone. That there is no history is no reason not to start: what goes
//! wrong here is said, and the session goes on without.

use super::Completion;
use crate::output::note;
use rustyline::Editor;
use rustyline::history::FileHistory;
use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Takes the old lines in. Where the new ones will go; `None` if there is no place for them.
pub(super) fn load(editor: &mut Editor<Completion, FileHistory>) -> Option<PathBuf> {
    let path = state_directory(env::var_os("XDG_STATE_HOME"), env::var_os("HOME"))?
        .join("corduroy")
        .join("history");
    if let Err(error) = prepare(&path) {
        note(format_args!(
            "without history: cannot use {}: {error}",
            path.display()
        ));
        return None;
    }
    if let Err(error) = editor.load_history(&path) {
        note(format_args!(
            "cannot read the history {}: {error}",
            path.display()
        ));
    }
    Some(path)
}

/// Adds this session's lines to the file; those that other sessions added meanwhile stay.
pub(super) fn store(editor: &mut Editor<Completion, FileHistory>, path: &Path) {
    if let Err(error) = editor.append_history(path) {
        note(format_args!(
            "cannot write the history {}: {error}",
            path.display()
        ));
    }
}

/// The user's state directory, by the XDG base directory specification: an empty or relative variable counts as unset.
fn state_directory(
    xdg_state_home: Option<std::ffi::OsString>,
    home: Option<std::ffi::OsString>,
) -> Option<PathBuf> {
    let absolute =
        |path: std::ffi::OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    xdg_state_home
        .and_then(absolute)
        .or_else(|| Some(home.and_then(absolute)?.join(".local/state")))
}

/// Makes the file and its directories, readable for the user alone.
fn prepare(path: &Path) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
    }
    let file = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A relative path would scatter histories over every directory that the program is started in.
    #[test]
    fn the_state_directory_is_absolute() {
        let directory = |xdg: Option<&str>, home: Option<&str>| {
            state_directory(xdg.map(Into::into), home.map(Into::into))
        };
        assert_eq!(directory(Some("/x"), Some("/h")), Some("/x".into()));
        assert_eq!(
            directory(Some("x"), Some("/h")),
            Some("/h/.local/state".into())
        );
        assert_eq!(
            directory(Some(""), Some("/h")),
            Some("/h/.local/state".into())
        );
        assert_eq!(directory(None, None), None);
    }

    /// Values typed at the prompt may be secrets; others on the machine must not read them.
    #[test]
    fn the_file_is_the_users_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("corduroy/history");
        prepare(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::write(&path, "kept").unwrap();
        prepare(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"kept");
    }
}
