//! Real signed bundles, made in memory: rosters, two logs with checkpoints and
//! cosignatures, bodies, receipts and proofs. Tests plant their faults in it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bytes::Bytes;
use casegate::audit::layout::{
    BundlePath, EvidencePart, LogFile, TileIndex, TilePath, TlogProof, entry_bundles, hash_tiles,
    put_body, put_entry, write_hashes,
};
use casegate::audit::verify::Policy;
use casegate::checkpoint::{Checkpoint, cosign};
use casegate::ids::{CaseRef, Digest, FederationId, KeyId, LogIndex, LogName, MemberId, Origin};
use casegate::ids::{Token, TreeSize};
use casegate::keys::SigningKey;
use casegate::merkle::{self, Frontier, MerkleError, TileNodes, append_tiles};
use casegate::pki::dev::{DevMember, dev_member};
use casegate::record::{
    AccessBody, Audience, Body, ElementBody, ElementKind, ElementRole, Entry, ErasureBody,
    ReceiptBody, RetractBody, RetractReason, Statement,
};
use casegate::roster::{Draft, MemberRole, Roster, RosterChain};
use casegate::wire::v1::{
    AccessScope, BodyAnswer, ErasedRange, IndexRange, ReceiptItem, ReceiptState,
};

/// When the federation began.
pub(crate) const BEGAN: i64 = 1_800_000_000;
/// When the bundles are verified.
pub(crate) const NOW: i64 = BEGAN + 10_000;
/// The size of the records log, and the indices of what is special in it.
pub(crate) const SIZE: u64 = 300;
/// The retraction of records 3 and 4.
pub(crate) const RETRACTION: u64 = 290;
/// The owner's erasures.
pub(crate) const ERASURE: u64 = 291;
/// The largest witnessed size.
pub(crate) const WITNESSED: u64 = 295;

/// Files of a bundle by their paths.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

pub(crate) fn id(name: &str) -> MemberId {
    MemberId::new(name).expect("a member")
}

pub(crate) fn federation() -> FederationId {
    FederationId::new("anhui.example").expect("a federation")
}

/// The federation, and the bundle of hefei's logs that is not at fault.
pub(crate) struct World {
    pub(crate) root: SigningKey,
    pub(crate) members: BTreeMap<&'static str, DevMember>,
    pub(crate) chain: RosterChain,
    pub(crate) records: Log,
    pub(crate) files: Files,
}

/// The one world: making it takes hundreds of signatures.
pub(crate) fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::new)
}

impl World {
    fn new() -> Self {
        let root = SigningKey::from_seed(&[1; 32]).expect("a seed");
        let make = |name, role| {
            let made = dev_member(&federation(), &id(name), role, BEGAN, &[]);
            (name, made.expect("a member"))
        };
        let members = BTreeMap::from([
            make("anqing", MemberRole::Bureau),
            make("hefei", MemberRole::Bureau),
            make("shenji", MemberRole::Auditor),
            make("wuhu", MemberRole::Bureau),
        ]);
        let roots = [root.public_key().clone()];
        let mut draft = Draft::first(&federation(), &roots, 1, BEGAN, 365 * 86_400);
        for (at, member) in members.values().enumerate() {
            let mut lines = member.draft(&format!("127.0.0.1:{}", 1_000 + at));
            let witnesses = ["anqing", "wuhu"]
                .into_iter()
                .filter(|w| id(w) != member.id);
            lines.witnesses = witnesses.map(id).collect();
            if lines.witnesses.len() < 2 {
                lines.witnesses.push(id("hefei"));
            }
            lines.witnesses.sort();
            draft = draft.member(lines);
        }
        draft.wire.policy.get_or_insert_default().witness_quorum = 2;
        let signed = draft.sign(&[&root]);
        let chain = RosterChain::start(draft.digest(), &signed, |_| true).expect("a chain");
        let hefei = &members["hefei"];
        let records = records(hefei);
        let mut world = Self {
            root,
            chain,
            records,
            files: Files::new(),
            members,
        };
        let mut files = world.base();
        world.write(&world.records, &[280, WITNESSED], &mut files);
        let access = access(world.member("hefei"));
        world.write(&access, &[4], &mut files);
        for index in [0, 256, RETRACTION, ERASURE] {
            let path = BundlePath::Proof {
                generation: 1,
                index: LogIndex(index),
            };
            let note = files["records/1/checkpoint"].clone();
            files.insert(path.to_string(), world.records.proof(index, note));
        }
        world.receipt(&mut files);
        sum(&mut files);
        world.files = files;
        world
    }

    pub(crate) fn member(&self, name: &str) -> &DevMember {
        &self.members[name]
    }

