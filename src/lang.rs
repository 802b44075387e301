//! Words for people: one catalogue, in Chinese and English, for tables,
//! refusals, errors and doctor's advice. Keys are dotted; a text may hold
//! placeholders such as `{case}`. Codes that modules give to their errors find
//! their sentence through [`Lang::coded`], which has a fallback per family.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// The catalogue's files: one a family of keys.
const FILES: [&str; 11] = [
    include_str!("lang/audit.toml"),
    include_str!("lang/code.toml"),
    include_str!("lang/demo.toml"),
    include_str!("lang/desk.toml"),
    include_str!("lang/doctor.toml"),
    include_str!("lang/error.toml"),
    include_str!("lang/label.toml"),
    include_str!("lang/message.toml"),
    include_str!("lang/node.toml"),
    include_str!("lang/pki.toml"),
    include_str!("lang/refusal.toml"),
];

/// A language that casegate speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lang {
    /// Simplified Chinese.
    Zh,
    /// English.
    #[default]
    En,
}

/// A name that is not a language of casegate.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the language must be zh or en, not {0:?}")]
pub struct UnknownLang(String);

impl FromStr for Lang {
    type Err = UnknownLang;

    fn from_str(text: &str) -> Result<Self, UnknownLang> {
        match text {
            "zh" => Ok(Self::Zh),
            "en" => Ok(Self::En),
            _ => Err(UnknownLang(text.chars().take(20).collect())),
        }
    }
}

impl fmt::Display for Lang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zh => "zh",
            Self::En => "en",
        })
    }
}

/// One text of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrase {
    /// In Chinese.
    pub zh: Option<String>,
    /// In English.
    pub en: Option<String>,
}

impl Lang {
    /// Takes the language from the value of `LANG` or `LC_ALL`, such as
    /// `zh_CN.UTF-8`; English unless it begins with `zh`.
    #[must_use]
    pub fn from_env_value(value: Option<&str>) -> Self {
        match value {
            Some(value)
                if value
                    .get(..2)
                    .is_some_and(|lang| lang.eq_ignore_ascii_case("zh")) =>
            {
                Self::Zh
            }
            _ => Self::En,
        }
    }

    /// Returns the text of `key` with its placeholders filled. An unknown key
    /// is returned as it is, and a placeholder without a value stays visible.
    #[must_use]
    pub fn text(self, key: &str, values: &[(&str, &str)]) -> String {
        match catalogue().get(key) {
            Some(phrase) => fill(self.pick(phrase).unwrap_or(key), values),
            None => key.to_owned(),
        }
    }

    /// Returns the text of `family.code`, or that of `family.generic`, whose
    /// `{code}` is the code, when the catalogue has no sentence for it.
    #[must_use]
    pub fn coded(self, family: &str, code: &str, values: &[(&str, &str)]) -> String {
        let key = format!("{family}.{code}");
        if catalogue().contains_key(&key) {
            return self.text(&key, values);
        }
        let mut with_code = vec![("code", code)];
        with_code.extend_from_slice(values);
        self.text(&format!("{family}.generic"), &with_code)
    }

    /// Says whether `family.code` has a sentence of its own.
    #[must_use]
    pub fn knows(self, family: &str, code: &str) -> bool {
        catalogue()
            .get(&format!("{family}.{code}"))
            .is_some_and(|phrase| self.pick(phrase).is_some())
    }

    fn pick(self, phrase: &Phrase) -> Option<&str> {
        match self {
            Self::Zh => phrase.zh.as_deref().or(phrase.en.as_deref()),
            Self::En => phrase.en.as_deref().or(phrase.zh.as_deref()),
        }
    }
}

/// The whole catalogue by key.
///
/// # Panics
/// When a catalogue file does not parse, which a test rules out.
pub fn catalogue() -> &'static BTreeMap<String, Phrase> {
    static CATALOGUE: OnceLock<BTreeMap<String, Phrase>> = OnceLock::new();
    CATALOGUE.get_or_init(|| every_phrase().into_iter().collect())
}

/// Every phrase of every file, in their order. A key stands once, which a test
/// of the catalogue looks after.
///
/// # Panics
/// When a catalogue file does not parse, which a test rules out.
#[must_use]
pub fn every_phrase() -> Vec<(String, Phrase)> {
    let mut phrases = Vec::new();
    for file in FILES {
        let table: toml::Table = file.parse().expect("the catalogue's files are TOML");
        collect("", &table, &mut phrases);
    }
    phrases
}

/// A table with `zh` or `en` is a phrase; any other is a level of keys.
fn collect(prefix: &str, table: &toml::Table, phrases: &mut Vec<(String, Phrase)>) {
    for (name, value) in table {
        let Some(inner) = value.as_table() else {
            continue;
        };
        let key = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        let text = |lang: &str| {
            inner
                .get(lang)
                .and_then(toml::Value::as_str)
                .map(str::to_owned)
        };
        let phrase = Phrase {
            zh: text("zh"),
            en: text("en"),
        };
        if phrase.zh.is_some() || phrase.en.is_some() {
            phrases.push((key, phrase));
        } else {
            collect(&key, inner, phrases);
        }
    }
}

/// Fills placeholders in one pass, so that a value with braces is left alone.
fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let value = after
            .split_once('}')
            .and_then(|(name, tail)| values.iter().find(|(n, _)| *n == name).map(|v| (v.1, tail)));
        match value {
            Some((value, tail)) => {
                out.push_str(value);
                rest = tail;
            }
            None => {
                out.push('{');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The names between braces in a text, in order, for checks of the catalogue.
#[must_use]
pub fn placeholders(text: &str) -> Vec<&str> {
    text.split('{')
        .skip(1)
        .filter_map(|part| part.split_once('}'))
        .map(|(name, _)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_filled_once_and_missing_ones_stay_visible() {
        assert_eq!(
            fill("{a} and {b}{c", &[("a", "{b}"), ("b", "2")]),
            "{b} and 2{c"
        );
        assert_eq!(fill("{x}", &[]), "{x}");
    }

    #[test]
    fn the_language_comes_from_the_environment_or_is_english() {
        assert_eq!(Lang::from_env_value(Some("zh_CN.UTF-8")), Lang::Zh);
        assert_eq!(Lang::from_env_value(Some("ZH")), Lang::Zh);
        for other in [
            None,
            Some(""),
            Some("C"),
            Some("z"),
            Some("en_US.UTF-8"),
            Some("中文"),
        ] {
            assert_eq!(Lang::from_env_value(other), Lang::En, "{other:?}");
        }
        assert!("fr".parse::<Lang>().is_err());
        assert_eq!("zh".parse::<Lang>().expect("a language").to_string(), "zh");
    }

    #[test]
    fn an_unknown_code_falls_back_to_its_family() {
        let text = Lang::En.coded("refusal", "moon.full", &[]);
        assert!(text.contains("moon.full"), "{text}");
        assert!(!Lang::En.knows("refusal", "moon.full"));
        assert_eq!(Lang::En.text("no.such.key", &[]), "no.such.key");
    }
}
