//! Canonical values: one test a row of PROTOCOL.md's table of equalities, what
//! is not equal, what is refused, and that a second pass changes nothing.

use std::path::PathBuf;

use casegate::element::{Canonical, Kind, Refusal, Role, Rules, TokenClass, Warning, canonicalize, token_input};
use proptest::prelude::*;

fn read(kind: Kind, raw: &str, qualifier: Option<&str>) -> Result<Canonical, Refusal> {
    canonicalize(kind, raw, qualifier, &Rules::default())
}

fn value(kind: Kind, raw: &str) -> String {
    read(kind, raw, None).unwrap_or_else(|why| panic!("{kind} {raw:?}: {why}")).value
}

fn with(kind: Kind, raw: &str, qualifier: &str) -> String {
    read(kind, raw, Some(qualifier)).unwrap_or_else(|why| panic!("{kind} {raw:?}: {why}")).value
}

/// All of `same` have the value `want`, and reading that again changes nothing.
fn all_are(kind: Kind, want: &str, same: &[&str]) {
    for raw in same.iter().chain([&want]) {
        assert_eq!(value(kind, raw), want, "{kind} {raw:?}");
    }
}

fn distinct(kind: Kind, raws: &[&str]) {
    let mut values: Vec<String> = raws.iter().map(|raw| value(kind, raw)).collect();
    values.sort();
    values.dedup();
    assert_eq!(values.len(), raws.len(), "{kind} {raws:?} -> {values:?}");
}

fn refused(kind: Kind, why: Refusal, raws: &[&str]) {
    for raw in raws {
        assert_eq!(read(kind, raw, None).err(), Some(why), "{kind} {raw:?}");
    }
}

#[test]
fn text_that_looks_the_same_is_the_same() {
    all_are(Kind::Qq, "123456", &[" 123456 ", "\u{feff}123456", "１２３４５６", "123\u{200b}456", "\u{3000}123456"]);
    refused(Kind::Qq, Refusal::Empty, &["", "  ", "\u{200b}"]);
    refused(Kind::Qq, Refusal::Masked, &["123**6"]);
    refused(Kind::Wechat, Refusal::Control, &["abc\ndef"]);
    refused(Kind::Wechat, Refusal::TooLong, &[&"a".repeat(3000)]);
}

#[test]
fn a_phone_is_its_e164_form() {
    let same = ["13800138000", "138-0013-8000", "138 0013 8000", "+86 138 0013 8000", "0086 13800138000", "tel:+8613800138000", "（+86）13800138000"];
    all_are(Kind::Phone, "+8613800138000", &same);
    all_are(Kind::Phone, "+861062345678", &["010-62345678", "(010)62345678", "+86 10 6234 5678"]);
    all_are(Kind::Phone, "+861062345678;ext=801", &["010-62345678转801", "010-62345678 ext. 801", "01062345678x801"]);
    all_are(Kind::Phone, "+12025550173", &["+1 (202) 555-0173", "001 202 555 0173"]);
    distinct(Kind::Phone, &["13800138000", "13800138001", "+1 3800138000", "010-62345678", "01062345678x801", "01062345678x802"]);
    let us = Rules::new("US").expect("a region");
    let there = canonicalize(Kind::Phone, "(202) 555-0173", None, &us).expect("a number");
    assert_eq!(there.value, "+12025550173");
    assert_eq!(Rules::new("XX").err(), Some(Refusal::RegionUnknown));
}

#[test]
fn a_chinese_service_number_has_a_form_of_its_own() {
    for (number, same) in [
        ("95588", &["+86 95588", "0086-95588", "cn:95588"][..]),
        ("110", &[]),
        ("10086", &["+8610086"]),
        ("12345", &[]),
        ("96110", &["+8696110"]),
        ("4001234567", &["400-123-4567", "+86 400 123 4567"]),
        ("106575123456789012", &["1065 7512 3456 789012"]),
    ] {
        let want = format!("cn:{number}");
        all_are(Kind::Phone, &want, &[number]);
        all_are(Kind::Phone, &want, same);
    }
    distinct(Kind::Phone, &["1061234567", "+86 1061234567", "95588", "955880"]);
    assert!(canonicalize(Kind::Phone, "95588", None, &Rules::new("US").expect("a region")).is_err());
}

