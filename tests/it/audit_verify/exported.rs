//! Bundles that casegate exports itself: verified as a directory and as an
//! archive, whole and in part.

use std::path::Path;

use casegate::audit::export::BundleOut;
use casegate::audit::verify::{Options, Policy, Report, Verdict, verify};
use casegate::federation::shelf::{Shelf, ShelfSpec};

use super::options;

const BEGAN: i64 = 1_800_000_000;

fn shelf(dir: &Path, records: u64, access: u64) -> Shelf {
    let spec = ShelfSpec {
        dir: dir.join("shelf"),
        records,
        access,
        now: BEGAN,
    };
    Shelf::fill(&spec).expect("a shelf")
}

fn look(shelf: &Shelf, bundle: &Path) -> Report {
    let policy = Policy::parse(&shelf.policy()).expect("a policy");
    let options = Options {
        now: shelf.clock.now(),
        ..options()
    };
    verify(bundle, &policy, options).expect("it can be looked at")
}

#[test]
fn what_is_exported_verifies_as_a_directory_and_as_an_archive() {
    let dir = tempfile::tempdir().expect("a directory");
    let shelf = shelf(dir.path(), 700, 40);
    let (folder, tar) = (dir.path().join("bundle"), dir.path().join("bundle.tar"));
    shelf.export(BundleOut::of(&folder)).expect("exported");
    shelf.export(BundleOut::of(&tar)).expect("exported");
    let reports = [look(&shelf, &folder), look(&shelf, &tar)];
    for report in &reports {
        assert!(report.ok, "{:#?} {:#?}", report.found, report.records);
        assert_eq!(report.logs.len(), 2);
        assert_eq!((report.logs[0].end, report.logs[1].end), (700, 40));
        assert_eq!((report.logs[0].proven, report.logs[1].proven), (700, 40));
        assert!(report.count(Verdict::Valid) > 0);
    }
    let [folder, tar] = reports;
    assert_eq!(folder.verdicts, tar.verdicts);
}

#[test]
fn an_entry_that_is_exchanged_after_the_export_is_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let shelf = shelf(dir.path(), 300, 5);
    let folder = dir.path().join("bundle");
    shelf.export(BundleOut::of(&folder)).expect("exported");
    let path = folder.join("records/1/tile/entries/000");
    let mut bytes = std::fs::read(&path).expect("a bundle");
    bytes[60] ^= 1;
    std::fs::write(path, bytes).expect("written");
    let report = look(&shelf, &folder);
    assert_eq!((report.ok, report.count(Verdict::Forged)), (false, 1));
}
