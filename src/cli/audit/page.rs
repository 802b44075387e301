//! A sheet as one HTML page: nothing is loaded, nothing runs, and every text
//! is escaped. It prints as it is shown.

use std::fmt::Write;

use super::show::{Section, Sheet};
use crate::lang::Lang;

const STYLE: &str = "\
body{font:14px/1.5 system-ui,sans-serif;max-width:75em;margin:2em auto;padding:0 1em;color:#111}\
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}\
.good{color:#0a5c2b}.bad{color:#a1130c}\
table{border-collapse:collapse;width:100%}\
th,td{border-bottom:1px solid #ccc;padding:.25em .6em;text-align:left;vertical-align:top;\
overflow-wrap:anywhere}\
td.n,th.n{text-align:right}\
@media print{body{margin:0;max-width:none}tr{break-inside:avoid}}";

/// Writes the page.
#[must_use]
pub(super) fn html(sheet: &Sheet, lang: Lang) -> String {
    let title = lang.text(sheet.title, &[("subject", &sheet.subject)]);
    let title = escape(&title);
    let mut body = format!("<h1>{title}</h1>\n");
    let class = if sheet.ok { "good" } else { "bad" };
    for (at, (key, values)) in sheet.sentences.iter().enumerate() {
        let values: Vec<(&str, &str)> = values.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let class = if at == 0 { class } else { "" };
        push(
            &mut body,
            format_args!(
                "<p class=\"{class}\">{}</p>\n",
                escape(&lang.text(key, &values))
            ),
        );
    }
    for section in &sheet.sections {
        table(&mut body, section, lang);
    }
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    format!(
        "<!doctype html>\n<html lang=\"{lang}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
}

fn table(body: &mut String, section: &Section, lang: Lang) {
    let title = escape(&lang.text(section.title, &[]));
    push(body, format_args!("<h2>{title}</h2>\n<table>\n<tr>"));
    let class = |at| {
        if section.is_number(at) {
            " class=\"n\""
        } else {
            ""
        }
    };
    for (at, key) in section.columns.iter().enumerate() {
        let text = escape(&lang.text(key, &[]));
        push(body, format_args!("<th{}>{text}</th>", class(at)));
    }
    body.push_str("</tr>\n");
    for row in &section.rows {
        body.push_str("<tr>");
        for (at, cell) in row.iter().enumerate() {
            let text = escape(&cell.text(lang));
            push(body, format_args!("<td{}>{text}</td>", class(at)));
        }
        body.push_str("</tr>\n");
    }
    body.push_str("</table>\n");
    if section.more > 0 {
        let more = lang.text("audit.more", &[("count", &section.more.to_string())]);
        push(body, format_args!("<p>{}</p>\n", escape(&more)));
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
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::audit::show::Cell;

    #[test]
    fn what_came_from_a_bundle_cannot_become_markup() {
        let evil = "<script>alert('&')</script>\u{1b}";
        let sheet = Sheet {
            ok: false,
            title: "audit.verify.title",
            subject: evil.into(),
            sentences: vec![],
            sections: vec![Section::new(
                "audit.title.logs",
                &["label.column.log"],
                vec![vec![Cell::Text(evil.into())]],
            )],
        };
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
