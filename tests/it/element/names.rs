//! Accounts, internet names and devices.

use casegate::element::{Kind, Refusal, Warning};

use super::{all_are, distinct, read, refused, with};

#[test]
fn platform_accounts_are_lower_case_under_one_platform_name() {
    all_are(Kind::Wechat, "wxid_abc123", &["WXID_abc123"]);
    refused(Kind::Wechat, Refusal::WechatShape, &["小明", "a b"]);
    all_are(Kind::Qq, "10001", &["1 0001", "100-01"]);
    refused(
        Kind::Qq,
        Refusal::QqShape,
        &["01234", "1234", "1234567890123", "a1234"],
    );
    all_are(
        Kind::Telegram,
        "some_name",
        &[
            "@Some_Name",
            "https://t.me/some_name",
            "t.me/Some_name/",
            "telegram.me/some_name",
        ],
    );
    all_are(
        Kind::Telegram,
        "+AbCdEfGh123",
        &["https://t.me/+AbCdEfGh123", "t.me/joinchat/AbCdEfGh123"],
    );
    all_are(Kind::Telegram, "+8613800138000", &["+86 138 0013 8000"]);
    distinct(
        Kind::Telegram,
        &[
            "+AbCdEfGh123",
            "+abcdefgh123",
            "some_name",
            "123456789",
            "-100123456789",
        ],
    );
    refused(
        Kind::Telegram,
        Refusal::TelegramShape,
        &["@ab", "张三", "1abc"],
    );
    all_are(Kind::Alipay, "+8613800138000", &["138 0013 8000"]);
    all_are(Kind::Alipay, "a@example.com", &["A@Example.COM"]);
    all_are(Kind::Alipay, "2088123412341234", &["2088 1234-1234 1234"]);
    refused(
        Kind::Alipay,
        Refusal::AlipayShape,
        &["2089123412341234", "nobody", "95588"],
    );
    for platform in ["weibo", "微博", "WEIBO", " 新浪微博 "] {
        assert_eq!(with(Kind::Social, "@Someone", platform), "weibo:someone");
    }
    // An @ before the account goes, also behind a platform that stands with it.
    all_are(
        Kind::Social,
        "weibo:someone",
        &[
            "weibo:someone",
            "weibo:@someone",
            "@weibo:@@Someone",
            "微博：＠someone",
        ],
    );
    assert_eq!(with(Kind::Social, "＠Someone", "weibo"), "weibo:someone");
    assert_ne!(
        with(Kind::Social, "someone", "douyin"),
        with(Kind::Social, "someone", "weibo")
    );
    // Only in front, and however many: elsewhere it is part of the name.
    all_are(Kind::Social, "weibo:someone@", &["weibo:@@someone@"]);
    all_are(Kind::Social, "someone@", &["@@someone@", "@ @someone@"]);
    distinct(Kind::Social, &["someone", "someone@", "some@one"]);
    refused(Kind::Social, Refusal::SocialShape, &["a b", "@", "--"]);
    assert_eq!(
        with(Kind::App, "com.Example.App", "安卓"),
        "android:com.example.app"
    );
    all_are(Kind::App, "some app", &["Some  App"]);
    distinct(Kind::App, &["some app", "someapp", "ios:some app"]);
}

#[test]
fn internet_names_are_punycode_in_lower_case() {
    all_are(
        Kind::Domain,
        "example.com",
        &[
            "EXAMPLE.com",
            "example.com.",
            "example[.]com",
            "ｅxample。com",
        ],
    );
    all_are(Kind::Domain, "xn--fsqu00a.xn--0zwm56d", &["例子.测试"]);
    distinct(
        Kind::Domain,
        &["example.com", "www.example.com", "example.org"],
    );
    refused(
        Kind::Domain,
        Refusal::DomainShape,
        &["http://example.com", "example.com/a", "example.com:80"],
    );
    refused(
        Kind::Domain,
        Refusal::DomainBare,
        &["example", "1.2.3", "256.1.1.1", "example."],
    );
    refused(
        Kind::Domain,
        Refusal::DomainLabel,
        &[
            "a..com",
            "-a.com",
            "a-.com",
            "exa mple!.com".replace(' ', "").as_str(),
        ],
    );
    // A name has 253 characters at most.
    let long = ["a", "b", "c"].map(|c| c.repeat(63)).join(".") + "." + &"d".repeat(58);
    all_are(
        Kind::Domain,
        &format!("{long}.cn"),
        &[&format!("{long}.cn.")],
    );
    refused(
        Kind::Domain,
        Refusal::DomainLabel,
        &[&format!("{long}d.cn")],
    );
}

