//! Cryptocurrency addresses.

use casegate::element::{Kind, Refusal, Warning};

use super::{all_are, read, refused, with};

#[test]
fn a_wallet_has_its_chains_spelling() {
    let evm = "0x52908400098527886e0f7030069857d2e4169ee7";
    all_are(
        Kind::Wallet,
        evm,
        &[
            "0x52908400098527886E0F7030069857D2E4169EE7",
            "0X52908400098527886e0f7030069857d2e4169ee7",
        ],
    );
    assert_eq!(with(Kind::Wallet, &evm[2..], "ETH"), evm);
    refused(
        Kind::Wallet,
        Refusal::WalletEip55,
        &["0x5aAeb6053f3E94C9b9A09f33669435E7Ef1BeAed"],
    );
    refused(
        Kind::Wallet,
        Refusal::WalletUnknown,
        &[&evm[..41], "0xzz", "hello", "张三"],
    );
    all_are(
        Kind::Wallet,
        "TNPeeaaFB7K9cmo4uQpcU32zGK8G1NYqeL",
        &["418840E6C55B9ADA326D211D818C34A994AECED808"],
    );
    all_are(
        Kind::Wallet,
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        &["BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4"],
    );
    let wrong = [
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5",
        "1BvBMsEYstWetqTFn5Au4m4GFg7xJaNVN2",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8F3t4",
        // A zero and a capital I, which base58 does not have.
        "1BvBMsEYstWetqTFn5Au4m4GFg7xJaNVN0",
        "TNPeeaaFB7K9cmo4uQpcU32zGK8G1NYqeI",
    ];
    refused(Kind::Wallet, Refusal::WalletChecksum, &wrong);
}

#[test]
fn bitcoin_cash_has_no_prefix_and_its_old_form_folds_only_when_named() {
    let (legacy, cash) = (
        "1BpEi6DfDAUFd7GtittLSdBeYJvcoaVggu",
        "qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a",
    );
    all_are(
        Kind::Wallet,
        cash,
        &[
            &format!("bitcoincash:{cash}"),
            &format!("BITCOINCASH:{}", cash.to_uppercase()),
        ],
    );
    assert_eq!(with(Kind::Wallet, legacy, "BCH"), cash);
    assert_eq!(
        with(Kind::Wallet, "3CWFddi6m4ndiGyKqzYvsFYagqDLPVMTzC", "bch"),
        "ppm2qsznhks23z7629mms6s4cwef74vcwvn0h829pq"
    );
    all_are(Kind::Wallet, legacy, &[]);
    refused(
        Kind::Wallet,
        Refusal::WalletChecksum,
        &[
            "bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6q",
            "bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6b",
            "bitcoincash:qpm2qsznhks23z7629mms6s4cwef7",
            "bitcoincash:Qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a",
        ],
    );
}

#[test]
fn litecoin_scripts_and_ton_accounts_have_one_spelling() {
    assert_eq!(
        with(Kind::Wallet, "3CDJNfdWX8m2NwuGUV3nhXHXEeLygMXoAj", "LTC"),
        "MJRSgZ3UUFcTBTBAaN38XAXvZLwRe8WVw7"
    );
    assert_eq!(
        with(Kind::Wallet, "MJRSgZ3UUFcTBTBAaN38XAXvZLwRe8WVw7", "LTC"),
        "MJRSgZ3UUFcTBTBAaN38XAXvZLwRe8WVw7"
    );
    let raw = "0:83dfd552e63729b472fcbcc8c45ebcc6691702558b68ec7527e1ba403a0f31a8";
    all_are(
        Kind::Wallet,
        raw,
        &["EQCD39VS5jcptHL8vMjEXrzGaRcCVYto7HUn4bpAOg8xqB2N"],
    );
    // An account of 32 bytes may come without its leading zeros.
    let account = format!("0x{}", "a1".repeat(31));
    all_are(Kind::Wallet, &account, &[&account.to_uppercase()]);
    refused(Kind::Wallet, Refusal::WalletUnknown, &[&account[..62]]);
    let nano = "nano_1111111111111111111111111111111111111111111111111111hifc8npp";
    all_are(Kind::Wallet, nano, &[&nano.replace("nano_", "xrb_")]);
}

#[test]
fn a_chain_that_is_not_known_takes_the_address_as_it_stands() {
    let odd = read(Kind::Wallet, "somebody12345", Some("eos")).expect("taken");
    assert_eq!(
        (odd.value.as_str(), odd.warnings),
        ("somebody12345", vec![Warning::WalletUnchecked])
    );
    let mistyped = "1BvBMsEYstWetqTFn5Au4m4GFg7xJaNVN2";
    assert_eq!(
        read(Kind::Wallet, mistyped, Some("grs"))
            .map(|c| c.value)
            .as_deref(),
        Ok(mistyped)
    );
    assert_eq!(
        read(Kind::Wallet, mistyped, Some("BTC")).err(),
        Some(Refusal::WalletChecksum)
    );
    assert_eq!(
        read(Kind::Wallet, "somebody12345", Some("eth")).err(),
        Some(Refusal::WalletUnknown)
    );
    assert_eq!(
        read(Kind::Wallet, "somebody12345", Some("!!")).err(),
        Some(Refusal::ChainShape)
    );
}

#[test]
fn a_changed_character_is_refused_in_every_family_with_a_checksum() {
    for good in [
        "rHb9CJAWyB4rj91VRWn96DkukG4bwdtyTh",
        "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY",
        "888tNkZrPN6JsEgekjMnABU4TBzc2Dt29EPAvkRxbANsAnjyPbb3iQ1YBRk1UXcdRsiKc9dhwMVgN5S9cQUiyoogDavup3H",
        "GA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVSGZ",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAY5HFKQ",
        "1BoatSLRHtKNngkdXEeobR76b53LETtpyT",
        "TNPeeaaFB7K9cmo4uQpcU32zGK8G1NYqeL",
    ] {
        all_are(Kind::Wallet, good, &[]);
        let at = good.len() / 2;
        let other = if good.as_bytes()[at] == b'B' {
            "C"
        } else {
            "B"
        };
        let changed = format!("{}{other}{}", &good[..at], &good[at + 1..]);
        assert!(read(Kind::Wallet, &changed, None).is_err(), "{changed}");
        assert!(
            read(Kind::Wallet, &good[..good.len() - 1], None).is_err(),
            "{good}"
        );
    }
}
