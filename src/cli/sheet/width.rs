//! How wide a text is on a terminal, and where it may be broken: between words,
//! and between wide characters, as Chinese is set.

use console::measure_text_width;

/// What stands in place of what was cut off.
const CUT: &str = "..";

/// Columns that a text takes on a terminal.
#[must_use]
pub fn of(text: &str) -> usize {
    measure_text_width(text)
}

fn of_char(c: char) -> usize {
    measure_text_width(c.encode_utf8(&mut [0; 4]))
}

/// Characters that do not begin a line.
fn closes(c: char) -> bool {
    "，。；：、！？）】》”’…,.;:!?)]}".contains(c)
}

/// Characters that do not end a line.
fn opens(c: char) -> bool {
    "（【《“‘([{".contains(c)
}

/// What is not broken, and whether a space stands before it.
struct Unit {
    text: String,
    spaced: bool,
}

/// The parts between which a line may break.
fn units(text: &str) -> Vec<Unit> {
    let mut all: Vec<Unit> = vec![];
    let (mut spaced, mut joined) = (false, false);
    let mut narrow = false;
    for c in text.chars() {
        if c == ' ' {
            (spaced, narrow, joined) = (true, false, false);
            continue;
        }
        let wide = of_char(c) > 1;
        let stays = !spaced && (joined || closes(c) || (narrow && !wide));
        match all.last_mut().filter(|_| stays) {
            Some(unit) => unit.text.push(c),
            None => all.push(Unit {
                text: c.into(),
                spaced,
            }),
        }
        (spaced, narrow, joined) = (false, !wide, opens(c));
    }
    all
}

/// Breaks a text into lines no wider than `width`; what cannot be broken, such
/// as a path, is `cut` into pieces, or stands on a line of its own as it is.
#[must_use]
pub fn wrap(text: &str, width: usize, cut: bool) -> Vec<String> {
    let mut lines = vec![];
    for paragraph in text.split('\n') {
        let indent: String = paragraph.chars().take_while(|c| *c == ' ').collect();
        let mut line = indent.clone();
        let mut filled = false;
        for unit in units(paragraph) {
            let space = usize::from(unit.spaced && filled);
            if filled && of(&line) + space + of(&unit.text) > width {
                lines.push(std::mem::replace(&mut line, indent.clone()));
            } else if space > 0 {
                line.push(' ');
            }
            line.push_str(&unit.text);
            filled = true;
            while cut && of(&line) > width {
                let (head, tail) = split_at(&line, width);
                // A path is best broken behind a slash.
                let at = head.rfind('/').map_or(head.len(), |at| at + 1);
                lines.push(head[..at].to_owned());
                line = head[at..].to_owned() + &tail;
            }
        }
        lines.push(line);
    }
    lines
}

/// Splits a text after as many characters as fit into `width`, at least one.
fn split_at(text: &str, width: usize) -> (String, String) {
    let (mut head, mut taken) = (String::new(), 0);
    let mut rest = text.chars();
    for c in rest.by_ref() {
        taken += of_char(c);
        head.push(c);
        let next = rest_width(text, head.len());
        if taken + next > width {
            break;
        }
    }
    let tail = text[head.len()..].to_owned();
    (head, tail)
}

/// The width of the character that begins at that byte.
fn rest_width(text: &str, at: usize) -> usize {
    text.get(at..)
        .and_then(|rest| rest.chars().next())
        .map_or(0, of_char)
}

/// Cuts a text to `width`, and marks that it was.
#[must_use]
pub fn shorten(text: &str, width: usize) -> String {
    if of(text) <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(of(CUT)).max(1);
    split_at(text, room).0 + CUT
}

/// Fills a text up to `width`, before or after it.
#[must_use]
pub fn pad(text: &str, width: usize, right: bool) -> String {
    let fill = " ".repeat(width.saturating_sub(of(text)));
    if right {
        fill + text
    } else {
        text.to_owned() + &fill
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_asked_and_no_word_is_broken() {
        let english =
            "the node does not answer: see that casegate serve runs, or ask casegate doctor";
        let chinese = "警报：本节点有 2 条记录无效，签名密钥当时已吊销（或不在有效期内）；请执行 casegate doctor。";
        for width in [20, 37, 60] {
            for text in [english, chinese] {
                let lines = wrap(text, width, false);
                assert!(lines.iter().all(|line| of(line) <= width), "{lines:?}");
                let glued = lines.concat().replace(' ', "");
                assert_eq!(glued, text.replace(' ', ""), "nothing is lost");
                assert!(
                    lines.iter().all(|line| !line.starts_with(closes)),
                    "{lines:?}"
                );
                assert!(!lines.iter().any(|line| line.ends_with('（')), "{lines:?}");
            }
            for line in wrap(english, width, false) {
                assert!(line.split(' ').all(|word| english.contains(word)), "{line}");
            }
        }
    }

    #[test]
    fn what_cannot_be_broken_is_cut_or_stands_alone() {
        let path = "in /a/path/that/is/longer/than/the/line now";
        let whole = wrap(path, 10, false);
        assert_eq!(whole, ["in", "/a/path/that/is/longer/than/the/line", "now"]);
        let cut = wrap(path, 10, true);
        assert!(cut.iter().all(|line| of(line) <= 10), "{cut:?}");
        assert_eq!(wrap("", 10, true), [""]);
        assert_eq!(wrap("one\ntwo", 10, true), ["one", "two"]);
    }

    #[test]
    fn a_shortened_text_fits_and_says_so() {
        assert_eq!(shorten("冒充公检法诈骗", 9), "冒充公..");
        assert_eq!(shorten("loan", 4), "loan");
        assert_eq!(shorten("loans", 4), "lo..");
        assert_eq!(pad("冒充", 6, true), "  冒充");
        assert_eq!(pad("冒充", 6, false), "冒充  ");
    }
}
