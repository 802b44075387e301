//! From a config to what a node is started with: reads the files that the
//! config names and says, in every error, which key names the file that is
//! wrong. Relies on the formats of [`crate::pki::files`] and the roster chain.

use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::blame::{Blame, Blamed};
use crate::clock::Clock;
use crate::config::Config;
use crate::element::Rules;
use crate::ledger::{Ledger, LedgerError, LedgerOptions, LogKeys};
use crate::node::NodeOptions;
use crate::pki::PkiError;
use crate::pki::files::load_seed;
use crate::policy::Subject;
use crate::postings::PostingsOptions;
use crate::roster::{MemberRole, RosterChain, RosterError};
use crate::rosters::{Rosters, RostersError, newest_in, shares_fit};
use crate::seal::SealKey;
use crate::tls::{Material, TlsError, check_private};
use crate::wire::v1;

/// Why a config does not make a node. Every sentence begins with the key.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Certificate or key cannot be used.
    #[error("tls: {0}")]
    Tls(#[from] TlsError),
    /// The certificate names somebody else than the config.
    #[error("tls.cert: the certificate names {found}, but the config says {wanted}")]
    OtherName {
        /// Whom the certificate names.
        found: String,
        /// Whom the config names.
        wanted: String,
    },
    /// A signing key cannot be used.
    #[error("{key}: {source}")]
    Seed {
        /// The config's key.
        key: &'static str,
        /// What is wrong, with the file.
        source: PkiError,
    },
    /// The seal key cannot be used.
    #[error("keys.seal: {}: {why}", path.display())]
    Seal {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The roster file cannot be read.
    #[error("roster.file: {}: {source}", path.display())]
    RosterFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The roster file is refused.
    #[error("roster.file: {}: {source}", path.display())]
    Roster {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: RosterError,
    },
    /// A value that no part of the node can work with.
    #[error("{key}: {why}")]
    Value {
        /// The config's key.
        key: &'static str,
        /// The rule that it breaks.
        why: &'static str,
    },
}

impl Blamed for SetupError {
    fn blame(&self) -> Blame {
        Blame::Internal
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Tls(e) => e.code(),
            Self::OtherName { .. } => "setup.other_name",
            Self::Seed { .. } => "setup.seed",
            Self::Seal { .. } => "setup.seal",
            Self::RosterFile { .. } => "setup.roster_file",
            Self::Roster { source, .. } => source.code(),
            Self::Value { .. } => "setup.value",
        }
    }
}

/// Reads everything that the config names.
///
/// # Errors
/// [`SetupError`] naming key and file.
pub fn options_of(config: &Config, clock: &Clock) -> Result<NodeOptions, SetupError> {
    Ok(NodeOptions {
        dir: config.dir.clone(),
        federation: config.federation.clone(),
        member: config.member.clone(),
        material: material(config)?,
        keys: log_keys(config)?,
        seal: *seal_key(&config.keys.seal)?,
        pin: config.roster.pin,
        rosters: rosters(config)?,
        clock: clock.clone(),
        first_admin: config.desk.first_admin.clone(),
        rules: rules(config)?,
        utc_offset_s: config.timezone.offset_s(),
        replicate: config.replicate,
        cache_bytes: cache_bytes(config),
        index: PostingsOptions::default(),
        limits: config.limits.clone(),
    })
}

fn cache_bytes(config: &Config) -> u64 {
    config.store.cache_mib.saturating_mul(1 << 20)
}

fn rules(config: &Config) -> Result<Rules, SetupError> {
    Rules::new(&config.phone_region).map_err(|_| SetupError::Value {
        key: "phone_region",
        why: "is no region with phone numbers",
    })
}

/// Loads certificate and key, and checks that they are this node's.
///
/// # Errors
/// [`SetupError::Tls`] or [`SetupError::OtherName`].
pub fn material(config: &Config) -> Result<Material, SetupError> {
    let material = Material::load(&config.tls.cert, &config.tls.key)?;
    let identity = material.identity();
    let wanted = wanted_name(config);
    let fits = identity.federation == config.federation
        && identity.member == config.member
        && identity.role == MemberRole::from(config.role)
        && identity.subject == Subject::Node;
    if fits {
        Ok(material)
    } else {
        Err(SetupError::OtherName {
            found: identity.to_string(),
            wanted,
        })
    }
}

/// The name that this node's certificate must have.
#[must_use]
pub fn wanted_name(config: &Config) -> String {
    let role = MemberRole::from(config.role);
    format!(
        "spiffe://{}/{role}/{}/node",
        config.federation, config.member
    )
}

