//! The node's own case table: local cases, and a department's operations.
//! Rows are sealed at rest and keyed by an HMAC of the case number. It owns
//! the relation between case numbers and case refs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prost::Message;

use crate::access::AccessError;
use crate::blame::{Blame, Blamed};
use crate::ids::{CaseRef, random};
use crate::ledger::{Ledger, LedgerError};
use crate::postings::{Pointer, PostingsBatch};
use crate::store::{Batch, StoreError, Table};
use crate::wire::v1::{CaseRow, CaseState};

/// Characters that a case number may have.
pub const CASE_NO_CHARS_MAX: usize = 512;
/// Digits of a case ref that name its case at least.
const REF_DIGITS_MIN: usize = 8;

/// Why a case was refused.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// No row with this number.
    #[error("no case {0:?} in this node's case table")]
    Unknown(String),
    /// The digits begin the refs of several cases.
    #[error("several case refs begin with these digits: give more of them")]
    Ambiguous,
    /// The case is closed.
    #[error("case {0:?} is closed")]
    Closed(String),
    /// The number names a case where an operation is needed, or the reverse.
    #[error("{0:?} is not an operation of this node")]
    NotAnOperation(String),
    /// The operation's end date has passed.
    #[error("operation {0:?} has ended")]
    Ended(String),
    /// A row with this number is there already.
    #[error("{0:?} is in the case table already")]
    Exists(String),
    /// The number is empty, too long or has control characters.
    #[error("a case number has 1 to 512 printable characters")]
    BadNumber,
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The change's line in the access log was not written.
    #[error(transparent)]
    Access(#[from] AccessError),
}

impl From<StoreError> for CaseError {
    fn from(e: StoreError) -> Self {
        Self::Ledger(e.into())
    }
}

