//! Values out of a request and back into it. What an officer signs has a
//! commitment in place of every value; the values travel beside it, each once
//! and in any order, and a node puts each where its commitment stands.

use std::collections::{HashMap, HashSet};
use std::fmt;

use prost::Message;

use super::{OfficerSignatureError, REQUEST_BYTES_MAX};
use crate::element::{Kind, Role};
use crate::policy::Method;
use crate::record::{self, SALT_BYTES};
use crate::wire::each_signed;
use crate::wire::v1::{self, AccessScope, ElementSpec, Limit};

/// Characters of a commitment in hex.
const COMMITMENT_CHARS: usize = 64;
/// The most values that may come with a request: more commitments than that,
/// each with its tag and length, do not fit into one.
pub const VALUES_MAX: usize = REQUEST_BYTES_MAX / (COMMITMENT_CHARS + 2);

/// A request of the Desk service that its officer signs; desk.proto says all of it.
pub trait Signed: Message + Clone + Default {
    /// The method that the signature is for.
    const METHOD: Method;
    /// The kind of line that it leaves.
    const SCOPE: AccessScope;
    /// How long it may take.
    const LIMIT: Limit;

    /// The elements in it, whose values the access log must not hold.
    fn elements(&mut self) -> &mut [ElementSpec];
}

macro_rules! signed {
    ($($request:ident => $method:ident, $scope:ident, $limit:ident, [$($field:ident $many:ident)?];)*) => {
        $(
            impl Signed for v1::$request {
                const METHOD: Method = Method::$method;
                const SCOPE: AccessScope = AccessScope::$scope;
                const LIMIT: Limit = Limit::$limit;

                fn elements(&mut self) -> &mut [ElementSpec] {
                    signed!(@elements self $(, $field $many)?)
                }
            }
        )*
    };
    (@elements $it:ident) => { &mut [] };
    (@elements $it:ident, $field:ident many) => { &mut $it.$field };
    (@elements $it:ident, $field:ident one) => { $it.$field.as_mut_slice() };
}

each_signed! { signed }

/// A request without its values, and the values.
#[derive(Clone)]
pub struct Redacted {
    /// The request's bytes, with commitments in place of values.
    pub request: Vec<u8>,
    /// The values, each once.
    pub values: Vec<String>,
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redacted({} values)", self.values.len())
    }
}

/// The texts of an element that may be a value: all but a known kind or role,
/// since what is none of these may be a value in the wrong field.
fn values_of(element: &mut ElementSpec) -> impl Iterator<Item = &mut String> {
    let kind = Kind::parse(&element.kind).is_some();
    let role = Role::parse(&element.role).is_some();
    let texts = [
        (&mut element.kind, kind),
        (&mut element.value, false),
        (&mut element.qualifier, false),
        (&mut element.role, role),
    ];
    let hidden = texts
        .into_iter()
        .filter(|(text, shown)| !shown && !text.is_empty());
    hidden.map(|(text, _)| text)
}

/// A request with every value and qualifier that is not empty replaced by its
/// commitment under `salt`, in hex; so is what stands for a kind or role and is
/// none.
#[must_use]
pub fn redacted<R: Signed>(request: &R, salt: &[u8; SALT_BYTES]) -> Redacted {
    let mut request = request.clone();
    let (mut values, mut seen) = (vec![], HashSet::new());
    for text in request.elements().iter_mut().flat_map(values_of) {
        let commitment = record::typed_commitment(salt, text).to_string();
        let value = std::mem::replace(text, commitment.clone());
        if seen.insert(commitment) {
            values.push(value);
        }
    }
    Redacted {
        request: request.encode_to_vec(),
        values,
    }
}

