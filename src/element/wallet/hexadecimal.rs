//! Addresses in hexadecimal: EVM (EIP-55), TRON's hexadecimal form, accounts of
//! 32 bytes (Aptos, Sui, NEAR), Sia, and Hedera's dotted numbers.

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};
use sha3::Keccak256;

use super::{Chain, Reading, Refusal, base58};

pub(super) fn read(text: &str, chain: Option<Chain>) -> Reading {
    if is_dotted(text) {
        return Reading::Address(text.to_owned());
    }
    let (prefixed, hex) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return if prefixed {
            Reading::Refused(Refusal::WalletUnknown)
        } else {
            Reading::Other
        };
    }
    match hex.len() {
        40 if prefixed || chain == Some(Chain::Evm) => evm(hex),
        42 if hex.starts_with("41") && (!prefixed || chain == Some(Chain::Tron)) => tron(hex),
        64 => Reading::Address(text.to_ascii_lowercase()),
        // Some accounts are written without their leading zeros.
        61..=63 if prefixed => Reading::Address(text.to_ascii_lowercase()),
        76 if !prefixed => sia(hex),
        _ if prefixed => Reading::Refused(Refusal::WalletUnknown),
        _ => Reading::Other,
    }
}

/// Twenty bytes: one case, or the mixed case of EIP-55.
fn evm(hex: &str) -> Reading {
    let lower = hex.to_ascii_lowercase();
    let one_case = hex == lower || hex == hex.to_ascii_uppercase();
    if one_case || hex == eip55(&lower) {
        Reading::Address(format!("0x{lower}"))
    } else {
        Reading::Refused(Refusal::WalletEip55)
    }
}

fn eip55(lower: &str) -> String {
    let hash = Keccak256::digest(lower.as_bytes());
    lower
        .chars()
        .enumerate()
        .map(|(i, c)| {
            let byte = hash.get(i / 2).copied().unwrap_or(0);
            let nibble = if i % 2 == 0 { byte >> 4 } else { byte & 15 };
            if nibble >= 8 {
                c.to_ascii_uppercase()
            } else {
                c
            }
        })
        .collect()
}

fn tron(hex: &str) -> Reading {
    match hex::decode(hex) {
        Ok(bytes) => Reading::Address(base58::with_check(&bytes)),
        Err(_) => Reading::Other,
    }
}

/// Sia: 32 bytes and 6 bytes of their BLAKE2b-256.
fn sia(hex: &str) -> Reading {
    let Ok(bytes) = hex::decode(hex) else {
        return Reading::Other;
    };
    let (body, check) = bytes.split_at(32);
    if Blake2b::<U32>::digest(body).starts_with(check) {
        Reading::Address(hex.to_ascii_lowercase())
    } else {
        Reading::Refused(Refusal::WalletChecksum)
    }
}

/// `shard.realm.number`, each without leading zeros.
fn is_dotted(text: &str) -> bool {
    let mut count = 0;
    let all = text.split('.').all(|part| {
        count += 1;
        part.parse::<u64>().is_ok_and(|n| n.to_string() == part)
    });
    all && count == 3
}
