//! Base32 and base64 addresses: Stellar, Algorand, NEM, Nano, TON.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blake2::digest::consts::U5;
use blake2::{Blake2b, Digest};
use sha2::Sha512_256;
use sha3::Keccak256;

use super::{Chain, Reading, Refusal};

const RFC4648: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const NANO: &[u8] = b"13456789abcdefghijkmnopqrstuwxyz";

pub(super) fn read(text: &str, _: Option<Chain>) -> Reading {
    if let Some(account) = text
        .strip_prefix("nano_")
        .or_else(|| text.strip_prefix("xrb_"))
    {
        return checked(nano(account), || format!("nano_{account}"));
    }
    if let Some(raw) = ton_raw(text) {
        return Reading::Address(raw);
    }
    let compact: String = text.chars().filter(|c| *c != '-').collect();
    match (text.len(), compact.len()) {
        (56, 56) | (69, 69) if text.starts_with(['G', 'M']) => {
            checked(stellar(text), || text.to_owned())
        }
        (58, 58) if decode(RFC4648, text).is_some() => checked(algorand(text), || text.to_owned()),
        (_, 40) if compact.starts_with(['N', 'T', 'M']) && decode(RFC4648, &compact).is_some() => {
            checked(nem(&compact), || compact.clone())
        }
        (48, _) => match ton_friendly(text) {
            Some(raw) => Reading::Address(raw),
            None => Reading::Other,
        },
        _ => Reading::Other,
    }
}

fn checked(good: bool, spelled: impl FnOnce() -> String) -> Reading {
    if good {
        Reading::Address(spelled())
    } else {
        Reading::Refused(Refusal::WalletChecksum)
    }
}

/// Unpacks five bits a character, dropping the bits that fill the last byte.
fn decode(alphabet: &[u8], text: &str) -> Option<Vec<u8>> {
    let (mut held, mut bits) = (0_u32, 0);
    let mut out = Vec::with_capacity(text.len() * 5 / 8);
    for b in text.bytes() {
        let value = alphabet.iter().position(|c| *c == b)?;
        held = (held << 5 | u32::try_from(value).ok()?) & 0xffff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    Some(out)
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0_u16;
    for byte in bytes {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                crc << 1 ^ 0x1021
            };
        }
    }
    crc
}

fn stellar(text: &str) -> bool {
    decode(RFC4648, text).is_some_and(|bytes| match bytes.split_last_chunk::<2>() {
        Some((body, check)) => crc16(body).to_le_bytes() == *check,
        None => false,
    })
}

fn algorand(text: &str) -> bool {
    decode(RFC4648, text).is_some_and(|bytes| match bytes.split_at_checked(32) {
        Some((key, check)) => Sha512_256::digest(key).ends_with(check),
        None => false,
    })
}

fn nem(text: &str) -> bool {
    decode(RFC4648, text).is_some_and(|bytes| match bytes.split_at_checked(21) {
        Some((body, check)) => Keccak256::digest(body).starts_with(check),
        None => false,
    })
}

/// Nano: four zero bits, 32 bytes, and five bytes of BLAKE2b in reverse.
fn nano(account: &str) -> bool {
    if account.len() != 60 || !account.starts_with(['1', '3']) {
        return false;
    }
    let (key, check) = account.split_at(52);
    let Some(check) = decode(NANO, check) else {
        return false;
    };
    // 52 characters are 260 bits; 4 more in front make whole bytes.
    let Some(padded) = decode(NANO, &format!("1111{key}")) else {
        return false;
    };
    let Some(bits) = padded.get(2..) else {
        return false;
    };
    // 20 + 260 bits: two zero bytes, one byte with the four zero bits, 32 bytes.
    let key = bits.get(1..).unwrap_or_default();
    let hash = Blake2b::<U5>::digest(key);
    key.len() == 32 && hash.iter().rev().eq(check.iter())
}

/// TON's raw form, `workchain:64 hexadecimal digits`.
fn ton_raw(text: &str) -> Option<String> {
    let (workchain, hex) = text.split_once(':')?;
    let shaped = matches!(workchain, "0" | "-1")
        && hex.len() == 64
        && hex.bytes().all(|b| b.is_ascii_hexdigit());
    shaped.then(|| format!("{workchain}:{}", hex.to_ascii_lowercase()))
}

/// TON's friendly form: tag, workchain, 32 bytes, CRC-16; as the raw form.
fn ton_friendly(text: &str) -> Option<String> {
    let url_safe = text.replace('+', "-").replace('/', "_");
    let bytes = URL_SAFE_NO_PAD.decode(url_safe).ok()?;
    let (body, check) = bytes.split_last_chunk::<2>()?;
    let [tag, workchain, hash @ ..] = body else {
        return None;
    };
    let workchain = match workchain {
        0 => "0",
        0xff => "-1",
        _ => return None,
    };
    let good = matches!(tag, 0x11 | 0x51 | 0x91 | 0xd1)
        && hash.len() == 32
        && crc16(body).to_be_bytes() == *check;
    good.then(|| format!("{workchain}:{}", hex::encode(hash)))
}
