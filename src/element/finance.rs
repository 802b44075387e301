//! Bank cards (ISO/IEC 7812), bank accounts and IBANs (ISO 13616).

use iban::{Iban, IbanLike, ParseIbanError};

use super::text::{digits, luhn, ungrouped};
use super::{Canonical, Refusal, Warning};

/// A card number: grouping dropped, 12 to 19 digits, Luhn.
pub(super) fn bank_card(text: &str) -> Result<Canonical, Refusal> {
    let number = ungrouped(text);
    let digits = digits(&number).ok_or(Refusal::CardCharacters)?;
    if !(12..=19).contains(&digits.len()) {
        return Err(Refusal::CardLength);
    }
    if !luhn(&digits) || digits.iter().all(|d| *d == 0) {
        return Err(Refusal::CardLuhn);
    }
    Ok(Canonical::plain(number))
}

/// An account number: grouping dropped, upper case.
pub(super) fn bank_account(text: &str) -> Result<Canonical, Refusal> {
    let number = ungrouped(text).to_ascii_uppercase();
    let count = number.bytes().filter(u8::is_ascii_digit).count();
    let shaped =
        (5..=34).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_alphanumeric());
    if !shaped || count < 4 {
        return Err(Refusal::AccountShape);
    }
    Ok(Canonical::plain(number))
}

/// An IBAN: grouping dropped, upper case, check digits and national format.
pub(super) fn iban(text: &str) -> Result<Canonical, Refusal> {
    let number = ungrouped(text).to_ascii_uppercase();
    if number.len() > 34 || !number.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Refusal::IbanShape);
    }
    match number.parse::<Iban>() {
        Ok(iban) => Ok(Canonical::plain(iban.electronic_str().to_owned())),
        Err(ParseIbanError::UnknownCountry(base)) => {
            Ok(Canonical::plain(base.electronic_str().to_owned()).warn(Warning::IbanCountry))
        }
        Err(ParseIbanError::InvalidBban(_)) => Err(Refusal::IbanShape),
        Err(ParseIbanError::InvalidBaseIban { source }) => Err(match source {
            iban::ParseBaseIbanError::InvalidChecksum => Refusal::IbanChecksum,
            _ => Refusal::IbanShape,
        }),
    }
}
