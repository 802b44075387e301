//! Bundles of a real, signed and witnessed log: complete, provable by their own
//! files, the same bytes for the same state, and never half there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use casegate::audit::export::{
    Bound, BundleOut, ExportError, Exported, Progress, Selection, export,
};
use casegate::audit::files::Files;
use casegate::audit::layout::{
    BundlePath, Folder, LogFile, TlogProof, entry_bundles, hash_tiles, read_hashes, split_bodies,
    split_entries,
};
use casegate::audit::local::LedgerFiles;
use casegate::audit::verify::Tree;
use casegate::checkpoint::{Checkpoint, SignedNote, open_cosignature};
use casegate::federation::shelf::{Shelf, ShelfSpec};
use casegate::ids::{Digest, LogName, Origin, TreeSize};
use casegate::ledger::Seer;
use casegate::merkle::{self, leaf_hash};
use casegate::record::Entry;
use casegate::wire::v1::BodyAnswer;

use crate::cluster::NOW;

/// Records on the shelf: four batches of the shelf, the last one short.
const RECORDS: u64 = 6_100;
/// Lines in its access log.
const ACCESS: u64 = 300;

struct Fixture {
    shelf: Shelf,
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new(records: u64, access: u64) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let spec = ShelfSpec {
            dir: dir.path().join("node"),
            records,
            access,
            now: NOW,
        };
        let shelf = Shelf::fill(&spec).expect("the shelf is filled");
        Self { shelf, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn export(&self, name: &str) -> Exported {
        let out = BundleOut::of(&self.path(name));
        self.shelf.export(out).expect("a bundle")
    }

    fn export_part(
        &self,
        name: &str,
        from: Option<Bound>,
        to: Option<Bound>,
        watch: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<Exported, ExportError> {
        let (federation, member) = self.shelf.owner();
        let what = Selection {
            federation,
            member,
            from,
            to,
            now: NOW,
        };
        let files = LedgerFiles::new(&self.shelf.ledger, Seer::Own);
        export(&files, &what, BundleOut::of(&self.path(name)), watch)
    }
}

/// Every file below `dir` by its path.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut out = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(at) = dirs.pop() {
        for item in fs::read_dir(&at).expect("a directory") {
            let path = item.expect("an item").path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let name = path.strip_prefix(dir).expect("it is below");
                let name = name.to_str().expect("a name").to_owned();
                out.insert(name, fs::read(&path).expect("a file"));
            }
        }
    }
    out
}

fn in_log(log: LogName, file: LogFile) -> String {
    BundlePath::Log {
        log,
        generation: 1,
        file,
    }
    .to_string()
}

/// Checks one log of a bundle with nothing but the bundle and the roster.
fn check_log(shelf: &Shelf, bundle: &BTreeMap<String, Vec<u8>>, log: LogName, size: u64) {
    let (federation, member) = shelf.owner();
    let origin = Origin {
        federation,
        member,
        log,
        generation: 1,
    };
    let roster = shelf.chain.newest();
    let keys: Vec<_> = roster.members[&origin.member].checkpoint_keys().collect();
    let open = |note: &[u8]| Checkpoint::open(note, &origin, &keys).expect("a signed checkpoint");
    let newest = open(&bundle[&in_log(log, LogFile::Checkpoint)]);
    assert_eq!(newest.size, TreeSize(size));

    let mut frontier = merkle::Frontier::new();
    let mut leaves = vec![];
    for path in entry_bundles(newest.size) {
        let name = in_log(log, LogFile::Tile(path));
        let entries: Result<Vec<_>, _> = split_entries(bundle[&name].clone().into()).collect();
        let entries = entries.expect("entries");
        assert_eq!(entries.len(), usize::from(path.width));
        let bodies = in_log(log, LogFile::Bodies(path.index));
        let bodies: Result<Vec<_>, _> = split_bodies(bundle[&bodies].clone().into()).collect();
        let bodies = bodies.expect("bodies");
        assert_eq!(bodies.len(), entries.len());
        let dsse = &bundle[&in_log(log, LogFile::Dsse(path.index))];
        let dsse = std::str::from_utf8(dsse).expect("text");
        assert_eq!(dsse.lines().count(), entries.len());
        for ((entry, body), line) in entries.into_iter().zip(bodies).zip(dsse.lines()) {
            let entry = Entry::parse(entry).expect("an entry");
            assert_eq!(line, entry.dsse_json());
            if body.answer == BodyAnswer::Held {
                entry.open_body(&body.body).expect("the body it names");
            }
            frontier.append(entry.leaf_hash());
            leaves.push(entry.leaf_hash());
        }
    }
    assert_eq!(frontier.root(), newest.root, "the entries make the root");
    for path in hash_tiles(newest.size) {
        let tile = &bundle[&in_log(log, LogFile::Tile(path))];
        assert_eq!(tile.len(), 32 * usize::from(path.width));
        if path.level == Some(0) {
            let first = usize::try_from(path.first()).expect("small");
            let want: Vec<u8> = leaves[first..first + usize::from(path.width)]
                .iter()
                .flat_map(|hash| hash.0)
                .collect();
            assert_eq!(*tile, want, "{path}");
        }
    }
    let mut sizes = vec![];
    let prefix = in_log(log, LogFile::Witnessed(TreeSize(0)));
    for (name, note) in bundle {
        if name.starts_with(prefix.trim_end_matches('0')) {
            let checkpoint = open(note);
            let parsed = SignedNote::parse(note).expect("a note");
            let witness = &roster.members[&roster.members[&origin.member].witnesses[0]];
            let line = format!("{}/{}/witness", origin.federation, witness.id);
            let key = witness
                .keys
                .iter()
                .find(|k| matches!(k.usage, casegate::roster::KeyUse::Witness));
            let found = open_cosignature(&parsed, &line, &key.expect("a key").key);
            assert!(found.expect("it holds").is_some());
            sizes.push((checkpoint.size, checkpoint.root));
        }
    }
    sizes.sort();
    assert_eq!(sizes.last(), Some(&(newest.size, newest.root)));
    for pair in sizes.windows(2) {
        let ((from, old), (to, new)) = (pair[0], pair[1]);
        let proof = &bundle[&in_log(log, LogFile::Consistency { from, to })];
        let hashes = read_hashes(std::str::from_utf8(proof).expect("text")).expect("hashes");
        merkle::verify_consistency(from, &old, to, &new, &hashes).expect("it grew");
    }
}

