//! The comparison of both ends, question by question.

use std::collections::{BTreeMap, BTreeSet};

use super::lines::{AskedEnd, AskedLine, AskerLines, OpenedLine, Question, Side, shown};
use super::{Difference, MatchLine, MatchReport, Unsettled};
use crate::ids::Digest;

/// By how much the clocks of two nodes may differ.
const CLOCK_SLACK_S: i64 = 300;
/// What an asked end says when it answers the same points once more.
const REPLAY: &str = "replay";
/// What an asker says when no answer came.
const NO_ANSWER: [&str; 2] = ["unreachable", "given_up"];
/// How refusals at the door begin: asked ends count those together.
const AT_THE_DOOR: [&str; 2] = ["admit.", "policy."];

/// Compares the lines of all members.
pub(super) fn all(sides: &BTreeMap<String, Side>, report: &mut MatchReport) {
    for (asker, side) in sides {
        for (question, lines) in &side.asker {
            let mut members: BTreeSet<&str> =
                lines.asked.iter().map(|a| a.member.as_str()).collect();
            for (asked, other) in sides {
                if other.asked.contains_key(&(*question, asker.clone())) {
                    members.insert(asked);
                }
            }
            for asked in members {
                let pair = Pair {
                    question: *question,
                    asker,
                    asked,
                };
                pair.compare(lines, sides.get(asked), report);
            }
        }
    }
    for (asked, side) in sides {
        for ((question, asker), ends) in &side.asked {
            let pair = Pair {
                question: *question,
                asker,
                asked,
            };
            pair.look_for_asker(ends, sides.get(asker), report);
        }
    }
}

/// One question between two members.
struct Pair<'a> {
    question: Question,
    asker: &'a str,
    asked: &'a str,
}

