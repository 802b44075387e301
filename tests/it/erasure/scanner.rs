//! Reads a copy of a node's directory as somebody would who has it and every
//! key in it: raw bytes of every file, and whatever any of the keys opens at
//! any place of them. It shares no code with the node, and knows of its formats
//! only how keys are wrapped and that sealed runs begin with a length.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;

/// Plain bytes that are looked at behind each place that may begin a run.
const WINDOW_BYTES: usize = 24 * 1024;
/// The same behind each place that may begin something sealed under the seal key.
const SEALED_BYTES: usize = 4 * 1024;

/// What is looked for, under names that a failing test can print.
#[derive(Default)]
pub(super) struct Needles {
    all: Vec<(String, Vec<u8>)>,
    /// First two bytes → needles that begin with them.
    by_start: Vec<Vec<usize>>,
}

impl Needles {
    pub(super) fn add(&mut self, name: &str, bytes: &[u8]) {
        assert!(
            bytes.len() >= 6,
            "{name} is too short to be told from chance"
        );
        self.by_start.resize(1 << 16, vec![]);
        let start = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
        self.by_start[start].push(self.all.len());
        self.all.push((name.to_owned(), bytes.to_vec()));
    }

    fn search(&self, text: &[u8], found: &mut BTreeSet<String>, how: &str) {
        for (at, pair) in text.windows(2).enumerate() {
            if pair[0] == 0 && pair[1] == 0 {
                continue;
            }
            let start = usize::from(pair[0]) << 8 | usize::from(pair[1]);
            for needle in &self.by_start[start] {
                let (name, bytes) = &self.all[*needle];
                if text[at..].starts_with(bytes) {
                    found.insert(format!("{name}: {how}"));
                }
            }
        }
    }
}

/// The keys of a directory: those of its live slots, and the seal key.
struct Keys {
    slots: Vec<LessSafeKey>,
    seal: LessSafeKey,
}

fn aead(key: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes"))
}

impl Keys {
    fn read(dir: &Path) -> Self {
        let text = std::fs::read_to_string(dir.join("seal.key")).expect("the seal key");
        let seal = hex::decode(text.trim()).expect("hex");
        let file = std::fs::read(files(dir, "shred.keys").remove(0)).expect("the slots");
        let (header, slots) = file.split_at(64);
        let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &seal));
        mac.update(b"casegate/shred/v1");
        mac.update(&header[16..32]);
        let wrap = aead(mac.sign().as_ref());
        let mut keys = vec![];
        for (number, slot) in (0_u64..).zip(slots.chunks_exact(64)) {
            if slot.iter().all(|byte| *byte == 0) {
                continue;
            }
            let nonce = Nonce::try_assume_unique_for_key(&slot[..12]).expect("12 bytes");
            let mut wrapped = slot[12..60].to_vec();
            let key = wrap
                .open_in_place(nonce, Aad::from(number.to_be_bytes()), &mut wrapped)
                .expect("a live slot opens");
            keys.push(aead(key));
        }
        Self {
            slots: keys,
            seal: aead(&seal),
        }
    }
}

/// The first bytes of the stream with which a key hides what it seals: no tag
/// and no context are needed to undo it.
fn stream(key: &LessSafeKey, nonce: [u8; 12], length: usize) -> Vec<u8> {
    let mut zeros = vec![0; length];
    key.seal_in_place_append_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::empty(),
        &mut zeros,
    )
    .expect("short");
    zeros.truncate(length);
    zeros
}

fn undone(sealed: &[u8], stream: &[u8]) -> Vec<u8> {
    sealed.iter().zip(stream).map(|(a, b)| a ^ b).collect()
}

/// All files below `dir` whose name ends so.
pub(super) fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut out = vec![];
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for item in std::fs::read_dir(dir).expect("a directory") {
            let path = item.expect("an item").path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                out.push(path);
            }
        }
    }
    out.sort();
    out
}

/// Every needle that the directory gives away, and how.
pub(super) fn scan(dir: &Path, needles: &Needles) -> BTreeSet<String> {
    let keys = Keys::read(dir);
    let streams: Vec<Vec<u8>> = keys
        .slots
        .iter()
        .map(|key| stream(key, [0; 12], WINDOW_BYTES))
        .collect();
    // The first two sealed bytes of a run, whose length is below 64 KiB, by slot.
    let mut by_head = vec![vec![]; 1 << 16];
    for (at, stream) in streams.iter().enumerate() {
        by_head[usize::from(stream[0]) << 8 | usize::from(stream[1])].push(at);
    }
    let mut found = BTreeSet::new();
    for path in files(dir, "") {
        let mut bytes = std::fs::read(&path).expect("a file");
        // Journals are laid out long before they are filled.
        let end = bytes.iter().rposition(|byte| *byte != 0);
        bytes.truncate(end.map_or(0, |last| last + 1));
        let name = path.strip_prefix(dir).expect("below").display().to_string();
        needles.search(&bytes, &mut found, &format!("plain in {name}"));
        for (at, pair) in bytes.windows(2).enumerate() {
            for slot in &by_head[usize::from(pair[0]) << 8 | usize::from(pair[1])] {
                let plain = undone(&bytes[at..], &streams[*slot]);
                let length = plain
                    .get(2..4)
                    .map_or(0, |b| usize::from(b[0]) << 8 | usize::from(b[1]));
                if length > 0 && length < WINDOW_BYTES {
                    needles.search(&plain, &mut found, &format!("under a slot in {name}"));
                }
            }
        }
        if name.starts_with("store") || name.contains("/store/") {
            scan_sealed(&keys.seal, &bytes, needles, &mut found, &name);
        }
    }
    found
}

/// What the seal key opens: a nonce, then a message or a count.
fn scan_sealed(
    seal: &LessSafeKey,
    bytes: &[u8],
    needles: &Needles,
    found: &mut BTreeSet<String>,
    name: &str,
) {
    for at in 0..bytes.len().saturating_sub(44) {
        let Some((nonce, sealed)) = bytes[at..].split_first_chunk::<12>() else {
            return;
        };
        // A drawn nonce has neither three zeros together nor a text in it.
        let plain = nonce.iter().all(u8::is_ascii_graphic);
        if plain || nonce.windows(3).any(|three| three == [0; 3]) {
            continue;
        }
        let head = undone(&sealed[..2], &stream(seal, *nonce, 2));
        if head == [0, 0] || head[0] == 0x0a || head[0] == 0x08 {
            let window = &sealed[..sealed.len().min(SEALED_BYTES)];
            let plain = undone(window, &stream(seal, *nonce, window.len()));
            needles.search(&plain, found, &format!("under the seal key in {name}"));
        }
    }
}
