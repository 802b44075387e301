//! Phones, cards, accounts and identity numbers.

use casegate::element::{Kind, Refusal, Rules, Warning, canonicalize};

use super::{all_are, distinct, read, refused, with};

#[test]
fn a_phone_is_its_e164_form() {
    let same = [
        "13800138000",
        "138-0013-8000",
        "138 0013 8000",
        "+86 138 0013 8000",
        "0086 13800138000",
        "tel:+8613800138000",
        "（+86）13800138000",
    ];
    all_are(Kind::Phone, "+8613800138000", &same);
    all_are(
        Kind::Phone,
        "+861062345678",
        &["010-62345678", "(010)62345678", "+86 10 6234 5678"],
    );
    all_are(
        Kind::Phone,
        "+861062345678;ext=801",
        &[
            "010-62345678转801",
            "010-62345678 ext. 801",
            "01062345678x801",
        ],
    );
    all_are(
        Kind::Phone,
        "+12025550173",
        &["+1 (202) 555-0173", "001 202 555 0173"],
    );
    distinct(
        Kind::Phone,
        &[
            "13800138000",
            "13800138001",
            "+1 3800138000",
            "010-62345678",
            "01062345678x801",
            "01062345678x802",
        ],
    );
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
    distinct(
        Kind::Phone,
        &["1061234567", "+86 1061234567", "95588", "955880"],
    );
    assert!(
        canonicalize(
            Kind::Phone,
            "95588",
            None,
            &Rules::new("US").expect("a region")
        )
        .is_err()
    );
}

#[test]
fn an_impossible_phone_is_refused() {
    refused(
        Kind::Phone,
        Refusal::PhoneImpossible,
        &["138001380", "+8613800138000123", "cn:13800138000", "12"],
    );
    refused(
        Kind::Phone,
        Refusal::PhoneCharacters,
        &[
            "call 13800138000",
            "13800138000 or 13800138001",
            "1-800-FLOWERS",
            "95588x1",
        ],
    );
    refused(Kind::Phone, Refusal::PhoneNoArea, &["62345678"]);
}

/// A second reading stripped `0` as a trunk prefix again, so that one number
/// had as many canonical values as it had zeros; found by the property test.
#[test]
fn a_phone_that_begins_like_its_trunk_prefix_is_refused() {
    refused(
        Kind::Phone,
        Refusal::PhoneImpossible,
        &["+61000000000", "+6100000000"],
    );
    all_are(Kind::Phone, "+61412345678", &["+61 0412 345 678"]);
}

#[test]
fn a_card_is_its_digits() {
    all_are(
        Kind::BankCard,
        "4111111111111111",
        &["4111 1111 1111 1111", "4111-1111-1111-1111"],
    );
    refused(
        Kind::BankCard,
        Refusal::CardLuhn,
        &["4111111111111112", "0000000000000000"],
    );
    refused(
        Kind::BankCard,
        Refusal::CardLength,
        &["41111111111", "41111111111111111111"],
    );
    refused(
        Kind::BankCard,
        Refusal::CardCharacters,
        &["4111x11111111111"],
    );
}

#[test]
fn an_account_is_its_letters_and_digits() {
    all_are(
        Kind::BankAccount,
        "AB0123456",
        &["ab 0123 456", "AB-0123-456"],
    );
    distinct(Kind::BankAccount, &["0123456", "123456"]);
    refused(
        Kind::BankAccount,
        Refusal::AccountShape,
        &["12", "工商银行123456", "abcdef"],
    );
}

#[test]
fn an_iban_is_its_electronic_form() {
    all_are(
        Kind::Iban,
        "GB82WEST12345698765432",
        &["GB82 WEST 1234 5698 7654 32", "gb82west12345698765432"],
    );
    refused(
        Kind::Iban,
        Refusal::IbanChecksum,
        &["GB81WEST12345698765432"],
    );
    refused(
        Kind::Iban,
        Refusal::IbanShape,
        &["1234567890", "GB82WEST1234569876543!"],
    );
}