#[test]
fn a_bundle_is_complete_and_proves_itself() {
    let fixture = Fixture::new(RECORDS, ACCESS);
    let done = fixture.export("bundle");
    let bundle = files(&fixture.path("bundle"));
    check_log(&fixture.shelf, &bundle, LogName::Records, RECORDS);
    check_log(&fixture.shelf, &bundle, LogName::Access, ACCESS);
    assert_eq!(done.files + 1, bundle.len() as u64);
    assert_eq!((done.rosters, done.logs.len()), (1, 2));

    let mut proofs = 0;
    let mut origin = fixture
        .shelf
        .ledger
        .own_log(LogName::Records)
        .origin
        .clone();
    origin.generation = 1;
    let root = fixture.shelf.ledger.own_log(LogName::Records).head().root();
    let mut retractions = 0;
    for (name, text) in &bundle {
        let path: BundlePath = name.parse().expect("every file is of the layout");
        assert_eq!(path.to_string(), *name);
        let BundlePath::Proof { index, .. } = path else {
            continue;
        };
        let proof = TlogProof::decode(&Bytes::from(text.clone())).expect("a proof");
        let entry = fixture.shelf.ledger.entry(0, index).expect("readable");
        let leaf = leaf_hash(&entry.expect("an entry").bytes);
        assert_eq!(proof.index, index);
        assert_eq!(proof.checkpoint, bundle["records/1/checkpoint"]);
        merkle::verify_inclusion(&leaf, index, TreeSize(RECORDS), &proof.hashes, &root)
            .expect("it is in the log");
        proofs += 1;
        retractions += u64::from(index.0 % 2_000 == 1_999);
    }
    assert_eq!((proofs, retractions), (RECORDS.div_ceil(256) + 3, 3));
}

#[test]
fn the_sums_name_every_other_file_in_order() {
    let fixture = Fixture::new(300, 10);
    fixture.export("bundle");
    let mut bundle = files(&fixture.path("bundle"));
    let sums = bundle.remove("SHA256SUMS").expect("sums");
    let mut want: Vec<_> = bundle
        .iter()
        .map(|(name, bytes)| format!("{}  {name}\n", Digest::of(bytes)))
        .collect();
    want.sort_by(|a, b| a[66..].cmp(&b[66..]));
    assert_eq!(String::from_utf8(sums).expect("text"), want.concat());
}

#[test]
fn the_same_state_gives_the_same_bytes_and_a_tar_holds_the_same_files() {
    let fixture = Fixture::new(700, 30);
    fixture.export("one");
    fixture.export("two");
    let one = files(&fixture.path("one"));
    assert_eq!(one, files(&fixture.path("two")));

    fixture.export("one.tar");
    fixture.export("two.tar");
    let tar = fs::read(fixture.path("one.tar")).expect("a tar");
    assert!(tar == fs::read(fixture.path("two.tar")).expect("a tar"));
    let mut unpacked = BTreeMap::new();
    let mut last = String::new();
    for item in tar::Archive::new(&tar[..]).entries().expect("a tar") {
        let mut item = item.expect("an item");
        last = item.path().expect("a path").to_str().expect("text").into();
        let mut bytes = vec![];
        std::io::Read::read_to_end(&mut item, &mut bytes).expect("its bytes");
        assert!(unpacked.insert(last.clone(), bytes).is_none(), "{last}");
    }
    assert_eq!(unpacked, one);
    assert_eq!(last, "SHA256SUMS");
    assert!(!fixture.path("one.tar.partial").exists());
}

