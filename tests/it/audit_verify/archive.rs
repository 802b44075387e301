//! Bundles as tar archives: the plain ones are read, the tricky ones refused.

use casegate::audit::verify::{Code, Report, VerifyError, verify};

use super::fixture::{Files, world, write};
use super::options;

/// One member of an archive in the making.
struct Member<'a> {
    name: &'a str,
    kind: u8,
    size: u64,
    bytes: &'a [u8],
}

fn file<'a>(name: &'a str, bytes: &'a [u8]) -> Member<'a> {
    Member {
        name,
        kind: b'0',
        size: bytes.len() as u64,
        bytes,
    }
}

/// Writes a ustar header and the bytes, padded.
fn put(out: &mut Vec<u8>, member: &Member<'_>) {
    let mut header = [0; 512];
    header[..member.name.len()].copy_from_slice(member.name.as_bytes());
    header[100..107].copy_from_slice(b"0000644");
    header[124..135].copy_from_slice(format!("{:011o}", member.size).as_bytes());
    header[148..156].copy_from_slice(b"        ");
    header[156] = member.kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    out.extend(header);
    out.extend(member.bytes);
    out.resize(out.len().next_multiple_of(512), 0);
}

fn archive(files: &Files, more: &[Member<'_>]) -> Vec<u8> {
    let mut out = vec![];
    for (name, bytes) in files {
        put(&mut out, &file(name, bytes));
    }
    for member in more {
        put(&mut out, member);
    }
    out.extend([0; 1024]);
    out
}

fn look(bytes: &[u8]) -> Result<Report, VerifyError> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("bundle.tar");
    std::fs::write(&path, bytes).expect("written");
    verify(&path, &world().policy(), options())
}

#[test]
fn an_archive_says_what_its_directory_says() {
    let report = look(&archive(&world().files, &[])).expect("it can be looked at");
    assert!(report.ok, "{:#?}", report.found);
    let directory = Member {
        name: "receipts/",
        kind: b'5',
        size: 0,
        bytes: &[],
    };
    let dotted = file("./proofs/2-0.proof", b"?");
    let report = look(&archive(&world().files, &[directory, dotted])).expect("looked at");
    assert!(!report.ok);
}

#[test]
fn an_archive_that_reaches_outside_or_lies_is_refused() {
    let member = |name, kind, size| Member {
        name,
        kind,
        size,
        bytes: &[],
    };
    let long = "a/".repeat(40) + "b";
    let outside = tempfile::tempdir().expect("a directory");
    let evil = outside.path().join("evil");
    for bad in [
        file("../evil", b"x"),
        file(evil.to_str().expect("text"), b"x"),
        file("a/../../evil", b"x"),
        file(&long, b"x"),
        file("bundle.json", b"twice"),
        member("link", b'2', 0),
        member("hard", b'1', 0),
        member("device", b'3', 0),
        member("huge", b'0', 1 << 32),
        member("longname", b'L', 0),
    ] {
        let name = bad.name;
        let refused = look(&archive(&world().files, &[bad]));
        assert!(
            matches!(refused, Err(VerifyError::Archive(_))),
            "{name}: {refused:?}"
        );
    }
    assert!(!evil.exists());
}

/// One member, with the first part of its path in the header's field for that.
fn with_prefix(prefix: &str, name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    put(&mut out, &file(name, bytes));
    out[345..345 + prefix.len()].copy_from_slice(prefix.as_bytes());
    out[148..156].copy_from_slice(b"        ");
    let sum: u32 = out[..512].iter().map(|byte| u32::from(*byte)).sum();
    out[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    out
}

#[test]
fn a_path_in_two_parts_is_read_as_one_and_leads_out_in_neither() {
    let sums = "SHA256SUMS";
    let mut rest = world().files.clone();
    let last = rest.remove(sums).expect("the sums");
    let (path, bytes) = rest.pop_last().expect("a file");
    let (prefix, name) = path.split_once('/').expect("a directory");
    let mut split = with_prefix(prefix, name, &bytes);
    split.extend(archive(&rest, &[file(sums, &last)]));
    let report = look(&split).expect("it can be looked at");
    assert!(report.ok, "{:#?}", report.found);
    let outside = tempfile::tempdir().expect("a directory");
    let there = outside.path().to_str().expect("text");
    for (prefix, name) in [("..", "evil"), ("a", "../../evil"), (there, "evil")] {
        let mut evil = with_prefix(prefix, name, b"x");
        evil.extend(archive(&world().files, &[]));
        let refused = look(&evil);
        let out = matches!(refused, Err(VerifyError::Archive("a path leads out of it")));
        assert!(out, "{prefix} {name}: {refused:?}");
    }
    assert!(!outside.path().join("evil").exists());
}

#[test]
fn an_archive_without_its_end_is_whole_when_its_files_are() {
    let whole = archive(&world().files, &[]);
    let files = &whole[..whole.len() - 1024];
    let report = look(files).expect("it can be looked at");
    assert!(report.ok, "{:#?}", report.found);
    // Cut within the last header: that file is not there, and is missed.
    let mut rest = world().files.clone();
    let (name, bytes) = rest.pop_last().expect("a file");
    let mut cut = archive(&rest, &[]);
    cut.truncate(cut.len() - 1024);
    put(&mut cut, &file(&name, &bytes));
    let header = 512 + bytes.len().next_multiple_of(512);
    cut.truncate(cut.len() - header + 300);
    let report = look(&cut).expect("it can be looked at");
    let missing = report.findings.iter().any(|f| f.code == Code::SumsMissing);
    assert!(missing && !report.ok, "{:#?}", report.found);
}

#[test]
fn directories_that_lie_too_deep_in_each_other_are_no_bundle() {
    let mut files = world().files.clone();
    for (depth, fits) in [(16, true), (17, false)] {
        files.insert("d/".repeat(depth) + "file", vec![]);
        let dir = write(&files);
        let looked = verify(dir.path(), &world().policy(), options());
        match looked {
            Ok(report) => assert!(fits && !report.ok, "{depth}"),
            Err(VerifyError::Unreadable { .. }) => assert!(!fits, "{depth}"),
            Err(other) => panic!("{depth}: {other}"),
        }
    }
}

#[test]
fn what_is_no_archive_or_breaks_off_is_refused() {
    let good = archive(&world().files, &[]);
    for bytes in [&b"not a tar archive".repeat(100)[..], &good[..513]] {
        let refused = look(bytes);
        assert!(refused.is_err(), "{refused:?}");
    }
    let mut damaged = good;
    damaged[0] ^= 1;
    assert!(matches!(look(&damaged), Err(VerifyError::Archive(_))));
}
