//! Newtypes for identifiers and counts, with their checks.

use std::fmt;
use std::sync::Arc;

/// Why a name or identifier was refused.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum IdError {
    /// A name with characters or a length that names may not have.
    #[error(
        "{what} {value:?} must be 1 to 63 of a-z, 0-9, '-', '.' and start with a letter or digit"
    )]
    Name {
        /// What kind of name it is.
        what: &'static str,
        /// The refused text.
        value: String,
    },
    /// A text that is not as many hexadecimal digits as it must have.
    #[error("{what} must have {digits} hexadecimal digits")]
    Hex {
        /// What kind of identifier it is.
        what: &'static str,
        /// How many digits it has.
        digits: usize,
    },
    /// A byte string of the wrong length.
    #[error("{what} must have {want} bytes, not {got}")]
    Length {
        /// What kind of identifier it is.
        what: &'static str,
        /// The length that it must have.
        want: usize,
        /// The length that it had.
        got: usize,
    },
}

fn name_ok(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-' || *b == b'.')
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and makes the name.
            ///
            /// # Errors
            /// [`IdError::Name`] when `text` is not a name.
            pub fn new(text: &str) -> Result<Self, IdError> {
                if name_ok(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(IdError::Name { what: $what, value: text.chars().take(80).collect() })
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// A member of the federation, such as `hefei`.
    MemberId, "member"
);
name_type!(
    /// A federation, such as `anhui.example`.
    FederationId, "federation"
);
name_type!(
    /// An officer's name within a member, such as `li.wei`.
    OfficerName, "officer"
);

macro_rules! bytes_type {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Takes the identifier from exactly its length of bytes.
            ///
            /// # Errors
            /// [`IdError::Length`] for any other length.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
                <[u8; $len]>::try_from(bytes).map(Self).map_err(|_| IdError::Length {
                    what: $what,
                    want: $len,
                    got: bytes.len(),
                })
            }

            /// The identifier's bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0; $len];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| IdError::Hex {
                    what: $what,
                    digits: 2 * $len,
                })?;
                Ok(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }
    };
}

macro_rules! debug_hex {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), hex::encode(self.0))
            }
        }
    };
}

bytes_type!(
    /// How other members know a case: 16 random bytes.
    CaseRef, 16, "case ref"
);
debug_hex!(CaseRef);
bytes_type!(
    /// The pseudonym of (kind, canonical value); never shown in logs or Debug.
    Token, 16, "token"
);
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}
bytes_type!(
    /// Ties both ends' log lines of one query together.
    QueryId, 16, "query id"
);
debug_hex!(QueryId);
bytes_type!(
    /// The first four bytes of SHA-256 of a public key.
    KeyId, 4, "key id"
);
debug_hex!(KeyId);
bytes_type!(
    /// A SHA-256 digest.
    Digest, 32, "digest"
);
debug_hex!(Digest);

impl Digest {
    /// Hashes `bytes` with SHA-256.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
        let mut out = [0; 32];
        out.copy_from_slice(digest.as_ref());
        Self(out)
    }
}

impl KeyId {
    /// The id of a public key.
    #[must_use]
    pub fn of(public_key: &[u8]) -> Self {
        let d = Digest::of(public_key).0;
        Self([d[0], d[1], d[2], d[3]])
    }
}

/// Fills an array from the operating system's generator.
///
/// # Panics
/// When the operating system has no randomness to give: nothing is safe then.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    getrandom::fill(&mut out).expect("the operating system's random generator answers");
    out
}

/// A position in a log, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct LogIndex(pub u64);

/// A count of entries in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TreeSize(pub u64);

impl fmt::Display for LogIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TreeSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which of a member's two logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogName {
    /// Element records, notices, amendments, retractions.
    Records,
    /// Who asked what, and why.
    Access,
}

impl LogName {
    /// The word that stands in origins.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Access => "access",
        }
    }
}

/// The name of one log, as it stands in checkpoints: `FEDERATION/MEMBER/records/GEN`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// The federation.
    pub federation: FederationId,
    /// The member whose log it is.
    pub member: MemberId,
    /// Which of its logs.
    pub log: LogName,
    /// The log's generation, from 1.
    pub generation: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}/{}/{}",
            self.federation,
            self.member,
            self.log.as_str(),
            self.generation
        )
    }
}

impl std::str::FromStr for Origin {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = || IdError::Name {
            what: "origin",
            value: text.chars().take(80).collect(),
        };
        let mut parts = text.split('/');
        let (Some(federation), Some(member), Some(log), Some(generation), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(bad());
        };
        let log = match log {
            "records" => LogName::Records,
            "access" => LogName::Access,
            _ => return Err(bad()),
        };
        let number: u32 = generation.parse().map_err(|_| bad())?;
        if number == 0 || number.to_string() != generation {
            return Err(bad());
        }
        Ok(Self {
            federation: FederationId::new(federation)?,
            member: MemberId::new(member)?,
            log,
            generation: number,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_reads_back_what_it_prints() {
        let text = "anhui.example/hefei/records/1";
        let origin: Origin = text.parse().expect("an origin");
        assert_eq!(origin.to_string(), text);
    }

    #[test]
    fn origins_that_are_not_canonical_are_refused() {
        for bad in [
            "a/b/records/01",
            "a/b/records/0",
            "a/b/other/1",
            "a/b/records",
            "a/B/records/1",
            "a/b/records/1/",
        ] {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_read_back_what_they_print_and_nothing_else() {
        let case = CaseRef([0xab; 16]);
        assert_eq!(case.to_string().parse(), Ok(case));
        for bad in ["", "ab", "abababababababababababababababzz"] {
            assert!(bad.parse::<CaseRef>().is_err(), "{bad}");
        }
        assert_eq!(
            "hefei".parse::<MemberId>().map(|m| m.to_string()),
            Ok("hefei".into())
        );
        assert!("He Fei".parse::<OfficerName>().is_err());
    }

    #[test]
    fn a_token_is_not_shown_by_debug() {
        assert_eq!(format!("{:?}", Token([7; 16])), "Token(..)");
    }
}
