//! Tests of the key slots: what a crash, a wrong key or an erasure leaves.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

const SEAL_KEY: [u8; 32] = [7; 32];

struct Place {
    _dir: TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shred.keys");
    Place { _dir: dir, path }
}

fn opened(place: &Place) -> ShredKeys {
    ShredKeys::open(&place.path, &SEAL_KEY).unwrap()
}

#[test]
fn a_wrong_seal_key_is_refused_at_open() {
    let place = place();
    drop(opened(&place));
    let error = ShredKeys::open(&place.path, &[8; 32]).unwrap_err();
    assert!(matches!(error, ShredError::WrongSealKey), "{error}");
}

#[test]
fn another_format_version_is_refused_in_words() {
    let place = place();
    drop(opened(&place));
    let mut bytes = std::fs::read(&place.path).unwrap();
    bytes[11] = 2;
    std::fs::write(&place.path, bytes).unwrap();
    let error = ShredKeys::open(&place.path, &SEAL_KEY).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the key slot file has format 2, this casegate reads format 1: run the version that wrote \
         it or a newer one, and do not delete it: without it no body can be read"
    );
}

#[test]
fn a_file_of_something_else_is_refused_and_left_alone() {
    for content in [b"hello".to_vec(), vec![b'x'; 4096]] {
        let place = place();
        std::fs::write(&place.path, &content).unwrap();
        let error = ShredKeys::open(&place.path, &SEAL_KEY).unwrap_err();
        assert!(matches!(error, ShredError::NotKeySlots), "{error}");
        assert_eq!(std::fs::read(&place.path).unwrap(), content);
    }
}

#[test]
fn a_header_that_a_crash_cut_short_is_begun_again() {
    let place = place();
    std::fs::write(&place.path, &MAGIC[..5]).unwrap();
    assert!(opened(&place).is_empty());
    assert!(opened(&place).is_empty());
}

#[test]
fn a_second_opener_is_refused_while_the_first_lives() {
    let place = place();
    let first = opened(&place);
    assert!(matches!(
        ShredKeys::open(&place.path, &SEAL_KEY),
        Err(ShredError::Locked)
    ));
    drop(first);
    opened(&place);
}

#[test]
fn a_chunk_opens_only_with_its_slot_its_context_and_whole() {
    let place = place();
    let keys = opened(&place);
    let slots = keys.allocate(2).unwrap();
    let mut sealed = keys.seal(slots[0], b"context", b"thirteen bytes").unwrap();
    assert_eq!(sealed.len(), 14 + SEAL_OVERHEAD_BYTES);
    assert_eq!(
        &keys.open_chunk(slots[0], b"context", &sealed).unwrap()[..],
        b"thirteen bytes"
    );

    let damaged = |slot, aad: &[u8], bytes: &[u8]| {
        matches!(
            keys.open_chunk(slot, aad, bytes),
            Err(ShredError::Damaged { .. })
        )
    };
    assert!(damaged(slots[1], b"context", &sealed));
    assert!(damaged(slots[0], b"other", &sealed));
    assert!(damaged(slots[0], b"context", &sealed[..sealed.len() - 1]));
    assert!(damaged(slots[0], b"context", &[]));
    sealed[0] ^= 1;
    assert!(damaged(slots[0], b"context", &sealed));
}

#[test]
fn a_key_seals_one_chunk_only_also_after_a_restart() {
    let place = place();
    let keys = opened(&place);
    let slots = keys.allocate(2).unwrap();
    keys.seal(slots[0], b"", b"one").unwrap();
    assert!(matches!(
        keys.seal(slots[0], b"", b"two"),
        Err(ShredError::Spent { .. })
    ));
    drop(keys);
    let keys = opened(&place);
    assert!(matches!(
        keys.seal(slots[1], b"", b"three"),
        Err(ShredError::Spent { .. })
    ));
    assert!(matches!(
        keys.seal(SlotId(2), b"", b"four"),
        Err(ShredError::Unknown { .. })
    ));
}