/// Loads the keys that sign the node's logs and cosign those of others.
///
/// # Errors
/// [`SetupError::Seed`].
pub fn log_keys(config: &Config) -> Result<LogKeys, SetupError> {
    let load =
        |key, path: &Path| load_seed(path).map_err(|source| SetupError::Seed { key, source });
    Ok(LogKeys {
        records: load("keys.records", &config.keys.records)?,
        records_next: config
            .keys
            .records_next
            .as_deref()
            .map(|path| load("keys.records_next", path))
            .transpose()?,
        checkpoint: load("keys.checkpoint", &config.keys.checkpoint)?,
        witness: load("keys.witness", &config.keys.witness)?,
    })
}

/// Reads the key that seals what stays at home.
///
/// # Errors
/// [`SetupError::Seal`], also when others may read the file.
pub fn seal_key(path: &Path) -> Result<Zeroizing<[u8; 32]>, SetupError> {
    let bad = |why: String| SetupError::Seal {
        path: path.to_owned(),
        why,
    };
    check_private(path).map_err(|e| match e {
        TlsError::KeyReadable { mode, .. } => bad(format!(
            "has mode {mode:o}: only its owner may read it (chmod 600)"
        )),
        other => bad(other.to_string()),
    })?;
    let text = std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|e| bad(e.to_string()))?;
    let mut key = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim_end(), key.as_mut_slice())
        .map_err(|_| bad("does not hold one line of 64 hexadecimal digits".into()))?;
    Ok(key)
}

/// Reads the roster file and checks it as a chain from the pin on. A missing
/// file is no error once the node has a store, which holds a newer one.
///
/// # Errors
/// [`SetupError::RosterFile`] or [`SetupError::Roster`].
pub fn rosters(config: &Config) -> Result<Vec<v1::SignedRoster>, SetupError> {
    let path = &config.roster.file;
    match std::fs::read(path) {
        Ok(bytes) => Ok(chain(config, &bytes)?.after(0)),
        Err(e) if e.kind() == io::ErrorKind::NotFound && config.dir.join("store").exists() => {
            Ok(vec![])
        }
        Err(source) => Err(SetupError::RosterFile {
            path: path.clone(),
            source,
        }),
    }
}

/// Checks a roster file's bytes as a chain from the pin on.
///
/// # Errors
/// [`SetupError::Roster`].
pub fn chain(config: &Config, bytes: &[u8]) -> Result<RosterChain, SetupError> {
    RosterChain::from_bytes(config.roster.pin, bytes, 0, shares_fit).map_err(|source| {
        SetupError::Roster {
            path: config.roster.file.clone(),
            source,
        }
    })
}

/// Why a stopped node's ledger did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file that the config names.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The rosters.
    #[error(transparent)]
    Rosters(#[from] RostersError),
    /// The ledger itself.
    #[error(transparent)]
    Ledger(Box<LedgerError>),
    /// The roster has no such member.
    #[error("the roster does not name {0}, whom the config names")]
    NotInRoster(crate::ids::MemberId),
    /// There is nothing to open.
    #[error("there is no store at {}: the node was never started", .0.display())]
    NoStore(PathBuf),
}

impl From<LedgerError> for OpenError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(Box::new(error))
    }
}

impl Blamed for OpenError {
    fn blame(&self) -> Blame {
        match self {
            Self::Setup(e) => e.blame(),
            Self::Rosters(e) => e.blame(),
            Self::Ledger(e) => e.blame(),
            Self::NotInRoster(_) | Self::NoStore(_) => Blame::NotFound,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Setup(e) => e.code(),
            Self::Rosters(e) => e.code(),
            Self::Ledger(e) => e.code(),
            Self::NotInRoster(_) => "setup.not_in_roster",
            Self::NoStore(_) => "setup.no_store",
        }
    }
}

/// Opens the ledger of a stopped node, with its rosters; blocks on the disk.
///
/// # Errors
/// [`OpenError`]; a store in use is [`OpenError::Ledger`].
pub fn open_ledger(config: &Config, clock: &Clock) -> Result<(Ledger, Rosters), OpenError> {
    let dir = config.dir.join("store");
    if !dir.exists() {
        return Err(OpenError::NoStore(dir));
    }
    let (keys, seal) = (log_keys(config)?, seal_key(&config.keys.seal)?);
    let from_file = rosters(config)?;
    let (cache, pin) = (cache_bytes(config), config.roster.pin);
    let roster = newest_in(&config.dir, cache, clock, pin, &from_file)?;
    let member = roster
        .member(&config.member)
        .ok_or_else(|| OpenError::NotInRoster(config.member.clone()))?;
    let ledger = Ledger::open(
        &config.dir,
        LedgerOptions {
            federation: config.federation.clone(),
            own: config.member.clone(),
            keys,
            seal: std::sync::Arc::new(SealKey::new(*seal)),
            clock: clock.clone(),
            records_generation: member.records_generation,
            access_generation: member.access_generation,
            cache_bytes: cache,
            index: PostingsOptions::default(),
        },
    )?;
    let store = ledger.store().clone();
    let rosters = Rosters::open(store, clock.clone(), pin, &from_file)?;
    ledger.follow_rosters(rosters.history_handle());
    Ok((ledger, rosters))
}
