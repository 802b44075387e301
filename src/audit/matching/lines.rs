//! The lines of one member's access log, as far as another end has lines of
//! the same questions.

use std::collections::BTreeMap;

use prost::Message;

use crate::clock::UnixSeconds;
use crate::ids::{CaseRef, Digest, Origin, QueryId};
use crate::publish::segment_text;
use crate::record::{SALT_BYTES, purpose_commitment};
use crate::wire::v1::{AccessBody, AccessScope, Purpose};

/// The scopes of which both ends have lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Custodians evaluated values.
    Evaluate,
    /// An owner was asked blind.
    Find,
    /// What is behind a hit was asked for.
    Disclosure,
}

impl Scope {
    /// The scope of a line; none of what no other end sees.
    fn of(body: &AccessBody) -> Option<Self> {
        match AccessScope::try_from(body.scope) {
            Ok(AccessScope::Evaluate) => Some(Self::Evaluate),
            Ok(AccessScope::Find) => Some(Self::Find),
            Ok(AccessScope::Disclosure) => Some(Self::Disclosure),
            Ok(
                AccessScope::Unspecified
                | AccessScope::Local
                | AccessScope::Admin
                | AccessScope::Export,
            )
            | Err(_) => None,
        }
    }

    /// The word that stands in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Evaluate => "evaluate",
            Self::Find => "find",
            Self::Disclosure => "disclosure",
        }
    }
}

/// A question: its scope and query id.
pub(super) type Question = (Scope, [u8; 16]);

/// A purpose that the asker opens.
#[derive(Clone, Debug)]
pub(super) struct OpenedLine {
    pub(super) case_ref: Vec<u8>,
    pub(super) offence_class: String,
    pub(super) urgency: String,
    pub(super) count: u32,
}

/// Whom the asker says it asked, and with what outcome.
#[derive(Clone, Debug)]
pub(super) struct AskedLine {
    pub(super) member: String,
    pub(super) outcome: String,
    pub(super) count: u32,
}

/// All that the asker says of one question.
#[derive(Clone, Debug, Default)]
pub(super) struct AskerLines {
    pub(super) at: UnixSeconds,
    pub(super) outcome: String,
    pub(super) purposes: BTreeMap<Digest, OpenedLine>,
    pub(super) asked: Vec<AskedLine>,
}

/// One line of the asked end.
#[derive(Clone, Debug)]
pub(super) struct AskedEnd {
    pub(super) at: UnixSeconds,
    pub(super) outcome: String,
    pub(super) count: u32,
    /// Commitment, case ref, offence class, urgency, count.
    pub(super) seen: Vec<(Digest, OpenedLine)>,
}

/// The lines of one member, by question; at the asked end also by asker.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    pub(super) asker: BTreeMap<Question, AskerLines>,
    pub(super) asked: BTreeMap<(Question, String), Vec<AskedEnd>>,
    /// Whether the export reaches to the log's first and last line.
    pub(super) is_whole: (bool, bool),
    /// The times of the first and last line, of any scope.
    span: Option<(UnixSeconds, UnixSeconds)>,
}

impl Side {
    /// Takes a line, of whatever scope.
    pub(super) fn take(&mut self, origin: &Origin, at: UnixSeconds, body: &AccessBody) {
        let (first, last) = self.span.unwrap_or((at, at));
        self.span = Some((first.min(at), last.max(at)));
        let (Some(scope), Ok(id)) = (Scope::of(body), QueryId::from_slice(&body.query_id)) else {
            return;
        };
        let question = (scope, id.0);
        let asks = !body.purposes.is_empty() || !body.asked.is_empty();
        if asks {
            self.asker.entry(question).or_default().add(at, body);
            return;
        }
        if body.caller == origin.member.as_str() && body.seen.is_empty() {
            // The asker's own line about a question that it did not come to ask.
            return;
        }
        let lines = self.asked.entry((question, body.caller.clone()));
        let lines = lines.or_default();
        lines.push(AskedEnd::of(at, body));
    }

    /// Adds the lines of another generation or bundle of the same member.
    pub(super) fn join(&mut self, other: Self) {
        let is_first = self.span.is_none();
        let spans = [self.span, other.span].into_iter().flatten();
        self.span = spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        self.is_whole = if is_first {
            other.is_whole
        } else {
            (
                self.is_whole.0 || other.is_whole.0,
                self.is_whole.1 || other.is_whole.1,
            )
        };
        for (question, lines) in other.asker {
            let mine = self.asker.entry(question).or_default();
            mine.at = lines.at;
            mine.outcome = lines.outcome;
            mine.purposes.extend(lines.purposes);
            mine.asked.extend(lines.asked);
        }
        for (question, lines) in other.asked {
            self.asked.entry(question).or_default().extend(lines);
        }
    }

    /// How many questions it has lines of.
    pub(super) fn count(&self) -> u64 {
        let asked: usize = self.asked.values().map(Vec::len).sum();
        (self.asker.len() + asked) as u64
    }

    /// Says whether what happened at that time would stand in the export, if
    /// the clocks of both ends differ by at most `slack_s`.
    pub(super) fn reaches(&self, at: UnixSeconds, slack_s: i64) -> bool {
        let Some((first, last)) = self.span else {
            return self.is_whole == (true, true);
        };
        // After its last line a log may have grown since it was exported.
        let from = if self.is_whole.0 {
            UnixSeconds::MIN
        } else {
            first.saturating_add(slack_s)
        };
        from <= at && at <= last.saturating_sub(slack_s)
    }
}

impl AskerLines {
    fn add(&mut self, at: UnixSeconds, body: &AccessBody) {
        self.at = at;
        self.outcome.clone_from(&body.outcome);
        for opened in &body.purposes {
            let Ok(salt) = <[u8; SALT_BYTES]>::try_from(&opened.salt[..]) else {
                continue;
            };
            let purpose = Purpose::decode(opened.purpose.clone()).unwrap_or_default();
            let line = OpenedLine {
                case_ref: opened.case_ref.to_vec(),
                offence_class: segment_text(&purpose.offence),
                urgency: segment_text(&purpose.urgency),
                count: opened.count,
            };
            self.purposes
                .insert(purpose_commitment(&salt, &opened.purpose), line);
        }
        self.asked.extend(body.asked.iter().map(|asked| AskedLine {
            member: asked.member.clone(),
            outcome: asked.outcome.clone(),
            count: asked.count,
        }));
    }
}

impl AskedEnd {
    fn of(at: UnixSeconds, body: &AccessBody) -> Self {
        let seen = body.seen.iter().filter_map(|seen| {
            let line = OpenedLine {
                case_ref: seen.case_ref.to_vec(),
                offence_class: seen.offence_class.clone(),
                urgency: seen.urgency.clone(),
                count: seen.count,
            };
            Some((Digest::from_slice(&seen.commitment).ok()?, line))
        });
        Self {
            at,
            outcome: body.outcome.clone(),
            count: body.count,
            seen: seen.collect(),
        }
    }
}

/// A case ref as people read it.
pub(super) fn shown(case_ref: &[u8]) -> String {
    CaseRef::from_slice(case_ref).map_or_else(|_| "-".to_owned(), |case| case.to_string())
}
