//! Makes a bundle of any size for `casegate audit verify`, with every key that
//! it needs, and times strict verification of as many signatures on as many
//! threads, as a reference: `audit_bundle OUT RECORDS`. Writes `OUT/bundle` and
//! `OUT/policy.toml`; prints one JSON object. For measurements only.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use casegate::audit::layout::{TileIndex, TilePath, hash_tiles, put_body, put_entry};
use casegate::audit::verify::Policy;
use casegate::checkpoint::{Checkpoint, cosign};
use casegate::clock::Stopwatch;
use casegate::ids::{
    CaseRef, Digest, FederationId, KeyId, LogName, MemberId, Origin, Token, TreeSize,
};
use casegate::keys::{PublicKey, SigningKey};
use casegate::merkle::{Frontier, MerkleError, TILE_WIDTH, append_tiles};
use casegate::pki::dev::{DevMember, dev_member};
use casegate::record::{
    Audience, Body, BodyType, ElementBody, ElementKind, ElementRole, Entry, Statement,
};
use casegate::roster::{Draft, MemberRole};
use casegate::wire::v1::BodyAnswer;

const BEGAN: i64 = 1_800_000_000;
const LOG: &str = "logs/records/1";

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let out = PathBuf::from(words.next().context("audit_bundle OUT RECORDS")?);
    let records: u64 = words.next().context("audit_bundle OUT RECORDS")?.parse()?;
    let federation = FederationId::new("bench.example")?;
    let make = |name, role| {
        let id = MemberId::new(name).context("a name")?;
        dev_member(&federation, &id, role, BEGAN, &[]).context("a member")
    };
    let (hefei, wuhu) = (
        make("hefei", MemberRole::Bureau)?,
        make("wuhu", MemberRole::Bureau)?,
    );
    let mut bundle = Files::new(&out.join("bundle"))?;
    let policy = rosters(&federation, [&hefei, &wuhu], &mut bundle)?;
    std::fs::write(out.join("policy.toml"), policy.to_toml())?;
    let watch = Stopwatch::start();
    log(&federation, &hefei, &wuhu.witness_key, records, &mut bundle)?;
    bundle.finish()?;
    let made_s = watch.seconds();
    let threads = std::thread::available_parallelism()?.get();
    let reference = reference(records, threads);
    let told = serde_json::json!({
        "records": records,
        "made_s": made_s,
        "threads": threads,
        "reference_s": reference.as_secs_f64(),
        "reference_per_s_and_thread":
            records as f64 / reference.as_secs_f64() / threads as f64,
    });
    writeln!(std::io::stdout(), "{told}")?;
    Ok(())
}

/// Files that are written once, and their sums.
struct Files {
    dir: PathBuf,
    sums: Vec<(String, Digest)>,
}

impl Files {
    fn new(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        Ok(Self {
            dir: dir.to_path_buf(),
            sums: vec![],
        })
    }

