//! The same on running nodes: a member signs with its own keys, well, and hands what
//! it signed to others as something else.

use std::sync::Arc;

use bytes::Bytes;
use casegate::access::officer;
use casegate::blame::Blamed;
use casegate::checkpoint::{Checkpoint, cosigned_bytes, note_key_id, signature_line, witness_name};
use casegate::federation::OFFICER;
use casegate::ids::{Digest, LogIndex, LogName, Origin};
use casegate::keys::SigningKey;
use casegate::ledger::{BodyState, LedgerError, LogKeys, OWN_ACCESS};
use casegate::merkle::leaf_hash;
use casegate::pki::files::load_seed;
use casegate::record::{BodyType, Entry, PAYLOAD_TYPE, Statement, pae, withheld_bytes};
use casegate::replicate::PullError;
use casegate::roster::log::RosterCheckpoint;
use casegate::rosterlog::RosterLogTransport;
use casegate::rpc::desk_client::OfficerSignature;
use casegate::rpc::status::code_of;
use casegate::wire::v1;
use prost::Message;
use rcgen::SigningKey as _;

use crate::access::{raw_desk, with};
use crate::cluster::{Cluster, NOW, id, records, wait_for};
use crate::tamper::federation;
use crate::views::front::{Change, Tricks};
use crate::views::{fronted, row};

/// hefei, who signs everything itself.
struct Liar {
    cluster: Cluster,
    tricks: Tricks,
    keys: LogKeys,
}

impl Liar {
    async fn new() -> Self {
        let (cluster, tricks) = fronted("hefei").await;
        cluster.import("hefei", &row("HF-1", "13800138000")).await;
        cluster.converge().await;
        let keys = keys(&cluster, "hefei");
        Self {
            cluster,
            tricks,
            keys,
        }
    }

    fn access(&self) -> Origin {
        let access = self.cluster.parts("hefei").ledger.own_log(LogName::Access);
        access.origin.clone()
    }

    /// A statement that would be the next one in the records log.
    fn statement(&self) -> Statement {
        Statement {
            origin: records("hefei"),
            body_type: BodyType::Element,
            body_sha256: Digest([8; 32]),
            issued_at: NOW,
            expires_at: 0,
            key_id: self.keys.records.id(),
        }
    }

    /// An entry with the statement, and the records key's signature over other bytes.
    fn entry(&self, signed: &[u8]) -> Bytes {
        let entry = v1::Entry {
            statement: self.statement().encode(),
            signature: Some(v1::Signature {
                key_id: self.keys.records.id().as_bytes().to_vec().into(),
                signature: self.keys.records.sign(signed).to_vec().into(),
            }),
        };
        entry.encode_to_vec().into()
    }

    /// The checkpoint of the records log with one more entry.
    fn next(&self, entry: &Bytes) -> Checkpoint {
        let log = self.cluster.parts("wuhu").ledger.log(&records("hefei"));
        let mut frontier = log.expect("the replica").head().frontier;
        frontier.append(leaf_hash(entry));
        Checkpoint {
            origin: records("hefei"),
            size: frontier.size(),
            root: frontier.root(),
        }
    }

    /// What wuhu says to a chunk with one more entry, when it pulls.
    async fn pulled(&self, entry: Bytes, checkpoint: String) -> String {
        let log = self.cluster.parts("wuhu").ledger.log(&records("hefei"));
        let before = log.expect("the replica").size();
        let chunk = v1::Chunk {
            start: before.0,
            entries: vec![entry],
            checkpoint: checkpoint.into_bytes().into(),
            consistency: vec![],
        };
        self.tricks.instead.lock().expect("lock").chunk = Some(chunk);
        let replicator = Arc::clone(&self.cluster.parts("wuhu").replicator);
        let pulled = replicator.pull_member(&id("hefei"), &id("hefei")).await;
        let log = self.cluster.parts("wuhu").ledger.log(&records("hefei"));
        assert_eq!(log.expect("the replica").size(), before, "nothing is kept");
        match pulled {
            Err(PullError::Refused { source, .. }) => match source {
                LedgerError::Record { source, .. } => source.code(),
                LedgerError::Checkpoint { source, .. } => source.code(),
                other => panic!("refused for something else: {other}"),
            }
            .to_owned(),
            other => panic!("wuhu took it: {other:?}"),
        }
    }
}

