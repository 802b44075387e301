//! What ended bodies: retractions, retention ends and the owner's erasures,
//! and who has confirmed them with a signed receipt.

use std::collections::BTreeMap;

use serde::Serialize;

use super::blocks::BlockResult;
use super::marks::{BodyMark, Mark};
use super::rfc3339;
use crate::clock::UnixSeconds;
use crate::ids::MemberId;
use crate::record::{Answer, Body, Receipts};
use crate::wire::v1::{ErasedRange, RetractReason};

/// Erased ranges that a report lists; all are counted.
const LISTED_MAX: usize = 1_000;
/// Within this many seconds of the decision a body has to be gone.
const ERASE_WITHIN_S: i64 = 60;

/// By what a body ended, and when that was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// The index of the retraction; none at the retention end.
    pub(crate) by: Option<u64>,
    pub(crate) reason: RetractReason,
    pub(crate) at: UnixSeconds,
}

/// Disjoint ranges of indices, each with how its bodies ended; what is told
/// first counts.
#[derive(Debug, Default)]
pub(crate) struct Endings(BTreeMap<u64, (u64, Ending)>);

impl Endings {
    /// Adds a range where nothing stands yet.
    fn add(&mut self, start: u64, end: u64, ending: Ending) {
        let mut at = start;
        while at < end {
            if let Some((_, (taken, _))) = self.0.range(..=at).next_back()
                && *taken > at
            {
                at = *taken;
                continue;
            }
            let next = self.0.range(at..).next().map_or(end, |(next, _)| *next);
            let upto = next.min(end);
            self.0.insert(at, (upto, ending));
            at = upto;
        }
    }

    /// How the body at `index` ended.
    pub(crate) fn of(&self, index: u64) -> Option<Ending> {
        let (_, (end, ending)) = self.0.range(..=index).next_back()?;
        (*end > index).then_some(*ending)
    }
}

/// What the members said in receipts that hold.
pub(crate) type Signed = BTreeMap<MemberId, Receipts>;

/// One member's answer to an erasure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfirmationLine {
    /// The member that owes a receipt.
    pub member: String,
    /// `erased`, `never_held`, `partly` or `pending`.
    pub state: &'static str,
    /// When its keys were overwritten and synced; the last of several.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "rfc3339::option::serialize"
    )]
    pub at: Option<UnixSeconds>,
    /// Whether that was later than it had to be.
    pub late: bool,
}

/// A range of records whose bodies ended for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErasureLine {
    /// The first index.
    pub start: u64,
    /// The index after the last.
    pub end: u64,
    /// The retraction; none at the retention end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retracted_by: Option<u64>,
    /// `mistake`, `retention`, `order` or `case_closed`.
    pub reason: &'static str,
    /// When it was decided.
    #[serde(serialize_with = "rfc3339::serialize")]
    pub decided_at: UnixSeconds,
    /// When the owner had erased it; none where the owner has not said so.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "rfc3339::option::serialize"
    )]
    pub erased_at: Option<UnixSeconds>,
    /// Whether that was later than it had to be.
    pub late: bool,
    /// Who owes a receipt, and who gave one.
    pub owed: Vec<ConfirmationLine>,
}

/// The erasures of one log.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ErasureReport {
    /// Ranges that ended.
    pub ranges: u64,
    /// Receipts that are owed.
    pub owed: u64,
    /// Receipts that are there.
    pub confirmed: u64,
    /// Erasures and receipts that came late.
    pub late: u64,
    /// Retracted records whose bodies are in the bundle all the same.
    pub still_held: u64,
    /// The first ranges.
    pub listed: Vec<ErasureLine>,
}

/// All that says how bodies of one log ended.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    bodies: Vec<(u64, UnixSeconds, Body)>,
    ends: Vec<(u64, UnixSeconds)>,
}

impl Ended {
    /// Takes what a bundle said.
    pub(crate) fn take(&mut self, block: &mut BlockResult) {
        self.bodies.append(&mut block.ending);
        self.ends.append(&mut block.ends);
    }

    /// Explains erased bodies, and reports who confirmed what. `marks` begin
    /// at index `first`.
    pub(crate) fn settle(
        mut self,
        first: u64,
        marks: &mut [Mark],
        receipts: &Signed,
        now: UnixSeconds,
    ) -> (Endings, ErasureReport) {
        self.bodies.sort_by_key(|(index, ..)| *index);
        self.ends.sort_unstable();
        let mut endings = Endings::default();
        for (index, at, body) in &self.bodies {
            if let Body::Retract(body) = body {
                let ending = Ending {
                    by: Some(*index),
                    reason: body.reason,
                    at: *at,
                };
                for (start, end) in &body.targets {
                    // A retraction ends earlier bodies only.
                    endings.add(start.0, end.0.min(*index), ending);
                }
            }
        }
        for (index, expires_at) in &self.ends {
            if *expires_at != 0 && *expires_at <= now && endings.of(*index).is_none() {
                let ending = Ending {
                    by: None,
                    reason: RetractReason::Retention,
                    at: *expires_at,
                };
                endings.add(*index, index.saturating_add(1), ending);
            }
        }
        let told = self.erasures();
        for (index, item) in &told {
            let Some(range) = item.range else { continue };
            endings.add(range.start, range.end.min(*index), ending_of(item));
        }
        let mut report = ErasureReport::default();
        for (at, mark) in marks.iter_mut().enumerate() {
            let index = first.saturating_add(at as u64);
            match mark.body {
                BodyMark::Erased => mark.explained = endings.of(index).is_some(),
                BodyMark::Held if endings.of(index).is_some() => report.still_held += 1,
                BodyMark::Held | BodyMark::Withheld | BodyMark::Missing | BodyMark::Forged => {}
            }
        }
        for line in lines(&endings, &told, receipts) {
            report.add(line);
        }
        (endings, report)
    }

