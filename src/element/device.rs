//! Devices and vehicles: IMEI (3GPP TS 23.003), IMSI (ITU-T E.212), MAC, plates.

use super::text::{digits, is_dash, luhn, simplified, ungrouped};
use super::{Canonical, Refusal, Warning};

/// An IMEI: 15 digits; 14 digits gain their check digit, a 16-digit IMEISV
/// loses its software version, and the spare digit that phones send is mended.
pub(super) fn imei(text: &str) -> Result<Canonical, Refusal> {
    let number: String = ungrouped(text)
        .chars()
        .filter(|c| !matches!(c, '/' | '.'))
        .collect();
    let given = digits(&number).ok_or(Refusal::ImeiShape)?;
    let device = given.get(..14).ok_or(Refusal::ImeiShape)?;
    if device.iter().all(|d| *d == 0) {
        return Err(Refusal::ImeiShape);
    }
    let right = format!(
        "{}{}",
        number.get(..14).ok_or(Refusal::ImeiShape)?,
        luhn_digit(device)
    );
    match given.len() {
        14 | 16 => Ok(Canonical::plain(right)),
        15 if luhn(&given) => Ok(Canonical::plain(right)),
        15 if given.last() == Some(&0) => Ok(Canonical::plain(right).warn(Warning::ImeiSpare)),
        15 => Err(Refusal::ImeiLuhn),
        _ => Err(Refusal::ImeiShape),
    }
}

fn luhn_digit(body: &[u8]) -> u8 {
    let mut with_check = body.to_vec();
    with_check.push(0);
    (0..10)
        .find(|d| {
            if let Some(last) = with_check.last_mut() {
                *last = *d;
            }
            luhn(&with_check)
        })
        .expect("one digit of ten makes the sum a multiple of ten")
}

/// An IMSI: grouping dropped, 14 or 15 digits, a mobile country code in front.
pub(super) fn imsi(text: &str) -> Result<Canonical, Refusal> {
    let number = ungrouped(text);
    let given = digits(&number).ok_or(Refusal::ImsiShape)?;
    if !(14..=15).contains(&given.len()) || !matches!(given.first(), Some(2..=7 | 9)) {
        return Err(Refusal::ImsiShape);
    }
    Ok(Canonical::plain(number))
}

/// A MAC address: lower case with colons, whatever one separator it had.
pub(super) fn mac(text: &str) -> Result<Canonical, Refusal> {
    let text: String = text
        .chars()
        .map(|c| {
            if is_dash(c) {
                '-'
            } else {
                c.to_ascii_lowercase()
            }
        })
        .collect();
    let hex: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let widths: &[(char, usize)] = &[(':', 2), ('-', 2), (' ', 2), ('.', 4), ('-', 4)];
    let shaped = text == hex
        || widths
            .iter()
            .any(|(mark, width)| text == grouped(&hex, *mark, *width));
    if hex.len() != 12 || !shaped {
        return Err(Refusal::MacShape);
    }
    if hex == "000000000000" || hex == "ffffffffffff" {
        return Err(Refusal::MacNobody);
    }
    Ok(Canonical::plain(grouped(&hex, ':', 2)))
}

fn grouped(hex: &str, mark: char, width: usize) -> String {
    let mut out = String::with_capacity(hex.len() * 3 / 2);
    for (i, c) in hex.chars().enumerate() {
        if i > 0 && i % width == 0 {
            out.push(mark);
        }
        out.push(c);
    }
    out
}

/// A licence plate: upper case, separators dropped, simplified. The class is
/// part of the value only for motorcycles, whose numbers cars have as well.
pub(super) fn plate(text: &str, class: Option<&str>) -> Result<Canonical, Refusal> {
    let (number, stated) = match text.split_once('#') {
        Some((number, class)) => (number, Some(class)),
        None => (text, None),
    };
    let number: String = simplified(&ungrouped(number))
        .chars()
        .filter(|c| !PLATE_DOTS.contains(c))
        .collect::<String>()
        .to_ascii_uppercase();
    let letters = number.chars().count();
    let shaped = (2..=10).contains(&letters)
        && number
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || is_plate_han(c))
        && number.chars().any(|c| c.is_ascii_digit())
        && number.chars().filter(|c| !c.is_ascii()).count() <= 3;
    if !shaped {
        return Err(Refusal::PlateShape);
    }
    let motorcycle = class.or(stated).is_some_and(|c| {
        let c = c.to_ascii_lowercase();
        c.contains("摩托") || c.contains("motorcycle")
    });
    Ok(Canonical::plain(if motorcycle {
        format!("{number}#motorcycle")
    } else {
        number
    }))
}

/// Province names, and the marks of trailers, police, trainees and others.
pub(super) const PLATE_HAN: &str = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤川青藏琼宁港澳台挂学警使领临试超电军海空北南兰沈济广成应急民航";

/// Dots between the parts of a plate, which are dropped.
pub(super) const PLATE_DOTS: &[char] = &['·', '•', '.', '・', '‧'];

fn is_plate_han(c: char) -> bool {
    PLATE_HAN.contains(c)
}
