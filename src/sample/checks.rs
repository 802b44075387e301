//! Check digits and address encodings, computed from their definitions so that
//! synthetic values pass for what they imitate.

use sha3::{Digest, Keccak256};

/// The Luhn digit of `digits` (ISO/IEC 7812-1, annex B).
pub(super) fn luhn(digits: &str) -> char {
    let sum: u32 = digits
        .chars()
        .rev()
        .filter_map(|c| c.to_digit(10))
        .enumerate()
        .map(|(at, digit)| match (at % 2, digit) {
            (0, d) if d > 4 => d * 2 - 9,
            (0, d) => d * 2,
            (_, d) => d,
        })
        .sum();
    char::from_digit((10 - sum % 10) % 10, 10).expect("a digit")
}

/// The check character of the first 17 digits of a resident ID (GB 11643, ISO 7064 MOD 11-2).
pub(super) fn resident(first17: &str) -> char {
    let sum = first17
        .chars()
        .filter_map(|c| c.to_digit(10))
        .fold(0, |sum, digit| (sum + digit) * 2 % 11);
    match (12 - sum) % 11 {
        10 => 'X',
        check => char::from_digit(check, 10).expect("below ten"),
    }
}

/// An EVM address with the upper and lower case of EIP-55.
pub(super) fn eip55(address: &[u8; 20]) -> String {
    let lower = hex::encode(address);
    let hash = hex::encode(Keccak256::digest(lower.as_bytes()));
    let mixed: String = lower
        .chars()
        .zip(hash.chars())
        .map(|(c, nibble)| {
            if nibble >= '8' {
                c.to_ascii_uppercase()
            } else {
                c
            }
        })
        .collect();
    format!("0x{mixed}")
}

/// A version byte and a hash in Base58Check.
pub(super) fn base58check(version: u8, hash: &[u8; 20]) -> String {
    bs58::encode(versioned(version, hash))
        .with_check()
        .into_string()
}

/// The same bytes in hexadecimal, as TRON also writes its addresses.
pub(super) fn versioned_hex(version: u8, hash: &[u8; 20]) -> String {
    hex::encode(versioned(version, hash))
}

fn versioned(version: u8, hash: &[u8; 20]) -> Vec<u8> {
    let mut bytes = vec![version];
    bytes.extend_from_slice(hash);
    bytes
}

/// A native segwit address of Bitcoin's main net (BIP 173).
pub(super) fn segwit(hash: &[u8; 20]) -> String {
    bech32::segwit::encode_v0(bech32::hrp::BC, hash)
        .expect("a 20-byte program is a witness program")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits_equal_published_examples() {
        assert_eq!(luhn("7992739871"), '3');
        // The examples of GB 11643-1999.
        assert_eq!(resident("11010519491231002"), 'X');
        assert_eq!(resident("44052418800101001"), '4');
    }

    #[test]
    fn addresses_equal_published_examples() {
        let bytes = hex::decode("5aaeb6053f3e94c9b9a09f33669435e7ef1beaed").expect("hex");
        let address: [u8; 20] = bytes.try_into().expect("20 bytes");
        assert_eq!(
            eip55(&address),
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
        );
        let bytes = hex::decode("751e76e8199196d454941c45d1b3a323f1433bd6").expect("hex");
        let hash: [u8; 20] = bytes.try_into().expect("20 bytes");
        assert_eq!(segwit(&hash), "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4");
        assert_eq!(base58check(0, &hash), "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH");
    }
}
