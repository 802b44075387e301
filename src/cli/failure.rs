//! How a command ends: its exit code, and for a failure the stable code and
//! the sentence that says what to do next. The sentence is the catalogue's
//! where that knows the code and every word it needs; else what the error
//! itself says, with advice by who has to act.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::audit::export::ExportError;
use crate::blame::{Blame, Blamed};
use crate::lang::{Lang, placeholders};
use crate::roster::RosterError;
use crate::rpc::desk_client::DeskCallError;
use crate::tls::TlsError;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked; a query found something.
    Done,
    /// There is nothing to show: no hits, no links.
    Nothing,
    /// It was refused, or used wrongly.
    Refused,
    /// The node, or something that it needs, is out of reach.
    Unreachable,
    /// A fault of the program or the node.
    Internal,
    /// A newer casegate is needed to read it.
    Newer,
    /// The config file, or a file that it names, is not right.
    Config,
}

impl Exit {
    /// The process's exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Nothing => 1,
            Self::Refused => 2,
            Self::Unreachable => 3,
            Self::Internal => 4,
            Self::Newer => 5,
            Self::Config => 64,
        }
    }

    fn of_blame(blame: Blame) -> Self {
        match blame {
            Blame::Misbehaved
            | Blame::Incompatible
            | Blame::Denied
            | Blame::NotFound
            | Blame::Stale
            | Blame::Busy => Self::Refused,
            Blame::Unavailable => Self::Unreachable,
            Blame::Internal => Self::Internal,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Why an officer's command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The config file, or what stands in it.
    #[error("the config file {} is not right: {detail}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// There is no config file that can be read.
    #[error("there is no config file {}: {source}", path.display())]
    NoConfig {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The roster file cannot be used.
    #[error("the roster file {}: {source}", path.display())]
    Roster {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: RosterError,
    },
    /// The node refused, failed or did not answer.
    #[error(transparent)]
    Call(#[from] DeskCallError),
    /// A file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no bundle.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The node's answer lacks what it must have.
    #[error("the node's answer has no {0}: node and command are of different versions")]
    Answer(&'static str),
    /// What was asked for does not fit together.
    #[error("{0}")]
    Usage(&'static str),
    /// The result cannot be shown.
    #[error("the result cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl Blamed for CommandError {
    fn blame(&self) -> Blame {
        match self {
            Self::Config { .. }
            | Self::NoConfig { .. }
            | Self::Unreadable { .. }
            | Self::Unwritable { .. }
            | Self::Usage(_) => Blame::Misbehaved,
            Self::Tls(error) => error.blame(),
            Self::Roster { source, .. } => source.blame(),
            Self::Call(error) => error.blame(),
            Self::Export(error) => error.blame(),
            Self::Answer(_) => Blame::Incompatible,
            Self::Output(_) => Blame::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Config { .. } => "config.invalid",
            Self::NoConfig { .. } => "config.missing",
            Self::Tls(error) => error.code(),
            Self::Roster { source, .. } => source.code(),
            Self::Call(error) => error.code(),
            Self::Export(error) => error.code(),
            Self::Unreadable { .. } => "file.unreadable",
            Self::Unwritable { .. } => "file.unwritable",
            Self::Answer(_) => "node.answer",
            Self::Usage(_) => "command.usage",
            Self::Output(_) => "command.output",
        }
    }
}

impl CommandError {
    /// How the command ends with this error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config { .. } | Self::NoConfig { .. } | Self::Tls(_) | Self::Roster { .. } => {
                Exit::Config
            }
            Self::Call(error) => Exit::of_blame(error.blame()),
            Self::Export(error) => Exit::of_blame(error.blame()),
            Self::Unreadable { .. }
            | Self::Unwritable { .. }
            | Self::Answer(_)
            | Self::Usage(_) => Exit::Refused,
            Self::Output(_) => Exit::Internal,
        }
    }

    /// What the sentence of this error may need.
    fn words(&self) -> Vec<(&'static str, String)> {
        let of = |path: &Path, detail: String| {
            vec![("path", path.display().to_string()), ("detail", detail)]
        };
        match self {
            Self::Config { path, detail } => of(path, detail.clone()),
            Self::NoConfig { path, source }
            | Self::Unreadable { path, source }
            | Self::Unwritable { path, source } => of(path, source.to_string()),
            Self::Roster { path, source } => of(path, source.to_string()),
            Self::Call(DeskCallError::Unreachable { endpoint, detail }) => {
                vec![("endpoint", endpoint.clone()), ("detail", detail.clone())]
            }
            Self::Export(ExportError::Exists(path) | ExportError::LeftOver(path)) => {
                of(path, String::new())
            }
            Self::Call(DeskCallError::Address { endpoint }) => vec![("endpoint", endpoint.clone())],
            Self::Call(
                DeskCallError::Tls(_) | DeskCallError::Answered { .. } | DeskCallError::Sign(_),
            )
            | Self::Tls(_)
            | Self::Export(_)
            | Self::Answer(_)
            | Self::Usage(_)
            | Self::Output(_) => vec![],
        }
    }
}

/// A failure as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The stable code.
    pub code: String,
    /// What went wrong and what to do next.
    pub sentence: String,
    /// How the command ends.
    pub exit: Exit,
}

impl Failure {
    /// Tells an officer's error in `lang`; `known` are words of the command,
    /// such as its case number, that a sentence may need.
    #[must_use]
    pub fn of(error: &CommandError, lang: Lang, known: &[(&'static str, String)]) -> Self {
        let code = match error {
            CommandError::Call(call) => call.shown_code(),
            CommandError::Export(error) => error.shown_code(),
            other => other.code(),
        };
        let mut words = error.words();
        words.extend_from_slice(known);
        words.push(("detail", error.to_string()));
        let sentence = catalogued(code, lang, &words).unwrap_or_else(|| advised(error, lang));
        Self {
            code: code.to_owned(),
            sentence,
            exit: error.exit(),
        }
    }

    /// Tells any command's error; one that is not an officer's is told as it is.
    #[must_use]
    pub fn of_any(error: &anyhow::Error, lang: Lang, known: &[(&'static str, String)]) -> Self {
        match error.downcast_ref::<CommandError>() {
            Some(error) => Self::of(error, lang, known),
            None => Self {
                code: "command.failed".to_owned(),
                sentence: format!("{error:#}"),
                exit: Exit::Refused,
            },
        }
    }
}

/// The catalogue's sentence, if every placeholder in it can be filled.
fn catalogued(code: &str, lang: Lang, words: &[(&'static str, String)]) -> Option<String> {
    if !lang.knows("error", code) {
        return None;
    }
    let raw = lang.coded("error", code, &[]);
    let filled = placeholders(&raw)
        .iter()
        .all(|name| words.iter().any(|(known, _)| known == name));
    let words: Vec<(&str, &str)> = words
        .iter()
        .map(|(name, word)| (*name, word.as_str()))
        .collect();
    filled.then(|| lang.coded("error", code, &words))
}

/// What the error says itself, and what whoever has to act may do.
fn advised(error: &CommandError, lang: Lang) -> String {
    let next = match error.blame() {
        Blame::Busy => lang.text("message.next.busy", &[]),
        Blame::Unavailable => lang.text("message.next.unavailable", &[]),
        Blame::Internal if error.exit() == Exit::Internal => {
            lang.text("message.next.internal", &[])
        }
        Blame::Incompatible => lang.text("message.next.incompatible", &[]),
        Blame::Denied => lang.text("message.next.denied", &[]),
        Blame::Misbehaved | Blame::NotFound | Blame::Stale | Blame::Internal => {
            lang.text("message.next.check", &[])
        }
    };
    lang.text(
        "message.next.both",
        &[("what", &error.to_string()), ("next", &next)],
    )
}
