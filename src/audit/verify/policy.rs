//! What a verifier trusts: a federation's name and the digest of its roster 1,
//! from which every other key follows. Written by hand or by
//! `casegate audit policy`; nothing in a bundle changes it.

use std::fmt::Write;

use serde::Deserialize;

use crate::blame::{Blame, Blamed};
use crate::ids::{Digest, FederationId};
use crate::keys::PublicKey;

/// The most bytes of a policy file.
pub const POLICY_BYTES_MAX: u64 = 1 << 20;

/// Why a policy file cannot be used.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum PolicyError {
    /// It is not the TOML that a policy has.
    #[error("the policy is not well-formed: {0}")]
    Toml(String),
    /// A field has a value that it may not have.
    #[error("the policy's {0} is not well-formed")]
    Field(&'static str),
    /// A witness's key may not be used.
    #[error("the policy's key of witness {name} may not be used: {why}")]
    Key {
        /// The witness.
        name: String,
        /// What is wrong with its key.
        why: String,
    },
    /// More cosignatures are asked for than there are witnesses.
    #[error("a quorum of {quorum} cannot be reached with {witnesses} witnesses")]
    Quorum {
        /// The cosignatures that are asked for.
        quorum: u32,
        /// The witnesses that are named.
        witnesses: usize,
    },
}

impl Blamed for PolicyError {
    fn blame(&self) -> Blame {
        Blame::Misbehaved
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Toml(_) => "policy.toml",
            Self::Field(_) => "policy.field",
            Self::Key { .. } => "policy.key",
            Self::Quorum { .. } => "policy.quorum",
        }
    }
}

/// A witness that the policy names itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyWitness {
    /// The key name in cosignature lines.
    pub name: String,
    /// Its key.
    pub key: PublicKey,
}

/// What a verifier trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The federation.
    pub federation: FederationId,
    /// SHA-256 of roster 1, without signatures.
    pub roster_pin: Digest,
    /// Cosignatures that make a checkpoint witnessed; the roster's own where absent.
    pub quorum: Option<u32>,
    /// Whether a record that is not witnessed counts as a fault.
    pub require_witnessed: bool,
    /// If there are any, only these witnesses count.
    pub witnesses: Vec<PolicyWitness>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    federation: String,
    roster_pin: String,
    quorum: Option<u32>,
    #[serde(default)]
    require_witnessed: bool,
    #[serde(default)]
    witness: Vec<WitnessLines>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WitnessLines {
    name: String,
    key: String,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// [`PolicyError`] for unknown keys, malformed values, keys that may not be
    /// used, and a quorum that cannot be reached.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let file: PolicyFile =
            toml::from_str(text).map_err(|error| PolicyError::Toml(error.message().to_owned()))?;
        let federation = FederationId::new(&file.federation);
        let pin = hex::decode(&file.roster_pin).unwrap_or_default();
        let policy = Self {
            federation: federation.map_err(|_| PolicyError::Field("federation"))?,
            roster_pin: Digest::from_slice(&pin).map_err(|_| PolicyError::Field("roster_pin"))?,
            quorum: file.quorum,
            require_witnessed: file.require_witnessed,
            witnesses: file
                .witness
                .iter()
                .map(WitnessLines::read)
                .collect::<Result<_, _>>()?,
        };
        policy.check()?;
        Ok(policy)
    }

    fn check(&self) -> Result<(), PolicyError> {
        if self.quorum == Some(0) {
            return Err(PolicyError::Field("quorum"));
        }
        let names = self.witnesses.iter().map(|witness| &witness.name);
        if names.collect::<std::collections::BTreeSet<_>>().len() != self.witnesses.len() {
            return Err(PolicyError::Field("witness names"));
        }
        let count = self.witnesses.len();
        let quorum = self.quorum.unwrap_or(1);
        if count > 0 && usize::try_from(quorum).is_ok_and(|quorum| quorum > count) {
            return Err(PolicyError::Quorum {
                quorum,
                witnesses: count,
            });
        }
        Ok(())
    }

    /// Writes the policy as a file that [`Policy::parse`] reads.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = format!(
            "# What casegate audit verify trusts. Get the pin from somebody whom you trust,\n\
             # not from the bundle: every other key follows from it.\n\
             federation = \"{}\"\nroster_pin = \"{}\"\n",
            self.federation, self.roster_pin
        );
        if let Some(quorum) = self.quorum {
            writeln!(out, "quorum = {quorum}").expect("a String takes it");
        }
        writeln!(out, "require_witnessed = {}", self.require_witnessed).expect("a String takes it");
        for witness in &self.witnesses {
            let key = hex::encode(witness.key.as_bytes());
            write!(
                out,
                "\n[[witness]]\nname = {:?}\nkey = \"{key}\"\n",
                witness.name
            )
            .expect("a String takes it");
        }
        out
    }
}

