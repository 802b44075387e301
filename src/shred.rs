//! Erasable keys: `shred.keys`, a file of fixed slots outside the store, each with the AES-256 key
//! of exactly one sealed chunk. Overwriting a slot erases the chunk wherever copies of it lie.
//!
//! The file is a 64-byte header and 64-byte slots, so that no slot straddles a disk sector. A slot
//! is a random nonce, the wrapped key and its tag under a key derived from the node's seal key and
//! the file's own id; all zeros mean that it was destroyed. Slot numbers are never used again.
//! Durability is the caller's order: allocate, seal, [`ShredKeys::sync`], and only then write the
//! chunk. What a disk or a copy-on-write file system keeps of overwritten sectors is out of reach.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use zeroize::Zeroizing;

use crate::blame::{Blame, Blamed};
use crate::ids;

/// Bytes that sealing adds to a plaintext.
pub const SEAL_OVERHEAD_BYTES: usize = 16;

const MAGIC: &[u8; 8] = b"CGSHRED\0";
const VERSION: u32 = 1;
const HEADER_BYTES: u64 = 64;
const SLOT_BYTES: u64 = 64;
const SLOT_LEN: usize = 64;
/// Slots that are read in one go.
const READ_SLOTS: u64 = 1_024;
const WRAPPED_LEN: usize = 32 + SEAL_OVERHEAD_BYTES;
const FILE_ID_AT: usize = 16;
const CHECK_AT: usize = 32;
const WRAP_LABEL: &[u8] = b"casegate/shred/v1";
const CHECK_LABEL: &[u8] = b"casegate/shred-check/v1";

type SlotKey = Zeroizing<[u8; 32]>;

/// The number of a key slot, from 0; stored beside the chunk that its key seals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId(pub u64);

impl SlotId {
    /// The slot in the first eight bytes of a stored value.
    #[must_use]
    pub fn leading(value: &[u8]) -> Option<Self> {
        let (slot, _) = value.split_first_chunk::<8>()?;
        Some(Self(u64::from_be_bytes(*slot)))
    }
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a key slot could not be made, used or destroyed.
#[derive(Debug, thiserror::Error)]
pub enum ShredError {
    /// The file could not be read or written.
    #[error("{doing} the key slot file: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Another process, or another part of this one, has the file open.
    #[error("the key slot file is in use by another process")]
    Locked,
    /// The file is something else.
    #[error("the file is not a key slot file")]
    NotKeySlots,
    /// The file has a format that this version does not know.
    #[error(
        "the key slot file has format {found}, this casegate reads format {VERSION}: run the version \
         that wrote it or a newer one, and do not delete it: without it no body can be read"
    )]
    Version {
        /// The format that the file claims.
        found: u32,
    },
    /// The seal key is not the one that the file was made with.
    #[error(
        "the seal key is not the one that this key slot file was made with; check seal_key in the config"
    )]
    WrongSealKey,
    /// A slot that was never allocated, or was lost with the end of the file.
    #[error("key slot {slot} is not in the file")]
    Unknown {
        /// The slot.
        slot: SlotId,
    },
    /// A slot that was destroyed: what it sealed is erased for good.
    #[error("key slot {slot} is erased")]
    Erased {
        /// The slot.
        slot: SlotId,
    },
    /// A slot or ciphertext that does not verify.
    #[error("key slot {slot} does not open this chunk: slot, chunk or its context is damaged")]
    Damaged {
        /// The slot.
        slot: SlotId,
    },
    /// A second chunk for a key that may seal one only.
    #[error("key slot {slot} has sealed a chunk already")]
    Spent {
        /// The slot.
        slot: SlotId,
    },
}

