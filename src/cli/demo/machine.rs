//! What the machine must have for a demo of a size, and what it took.

use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Disk bytes that one entry takes at one node: entry, body, tiles, index.
const ENTRY_DISK_BYTES: u64 = 1_100;
/// Disk bytes of an empty node.
const NODE_DISK_BYTES: u64 = 8 << 20;
/// Files of a node's stores.
const NODE_FILES: u64 = 48;

/// What a demo will take at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    pub(super) disk_bytes: u64,
    pub(super) open_files: u64,
}

/// Estimates from the sizes: rows of all bureaus, nodes that hold replicas,
/// and custodians beside them.
pub(super) fn needs(rows: u64, nodes: u64, custodians: u64) -> Needs {
    let entries = rows + rows / 2;
    Needs {
        disk_bytes: entries * nodes * ENTRY_DISK_BYTES + (nodes + custodians) * NODE_DISK_BYTES,
        // Every connection has two ends in this process.
        open_files: 256 + (nodes + custodians) * NODE_FILES + 2 * nodes * (nodes + custodians),
    }
}

/// Free bytes on the file system of `dir`.
pub(super) fn free_disk(dir: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Raises the soft limit of open files as far as `wanted` needs and the hard
/// limit allows; returns the limit that holds then.
pub(super) fn allow_files(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current.unwrap_or(u64::MAX);
    if current >= wanted {
        return current;
    }
    let raised = limit.maximum.map_or(wanted, |max| wanted.min(max));
    let set = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(raised),
            maximum: limit.maximum,
        },
    );
    if set.is_ok() { raised } else { current }
}

/// The most memory that this process held at once, in bytes; 0 where the
/// operating system does not say.
pub(super) fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| {
        rest.trim()
            .trim_end_matches(" kB")
            .trim()
            .parse::<u64>()
            .ok()
    });
    kib.unwrap_or(0) * 1024
}

/// Bytes that the files below `dir` take on the disk.
pub(super) fn disk_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => disk_bytes(&entry.path()),
            Ok(meta) => meta.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_nodes_need_more_of_everything() {
        let (small, large) = (needs(100, 4, 3), needs(100_000, 30, 3));
        assert!(small.disk_bytes < large.disk_bytes);
        assert!(small.open_files < large.open_files);
    }

    #[test]
    fn the_peak_is_at_least_a_mebibyte() {
        assert!(peak_rss_bytes() > 1 << 20);
    }
}
