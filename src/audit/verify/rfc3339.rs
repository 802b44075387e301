//! Times of a report as RFC 3339 in UTC, for serde; what has no such form is null.

use serde::{Serialize, Serializer};

use crate::clock::{self, UnixSeconds};

pub(super) fn serialize<S: Serializer>(at: &UnixSeconds, to: S) -> Result<S::Ok, S::Error> {
    clock::rfc3339(*at).serialize(to)
}

pub(super) mod option {
    use serde::{Serialize, Serializer};

    use crate::clock::{self, UnixSeconds};

    pub(in crate::audit::verify) fn serialize<S: Serializer>(
        at: &Option<UnixSeconds>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        at.and_then(clock::rfc3339).serialize(to)
    }
}
