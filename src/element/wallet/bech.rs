//! Bech32 and bech32m (BIP 173, BIP 350) and CashAddr, all of one case.

use bech32::primitives::decode::{CheckedHrpstring, SegwitHrpstring, UncheckedHrpstring};
use bech32::{Bech32, Bech32m};

use super::{Chain, Reading, Refusal};

/// Networks whose addresses are segregated-witness programs.
pub(in crate::element) const SEGWIT: &[&str] = &[
    "bc", "tb", "bcrt", "ltc", "tltc", "dgb", "vtc", "btg", "grs", "via", "sys", "nmc", "ppc",
];

/// The least data of an address on another chain: twenty bytes.
const DATA_CHARS_MIN: usize = 32;

pub(super) fn read(text: &str, _: Option<Chain>) -> Reading {
    let Some(at) = text.rfind('1') else {
        return Reading::Other;
    };
    let (prefix, data) = text.split_at(at);
    let one_case = !(text.bytes().any(|b| b.is_ascii_uppercase())
        && text.bytes().any(|b| b.is_ascii_lowercase()));
    let prefix = prefix.to_ascii_lowercase();
    let segwit = SEGWIT.contains(&prefix.as_str());
    let known = |r: Reading| match r {
        // A text with a 1 in it may well be something else.
        Reading::Other if segwit && data.len() > DATA_CHARS_MIN => {
            Reading::Refused(Refusal::WalletChecksum)
        }
        other => other,
    };
    if prefix.is_empty() || !one_case || UncheckedHrpstring::new(text).is_err() {
        return known(Reading::Other);
    }
    let good = if segwit {
        SegwitHrpstring::new(text).is_ok()
    } else {
        data.len() > DATA_CHARS_MIN + 6
            && (CheckedHrpstring::new::<Bech32>(text).is_ok()
                || CheckedHrpstring::new::<Bech32m>(text).is_ok())
    };
    known(if good {
        Reading::Address(text.to_ascii_lowercase())
    } else {
        Reading::Other
    })
}

const CHARSET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Prefixes that CashAddr is used with; the first may be left out and is.
pub(in crate::element) const CASH_PREFIXES: &[&str] =
    &["bitcoincash", "ecash", "bchtest", "bchreg", "simpleledger"];

pub(super) fn read_cashaddr(text: &str, _: Option<Chain>) -> Reading {
    let one_case = !(text.bytes().any(|b| b.is_ascii_uppercase())
        && text.bytes().any(|b| b.is_ascii_lowercase()));
    let lower = text.to_ascii_lowercase();
    let (stated, payload) = match lower.split_once(':') {
        Some((prefix, payload)) if CASH_PREFIXES.contains(&prefix) => (Some(prefix), payload),
        Some(_) => return Reading::Other,
        None => (None, lower.as_str()),
    };
    let values: Option<Vec<u8>> = payload
        .bytes()
        .map(|b| {
            CHARSET
                .iter()
                .position(|c| *c == b)
                .and_then(|p| u8::try_from(p).ok())
        })
        .collect();
    let (Some(values), true, 42..=112) = (values, one_case, payload.len()) else {
        return if stated.is_some() {
            Reading::Refused(Refusal::WalletChecksum)
        } else {
            Reading::Other
        };
    };
    let good = |prefix: &&str| stated.is_none_or(|s| s == *prefix) && polymod(prefix, &values) == 0;
    match CASH_PREFIXES.iter().copied().find(|p| good(p)) {
        Some("bitcoincash") => Reading::Address(payload.to_owned()),
        Some(prefix) => Reading::Address(format!("{prefix}:{payload}")),
        None => Reading::Refused(Refusal::WalletChecksum),
    }
}

/// Spells a key or script hash of 20 bytes as CashAddr without its prefix.
pub(super) fn cashaddr(script: bool, hash: &[u8]) -> String {
    let mut bytes = vec![if script { 8 } else { 0 }];
    bytes.extend_from_slice(hash);
    let mut values = Vec::with_capacity(42);
    let (mut held, mut bits) = (0_u32, 0);
    for byte in bytes {
        held = (held << 8 | u32::from(byte)) & 0xfff;
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            values.push(five(u64::from(held) >> bits));
        }
    }
    if bits > 0 {
        values.push(five(u64::from(held) << (5 - bits)));
    }
    let mut checked = values.clone();
    checked.extend([0; 8]);
    let check = polymod("bitcoincash", &checked);
    values.extend((0..8).rev().map(|i| five(check >> (5 * i))));
    values
        .iter()
        .filter_map(|v| CHARSET.get(usize::from(*v)))
        .map(|b| char::from(*b))
        .collect()
}

fn five(value: u64) -> u8 {
    u8::try_from(value & 31).expect("five bits fit a byte")
}

/// The checksum of the CashAddr specification; 0 for a good address.
fn polymod(prefix: &str, values: &[u8]) -> u64 {
    const GENERATOR: [u64; 5] = [
        0x98_f2bc_8e61,
        0x79_b76d_99e2,
        0xf3_3e5f_b3c4,
        0xae_2eab_e2a8,
        0x1e_4f43_e470,
    ];
    let head = prefix.bytes().map(|b| b & 31).chain([0]);
    let mut c = 1_u64;
    for d in head.chain(values.iter().copied()) {
        let top = c >> 35;
        c = ((c & 0x07_ffff_ffff) << 5) ^ u64::from(d);
        for (i, g) in GENERATOR.iter().enumerate() {
            if top >> i & 1 == 1 {
                c ^= g;
            }
        }
    }
    c ^ 1
}