    fn put(&mut self, path: String, bytes: &[u8]) -> Result<()> {
        let at = self.dir.join(&path);
        std::fs::create_dir_all(at.parent().context("a parent")?)?;
        std::fs::write(at, bytes)?;
        self.sums.push((path, Digest::of(bytes)));
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.put("bundle.json".into(), br#"{"format":1,"member":"hefei"}"#)?;
        self.sums.sort();
        let line = |(path, sum): &(String, Digest)| format!("{sum}  {path}\n");
        let sums: String = self.sums.iter().map(line).collect();
        std::fs::write(self.dir.join("SHA256SUMS"), sums)?;
        Ok(())
    }
}

fn rosters(
    federation: &FederationId,
    members: [&DevMember; 2],
    bundle: &mut Files,
) -> Result<Policy> {
    let root = SigningKey::generate();
    let mut draft = Draft::first(
        federation,
        &[root.public_key().clone()],
        1,
        BEGAN,
        365 * 86_400,
    );
    for (at, member) in members.iter().enumerate() {
        let mut lines = member.draft(&format!("127.0.0.1:{}", 1_000 + at));
        let others = members.iter().filter(|other| other.id != member.id);
        lines.witnesses = others.map(|other| other.id.clone()).collect();
        draft = draft.member(lines);
    }
    draft.wire.policy.get_or_insert_default().witness_quorum = 1;
    bundle.put("roster/000001".into(), &draft.sign(&[&root]))?;
    Ok(Policy {
        federation: federation.clone(),
        roster_pin: draft.digest(),
        quorum: None,
        require_witnessed: true,
        witnesses: vec![],
    })
}

fn log(
    federation: &FederationId,
    owner: &DevMember,
    witness: &SigningKey,
    records: u64,
    bundle: &mut Files,
) -> Result<()> {
    let origin = Origin {
        federation: federation.clone(),
        member: owner.id.clone(),
        log: LogName::Records,
        generation: 1,
    };
    let mut frontier = Frontier::new();
    let mut tiles: HashMap<(u8, u64), Vec<Digest>> = HashMap::new();
    let mut at = 0;
    while at < records {
        let end = records.min(at + TILE_WIDTH);
        let path = TilePath {
            level: None,
            index: TileIndex(at / TILE_WIDTH),
            width: u16::try_from(end - at)?,
        };
        let leaves = block(&origin, owner, at..end, &path, bundle)?;
        let read = |level, tile| -> Result<_, MerkleError> {
            Ok(tiles.get(&(level, tile)).cloned().unwrap_or_default())
        };
        for update in append_tiles(TreeSize(at), read, &leaves)? {
            tiles.insert((update.level, update.tile), update.hashes);
        }
        frontier.extend(leaves);
        at = end;
    }
    for path in hash_tiles(TreeSize(records)) {
        let hashes = &tiles[&(path.level.context("hashes")?, path.index.0)];
        let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
        bundle.put(format!("{LOG}/{path}"), &bytes)?;
    }
    let checkpoint = Checkpoint {
        origin,
        size: TreeSize(records),
        root: frontier.root(),
    };
    let name = format!("{federation}/wuhu/witness");
    let line = cosign(&checkpoint.body(), &name, witness, BEGAN + 1_000);
    let note = checkpoint.sign(&owner.checkpoint_key) + &line;
    bundle.put(format!("{LOG}/checkpoint"), note.as_bytes())?;
    bundle.put(format!("{LOG}/checkpoints/{records}"), note.as_bytes())
}

/// Writes one bundle with its bodies and DSSE lines; returns its leaves.
fn block(
    origin: &Origin,
    owner: &DevMember,
    range: std::ops::Range<u64>,
    path: &TilePath,
    bundle: &mut Files,
) -> Result<Vec<Digest>> {
    let (mut entries, mut bodies, mut dsse) = (vec![], vec![], String::new());
    let mut leaves = vec![];
    for number in range {
        let body = Body::Element(element(origin, number)).encode();
        let statement = Statement {
            origin: origin.clone(),
            body_type: BodyType::Element,
            body_sha256: Digest::of(&body),
            issued_at: BEGAN + 100,
            expires_at: 0,
            key_id: owner.records_key.id(),
        };
        let entry = Entry::sign(&statement, &owner.records_key);
        put_entry(&mut entries, &entry.bytes)?;
        put_body(&mut bodies, BodyAnswer::Held, &body)?;
        dsse += &entry.dsse_json();
        dsse.push('\n');
        leaves.push(entry.leaf_hash());
    }
    bundle.put(format!("{LOG}/{path}"), &entries)?;
    bundle.put(format!("{LOG}/bodies/{}", path.index), &bodies)?;
    bundle.put(format!("{LOG}/dsse/{}.jsonl", path.index), dsse.as_bytes())?;
    Ok(leaves)
}

fn element(origin: &Origin, number: u64) -> ElementBody {
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&number.to_be_bytes());
    ElementBody {
        nonce,
        federation: origin.federation.clone(),
        member: origin.member.clone(),
        case_ref: CaseRef([2; 16]),
        kind: ElementKind::Phone,
        token: Token(nonce),
        token_key_id: KeyId([4; 4]),
        commitment: Digest::of(&nonce),
        role: ElementRole::Suspect,
        observed_on: 20_000,
        audience: Audience::Federation,
        handling: "internal".into(),
        expires_at: 0,
        canonical_rules: 1,
    }
}

/// Verifies as many signatures and does nothing else.
fn reference(count: u64, threads: usize) -> Duration {
    let key = SigningKey::generate();
    let messages: Vec<(Vec<u8>, [u8; 64])> = (0..256_u64)
        .map(|number| {
            let message = [&number.to_be_bytes()[..], &[7; 232]].concat();
            let signature = key.sign(&message);
            (message, signature)
        })
        .collect();
    let verify = |key: &PublicKey, at: u64| {
        let at = usize::try_from(at % 256).unwrap_or(0);
        let (message, signature) = &messages[at];
        assert!(key.verify(message, signature).is_ok(), "it was just signed");
    };
    let watch = Stopwatch::start();
    let share = count.div_ceil(threads as u64);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..share).for_each(|at| verify(key.public_key(), at)));
        }
    });
    Duration::from_secs_f64(watch.seconds())
}
