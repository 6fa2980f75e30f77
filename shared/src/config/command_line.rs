//! Reads the command line and the environment, and tells every wrong setting at once.
//!
//! clap stops at the first. So whatever is wrong is noted and set aside, and the rest is read again;
//! what nobody set aside is then checked together. The content of a secret is never shown.

use std::error::Error as _;
use std::ffi::OsString;
use std::net::AddrParseError;
use std::num::ParseIntError;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{Arg, Command};

/// What is wrong with a setting, or with several that do not go together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Their environment variables.
    pub settings: Vec<&'static str>,
    /// What is wrong and what to do, without anything secret.
    pub what: String,
}

impl Problem {
    /// One with the setting of this environment variable.
    pub fn of(setting: &'static str, what: impl Into<String>) -> Self {
        Self { settings: vec![setting], what: what.into() }
    }

    /// One with settings that do not go together.
    pub fn between(settings: &[&'static str], what: impl Into<String>) -> Self {
        Self { settings: settings.to_vec(), what: what.into() }
    }
}

/// Settings that can be wrong in ways that their types do not show.
pub trait Check {
    /// All that is wrong.
    fn problems(&self) -> Vec<Problem>;
}

/// Why there are no settings.
#[derive(Debug)]
pub enum NoSettings {
    /// Help was asked for, or a flag or subcommand is unknown: clap says the rest.
    Usage(Error),
    /// What is wrong, a line each.
    Wrong(Vec<String>),
}

/// Reads and checks the settings.
///
/// # Errors
/// [`NoSettings`].
pub fn read<T: clap::Parser + Check>(args: Vec<OsString>) -> Result<T, NoSettings> {
    let whole = T::command();
    let command = whole.clone().mut_args(unless_empty);
    let command = in_subcommands(command, &|command| command.mut_args(unless_empty));
    let mut reader = Reader { whole, command, args, wrong: vec![] };
    loop {
        match reader.command.clone().try_get_matches_from(&reader.args) {
            Err(error) => reader.set_aside(error)?,
            Ok(matches) => {
                let settings = T::from_arg_matches(&matches).map_err(NoSettings::Usage)?;
                reader.note(settings.problems());
                return match reader.wrong.is_empty() {
                    true => Ok(settings),
                    false => Err(reader.refusal()),
                };
            }
        }
    }
}

/// A variable that is set to nothing counts as not set: files and charts often leave it so.
fn unless_empty(arg: Arg) -> Arg {
    let empty = arg.get_env().is_some_and(super::is_empty);
    if empty { arg.env(Resettable::Reset) } else { arg }
}

fn in_subcommands(command: Command, change: &dyn Fn(Command) -> Command) -> Command {
    let names: Vec<String> =
        command.get_subcommands().map(|found| found.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, change))
}

struct Reader {
    /// With every variable, to find names in.
    whole: Command,
    /// Without what was set aside.
    command: Command,
    args: Vec<OsString>,
    /// The argument's id (none for several) and the line about it.
    wrong: Vec<(Option<String>, String)>,
}