#[test]
fn a_destroyed_slot_is_erased_for_good_and_never_used_again() {
    let place = place();
    let keys = opened(&place);
    let slots = keys.allocate(3).unwrap();
    let kept = keys.seal(slots[0], b"", b"kept").unwrap();
    let gone = keys.seal(slots[2], b"", b"gone").unwrap();
    keys.destroy(&slots[1..]).unwrap();
    keys.destroy(&slots[2..]).unwrap();
    assert!(matches!(
        keys.open_chunk(slots[2], b"", &gone),
        Err(ShredError::Erased { .. })
    ));
    assert!(matches!(
        keys.seal(slots[1], b"", b"late"),
        Err(ShredError::Spent { .. })
    ));
    drop(keys);

    let keys = opened(&place);
    assert_eq!(&keys.open_chunk(slots[0], b"", &kept).unwrap()[..], b"kept");
    assert!(matches!(
        keys.open_chunk(slots[2], b"", &gone),
        Err(ShredError::Erased { .. })
    ));
    assert_eq!(keys.allocate(1).unwrap(), [SlotId(3)]);
    let raw = std::fs::read(&place.path).unwrap();
    assert!(raw[128..256].iter().all(|byte| *byte == 0));
}

#[test]
fn destroying_an_unknown_slot_destroys_nothing() {
    let place = place();
    let keys = opened(&place);
    let slots = keys.allocate(1).unwrap();
    let sealed = keys.seal(slots[0], b"", b"kept").unwrap();
    let error = keys.destroy(&[slots[0], SlotId(1)]).unwrap_err();
    assert!(
        matches!(error, ShredError::Unknown { slot: SlotId(1) }),
        "{error}"
    );
    keys.open_chunk(slots[0], b"", &sealed).unwrap();
}

#[test]
fn a_last_slot_that_a_crash_cut_short_is_ignored() {
    let place = place();
    let keys = opened(&place);
    let slots = keys.allocate(2).unwrap();
    let kept = keys.seal(slots[0], b"", b"kept").unwrap();
    keys.sync().unwrap();
    drop(keys);
    let file = OpenOptions::new().write(true).open(&place.path).unwrap();
    file.set_len(HEADER_BYTES + SLOT_BYTES + 17).unwrap();

    let keys = opened(&place);
    assert_eq!(keys.len(), 1);
    assert_eq!(&keys.open_chunk(slots[0], b"", &kept).unwrap()[..], b"kept");
    assert!(matches!(
        keys.open_chunk(slots[1], b"", &kept),
        Err(ShredError::Unknown { .. })
    ));
    assert_eq!(keys.allocate(1).unwrap(), [SlotId(1)]);
    let again = keys.seal(SlotId(1), b"", b"again").unwrap();
    drop(keys);
    assert_eq!(
        &opened(&place).open_chunk(SlotId(1), b"", &again).unwrap()[..],
        b"again"
    );
}

#[test]
fn a_slot_moved_to_another_number_is_damaged() {
    let place = place();
    let keys = opened(&place);
    let slots = keys.allocate(2).unwrap();
    let sealed = keys.seal(slots[0], b"", b"kept").unwrap();
    drop(keys);
    let mut raw = std::fs::read(&place.path).unwrap();
    raw.copy_within(64..128, 128);
    std::fs::write(&place.path, raw).unwrap();
    let error = opened(&place)
        .open_chunk(slots[1], b"", &sealed)
        .unwrap_err();
    assert!(
        matches!(error, ShredError::Damaged { slot: SlotId(1) }),
        "{error}"
    );
}

#[test]
fn only_the_owner_may_read_the_file_and_no_key_stands_in_it_bare() {
    let place = place();
    let keys = opened(&place);
    let slot = keys.allocate(1).unwrap()[0];
    let bare = keys.key(slot).unwrap();
    let mode = std::fs::metadata(&place.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let raw = std::fs::read(&place.path).unwrap();
    assert!(!raw.windows(32).any(|window| window == &bare[..]));
    assert_eq!(format!("{keys:?}"), "ShredKeys { slots: 1, .. }");
}

#[test]
fn threads_that_allocate_together_get_different_slots() {
    let place = place();
    let keys = opened(&place);
    let mut all: Vec<SlotId> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    (0..20)
                        .flat_map(|_| keys.allocate(3).unwrap())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 240);
    assert_eq!(keys.len(), 240);
}