#[test]
fn an_impossible_phone_is_refused() {
    refused(Kind::Phone, Refusal::PhoneImpossible, &["138001380", "+8613800138000123", "cn:13800138000", "12"]);
    refused(Kind::Phone, Refusal::PhoneCharacters, &["call 13800138000", "13800138000 or 13800138001", "1-800-FLOWERS", "95588x1"]);
    refused(Kind::Phone, Refusal::PhoneNoArea, &["62345678"]);
}

#[test]
fn a_card_is_its_digits() {
    all_are(Kind::BankCard, "4111111111111111", &["4111 1111 1111 1111", "4111-1111-1111-1111"]);
    refused(Kind::BankCard, Refusal::CardLuhn, &["4111111111111112", "0000000000000000"]);
    refused(Kind::BankCard, Refusal::CardLength, &["41111111111", "41111111111111111111"]);
    refused(Kind::BankCard, Refusal::CardCharacters, &["4111x11111111111"]);
}

#[test]
fn an_account_is_its_letters_and_digits() {
    all_are(Kind::BankAccount, "AB0123456", &["ab 0123 456", "AB-0123-456"]);
    distinct(Kind::BankAccount, &["0123456", "123456"]);
    refused(Kind::BankAccount, Refusal::AccountShape, &["12", "工商银行123456", "abcdef"]);
}

#[test]
fn an_iban_is_its_electronic_form() {
    all_are(Kind::Iban, "GB82WEST12345698765432", &["GB82 WEST 1234 5698 7654 32", "gb82west12345698765432"]);
    refused(Kind::Iban, Refusal::IbanChecksum, &["GB81WEST12345698765432"]);
    refused(Kind::Iban, Refusal::IbanShape, &["1234567890", "GB82WEST1234569876543!"]);
}

#[test]
fn a_resident_id_has_18_characters_and_a_capital_x() {
    all_are(Kind::ResidentId, "11010519491231002X", &["11010519491231002x", "110105 19491231 002X"]);
    let old = read(Kind::ResidentId, "110105491231002", None).expect("15 digits");
    assert_eq!((old.value.as_str(), old.warnings), ("11010519491231002X", vec![Warning::OldResidentId]));
    refused(Kind::ResidentId, Refusal::ResidentCheck, &["110105194912310021"]);
    refused(Kind::ResidentId, Refusal::ResidentShape, &["1101051949123100", "A1010519491231002X"]);
    refused(Kind::ResidentId, Refusal::ResidentProvince, &["990105491231002", "160105491231002"]);
    refused(Kind::ResidentId, Refusal::ResidentDate, &["110105491331002", "110105490230002"]);
    let county = read(Kind::ResidentId, "110100491231002", None).expect("accepted");
    assert!(county.warnings.contains(&Warning::CountyUnknown));
}

#[test]
fn a_passport_carries_its_country() {
    assert_eq!(with(Kind::Passport, "e1234 5678", "chn"), "CN:E12345678");
    assert_eq!(with(Kind::Passport, "E12345678", "中国"), "CN:E12345678");
    all_are(Kind::Passport, "CN:E12345678", &["cn:e12345678"]);
    distinct(Kind::Passport, &["E12345678", "CN:E12345678", "US:E12345678"]);
    refused(Kind::Passport, Refusal::PassportShape, &["E12", "PASSPORT", "E1234567890123456"]);
    assert_eq!(read(Kind::Passport, "E12345678", Some("C1")).err(), Some(Refusal::CountryShape));
}