impl Blamed for ShredError {
    fn blame(&self) -> Blame {
        match self {
            Self::Version { .. } => Blame::Incompatible,
            Self::Unknown { .. } | Self::Erased { .. } => Blame::NotFound,
            Self::Io { .. }
            | Self::Locked
            | Self::NotKeySlots
            | Self::WrongSealKey
            | Self::Damaged { .. }
            | Self::Spent { .. } => Blame::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "shred.io",
            Self::Locked => "shred.locked",
            Self::NotKeySlots => "shred.not_key_slots",
            Self::Version { .. } => "shred.version",
            Self::WrongSealKey => "shred.wrong_seal_key",
            Self::Unknown { .. } => "shred.unknown_slot",
            Self::Erased { .. } => "shred.erased",
            Self::Damaged { .. } => "shred.damaged",
            Self::Spent { .. } => "shred.spent",
        }
    }
}

fn io_error(doing: &'static str) -> impl FnOnce(io::Error) -> ShredError {
    move |source| ShredError::Io { doing, source }
}

/// The key slots of one node. Methods may be called from several threads; they block on the disk.
pub struct ShredKeys {
    file: File,
    wrap: LessSafeKey,
    state: Mutex<State>,
}

/// Slots that exist, and the keys of this run that have sealed nothing yet.
struct State {
    count: u64,
    fresh: HashMap<SlotId, SlotKey>,
}

impl fmt::Debug for ShredKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShredKeys")
            .field("slots", &self.len())
            .finish_non_exhaustive()
    }
}

