//! Mixed-order signatures: crafted by the holder of a key so that verifiers
//! that multiply by the cofactor, or that check in batches, accept what others
//! refuse. Half the peers would keep the entry and half would stop. Every place
//! that verifies refuses them.

use casegate::access::officer::{self, verify_officer};
use casegate::checkpoint::{
    Checkpoint, CheckpointError, SignedNote, cosign, cosigned_bytes, note_key_id, open_cosignature,
    signature_line,
};
use casegate::ids::TreeSize;
use casegate::keys::{PublicKey, SigningKey};
use casegate::record::{Entry, pae};
use casegate::roster::draft::sign;
use casegate::roster::read::RawRoster;
use casegate::roster::{self, RosterError};
use casegate::wire::v1;
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use curve25519_dalek::traits::IsIdentity;
use prost::Message;
use sha2::{Digest as _, Sha512};

use crate::record::{origin, statement};

const RUNS: u32 = 1_000;

fn wide(parts: &[&[u8]]) -> Scalar {
    let mut hash = Sha512::new();
    parts.iter().for_each(|part| hash.update(part));
    Scalar::from_bytes_mod_order_wide(&hash.finalize().into())
}

/// A key, its secret scalar and a signature maker that goes wrong on purpose.
struct Crafty {
    key: SigningKey,
    secret: Scalar,
    torsion: EdwardsPoint,
    /// Whether R is of small order altogether, and not only mixed.
    small: bool,
}

impl Crafty {
    fn new(run: u32) -> Self {
        let mut seed = [7; 32];
        seed[..4].copy_from_slice(&run.to_be_bytes());
        let hash = Sha512::digest(seed);
        let clamped = clamp_integer(hash[..32].try_into().expect("32 bytes"));
        let turn = usize::try_from(run).expect("small");
        Self {
            key: SigningKey::from_seed(&seed).expect("a seed"),
            secret: Scalar::from_bytes_mod_order(clamped),
            torsion: EIGHT_TORSION[1 + turn % 7],
            small: turn % 2 == 1,
        }
    }

    fn public(&self) -> &PublicKey {
        self.key.public_key()
    }

    /// Signs with an R that has a part of small order.
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        let nonce = if self.small {
            Scalar::ZERO
        } else {
            wide(&[b"nonce", message])
        };
        let r = (ED25519_BASEPOINT_POINT * nonce + self.torsion).compress();
        let k = wide(&[r.as_bytes(), self.public().as_bytes(), message]);
        let s = nonce + k * self.secret;
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(r.as_bytes());
        signature[32..].copy_from_slice(s.as_bytes());
        assert!(cofactored(self.public(), message, &signature));
        signature
    }
}

/// The laxer check of RFC 8032: both sides are multiplied by 8.
fn cofactored(key: &PublicKey, message: &[u8], signature: &[u8; 64]) -> bool {
    let point = |bytes: &[u8]| {
        let bytes = CompressedEdwardsY::from_slice(bytes).expect("32 bytes");
        bytes.decompress().expect("a point")
    };
    let (r, s) = signature.split_at(32);
    let k = wide(&[r, key.as_bytes(), message]);
    let s = Scalar::from_bytes_mod_order(s.try_into().expect("32 bytes"));
    let rest = ED25519_BASEPOINT_POINT * s - point(key.as_bytes()) * k - point(r);
    rest.mul_by_cofactor().is_identity()
}

fn entry_refused(crafty: &Crafty) {
    let statement = statement(&crafty.key);
    let good = Entry::sign(&statement, &crafty.key);
    let signed = statement.encode();
    let bad = crafty.sign(&pae(casegate::record::PAYLOAD_TYPE, &signed));
    let mut bytes = good.bytes.to_vec();
    let at = bytes.len() - bad.len();
    bytes[at..].copy_from_slice(&bad);
    let entry = Entry::parse(bytes.into()).expect("only the signature differs");
    assert!(entry.verify(crafty.public()).is_err(), "an entry");
    assert!(good.verify(crafty.public()).is_ok());
}

fn checkpoint() -> Checkpoint {
    Checkpoint {
        origin: origin("anhui.example/hefei/records/1"),
        size: TreeSize(9),
        root: casegate::ids::Digest([3; 32]),
    }
}

fn note_refused(crafty: &Crafty) {
    let checkpoint = checkpoint();
    let (body, name) = (checkpoint.body(), checkpoint.origin.to_string());
    let bad = crafty.sign(body.as_bytes());
    let line = signature_line(&name, note_key_id(&name, crafty.public()), &bad);
    let opened = Checkpoint::open(
        format!("{body}\n{line}").as_bytes(),
        &checkpoint.origin,
        &[crafty.public()],
    );
    assert!(
        matches!(opened, Err(CheckpointError::BadSignature { .. })),
        "a checkpoint"
    );
}