#[test]
fn a_person_is_linkable_only_with_a_birth_date() {
    let bare = read(Kind::Person, "张三", None).expect("a name");
    assert!(!bare.linkable);
    assert_eq!(bare.warnings, [Warning::NotLinkable]);
    for (name, birth) in [("张三", "1990-01-02"), ("張 三", "19900102"), ("　张　三", "1990-01-02")] {
        let person = read(Kind::Person, name, Some(birth)).expect("a person");
        assert_eq!((person.value.as_str(), person.linkable), ("张三|1990-01-02", true));
    }
    assert_eq!(with(Kind::Person, "JOHN  Smith", "19900102"), "john smith|1990-01-02");
    assert_eq!(with(Kind::Person, "阿卜杜拉•买买提", "19900102"), "阿卜杜拉·买买提|1990-01-02");
    assert_ne!(with(Kind::Person, "张三", "1990-01-03"), with(Kind::Person, "张三", "1990-01-02"));
    assert_ne!(with(Kind::Person, "张珊", "1990-01-02"), with(Kind::Person, "张三", "1990-01-02"));
    refused(Kind::Person, Refusal::PersonShape, &["张三1", "(unknown)", "-"]);
    for birth in ["1990-02-30", "90-01-02", "1990/01/02", "199001021"] {
        assert_eq!(read(Kind::Person, "张三", Some(birth)).err(), Some(Refusal::BirthDate), "{birth}");
    }
}

#[test]
fn an_organization_code_is_upper_case() {
    all_are(Kind::OrgId, "91350100M000100Y43", &["91350100m000100y43", "91350100-M000100Y4-3"]);
    all_are(Kind::OrgId, "M000100Y4", &["M000100Y-4"]);
    refused(Kind::OrgId, Refusal::OrgCheck, &["91350100M000100Y44", "M000100Y5"]);
    refused(Kind::OrgId, Refusal::OrgShape, &["91350100I000100Y43", "9135"]);
}

#[test]
fn platform_accounts_are_lower_case_under_one_platform_name() {
    all_are(Kind::Wechat, "wxid_abc123", &["WXID_abc123"]);
    refused(Kind::Wechat, Refusal::WechatShape, &["小明", "a b"]);
    all_are(Kind::Qq, "10001", &["1 0001", "100-01"]);
    refused(Kind::Qq, Refusal::QqShape, &["01234", "1234", "1234567890123", "a1234"]);
    all_are(Kind::Telegram, "some_name", &["@Some_Name", "https://t.me/some_name", "t.me/Some_name/", "telegram.me/some_name"]);
    all_are(Kind::Telegram, "+AbCdEfGh123", &["https://t.me/+AbCdEfGh123", "t.me/joinchat/AbCdEfGh123"]);
    all_are(Kind::Telegram, "+8613800138000", &["+86 138 0013 8000"]);
    distinct(Kind::Telegram, &["+AbCdEfGh123", "+abcdefgh123", "some_name", "123456789", "-100123456789"]);
    refused(Kind::Telegram, Refusal::TelegramShape, &["@ab", "张三", "1abc"]);
    all_are(Kind::Alipay, "+8613800138000", &["138 0013 8000"]);
    all_are(Kind::Alipay, "a@example.com", &["A@Example.COM"]);
    refused(Kind::Alipay, Refusal::AlipayShape, &["2089123412341234", "nobody", "95588"]);
    for platform in ["weibo", "微博", "WEIBO", " 新浪微博 "] {
        assert_eq!(with(Kind::Social, "@Someone", platform), "weibo:someone");
    }
    assert_eq!(value(Kind::Social, "weibo:someone"), "weibo:someone");
    assert_ne!(with(Kind::Social, "someone", "douyin"), with(Kind::Social, "someone", "weibo"));
    refused(Kind::Social, Refusal::SocialShape, &["a b", "@", "--"]);
    assert_eq!(with(Kind::App, "com.Example.App", "安卓"), "android:com.example.app");
    all_are(Kind::App, "some app", &["Some  App"]);
    distinct(Kind::App, &["some app", "someapp", "ios:some app"]);
}

