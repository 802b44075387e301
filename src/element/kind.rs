//! The closed sets an element is described with: kind, role and token class,
//! with their names in code, on the wire and in Chinese case files.

use crate::wire::v1::{ElementKind, ElementRole};

/// Which token key covers a kind (TRUST.md: what can be enumerated has a budget of its own).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TokenClass {
    /// Few enough values exist that guessing all of them is an attack.
    Enumerable,
    /// The space of values is too large or too sparse to walk through.
    Open,
}

impl TokenClass {
    /// The name in configuration, tables and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enumerable => "enumerable",
            Self::Open => "open",
        }
    }
}

macro_rules! closed_set {
    ($(#[$doc:meta])* $name:ident, $wire:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal [$($alias:literal),*];)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
        }

        impl $name {
            /// All of them, in the order of their wire numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in code, tables, files and metrics.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            /// Other names that import accepts, all documented.
            #[must_use]
            pub fn aliases(self) -> &'static [&'static str] {
                match self {
                    $(Self::$variant => &[$($alias),*],)*
                }
            }

            /// Reads the exact name or one of [`Self::aliases`].
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                let text = text.trim();
                Self::ALL
                    .iter()
                    .copied()
                    .find(|v| v.as_str() == text || v.aliases().contains(&text))
            }

            /// The number that signed bodies carry.
            #[must_use]
            pub fn to_wire(self) -> $wire {
                match self {
                    $(Self::$variant => $wire::$variant,)*
                }
            }

            /// Reads a number from a body; `None` for one that is not known here.
            #[must_use]
            pub fn from_wire(number: i32) -> Option<Self> {
                match $wire::try_from(number).ok()? {
                    $wire::Unspecified => None,
                    $($wire::$variant => Some(Self::$variant),)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

closed_set! {
    /// What kind of identifier an element's value is.
    Kind, ElementKind {
        /// A phone number, E.164 or a Chinese short or service number.
        Phone = "phone" ["手机号", "手机号码", "电话", "电话号码"];
        /// A payment card number.
        BankCard = "bank-card" ["银行卡", "银行卡号"];
        /// An account number that is no card and no IBAN.
        BankAccount = "bank-account" ["银行账号", "银行账户", "对公账户"];
        /// An international bank account number, ISO 13616.
        Iban = "iban" ["国际银行账号"];
        /// A Chinese resident identity number, GB 11643.
        ResidentId = "resident-id" ["身份证", "身份证号", "身份证号码", "公民身份号码"];
        /// A passport number; the qualifier is its country.
        Passport = "passport" ["护照", "护照号"];
        /// A natural person's name; the qualifier is the birth date.
        Person = "person" ["姓名", "人员"];
        /// A unified social credit code, GB 32100, or an older code.
        OrgId = "org-id" ["统一社会信用代码", "组织机构代码"];
        /// A WeChat id.
        Wechat = "wechat" ["微信", "微信号"];
        /// A QQ number.
        Qq = "qq" ["QQ", "QQ号"];
        /// An Alipay account.
        Alipay = "alipay" ["支付宝", "支付宝账号"];
        /// A Telegram account.
        Telegram = "telegram" ["电报", "纸飞机"];
        /// An account of another platform; the qualifier names it.
        Social = "social" ["社交账号"];
        /// An email address.
        Email = "email" ["邮箱", "电子邮箱"];
        /// A web address.
        Url = "url" ["网址", "链接"];
        /// A domain name.
        Domain = "domain" ["域名"];
        /// An IPv4 or IPv6 address.
        Ip = "ip" ["IP", "IP地址"];
        /// A mobile device's identity.
        Imei = "imei" ["IMEI", "手机串号"];
        /// A subscriber's identity.
        Imsi = "imsi" ["IMSI"];
        /// A network interface's address.
        Mac = "mac" ["MAC", "MAC地址"];
        /// A cryptocurrency address; the qualifier is its chain.
        Wallet = "wallet" ["钱包", "钱包地址", "虚拟币地址"];
        /// A vehicle's licence plate; the qualifier is its class.
        Plate = "plate" ["车牌", "车牌号"];
        /// A mobile application; the qualifier is its platform.
        App = "app" ["APP", "应用"];
    }
}

closed_set! {
    /// What part the value's holder plays in the case.
    Role, ElementRole {
        /// Belongs to a suspect.
        Suspect = "suspect" ["嫌疑人", "犯罪嫌疑人", "涉案人员"];
        /// Belongs to a victim.
        Victim = "victim" ["受害人", "被害人", "事主"];
        /// Belongs to a witness.
        Witness = "witness" ["证人"];
        /// Was used to commit the offence, whoever holds it.
        Instrument = "instrument" ["工具", "涉案工具", "作案工具"];
    }
}

impl Kind {
    /// The token key that covers this kind.
    #[must_use]
    pub fn class(self) -> TokenClass {
        match self {
            Self::Phone
            | Self::ResidentId
            | Self::BankCard
            | Self::Plate
            | Self::Qq
            | Self::Imei
            | Self::Imsi
            | Self::Passport
            | Self::Person => TokenClass::Enumerable,
            Self::BankAccount
            | Self::Iban
            | Self::OrgId
            | Self::Wechat
            | Self::Alipay
            | Self::Telegram
            | Self::Social
            | Self::Email
            | Self::Url
            | Self::Domain
            | Self::Ip
            | Self::Mac
            | Self::Wallet
            | Self::App => TokenClass::Open,
        }
    }
}