impl WitnessLines {
    fn read(&self) -> Result<PolicyWitness, PolicyError> {
        let bad_name = |c: char| c.is_whitespace() || c.is_control() || c == '+' || c == '"';
        if self.name.is_empty() || self.name.contains(bad_name) {
            return Err(PolicyError::Field("witness name"));
        }
        let bytes = hex::decode(&self.key).unwrap_or_default();
        let key = PublicKey::from_slice(&bytes).map_err(|why| PolicyError::Key {
            name: self.name.clone(),
            why: why.to_string(),
        })?;
        Ok(PolicyWitness {
            name: self.name.clone(),
            key,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SigningKey;

    const PIN: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn a_policy_reads_back_what_it_writes() {
        let key = SigningKey::from_seed(&[1; 32]).expect("a key");
        let policy = Policy {
            federation: FederationId::new("anhui.example").expect("a name"),
            roster_pin: Digest::from_slice(&hex::decode(PIN).expect("hex")).expect("32 bytes"),
            quorum: Some(1),
            require_witnessed: true,
            witnesses: vec![PolicyWitness {
                name: "anhui.example/wuhu/witness".into(),
                key: key.public_key().clone(),
            }],
        };
        assert_eq!(Policy::parse(&policy.to_toml()), Ok(policy));
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        let good = format!("federation = \"a.example\"\nroster_pin = \"{PIN}\"\n");
        assert!(Policy::parse(&good).is_ok());
        let weak = format!(
            "{good}[[witness]]\nname = \"w\"\nkey = \"{}\"\n",
            "00".repeat(32)
        );
        assert!(matches!(Policy::parse(&weak), Err(PolicyError::Key { .. })));
        for bad in [
            String::new(),
            good.replace("a.example", "A"),
            good.replace("0011", ""),
            format!("{good}quorum = 0\n"),
            format!("{good}colour = \"red\"\n"),
        ] {
            assert!(Policy::parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn witnesses_that_do_not_fit_together_are_refused() {
        let key = |seed| {
            let key = SigningKey::from_seed(&[seed; 32]).expect("a key");
            hex::encode(key.public_key().as_bytes())
        };
        let named =
            |name: &str, seed| format!("[[witness]]\nname = \"{name}\"\nkey = \"{}\"\n", key(seed));
        let policy = |head: &str, witnesses: &[String]| {
            let lines = witnesses.concat();
            Policy::parse(&format!(
                "federation = \"a.example\"\nroster_pin = \"{PIN}\"\n{head}{lines}"
            ))
        };
        let two = [named("w", 1), named("v", 2)];
        assert!(policy("quorum = 2\n", &two).is_ok());
        assert!(
            policy("quorum = 3\n", &[]).is_ok(),
            "the rosters' witnesses"
        );
        let quorum = PolicyError::Quorum {
            quorum: 3,
            witnesses: 2,
        };
        // One witness that counts twice would be a quorum by itself.
        let twice = [named("w", 1), named("w", 2)];
        let mut refused = vec![
            (policy("quorum = 3\n", &two), quorum),
            (
                policy("quorum = 2\n", &twice),
                PolicyError::Field("witness names"),
            ),
        ];
        for name in ["", "a b", "a+b", "a\\tb", "a\\\"b", "a\\nb"] {
            let one = policy("", &[named(name, 1)]);
            refused.push((one, PolicyError::Field("witness name")));
        }
        let (said, want): (Vec<_>, Vec<_>) = refused.into_iter().unzip();
        assert_eq!(said, want.into_iter().map(Err).collect::<Vec<_>>());
    }
}