#[test]
fn internet_names_are_punycode_in_lower_case() {
    all_are(Kind::Domain, "example.com", &["EXAMPLE.com", "example.com.", "example[.]com", "ｅxample。com"]);
    all_are(Kind::Domain, "xn--fsqu00a.xn--0zwm56d", &["例子.测试"]);
    distinct(Kind::Domain, &["example.com", "www.example.com", "example.org"]);
    refused(Kind::Domain, Refusal::DomainShape, &["http://example.com", "example.com/a", "example.com:80"]);
    refused(Kind::Domain, Refusal::DomainBare, &["example", "1.2.3", "256.1.1.1", "example."]);
    refused(Kind::Domain, Refusal::DomainLabel, &["a..com", "-a.com", "a-.com", "exa mple!.com".replace(' ', "").as_str()]);
    assert_eq!(read(Kind::Domain, "1.2.3.4", None).expect("taken").warnings, [Warning::DomainIsAddress]);
    all_are(Kind::Email, "some.one+x@example.com", &["Some.One+x@EXAMPLE.com", "mailto:some.one+x@example.com"]);
    distinct(Kind::Email, &["some.one@gmail.com", "someone@gmail.com", "someone+x@gmail.com"]);
    refused(Kind::Email, Refusal::EmailShape, &["a", "@example.com", "a b@example.com"]);
    let same = ["HTTP://Example.com:80/a#top", "http://example.com/a", "hxxp://example[.]com/a", "example.com/a", "http://example.com./a"];
    all_are(Kind::Url, "http://example.com/a", &same);
    all_are(Kind::Url, "https://xn--fsqu00a.com/", &["https://例子.com:443"]);
    distinct(Kind::Url, &["http://a.com/", "https://a.com/", "http://www.a.com/", "http://a.com/A", "http://a.com/a", "http://a.com/?q=1", "http://a.com:8080/"]);
    refused(Kind::Url, Refusal::UrlHost, &["http://-a.com/", "http://localhost/"]);
    refused(Kind::Url, Refusal::UrlShape, &["http://", "http://a b/"]);
}

#[test]
fn addresses_of_machines_have_one_spelling() {
    all_are(Kind::Ip, "192.0.2.1", &["::ffff:192.0.2.1", "::FFFF:c000:201", "192.0.2[.]1"]);
    all_are(Kind::Ip, "2001:db8::1", &["2001:0DB8:0:0:0:0:0:1", "[2001:db8::1]"]);
    all_are(Kind::Ip, "fe80::1", &["fe80::1%eth0"]);
    assert_eq!(read(Kind::Ip, "10.0.0.1", None).expect("an address").warnings, [Warning::IpNotGlobal]);
    refused(Kind::Ip, Refusal::IpShape, &["1.2.3", "1.2.3.4:80", "10.0.0.0/8", "01.2.3.4", "256.1.1.1", "1.2.3.4%eth0"]);
    all_are(Kind::Mac, "00:1a:2b:3c:4d:5e", &["00-1A-2B-3C-4D-5E", "001A.2B3C.4D5E", "001a2b3c4d5e"]);
    refused(Kind::Mac, Refusal::MacShape, &["00:1A:2B:3C:4D", "10:2F:33-AC-29-C3", "zz:1a:2b:3c:4d:5e"]);
    refused(Kind::Mac, Refusal::MacNobody, &["00:00:00:00:00:00", "ff-ff-ff-ff-ff-ff"]);
    all_are(Kind::Imei, "490154203237518", &["49-015420-323751-8", "49015420323751", "4901542032375101", "490154203237510"]);
    refused(Kind::Imei, Refusal::ImeiLuhn, &["490154203237517"]);
    refused(Kind::Imei, Refusal::ImeiShape, &["4901542", "00000000000000", "49015420323751888"]);
    all_are(Kind::Imsi, "460001234567890", &["460 00 1234567890"]);
    refused(Kind::Imsi, Refusal::ImsiShape, &["46000", "160001234567890"]);
    all_are(Kind::Plate, "皖A12345", &["皖a·12345", "皖 A 12345", "皖A-12345"]);
    all_are(Kind::Plate, "苏A12345", &["蘇A12345"]);
    assert_eq!(with(Kind::Plate, "皖A12345", "小型汽车"), "皖A12345");
    assert_eq!(with(Kind::Plate, "皖A12345", "普通摩托车"), "皖A12345#motorcycle");
    all_are(Kind::Plate, "皖A12345#motorcycle", &[]);
    refused(Kind::Plate, Refusal::PlateShape, &["皖", "你好123", "ABCDEFGHIJK1"]);
}

