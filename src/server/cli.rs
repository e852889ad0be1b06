//! The command line of the server binary.
//!
//! The settings' flags are not declared here: they are made from the table in [`config`](super::config), and may stand before or
//! after the subcommand. What they say is kept as text; [`Resolved`] parses it with the other layers, so that a wrong value
//! gets the same sentence wherever it came from.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::error::{Error, ErrorKind};
use clap::{
    Arg, ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand,
    value_parser,
};

use super::config::{Flags, SETTINGS, Setting, write_json, write_toml};
use super::config::{Rejected, Resolved};
use super::tools::{
    self, BackupCommand, CheckOptions, DumpOptions, RepairOptions, RestoreOptions, ToolError,
    Verdict,
};

/// A durable key-value store with one append-only log a core.
#[derive(Debug, Parser)]
#[command(name = "corduroy", version, about, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    /// Configuration file, TOML [default: ./corduroy.toml if it exists] [env: CORDUROY_CONFIG].
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Start in spite of damage in the middle of a log, without what is damaged.
    ///
    /// Without it a start that finds damage stops, and says in which file and where. What was written there is lost; a copy
    /// of the data directory made before is worth having.
    #[arg(long, global = true)]
    salvage: bool,

    #[command(flatten)]
    settings: SettingFlags,

    #[command(subcommand)]
    action: Option<Action>,
}

/// What the server binary does.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Action {
    /// Run a node (also without a subcommand).
    Serve,
    /// Print the effective configuration, and where each value came from.
    ///
    /// As text it is a configuration file. Nothing is started, made or locked.
    Config {
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Read and look into a node's files.
    #[command(flatten)]
    Tool(Tool),
}

/// What works on a node's files, without a node and without its configuration.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Tool {
    /// Read every record of a data directory and say whether all is there.
    ///
    /// Nothing is changed, and no server may run on the directory meanwhile. Ends with 0 if all is there, 3 if a crash has left a torn tail
    /// (nothing that was acknowledged is lost, and the next start mends it), 4 if there is damage.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckOptions),
    /// Show what is in a segment's file, for people or for programs.
    ///
    /// Goes on after damage as far as it can, and says where it is. Ends with 0, or 4 if there was something that could not be read. A torn tail looks
    /// like damage to it, for one file alone does not tell: check tells them apart.
    #[command(after_help = DUMP_EXAMPLES)]
    Dump(DumpOptions),
    /// Cut what can't be saved from a data directory, and say which keys are lost.
    ///
    /// Everything that can be read stays as it is. What is cut is kept in a directory beside, with a report of all lost records. No server may run on the
    /// data directory. Make a copy of it first if you can, and look at --dry-run, which ends with what check ends with; without it 0 means that a
    /// start takes the directory now.
    #[command(after_help = REPAIR_EXAMPLES)]
    Repair(RepairOptions),
    /// List and verify backups. A running node takes them: corduroy-cli backup.
    #[command(subcommand, after_help = BACKUP_EXAMPLES)]
    Backup(BackupCommand),
    /// Make a data directory from a backup.
    ///
    /// Every byte is compared with its checksum. Of a series of backups the last is restored, or with --until what there was at a moment. A directory that is
    /// not empty is refused.
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore(RestoreOptions),
}

impl Tool {
    /// Does it.
    ///
    /// # Errors
    /// [`ToolError`].
    pub fn run(&self, output: &mut dyn Write) -> Result<Verdict, ToolError> {
        match self {
            Tool::Check(options) => tools::check(options, output),
            Tool::Dump(options) => tools::dump(options, output),
            Tool::Repair(options) => tools::repair(options, output),
            Tool::Backup(command) => tools::backup(command, output),
            Tool::Restore(options) => tools::restore(options, output),
        }
    }
}

/// The names of the tools' subcommands.
const TOOLS: [&str; 5] = ["check", "dump", "repair", "backup", "restore"];

const CHECK_EXAMPLES: &str = "\
Example:
  corduroy check /srv/store && echo all is there";