#[test]
fn a_resident_id_has_18_characters_and_a_capital_x() {
    all_are(
        Kind::ResidentId,
        "11010519491231002X",
        &["11010519491231002x", "110105 19491231 002X"],
    );
    let old = read(Kind::ResidentId, "110105491231002", None).expect("15 digits");
    assert_eq!(
        (old.value.as_str(), old.warnings),
        ("11010519491231002X", vec![Warning::OldResidentId])
    );
    refused(
        Kind::ResidentId,
        Refusal::ResidentCheck,
        &["110105194912310021"],
    );
    refused(
        Kind::ResidentId,
        Refusal::ResidentShape,
        &["1101051949123100", "A1010519491231002X"],
    );
    refused(
        Kind::ResidentId,
        Refusal::ResidentProvince,
        &["990105491231002", "160105491231002"],
    );
    refused(
        Kind::ResidentId,
        Refusal::ResidentDate,
        &["110105491331002", "110105490230002"],
    );
    let county = read(Kind::ResidentId, "110100491231002", None).expect("accepted");
    assert!(county.warnings.contains(&Warning::CountyUnknown));
}

#[test]
fn a_passport_carries_its_country() {
    assert_eq!(with(Kind::Passport, "e1234 5678", "chn"), "CN:E12345678");
    assert_eq!(with(Kind::Passport, "E12345678", "中国"), "CN:E12345678");
    all_are(Kind::Passport, "CN:E12345678", &["cn:e12345678"]);
    distinct(
        Kind::Passport,
        &["E12345678", "CN:E12345678", "US:E12345678"],
    );
    refused(
        Kind::Passport,
        Refusal::PassportShape,
        &["E12", "PASSPORT", "E1234567890123456"],
    );
    assert_eq!(
        read(Kind::Passport, "E12345678", Some("C1")).err(),
        Some(Refusal::CountryShape)
    );
}

#[test]
fn a_person_is_linkable_only_with_a_birth_date() {
    let bare = read(Kind::Person, "张三", None).expect("a name");
    assert!(!bare.linkable);
    assert_eq!(bare.warnings, [Warning::NotLinkable]);
    for (name, birth) in [
        ("张三", "1990-01-02"),
        ("張 三", "19900102"),
        ("　张　三", "1990-01-02"),
    ] {
        let person = read(Kind::Person, name, Some(birth)).expect("a person");
        assert_eq!(
            (person.value.as_str(), person.linkable),
            ("张三|1990-01-02", true)
        );
    }
    assert_eq!(
        with(Kind::Person, "JOHN  Smith", "19900102"),
        "john smith|1990-01-02"
    );
    assert_eq!(
        with(Kind::Person, "阿卜杜拉•买买提", "19900102"),
        "阿卜杜拉·买买提|1990-01-02"
    );
    assert_ne!(
        with(Kind::Person, "张三", "1990-01-03"),
        with(Kind::Person, "张三", "1990-01-02")
    );
    assert_ne!(
        with(Kind::Person, "张珊", "1990-01-02"),
        with(Kind::Person, "张三", "1990-01-02")
    );
    refused(
        Kind::Person,
        Refusal::PersonShape,
        &["张三1", "(unknown)", "-"],
    );
    for birth in ["1990-02-30", "90-01-02", "1990/01/02", "199001021"] {
        assert_eq!(
            read(Kind::Person, "张三", Some(birth)).err(),
            Some(Refusal::BirthDate),
            "{birth}"
        );
    }
}

#[test]
fn an_organization_code_is_upper_case() {
    all_are(
        Kind::OrgId,
        "91350100M000100Y43",
        &["91350100m000100y43", "91350100-M000100Y4-3"],
    );
    all_are(Kind::OrgId, "M000100Y4", &["M000100Y-4"]);
    refused(
        Kind::OrgId,
        Refusal::OrgCheck,
        &["91350100M000100Y44", "M000100Y5"],
    );
    refused(
        Kind::OrgId,
        Refusal::OrgShape,
        &["91350100I000100Y43", "9135"],
    );
}