    /// A policy that pins the world's first roster.
    pub(crate) fn policy(&self) -> Policy {
        Policy {
            federation: federation(),
            roster_pin: self.chain.pin(),
            quorum: None,
            require_witnessed: false,
            witnesses: vec![],
        }
    }

    /// What every bundle has: its description and the rosters.
    pub(crate) fn base(&self) -> Files {
        let told = r#"{"federation":"anhui.example","format":1,"member":"hefei"}"#;
        let mut files = Files::from([("bundle.json".to_owned(), told.as_bytes().to_vec())]);
        self.put_roster(self.chain.newest(), &mut files);
        files
    }

    pub(crate) fn put_roster(&self, roster: &Roster, files: &mut Files) {
        let path = BundlePath::Roster(roster.version).to_string();
        files.insert(path, roster.signed.to_vec());
    }

    /// A roster that follows the world's, changed by `change`.
    pub(crate) fn next_roster(&self, change: impl FnOnce(&mut Draft)) -> Vec<u8> {
        let mut draft = Draft::after(self.chain.newest(), BEGAN + 2_000, 365 * 86_400);
        change(&mut draft);
        draft.sign(&[&self.root])
    }

    /// Writes a log with witnessed checkpoints at `sizes`.
    pub(crate) fn write(&self, log: &Log, sizes: &[u64], files: &mut Files) {
        let owner = self.member(log.origin.member.as_str());
        let mut put = |file: LogFile, bytes: Vec<u8>| {
            files.insert(log.path(&file), bytes);
        };
        let size = log.size();
        put(LogFile::Checkpoint, log.note(size, &owner.checkpoint_key));
        for (at, witnessed) in (1..).zip(sizes) {
            let note = log.note(*witnessed, &owner.checkpoint_key);
            let time = BEGAN + 1_000 * at;
            put(
                LogFile::Witnessed(TreeSize(*witnessed)),
                self.cosigned(&note, &log.origin.member, time),
            );
        }
        for path in hash_tiles(TreeSize(size)) {
            put(LogFile::Tile(path), log.tile(&path));
        }
        for path in entry_bundles(TreeSize(size)) {
            let (entries, bodies, dsse) = log.bundle(&path);
            put(LogFile::Tile(path), entries);
            put(LogFile::Bodies(path.index), bodies);
            put(LogFile::Dsse(path.index), dsse);
        }
        let mut all: Vec<u64> = sizes.iter().copied().chain([size]).collect();
        all.dedup();
        for pair in all.windows(2) {
            let (from, to) = (TreeSize(pair[0]), TreeSize(pair[1]));
            let file = LogFile::Consistency { from, to };
            put(file, log.consistency(from, to).into_bytes());
        }
    }

    /// Adds the cosignatures of a log's witnesses.
    pub(crate) fn cosigned(&self, note: &[u8], owner: &MemberId, time: i64) -> Vec<u8> {
        let mut out = note.to_vec();
        let witnesses = ["anqing", "wuhu"].into_iter().filter(|w| id(w) != *owner);
        for (at, witness) in (0..).zip(witnesses) {
            let key = &self.member(witness).witness_key;
            out.extend(cosign_line(note, witness, key, time + at).bytes());
        }
        out
    }

    /// wuhu's receipt for records 3 to 5.
    fn receipt(&self, files: &mut Files) {
        self.receipt_at(1, 0, files);
    }

    /// A receipt for them at an index of wuhu's log, signed so much later.
    pub(crate) fn receipt_at(&self, index: u64, later_s: i64, files: &mut Files) {
        let wuhu = self.member("wuhu");
        let mut log = Log::new("wuhu", LogName::Records);
        for _ in 0..index {
            log.add(&wuhu.records_key, Body::Element(element("wuhu", 0)), BEGAN);
        }
        let item = |start, end, retracted_by, at| ReceiptItem {
            range: Some(IndexRange { start, end }),
            state: ReceiptState::Erased.into(),
            retracted_by,
            at,
        };
        let body = ReceiptBody {
            nonce: vec![9; 16].into(),
            origin: self.records.origin.to_string(),
            items: vec![
                item(3, 5, RETRACTION + 1, BEGAN + 3_020 + later_s),
                item(5, 6, 0, BEGAN + 900 + later_s),
            ],
        };
        log.add(&wuhu.records_key, Body::Receipt(body), BEGAN + 3_020);
        let note = log.note(index + 1, &wuhu.checkpoint_key);
        let at = usize::try_from(index).expect("small");
        let mut put = |part: &str, bytes: Vec<u8>| {
            files.insert(format!("receipts/wuhu-1-{index}.{part}"), bytes);
        };
        put("entry", log.entries[at].to_vec());
        put("body", log.bodies[at].1.clone());
        put("proof", log.proof(index, note));
    }

