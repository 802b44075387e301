//! The layout of static logs and of bundles: one spelling for each path, and
//! nothing that is truncated, padded or out of range is taken.

use bytes::Bytes;
use casegate::audit::layout::{
    BODY_BYTES_MAX, BodyItem, BundlePath, Folder, INDEX_NAMES_MAX, LogFile, PortPath, TileIndex,
    TilePath, TlogProof, entry_bundles, hash_tiles, put_body, put_entry, read_hashes, read_index,
    split_bodies, split_entries, tiles_of_level, write_hashes, write_index,
};
use casegate::ids::{Digest, LogIndex, TreeSize};
use casegate::wire::v1::BodyAnswer;
use proptest::prelude::*;

fn tile(level: Option<u8>, index: u64, width: u16) -> TilePath {
    let index = TileIndex(index);
    TilePath {
        level,
        index,
        width,
    }
}

#[test]
fn tile_paths_are_those_of_the_specification() {
    for (path, want) in [
        ("tile/0/000", tile(Some(0), 0, 256)),
        ("tile/0/x001/x234/067", tile(Some(0), 1_234_067, 256)),
        ("tile/7/x001/000.p/1", tile(Some(7), 1_000, 1)),
        ("tile/entries/x999/999.p/255", tile(None, 999_999, 255)),
    ] {
        assert_eq!(path.parse(), Ok(want), "{path}");
        assert_eq!(want.to_string(), path);
    }
}

#[test]
fn other_spellings_of_a_tile_are_refused() {
    for path in [
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/1000",
        "tile/0/001/000",
        "tile/0/x000/001",
        "tile/0/x001",
        "tile/0/x1/000",
        "tile/0/+01",
        "tile/00/000",
        "tile/8/000",
        "tile/256/000",
        "tile/-1/000",
        "tile/data/000",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/1/2",
        "tile/0/000.p",
        "tile/0/x018/x446/x744/x073/x709/x551/615",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "/tile/0/000",
        "tile/0/../000",
        "tile/0/０００",
    ] {
        assert!(path.parse::<TilePath>().is_err(), "{path}");
    }
}