#[test]
fn bounds_take_whole_bundles_and_leave_all_hash_tiles() {
    let fixture = Fixture::new(RECORDS, ACCESS);
    let covered = |done: &Exported, log: LogName| {
        let found = done.logs.iter().find(|l| l.origin.log == log);
        found.map(|l| (l.first, l.end)).expect("the log")
    };
    let part = |name: &str, from, to| {
        fixture
            .export_part(name, from, to, &mut |_| true)
            .expect("a bundle")
    };
    let index = |n| Some(Bound::Index(n));
    let done = part("by-index", index(300), index(513));
    assert_eq!(covered(&done, LogName::Records), (256, 768));
    assert_eq!(covered(&done, LogName::Access), (0, ACCESS));
    let bundle = files(&fixture.path("by-index"));
    let tiles = hash_tiles(TreeSize(RECORDS)).map(|t| in_log(LogName::Records, LogFile::Tile(t)));
    assert!(tiles.into_iter().all(|name| bundle.contains_key(&name)));
    let entries = |name: &&String| name.starts_with("records/1/tile/entries/");
    assert_eq!(bundle.keys().filter(entries).count(), 2);
    assert_eq!(
        bundle.keys().filter(|n| n.starts_with("proofs/")).count(),
        2
    );

    // The second batch was appended a minute after the first.
    let time = |s| Some(Bound::Time(NOW + s));
    let done = part("by-time", time(60), time(120));
    let (first, end) = covered(&done, LogName::Records);
    assert!(first <= 2_000 && first > 1_500, "{first}");
    assert!((4_000..4_500).contains(&end), "{end}");
    let done = part("nothing", time(9_000_000), None);
    assert_eq!(
        covered(&done, LogName::Records).0,
        5_888,
        "the last bundle may reach on"
    );
    let done = part("beyond", index(1_000_000), None);
    assert_eq!(covered(&done, LogName::Records), (RECORDS, RECORDS));
}

#[test]
fn an_export_that_breaks_off_leaves_nothing() {
    let fixture = Fixture::new(700, 0);
    for name in ["bundle", "bundle.tar"] {
        let mut steps = 0;
        let stopped = fixture.export_part(name, None, None, &mut |_| {
            steps += 1;
            steps < 1
        });
        assert!(matches!(stopped, Err(ExportError::Stopped)), "{stopped:?}");
        assert!(!fixture.path(name).exists());
        assert!(!fixture.path(&format!("{name}.partial")).exists());
    }
}

#[test]
fn nothing_is_replaced_and_what_is_left_over_is_named() {
    let fixture = Fixture::new(10, 0);
    fs::create_dir(fixture.path("bundle")).expect("a directory");
    let taken = fixture.export_part("bundle", None, None, &mut |_| true);
    assert!(matches!(taken, Err(ExportError::Exists(_))), "{taken:?}");
    fs::create_dir(fixture.path("other.partial")).expect("a directory");
    let left = fixture.export_part("other", None, None, &mut |_| true);
    assert!(matches!(left, Err(ExportError::LeftOver(_))), "{left:?}");
    assert!(
        fixture.path("other.partial").exists(),
        "it is not ours to remove"
    );
}

#[test]
fn an_empty_log_is_exported_as_one() {
    let fixture = Fixture::new(0, 0);
    let done = fixture.export("bundle");
    let bundle = files(&fixture.path("bundle"));
    assert_eq!(done.logs.len(), 2);
    assert!(bundle.contains_key("access/1/checkpoint"));
    assert!(!bundle.keys().any(|name| name.contains("tile")));
}

/// A copy of a copy: an archive is read where it lies, a directory as it is.
#[test]
fn a_bundle_of_a_bundle_has_the_same_bytes() {
    let fixture = Fixture::new(700, 30);
    fixture.export("one");
    fixture.export("one.tar");
    let one = files(&fixture.path("one"));
    let (federation, member) = fixture.shelf.owner();
    let what = Selection {
        federation,
        member,
        from: None,
        to: None,
        now: fixture.shelf.clock.now(),
    };
    for from in ["one", "one.tar"] {
        let tree = Tree::open(&fixture.path(from)).expect("a bundle");
        let out = fixture.path(&format!("of-{from}")).with_extension("");
        export(&tree, &what, BundleOut::Dir(out.clone()), &mut |_| true).expect("a bundle");
        assert_eq!(files(&out), one, "{from}");
        fs::remove_dir_all(&out).expect("removed");
    }
}

#[test]
fn every_place_lists_the_same_files() {
    let fixture = Fixture::new(300, 10);
    fixture.export("one");
    let tree = Tree::open(&fixture.path("one")).expect("a bundle");
    let ledger = LedgerFiles::new(&fixture.shelf.ledger, Seer::Own);
    let folders = [
        Folder::Logs,
        Folder::Roster,
        Folder::Checkpoints {
            log: LogName::Records,
            generation: 1,
        },
        Folder::Checkpoints {
            log: LogName::Access,
            generation: 2,
        },
        Folder::Receipts,
        Folder::Evidence,
    ];
    for folder in folders {
        let listed = ledger.list(folder).expect("a list");
        assert_eq!(listed, tree.list(folder).expect("a list"), "{folder:?}");
        for path in listed {
            let both = (ledger.get(&path), tree.get(&path));
            let same = matches!(&both, (Ok(Some(a)), Ok(Some(b))) if a == b);
            assert!(same, "{path}");
        }
    }
}
