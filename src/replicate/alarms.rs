//! Alarms about members: what they sent or signed wrong, since when, and when
//! its cause was gone. One stands until the same source sends the same log as it
//! should; one about refused bodies until none of the log is refused any more.

use std::sync::Arc;

use super::{PeerTransport, Replicator};
use crate::clock::UnixSeconds;
use crate::ids::{LogName, MemberId, Origin};
use crate::ledger::{Ledger, OpaqueCount};

/// Something that a person has to look at, or had to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// What is wrong, in words.
    pub sentence: String,
    /// When it began, in Unix seconds.
    pub began: UnixSeconds,
    /// When its cause was gone; `None` while it stands.
    pub ended: Option<UnixSeconds>,
}

/// The alarms about one member, and the last that ended.
#[derive(Clone, Debug, Default)]
pub struct Alarms {
    /// What the member sent or signed wrong, and of which log; of none when
    /// only a roster can end it.
    sent: Option<(Option<Origin>, Alarm)>,
    /// Bodies that it signed, and that break a rule.
    refused: Option<Alarm>,
    past: Option<Alarm>,
}

impl Alarms {
    /// The alarm that stands, the graver one of two.
    #[must_use]
    pub fn standing(&self) -> Option<&Alarm> {
        let sent = self.sent.as_ref().map(|(_, alarm)| alarm);
        sent.or(self.refused.as_ref())
    }

    /// The last one that ended.
    #[must_use]
    pub fn past(&self) -> Option<&Alarm> {
        self.past.as_ref()
    }

    /// Raises one about what was sent of a log. The same again began earlier; no
    /// other takes the place of one that only a roster can end.
    pub(super) fn raise(&mut self, about: Option<Origin>, sentence: String, now: UnixSeconds) {
        let began = match &self.sent {
            Some((None, _)) if about.is_some() => return,
            Some((held, alarm)) if *held == about => alarm.began,
            Some(_) | None => now,
        };
        let alarm = Alarm {
            sentence,
            began,
            ended: None,
        };
        self.sent = Some((about, alarm));
    }

    /// Ends the one about what was sent of a log, if it stands.
    pub(super) fn end(&mut self, about: Option<&Origin>, now: UnixSeconds) {
        let same = |held: &mut (Option<Origin>, Alarm)| held.0.as_ref() == about;
        if let Some((_, alarm)) = self.sent.take_if(same) {
            self.past = Some(Alarm {
                ended: Some(now),
                ..alarm
            });
        }
    }

    fn settle_refused(&mut self, refused: Option<Alarm>, now: UnixSeconds) {
        let before = std::mem::replace(&mut self.refused, refused);
        if let (Some(alarm), None) = (before, &self.refused) {
            self.past = Some(Alarm {
                ended: Some(now),
                ..alarm
            });
        }
    }

    fn is_open(&self, about: &Origin) -> bool {
        let held = self.sent.as_ref();
        held.is_some_and(|(held, _)| held.as_ref() == Some(about))
    }
}

/// What is said of the bodies of a log that break a rule.
fn sentence_of(origin: &Origin, count: &OpaqueCount) -> Option<Alarm> {
    let first = count.first.as_ref()?;
    let more = match count.refused - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    Some(Alarm {
        sentence: format!(
            "body {} of {origin} breaks a rule ({}): {}{more}",
            first.index, first.code, first.sentence
        ),
        began: first.since,
        ended: None,
    })
}

impl<P: PeerTransport> Replicator<P> {
    /// Ends the alarm about what a member sent of a log: it sent it as it should.
    pub(super) fn absolve(&self, from: &MemberId, origin: &Origin) {
        let states = self.states();
        let is_open = |state: &super::ReplicaState| state.alarms.is_open(origin);
        if states.get(from).is_some_and(is_open) {
            let now = self.ledger.clock().now();
            tracing::info!(peer.member = %from, log.origin = %origin, "a peer sends as it should again");
            self.note(from, |state| state.alarms.end(Some(origin), now));
        }
    }

    /// Looks which bodies of a member's log are refused now.
    pub(super) async fn look_at_refused(&self, member: &MemberId) {
        let Some(origin) = self.roster.load().origin(member, LogName::Records) else {
            return;
        };
        let ledger = self.ledger.clone();
        let of = origin.clone();
        let counted = tokio::task::spawn_blocking(move || count_of(&ledger, &of)).await;
        let Ok(count) = counted.unwrap_or(Ok(None)) else {
            return;
        };
        let refused = count.and_then(|count| sentence_of(&origin, &count));
        let states = self.states();
        let before = states.get(member).and_then(|s| s.alarms.refused.clone());
        if before == refused {
            return;
        }
        if let Some(alarm) = &refused {
            tracing::error!(peer.member = %member, alarm = %alarm.sentence, "a member signed what breaks a rule");
        }
        let now = self.ledger.clock().now();
        self.note(member, |state| state.alarms.settle_refused(refused, now));
    }
}

fn count_of(
    ledger: &Ledger,
    origin: &Origin,
) -> Result<Option<OpaqueCount>, crate::ledger::LedgerError> {
    let log = ledger.log(origin).ok().map(|log| Arc::clone(&log));
    log.map(|log| ledger.opaque_count(&log)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(generation: u32) -> Origin {
        format!("jiangbei/wuhu/records/{generation}")
            .parse()
            .expect("an origin")
    }

    #[test]
    fn an_alarm_ends_with_its_own_cause_only_and_keeps_its_beginning() {
        let mut alarms = Alarms::default();
        alarms.raise(Some(origin(1)), "bad".into(), 10);
        alarms.raise(Some(origin(1)), "bad again".into(), 20);
        assert_eq!(alarms.standing().map(|a| a.began), Some(10));
        alarms.end(Some(&origin(2)), 25);
        assert!(alarms.standing().is_some(), "another log says nothing");
        alarms.end(Some(&origin(1)), 30);
        assert!(alarms.standing().is_none());
        let past = alarms.past().expect("one that ended");
        assert_eq!((past.began, past.ended), (10, Some(30)));
        assert_eq!(past.sentence, "bad again");
    }

    #[test]
    fn what_only_a_roster_can_end_gives_no_place_to_less() {
        let mut alarms = Alarms::default();
        alarms.raise(None, "two histories".into(), 10);
        alarms.raise(Some(origin(1)), "bad".into(), 20);
        alarms.end(Some(&origin(1)), 30);
        let standing = alarms.standing().expect("it stands");
        assert_eq!(standing.sentence, "two histories");
        alarms.end(None, 40);
        assert!(alarms.standing().is_none());
    }
}