#[test]
fn a_wallet_has_its_chains_spelling() {
    let evm = "0x52908400098527886e0f7030069857d2e4169ee7";
    all_are(Kind::Wallet, evm, &["0x52908400098527886E0F7030069857D2E4169EE7", "0X52908400098527886e0f7030069857d2e4169ee7"]);
    assert_eq!(with(Kind::Wallet, &evm[2..], "ETH"), evm);
    refused(Kind::Wallet, Refusal::WalletEip55, &["0x5aAeb6053f3E94C9b9A09f33669435E7Ef1BeAed"]);
    refused(Kind::Wallet, Refusal::WalletUnknown, &[&evm[..41], "0xzz", "hello", "张三"]);
    all_are(Kind::Wallet, "TNPeeaaFB7K9cmo4uQpcU32zGK8G1NYqeL", &["418840E6C55B9ADA326D211D818C34A994AECED808"]);
    all_are(Kind::Wallet, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", &["BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4"]);
    let wrong = ["bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", "1BvBMsEYstWetqTFn5Au4m4GFg7xJaNVN2", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8F3t4"];
    refused(Kind::Wallet, Refusal::WalletChecksum, &wrong);
}

#[test]
fn bitcoin_cash_has_no_prefix_and_its_old_form_folds_only_when_named() {
    let (legacy, cash) = ("1BpEi6DfDAUFd7GtittLSdBeYJvcoaVggu", "qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a");
    all_are(Kind::Wallet, cash, &[&format!("bitcoincash:{cash}"), &format!("BITCOINCASH:{}", cash.to_uppercase())]);
    assert_eq!(with(Kind::Wallet, legacy, "BCH"), cash);
    assert_eq!(with(Kind::Wallet, "3CWFddi6m4ndiGyKqzYvsFYagqDLPVMTzC", "bch"), "ppm2qsznhks23z7629mms6s4cwef74vcwvn0h829pq");
    all_are(Kind::Wallet, legacy, &[]);
    refused(Kind::Wallet, Refusal::WalletChecksum, &["bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6q"]);
}

#[test]
fn litecoin_scripts_and_ton_accounts_have_one_spelling() {
    assert_eq!(with(Kind::Wallet, "3CDJNfdWX8m2NwuGUV3nhXHXEeLygMXoAj", "LTC"), "MJRSgZ3UUFcTBTBAaN38XAXvZLwRe8WVw7");
    assert_eq!(with(Kind::Wallet, "MJRSgZ3UUFcTBTBAaN38XAXvZLwRe8WVw7", "LTC"), "MJRSgZ3UUFcTBTBAaN38XAXvZLwRe8WVw7");
    let raw = "0:83dfd552e63729b472fcbcc8c45ebcc6691702558b68ec7527e1ba403a0f31a8";
    all_are(Kind::Wallet, raw, &["EQCD39VS5jcptHL8vMjEXrzGaRcCVYto7HUn4bpAOg8xqB2N"]);
    let nano = "nano_1111111111111111111111111111111111111111111111111111hifc8npp";
    all_are(Kind::Wallet, nano, &[&nano.replace("nano_", "xrb_")]);
}

#[test]
fn a_chain_that_is_not_known_takes_the_address_as_it_stands() {
    let odd = read(Kind::Wallet, "somebody12345", Some("eos")).expect("taken");
    assert_eq!((odd.value.as_str(), odd.warnings), ("somebody12345", vec![Warning::WalletUnchecked]));
    let mistyped = "1BvBMsEYstWetqTFn5Au4m4GFg7xJaNVN2";
    assert_eq!(read(Kind::Wallet, mistyped, Some("grs")).map(|c| c.value).as_deref(), Ok(mistyped));
    assert_eq!(read(Kind::Wallet, mistyped, Some("BTC")).err(), Some(Refusal::WalletChecksum));
    assert_eq!(read(Kind::Wallet, "somebody12345", Some("eth")).err(), Some(Refusal::WalletUnknown));
    assert_eq!(read(Kind::Wallet, "somebody12345", Some("!!")).err(), Some(Refusal::ChainShape));
}

#[test]
fn names_of_kinds_and_roles_read_back_in_both_languages_and_on_the_wire() {
    for kind in Kind::ALL {
        assert_eq!(Kind::parse(kind.as_str()), Some(*kind));
        assert_eq!(Kind::from_wire(kind.to_wire() as i32), Some(*kind));
        for name in kind.aliases() {
            assert_eq!(Kind::parse(name), Some(*kind), "{name}");
        }
    }
    for role in Role::ALL {
        assert_eq!(Role::parse(role.as_str()), Some(*role));
        assert_eq!(Role::from_wire(role.to_wire() as i32), Some(*role));
    }
    assert_eq!((Kind::parse("手机号"), Role::parse("嫌疑人")), (Some(Kind::Phone), Some(Role::Suspect)));
    assert_eq!((Kind::parse("Phone"), Kind::from_wire(0), Kind::from_wire(99), Role::from_wire(-1)), (None, None, None, None));
    let enumerable = Kind::ALL.iter().filter(|k| k.class() == TokenClass::Enumerable).count();
    assert_eq!((Kind::ALL.len(), enumerable), (23, 9));
    assert_eq!(token_input(Kind::BankCard, "41"), b"bank-card\x0041");
}

#[test]
fn no_refusal_repeats_the_value_and_every_code_is_one_of_a_kind() {
    let mut codes: Vec<&str> = Refusal::ALL.iter().map(|r| r.code()).chain(Warning::ALL.iter().map(|w| w.code())).collect();
    let count = codes.len();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), count);
    let shown = format!("{:?}", read(Kind::Qq, "7654321", None).expect("a number"));
    assert!(!shown.contains("7654321"), "{shown}");
}

