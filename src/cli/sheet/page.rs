//! A sheet as one HTML page: nothing is loaded, nothing runs, and every text
//! is escaped. It has all columns and rows, and prints as it is shown.

use std::fmt::Write;

use super::draw::{said, sums};
use super::tell::{Voice, listed};
use super::{Item, Section, Sheet};
use crate::cli::failure::Exit;
use crate::lang::Lang;

const STYLE: &str = "\
body{font:14px/1.5 system-ui,sans-serif;max-width:75em;margin:2em auto;padding:0 1em;color:#111}\
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}\
.good{color:#0a5c2b}.bad{color:#a1130c}pre{white-space:pre-wrap;overflow-wrap:anywhere}\
table{border-collapse:collapse;width:100%}\
th,td{border-bottom:1px solid #ccc;padding:.25em .6em;text-align:left;vertical-align:top;\
overflow-wrap:anywhere}\
td.n,th.n{text-align:right}\
@media print{body{margin:0;max-width:none}tr{break-inside:avoid}}";

/// Writes the page.
#[must_use]
pub fn html(sheet: &Sheet, lang: Lang) -> String {
    let voice = Voice::of(sheet, lang, true);
    let title = match &sheet.title {
        Some(say) => say.text(voice),
        None => format!("casegate {}", sheet.command.replace('.', " ")),
    };
    let title = escape(&title);
    let mut body = format!("<h1>{title}</h1>\n");
    // The first sentence is the verdict.
    let mut class = match sheet.exit {
        Exit::Done => " class=\"good\"",
        _ => " class=\"bad\"",
    };
    for item in &sheet.items {
        match item {
            Item::Data(..) | Item::All(..) => {}
            Item::Say(say) => {
                let text = escape(&say.text(voice));
                push(&mut body, format_args!("<p{class}>{text}</p>\n"));
                class = "";
            }
            Item::Line(line) => push(&mut body, format_args!("<pre>{}</pre>\n", escape(line))),
            Item::Title(key) => heading(&mut body, key, lang),
            Item::Section(section) => table(&mut body, section, voice),
        }
    }
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    format!(
        "<!doctype html>\n<html lang=\"{lang}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
}

fn heading(body: &mut String, key: &str, lang: Lang) {
    let text = escape(&lang.text(key, &[]));
    push(body, format_args!("<h2>{text}</h2>\n"));
}

fn table(body: &mut String, section: &Section, voice: Voice) {
    if section.rows.is_empty() {
        return;
    }
    let lang = voice.lang;
    if let Some(title) = section.title {
        heading(body, title, lang);
    }
    body.push_str("<table>\n<tr>");
    let class = |at| {
        if section.is_number(at) {
            " class=\"n\""
        } else {
            ""
        }
    };
    let columns = || {
        let places = section.places.iter().enumerate();
        places.filter_map(|(at, place)| Some((at, place.heading?)))
    };
    for (at, key) in columns() {
        let text = escape(&lang.text(key, &[]));
        push(body, format_args!("<th{}>{text}</th>", class(at)));
    }
    body.push_str("</tr>\n");
    for row in &section.rows {
        body.push_str("<tr>");
        for (at, _) in columns() {
            let text = row.get(at).map(|cell| escape(&cell.text(voice)));
            let text = text.unwrap_or_default();
            push(body, format_args!("<td{}>{text}</td>", class(at)));
        }
        body.push_str("</tr>\n");
    }
    body.push_str("</table>\n");
    under(body, section, voice);
}

/// What stands under a table.
fn under(body: &mut String, section: &Section, voice: Voice) {
    let lang = voice.lang;
    let sums = listed(lang, sums(section).map(|sum| said(lang, sum)));
    if !sums.is_empty() {
        let text = lang.text("label.sum.all", &[("sums", &sums)]);
        push(body, format_args!("<p>{}</p>\n", escape(&text)));
    }
    let rows = section.rows.len() as u64;
    if let Some((total, why)) = section.total.filter(|(total, _)| *total > rows) {
        let (shown, total) = (rows.to_string(), total.to_string());
        let words = [("shown", &*shown), ("total", &*total)];
        let text = lang.text(why, &words);
        push(body, format_args!("<p>{}</p>\n", escape(&text)));
    }
    for say in &section.foot {
        push(body, format_args!("<p>{}</p>\n", escape(&say.text(voice))));
    }
}

fn push(body: &mut String, text: std::fmt::Arguments<'_>) {
    body.write_fmt(text).expect("a String takes it");
}

/// Escapes a text for use between tags and in quoted attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push('\n'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sheet::{Column, Say};

    #[test]
    fn what_came_from_a_bundle_cannot_become_markup() {
        const LOGS: &[Column<&str>] = &[Column::of("log", "label.column.log", |t| (*t).into())];
        let evil = "<script>alert('&')</script>\u{1b}";
        let mut sheet = Sheet::new("audit.verify").ends(Exit::Nothing);
        sheet.head(Say::new("audit.verify.title", [("subject", evil.into())]));
        sheet.section(Section::of(&[evil], LOGS).titled("audit.title.logs"));
        let page = html(&sheet, Lang::Zh);
        assert!(
            !page.contains("<script") && !page.contains('\u{1b}'),
            "{page}"
        );
        assert_eq!(
            page.matches("&lt;script&gt;alert(&#39;&amp;&#39;)").count(),
            3
        );
    }
}