    /// Adds a pair of notes as evidence.
    pub(crate) fn evidence(
        files: &mut Files,
        first: Vec<u8>,
        second: Vec<u8>,
        proof: Option<String>,
    ) {
        let path = |part| BundlePath::Evidence { number: 1, part }.to_string();
        files.insert(path(EvidencePart::First), first);
        files.insert(path(EvidencePart::Second), second);
        if let Some(proof) = proof {
            files.insert(path(EvidencePart::Consistency), proof.into_bytes());
        }
    }
}

/// One witness's line for a note.
pub(crate) fn cosign_line(note: &[u8], witness: &str, key: &SigningKey, time: i64) -> String {
    let note = std::str::from_utf8(note).expect("a note");
    let text = &note[..=note.find("\n\n").expect("a note")];
    cosign(text, &format!("anhui.example/{witness}/witness"), key, time)
}

/// Writes SHA256SUMS anew.
pub(crate) fn sum(files: &mut Files) {
    files.remove("SHA256SUMS");
    let line = |(path, bytes): (&String, &Vec<u8>)| format!("{}  {path}\n", Digest::of(bytes));
    let sums: String = files.iter().map(line).collect();
    files.insert("SHA256SUMS".into(), sums.into_bytes());
}

/// Writes files below a new directory.
pub(crate) fn write(files: &Files) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    write_to(files, dir.path());
    dir
}

pub(crate) fn write_to(files: &Files, dir: &Path) {
    for (path, bytes) in files {
        let path: PathBuf = dir.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, bytes).expect("a file");
    }
}

/// A log in memory.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) origin: Origin,
    pub(crate) entries: Vec<Bytes>,
    pub(crate) bodies: Vec<(BodyAnswer, Vec<u8>)>,
    tiles: HashMap<(u8, u64), Vec<Digest>>,
    roots: Vec<Digest>,
    frontier: Frontier,
}

impl Log {
    pub(crate) fn new(member: &str, log: LogName) -> Self {
        let frontier = Frontier::new();
        Self {
            origin: Origin {
                federation: federation(),
                member: id(member),
                log,
                generation: 1,
            },
            entries: vec![],
            bodies: vec![],
            tiles: HashMap::new(),
            roots: vec![frontier.root()],
            frontier,
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.entries.len() as u64
    }

    fn path(&self, file: &LogFile) -> String {
        BundlePath::Log {
            log: self.origin.log,
            generation: self.origin.generation,
            file: file.clone(),
        }
        .to_string()
    }

    /// Signs a body's statement and appends it.
    pub(crate) fn add(&mut self, key: &SigningKey, body: Body, issued_at: i64) {
        let bytes = body.encode();
        let statement = Statement {
            origin: self.origin.clone(),
            body_type: body.body_type(),
            body_sha256: Digest::of(&bytes),
            issued_at,
            expires_at: body.expires_at(),
            key_id: key.id(),
        };
        self.append(Entry::sign(&statement, key).bytes, bytes.to_vec());
    }

    /// Appends an entry as it is.
    pub(crate) fn append(&mut self, entry: Bytes, body: Vec<u8>) {
        let leaf = merkle::leaf_hash(&entry);
        let size = TreeSize(self.size());
        let read = |level, tile| self.stored(level, tile);
        for update in append_tiles(size, read, &[leaf]).expect("tiles") {
            self.tiles
                .insert((update.level, update.tile), update.hashes);
        }
        self.frontier.append(leaf);
        self.roots.push(self.frontier.root());
        self.entries.push(entry);
        self.bodies.push((BodyAnswer::Held, body));
    }

    fn stored(&self, level: u8, tile: u64) -> Result<Vec<Digest>, MerkleError> {
        Ok(self.tiles.get(&(level, tile)).cloned().unwrap_or_default())
    }

    pub(crate) fn root(&self, size: u64) -> Digest {
        self.roots[usize::try_from(size).expect("a size")]
    }

    /// The signed note at a size.
    pub(crate) fn note(&self, size: u64, key: &SigningKey) -> Vec<u8> {
        self.note_of(size, self.root(size), key)
    }

    /// A signed note of any root.
    pub(crate) fn note_of(&self, size: u64, root: Digest, key: &SigningKey) -> Vec<u8> {
        let checkpoint = Checkpoint {
            origin: self.origin.clone(),
            size: TreeSize(size),
            root,
        };
        checkpoint.sign(key).into_bytes()
    }

    pub(crate) fn tile(&self, path: &TilePath) -> Vec<u8> {
        let hashes = self
            .stored(path.level.expect("hashes"), path.index.0)
            .expect("a tile");
        hashes.iter().flat_map(|hash| hash.0).collect()
    }

    /// Entry bundle, bodies and DSSE lines.
    pub(crate) fn bundle(&self, path: &TilePath) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let first = usize::try_from(path.first()).expect("an index");
        let range = first..first + usize::from(path.width);
        let (mut entries, mut bodies, mut dsse) = (vec![], vec![], vec![]);
        for (entry, (answer, body)) in self.entries[range.clone()].iter().zip(&self.bodies[range]) {
            put_entry(&mut entries, entry).expect("an entry");
            put_body(&mut bodies, *answer, body).expect("a body");
            if let Ok(entry) = Entry::parse(entry.clone()) {
                dsse.extend(entry.dsse_json().bytes());
            }
            dsse.push(b'\n');
        }
        (entries, bodies, dsse)
    }

