//! The types of bodies, and all rules of a type in one row: who may read it,
//! whether it ends, is indexed, keeps a proof, its size and its word. A number
//! that is not known here has a row too: it is of a newer version, not wrong.

use crate::features;
use crate::ids::LogName;
use crate::record::{ACCESS_BODY_BYTES_MAX, BODY_BYTES_MAX, RecordError};
use crate::wire::v1;

/// A type of a later version: a number from 1 on that no row here has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NewerType(i32);

/// What kind of body a statement names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BodyType {
    /// One piece of evidence.
    Element,
    /// One case.
    CaseNotice,
    /// A change of an element's attributes.
    Amend,
    /// An end of earlier bodies.
    Retract,
    /// What this member did with bodies of another that ended.
    Receipt,
    /// What the owner erased, and who owes a receipt for it.
    Erasure,
    /// One line of the access log.
    Access,
    /// One that this version does not know.
    Newer(NewerType),
}

/// Who may read a body beside its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Its audience, and for an element that of its newest amendment.
    Audience,
    /// Everybody who reads the log.
    Everybody,
    /// Auditors.
    Auditors,
    /// Nobody of another member, but who looks at the whole log as an auditor.
    Nobody,
    /// Nobody can say: the body cannot be read here.
    Unknown,
}

/// The rules of one type of body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyRules {
    /// Its word, for lists and JSON.
    pub word: &'static str,
    /// The log in which it stands; `None` for either.
    pub log: Option<LogName>,
    /// Who may read it.
    pub readers: Readers,
    /// Whether it ends in a records log, by a retraction or its date. What
    /// proves ends stays. In an access log nothing ends.
    pub ends: bool,
    /// Whether the derived index, or what has ended, depends on it.
    pub indexed: bool,
    /// Whether an export has an inclusion proof of each.
    pub proof: bool,
    /// Its largest size, in bytes; of an unknown type that of a records log.
    pub bytes_max: usize,
    /// The word for what its readers speak, which is waited for before one is
    /// written; `None` for what is written whatever others speak.
    pub feature: Option<&'static str>,
}

const RECORDS: Option<LogName> = Some(LogName::Records);
const ACCESS: Option<LogName> = Some(LogName::Access);
const RECORD: BodyRules = BodyRules {
    word: "",
    log: RECORDS,
    readers: Readers::Audience,
    ends: true,
    indexed: true,
    proof: false,
    bytes_max: BODY_BYTES_MAX,
    feature: Some(features::BASE),
};

/// What ends bodies, or says that they ended, waits for nobody.
const ENDING: BodyRules = BodyRules {
    ends: false,
    feature: None,
    ..RECORD
};

/// Every type that is known here, its number on the wire, and its rules.
#[rustfmt::skip]
const TABLE: [(BodyType, v1::BodyType, BodyRules); 7] = [
    (BodyType::Element, v1::BodyType::Element, BodyRules { word: "element", ..RECORD }),
    (BodyType::CaseNotice, v1::BodyType::CaseNotice, BodyRules { word: "case_notice", ..RECORD }),
    (BodyType::Amend, v1::BodyType::Amend, BodyRules { word: "amend", ..RECORD }),
    (BodyType::Retract, v1::BodyType::Retract, BodyRules { word: "retract", readers: Readers::Everybody, proof: true, ..ENDING }),
    (BodyType::Receipt, v1::BodyType::Receipt, BodyRules { word: "receipt", readers: Readers::Everybody, indexed: false, ..ENDING }),
    (BodyType::Erasure, v1::BodyType::Erasure, BodyRules { word: "erasure", readers: Readers::Auditors, indexed: false, proof: true, ..ENDING }),
    (BodyType::Access, v1::BodyType::Access, BodyRules { word: "access", log: ACCESS, readers: Readers::Nobody, indexed: false, bytes_max: ACCESS_BODY_BYTES_MAX, ..ENDING }),
];

/// The rules of a type that is not known here.
const NEWER: BodyRules = BodyRules {
    word: "newer",
    log: None,
    readers: Readers::Unknown,
    indexed: false,
    feature: None,
    ..RECORD
};

impl BodyType {
    /// Every type that is known here.
    pub const KNOWN: [Self; TABLE.len()] = {
        let mut all = [Self::Element; TABLE.len()];
        let mut at = 0;
        while at < TABLE.len() {
            all[at] = TABLE[at].0;
            at += 1;
        }
        all
    };

    /// Reads a number of the wire: 0 and what is below are refused, what is not
    /// known is of a later version.
    ///
    /// # Errors
    /// [`RecordError::Field`].
    pub fn from_number(number: i32) -> Result<Self, RecordError> {
        if number <= 0 {
            return Err(RecordError::Field { what: "body type" });
        }
        let row = TABLE.iter().find(|(_, wire, _)| *wire as i32 == number);
        Ok(row.map_or(Self::Newer(NewerType(number)), |row| row.0))
    }

    fn row(self) -> Option<&'static (Self, v1::BodyType, BodyRules)> {
        TABLE.iter().find(|(known, _, _)| *known == self)
    }

    /// Its number on the wire.
    #[must_use]
    pub fn number(self) -> i32 {
        match self {
            Self::Newer(NewerType(number)) => number,
            known => known.row().map_or(0, |(_, wire, _)| *wire as i32),
        }
    }

    /// The rules of this type.
    #[must_use]
    pub fn rules(self) -> &'static BodyRules {
        self.row().map_or(&NEWER, |(_, _, rules)| rules)
    }

    /// Whether this version knows the type.
    #[must_use]
    pub fn is_known(self) -> bool {
        !matches!(self, Self::Newer(_))
    }

    /// Whether a body of this type may stand in a log.
    #[must_use]
    pub fn stands_in(self, log: LogName) -> bool {
        self.rules().log.is_none_or(|only| only == log)
    }

    /// The largest body of this type in a log, in bytes: what a log allows at
    /// all decides for a type that is not known.
    #[must_use]
    pub fn bytes_max(self, log: LogName) -> usize {
        match (self.rules().log, log) {
            (None, LogName::Access) => ACCESS_BODY_BYTES_MAX,
            (None, LogName::Records) | (Some(_), _) => self.rules().bytes_max,
        }
    }

    /// Whether a body of this type in this log can be ended.
    #[must_use]
    pub fn can_end(self, log: LogName) -> bool {
        log == LogName::Records && self.rules().ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_the_wire_has_its_row_and_no_other_number_has_one() {
        for number in 1..=200 {
            let known = v1::BodyType::try_from(number).is_ok();
            let read = BodyType::from_number(number).expect("a type");
            assert_eq!(read.is_known(), known, "{number}");
            assert_eq!(read.number(), number);
            assert_eq!(BodyType::KNOWN.contains(&read), known);
        }
        for number in [0, -1, i32::MIN] {
            assert!(BodyType::from_number(number).is_err(), "{number}");
        }
    }

    #[test]
    fn words_are_apart_and_nothing_ends_in_an_access_log() {
        let words: std::collections::BTreeSet<_> =
            BodyType::KNOWN.iter().map(|t| t.rules().word).collect();
        assert_eq!(words.len(), BodyType::KNOWN.len());
        let newer = BodyType::from_number(40).expect("a type");
        assert!(newer.can_end(LogName::Records) && !newer.can_end(LogName::Access));
        assert!(newer.stands_in(LogName::Records) && newer.stands_in(LogName::Access));
        assert_eq!(newer.bytes_max(LogName::Records), BODY_BYTES_MAX);
        assert_eq!(newer.bytes_max(LogName::Access), ACCESS_BODY_BYTES_MAX);
    }
}