fn cosignature_refused(crafty: &Crafty) {
    let (body, time) = (checkpoint().body(), 1_800_000_000_u64);
    let good = cosign(&body, "witness", &crafty.key, 1_800_000_000);
    let mut bad = time.to_be_bytes().to_vec();
    bad.extend(crafty.sign(&cosigned_bytes(&body, time)));
    let id = casegate::checkpoint::cosignature_key_id("witness", crafty.public());
    let line = signature_line("witness", id, &bad);
    assert_ne!(good, line);
    let note = format!("{body}\n{line}");
    let note = SignedNote::parse(note.as_bytes()).expect("a note");
    let opened = open_cosignature(&note, "witness", crafty.public());
    assert!(opened.is_err(), "a cosignature");
}

fn roster_refused(crafty: &Crafty) {
    let roster = v1::Roster {
        version: 1,
        federation: "anhui.example".into(),
        ..Default::default()
    };
    let unsigned = v1::SignedRoster {
        roster: roster.encode_to_vec().into(),
        signatures: vec![],
    };
    let mut signed = sign(unsigned, &[&crafty.key]);
    let bad = crafty.sign(&roster::signed_bytes(&signed.roster));
    signed.signatures[0].signature = bad.to_vec().into();
    let raw = RawRoster::parse(&signed.encode_to_vec()).expect("a roster");
    let judged = raw.signed_by(&[crafty.public().clone().into()], 1, 1);
    assert!(
        matches!(judged, Err(RosterError::BadSignature { .. })),
        "a roster"
    );
}

/// A certificate of the key, as an officer with an Ed25519 key has one.
fn certificate(crafty: &Crafty) -> Vec<u8> {
    let mut pkcs8 = hex::decode("302e020100300506032b657004220420").expect("hex");
    pkcs8.extend_from_slice(crafty.key.seed().as_slice());
    let der = rustls::pki_types::PrivatePkcs8KeyDer::from(pkcs8);
    let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_ED25519);
    let params = rcgen::CertificateParams::new(vec!["officer".into()]).expect("a name");
    let issued = params.self_signed(&key.expect("a key"));
    issued.expect("a certificate").der().to_vec()
}

fn officer_refused(crafty: &Crafty) {
    let certificate = certificate(crafty);
    let request = v1::OfficerRequest {
        scheme: u32::from(u16::from(rustls::SignatureScheme::ED25519)),
        nonce: vec![1; officer::NONCE_BYTES].into(),
        ..Default::default()
    };
    let message = officer::signed_bytes(&request.encode_to_vec());
    let check = |signature: &[u8]| verify_officer(&certificate, &message, signature);
    assert!(check(&crafty.key.sign(&message)).is_ok());
    assert!(check(&crafty.sign(&message)).is_err(), "an officer");
}

#[test]
fn mixed_order_signatures_are_refused_wherever_one_is_verified() {
    for run in 0..RUNS {
        let crafty = Crafty::new(run);
        let message = run.to_be_bytes();
        let bad = crafty.sign(&message);
        assert!(crafty.public().verify(&message, &bad).is_err());
        entry_refused(&crafty);
        note_refused(&crafty);
        cosignature_refused(&crafty);
        roster_refused(&crafty);
        officer_refused(&crafty);
    }
}

/// R is the identity: the one small-order point with which the cofactorless
/// equation holds as well, so that only a look at the point refuses it.
#[test]
fn an_r_of_small_order_is_refused_although_the_equation_holds() {
    let mut crafty = Crafty::new(1);
    crafty.torsion = EIGHT_TORSION[0];
    let bad = crafty.sign(b"message");
    assert!(crafty.public().verify(b"message", &bad).is_err());
    entry_refused(&crafty);
    note_refused(&crafty);
    cosignature_refused(&crafty);
    roster_refused(&crafty);
    officer_refused(&crafty);
}

/// A y of p and above is a second spelling of a point: some tools take it, with
/// another hash, and some do not.
#[test]
fn no_second_spelling_of_a_point_is_a_key() {
    let mut spelled = 0;
    for (low, sign) in (0xed..=0xff_u8).flat_map(|low| [(low, 0), (low, 0x80)]) {
        let mut bytes = [0xff; 32];
        bytes[0] = low;
        bytes[31] = 0x7f | sign;
        let refused = PublicKey::from_slice(&bytes).expect_err("a second spelling");
        if CompressedEdwardsY(bytes)
            .decompress()
            .is_some_and(|p| !p.is_small_order())
        {
            assert_eq!(
                refused,
                casegate::keys::KeyError::NotCanonical,
                "{low:x} {sign}"
            );
            spelled += 1;
        }
    }
    assert!(spelled > 0, "there are some");
}
