//! The node's one TOML file. Unknown keys are refused, and every key is
//! explained in `deploy/node.example.toml`, which a test holds to this file.
//! Relative paths are read from the directory of the config file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::blame::{Blame, Blamed};
use crate::ids::{Digest, FederationId, MemberId, OfficerName};

mod text;
pub use text::{LogFormat, Role, Timezone};

/// Why a config file was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A key is unknown, missing or of the wrong kind; the source names key and line.
    #[error("{path}: {source}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// What went wrong, where.
        source: Box<toml::de::Error>,
    },
    /// A value that a node cannot work with.
    #[error("{path}: {key}: {why}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key, such as `listen.admin`.
        key: &'static str,
        /// The rule that it breaks.
        why: &'static str,
    },
}

impl Blamed for ConfigError {
    fn blame(&self) -> Blame {
        Blame::Internal
    }

    fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "config.file",
            Self::Toml { .. } => "config.toml",
            Self::Value { .. } => "config.value",
        }
    }
}

/// A node's settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The federation.
    #[serde(with = "text::federation")]
    pub federation: FederationId,
    /// The member whose node this is.
    #[serde(with = "text::member")]
    pub member: MemberId,
    /// The member's role.
    pub role: Role,
    /// The node's directory: its store and what belongs to it.
    pub dir: PathBuf,
    /// The region of phone numbers without a country code, ISO 3166 alpha-2.
    #[serde(default = "phone_region")]
    pub phone_region: String,
    /// Where the dates of imported files are.
    #[serde(default)]
    pub timezone: Timezone,
    /// Whether the node keeps replicas of other members' logs.
    #[serde(default = "replicate")]
    pub replicate: bool,
    /// Certificate and key.
    pub tls: Tls,
    /// The roster.
    pub roster: RosterFiles,
    /// The files of keys.
    pub keys: Keys,
    /// The addresses.
    #[serde(default)]
    pub listen: Listen,
    /// The desk.
    #[serde(default)]
    pub desk: Desk,
    /// The limits.
    #[serde(default)]
    pub limits: Limits,
    /// The log.
    #[serde(default)]
    pub log: Log,
    /// The store.
    #[serde(default)]
    pub store: Store,
}

/// The node's certificate and private key, PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain, the node's own first.
    pub cert: PathBuf,
    /// The private key; only its owner may read the file.
    pub key: PathBuf,
}

/// Where the roster comes from at the first start, and what it hangs on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RosterFiles {
    /// The roster file: every version from 1 on.
    pub file: PathBuf,
    /// SHA-256 of roster 1, 64 hexadecimal digits.
    #[serde(with = "text::digest")]
    pub pin: Digest,
}

/// The files of private keys; only their owner may read them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// The seed of the key that signs statements.
    pub records: PathBuf,
    /// The seed of the key that signs statements from the index on that the
    /// roster states for it; none while no change of keys is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_next: Option<PathBuf>,
    /// The seed of the key that signs checkpoints.
    pub checkpoint: PathBuf,
    /// The seed of the key that cosigns other members' checkpoints.
    pub witness: PathBuf,
    /// The key that seals values at rest.
    pub seal: PathBuf,
}

/// The addresses that the node listens on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// For other members' nodes.
    pub peer: SocketAddr,
    /// For the own member's officers.
    pub desk: SocketAddr,
    /// For auditors, and own officers who export.
    pub audit: SocketAddr,
    /// For health and metrics; plain HTTP, so loopback only.
    pub admin: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            peer: loopback(7440),
            desk: loopback(7441),
            audit: loopback(7442),
            admin: loopback(7443),
        }
    }
}

/// Who keeps the list of officers at the beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Desk {
    /// The officer who has every right when the list is empty.
    #[serde(with = "text::officer", skip_serializing_if = "Option::is_none")]
    pub first_admin: Option<OfficerName>,
}

/// The limits of every call.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The most bytes of one message that the node receives.
    pub message_bytes_max: usize,
    /// How long a call may take before it is answered, in seconds; an officer's
    /// that publishes, searches or verifies takes ten times as long.
    pub timeout_s: u64,
    /// How many calls of one member may run at once.
    pub peer_concurrency: usize,
    /// How many calls a second one member may begin.
    pub peer_requests_per_s: u32,
    /// How long calls may go on once the node is told to stop, in seconds.
    pub drain_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 8 << 20,
            timeout_s: 30,
            peer_concurrency: 64,
            peer_requests_per_s: 500,
            drain_s: 10,
        }
    }
}

/// What the log looks like.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Text for people or JSON for machines.
    pub format: LogFormat,
    /// A filter of `tracing`, such as `info` or `info,casegate::tls=debug`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: "info".into(),
        }
    }
}

/// How the store uses memory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// The page cache of the store of truth, in MiB.
    pub cache_mib: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self { cache_mib: 16 }
    }
}

fn replicate() -> bool {
    true
}

fn phone_region() -> String {
    "CN".into()
}

impl Config {
    /// Reads and checks a config file.
    ///
    /// # Errors
    /// [`ConfigError`] naming the file, and line or key.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::File {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// Reads and checks a config file's text; `path` is for relative paths and errors.
    ///
    /// # Errors
    /// [`ConfigError`] naming line or key.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text).map_err(|source| ConfigError::Toml {
            path: path.to_owned(),
            source: source.into(),
        })?;
        config.check().map_err(|(key, why)| ConfigError::Value {
            path: path.to_owned(),
            key,
            why,
        })?;
        let base = path.parent().unwrap_or_else(|| Path::new(""));
        for file in config.paths() {
            *file = base.join(&*file);
        }
        if let Some(next) = &mut config.keys.records_next {
            *next = base.join(&*next);
        }
        Ok(config)
    }

    fn paths(&mut self) -> [&mut PathBuf; 8] {
        [
            &mut self.dir,
            &mut self.tls.cert,
            &mut self.tls.key,
            &mut self.roster.file,
            &mut self.keys.records,
            &mut self.keys.checkpoint,
            &mut self.keys.witness,
            &mut self.keys.seal,
        ]
    }

    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let Listen {
            peer,
            desk,
            audit,
            admin,
        } = self.listen;
        if !admin.ip().is_loopback() {
            return Err((
                "listen.admin",
                "is plain HTTP and must be a loopback address",
            ));
        }
        let all = [peer, desk, audit, admin].map(|a| (a.port() != 0).then_some(a));
        let mut named: Vec<SocketAddr> = all.into_iter().flatten().collect();
        let count = named.len();
        named.sort_unstable();
        named.dedup();
        if named.len() != count {
            return Err(("listen", "names one address twice"));
        }
        let region = self.phone_region.as_bytes();
        if region.len() != 2 || !region.iter().all(u8::is_ascii_uppercase) {
            return Err(("phone_region", "is two capital letters, such as CN"));
        }
        let Limits {
            message_bytes_max,
            timeout_s,
            peer_concurrency,
            ..
        } = self.limits;
        if !(65_536..=64 << 20).contains(&message_bytes_max) {
            return Err((
                "limits.message_bytes_max",
                "is not between 64 KiB and 64 MiB",
            ));
        }
        if timeout_s == 0 || peer_concurrency == 0 || self.limits.peer_requests_per_s == 0 {
            return Err(("limits", "of 0 would refuse every call"));
        }
        if !(1..=65_536).contains(&self.store.cache_mib) {
            return Err(("store.cache_mib", "is not between 1 and 65,536"));
        }
        Ok(())
    }
}