    pub(crate) fn consistency(&self, from: TreeSize, to: TreeSize) -> String {
        let nodes = TileNodes(|level, tile| self.stored(level, tile));
        write_hashes(&merkle::consistency_proof(&nodes, from, to).expect("a proof"))
    }

    pub(crate) fn proof(&self, index: u64, note: Vec<u8>) -> Vec<u8> {
        let nodes = TileNodes(|level, tile| self.stored(level, tile));
        let index = LogIndex(index);
        let size = TreeSize(self.size());
        TlogProof {
            index,
            hashes: merkle::inclusion_proof(&nodes, index, size).expect("a proof"),
            checkpoint: note.into(),
        }
        .encode()
    }

    /// The path of the entry bundle that holds an index.
    pub(crate) fn bundle_of(&self, index: u64) -> String {
        let all = entry_bundles(TreeSize(self.size()));
        let mut all = all.filter(|path| path.first() <= index);
        let path = all.by_ref().last().expect("a bundle");
        self.path(&LogFile::Tile(path))
    }

    /// The path of the bodies of that bundle.
    pub(crate) fn bodies_of(&self, index: u64) -> String {
        self.path(&LogFile::Bodies(TileIndex(index / 256)))
    }
}

/// An element of a member, unlike any other.
pub(crate) fn element(member: &str, number: u64) -> ElementBody {
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&number.to_be_bytes());
    ElementBody {
        nonce,
        federation: federation(),
        member: id(member),
        case_ref: CaseRef([2; 16]),
        kind: ElementKind::Phone,
        token: Token(nonce),
        token_key_id: KeyId([4; 4]),
        commitment: Digest([5; 32]),
        role: ElementRole::Suspect,
        observed_on: 1,
        audience: Audience::Federation,
        handling: String::new(),
        expires_at: if number == 5 { BEGAN + 880 } else { 0 },
        canonical_rules: 1,
    }
}

fn records(hefei: &DevMember) -> Log {
    let key = &hefei.records_key;
    let mut log = Log::new("hefei", LogName::Records);
    for number in 0..SIZE {
        match number {
            RETRACTION => {
                let body = RetractBody {
                    nonce: [8; 16],
                    targets: vec![(LogIndex(3), LogIndex(5))],
                    reason: RetractReason::Mistake,
                };
                log.add(key, Body::Retract(body), BEGAN + 3_000);
            }
            ERASURE => log.add(key, Body::Erasure(erasure()), BEGAN + 3_010),
            _ => log.add(key, Body::Element(element("hefei", number)), BEGAN + 500),
        }
    }
    for erased in [3, 4, 5] {
        log.bodies[erased] = (BodyAnswer::Erased, vec![]);
    }
    log.bodies[10] = (BodyAnswer::NotForYou, vec![]);
    log
}

fn erasure() -> ErasureBody {
    let item =
        |start, end, retracted_by, reason: RetractReason, decided_at, owed: &[&str]| ErasedRange {
            range: Some(IndexRange { start, end }),
            retracted_by,
            reason: reason.into(),
            decided_at,
            erased_at: decided_at + 10,
            owed: owed.iter().map(|name| (*name).to_owned()).collect(),
        };
    let mistake = RetractReason::Mistake;
    ErasureBody {
        nonce: vec![7; 16].into(),
        items: vec![
            item(
                3,
                5,
                RETRACTION + 1,
                mistake,
                BEGAN + 3_000,
                &["anqing", "wuhu"],
            ),
            item(5, 6, 0, RetractReason::Retention, BEGAN + 880, &["wuhu"]),
        ],
    }
}

/// A line of an access log.
pub(crate) fn access_line(number: u8) -> AccessBody {
    AccessBody {
        nonce: vec![number; 16].into(),
        scope: AccessScope::Local.into(),
        query_id: vec![number; 16].into(),
        method: "desk.query".into(),
        caller: "li.wei".into(),
        outcome: "ok".into(),
        ..AccessBody::default()
    }
}

fn access(hefei: &DevMember) -> Log {
    let mut log = Log::new("hefei", LogName::Access);
    for number in 0..4 {
        log.add(
            &hefei.records_key,
            Body::Access(access_line(number)),
            BEGAN + 600,
        );
    }
    log
}