/// Reads a request and puts `values` back where their commitments stand. A value
/// that only a field of a later version commits to is passed over with it.
pub(super) fn restored<R: Signed>(
    bytes: &[u8],
    salt: &[u8],
    values: &[String],
) -> Result<R, OfficerSignatureError> {
    let mut request = R::decode(bytes).map_err(|_| OfficerSignatureError::Unreadable)?;
    let known = committed(salt, values)?;
    let mut unused: HashSet<&str> = known.keys().map(String::as_str).collect();
    for text in request.elements().iter_mut().flat_map(values_of) {
        if !is_commitment(text) {
            return Err(OfficerSignatureError::Plain);
        }
        let (commitment, value) = known
            .get_key_value(text.as_str())
            .ok_or(OfficerSignatureError::Values)?;
        unused.remove(commitment.as_str());
        (*value).clone_into(text);
    }
    if !unused.is_empty() {
        for text in texts_in(bytes) {
            unused.remove(text);
        }
    }
    unused
        .is_empty()
        .then_some(request)
        .ok_or(OfficerSignatureError::Values)
}

/// The values by their commitments; none may be there twice.
fn committed<'a>(
    salt: &[u8],
    values: &'a [String],
) -> Result<HashMap<String, &'a str>, OfficerSignatureError> {
    if values.is_empty() {
        return Ok(HashMap::new());
    }
    let salt = <&[u8; SALT_BYTES]>::try_from(salt).map_err(|_| OfficerSignatureError::Values)?;
    if values.len() > VALUES_MAX {
        return Err(OfficerSignatureError::Values);
    }
    let pairs = values.iter().map(|value| {
        let commitment = record::typed_commitment(salt, value).to_string();
        (commitment, value.as_str())
    });
    let known: HashMap<_, _> = pairs.collect();
    (known.len() == values.len())
        .then_some(known)
        .ok_or(OfficerSignatureError::Values)
}

fn is_commitment(text: &str) -> bool {
    let hex = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == COMMITMENT_CHARS && text.bytes().all(hex)
}

