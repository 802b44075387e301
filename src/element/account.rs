//! Accounts of chat, payment and social platforms, and mobile applications.

use super::text::{digits, folded, ungrouped};
use super::{Canonical, Refusal, Rules, Warning, net, phone};

/// A WeChat id: lower case.
pub(super) fn wechat(text: &str) -> Result<Canonical, Refusal> {
    let id = text.to_ascii_lowercase();
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'@' | b'.' | b'+');
    if !(2..=64).contains(&id.len())
        || !id.bytes().all(fits)
        || !id.bytes().any(|b| b.is_ascii_alphanumeric())
    {
        return Err(Refusal::WechatShape);
    }
    Ok(Canonical::plain(id))
}

/// A QQ number: grouping dropped.
pub(super) fn qq(text: &str) -> Result<Canonical, Refusal> {
    let number = ungrouped(text);
    let given = digits(&number).ok_or(Refusal::QqShape)?;
    if !(5..=12).contains(&given.len()) || given.first() == Some(&0) {
        return Err(Refusal::QqShape);
    }
    Ok(Canonical::plain(number))
}

/// An Alipay account: as the email address, phone number or user id it is.
pub(super) fn alipay(text: &str, rules: &Rules) -> Result<Canonical, Refusal> {
    if text.contains('@') {
        return net::email(text).map_err(|_| Refusal::AlipayShape);
    }
    let id = ungrouped(text);
    if id.len() == 16 && id.starts_with("2088") && digits(&id).is_some() {
        return Ok(Canonical::plain(id));
    }
    let number = phone::phone(text, rules).map_err(|_| Refusal::AlipayShape)?;
    if number.value.starts_with('+') {
        Ok(number)
    } else {
        Err(Refusal::AlipayShape)
    }
}

/// A Telegram account: name in lower case without `@` or link, invitation
/// codes with their `+`, phone numbers in E.164, ids as they are.
pub(super) fn telegram(text: &str, rules: &Rules) -> Result<Canonical, Refusal> {
    let path = telegram_path(text);
    let invitation = path.strip_prefix("joinchat/").or_else(|| {
        // A plus and digits is a phone; a plus and letters an invitation.
        path.strip_prefix('+')
            .filter(|p| p.bytes().any(|b| b.is_ascii_alphabetic()))
    });
    if let Some(code) = invitation {
        let fits = code
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        return if fits
            && (8..=64).contains(&code.len())
            && code.bytes().any(|b| b.is_ascii_alphabetic())
        {
            Ok(Canonical::plain(format!("+{code}")))
        } else {
            Err(Refusal::TelegramShape)
        };
    }
    if path.starts_with('+') {
        return phone::phone(path, rules).map_err(|_| Refusal::TelegramShape);
    }
    let number = path.strip_prefix('-').unwrap_or(path);
    if (4..=19).contains(&number.len()) && digits(number).is_some() && !number.starts_with('0') {
        return Ok(Canonical::plain(path.to_owned()));
    }
    let name = path.to_ascii_lowercase();
    let fits = (4..=32).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if fits {
        Ok(Canonical::plain(name))
    } else {
        Err(Refusal::TelegramShape)
    }
}

/// What may stand before a Telegram name, in this order, each once, in any case.
pub(super) const TELEGRAM_PREFIXES: &[&str] = &[
    "https://",
    "http://",
    "www.",
    "t.me/",
    "telegram.me/",
    "telegram.dog/",
    "@",
];

fn telegram_path(text: &str) -> &str {
    let mut rest = text;
    for prefix in TELEGRAM_PREFIXES {
        if rest
            .get(..prefix.len())
            .is_some_and(|p| p.eq_ignore_ascii_case(prefix))
        {
            rest = rest.get(prefix.len()..).unwrap_or(rest);
        }
    }
    rest.strip_suffix('/').unwrap_or(rest)
}

/// Platforms that go by several names; the first is the one that is kept.
pub(super) const PLATFORMS: &[&[&str]] = &[
    &["weibo", "微博", "新浪微博"],
    &["douyin", "抖音"],
    &["kuaishou", "快手"],
    &["xiaohongshu", "小红书", "rednote", "red"],
    &["zhihu", "知乎"],
    &["bilibili", "哔哩哔哩", "b站"],
    &["momo", "陌陌"],
    &["soul"],
    &["tantan", "探探"],
    &["dingtalk", "钉钉"],
    &["feishu", "飞书", "lark"],
    &["facebook", "脸书", "fb"],
    &["x", "twitter", "推特"],
    &["instagram", "ins", "ig"],
    &["whatsapp", "wa"],
    &["line"],
    &["tiktok"],
    &["skype"],
    &["discord"],
    &["signal"],
    &["android", "安卓"],
    &["ios", "苹果", "iphone"],
    &["harmonyos", "鸿蒙"],
    &["windows"],
];

fn platform(text: &str) -> Result<String, Refusal> {
    let name: String = folded(text).split_whitespace().collect();
    let known = PLATFORMS
        .iter()
        .find(|names| names.contains(&name.as_str()));
    if let Some(first) = known.and_then(|names| names.first()) {
        return Ok((*first).to_owned());
    }
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    if (1..=40).contains(&name.chars().count()) && name.chars().all(fits) {
        Ok(name)
    } else {
        Err(Refusal::PlatformShape)
    }
}

/// Splits a canonical `platform:account`, so that reading it again is a no-op.
fn stated_platform(text: &str) -> (Option<String>, &str) {
    match text.split_once(':') {
        Some((before, rest)) if !rest.starts_with("//") && !rest.is_empty() => {
            match platform(before) {
                Ok(name) => (Some(name), rest),
                Err(_) => (None, text),
            }
        }
        _ => (None, text),
    }
}

/// A platform account: `platform:account`, lower case, without `@`.
pub(super) fn social(text: &str, qualifier: Option<&str>) -> Result<Canonical, Refusal> {
    let handle = |c: char| c == '@' || c.is_whitespace();
    let (stated, account) = stated_platform(text.trim_start_matches(handle));
    let account = folded(account);
    let account = account.trim().trim_start_matches(handle);
    let shaped = (1..=200).contains(&account.chars().count())
        && account.chars().any(char::is_alphanumeric)
        && !account.contains(char::is_whitespace);
    if !shaped {
        return Err(Refusal::SocialShape);
    }
    let named = qualifier.map(platform).transpose()?.or(stated);
    Ok(match named {
        Some(platform) => Canonical::plain(format!("{platform}:{account}")),
        None => Canonical::plain(account.to_owned()).warn(Warning::PlatformMissing),
    })
}

/// An application: `platform:id` or id, lower case, blanks between words single.
pub(super) fn app(text: &str, qualifier: Option<&str>) -> Result<Canonical, Refusal> {
    let (stated, id) = stated_platform(text);
    let id = folded(id);
    let id = id.split_whitespace().collect::<Vec<_>>().join(" ");
    if !(2..=200).contains(&id.chars().count()) || !id.chars().any(char::is_alphanumeric) {
        return Err(Refusal::AppShape);
    }
    let named = qualifier.map(platform).transpose()?.or(stated);
    Ok(Canonical::plain(match named {
        Some(platform) => format!("{platform}:{id}"),
        None => id,
    }))
}
