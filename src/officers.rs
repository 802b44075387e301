//! The node's own list of officers and their rights. Kept in the store, read
//! from memory on every call, so that a suspension counts at once.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use prost::Message;

use crate::access::AccessError;
use crate::blame::{Blame, Blamed};
use crate::clock::Clock;
use crate::ids::OfficerName;
use crate::policy::Right;
use crate::store::{Batch, Store, StoreError, Table};
use crate::wire::v1::OfficerRow;

/// Why the list was not changed.
#[derive(Debug, thiserror::Error)]
pub enum OfficerError {
    /// Nobody of that name.
    #[error("no officer {0} on this node's list")]
    Unknown(OfficerName),
    /// A word that is no right.
    #[error(
        "{0:?} is not a right; rights are publish, query, confirm, disclose-request, disclose-approve, export, admin"
    )]
    Right(String),
    /// The change would leave nobody who may change the list.
    #[error("{0} is the last active officer with the right admin")]
    LastAdmin(OfficerName),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The change's line in the access log was not written.
    #[error(transparent)]
    Access(#[from] AccessError),
}

impl Blamed for OfficerError {
    fn blame(&self) -> Blame {
        match self {
            Self::Unknown(_) => Blame::NotFound,
            Self::Right(_) => Blame::Misbehaved,
            Self::LastAdmin(_) => Blame::Denied,
            Self::Store(e) => e.blame(),
            Self::Access(e) => e.blame(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "officer.unknown",
            Self::Right(_) => "officer.bad_right",
            Self::LastAdmin(_) => "officer.last_admin",
            Self::Store(e) => e.code(),
            Self::Access(e) => e.code(),
        }
    }
}

/// The list of officers. Clones share it.
#[derive(Clone, Debug)]
pub struct Officers {
    store: Store,
    clock: Clock,
    rows: Arc<RwLock<BTreeMap<OfficerName, OfficerRow>>>,
}

impl Officers {
    /// Reads the list. An empty one is given `first_admin` with every right.
    ///
    /// # Errors
    /// [`OfficerError::Store`].
    pub fn open(
        store: Store,
        clock: Clock,
        first_admin: Option<&OfficerName>,
    ) -> Result<Self, OfficerError> {
        let mut rows = BTreeMap::new();
        for (key, value) in store.scan(Table::Officers, b"")? {
            let name = std::str::from_utf8(&key)
                .ok()
                .and_then(|n| OfficerName::new(n).ok());
            let row = OfficerRow::decode(value).ok();
            let (Some(name), Some(row)) = (name, row) else {
                return Err(StoreError::Damaged("officer").into());
            };
            rows.insert(name, row);
        }
        let officers = Self {
            store,
            clock,
            rows: Arc::new(RwLock::new(rows)),
        };
        if let Some(admin) = first_admin
            && officers.list().is_empty()
        {
            let all: Vec<_> = Right::ALL.iter().map(|r| r.as_str().to_owned()).collect();
            officers.set(admin, &all)?;
        }
        Ok(officers)
    }

    /// The rights of an officer; `None` for an unknown or suspended one.
    #[must_use]
    pub fn rights(&self, name: &OfficerName) -> Option<Vec<Right>> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        let row = rows.get(name).filter(|row| !row.suspended)?;
        Some(
            row.rights
                .iter()
                .filter_map(|r| Right::from_word(r))
                .collect(),
        )
    }