fn keys(cluster: &Cluster, member: &str) -> LogKeys {
    let home = cluster.federation.member_dir(&id(member));
    let seed = |name: &str| load_seed(&home.join(name)).expect("a seed");
    LogKeys {
        records: seed("records.seed"),
        records_next: None,
        checkpoint: seed("checkpoint.seed"),
        witness: seed("witness.seed"),
    }
}

/// A note of `text` with one line by `key` in the name `name`, over other bytes.
fn note(text: &str, name: &str, key: &SigningKey, signed: &[u8]) -> String {
    let line = signature_line(name, note_key_id(name, key.public_key()), &key.sign(signed));
    format!("{text}\n{line}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_not_made_of_anything_else_that_its_key_signed() {
    let liar = Liar::new().await;
    let statement = liar.statement().encode();
    let good = Entry::sign(&liar.statement(), &liar.keys.records).bytes;
    let next = liar.next(&good);
    let withheld = withheld_bytes(&records("hefei"), &id("wuhu"), 1, &[(0, 1)]);
    let others: [(&str, Vec<u8>); 6] = [
        ("a withholding", withheld),
        ("a checkpoint", next.body().into_bytes()),
        ("a cosignature", cosigned_bytes(&next.body(), 9)),
        ("a roster", casegate::roster::signed_bytes(&statement)),
        (
            "an officer's request",
            pae(officer::PAYLOAD_TYPE, &statement),
        ),
        ("the bare statement", statement.to_vec()),
    ];
    for (what, signed) in others {
        let entry = liar.entry(&signed);
        let checkpoint = liar.next(&entry).sign(&liar.keys.checkpoint);
        let code = liar.pulled(entry, checkpoint).await;
        assert_eq!(code, "record.bad_signature", "{what}");
    }
    // What the same key signed, under the same type, for the other log.
    let ledger = liar.cluster.parts("hefei").ledger.clone();
    let lines = ledger.entries(OWN_ACCESS, LogIndex(0), 1).expect("lines");
    let line = lines.into_iter().next().expect("a line");
    let checkpoint = liar.next(&line).sign(&liar.keys.checkpoint);
    assert_eq!(liar.pulled(line, checkpoint).await, "record.misplaced");
    // An access line that says that it is of the records log.
    let mut wire = v1::Statement::decode(statement).expect("a statement");
    wire.body_type = BodyType::Access.number();
    let payload = wire.encode_to_vec();
    let signature = liar.keys.records.sign(&pae(PAYLOAD_TYPE, &payload));
    let entry: Bytes = v1::Entry {
        statement: payload.into(),
        signature: Some(v1::Signature {
            key_id: liar.keys.records.id().as_bytes().to_vec().into(),
            signature: signature.to_vec().into(),
        }),
    }
    .encode_to_vec()
    .into();
    let checkpoint = liar.next(&entry).sign(&liar.keys.checkpoint);
    assert_eq!(liar.pulled(entry, checkpoint).await, "record.field");

    // The chunk itself is good: what was refused is the confusion.
    liar.tricks.instead.lock().expect("lock").chunk = Some(v1::Chunk {
        start: next.size.0 - 1,
        entries: vec![good],
        checkpoint: next.sign(&liar.keys.checkpoint).into_bytes().into(),
        consistency: vec![],
    });
    let replicator = Arc::clone(&liar.cluster.parts("wuhu").replicator);
    let pulled = replicator.pull_member(&id("hefei"), &id("hefei")).await;
    assert!(
        !matches!(pulled, Err(PullError::Refused { .. })),
        "{pulled:?}"
    );
    let log = liar.cluster.parts("wuhu").ledger.log(&records("hefei"));
    assert_eq!(log.expect("the replica").size(), next.size);
    liar.cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_not_made_of_another_log_s_nor_of_a_cosignature() {
    let liar = Liar::new().await;
    let good = Entry::sign(&liar.statement(), &liar.keys.records).bytes;
    let next = liar.next(&good);
    let (log, key) = (next.origin.to_string(), &liar.keys.checkpoint);
    let access = Checkpoint {
        origin: liar.access(),
        ..next.clone()
    };
    let rosters = RosterCheckpoint {
        federation: federation(),
        size: next.size,
        root: next.root,
    };
    let witness = witness_name(&federation(), &id("hefei"));
    let (text, own) = (next.body(), &liar.keys.witness);
    let cosigned = casegate::checkpoint::cosign(&text, &witness, own, NOW);
    let offered = [
        ("the access log's", access.sign(key), "checkpoint.other_log"),
        (
            "the roster log's",
            rosters.sign(key),
            "checkpoint.other_log",
        ),
        (
            "the access log's line",
            note(&text, &log, key, access.body().as_bytes()),
            "checkpoint.bad_signature",
        ),
        (
            "the roster log's line",
            note(&text, &log, key, rosters.body().as_bytes()),
            "checkpoint.bad_signature",
        ),
        (
            "the roster log's line, in its name",
            note(
                &text,
                "anhui.example/roster",
                key,
                rosters.body().as_bytes(),
            ),
            "checkpoint.not_signed",
        ),
        (
            "what a witness signs",
            note(&text, &log, key, &cosigned_bytes(&text, 9)),
            "checkpoint.bad_signature",
        ),
        (
            "a cosignature",
            format!("{text}\n{cosigned}"),
            "checkpoint.not_signed",
        ),
    ];
    for (what, checkpoint, code) in &offered {
        let refused = liar.pulled(good.clone(), checkpoint.clone()).await;
        assert_eq!(refused, *code, "{what}");
    }
    // The same, offered to a witness; by the first line it knows whose log it is.
    let rosters = liar.cluster.parts("hefei").roster_log.note();
    let text = |note: &[u8]| {
        let note = String::from_utf8_lossy(note).into_owned();
        let (text, _) = note.split_once("\n\n").expect("a note");
        format!("{text}\n")
    };
    let current = liar.cluster.parts("hefei").ledger.own_log(LogName::Records);
    let current = text(&current.head().checkpoint);
    let roster_text = text(&rosters);
    let roster_log = "anhui.example/roster";
    let access_log = liar.access().to_string();
    let by = |text: &str, name: &str, signed: &str| note(text, name, key, signed.as_bytes());
    let cosigned = |text: &str| {
        let line = casegate::checkpoint::cosign(text, &witness, own, NOW);
        format!("{text}\n{line}")
    };
    let offered = [
        (by(&current, &log, &roster_text), "checkpoint.bad_signature"),
        (
            by(&roster_text, roster_log, &current),
            "checkpoint.bad_signature",
        ),
        (
            by(&roster_text, &log, &roster_text),
            "checkpoint.not_signed",
        ),
        (by(&current, &access_log, &current), "checkpoint.not_signed"),
        (cosigned(&current), "checkpoint.not_signed"),
        (cosigned(&roster_text), "checkpoint.not_signed"),
    ];
    let peers = &liar.cluster.parts("hefei").peers;
    for (checkpoint, code) in offered {
        let request = v1::AddCheckpointRequest {
            checkpoint: checkpoint.clone().into_bytes().into(),
            ..Default::default()
        };
        let answer = peers.offer_rosters(&id("court"), request).await;
        assert_eq!(answer.expect_err("refused").code, code, "{checkpoint}");
    }
    liar.cluster.federation.stop().await;
}

/// Withholds all that is asked for, with hefei's signature over what `signed` makes
/// of the right bytes.
fn withholding(keys: &Arc<LogKeys>, signed: fn(Vec<u8>) -> Vec<u8>) -> Change {
    let keys = Arc::clone(keys);
    Arc::new(move |chunk| {
        let (start, end) = (chunk.start, chunk.start + chunk.answers.len() as u64);
        let right = withheld_bytes(&records("hefei"), &id("wuhu"), 1, &[(start, end)]);
        chunk.answers = vec![2; chunk.answers.len()].into();
        chunk.bodies.clear();
        chunk.withheld = Some(v1::Withheld {
            roster_version: 1,
            ranges: vec![v1::IndexRange { start, end }],
            signature: Some(v1::Signature {
                key_id: keys.records.id().as_bytes().to_vec().into(),
                signature: keys.records.sign(&signed(right)).to_vec().into(),
            }),
        });
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_not_withheld_by_what_else_the_key_signed() {
    let liar = Liar::new().await;
    let keys = Arc::new(keys(&liar.cluster, "hefei"));
    let others: [fn(Vec<u8>) -> Vec<u8>; 4] = [
        |bytes| pae(PAYLOAD_TYPE, &bytes),
        |bytes| casegate::roster::signed_bytes(&bytes),
        |bytes| cosigned_bytes(&String::from_utf8_lossy(&bytes), 9),
        |_| b"anhui.example/hefei/records/1\n4\n".to_vec(),
    ];
    let set = |change| liar.tricks.instead.lock().expect("lock").bodies = Some(change);
    set(withholding(&keys, others[0]));
    liar.cluster
        .import("hefei", &row("HF-2", "13900139000"))
        .await;
    let own = liar.cluster.parts("hefei").ledger.own_log(LogName::Records);
    let size = own.size().0;
    let log = liar.cluster.parts("wuhu").ledger.log(&records("hefei"));
    let log = log.expect("the replica");
    wait_for("the entries arrive: they are good", || log.size().0 == size).await;
    let replicator = Arc::clone(&liar.cluster.parts("wuhu").replicator);
    let believed = || {
        let states = liar.cluster.states("wuhu", "hefei");
        states.contains(&BodyState::NotForMe)
    };
    let pull = async || replicator.pull_member(&id("hefei"), &id("hefei")).await;
    for signed in others {
        set(withholding(&keys, signed));
        let what = match pull().await {
            Err(PullError::Refused { source, .. }) => source.to_string(),
            other => panic!("wuhu took it: {other:?}"),
        };
        assert!(
            what.contains("a withholding's signature is wrong"),
            "{what}"
        );
        assert!(!believed(), "a relay has them not, and that is all");
    }
    set(withholding(&keys, |right| right));
    pull().await.expect("its own signature");
    assert!(believed());
    liar.cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_officer_s_request_is_not_made_of_anything_else_that_the_key_signed() {
    let cluster = Cluster::new(&["hefei"]).await;
    let own = cluster
        .federation
        .officer(&id("hefei"))
        .expect("an officer");
    let request = v1::ListCasesRequest::default();
    let hits = v1::HitsRequest::default();
    let made = OfficerSignature::make(&own, NOW, &request).expect("signed");
    let whole = made.signed_bytes(&request);
    let payload = {
        let head = format!(
            "DSSEv1 {} {} ",
            officer::PAYLOAD_TYPE.len(),
            officer::PAYLOAD_TYPE
        );
        let rest = &whole[head.len()..];
        let blank = rest.iter().position(|b| *b == b' ').expect("a length");
        rest[blank + 1..].to_vec()
    };
    let older = officer::PAYLOAD_TYPE.replace("v2", "v1");
    let tls = [
        &[b' '; 64][..],
        b"TLS 1.3, client CertificateVerify\0",
        &whole,
    ]
    .concat();
    let others: [(&str, Vec<u8>); 6] = [
        ("a statement", pae(PAYLOAD_TYPE, &payload)),
        ("a roster", casegate::roster::signed_bytes(&payload)),
        ("an older form", pae(&older, &payload)),
        ("the bare payload", payload),
        ("a TLS handshake", tls),
        ("another method", made.signed_bytes(&hits)),
    ];
    // The same key, used past casegate.
    let all = &cluster
        .federation
        .made(&id("hefei"))
        .expect("a member")
        .officers;
    let officer = all
        .iter()
        .find(|one| one.identity.to_string().ends_with(OFFICER));
    let pem = &officer.expect("the officer").key_pem;
    let signer = rcgen::KeyPair::from_pem(pem).expect("a key");
    let mut desk = raw_desk(&cluster, "hefei");
    for (what, signed) in others {
        let forged = OfficerSignature {
            signature: signer.sign(&signed).expect("signed"),
            ..made.clone()
        };
        let refused = desk.list_cases(with(&forged, request)).await;
        let code = code_of(&refused.expect_err(what));
        assert_eq!(code, "officer.bad_signature", "{what}");
    }
    let genuine = OfficerSignature {
        signature: signer.sign(&whole).expect("signed"),
        ..made.clone()
    };
    desk.list_cases(with(&genuine, request))
        .await
        .expect("its own");
    cluster.federation.stop().await;
}
