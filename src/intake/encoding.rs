//! The text encodings of case files: UTF-8, and GB18030 as older police systems write it.
//!
//! In GB18030 the bytes of `"`, `,` and line ends never occur inside a longer character, so rows
//! and fields are split on bytes first and decoded one by one.

use encoding_rs::GB18030;

/// How much of a file, from its first line that is not ASCII, decides the encoding.
pub const SNIFF_BYTES: usize = 64 << 10;

/// The encoding of a case file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// UTF-8, with or without a byte order mark.
    Utf8,
    /// GB18030, which includes GBK and GB2312.
    Gb18030,
}

impl Encoding {
    /// The name that is said to people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Gb18030 => "GB18030",
        }
    }

    /// Decides by lines: those that only one of the two encodings can mean are counted, and a tie
    /// is UTF-8. A single damaged line does not turn a UTF-8 file into nonsense.
    #[must_use]
    pub fn sniff(sample: &[u8]) -> Self {
        let (mut utf8, mut gb) = (0_usize, 0_usize);
        for line in sample
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_ascii())
        {
            match std::str::from_utf8(line) {
                Ok(_) => utf8 += 1,
                // The sample may end inside a character.
                Err(error) if error.error_len().is_none() => {}
                Err(_) if Self::Gb18030.decode(line).is_some() => gb += 1,
                Err(_) => {}
            }
        }
        if gb > utf8 { Self::Gb18030 } else { Self::Utf8 }
    }

    /// Decodes one field or line; `None` where it is not text in this encoding.
    #[must_use]
    pub fn decode(self, bytes: &[u8]) -> Option<String> {
        match self {
            Self::Utf8 => std::str::from_utf8(bytes).ok().map(str::to_owned),
            Self::Gb18030 => GB18030
                .decode_without_bom_handling_and_without_replacement(bytes)
                .map(std::borrow::Cow::into_owned),
        }
    }

    /// Decodes what it can, with U+FFFD for the rest, to show a refused row.
    #[must_use]
    pub fn decode_lossy(self, bytes: &[u8]) -> String {
        match self {
            Self::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
            Self::Gb18030 => GB18030.decode_without_bom_handling(bytes).0.into_owned(),
        }
    }
}
