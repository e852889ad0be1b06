//! The table of commands: each is declared here, once.
//!
//! A row gives a command's name, arity, flags, where its keys stand, its categories, group, the version of Redis that first had it, a
//! sentence, and the function that gives its [`Order`](crate::gateway::resp::Order). From it come the look-up of every command and all that
//! COMMAND answers; client libraries ask that for the places of keys. What concerns Redis's own commands is compared with what redis-server
//! 7.0.15 answers (`tests/fixtures/redis-7.0.15/command.resp`).
//!
//! # Look-up
//!
//! A name is packed into 16 bytes, in lower case, and looked for in a sorted array of such numbers, which the compiler sorts.

mod rows;
mod subcommands;

pub use rows::COMMANDS;

use super::{Answer, Ask};

/// One command or subcommand.
pub struct Command {
    /// In lower case; `command|subcommand` for a subcommand.
    pub name: &'static str,
    /// How many arguments it takes, its name (and its command's) included; negative: at least so many.
    pub arity: i8,
    /// [`flags`] that hold for it.
    pub flags: u32,
    /// Where its keys stand.
    pub keys: &'static [KeySpec],
    /// Its [`categories`], beside those that follow from its flags.
    pub categories: u32,
    /// To which group of the documentation it belongs.
    pub group: &'static str,
    /// The version of Redis that first had it.
    pub since: &'static str,
    /// What it does.
    pub summary: &'static str,
    /// What clients that spread commands over nodes should know.
    pub tips: &'static [&'static str],
    /// Those whose names the second argument may be; `None` if it is an argument like others.
    pub subcommands: Option<&'static [Command]>,
    pub(super) run: Run,
}

/// Gives a command's order.
pub(super) type Run = for<'a, 's> fn(&Ask<'a, 's>) -> Answer<'a>;

/// A run of keys among the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// Place of the first; the command's name is at 0.
    pub first: u8,
    /// How far behind the first the last is; negative: counted from the end of the arguments, -1 being the last.
    pub last: i8,
    /// From one to the next.
    pub step: u8,
    /// What is done with them.
    pub access: &'static [&'static str],
}

impl Command {
    /// Whether it takes so many arguments, its name included.
    #[must_use]
    pub fn takes(&self, arguments: usize) -> bool {
        let least = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 {
            arguments >= least
        } else {
            arguments == least
        }
    }

    /// Whether a flag holds for it.
    #[must_use]
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Its name without that of the command that it is a subcommand of.
    #[must_use]
    pub fn own_name(&self) -> &'static str {
        self.name
            .split_once('|')
            .map_or(self.name, |(_, subcommand)| subcommand)
    }

    /// Its categories and those that follow from its flags.
    #[must_use]
    pub fn all_categories(&self) -> u32 {
        let mut all = self.categories;
        for (flag, implied) in [
            (flags::WRITE, categories::WRITE),
            (flags::READONLY, categories::READ),
            (flags::ADMIN, categories::ADMIN | categories::DANGEROUS),
        ] {
            if self.has(flag) {
                all |= implied;
            }
        }
        let is_fast = self.has(flags::FAST);
        all | if is_fast {
            categories::FAST
        } else {
            categories::SLOW
        }
    }
}