    /// The whole list, by name.
    #[must_use]
    pub fn list(&self) -> Vec<OfficerRow> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        rows.values().cloned().collect()
    }

    /// Adds an officer, or gives one other rights. Blocks until it is durable.
    ///
    /// # Errors
    /// [`OfficerError::Right`] for an unknown right, [`OfficerError::LastAdmin`].
    pub fn set(&self, name: &OfficerName, rights: &[String]) -> Result<OfficerRow, OfficerError> {
        self.set_with(name, rights, |batch| Ok(self.store.commit(batch)?))
    }

    /// As [`Officers::set`]; `commit` makes the change durable, with what else
    /// belongs to it.
    ///
    /// # Errors
    /// As [`Officers::set`], or that of `commit`.
    pub fn set_with(
        &self,
        name: &OfficerName,
        rights: &[String],
        commit: impl FnOnce(Batch) -> Result<(), AccessError>,
    ) -> Result<OfficerRow, OfficerError> {
        for right in rights {
            Right::from_word(right).ok_or_else(|| OfficerError::Right(right.clone()))?;
        }
        let row = OfficerRow {
            name: name.to_string(),
            rights: rights.to_vec(),
            suspended: false,
            changed_at: self.clock.now(),
        };
        self.keep(name, row, commit)
    }

    /// Suspends an officer, or restores one. Doing it twice changes nothing.
    ///
    /// # Errors
    /// [`OfficerError::Unknown`], [`OfficerError::LastAdmin`].
    pub fn suspend(&self, name: &OfficerName, suspended: bool) -> Result<OfficerRow, OfficerError> {
        self.suspend_with(name, suspended, |batch| Ok(self.store.commit(batch)?))
    }

    /// As [`Officers::suspend`]; `commit` makes the change durable, with what
    /// else belongs to it.
    ///
    /// # Errors
    /// As [`Officers::suspend`], or that of `commit`.
    pub fn suspend_with(
        &self,
        name: &OfficerName,
        suspended: bool,
        commit: impl FnOnce(Batch) -> Result<(), AccessError>,
    ) -> Result<OfficerRow, OfficerError> {
        let before = {
            let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
            rows.get(name).cloned()
        };
        let mut row = before.ok_or_else(|| OfficerError::Unknown(name.clone()))?;
        row.suspended = suspended;
        row.changed_at = self.clock.now();
        self.keep(name, row, commit)
    }

    fn keep(
        &self,
        name: &OfficerName,
        row: OfficerRow,
        commit: impl FnOnce(Batch) -> Result<(), AccessError>,
    ) -> Result<OfficerRow, OfficerError> {
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        let is_admin = |row: &OfficerRow| {
            !row.suspended && row.rights.iter().any(|r| r == Right::Admin.as_str())
        };
        let others = rows.iter().any(|(n, r)| n != name && is_admin(r));
        let was_admin = rows.get(name).is_some_and(is_admin);
        if was_admin && !is_admin(&row) && !others {
            return Err(OfficerError::LastAdmin(name.clone()));
        }
        let mut batch = Batch::new();
        batch.put(
            Table::Officers,
            name.as_str().as_bytes(),
            row.encode_to_vec(),
        );
        commit(batch)?;
        rows.insert(name.clone(), row.clone());
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> OfficerName {
        OfficerName::new(text).expect("a name")
    }

    fn open(dir: &std::path::Path) -> Officers {
        let store = Store::open(dir, 1 << 20).expect("a store");
        Officers::open(store, Clock::manual(1), Some(&name("chen"))).expect("officers")
    }

    #[test]
    fn a_suspended_officer_has_no_rights_and_stays_so_after_reopening() {
        let dir = tempfile::tempdir().expect("a directory");
        {
            let officers = open(dir.path());
            officers.set(&name("li"), &["query".into()]).expect("added");
            assert_eq!(officers.rights(&name("li")), Some(vec![Right::Query]));
            officers.suspend(&name("li"), true).expect("suspended");
            assert_eq!(officers.rights(&name("li")), None);
        }
        let officers = open(dir.path());
        assert_eq!(officers.rights(&name("li")), None);
        officers.suspend(&name("li"), false).expect("restored");
        assert_eq!(officers.rights(&name("li")), Some(vec![Right::Query]));
    }

    #[test]
    fn unknown_names_and_rights_are_refused_and_the_last_admin_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let officers = open(dir.path());
        assert!(matches!(
            officers.suspend(&name("nobody"), true),
            Err(OfficerError::Unknown(_))
        ));
        assert!(matches!(
            officers.set(&name("li"), &["everything".into()]),
            Err(OfficerError::Right(_))
        ));
        assert!(matches!(
            officers.suspend(&name("chen"), true),
            Err(OfficerError::LastAdmin(_))
        ));
        officers.set(&name("li"), &["admin".into()]).expect("added");
        officers
            .suspend(&name("chen"), true)
            .expect("another admin is there");
    }
}
