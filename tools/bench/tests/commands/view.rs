//! The live view: one line that renews itself on a terminal, plain lines elsewhere, nothing where nothing is wanted.

use std::{
    fs::{File, OpenOptions},
    io::Read,
    process::Stdio,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::{process::corduroy, support::say};

const RUN: &str = "run --keys 500 --load -c 5 --warm-up 0 --duration 1500ms -o json";

#[test]
fn a_line_that_renews_itself_on_a_terminal() {
    let server = corduroy();
    let (mut screen, terminal) = terminal();
    let mut command = server.command(RUN);
    command.env("TERM", "xterm").stderr(Stdio::from(terminal));
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // The terminal ends with an error once nobody holds its other side.
        let _ = screen.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let said = say(command).with(0);
    assert!(said.out.starts_with('{'), "{}", said.out);
    let shown = reader.join().unwrap();
    let views: Vec<&str> = shown
        .split(['\r', '\n'])
        .filter(|view| view.contains("p99"))
        .collect();
    assert!(views.len() >= 3, "{shown:?}");
    let last = without_colours(views.last().unwrap());
    assert!(
        last.contains("run [=") && last.contains("/s  p50 "),
        "{last:?}"
    );
    assert!(last.trim_end().chars().count() <= 100, "{last:?}");
}

#[test]
fn plain_lines_elsewhere_and_nothing_where_nothing_is_wanted() {
    let server = corduroy();
    let plain = server.bench(RUN).with(0);
    assert!(!plain.err.contains(['\r', '\u{1b}']), "{:?}", plain.err);
    let lines = plain
        .err
        .lines()
        .filter(|line| line.starts_with("run "))
        .count();
    assert!((1..=2).contains(&lines), "{:?}", plain.err);
    let silent = server.bench(&format!("{RUN} --live never")).with(0);
    assert!(!silent.err.contains("p99"), "{:?}", silent.err);
}

/// Both sides of a terminal of 100 columns.
fn terminal() -> (File, File) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let screen = openpt(flags).unwrap();
    grantpt(&screen).unwrap();
    unlockpt(&screen).unwrap();
    let name = ptsname(&screen, Vec::new()).unwrap();
    let terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    let size = Winsize {
        ws_row: 40,
        ws_col: 100,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&terminal, size).unwrap();
    (File::from(screen), terminal)
}

/// What a person sees of it.
fn without_colours(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default();
    // A sequence ends with its first letter.
    let rest = parts.map(|part| part.trim_start_matches(|byte: char| !byte.is_ascii_alphabetic()));
    let rest = rest.map(|part| part.get(1..).unwrap_or_default());
    std::iter::once(first).chain(rest).collect()
}
