//! Addresses of cryptocurrencies. Every family that carries a checksum is
//! checked; the chain in the qualifier matters only where an address does not
//! tell by itself. Equal keys on other chains are other values.

mod base32;
mod base58;
pub(super) mod bech;
mod hexadecimal;

use super::{Canonical, Refusal, Warning};

/// What one family of addresses says about a text.
enum Reading {
    /// An address of the family, with its canonical spelling.
    Address(String),
    /// It has the family's shape, but not its checksum.
    Refused(Refusal),
    /// Not of this family.
    Other,
}

/// Chains whose addresses are 20 bytes in hexadecimal.
pub(super) const EVM_CHAINS: &[&str] = &[
    "eth",
    "ethereum",
    "erc20",
    "以太坊",
    "bsc",
    "bnb",
    "bep20",
    "polygon",
    "matic",
    "arbitrum",
    "arb",
    "optimism",
    "op",
    "avalanche",
    "avax",
    "base",
    "fantom",
    "ftm",
    "evm",
    "etc",
    "heco",
    "okc",
    "celo",
];

/// The chain that a qualifier names, as far as it changes a reading.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chain {
    Evm,
    BitcoinCash,
    Litecoin,
    Tron,
    /// A chain whose addresses are all checked here, or a token on such chains.
    Checked,
    Unknown,
}

/// Names of [`Chain::BitcoinCash`].
pub(super) const BITCOIN_CASH: &[&str] = &[
    "bch",
    "bitcoin-cash",
    "bitcoin cash",
    "bitcoincash",
    "比特币现金",
];

/// Names of [`Chain::Litecoin`].
pub(super) const LITECOIN: &[&str] = &["ltc", "litecoin", "莱特币"];

/// Names of [`Chain::Tron`].
pub(super) const TRON: &[&str] = &["trx", "tron", "trc20", "波场"];

/// Names of [`Chain::Checked`].
pub(super) const CHECKED_CHAINS: &[&str] = &[
    "btc",
    "bitcoin",
    "比特币",
    "usdt",
    "usdc",
    "泰达币",
    "doge",
    "dogecoin",
    "dash",
    "zec",
    "zcash",
    "xrp",
    "ripple",
    "sol",
    "solana",
    "xmr",
    "monero",
    "ada",
    "cardano",
    "dot",
    "polkadot",
    "ksm",
    "kusama",
    "xlm",
    "stellar",
    "algo",
    "xtz",
    "tezos",
    "neo",
    "waves",
    "xem",
    "nano",
    "atom",
    "cosmos",
];

fn chain_of(text: &str) -> Result<Chain, Refusal> {
    let name = text.trim().to_lowercase();
    let fits = |c: char| c.is_alphanumeric() || " .-_()/".contains(c);
    if !(1..=40).contains(&name.chars().count()) || !name.chars().all(fits) {
        return Err(Refusal::ChainShape);
    }
    Ok(match name.as_str() {
        n if EVM_CHAINS.contains(&n) => Chain::Evm,
        n if BITCOIN_CASH.contains(&n) => Chain::BitcoinCash,
        n if LITECOIN.contains(&n) => Chain::Litecoin,
        n if TRON.contains(&n) => Chain::Tron,
        n if CHECKED_CHAINS.contains(&n) => Chain::Checked,
        _ => Chain::Unknown,
    })
}

/// A wallet address in its chain's usual spelling.
pub(super) fn wallet(text: &str, qualifier: Option<&str>) -> Result<Canonical, Refusal> {
    let chain = qualifier.map(chain_of).transpose()?;
    let fits = |b: u8| {
        b.is_ascii_alphanumeric() || matches!(b, b':' | b'_' | b'-' | b'.' | b'+' | b'/' | b'=')
    };
    if !text.bytes().all(fits) || text.len() > 512 {
        return Err(Refusal::WalletUnknown);
    }
    let families = [
        hexadecimal::read as fn(&str, Option<Chain>) -> Reading,
        bech::read_cashaddr,
        bech::read,
        base58::read,
        base32::read,
    ];
    let mut refused = None;
    for read in families {
        match read(text, chain) {
            Reading::Address(address) => return Ok(Canonical::plain(address)),
            Reading::Refused(why) => refused = refused.or(Some(why)),
            Reading::Other => {}
        }
    }
    // A chain that is not known here may have any form; the others have not.
    let plausible = (5..=128).contains(&text.len()) && text.bytes().any(|b| b.is_ascii_digit());
    match refused {
        Some(Refusal::WalletEip55) => Err(Refusal::WalletEip55),
        _ if plausible && chain == Some(Chain::Unknown) => {
            Ok(Canonical::plain(text.to_owned()).warn(Warning::WalletUnchecked))
        }
        why => Err(why.unwrap_or(Refusal::WalletUnknown)),
    }
}