/// Every text in `bytes` that is as long as a commitment, by the length before
/// it: also in fields that this version does not know.
fn texts_in(bytes: &[u8]) -> impl Iterator<Item = &str> {
    let starts = bytes
        .iter()
        .zip(1..)
        .filter(|(byte, _)| usize::from(**byte) == COMMITMENT_CHARS);
    starts.filter_map(|(_, start)| {
        let text = bytes.get(start..start + COMMITMENT_CHARS)?;
        std::str::from_utf8(text).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: [u8; SALT_BYTES] = [5; SALT_BYTES];

    fn element(value: &str, qualifier: &str) -> ElementSpec {
        ElementSpec {
            kind: "person".into(),
            value: value.into(),
            qualifier: qualifier.into(),
            role: "suspect".into(),
        }
    }

    fn query(elements: Vec<ElementSpec>) -> v1::QueryRequest {
        v1::QueryRequest {
            case_no: "A-1".into(),
            elements,
            ..Default::default()
        }
    }

    fn back(bytes: &[u8], values: &[&str]) -> Result<v1::QueryRequest, OfficerSignatureError> {
        let values: Vec<_> = values.iter().map(|v| (*v).to_owned()).collect();
        restored(bytes, &SALT, &values)
    }

    fn commitment(value: &str) -> String {
        record::typed_commitment(&SALT, value).to_string()
    }

    #[test]
    fn a_missing_an_extra_a_double_and_another_value_are_refused() {
        let bytes = redacted(&query(vec![element("13800138000", "1990")]), &SALT).request;
        let refused = Err(OfficerSignatureError::Values);
        for values in [
            &[][..],
            &["13800138000"],
            &["13800138000", "1991"],
            &["13800138000", "1990", "1991"],
            &["13800138000", "1990", "1990"],
            &["13800138000", "1990", ""],
        ] {
            assert_eq!(back(&bytes, values), refused, "{values:?}");
        }
        for salt in [&[][..], &SALT[1..], &[6; SALT_BYTES], &[5; SALT_BYTES + 1]] {
            let values = ["13800138000".to_owned(), "1990".to_owned()];
            let got = restored::<v1::QueryRequest>(&bytes, salt, &values);
            assert_eq!(got, refused, "{salt:?}");
        }
        let many: Vec<_> = (0..=VALUES_MAX).map(|n| n.to_string()).collect();
        let got = restored::<v1::QueryRequest>(&bytes, &SALT, &many);
        assert_eq!(got, refused);
    }

    #[test]
    fn a_value_goes_where_its_commitment_stands_and_nowhere_else() {
        let bytes = redacted(&query(vec![element("13800138000", "1990")]), &SALT).request;
        for values in [["13800138000", "1990"], ["1990", "13800138000"]] {
            let asked = query(vec![element("13800138000", "1990")]);
            assert_eq!(back(&bytes, &values), Ok(asked), "the order is free");
        }
        // In a field that holds no value a commitment is a text like any other.
        let misplaced = v1::QueryRequest {
            case_no: commitment("13800138000"),
            ..query(vec![element(&commitment("1990"), "")])
        };
        let got = back(&misplaced.encode_to_vec(), &["1990"]).expect("it is read");
        assert_eq!(got.case_no, misplaced.case_no);
        assert_eq!(got.elements[0].value, "1990");
    }

    #[test]
    fn a_value_in_plain_is_refused_and_so_is_a_kind_or_role_that_is_none() {
        let plain = Err(OfficerSignatureError::Plain);
        let mut odd_kind = element("", "");
        odd_kind.kind = "13800138000".into();
        let mut odd_role = element("", "");
        odd_role.role = "13800138000".into();
        let upper = commitment("1990").to_uppercase();
        for asked in [
            element("13800138000", ""),
            element("", "1990"),
            element(&upper, ""),
            odd_kind.clone(),
            odd_role.clone(),
        ] {
            let bytes = query(vec![asked.clone()]).encode_to_vec();
            assert_eq!(back(&bytes, &["13800138000"]), plain, "{asked:?}");
        }
        for asked in [odd_kind, odd_role] {
            let asked = query(vec![asked]);
            let out = redacted(&asked, &SALT);
            assert_eq!(out.values, ["13800138000"]);
            assert!(!out.request.windows(11).any(|w| w == b"13800138000"));
            assert_eq!(back(&out.request, &["13800138000"]), Ok(asked));
        }
    }

    #[test]
    fn bytes_that_are_no_request_are_refused() {
        let bytes = redacted(&query(vec![element("1", "")]), &SALT).request;
        for cut in 1..bytes.len() {
            let got = back(&bytes[..cut], &["1"]);
            assert!(got.is_err(), "{cut}: {got:?}");
        }
        let unreadable = Err(OfficerSignatureError::Unreadable);
        assert_eq!(back(&[0x0a, 9, b'x'], &[]), unreadable);
    }

    #[test]
    fn fields_of_a_later_version_are_passed_over_with_their_values() {
        let mut bytes = redacted(&query(vec![element("1", "")]), &SALT).request;
        let later = commitment("of a later version");
        bytes.extend_from_slice(&[0xc2, 0x3e, 64]);
        bytes.extend_from_slice(later.as_bytes());
        let asked = Ok(query(vec![element("1", "")]));
        assert_eq!(back(&bytes, &["1", "of a later version"]), asked);
        assert_eq!(back(&bytes, &["1"]), asked);
        let extra = back(&bytes, &["1", "of no version"]);
        assert_eq!(extra, Err(OfficerSignatureError::Values));
    }

    #[test]
    fn a_redacted_request_holds_no_value_and_depends_on_each_of_them() {
        let out = redacted(&query(vec![element("13800138000", "1990")]), &SALT);
        let holds = |text: &str| {
            out.request
                .windows(text.len())
                .any(|w| w == text.as_bytes())
        };
        assert!(holds("A-1") && holds("person") && holds("suspect"));
        assert!(!holds("13800138000") && !holds("1990"));
        for other in [
            element("13800138001", "1990"),
            element("13800138000", "1991"),
        ] {
            assert_ne!(redacted(&query(vec![other]), &SALT).request, out.request);
        }
        let salted = redacted(&query(vec![element("13800138000", "1990")]), &[6; 32]);
        assert_ne!(salted.request, out.request);
        let twice = redacted(&query(vec![element("1", "1"), element("1", "")]), &SALT);
        assert_eq!(twice.values, ["1"]);
    }
}
