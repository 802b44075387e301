//! Base58 addresses: version byte and double SHA-256 (Bitcoin and its kin,
//! TRON, NEO, Tezos), XRP's alphabet, SS58, Solana keys, Cardano's Byron era,
//! Waves, Monero's blocks.

use blake2::digest::consts::U32;
use blake2::{Blake2b, Blake2b512, Digest};
use sha2::Sha256;
use sha3::Keccak256;

use super::{Chain, Reading, Refusal, bech};

/// Version bytes of Litecoin script addresses: today's, and Bitcoin's before.
const LTC_SCRIPT: u8 = 0x32;
const BTC_KEY: u8 = 0x00;
const BTC_SCRIPT: u8 = 0x05;

pub(super) fn read(text: &str, chain: Option<Chain>) -> Reading {
    if text.len() > 130 {
        return Reading::Other;
    }
    if is_monero(text) {
        return Reading::Address(text.to_owned());
    }
    if text.starts_with('r') && ripple(text) {
        return Reading::Address(text.to_owned());
    }
    let Ok(bytes) = bs58::decode(text).into_vec() else {
        // The shape of a base58 address with a character that has none.
        let near = (26..=35).contains(&text.len()) && text.starts_with(['1', '3', 'T', 'r']);
        return if near {
            Reading::Refused(Refusal::WalletChecksum)
        } else {
            Reading::Other
        };
    };
    if let Some(payload) = checked(&bytes) {
        return Reading::Address(respelled(text, payload, chain));
    }
    if ss58(&bytes) || byron(&bytes) || waves(&bytes) || bytes.len() == 32 || decred(&bytes) {
        return Reading::Address(text.to_owned());
    }
    if (20..=80).contains(&bytes.len()) {
        Reading::Refused(Refusal::WalletChecksum)
    } else {
        Reading::Other
    }
}

/// The spelling of a chain that has two for the same hash.
fn respelled(text: &str, payload: &[u8], chain: Option<Chain>) -> String {
    match (chain, payload) {
        (Some(Chain::BitcoinCash), [BTC_KEY, hash @ ..]) if hash.len() == 20 => {
            bech::cashaddr(false, hash)
        }
        (Some(Chain::BitcoinCash), [BTC_SCRIPT, hash @ ..]) if hash.len() == 20 => {
            bech::cashaddr(true, hash)
        }
        (Some(Chain::Litecoin), [BTC_SCRIPT, hash @ ..]) if hash.len() == 20 => {
            let mut today = vec![LTC_SCRIPT];
            today.extend_from_slice(hash);
            with_check(&today)
        }
        _ => text.to_owned(),
    }
}

/// The payload when its last four bytes are its double SHA-256.
fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (payload, check) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    let plausible = (21..=76).contains(&payload.len());
    let hash = Sha256::digest(Sha256::digest(payload));
    (plausible && hash.starts_with(check)).then_some(payload)
}

/// Spells a payload as base58 with its check bytes.
pub(super) fn with_check(payload: &[u8]) -> String {
    bs58::encode(payload).with_check().into_string()
}

fn ripple(text: &str) -> bool {
    bs58::decode(text)
        .with_alphabet(bs58::Alphabet::RIPPLE)
        .into_vec()
        .is_ok_and(|bytes| checked(&bytes).is_some_and(|p| p.len() == 21))
}

/// SS58: a one- or two-byte network, 32 or 33 bytes, two bytes of BLAKE2b.
fn ss58(bytes: &[u8]) -> bool {
    let first = bytes.first().copied().unwrap_or(0xff);
    let network = match first {
        0..=63 => 1,
        64..=127 => 2,
        _ => return false,
    };
    let Some(key) = bytes.len().checked_sub(network + 2) else {
        return false;
    };
    let (body, check) = bytes.split_at(network + key);
    matches!(key, 32 | 33)
        && Blake2b512::new()
            .chain_update(b"SS58PRE")
            .chain_update(body)
            .finalize()
            .starts_with(check)
}

/// Waves: version 1, network, 20 bytes, four bytes of Keccak over BLAKE2b.
fn waves(bytes: &[u8]) -> bool {
    if bytes.len() != 26 || bytes.first() != Some(&1) {
        return false;
    }
    let (body, check) = bytes.split_at(22);
    Keccak256::digest(Blake2b::<U32>::digest(body)).starts_with(check)
}

/// Decred has BLAKE-256 checksums, which are not checked here.
fn decred(bytes: &[u8]) -> bool {
    bytes.len() == 26
        && matches!(
            bytes,
            [0x07, 0x1a | 0x3f, ..] | [0x0e | 0x0f, 0x21 | 0xfc | 0x91, ..]
        )
}

/// Cardano's Byron era: CBOR of tagged bytes and their CRC-32.
fn byron(bytes: &[u8]) -> bool {
    let [0x82, 0xd8, 0x18, rest @ ..] = bytes else {
        return false;
    };
    let (length, rest) = match rest {
        [head @ 0x40..=0x57, rest @ ..] => (usize::from(head - 0x40), rest),
        [0x58, length, rest @ ..] => (usize::from(*length), rest),
        _ => return false,
    };
    match rest.split_at_checked(length) {
        Some((payload, [0x1a, check @ ..])) => check == crc32(payload).to_be_bytes(),
        Some((payload, [0x19, check @ ..])) => {
            crc32(payload) <= 0xffff
                && crc32(payload).to_be_bytes().ends_with(check)
                && check.len() == 2
        }
        _ => false,
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            };
        }
    }
    !crc
}

/// CryptoNote: blocks of 8 bytes in 11 characters, four bytes of Keccak.
fn is_monero(text: &str) -> bool {
    if !(90..=110).contains(&text.len()) {
        return false;
    }
    let mut bytes = Vec::with_capacity(80);
    for block in text.as_bytes().chunks(11) {
        match cryptonote_block(block) {
            Some(part) => bytes.extend(part),
            None => return false,
        }
    }
    let Some((body, check)) = bytes
        .len()
        .checked_sub(4)
        .and_then(|at| bytes.split_at_checked(at))
    else {
        return false;
    };
    body.len() > 64 && Keccak256::digest(body).starts_with(check)
}

fn cryptonote_block(block: &[u8]) -> Option<Vec<u8>> {
    /// Characters that 0 to 8 bytes take.
    const WIDTHS: [usize; 9] = [0, 2, 3, 5, 6, 7, 9, 10, 11];
    const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let width = WIDTHS.iter().position(|w| *w == block.len())?;
    let mut number = 0_u128;
    for b in block {
        let digit = ALPHABET.iter().position(|c| c == b)?;
        number = number * 58 + u128::try_from(digit).ok()?;
    }
    (number >> (8 * width) == 0)
        .then(|| number.to_be_bytes().into_iter().skip(16 - width).collect())
}