/// Declares a set of named bits, in the order in which Redis names them.
macro_rules! bits {
    ($(#[doc = $doc:literal])+ $module:ident: $($name:ident $text:literal,)+) => {
        $(#[doc = $doc])+
        pub mod $module {
            bits!(@ 0u32; $($name $text,)+);
            /// Their names, the lowest bit's first.
            pub(in super::super) static NAMES: &[&str] = &[$($text),+];
        }
    };
    (@ $index:expr;) => {};
    (@ $index:expr; $name:ident $text:literal, $($rest:tt)*) => {
        #[doc = concat!("`", $text, "`")]
        pub const $name: u32 = 1 << ($index);
        bits!(@ $index + 1; $($rest)*);
    };
}

bits! {
    /// What can be said of a command.
    flags:
    WRITE "write",
    READONLY "readonly",
    DENYOOM "denyoom",
    ADMIN "admin",
    NOSCRIPT "noscript",
    LOADING "loading",
    STALE "stale",
    SKIP_SLOWLOG "skip_slowlog",
    FAST "fast",
    NO_AUTH "no_auth",
    NO_MULTI "no_multi",
    ALLOW_BUSY "allow_busy",
}

bits! {
    /// Categories by which Redis's users are allowed commands.
    categories:
    KEYSPACE "@keyspace",
    READ "@read",
    WRITE "@write",
    STRING "@string",
    ADMIN "@admin",
    FAST "@fast",
    SLOW "@slow",
    DANGEROUS "@dangerous",
    CONNECTION "@connection",
    TRANSACTION "@transaction",
}

/// Declares rows. `container` instead of a function stands for a command that is nothing without its subcommand.
macro_rules! commands {
    ($(
        $name:literal $arity:literal [$($flag:ident)*]
        [$(($first:literal, $last:literal, $step:literal, $($access:literal)+))*]
        [$($category:ident)*] $group:literal $since:literal $summary:literal
        $(tips $($tip:literal)+)? => $run:path $(, $subcommands:path)?;
    )+) => {
        &[$($crate::gateway::resp::commands::table::Command {
            name: $name,
            arity: $arity,
            flags: 0 $(| $crate::gateway::resp::commands::table::flags::$flag)*,
            keys: &[$($crate::gateway::resp::commands::table::KeySpec {
                first: $first,
                last: $last,
                step: $step,
                access: &[$($access),+],
            }),*],
            categories: 0 $(| $crate::gateway::resp::commands::table::categories::$category)*,
            group: $group,
            since: $since,
            summary: $summary,
            tips: &[$($($tip),+)?],
            subcommands: commands!(@subcommands $($subcommands)?),
            run: $run,
        }),+]
    };
    (@subcommands) => { None };
    (@subcommands $subcommands:path) => { Some($subcommands) };
}
use commands;

/// Longest name of a command, in bytes.
const NAME_LEN_MAX: usize = 16;

/// A name as a number that is equal for equal names; `None` if it is longer than any command's, or has a zero byte, as which the number's
/// free places count.
const fn packed(name: &[u8]) -> Option<u128> {
    if name.len() > NAME_LEN_MAX {
        return None;
    }
    let mut bytes = [0; NAME_LEN_MAX];
    let mut index = 0;
    while index < name.len() {
        if name[index] == 0 {
            return None;
        }
        bytes[index] = name[index].to_ascii_lowercase();
        index += 1;
    }
    Some(u128::from_be_bytes(bytes))
}

/// Packed names in ascending order, each with its row's place.
static BY_NAME: [(u128, usize); COMMANDS.len()] = by_name();

const fn by_name() -> [(u128, usize); COMMANDS.len()] {
    let mut sorted = [(0, 0); COMMANDS.len()];
    let mut count = 0;
    while count < COMMANDS.len() {
        let Some(name) = packed(COMMANDS[count].name.as_bytes()) else {
            panic!("a command's name is too long");
        };
        let mut at = count;
        while at > 0 && sorted[at - 1].0 > name {
            sorted[at] = sorted[at - 1];
            at -= 1;
        }
        assert!(at == 0 || sorted[at - 1].0 != name, "a name stands twice");
        sorted[at] = (name, count);
        count += 1;
    }
    sorted
}

/// The number of a command or subcommand: first the commands in the order of the table, then the subcommands of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row(u16);

/// By their numbers.
static ROWS: [&Command; Row::COUNT] = {
    let mut rows = [&COMMANDS[0]; Row::COUNT];
    let mut command = 0;
    while command < COMMANDS.len() {
        rows[command] = &COMMANDS[command];
        if let Some(subcommands) = COMMANDS[command].subcommands {
            let mut index = 0;
            while index < subcommands.len() {
                rows[subcommands_begin(command) + index] = &subcommands[index];
                index += 1;
            }
        }
        command += 1;
    }
    rows
};

/// The number of the first subcommand of the command at this place.
const fn subcommands_begin(command: usize) -> usize {
    let mut begin = COMMANDS.len();
    let mut index = 0;
    while index < command {
        if let Some(subcommands) = COMMANDS[index].subcommands {
            begin += subcommands.len();
        }
        index += 1;
    }
    begin
}

impl Row {
    /// How many there are.
    pub const COUNT: usize = subcommands_begin(COMMANDS.len());
    /// GET's.
    pub const GET: Row = Row::of(b"get");
    /// SET's.
    pub const SET: Row = Row::of(b"set");

    const fn of(name: &[u8]) -> Row {
        let name = packed(name);
        let mut index = 0;
        loop {
            if let (Some(name), Some(candidate)) = (name, packed(COMMANDS[index].name.as_bytes()))
                && name == candidate
            {
                return Row(index as u16);
            }
            index += 1;
        }
    }

    /// That of this number.
    #[must_use]
    pub fn at(index: usize) -> Row {
        assert!(index < Row::COUNT);
        Row(index as u16)
    }

    /// Its number.
    #[inline]
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// What the table says.
    #[must_use]
    pub fn command(self) -> &'static Command {
        ROWS[self.index()]
    }

    /// The subcommand of this name, if it has subcommands.
    pub(super) fn subcommand(self, name: &[u8]) -> Option<Row> {
        let subcommands = self.command().subcommands?;
        let place = subcommands
            .iter()
            .position(|row| name.eq_ignore_ascii_case(row.own_name().as_bytes()))?;
        Some(Row((subcommands_begin(self.index()) + place) as u16))
    }
}

/// The number of a command, by its name in whatever case.
#[must_use]
pub fn find_row(name: &[u8]) -> Option<Row> {
    let name = packed(name)?;
    let place = BY_NAME
        .binary_search_by_key(&name, |&(name, _)| name)
        .ok()?;
    Some(Row(BY_NAME[place].1 as u16))
}

/// The row of a command, by its name in whatever case.
#[must_use]
pub fn find(name: &[u8]) -> Option<&'static Command> {
    find_row(name).map(Row::command)
}