const DUMP_EXAMPLES: &str = "\
Examples:
  corduroy dump /srv/store/shard-000/0000000000000001.seg | less
  corduroy dump --json --limit 10 SEGMENT | jq 'select(.type == \"record\") | .key'
  corduroy dump --from 81920 --to 86016 SEGMENT      what is around a place that check names";

const REPAIR_EXAMPLES: &str = "\
Examples:
  corduroy repair --dry-run /srv/store               what would be done, and lost
  corduroy repair /srv/store --keep /mnt/other/cut";

const BACKUP_EXAMPLES: &str = "\
Examples:
  corduroy backup list /srv/backups/default          what there is, and which moments can be restored
  corduroy backup verify /srv/backups/default        whether the last one is whole";

const RESTORE_EXAMPLES: &str = "\
Examples:
  corduroy restore /srv/backups/default --to /srv/restored
  corduroy restore /srv/backups/default --to /srv/restored --until 2026-11-30T17:22:21Z";

const EXAMPLES: &str = "\
Examples:
  corduroy                                          all cores, ./corduroy-data, 127.0.0.1:7379
  corduroy serve --data /srv/store --memory 8GiB --sync interval=50ms
  corduroy config --cores 0,2-3                     what a node would run with, and why
  corduroy check /srv/store                         whether all data is there, without a node
Flags win over CORDUROY_* in the environment, that over the file, that over the defaults.";

impl Cli {
    /// What to do.
    #[must_use]
    pub fn action(&self) -> Action {
        self.action.clone().unwrap_or(Action::Serve)
    }

    /// The command line of this process. Ends the process if it makes no sense, or asks for help.
    #[must_use]
    pub fn of_process() -> Cli {
        let mut command = Cli::declared();
        let parsed = command
            .try_get_matches_from_mut(std::env::args_os())
            .and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches))
            .and_then(Cli::checked);
        parsed.unwrap_or_else(|error| error.format(&mut command).exit())
    }

    /// The declaration. Settings are no concern of the tools: they are not among what their help lists.
    fn declared() -> Command {
        let mut command = Cli::command();
        command.build();
        for tool in TOOLS {
            command = command.mut_subcommand(tool, |tool| {
                hide_settings(tool).mut_subcommands(hide_settings)
            });
        }
        command
    }

    /// A setting that a tool would not look at is a mistake.
    fn checked(self) -> Result<Cli, Error> {
        let has_settings = !self.settings.texts.is_empty() || self.salvage || self.config.is_some();
        match self.action {
            Some(Action::Tool(_)) if has_settings => Err(Error::raw(
                ErrorKind::ArgumentConflict,
                "check, dump, repair, backup and restore work on files and take none of the server's settings",
            )),
            _ => Ok(self),
        }
    }

    /// The configuration of this process.
    ///
    /// # Errors
    /// With everything that is wrong with it.
    pub fn resolve(self) -> Result<Resolved, Rejected> {
        Resolved::of_process(self.into_flags())
    }

    fn into_flags(self) -> Flags {
        Flags {
            file: self.config,
            settings: self.settings.texts,
            salvage: self.salvage,
        }
    }
}

fn hide_settings(command: Command) -> Command {
    command.mut_args(|argument| {
        let is_own = !argument.is_global_set();
        argument.hide(!is_own)
    })
}

/// Carries out [`Action::Config`].
///
/// # Errors
/// When `output` refuses.
pub fn print_config(resolved: &Resolved, json: bool, output: &mut dyn Write) -> io::Result<()> {
    if json {
        write_json(resolved, output)
    } else {
        write_toml(resolved, output)
    }
}

