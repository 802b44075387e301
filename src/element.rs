//! Kinds of evidence and the one spelling of each value (rule set
//! [`CANONICAL_RULES`]). PROTOCOL.md "Canonical values" lists every folding;
//! nothing else is equal. Pure: the same text gives the same value everywhere.

mod account;
mod device;
mod finance;
mod identity;
mod kind;
mod net;
mod phone;
mod reasons;
mod tables;
mod text;
mod wallet;

pub use kind::{Kind, Role, TokenClass};
pub use phone::Rules;
pub use reasons::{Refusal, Warning};
pub use tables::{Tables, tables};

/// The version of the rule set; it stands in every signed element record.
pub const CANONICAL_RULES: u32 = 1;

/// The longest value that any kind has, in bytes.
pub const VALUE_BYTES_MAX: usize = 2048;

/// A value's one spelling, and what is to be said about it.
#[derive(Clone, PartialEq, Eq)]
pub struct Canonical {
    /// The spelling that equal values share.
    pub value: String,
    /// Whether the value is tokenized; a bare name is not.
    pub linkable: bool,
    /// What an officer should know.
    pub warnings: Vec<Warning>,
}

impl std::fmt::Debug for Canonical {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Canonical")
            .field("linkable", &self.linkable)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

impl Canonical {
    fn plain(value: String) -> Self {
        Self {
            value,
            linkable: true,
            warnings: Vec::new(),
        }
    }

    fn warn(mut self, warning: Warning) -> Self {
        self.warnings.push(warning);
        self
    }
}

/// Makes the canonical value of `raw`, which `qualifier` may refine (wallet
/// chain, platform, birth date, passport country, plate class).
///
/// # Errors
/// A [`Refusal`] when `raw` cannot be an identifier of its kind.
pub fn canonicalize(
    kind: Kind,
    raw: &str,
    qualifier: Option<&str>,
    rules: &Rules,
) -> Result<Canonical, Refusal> {
    let clean = text::clean(kind, raw)?;
    let qualifier = match qualifier {
        Some(q) if !q.trim().is_empty() => Some(text::clean(Kind::App, q)?),
        _ => None,
    };
    let qualifier = qualifier.as_deref();
    match kind {
        Kind::Phone => phone::phone(&clean, rules),
        Kind::BankCard => finance::bank_card(&clean),
        Kind::BankAccount => finance::bank_account(&clean),
        Kind::Iban => finance::iban(&clean),
        Kind::ResidentId => identity::resident_id(&clean),
        Kind::Passport => identity::passport(&clean, qualifier),
        Kind::Person => identity::person(&clean, qualifier),
        Kind::OrgId => identity::org_id(&clean),
        Kind::Wechat => account::wechat(&clean),
        Kind::Qq => account::qq(&clean),
        Kind::Alipay => account::alipay(&clean, rules),
        Kind::Telegram => account::telegram(&clean, rules),
        Kind::Social => account::social(&clean, qualifier),
        Kind::Email => net::email(&clean),
        Kind::Url => net::url(&clean),
        Kind::Domain => net::domain(&clean),
        Kind::Ip => net::ip(&clean),
        Kind::Imei => device::imei(&clean),
        Kind::Imsi => device::imsi(&clean),
        Kind::Mac => device::mac(&clean),
        Kind::Wallet => wallet::wallet(&clean, qualifier),
        Kind::Plate => device::plate(&clean, qualifier),
        Kind::App => account::app(&clean, qualifier),
    }
}

/// The token function's input: kind name ‖ 0x00 ‖ canonical value.
#[must_use]
pub fn token_input(kind: Kind, canonical: &str) -> Vec<u8> {
    let name = kind.as_str().as_bytes();
    let mut input = Vec::with_capacity(name.len() + 1 + canonical.len());
    input.extend_from_slice(name);
    input.push(0);
    input.extend_from_slice(canonical.as_bytes());
    input
}