/// The row of a command or, as `command|subcommand`, of a subcommand.
#[must_use]
pub fn find_full(name: &[u8]) -> Option<&'static Command> {
    let Some(bar) = name.iter().position(|&byte| byte == b'|') else {
        return find(name);
    };
    let (command, subcommand) = (&name[..bar], &name[bar + 1..]);
    find(command)?
        .subcommands?
        .iter()
        .find(|row| subcommand.eq_ignore_ascii_case(row.own_name().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A zero byte in a name must not make it the name without it, nor may a long name be cut to a known one.
    #[test]
    fn names_are_found_in_any_case_and_only_whole() {
        for command in COMMANDS {
            let capitals = command.name.to_ascii_uppercase();
            assert_eq!(find(capitals.as_bytes()).unwrap().name, command.name);
            assert_eq!(find(command.name.as_bytes()).unwrap().name, command.name);
        }
        for name in [
            b"".as_slice(),
            b"ge",
            b"get\0",
            b"\0get",
            b"gets",
            b"getgetgetgetgetgetget",
            b"g\xe5t",
        ] {
            assert!(find(name).is_none(), "{name:?}");
        }
        assert_eq!(find_full(b"Client|ID").unwrap().name, "client|id");
        assert!(find_full(b"client|").is_none() && find_full(b"get|x").is_none());
    }

    /// A number that leads to another row would count one command as another.
    #[test]
    fn numbers_lead_to_their_rows() {
        assert_eq!(Row::GET.command().name, "get");
        assert_eq!(Row::SET.command().name, "set");
        let mut names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        for command in COMMANDS {
            let row = find_row(command.name.as_bytes()).unwrap();
            assert_eq!(row.command().name, command.name);
            for subcommand in command.subcommands.unwrap_or_default() {
                let found = row.subcommand(subcommand.own_name().as_bytes()).unwrap();
                assert_eq!(found.command().name, subcommand.name);
            }
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Row::COUNT);
    }

    /// A subcommand in the wrong list, or one without its command's name, is shown under a name that nobody can call.
    #[test]
    fn subcommands_bear_their_commands_name() {
        for command in COMMANDS {
            for subcommand in command.subcommands.unwrap_or_default() {
                let (container, _) = subcommand.name.split_once('|').unwrap();
                assert_eq!(container, command.name);
                assert!(subcommand.subcommands.is_none());
                assert!(subcommand.arity.unsigned_abs() >= 2);
            }
        }
    }
}