#[test]
fn a_tree_has_these_tiles() {
    let names =
        |size| -> Vec<String> { hash_tiles(TreeSize(size)).map(|t| t.to_string()).collect() };
    assert!(names(0).is_empty());
    assert_eq!(names(1), ["tile/0/000.p/1"]);
    assert_eq!(names(256), ["tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(
        names(257),
        ["tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1"]
    );
    let million: Vec<TilePath> = hash_tiles(TreeSize(1_000_000)).collect();
    let at = |level| million.iter().filter(|t| t.level == Some(level)).count();
    assert_eq!((at(0), at(1), at(2), at(3)), (3_907, 16, 1, 0));
    let bundles: Vec<TilePath> = entry_bundles(TreeSize(1_000_000)).collect();
    assert_eq!(bundles.len(), 3_907);
    assert_eq!(bundles.last().map(|t| t.width), Some(64));
    assert_eq!(tiles_of_level(TreeSize(u64::MAX), 7).count(), 1);
}

#[test]
fn a_tile_beyond_the_tree_is_not_in_it() {
    let size = TreeSize(300);
    assert!(tile(Some(0), 0, 256).is_in(size));
    assert!(tile(Some(0), 1, 44).is_in(size));
    assert!(tile(Some(0), 1, 10).is_in(size), "an older, smaller one");
    assert!(!tile(Some(0), 1, 45).is_in(size));
    assert!(!tile(Some(0), 1, 256).is_in(size));
    assert!(tile(Some(1), 0, 1).is_in(size));
    assert!(!tile(Some(1), 0, 2).is_in(size));
    assert!(!tile(Some(2), 0, 1).is_in(size));
    assert!(!tile(None, u64::MAX / 256, 1).is_in(size));
}

#[test]
fn paths_of_a_bundle_read_back() {
    for path in [
        "bundle.json",
        "SHA256SUMS",
        "roster/000001",
        "roster/1234567",
        "roster/checkpoint",
        "records/1/checkpoint",
        "access/12/checkpoints/0",
        "records/1/tile/entries/x001/002.p/3",
        "records/1/bodies/x001/002",
        "records/1/dsse/000.jsonl",
        "records/1/consistency/0-17",
        "receipts/he-fei.1-2-17.entry",
        "receipts/wuhu-1-0.body",
        "receipts/wuhu-1-0.proof",
        "proofs/1-255.proof",
        "evidence/1/first",
        "evidence/1/second",
        "evidence/10/consistency",
    ] {
        let read: BundlePath = path.parse().expect(path);
        assert_eq!(read.to_string(), path);
    }
}

#[test]
fn paths_that_are_not_of_a_bundle_are_refused() {
    for path in [
        "",
        "/",
        "./bundle.json",
        "bundle.json/",
        "roster/1",
        "roster/000000",
        "roster/0000001",
        "records/0/checkpoint",
        "records/01/checkpoint",
        "records/4294967296/checkpoint",
        "other/1/checkpoint",
        "records/1/",
        "records/1/checkpoints/01",
        "records/1/bodies/000.p/3",
        "records/1/dsse/000",
        "records/1/consistency/1-2-3",
        "records/1/../../../etc/passwd",
        "receipts/Wuhu-1-0.body",
        "receipts/wuhu-0-0.body",
        "receipts/wuhu-1.body",
        "receipts/wuhu-1-0.other",
        "receipts/../x-1-0.body",
        "proofs/1-255",
        "proofs/1-0255.proof",
        "evidence/0/first",
        "evidence/1/third",
    ] {
        assert!(path.parse::<BundlePath>().is_err(), "{path}");
    }
    assert!("tile/0/000".parse::<LogFile>().is_ok());
}

#[test]
fn a_truncated_bundle_is_refused_at_every_length() {
    let mut bundle = vec![];
    for entry in [&b"one"[..], b"", b"three"] {
        put_entry(&mut bundle, entry).expect("it is short");
    }
    let whole: Result<Vec<_>, _> = split_entries(bundle.clone().into()).collect();
    let whole = whole.expect("it reads back");
    assert_eq!(whole, [&b"one"[..], b"", b"three"]);
    let ends = [0, 5, 7];
    for cut in 0..bundle.len() {
        let part = Bytes::copy_from_slice(&bundle[..cut]);
        let read: Result<Vec<_>, _> = split_entries(part.clone()).collect();
        assert_eq!(read.is_ok(), ends.contains(&cut), "{cut}");
        assert!(split_entries(part).count() <= 3, "it ends after an error");
    }
    assert!(put_entry(&mut bundle, &[0; 65_536]).is_err());
}

#[test]
fn bodies_with_a_wrong_answer_or_length_are_refused() {
    let mut file = vec![];
    put_body(&mut file, BodyAnswer::Held, b"body").expect("it is held");
    put_body(&mut file, BodyAnswer::Erased, b"").expect("nothing is left");
    let read: Result<Vec<_>, _> = split_bodies(file.clone().into()).collect();
    let held = BodyItem {
        answer: BodyAnswer::Held,
        body: Bytes::from_static(b"body"),
    };
    assert_eq!(read.expect("it reads back")[0], held);
    for cut in (1..file.len()).filter(|cut| *cut != 9) {
        let part = Bytes::copy_from_slice(&file[..cut]);
        assert!(split_bodies(part).any(|item| item.is_err()), "{cut}");
    }
    for bad in [
        &b"\x00\x00\x00\x00\x00"[..],
        b"\x06\x00\x00\x00\x00",
        b"\x04\x00\x00\x00\x01x",
        b"\x01\xff\xff\xff\xffx",
    ] {
        let file = Bytes::copy_from_slice(bad);
        assert!(split_bodies(file).any(|item| item.is_err()), "{bad:?}");
    }
    let mut out = vec![];
    assert!(put_body(&mut out, BodyAnswer::Lost, b"x").is_err());
    assert!(put_body(&mut out, BodyAnswer::Unspecified, b"").is_err());
    assert!(put_body(&mut out, BodyAnswer::Held, &vec![0; BODY_BYTES_MAX + 1]).is_err());
    assert!(out.is_empty());
}

#[test]
fn a_proof_reads_back_and_no_other_spelling_does() {
    let proof = TlogProof {
        index: LogIndex(7),
        hashes: vec![Digest([1; 32]), Digest([2; 32])],
        checkpoint: Bytes::from_static(b"origin\n8\nroot\n\n\xe2\x80\x94 origin sig\n"),
    };
    let text = String::from_utf8(proof.encode()).expect("text");
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nindex 7\nAQEB"));
    assert_eq!(TlogProof::decode(&text.clone().into()), Ok(proof));
    for (from, to) in [
        ("proof@v1", "proof@v2"),
        ("index 7", "index 07"),
        ("index 7", "index -7"),
        ("index 7", "extra AAAA\nindex 7"),
        ("index 7\n", ""),
        ("AQEB", "AQE"),
        ("AQEB", "!QEB"),
        ("\n\n", "\n"),
    ] {
        let bad = text.replace(from, to);
        assert!(TlogProof::decode(&bad.into()).is_err(), "{from} -> {to}");
    }
}

#[test]
fn a_list_of_hashes_has_whole_lines_and_an_end() {
    let hashes = [Digest([3; 32]), Digest([4; 32])];
    let text = write_hashes(&hashes);
    assert_eq!(read_hashes(&text).as_deref(), Ok(&hashes[..]));
    assert_eq!(read_hashes(""), Ok(vec![]));
    assert!(read_hashes(text.trim_end()).is_err());
    assert!(read_hashes("\n").is_err());
    assert!(read_hashes(&text.replace('\n', "\r\n")).is_err());
    assert!(read_hashes(&text.repeat(65)).is_err());
}

proptest! {
    #[test]
    fn any_tile_path_reads_back(level in proptest::option::of(0_u8..8), index in 0..(u64::MAX / 256), width in 1_u16..=256) {
        let path = tile(level, index.min(u64::MAX / 256 - 1), width);
        prop_assert_eq!(path.to_string().parse(), Ok(path));
    }

    #[test]
    fn any_path_that_is_read_is_spelt_as_it_was(text in "(tile|logs|roster|proofs)/[0-9x./p-]{1,24}") {
        if let Ok(path) = text.parse::<TilePath>() {
            prop_assert_eq!(path.to_string(), text.clone());
        }
        if let Ok(path) = text.parse::<BundlePath>() {
            prop_assert_eq!(path.to_string(), text);
        }
    }

    #[test]
    fn no_bytes_break_the_readers(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let entries = split_entries(bytes.clone()).count();
        let bodies = split_bodies(bytes.clone()).count();
        prop_assert!(entries <= bytes.len() && bodies <= bytes.len());
        drop(TlogProof::decode(&bytes));
    }
}

#[test]
fn an_index_is_read_as_it_was_written_page_by_page() {
    let all: Vec<_> = (1..=2 * INDEX_NAMES_MAX as u64 + 1)
        .map(BundlePath::Roster)
        .chain([BundlePath::RosterCheckpoint])
        .collect();
    let (mut read, mut from) = (vec![], None);
    loop {
        let path = PortPath::Index {
            folder: Folder::Roster,
            from: from.clone(),
        };
        assert_eq!(path.to_string().parse(), Ok(path));
        let at = from.map_or(0, |from| all.partition_point(|path| *path < from));
        let page = write_index(Folder::Roster, &all[at..]);
        let (names, next) = read_index(Folder::Roster, &page).expect("a page");
        assert!(names.len() <= INDEX_NAMES_MAX);
        read.extend(names);
        from = next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!(read, all);
}

#[test]
fn an_index_that_is_cut_or_of_another_folder_is_refused() {
    for text in [
        "",
        "\n",
        "end",
        "000001\n",
        "000001\nnext\n",
        "000001\nnext \n",
        "next 000001\n",
        "1\nend\n",
        "../000001\nend\n",
        "000001\n\nend\n",
        "records/1/checkpoint\nend\n",
        "000001\nend\n\n",
    ] {
        let read = read_index(Folder::Roster, text);
        assert!(read.is_err(), "{text:?}: {read:?}");
    }
    let many = "000001\n".repeat(INDEX_NAMES_MAX + 1) + "end\n";
    assert!(read_index(Folder::Roster, &many).is_err());
}

#[test]
fn paths_of_the_port_have_one_spelling() {
    for path in [
        "index",
        "index/records/1/checkpoint",
        "roster/index",
        "roster/index/000002",
        "access/3/checkpoints/index/17",
        "receipts/index/wuhu-1-5.body",
        "evidence/index/7/second",
        "evidence/7/about.json",
        "erasures/index/2.jsonl",
        "erasures/1.jsonl",
        "receipts/index-1-5.entry",
    ] {
        let read = path.parse::<PortPath>().expect(path);
        assert_eq!(read.to_string(), path);
    }
    for path in [
        "index/",
        "/index",
        "indexes",
        "index/000001",
        "roster/index/",
        "roster/index/records/1/checkpoint",
        "records/1/index",
        "records/01/checkpoints/index",
        "records/1/checkpoints/index/index",
        "bodies/index",
        "erasures/0.jsonl",
        "erasures/01.jsonl",
        "evidence/0/about.json",
    ] {
        assert!(path.parse::<PortPath>().is_err(), "{path}");
    }
}