impl ShredKeys {
    /// Opens the slot file at `path`, or makes it with mode 0600, and locks it for this process.
    /// A last slot that a crash left half-written is ignored: nothing that used it was acknowledged.
    ///
    /// # Errors
    /// [`ShredError::WrongSealKey`], [`ShredError::Version`], [`ShredError::NotKeySlots`],
    /// [`ShredError::Locked`] or [`ShredError::Io`].
    pub fn open(path: &Path, seal_key: &[u8; 32]) -> Result<Self, ShredError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(io_error("opening"))?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => ShredError::Locked,
            TryLockError::Error(source) => ShredError::Io {
                doing: "locking",
                source,
            },
        })?;
        let length = file.metadata().map_err(io_error("measuring"))?.len();
        let wrap = if length < HEADER_BYTES {
            refuse_foreign(&file, length)?;
            let wrap = write_header(&file, seal_key)?;
            sync_directory(path)?;
            wrap
        } else {
            read_header(&file, seal_key)?
        };
        let count = length.saturating_sub(HEADER_BYTES) / SLOT_BYTES;
        Ok(Self {
            file,
            wrap,
            state: Mutex::new(State {
                count,
                fresh: HashMap::new(),
            }),
        })
    }

    /// Makes `n` slots with fresh random keys. They are durable only after [`Self::sync`].
    ///
    /// # Errors
    /// [`ShredError::Io`]; then none of them counts as made.
    pub fn allocate(&self, n: usize) -> Result<Vec<SlotId>, ShredError> {
        let mut state = self.state();
        let mut bytes = Vec::with_capacity(n.saturating_mul(SLOT_LEN));
        let mut keys = Vec::with_capacity(n);
        let mut next = state.count;
        for _ in 0..n {
            let key = Zeroizing::new(ids::random::<32>());
            bytes.extend_from_slice(&self.wrapped(SlotId(next), &key));
            keys.push((SlotId(next), key));
            next += 1;
        }
        self.file
            .write_all_at(&bytes, offset(SlotId(state.count)))
            .map_err(io_error("extending"))?;
        state.count = next;
        let slots = keys.iter().map(|(slot, _)| *slot).collect();
        state.fresh.extend(keys);
        Ok(slots)
    }

    /// Makes every slot allocated so far durable. A chunk may be acknowledged only after that.
    ///
    /// # Errors
    /// [`ShredError::Io`]; whether the slots are durable is then unknown.
    pub fn sync(&self) -> Result<(), ShredError> {
        self.file.sync_data().map_err(io_error("syncing"))
    }

    /// Seals `plaintext`, bound to `aad`, under the key of a slot that this run allocated. A key
    /// seals one chunk in its life, which is what makes the fixed nonce sound (NIST SP 800-38D
    /// section 8: no nonce twice under one key).
    ///
    /// # Errors
    /// [`ShredError::Spent`] for a slot that has sealed, or was allocated by an earlier run.
    pub fn seal(&self, slot: SlotId, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, ShredError> {
        let taken = {
            let mut state = self.state();
            if slot.0 >= state.count {
                return Err(ShredError::Unknown { slot });
            }
            state.fresh.remove(&slot)
        };
        let key = taken.ok_or(ShredError::Spent { slot })?;
        let mut sealed = Vec::with_capacity(plaintext.len().saturating_add(SEAL_OVERHEAD_BYTES));
        sealed.extend_from_slice(plaintext);
        aead(&key)
            .seal_in_place_append_tag(only_nonce(), Aad::from(aad), &mut sealed)
            .expect("a chunk is far below the length limit of AES-GCM");
        Ok(sealed)
    }

    /// Opens a chunk that [`Self::seal`] made for this slot and `aad`.
    ///
    /// # Errors
    /// [`ShredError::Erased`] after [`Self::destroy`], [`ShredError::Unknown`],
    /// [`ShredError::Damaged`] or [`ShredError::Io`].
    pub fn open_chunk(
        &self,
        slot: SlotId,
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, ShredError> {
        let key = self.key(slot)?;
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let length = aead(&key)
            .open_in_place(only_nonce(), Aad::from(aad), &mut buffer)
            .map_err(|_| ShredError::Damaged { slot })?
            .len();
        buffer.truncate(length);
        Ok(buffer)
    }

    /// Overwrites slots with zeros and syncs. Once it returns, what they sealed is unreadable;
    /// doing it twice is harmless.
    ///
    /// # Errors
    /// [`ShredError::Unknown`] before anything is destroyed; [`ShredError::Io`], after which some
    /// may be: call it again.
    pub fn destroy(&self, slots: &[SlotId]) -> Result<(), ShredError> {
        let mut state = self.state();
        if let Some(&slot) = slots.iter().find(|slot| slot.0 >= state.count) {
            return Err(ShredError::Unknown { slot });
        }
        for &slot in slots {
            state.fresh.remove(&slot);
            self.file
                .write_all_at(&[0; SLOT_LEN], offset(slot))
                .map_err(io_error("erasing in"))?;
        }
        self.sync()
    }

    /// The first `count` slots as far as they are not destroyed.
    ///
    /// # Errors
    /// [`ShredError::Io`].
    pub fn live(&self, count: u64) -> Result<HashSet<SlotId>, ShredError> {
        let mut live = HashSet::new();
        let end = count.min(self.len());
        let mut at = 0;
        while at < end {
            let some = end.saturating_sub(at).min(READ_SLOTS);
            let length = usize::try_from(some * SLOT_BYTES).expect("a block is small");
            let mut block = Zeroizing::new(vec![0_u8; length]);
            self.file
                .read_exact_at(&mut block, offset(SlotId(at)))
                .map_err(io_error("reading"))?;
            let slots = (at..).zip(block.chunks_exact(SLOT_LEN));
            let held = slots.filter(|(_, slot)| slot.iter().any(|byte| *byte != 0));
            live.extend(held.map(|(slot, _)| SlotId(slot)));
            at += some;
        }
        Ok(live)
    }

    /// The number of slots ever allocated in this file.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.state().count
    }

    /// Whether no slot was ever allocated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before the next call that can fail.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrapped(&self, slot: SlotId, key: &SlotKey) -> [u8; SLOT_LEN] {
        let nonce = ids::random::<NONCE_LEN>();
        let mut out = [0; SLOT_LEN];
        out[..NONCE_LEN].copy_from_slice(&nonce);
        let body = &mut out[NONCE_LEN..NONCE_LEN + WRAPPED_LEN];
        let (cipher, tag_out) = body.split_at_mut(32);
        cipher.copy_from_slice(&key[..]);
        let tag = self
            .wrap
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(slot.0.to_be_bytes()),
                cipher,
            )
            .expect("32 bytes are below the length limit of AES-GCM");
        tag_out.copy_from_slice(tag.as_ref());
        out
    }

    fn key(&self, slot: SlotId) -> Result<SlotKey, ShredError> {
        if slot.0 >= self.len() {
            return Err(ShredError::Unknown { slot });
        }
        let mut bytes = Zeroizing::new([0_u8; SLOT_LEN]);
        self.file
            .read_exact_at(&mut bytes[..], offset(slot))
            .map_err(io_error("reading"))?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(ShredError::Erased { slot });
        }
        let (nonce, rest) = bytes.split_at_mut(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).expect("the slot begins with a nonce");
        let opened = self
            .wrap
            .open_in_place(
                nonce,
                Aad::from(slot.0.to_be_bytes()),
                &mut rest[..WRAPPED_LEN],
            )
            .map_err(|_| ShredError::Damaged { slot })?;
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(opened);
        Ok(key)
    }
}

