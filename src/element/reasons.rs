//! Why a value is refused, and what is odd about one that is accepted: closed
//! sets with stable codes. No sentence here ever repeats a part of the value.

use crate::blame::{Blame, Blamed};

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $code:literal, $sentence:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $(
                #[doc = $sentence]
                #[error($sentence)]
                $variant,
            )*
        }

        impl $name {
            /// All of them, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The stable code, part of the interface.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)*
                }
            }
        }
    };
}

reasons! {
    /// Why a text cannot be an identifier of its kind, and what to do about it.
    Refusal {
        Empty = "value.empty", "the value is empty: fill it in or delete the row";
        TooLong = "value.too_long", "the value is longer than any identifier: put one value in the cell";
        Masked = "value.masked", "the value is masked with * or similar: ask the source for the whole value";
        Control = "value.control", "the value has a line break or control character: put one value in the cell";
        RegionUnknown = "phone.region", "the default phone region is not a two-letter region code: set one such as CN";
        PhoneCharacters = "phone.characters", "the phone number has characters that are not dialled: keep digits, + and separators";
        PhoneImpossible = "phone.impossible", "no phone number of its country has this length: check for missing or extra digits";
        PhoneNoArea = "phone.no_area_code", "the fixed-line number lacks its area code: put the area code in front";
        CardLength = "bank_card.length", "a card number has 12 to 19 digits: check for missing digits, or use bank-account";
        CardCharacters = "bank_card.characters", "a card number has digits only: remove other text";
        CardLuhn = "bank_card.luhn", "the card number's check digit is wrong: compare with the source, or use bank-account";
        AccountShape = "bank_account.shape", "an account number has 5 to 34 letters and digits, 4 digits at least: check it";
        IbanShape = "iban.shape", "this is not the shape of an IBAN of its country: check country, length and letters";
        IbanChecksum = "iban.checksum", "the IBAN's check digits are wrong: compare with the source";
        ResidentShape = "resident_id.shape", "a resident ID has 18 characters (or 15 digits): check for missing digits";
        ResidentCheck = "resident_id.check", "the resident ID's check character is wrong: compare with the source";
        ResidentDate = "resident_id.date", "the resident ID's birth date is not a date: compare with the source";
        ResidentProvince = "resident_id.province", "the resident ID's first digits are no province: compare with the source";
        PassportShape = "passport.shape", "a passport number has 5 to 15 letters and digits, with a digit: check it";
        CountryShape = "passport.country", "the passport's country is not a two- or three-letter code: use one such as CN";
        PersonShape = "person.shape", "a person's name has letters and no digits or brackets: keep the name alone";
        BirthDate = "person.birth_date", "the birth date is not a date: write YYYY-MM-DD or leave it out";
        OrgShape = "org_id.shape", "an organization code has 18 (or 9 or 15) letters and digits: check it";
        OrgCheck = "org_id.check", "the organization code's check character is wrong: compare with the source";
        WechatShape = "wechat.shape", "a WeChat id has 2 to 64 ASCII letters, digits, '_', '-': a nickname is no id";
        QqShape = "qq.shape", "a QQ number has 5 to 12 digits and no leading zero: check it";
        AlipayShape = "alipay.shape", "an Alipay account is a phone number, an email address or a 16-digit id from 2088: check it";
        TelegramShape = "telegram.shape", "a Telegram account is a @name, a t.me link, a number or a phone: check it";
        SocialShape = "social.shape", "the account name has no letter or digit, or spaces in it: keep the account alone";
        PlatformShape = "social.platform", "the platform's name must be 1 to 40 letters, digits, '.', '-', '_': check it";
        EmailShape = "email.shape", "an email address is name@domain with no spaces: check it";
        UrlShape = "url.shape", "this is not a web address: check scheme and host";
        UrlHost = "url.host", "the web address has no host name that could exist: check it";
        DomainShape = "domain.shape", "this is not a domain name: keep the name alone, without scheme, port and path";
        DomainLabel = "domain.label", "a part of the domain name is empty, too long or has impossible characters: check it";
        DomainBare = "domain.bare", "a domain name needs a dot and a top level that is not a number: check it, or use ip";
        IpShape = "ip.shape", "this is not one IPv4 or IPv6 address: leave out port and prefix length";
        ImeiShape = "imei.shape", "an IMEI has 14 to 16 digits: check for missing digits";
        ImeiLuhn = "imei.luhn", "the IMEI's check digit is wrong: compare with the source";
        ImsiShape = "imsi.shape", "an IMSI has 14 or 15 digits and begins with a country code: check it";
        MacShape = "mac.shape", "a MAC address has 12 hexadecimal digits with one kind of separator: check it";
        MacNobody = "mac.nobody", "the null and broadcast addresses belong to no device: leave the row out";
        PlateShape = "plate.shape", "this is not a licence plate: keep letters and digits, with the province in front";
        AppShape = "app.shape", "an app is a package name, store id, file hash or name of 2 to 200 characters: check it";
        ChainShape = "wallet.chain", "the chain's name must be 1 to 40 letters, digits or separators: check it";
        WalletEip55 = "wallet.eip55", "the address's mixed case is not its EIP-55 checksum: compare with the source";
        WalletChecksum = "wallet.checksum", "the address's checksum is wrong: compare with the source, it is case-sensitive";
        WalletUnknown = "wallet.unknown", "this is no address of a chain known here: check it, or name its chain in the qualifier";
    }
}

reasons! {
    /// What an officer should know about a value that is accepted.
    Warning {
        CountyUnknown = "resident_id.county", "the resident ID names no county: compare with the source";
        OldResidentId = "resident_id.upgraded", "the 15-digit resident ID was upgraded to 18 characters";
        NotLinkable = "person.not_linkable", "a name without a birth date is kept at home and never linked";
        CountryMissing = "passport.no_country", "without its country this passport number links only to others without one";
        PlatformMissing = "social.no_platform", "without its platform this account links only to others without one";
        IbanCountry = "iban.country", "the IBAN's country has no registered format: only its check digits were checked";
        OrgOldNumber = "org_id.registration", "a 15-digit registration number has no link to the 18-character code";
        DomainIsAddress = "domain.is_address", "this is an IP address: as a domain it links only to domains, so add it as ip too";
        IpNotGlobal = "ip.not_global", "this address is private or reserved and means another device elsewhere";
        ImeiSpare = "imei.spare", "the last digit is the spare digit that phones send, not the check digit";
        WalletUnchecked = "wallet.unchecked", "no checksum is known for this chain: the address was taken as it stands";
    }
}

impl Blamed for Refusal {
    fn blame(&self) -> Blame {
        Blame::Misbehaved
    }

    fn code(&self) -> &'static str {
        Self::code(*self)
    }
}