impl Reader {
    /// Notes what clap found wrong with a value, and has it read again without it.
    fn set_aside(&mut self, error: Error) -> Result<(), NoSettings> {
        let named = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(named)) => vec![named.clone()],
            Some(ContextValue::Strings(named)) => named.clone(),
            _ => return Err(NoSettings::Usage(error)),
        };
        for named in named {
            // As usage has it: `--listen <ADDRESS>`.
            let long = named.trim_start_matches('-').split([' ', '=', '[']).next();
            let arg = self.find(|arg| arg.get_long() == long).cloned();
            let (Some(arg), Some(what)) =
                (&arg, arg.as_ref().and_then(|arg| what(&error, arg, self.is_flag_given(arg))))
            else {
                return Err(NoSettings::Usage(error));
            };
            let id = arg.get_id().to_string();
            let seen = self.wrong.iter().any(|(wrong, _)| wrong.as_ref() == Some(&id));
            if seen {
                // Not even its stand-in is right: what was found so far has to do.
                return Err(self.refusal());
            }
            self.wrong.push((Some(id.clone()), format!("{}: {what}", name(arg))));
            self.forget(&id, arg.get_long().unwrap_or_default());
        }
        Ok(())
    }

    /// Reads it neither from the command line nor from the environment any more.
    fn forget(&mut self, id: &str, long: &str) {
        let flag = format!("--{long}");
        let with_value = format!("{flag}=");
        let mut args = std::mem::take(&mut self.args).into_iter();
        while let Some(arg) = args.next() {
            if arg == flag.as_str() {
                args.next();
            } else if !arg.to_string_lossy().starts_with(&with_value) {
                self.args.push(arg);
            }
        }
        let stand_in = |arg: Arg| {
            let required = arg.is_required_set();
            let arg = arg.env(Resettable::Reset);
            if required { arg.required(false).default_value("stand-in") } else { arg }
        };
        let change = |command: Command| {
            let there = command.get_arguments().any(|arg| arg.get_id() == id);
            if there { command.mut_arg(id, stand_in) } else { command }
        };
        self.command = in_subcommands(change(self.command.clone()), &change);
    }

    /// Notes what a check found, save what follows from a value that was set aside.
    fn note(&mut self, problems: Vec<Problem>) {
        let aside: Vec<String> = self.wrong.iter().filter_map(|(id, _)| id.clone()).collect();
        for problem in problems {
            let args: Vec<&Arg> = (problem.settings.iter())
                .filter_map(|env| self.find(|arg| arg.get_env().is_some_and(|name| name == *env)))
                .collect();
            if args.iter().any(|arg| aside.contains(&arg.get_id().to_string())) {
                continue;
            }
            let names: Vec<String> = args.into_iter().map(name).collect();
            self.wrong.push((None, format!("{}: {}", names.join(", "), problem.what)));
        }
    }

    fn find(&self, wanted: impl Fn(&Arg) -> bool) -> Option<&Arg> {
        let commands = std::iter::once(&self.whole).chain(self.whole.get_subcommands());
        commands.flat_map(Command::get_arguments).find(|arg| wanted(arg))
    }

    fn is_flag_given(&self, arg: &Arg) -> bool {
        let flag = format!("--{}", arg.get_long().unwrap_or_default());
        self.args.iter().any(|arg| arg.to_string_lossy().split('=').next() == Some(&flag))
    }

    fn refusal(&self) -> NoSettings {
        NoSettings::Wrong(self.wrong.iter().map(|(_, line)| line.clone()).collect())
    }
}

/// The flag and the variable.
fn name(arg: &Arg) -> String {
    let flag = format!("--{}", arg.get_long().unwrap_or_default());
    match arg.get_env() {
        Some(variable) => format!("{flag} ({})", variable.to_string_lossy()),
        None => flag,
    }
}

/// What clap says of a value, in words for who set it. `None`: it is not about a value.
fn what(error: &Error, arg: &Arg, on_command_line: bool) -> Option<String> {
    if error.kind() == ErrorKind::MissingRequiredArgument {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        return Some(format!("is missing. {}", help.trim_start_matches("Required. ")));
    }
    let value = match error.get(ContextKind::InvalidValue) {
        // A flag without its value is a slip of the hand; in a variable it is a comma too many.
        Some(ContextValue::String(value)) if !(value.is_empty() && on_command_line) => value,
        _ => return None,
    };
    let rule = match (error.kind(), error.source(), error.get(ContextKind::ValidValue)) {
        (ErrorKind::InvalidValue, _, Some(ContextValue::Strings(valid))) => {
            format!("must be one of {}", valid.join(", "))
        }
        (ErrorKind::ValueValidation, Some(source), _) => rule(source),
        _ => return None,
    };
    let shown = if arg.is_hide_env_values_set() { "it".to_owned() } else { format!("`{value}`") };
    Some(format!("{shown} {rule}"))
}

/// The standard library's words for a wrong number or address do not say what would be right.
fn rule(source: &(dyn std::error::Error + 'static)) -> String {
    if source.is::<ParseIntError>() {
        "must be a whole number".to_owned()
    } else if source.is::<AddrParseError>() {
        "must be an IP address and a port, as in 127.0.0.1:8080".to_owned()
    } else if source.is::<ipnet::AddrParseError>() {
        "must be a network, as in 10.0.0.0/8".to_owned()
    } else {
        // clap's own numbers have no upper bound but that of 64 bits.
        let said = source.to_string().replace(&format!("..{}", i64::MAX), " or more");
        match said.split_once(" is not in ") {
            Some((_, range)) => format!("must be {}", range.replace("..=", " to ")),
            None => said,
        }
    }
}