/// The flags of the table of settings.
#[derive(Debug, Default)]
struct SettingFlags {
    /// Those that were given.
    texts: Vec<(&'static Setting, OsString)>,
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        command
            .next_help_heading("Settings")
            .args(SETTINGS.iter().map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        SettingFlags::augment_args(command)
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<SettingFlags, Error> {
        let given = |setting: &'static Setting| {
            Some((setting, matches.get_one::<OsString>(setting.name)?.clone()))
        };
        Ok(SettingFlags {
            texts: SETTINGS.iter().filter_map(given).collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = SettingFlags::from_arg_matches(matches)?;
        Ok(())
    }
}

fn argument(setting: &'static Setting) -> Arg {
    let (first, rest) = setting
        .help
        .trim()
        .split_once('\n')
        .unwrap_or((setting.help.trim(), ""));
    let rest: Vec<&str> = rest.lines().map(str::trim).collect();
    let facts = format!(
        "[default: {}] [env: {}]",
        setting.default,
        setting.variable()
    );
    let first = first.trim();
    let mut paragraphs = vec![
        first.to_owned(),
        rest.join(" "),
        format!("Allowed: {}.", setting.allowed()),
        facts.clone(),
    ];
    paragraphs.retain(|paragraph| !paragraph.is_empty());
    Arg::new(setting.name)
        .long(setting.flag())
        .value_name(setting.value_name)
        .value_parser(value_parser!(OsString))
        .global(true)
        .help(format!("{first} {facts}"))
        .long_help(paragraphs.join("\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Cli {
        Cli::try_parse_from(std::iter::once(&"corduroy").chain(arguments)).unwrap()
    }

    fn texts(cli: &Cli) -> Vec<(&str, &str)> {
        cli.settings
            .texts
            .iter()
            .map(|(setting, text)| (setting.name, text.to_str().unwrap()))
            .collect()
    }

    #[test]
    fn the_declaration_is_consistent() {
        Cli::command().debug_assert();
    }

    // Scripts write the flags where it suits them. One that is parsed but lost on its way from the subcommand starts a node
    // on defaults, in another directory.
    #[test]
    fn flags_count_before_and_after_the_subcommand() {
        let expected = [("data", "d"), ("value_len_max", "1MiB")];
        for arguments in [
            ["--data", "d", "--value-len-max", "1MiB", "serve"],
            ["serve", "--data", "d", "--value-len-max", "1MiB"],
            ["--data", "d", "serve", "--value-len-max", "1MiB"],
        ] {
            let cli = parse(&arguments);
            assert_eq!(texts(&cli), expected, "{arguments:?}");
            assert_eq!(cli.action(), Action::Serve);
        }
        let cli = parse(&["config", "--json", "--salvage", "--config", "x.toml"]);
        assert_eq!(cli.action(), Action::Config { json: true });
        let flags = cli.into_flags();
        assert!(flags.salvage && flags.settings.is_empty());
        assert_eq!(flags.file, Some("x.toml".into()));
    }

    #[test]
    fn without_a_subcommand_it_serves() {
        let cli = parse(&["--listen", "127.0.0.1:1"]);
        assert_eq!(cli.action(), Action::Serve);
        assert_eq!(texts(&cli), [("listen", "127.0.0.1:1")]);
    }

    // A flag that nobody can find in the help might as well not exist.
    #[test]
    fn the_help_names_every_flag_default_and_variable() {
        let help = Cli::command().render_long_help().to_string();
        for setting in SETTINGS {
            for part in [
                format!("--{} <{}>", setting.flag(), setting.value_name),
                setting.variable(),
            ] {
                assert!(help.contains(&part), "{part} is missing from:\n{help}");
            }
        }
    }

    // Thirty settings that mean nothing there would hide the five flags that do; and a setting that is taken in silence promises something.
    #[test]
    fn tools_have_no_settings() {
        let mut command = Cli::declared();
        command.build();
        for name in TOOLS {
            let tool = command.find_subcommand_mut(name).unwrap();
            let help = tool.render_long_help().to_string();
            assert!(help.contains("Example"), "{help}");
            assert!(
                !help.contains("--listen") && !help.contains("--salvage"),
                "{help}"
            );
        }
        let given = parse(&["check", "x", "--memory", "1GiB"]).checked();
        assert!(given.unwrap_err().to_string().contains("settings"));
        let given = parse(&["--salvage", "repair", "x"]).checked();
        assert!(given.is_err());
        assert!(parse(&["dump", "x", "--json"]).checked().is_ok());
        assert!(parse(&["serve", "--salvage"]).checked().is_ok());
    }

    #[test]
    fn a_misspelt_flag_suggests_the_nearest() {
        let error = Cli::try_parse_from(["corduroy", "--vale-len-max", "1"]).unwrap_err();
        assert!(error.to_string().contains("--value-len-max"), "{error}");
    }
}