    /// The owner's erasure items, with the index of the entry that tells them.
    fn erasures(&self) -> Vec<(u64, ErasedRange)> {
        let mut out = vec![];
        for (index, _, body) in &self.bodies {
            if let Body::Erasure(body) = body {
                out.extend(body.items.iter().map(|item| (*index, item.clone())));
            }
        }
        out
    }
}

fn ending_of(item: &ErasedRange) -> Ending {
    Ending {
        by: item.retracted_by.checked_sub(1),
        reason: item.reason(),
        at: item.decided_at,
    }
}

/// One line for each item that the owner erased, then one for each range that
/// ended and that no item tells.
fn lines(endings: &Endings, told: &[(u64, ErasedRange)], receipts: &Signed) -> Vec<ErasureLine> {
    let mut lines: Vec<ErasureLine> = told
        .iter()
        .filter_map(|(_, item)| erased_line(item, receipts))
        .collect();
    let mut covered = Endings::default();
    for line in &lines {
        let ending = Ending {
            by: None,
            reason: RetractReason::Unspecified,
            at: 0,
        };
        covered.add(line.start, line.end, ending);
    }
    for (start, (end, ending)) in &endings.0 {
        if covered.of(*start).is_none() {
            lines.push(ErasureLine {
                start: *start,
                end: *end,
                retracted_by: ending.by,
                reason: reason_word(ending.reason),
                decided_at: ending.at,
                erased_at: None,
                late: false,
                owed: vec![],
            });
        }
    }
    lines.sort_by_key(|line| (line.start, line.end));
    lines
}

fn erased_line(item: &ErasedRange, receipts: &Signed) -> Option<ErasureLine> {
    let range = item.range?;
    let ending = ending_of(item);
    let late = |at: UnixSeconds| at > item.decided_at.saturating_add(ERASE_WITHIN_S);
    let owed = item.owed.iter().map(|member| {
        let (state, at) = confirmed(receipts, member, (range.start, range.end), item.decided_at);
        ConfirmationLine {
            member: member.clone(),
            state,
            at,
            late: at.is_some_and(late),
        }
    });
    Some(ErasureLine {
        start: range.start,
        end: range.end,
        retracted_by: ending.by,
        reason: reason_word(ending.reason),
        decided_at: item.decided_at,
        erased_at: Some(item.erased_at),
        late: late(item.erased_at),
        owed: owed.collect(),
    })
}

/// What a member's receipts say about all of what an item erased.
fn confirmed(
    receipts: &Signed,
    member: &str,
    range: (u64, u64),
    decided_at: UnixSeconds,
) -> (&'static str, Option<UnixSeconds>) {
    let said = MemberId::new(member).ok().and_then(|id| receipts.get(&id));
    let answer = said.map_or_else(Answer::default, |said| said.answer(range, decided_at));
    let state = match (answer.place, answer.whole, answer.held) {
        (None, ..) => "pending",
        (_, false, _) => "partly",
        (_, true, true) => "erased",
        (_, true, false) => "never_held",
    };
    (state, answer.place.map(|_| answer.at))
}

pub(crate) fn reason_word(reason: RetractReason) -> &'static str {
    match reason {
        RetractReason::Mistake => "mistake",
        RetractReason::Retention => "retention",
        RetractReason::Order => "order",
        RetractReason::CaseClosed => "case_closed",
        RetractReason::Unspecified => "unspecified",
    }
}

impl ErasureReport {
    fn add(&mut self, line: ErasureLine) {
        self.ranges += 1;
        self.late += u64::from(line.late);
        for owed in &line.owed {
            self.owed += 1;
            self.confirmed += u64::from(matches!(owed.state, "erased" | "never_held"));
            self.late += u64::from(owed.late);
        }
        if self.listed.len() < LISTED_MAX {
            self.listed.push(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(by: u64) -> Ending {
        Ending {
            by: Some(by),
            reason: RetractReason::Mistake,
            at: 7,
        }
    }

    #[test]
    fn what_ended_a_body_first_counts() {
        let mut endings = Endings::default();
        endings.add(5, 10, ending(20));
        endings.add(0, 30, ending(40));
        endings.add(3, 3, ending(50));
        let by = |index| endings.of(index).and_then(|ending| ending.by);
        assert_eq!(
            [by(0), by(4), by(5), by(9)],
            [Some(40), Some(40), Some(20), Some(20)]
        );
        assert_eq!([by(10), by(29), by(30)], [Some(40), Some(40), None]);
    }
}
