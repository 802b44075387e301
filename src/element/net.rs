//! Names and places on the internet: email (RFC 5321), URL (WHATWG), domain
//! (UTS 46), IP.

use std::borrow::Cow;
use std::net::IpAddr;

use super::text::lower;
use super::{Canonical, Refusal, Warning};

/// Undoes the spelling that keeps a dangerous address from being clicked.
fn refanged(text: &str) -> Cow<'_, str> {
    if !text.contains(['[', '(']) && !text.get(..3).is_some_and(|p| p.eq_ignore_ascii_case("hxx")) {
        return Cow::Borrowed(text);
    }
    let mut out = text
        .replace("[.]", ".")
        .replace("(.)", ".")
        .replace("[dot]", ".")
        .replace("[:]", ":");
    if out.get(..4).is_some_and(|p| p.eq_ignore_ascii_case("hxxp")) {
        out.replace_range(..4, "http");
    }
    Cow::Owned(out)
}

/// An email address: lower case, domain as [`domain`]; dots and plus stay.
pub(super) fn email(text: &str) -> Result<Canonical, Refusal> {
    let text = refanged(text);
    let text = text.strip_prefix("mailto:").unwrap_or(&text);
    let (local, host) = text.rsplit_once('@').ok_or(Refusal::EmailShape)?;
    let local = lower(local);
    let fits = |c: char| {
        c.is_alphanumeric()
            || (c.is_ascii_graphic() && !"()<>[]:;@\\,\"".contains(c))
            || (!c.is_ascii() && !c.is_whitespace())
    };
    if local.is_empty() || local.len() > 64 || !local.chars().all(fits) {
        return Err(Refusal::EmailShape);
    }
    let host = host_name(host)?;
    Ok(Canonical::plain(format!("{local}@{host}")))
}

/// A domain name: lower case, punycode, no final dot; `www.` stays. An IPv4
/// address is taken as it stands, and is not equal to the same value of kind ip.
pub(super) fn domain(text: &str) -> Result<Canonical, Refusal> {
    let text = refanged(text);
    // Sites that are reported by bare address stand in domain columns.
    if let Ok(v4) = text.parse::<std::net::Ipv4Addr>() {
        return Ok(Canonical::plain(v4.to_string()).warn(Warning::DomainIsAddress));
    }
    host_name(&text).map(Canonical::plain)
}

fn host_name(text: &str) -> Result<String, Refusal> {
    if text.contains(['/', ':', '@', '?', '#', ' ']) {
        return Err(Refusal::DomainShape);
    }
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_'));
    let ascii = if plain && !text.contains("xn--") {
        text.to_owned()
    } else {
        idna::domain_to_ascii(text).map_err(|_| Refusal::DomainLabel)?
    };
    let name = ascii.strip_suffix('.').unwrap_or(&ascii);
    if name.len() > 253 {
        return Err(Refusal::DomainLabel);
    }
    for label in name.split('.') {
        let shaped = (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
        if !shaped {
            return Err(Refusal::DomainLabel);
        }
    }
    match name.rsplit_once('.') {
        Some((_, top)) if !top.bytes().all(|b| b.is_ascii_digit()) && !top.contains('_') => {
            Ok(name.to_owned())
        }
        _ => Err(Refusal::DomainBare),
    }
}

/// A URL as browsers parse it: host lower case and punycode, default port,
/// fragment and the host's final dot dropped, `http` where no scheme stands.
pub(super) fn url(text: &str) -> Result<Canonical, Refusal> {
    let text = refanged(text);
    let full: Cow<'_, str> = if text.contains("://") {
        text
    } else {
        Cow::Owned(format!("http://{text}"))
    };
    let mut url = url::Url::parse(&full).map_err(|_| Refusal::UrlShape)?;
    let host = match url.host() {
        Some(url::Host::Domain(name))
            if url.scheme().starts_with("http") || url.scheme() == "ftp" =>
        {
            Some(host_name(name).map_err(|_| Refusal::UrlHost)?)
        }
        Some(_) => None,
        None => return Err(Refusal::UrlHost),
    };
    if let Some(host) = host {
        url.set_host(Some(&host)).map_err(|_| Refusal::UrlHost)?;
    }
    url.set_fragment(None);
    Ok(Canonical::plain(url.into()))
}

/// An IP address: shortest form (RFC 5952), a mapped IPv4 address as IPv4;
/// brackets and zone dropped.
pub(super) fn ip(text: &str) -> Result<Canonical, Refusal> {
    let text = refanged(text);
    let bare = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(&text);
    let bare = match bare.split_once('%') {
        Some((address, zone))
            if !zone.is_empty() && zone.bytes().all(|b| b.is_ascii_alphanumeric()) =>
        {
            if address.contains(':') {
                address
            } else {
                return Err(Refusal::IpShape);
            }
        }
        _ => bare,
    };
    let address: IpAddr = bare.parse().map_err(|_| Refusal::IpShape)?;
    let address = address.to_canonical();
    let canonical = Canonical::plain(address.to_string());
    Ok(if is_global(address) {
        canonical
    } else {
        canonical.warn(Warning::IpNotGlobal)
    })
}

fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_documentation()
                || a == 0
                || a >= 240
                || shared)
        }
        IpAddr::V6(v6) => {
            let first = v6.segments()[0];
            !(v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || first & 0xfe00 == 0xfc00
                || first & 0xffc0 == 0xfe80)
        }
    }
}