impl Pair<'_> {
    fn line(&self, detail: String) -> MatchLine {
        MatchLine {
            what: "",
            scope: self.question.0.as_str(),
            query_id: hex::encode(self.question.1),
            asker: self.asker.to_owned(),
            asked: self.asked.to_owned(),
            detail,
        }
    }

    /// A line of the asked end whose asker has none.
    fn look_for_asker(&self, ends: &[AskedEnd], asker: Option<&Side>, report: &mut MatchReport) {
        let at = ends.first().map_or(0, |end| end.at);
        let told = self.line(format!("{} lines at {at}", ends.len()));
        match asker {
            None => report.leave_open(Unsettled::NotGiven, told),
            Some(asker) if asker.asker.contains_key(&self.question) => {}
            Some(asker) if asker.reaches(at, CLOCK_SLACK_S) => {
                report.differ(Difference::NotAtAsker, told);
            }
            Some(_) => report.leave_open(Unsettled::Outside, told),
        }
    }

    fn compare(&self, asker: &AskerLines, other: Option<&Side>, report: &mut MatchReport) {
        let asked: Vec<&AskedLine> = asker
            .asked
            .iter()
            .filter(|line| line.member == self.asked)
            .collect();
        let Some(other) = other else {
            report.leave_open(Unsettled::NotGiven, self.line(String::new()));
            return;
        };
        let ends = other
            .asked
            .get(&(self.question, self.asker.to_owned()))
            .map_or(&[][..], |ends| ends);
        let before = report
            .differences
            .iter()
            .map(|count| count.count)
            .sum::<u64>();
        if ends.is_empty() {
            self.lacking(asker, &asked, other, report);
            return;
        }
        // A node that broke off, or an older one, does not say whom it asked.
        if asked.is_empty() && !asker.asked.is_empty() {
            let told = self.line(format!("{} lines", ends.len()));
            report.differ(Difference::NotNamed, told);
        }
        self.purposes(asker, ends, report);
        if !asked.is_empty() {
            self.points(&asked, ends, report);
            self.outcomes(&asked, ends, report);
        }
        let after = report
            .differences
            .iter()
            .map(|count| count.count)
            .sum::<u64>();
        report.matched += u64::from(before == after);
    }

    /// The asked end has nothing of it.
    fn lacking(
        &self,
        asker: &AskerLines,
        asked: &[&AskedLine],
        other: &Side,
        report: &mut MatchReport,
    ) {
        let outcomes: BTreeSet<&str> = asked.iter().map(|line| line.outcome.as_str()).collect();
        let told = self.line(format!("the asker says {}", join(&outcomes)));
        if outcomes.iter().all(|outcome| is_unanswered(outcome)) {
            report.leave_open(Unsettled::Unanswered, told);
        } else if other.reaches(asker.at, CLOCK_SLACK_S) {
            report.differ(Difference::NotAtAsked, told);
        } else {
            report.leave_open(Unsettled::Outside, told);
        }
    }

    /// What the asked end saw is what the asker's purposes open to.
    fn purposes(&self, asker: &AskerLines, ends: &[AskedEnd], report: &mut MatchReport) {
        let mut counts: BTreeMap<Digest, u64> = BTreeMap::new();
        for (commitment, seen) in ends.iter().flat_map(|end| &end.seen) {
            let Some(opened) = asker.purposes.get(commitment) else {
                let told = self.line(commitment.to_string());
                report.differ(Difference::Commitment, told);
                continue;
            };
            if self.same(opened, seen, report) {
                report.opened += 1;
            }
            *counts.entry(*commitment).or_default() += u64::from(seen.count);
        }
        for (commitment, count) in counts {
            let said = asker.purposes.get(&commitment).map_or(0, |line| line.count);
            if count > u64::from(said) {
                let told = self.line(format!("{said} said, {count} seen"));
                report.differ(Difference::Count, told);
            }
        }
    }

    fn same(&self, opened: &OpenedLine, seen: &OpenedLine, report: &mut MatchReport) -> bool {
        let of = |line: &OpenedLine| shown(&line.case_ref);
        let fields = [
            (Difference::CaseRef, of(opened), of(seen)),
            (
                Difference::Offence,
                opened.offence_class.clone(),
                seen.offence_class.clone(),
            ),
            (
                Difference::Urgency,
                opened.urgency.clone(),
                seen.urgency.clone(),
            ),
        ];
        let mut is_same = true;
        for (difference, said, seen) in fields {
            if said != seen {
                is_same = false;
                let told = self.line(format!("{said:?} said, {seen:?} seen"));
                report.differ(difference, told);
            }
        }
        is_same
    }

    /// As many requests, each of as many points, as the asker says.
    fn points(&self, asked: &[&AskedLine], ends: &[AskedEnd], report: &mut MatchReport) {
        if ends.len() > asked.len() {
            let told = self.line(format!("{} said, {} seen", asked.len(), ends.len()));
            report.differ(Difference::Replayed, told);
            return;
        }
        let mut said: Vec<u32> = asked.iter().map(|line| line.count).collect();
        for end in ends.iter().filter(|end| is_answer(&end.outcome)) {
            match said.iter().position(|count| *count == end.count) {
                Some(at) => drop(said.swap_remove(at)),
                None => {
                    let all: BTreeSet<String> = said.iter().map(u32::to_string).collect();
                    let all: BTreeSet<&str> = all.iter().map(String::as_str).collect();
                    let told = self.line(format!("{} said, {} seen", join(&all), end.count));
                    report.differ(Difference::Points, told);
                }
            }
        }
    }

    /// Every answer that the asker took was given, and every refusal too.
    fn outcomes(&self, asked: &[&AskedLine], ends: &[AskedEnd], report: &mut MatchReport) {
        let mut given: Vec<&str> = ends
            .iter()
            .map(|end| {
                if is_answer(&end.outcome) {
                    "ok"
                } else {
                    &end.outcome
                }
            })
            .collect();
        let waited = asked.iter().map(|line| line.outcome.as_str());
        for said in waited.filter(|outcome| !is_unanswered(outcome)) {
            // A false answer was an answer to the one who gave it.
            let exact = given.iter().position(|given| *given == said);
            match exact.or_else(|| given.iter().position(|given| *given == "ok")) {
                Some(at) => drop(given.swap_remove(at)),
                None => {
                    let seen: BTreeSet<&str> = ends.iter().map(|e| e.outcome.as_str()).collect();
                    let told = self.line(format!("{said} said, {} seen", join(&seen)));
                    report.differ(Difference::Outcome, told);
                }
            }
        }
    }
}

/// Says whether the asked end may have no line of its own about it.
fn is_unanswered(outcome: &str) -> bool {
    NO_ANSWER.contains(&outcome) || AT_THE_DOOR.iter().any(|code| outcome.starts_with(code))
}

fn is_answer(outcome: &str) -> bool {
    outcome == "ok" || outcome == REPLAY
}

fn join(words: &BTreeSet<&str>) -> String {
    words.iter().copied().collect::<Vec<_>>().join(", ")
}
