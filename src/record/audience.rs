//! Who may receive a body.

use std::collections::BTreeSet;

use crate::ids::MemberId;
use crate::record::{RecordError, codec};
use crate::wire::v1::{self, AudienceScope};

/// The longest name of a region, in bytes.
const REGION_BYTES_MAX: usize = 63;

/// Who may receive a body. Regions and members are named at least once each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every member.
    Federation,
    /// The members of these regions of the roster.
    Regions(BTreeSet<String>),
    /// These members.
    Members(BTreeSet<MemberId>),
    /// Nobody: the owner answers queries only.
    Nobody,
}

impl Audience {
    /// Returns the audience of everybody in either: of regions and members
    /// together, the whole federation.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Nobody, only) | (only, Self::Nobody) => only.clone(),
            (Self::Regions(a), Self::Regions(b)) => Self::Regions(a | b),
            (Self::Members(a), Self::Members(b)) => Self::Members(a | b),
            _ => Self::Federation,
        }
    }

    /// Checks that there are names where there must be, and that they are names.
    ///
    /// # Errors
    /// [`RecordError::Field`] when not.
    pub fn check(&self) -> Result<(), RecordError> {
        const WHAT: &str = "audience";
        match self {
            Self::Federation | Self::Nobody => Ok(()),
            Self::Members(members) if !members.is_empty() => Ok(()),
            Self::Regions(regions) if !regions.is_empty() => {
                for region in regions {
                    codec::text(WHAT, region, REGION_BYTES_MAX)?;
                    if region.is_empty() {
                        return Err(RecordError::Field { what: WHAT });
                    }
                }
                Ok(())
            }
            Self::Members(_) | Self::Regions(_) => Err(RecordError::Field { what: WHAT }),
        }
    }

    /// Writes the audience as it stands in bodies.
    #[must_use]
    pub fn to_wire(&self) -> v1::Audience {
        let (scope, names) = match self {
            Self::Federation => (AudienceScope::Federation, Vec::new()),
            Self::Regions(regions) => (AudienceScope::Region, regions.iter().cloned().collect()),
            Self::Members(members) => (
                AudienceScope::Members,
                members.iter().map(ToString::to_string).collect(),
            ),
            Self::Nobody => (AudienceScope::Nobody, Vec::new()),
        };
        v1::Audience {
            scope: scope.into(),
            names,
        }
    }

    /// Reads an audience of a body; names must be sorted and stand once each.
    ///
    /// # Errors
    /// [`RecordError`] for an unknown scope, and names that are missing,
    /// malformed, out of order, or too many.
    pub fn from_wire(wire: Option<v1::Audience>) -> Result<Self, RecordError> {
        const BAD: RecordError = RecordError::Field { what: "audience" };
        let v1::Audience { scope, names } = wire.ok_or(BAD)?;
        if !names.is_sorted_by(|left, right| left < right) {
            return Err(BAD);
        }
        let audience = match AudienceScope::try_from(scope) {
            Ok(AudienceScope::Federation) if names.is_empty() => Self::Federation,
            Ok(AudienceScope::Nobody) if names.is_empty() => Self::Nobody,
            Ok(AudienceScope::Federation | AudienceScope::Nobody) => return Err(BAD),
            Ok(AudienceScope::Region) => Self::Regions(names.into_iter().collect()),
            Ok(AudienceScope::Members) => Self::Members(
                names
                    .iter()
                    .map(|name| MemberId::new(name))
                    .collect::<Result<_, _>>()?,
            ),
            Ok(AudienceScope::Unspecified) | Err(_) => {
                return Err(RecordError::Unknown {
                    what: "audience scope",
                    got: scope.into(),
                });
            }
        };
        audience.check()?;
        Ok(audience)
    }
}
