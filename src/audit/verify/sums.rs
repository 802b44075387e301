//! `SHA256SUMS`: whether the bundle is the one that was written. Damage in
//! transport shows here; whoever forges a bundle writes the sums anew.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use ring::digest::{Context, SHA256};

use super::findings::{Code, Finding, Findings};
use super::tree::Tree;
use crate::audit::layout::BundlePath;
use crate::ids::Digest;

/// The most bytes of the file of sums.
const SUMS_BYTES_MAX: u64 = 1 << 30;

/// Compares every file with its sum, on `jobs` threads.
pub(crate) fn check(tree: &Tree, jobs: usize, findings: &mut Findings) {
    let name = BundlePath::Sums.to_string();
    let Some(text) = tree.text(&name, SUMS_BYTES_MAX) else {
        findings.add(Finding::new(
            Code::SumsMissing,
            name,
            "not there, or no text",
        ));
        return;
    };
    let mut sums: BTreeMap<&str, Digest> = BTreeMap::new();
    for line in text.lines() {
        match parse(line) {
            Some((path, sum)) => {
                sums.insert(path, sum);
            }
            None => {
                let what = "a line that is not of sha256sum";
                findings.add(Finding::new(Code::SumsMismatch, &name, what));
                break;
            }
        }
    }
    for path in tree.paths().filter(|path| **path != name) {
        if !sums.contains_key(path.as_str()) {
            findings.add(Finding::new(
                Code::SumsMissing,
                path,
                "SHA256SUMS does not name it",
            ));
        }
    }
    compare(tree, jobs, &sums, findings);
}

fn parse(line: &str) -> Option<(&str, Digest)> {
    let (sum, path) = line.split_once("  ")?;
    let sum = hex::decode(sum).ok()?;
    Some((path, Digest::from_slice(&sum).ok()?))
}

fn compare(tree: &Tree, jobs: usize, sums: &BTreeMap<&str, Digest>, findings: &mut Findings) {
    let all: Vec<(&str, &Digest)> = sums.iter().map(|(path, sum)| (*path, sum)).collect();
    let next = AtomicUsize::new(0);
    let found = Mutex::new(vec![]);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some((path, want)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let finding = match sum_of(tree, path) {
                        None => Finding::new(Code::SumsMissing, *path, "it is not there"),
                        Some(sum) if sum != **want => {
                            Finding::new(Code::SumsMismatch, *path, "its SHA-256 is another one")
                        }
                        Some(_) => continue,
                    };
                    found
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(finding);
                }
            });
        }
    });
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.into_iter().for_each(|finding| findings.add(finding));
}

fn sum_of(tree: &Tree, path: &str) -> Option<Digest> {
    let mut file = tree.stream(path)?;
    let mut context = Context::new(&SHA256);
    let mut buffer = [0; 1 << 16];
    loop {
        match file.read(&mut buffer).ok()? {
            0 => break,
            read => context.update(buffer.get(..read)?),
        }
    }
    Digest::from_slice(context.finish().as_ref()).ok()
}