fn offset(slot: SlotId) -> u64 {
    HEADER_BYTES + slot.0 * SLOT_BYTES
}

fn aead(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("an AES-256 key has 32 bytes"))
}

fn only_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn derived(seal_key: &[u8; 32], label: &[u8], file_id: &[u8]) -> [u8; 32] {
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, seal_key));
    mac.update(label);
    mac.update(file_id);
    let mut out = [0; 32];
    out.copy_from_slice(mac.sign().as_ref());
    out
}

fn wrap_key(seal_key: &[u8; 32], file_id: &[u8]) -> LessSafeKey {
    aead(&Zeroizing::new(derived(seal_key, WRAP_LABEL, file_id)))
}

/// Refuses to overwrite a short file that is not the beginning of a header: a header is synced
/// before the first slot is handed out, so only a half-made file is ours to begin again.
fn refuse_foreign(file: &File, length: u64) -> Result<(), ShredError> {
    let mut start = vec![0; usize::try_from(length.min(8)).expect("at most 8")];
    file.read_exact_at(&mut start, 0)
        .map_err(io_error("reading"))?;
    let ours = MAGIC.starts_with(&start) || start.iter().all(|byte| *byte == 0);
    if ours {
        Ok(())
    } else {
        Err(ShredError::NotKeySlots)
    }
}

fn write_header(file: &File, seal_key: &[u8; 32]) -> Result<LessSafeKey, ShredError> {
    let file_id = ids::random::<16>();
    let mut header = [0; SLOT_LEN];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_be_bytes());
    header[FILE_ID_AT..CHECK_AT].copy_from_slice(&file_id);
    header[CHECK_AT..].copy_from_slice(&derived(seal_key, CHECK_LABEL, &file_id));
    file.write_all_at(&header, 0)
        .map_err(io_error("starting"))?;
    file.sync_all().map_err(io_error("syncing"))?;
    Ok(wrap_key(seal_key, &file_id))
}

fn read_header(file: &File, seal_key: &[u8; 32]) -> Result<LessSafeKey, ShredError> {
    let mut header = [0; SLOT_LEN];
    file.read_exact_at(&mut header, 0)
        .map_err(io_error("reading"))?;
    if &header[..8] != MAGIC {
        return Err(ShredError::NotKeySlots);
    }
    let found = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    if found != VERSION {
        return Err(ShredError::Version { found });
    }
    let file_id = &header[FILE_ID_AT..CHECK_AT];
    if header[CHECK_AT..] != derived(seal_key, CHECK_LABEL, file_id) {
        return Err(ShredError::WrongSealKey);
    }
    Ok(wrap_key(seal_key, file_id))
}

/// Makes the new file's name durable too.
fn sync_directory(path: &Path) -> Result<(), ShredError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)
        .and_then(|dir| dir.sync_all())
        .map_err(io_error("syncing the directory of"))
}

#[cfg(test)]
mod tests;
