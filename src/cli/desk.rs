//! The officer's own config file, and the way from it to the node's desk.
//! Nothing is asked of the node before the certificate, the roster and the
//! names in the file are known to fit together.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Deserialize;

use crate::cli::failure::CommandError;
use crate::clock::Clock;
use crate::ids::{Digest, FederationId, MemberId};
use crate::roster::{Roster, RosterChain};
use crate::rosters::shares_fit;
use crate::rpc::desk_client::DeskClient;
use crate::tls::Material;
use crate::wire::v1;

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    federation: String,
    member: String,
    #[serde(default)]
    desk: String,
    cert: PathBuf,
    key: PathBuf,
    roster: PathBuf,
    pin: String,
}

/// What an officer's commands need to know (`casegate.toml`): seven keys, of
/// which an auditor without a node leaves out `desk`, and no others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeskConfig {
    /// The federation.
    pub federation: FederationId,
    /// The officer's member.
    pub member: MemberId,
    /// The node's desk, `host:port`; empty where the member has no node.
    pub desk: String,
    /// The officer's certificate, PEM.
    pub cert: PathBuf,
    /// Its key, PEM; only the officer may read it.
    pub key: PathBuf,
    /// The roster file that `casegate roster` writes.
    pub roster: PathBuf,
    /// The SHA-256 of roster 1.
    pub pin: Digest,
}

impl DeskConfig {
    /// Reads the file; paths in it count from its own directory.
    ///
    /// # Errors
    /// [`CommandError::Config`].
    pub fn load(path: &Path) -> Result<Self, CommandError> {
        let text = fs::read_to_string(path).map_err(|source| CommandError::NoConfig {
            path: path.to_owned(),
            source,
        })?;
        let dir = path.parent().unwrap_or_else(|| Path::new(""));
        Self::parse(&text, dir).map_err(|detail| CommandError::Config {
            path: path.to_owned(),
            detail,
        })
    }

    /// Reads the file's text; its paths count from `dir`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str, dir: &Path) -> Result<Self, String> {
        let written: Written = toml::from_str(text).map_err(|e| e.to_string().trim().to_owned())?;
        Ok(Self {
            federation: FederationId::new(&written.federation).map_err(|e| e.to_string())?,
            member: MemberId::new(&written.member).map_err(|e| e.to_string())?,
            desk: written.desk,
            cert: dir.join(written.cert),
            key: dir.join(written.key),
            roster: dir.join(written.roster),
            pin: written
                .pin
                .parse()
                .map_err(|_| "pin must be the SHA-256 of roster 1: 64 hexadecimal digits")?,
        })
    }

    fn wrong(&self, path: &Path, detail: String) -> CommandError {
        CommandError::Config {
            path: path.to_owned(),
            detail: format!(
                "{detail} (config of {} in {})",
                self.member, self.federation
            ),
        }
    }

    /// Loads certificate and key, and checks that they are an officer's of this member.
    pub(super) fn material(&self, path: &Path) -> Result<Material, CommandError> {
        let material = Material::load(&self.cert, &self.key)?;
        let identity = material.identity();
        if identity.officer().is_none() {
            return Err(self.wrong(
                path,
                format!("{identity} is a node's certificate, not an officer's"),
            ));
        }
        if identity.member != self.member || identity.federation != self.federation {
            return Err(self.wrong(path, format!("the certificate names {identity}")));
        }
        Ok(material)
    }

    /// Reads the roster file and checks its chain from the pinned version 1 on.
    pub(super) fn newest_roster(&self, path: &Path) -> Result<Arc<Roster>, CommandError> {
        let file = fs::read(&self.roster).map_err(|source| CommandError::Unreadable {
            path: self.roster.clone(),
            source,
        })?;
        let chain = RosterChain::from_bytes(self.pin, &file, 0, shares_fit).map_err(|source| {
            CommandError::Roster {
                path: self.roster.clone(),
                source,
            }
        })?;
        let newest = Arc::clone(chain.newest());
        if newest.federation != self.federation {
            return Err(self.wrong(path, format!("the roster is that of {}", newest.federation)));
        }
        if newest.member(&self.member).is_none() {
            return Err(self.wrong(path, format!("roster {} does not list it", newest.version)));
        }
        Ok(newest)
    }
}

/// The node's desk, as one officer's commands see it.
#[derive(Clone, Debug)]
pub struct Desk {
    /// The calls.
    pub client: DeskClient,
    /// The officer's name.
    pub officer: String,
    /// When the roster file's newest version runs out, seconds since 1970.
    pub roster_expires_at: i64,
}

impl Desk {
    /// Gets ready from the config file at `path`; connects at the first call.
    /// Needs a running tokio.
    ///
    /// # Errors
    /// [`CommandError`] when the file, the certificate or the roster is not right.
    pub fn open(path: &Path, clock: &Clock) -> Result<Self, CommandError> {
        let config = DeskConfig::load(path)?;
        if config.desk.is_empty() {
            return Err(config.wrong(path, "desk is missing: this command asks a desk".into()));
        }
        let material = config.material(path)?;
        let roster = config.newest_roster(path)?;
        let officer = material
            .identity()
            .officer()
            .map(ToString::to_string)
            .unwrap_or_default();
        let roster_expires_at = roster.expires_at;
        let handle = Arc::new(ArcSwap::from(roster));
        let client = DeskClient::new(material, handle, clock.clone(), config.member, &config.desk)?;
        Ok(Self {
            client,
            officer,
            roster_expires_at,
        })
    }
}

/// Why an officer asks: stands in the node's access log, signed.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct PurposeArgs {
    /// The offence that is investigated.
    #[arg(long, value_name = "TEXT")]
    pub offence: String,
    /// Why this is needed, in a sentence.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// How urgent it is.
    #[arg(long, value_name = "WORD", default_value = "routine", value_parser = ["routine", "urgent", "emergency"])]
    pub urgency: String,
}

impl PurposeArgs {
    /// The purpose as it is sent.
    #[must_use]
    pub fn to_wire(&self) -> v1::DeskPurpose {
        v1::DeskPurpose {
            offence: self.offence.clone(),
            reason: self.reason.clone(),
            urgency: self.urgency.clone(),
        }
    }
}