impl Blamed for CaseError {
    fn blame(&self) -> Blame {
        match self {
            Self::Unknown(_) | Self::Ambiguous => Blame::NotFound,
            Self::Closed(_)
            | Self::NotAnOperation(_)
            | Self::Ended(_)
            | Self::Exists(_)
            | Self::BadNumber => Blame::Denied,
            Self::Ledger(e) => e.blame(),
            Self::Access(e) => e.blame(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "case.unknown",
            Self::Ambiguous => "case.ambiguous",
            Self::Closed(_) => "case.closed",
            Self::NotAnOperation(_) => "case.not_an_operation",
            Self::Ended(_) => "case.ended",
            Self::Exists(_) => "case.exists",
            Self::BadNumber => "case.bad_number",
            Self::Ledger(e) => e.code(),
            Self::Access(e) => e.code(),
        }
    }
}

/// A handle to the case table. Clones share it.
#[derive(Clone, Debug)]
pub struct Cases {
    ledger: Ledger,
    changing: Arc<Mutex<()>>,
    pointed: Arc<AtomicBool>,
}

impl Cases {
    /// Opens the case table of a ledger.
    #[must_use]
    pub fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            changing: Arc::default(),
            pointed: Arc::default(),
        }
    }

    /// Keeps everybody else from changing rows. Whoever reads a row, changes it
    /// and writes it back in a batch holds this until the batch is durable.
    pub fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, case_no: &str) -> [u8; 16] {
        self.ledger.seal().lookup("case-no", &[case_no.as_bytes()])
    }

    fn open_row(&self, key: &[u8], sealed: &[u8]) -> Result<CaseRow, CaseError> {
        let damaged = || CaseError::from(StoreError::Damaged("case row"));
        let plain = self
            .ledger
            .seal()
            .open(key, sealed)
            .map_err(|_| damaged())?;
        CaseRow::decode(&plain[..]).map_err(|_| damaged())
    }

    /// Finds a case by its number, open or closed.
    ///
    /// # Errors
    /// [`CaseError::Ledger`].
    pub fn find(&self, case_no: &str) -> Result<Option<CaseRow>, CaseError> {
        let key = self.key(case_no);
        match self.ledger.store().read(Table::Cases, &key)? {
            Some(sealed) => Ok(Some(self.open_row(&key, &sealed)?)),
            None => Ok(None),
        }
    }

    /// Finds a case as a person names it: by its number, or by the first digits of
    /// its ref, [`REF_DIGITS_MIN`] at least, where no other case begins so.
    ///
    /// # Errors
    /// [`CaseError::Ambiguous`] or [`CaseError::Ledger`].
    pub fn named(&self, name: &str) -> Result<Option<CaseRow>, CaseError> {
        if let Some(row) = self.find(name)? {
            return Ok(Some(row));
        }
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if !(REF_DIGITS_MIN..=32).contains(&name.len()) || !name.bytes().all(digit) {
            return Ok(None);
        }
        let mut rows = self.all()?;
        rows.retain(|row| hex::encode(&row.case_ref).starts_with(name));
        if rows.len() > 1 {
            return Err(CaseError::Ambiguous);
        }
        Ok(rows.pop())
    }

    /// Finds the own case behind a case ref.
    ///
    /// # Errors
    /// [`CaseError::Ledger`].
    pub fn by_ref(&self, case: &CaseRef) -> Result<Option<CaseRow>, CaseError> {
        let mac = self.ledger.seal().lookup("case-ref", &[case.as_bytes()]);
        let pointer = || {
            self.ledger
                .postings()
                .pointer(Pointer::Case, &mac)
                .map_err(LedgerError::from)
        };
        let mut key = pointer()?;
        // The pointers are derived and may be lost with the index; case rows are
        // not in a log, so its replay does not bring them back.
        if key.is_none() && !self.pointed.swap(true, Ordering::SeqCst) {
            self.reindex()?;
            key = pointer()?;
        }
        let Some(key) = key else { return Ok(None) };
        match self.ledger.store().read(Table::Cases, &key)? {
            Some(sealed) => Ok(Some(self.open_row(&key, &sealed)?)),
            None => Ok(None),
        }
    }

    /// The open case of that number.
    ///
    /// # Errors
    /// [`CaseError::Unknown`] or [`CaseError::Closed`].
    pub fn open_case(&self, case_no: &str) -> Result<CaseRow, CaseError> {
        let row = self
            .named(case_no)?
            .ok_or_else(|| CaseError::Unknown(case_no.to_owned()))?;
        if row.state() == CaseState::Closed {
            return Err(CaseError::Closed(case_no.to_owned()));
        }
        Ok(row)
    }

    /// The case of that number, open or closed.
    ///
    /// # Errors
    /// [`CaseError::Unknown`].
    pub fn open_or_closed(&self, case_no: &str) -> Result<CaseRow, CaseError> {
        self.named(case_no)?
            .ok_or_else(|| CaseError::Unknown(case_no.to_owned()))
    }

    /// The operation of that number, unless it has ended.
    ///
    /// # Errors
    /// [`CaseError::Unknown`], [`CaseError::NotAnOperation`], [`CaseError::Ended`].
    pub fn open_operation(&self, number: &str) -> Result<CaseRow, CaseError> {
        let row = self.open_case(number)?;
        if !row.operation {
            return Err(CaseError::NotAnOperation(number.to_owned()));
        }
        if row.ends_at != 0 && row.ends_at <= self.ledger.clock().now() {
            return Err(CaseError::Ended(number.to_owned()));
        }
        Ok(row)
    }

    /// Adds a row under a fresh case ref, which it returns.
    ///
    /// # Errors
    /// [`CaseError::Exists`] or [`CaseError::BadNumber`].
    pub fn add(&self, row: CaseRow) -> Result<CaseRow, CaseError> {
        self.add_with(row, |batch| Ok(self.ledger.store().commit(batch)?))
    }

    /// As [`Cases::add`]; `commit` makes the change durable, with what else
    /// belongs to it.
    ///
    /// # Errors
    /// [`CaseError::Exists`], [`CaseError::BadNumber`], or that of `commit`.
    pub fn add_with(
        &self,
        row: CaseRow,
        commit: impl FnOnce(Batch) -> Result<(), AccessError>,
    ) -> Result<CaseRow, CaseError> {
        let changing = self.change();
        if self.find(&row.case_no)?.is_some() {
            return Err(CaseError::Exists(row.case_no));
        }
        let mut batch = Batch::new();
        let row = self.stage_new(row, &mut batch)?;
        commit(batch)?;
        drop(changing);
        Ok(row)
    }

    /// Puts a new row into `batch`, under a fresh case ref. The caller holds
    /// [`Cases::change`] and makes sure that no such row exists.
    fn stage_new(&self, row: CaseRow, batch: &mut Batch) -> Result<CaseRow, CaseError> {
        let row = Self::fresh(row)?;
        self.stage(&row, batch)?;
        Ok(row)
    }

    /// Gives a new row, which is not in the table yet, its case ref.
    ///
    /// # Errors
    /// [`CaseError::BadNumber`].
    pub fn fresh(mut row: CaseRow) -> Result<CaseRow, CaseError> {
        let number_ok = !row.case_no.trim().is_empty()
            && row.case_no.chars().count() <= CASE_NO_CHARS_MAX
            && !row.case_no.chars().any(char::is_control);
        if !number_ok {
            return Err(CaseError::BadNumber);
        }
        row.case_ref = random::<16>().to_vec().into();
        if row.state() == CaseState::Unspecified {
            row.set_state(CaseState::Open);
        }
        Ok(row)
    }

    /// Puts the changed row into `batch`.
    ///
    /// # Errors
    /// [`CaseError::Ledger`].
    pub fn stage(&self, row: &CaseRow, batch: &mut Batch) -> Result<(), CaseError> {
        let key = self.key(&row.case_no);
        batch.put(
            Table::Cases,
            &key,
            self.ledger.seal().seal(&key, &row.encode_to_vec()),
        );
        let mut pointers = PostingsBatch::default();
        self.point(row, key, &mut pointers);
        self.ledger
            .postings()
            .apply(pointers)
            .map_err(LedgerError::from)?;
        Ok(())
    }

    fn point(&self, row: &CaseRow, key: [u8; 16], pointers: &mut PostingsBatch) {
        let mac = self.ledger.seal().lookup("case-ref", &[&row.case_ref]);
        pointers.put_pointer(Pointer::Case, &mac, &key);
    }

    /// Closes a case; closing it again changes nothing.
    ///
    /// # Errors
    /// [`CaseError::Unknown`].
    pub fn close(&self, case_no: &str) -> Result<CaseRow, CaseError> {
        self.close_with(case_no, |batch| Ok(self.ledger.store().commit(batch)?))
    }

    /// As [`Cases::close`]; `commit` makes the change durable, with what else
    /// belongs to it.
    ///
    /// # Errors
    /// [`CaseError::Unknown`], or that of `commit`.
    pub fn close_with(
        &self,
        case_no: &str,
        commit: impl FnOnce(Batch) -> Result<(), AccessError>,
    ) -> Result<CaseRow, CaseError> {
        let changing = self.change();
        let mut row = self
            .named(case_no)?
            .ok_or_else(|| CaseError::Unknown(case_no.to_owned()))?;
        row.set_state(CaseState::Closed);
        let mut batch = Batch::new();
        self.stage(&row, &mut batch)?;
        commit(batch)?;
        drop(changing);
        Ok(row)
    }

    /// All rows, in no particular order.
    ///
    /// # Errors
    /// [`CaseError::Ledger`].
    pub fn all(&self) -> Result<Vec<CaseRow>, CaseError> {
        let mut out = vec![];
        for item in self.ledger.store().iter(Table::Cases, b"") {
            let (key, sealed) = item?;
            out.push(self.open_row(&key, &sealed)?);
        }
        Ok(out)
    }

    /// Rebuilds the derived pointers after the index was dropped.
    ///
    /// # Errors
    /// [`CaseError::Ledger`].
    pub fn reindex(&self) -> Result<(), CaseError> {
        for row in self.all()? {
            let mut pointers = PostingsBatch::default();
            self.point(&row, self.key(&row.case_no), &mut pointers);
            self.ledger
                .postings()
                .apply(pointers)
                .map_err(LedgerError::from)?;
        }
        Ok(())
    }
}

/// The case ref of a row.
#[must_use]
pub fn case_ref(row: &CaseRow) -> CaseRef {
    CaseRef::from_slice(&row.case_ref).unwrap_or(CaseRef([0; 16]))
}