fn stable(kind: Kind, raw: &str, qualifier: Option<&str>) -> Result<(), TestCaseError> {
    if let Ok(once) = read(kind, raw, qualifier) {
        for again in [None, qualifier] {
            let twice = read(kind, &once.value, again);
            // What was taken only because of its chain is nothing without it.
            if again.is_none() && once.warnings.contains(&Warning::WalletUnchecked) {
                continue;
            }
            prop_assert_eq!(twice.map(|c| c.value).ok(), Some(once.value.clone()), "{} {:?} {:?}", kind, raw, again);
        }
    }
    Ok(())
}

fn kinds() -> impl Strategy<Value = Kind> {
    (0..Kind::ALL.len()).prop_map(|i| Kind::ALL[i])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn canonicalizing_any_text_twice_changes_nothing(kind in kinds(), raw in "\\PC{1,40}") {
        stable(kind, &raw, None)?;
    }

    #[test]
    fn canonicalizing_likely_text_twice_changes_nothing(
        kind in kinds(),
        raw in "(@|https?://|www\\.|t\\.me/|cn:|\\+?86|1[3-9]|95|皖|張|mailto:|0x|[a-zA-Z]{1,4}:)?[0-9A-Za-zａ-ｚ張偉·. :@#|_\\-]{1,20}(\\.com|@x\\.cn|转1|X)?",
        qualifier in proptest::option::of("(fb|weibo|eth|bch|ltc|CN|US|1990-01-02|摩托车|安卓|[a-z]{2,5})"),
    ) {
        stable(kind, &raw, qualifier.as_deref())?;
    }

    #[test]
    fn canonicalizing_digits_twice_changes_nothing(kind in kinds(), raw in "\\+?[0-9]{3,20}") {
        stable(kind, &raw, None)?;
    }
}

/// The folder of optional test data, where it is there.
fn data(sub: &str) -> Option<PathBuf> {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data")).join(sub);
    let above = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")).join(sub);
    [beside, above].into_iter().find(|p| p.is_dir())
}

#[test]
fn every_value_of_the_linking_data_is_its_own_canonical_form() {
    let Some(folder) = data("linking") else {
        println!("skipped: no linking data here");
        return;
    };
    let mut rows = 0;
    let mut wrong = Vec::new();
    let files = std::fs::read_dir(folder).expect("a readable folder");
    for file in files.map(|f| f.expect("an entry").path()).filter(|p| p.extension().is_some_and(|e| e == "csv")) {
        let mut reader = csv::Reader::from_path(&file).expect("a CSV file");
        for row in reader.records() {
            let row = row.expect("a row");
            rows += 1;
            let kind = Kind::parse(&row[2]).expect("a kind");
            let got = read(kind, &row[3], None).map(|c| c.value);
            if got.as_deref() != Ok(&row[3]) {
                wrong.push(format!("{kind} {} -> {got:?}", &row[3]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {rows}: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
    assert!(rows > 100_000, "{rows} rows");
}
