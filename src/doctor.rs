//! What is wrong with a node, or about to be: certificate, keys, clock, roster,
//! disk, custodians, peers, the node itself. [`offline`] and [`keys`] look at files
//! and the machine, [`online`] asks the node, the custodians and the peers. A finding
//! is a code of the catalogue's `doctor` family with the words that it needs.

use crate::clock::{Clock, UnixSeconds};
use crate::config::Config;
use crate::lang::Lang;

pub mod keys;
pub mod offline;
pub mod online;
#[cfg(test)]
mod tests;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// As it should be.
    Ok,
    /// The node works, but somebody should act.
    Warning,
    /// The node cannot do its work.
    Wrong,
}

impl Level {
    /// The word that stands in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Wrong => "wrong",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is, such as `certificate.expired`; stable.
    pub code: &'static str,
    /// The words of its sentence.
    pub words: Vec<(&'static str, String)>,
}

impl Finding {
    fn new(level: Level, code: &'static str) -> Self {
        Self {
            level,
            code,
            words: vec![],
        }
    }

    fn ok(code: &'static str) -> Self {
        Self::new(Level::Ok, code)
    }

    fn warning(code: &'static str) -> Self {
        Self::new(Level::Warning, code)
    }

    fn wrong(code: &'static str) -> Self {
        Self::new(Level::Wrong, code)
    }

    fn with(mut self, name: &'static str, word: impl ToString) -> Self {
        self.words.push((name, word.to_string()));
        self
    }

    /// What part of the node it is about, such as `certificate`.
    #[must_use]
    pub fn area(&self) -> &'static str {
        self.code
            .split_once('.')
            .map_or(self.code, |(area, _)| area)
    }

    /// The sentence: what was found, and what to do about it.
    #[must_use]
    pub fn text(&self, lang: Lang) -> String {
        let words: Vec<_> = self.words.iter().map(|(k, v)| (*k, v.as_str())).collect();
        lang.coded("doctor", self.code, &words)
    }
}

/// Looks at everything. Takes seconds when somebody does not answer.
pub async fn examine(config: &Config, clock: &Clock) -> Vec<Finding> {
    let now = clock.now();
    let running = online::node(config).await;
    let serves = running.level == Level::Ok;
    let mut findings = vec![running];
    if serves {
        findings.extend(online::told(config).await);
    }
    let (roster, about_roster) = offline::roster(config, now, serves);
    findings.extend(offline::certificate(config, now, roster.as_deref()));
    findings.extend(keys::keys(config, now, roster.as_deref()));
    findings.extend(about_roster);
    findings.extend(offline::disk(config));
    // Without a roster nobody is known, and without a certificate nobody answers.
    if let (Some(roster), Ok(material)) = (roster, crate::setup::material(config)) {
        findings.extend(online::others(config, clock, roster, material).await);
    }
    findings
}

/// The worst level among findings; all is well when there are none.
#[must_use]
pub fn worst(findings: &[Finding]) -> Level {
    findings.iter().map(|f| f.level).max().unwrap_or(Level::Ok)
}

/// A time as people read it, UTC.
fn date(at: UnixSeconds) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    time::OffsetDateTime::from_unix_timestamp(at)
        .ok()
        .and_then(|time| time.format(format).ok())
        .unwrap_or_else(|| at.to_string())
}
