//! The columns of a case file and the headers that name them, in English and Chinese. PROTOCOL.md
//! has the same table for people.

/// How a column's name begins that import ignores, such as `_reason` of a rejects file.
pub const IGNORED_PREFIX: char = '_';

macro_rules! fields {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $bytes_max:literal, [$($alias:literal),*];)*) => {
        /// A column of a case file.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Field {
            $($(#[$doc])* $variant,)*
        }

        impl Field {
            /// All of them, the required ones first.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The column's name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Other headers that mean this column.
            #[must_use]
            pub fn aliases(self) -> &'static [&'static str] {
                match self {
                    $(Self::$variant => &[$($alias),*],)*
                }
            }

            /// The longest content, in bytes of UTF-8.
            #[must_use]
            pub fn bytes_max(self) -> usize {
                match self {
                    $(Self::$variant => $bytes_max,)*
                }
            }
        }
    };
}

fields! {
    /// The case's own number.
    CaseNo = "case_no", 512, ["案件编号", "案号", "案件号", "立案号"];
    /// What kind of fraud it is.
    Category = "category", 256, ["案件类别", "案件类型", "案由", "类别"];
    /// The element's kind.
    Kind = "kind", 64, ["类型", "要素类型", "线索类型", "种类"];
    /// The element's value.
    Value = "value", 4096, ["值", "要素值", "线索值", "内容", "号码"];
    /// The part that the value's holder plays.
    Role = "role", 64, ["角色", "身份", "涉案角色"];
    /// What refines the value: chain, platform, birth date, country, plate class.
    Qualifier = "qualifier", 256, ["限定", "补充", "平台", "出生日期"];
    /// When the case was opened.
    OpenedOn = "opened_on", 64, ["立案日期", "立案时间"];
    /// When the element was seen.
    ObservedOn = "observed_on", 64, ["发现日期", "采集日期", "发案日期"];
    /// A title of the case, which stays at home.
    Title = "title", 1024, ["案件名称", "标题"];
    /// Whom other members may contact.
    Contact = "contact", 512, ["联系人", "联系方式", "承办单位"];
    /// Who may receive it.
    Audience = "audience", 4096, ["共享范围", "可见范围"];
    /// A handling code.
    Handling = "handling", 128, ["处理要求", "处置代码"];
    /// When it is to be erased.
    ExpiresOn = "expires_on", 64, ["到期日期", "有效期至"];
}

impl Field {
    /// The columns that every file must have.
    pub const REQUIRED: &[Self] = &[
        Self::CaseNo,
        Self::Category,
        Self::Kind,
        Self::Value,
        Self::Role,
    ];

    /// Reads a header: a name or alias; case, blanks around it, and blanks or hyphens for
    /// underscores do not matter.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let header: String = header
            .trim()
            .chars()
            .map(|c| {
                if c == ' ' || c == '-' {
                    '_'
                } else {
                    c.to_ascii_lowercase()
                }
            })
            .collect();
        Self::ALL
            .iter()
            .copied()
            .find(|field| field.name() == header || field.aliases().contains(&header.as_str()))
    }

    /// Whether a row without it is refused.
    #[must_use]
    pub fn is_required(self) -> bool {
        Self::REQUIRED.contains(&self)
    }
}

/// Whether import passes over a column of this name.
#[must_use]
pub fn is_ignored(header: &str) -> bool {
    header.trim_start().starts_with(IGNORED_PREFIX)
}