#[test]
fn mail_and_web_addresses_fold_their_hosts() {
    assert_eq!(
        read(Kind::Domain, "1.2.3.4", None).expect("taken").warnings,
        [Warning::DomainIsAddress]
    );
    all_are(
        Kind::Email,
        "some.one+x@example.com",
        &["Some.One+x@EXAMPLE.com", "mailto:some.one+x@example.com"],
    );
    distinct(
        Kind::Email,
        &[
            "some.one@gmail.com",
            "someone@gmail.com",
            "someone+x@gmail.com",
        ],
    );
    refused(
        Kind::Email,
        Refusal::EmailShape,
        &["a", "@example.com", "a b@example.com"],
    );
    let same = [
        "HTTP://Example.com:80/a#top",
        "http://example.com/a",
        "hxxp://example[.]com/a",
        "example.com/a",
        "http://example.com./a",
    ];
    all_are(Kind::Url, "http://example.com/a", &same);
    all_are(
        Kind::Url,
        "https://xn--fsqu00a.com/",
        &["https://例子.com:443"],
    );
    distinct(
        Kind::Url,
        &[
            "http://a.com/",
            "https://a.com/",
            "http://www.a.com/",
            "http://a.com/A",
            "http://a.com/a",
            "http://a.com/?q=1",
            "http://a.com:8080/",
        ],
    );
    refused(
        Kind::Url,
        Refusal::UrlHost,
        &["http://-a.com/", "http://localhost/"],
    );
    refused(Kind::Url, Refusal::UrlShape, &["http://", "http://a b/"]);
}

#[test]
fn addresses_of_machines_have_one_spelling() {
    all_are(
        Kind::Ip,
        "192.0.2.1",
        &["::ffff:192.0.2.1", "::FFFF:c000:201", "192.0.2[.]1"],
    );
    all_are(
        Kind::Ip,
        "2001:db8::1",
        &["2001:0DB8:0:0:0:0:0:1", "[2001:db8::1]"],
    );
    all_are(Kind::Ip, "fe80::1", &["fe80::1%eth0"]);
    assert_eq!(
        read(Kind::Ip, "10.0.0.1", None)
            .expect("an address")
            .warnings,
        [Warning::IpNotGlobal]
    );
    refused(
        Kind::Ip,
        Refusal::IpShape,
        &[
            "1.2.3",
            "1.2.3.4:80",
            "10.0.0.0/8",
            "01.2.3.4",
            "256.1.1.1",
            "1.2.3.4%eth0",
        ],
    );
    all_are(
        Kind::Mac,
        "00:1a:2b:3c:4d:5e",
        &["00-1A-2B-3C-4D-5E", "001A.2B3C.4D5E", "001a2b3c4d5e"],
    );
    refused(
        Kind::Mac,
        Refusal::MacShape,
        &["00:1A:2B:3C:4D", "10:2F:33-AC-29-C3", "zz:1a:2b:3c:4d:5e"],
    );
    refused(
        Kind::Mac,
        Refusal::MacNobody,
        &["00:00:00:00:00:00", "ff-ff-ff-ff-ff-ff"],
    );
}

#[test]
fn devices_and_vehicles_have_one_spelling() {
    all_are(
        Kind::Imei,
        "490154203237518",
        &[
            "49-015420-323751-8",
            "49015420323751",
            "4901542032375101",
            "490154203237510",
        ],
    );
    refused(Kind::Imei, Refusal::ImeiLuhn, &["490154203237517"]);
    refused(
        Kind::Imei,
        Refusal::ImeiShape,
        &["4901542", "00000000000000", "49015420323751888"],
    );
    all_are(Kind::Imsi, "460001234567890", &["460 00 1234567890"]);
    refused(
        Kind::Imsi,
        Refusal::ImsiShape,
        &["46000", "160001234567890"],
    );
    all_are(
        Kind::Plate,
        "皖A12345",
        &["皖a·12345", "皖 A 12345", "皖A-12345"],
    );
    all_are(Kind::Plate, "苏A12345", &["蘇A12345"]);
    assert_eq!(with(Kind::Plate, "皖A12345", "小型汽车"), "皖A12345");
    assert_eq!(
        with(Kind::Plate, "皖A12345", "普通摩托车"),
        "皖A12345#motorcycle"
    );
    all_are(Kind::Plate, "皖A12345#motorcycle", &[]);
    refused(
        Kind::Plate,
        Refusal::PlateShape,
        &["皖", "你好123", "ABCDEFGHIJK1"],
    );
}
