//! Case files as bureaus really send them: refused row by row, mended, and imported again.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking, and a skipped test says so"
)]

use std::path::Path;

use casegate::cli::rejects::Rejects;
use casegate::element::{Kind, Refusal, Role, Rules};
use casegate::ids::MemberId;
use casegate::intake::{
    Encoding, Field, Format, IntakeError, Options, Parsed, Parser, ROW_BYTES_MAX, Reason, Reject,
    Row, SHANGHAI_OFFSET_S, audience, dates, row_of,
};
use casegate::record::Audience;
use casegate::wire::v1::Refusal as Refused;
use proptest::prelude::*;

const HEAD: &str = "case_no,category,kind,value,role\n";
/// 2026-11-22 16:30 UTC, which is the 23rd in Shanghai.
const NOW: i64 = 1_795_365_000;

fn options() -> Options {
    Options {
        rules: Rules::default(),
        utc_offset_s: SHANGHAI_OFFSET_S,
        now: NOW,
        encoding: None,
    }
}

fn parser(bytes: &[u8], format: Format) -> Result<Parser<&[u8]>, IntakeError> {
    Parser::new(bytes, format, options())
}

fn read(bytes: &[u8], format: Format) -> (Vec<Row>, Vec<Reject>) {
    let (mut rows, mut rejects) = (Vec::new(), Vec::new());
    for parsed in parser(bytes, format).unwrap() {
        match parsed.unwrap() {
            Parsed::Row(row) => rows.push(row),
            Parsed::Reject(reject) => rejects.push(reject),
        }
    }
    (rows, rejects)
}

fn csv(text: &str) -> (Vec<Row>, Vec<Reject>) {
    read(text.as_bytes(), Format::Csv)
}

fn refused_file(text: &[u8]) -> String {
    parser(text, Format::Csv).unwrap_err().to_string()
}

const GOOD: &str = "c1,scam,email,a@example.com,suspect\n";

fn only_reject(rows: &str) -> Reject {
    let (good, mut rejects) = csv(&format!("{HEAD}{rows}{GOOD}"));
    assert_eq!(good.len(), 1, "the good row goes on");
    assert_eq!(rejects.len(), 1);
    rejects.remove(0)
}

#[test]
fn a_file_without_its_columns_is_refused_in_words_that_say_what_to_add() {
    assert_eq!(
        refused_file(b"case_no,kind,value\n"),
        "the first line lacks category, role: add these columns, separated by commas"
    );
    assert!(refused_file(b"").starts_with("the file is empty"));
    assert!(refused_file(b"\xff\xfec\0a\0").contains("UTF-16"));
    assert_eq!(
        refused_file(b"case_no,category,kind,value,role,audiense\n"),
        "column 6, \"audiense\", is not known: correct its name, or begin it with _ to have it ignored"
    );
    assert!(
        refused_file("case_no,category,kind,value,role,案件编号\n".as_bytes())
            .contains("column 6 is case_no again")
    );
    assert!(refused_file(b"\"case_no\n").contains("does not name columns"));
    assert!(refused_file(",".repeat(64).as_bytes()).contains("65 columns"));
}

#[test]
fn each_bad_row_says_line_column_value_and_reason_and_stops_nothing() {
    let cases = [
        (
            ",scam,email,b@example.com,suspect\n",
            Some((1, Field::CaseNo)),
            "intake.missing",
        ),
        (
            "c,scam,emial,b@example.com,suspect\n",
            Some((3, Field::Kind)),
            "intake.unknown_kind",
        ),
        (
            "c,scam,email,b@example.com,boss\n",
            Some((5, Field::Role)),
            "intake.unknown_role",
        ),
        (
            "c,scam,email, ,suspect\n",
            Some((4, Field::Value)),
            "intake.missing",
        ),
        (
            "c,scam,qq,12x,suspect\n",
            Some((4, Field::Value)),
            Refusal::QqShape.code(),
        ),
        ("c,scam,email,b@example.com\n", None, "intake.field_count"),
        ("c,scam,email,b,c,suspect\n", None, "intake.field_count"),
        (
            "c\0,scam,email,b@example.com,suspect\n",
            Some((1, Field::CaseNo)),
            "intake.control",
        ),
        (
            "c,\"sc\nam\",email,b@example.com,suspect\n",
            Some((2, Field::Category)),
            "intake.control",
        ),
        (
            "c,scam,email,\"b@example.com,suspect\n",
            None,
            "intake.unclosed_quote",
        ),
        // What an earlier import could not decode.
        (
            "c\u{fffd},scam,email,b@example.com,suspect\n",
            Some((1, Field::CaseNo)),
            "intake.encoding",
        ),
    ];
    for (row, place, code) in cases {
        let reject = only_reject(row);
        assert_eq!(reject.code(), code, "{row}");
        assert_eq!(
            (reject.line, reject.column.zip(reject.field)),
            (2, place),
            "{row}"
        );
        assert!(!reject.sentence().is_empty());
    }
    assert_eq!(
        only_reject("c,scam,qq,12x,suspect\n").value.as_deref(),
        Some("12x")
    );
}

#[test]
fn fields_and_rows_over_their_limits_are_refused_and_the_next_row_is_read() {
    let field = format!("{},scam,email,b@example.com,suspect\n", "x".repeat(513));
    assert_eq!(
        only_reject(&field).reason,
        Reason::FieldTooLarge {
            field: Field::CaseNo
        }
    );
    let row = format!("c,scam,email,{},suspect\n", "x".repeat(4 * ROW_BYTES_MAX));
    let reject = only_reject(&row);
    assert_eq!(reject.reason, Reason::RowTooLarge);
    assert!(reject.record.iter().map(String::len).sum::<usize>() < 300);
    let quoted = format!(
        "c,scam,email,\"{}\",suspect\n",
        "x".repeat(2 * ROW_BYTES_MAX)
    );
    assert_eq!(only_reject(&quoted).reason, Reason::RowTooLarge);
}

#[test]
fn a_quote_that_is_never_closed_costs_one_line_also_in_a_long_file() {
    let rows = GOOD.repeat(5_000);
    let (good, rejects) = csv(&format!("{HEAD}c,scam,email,\"b,suspect\n{rows}"));
    assert_eq!((good.len(), rejects.len()), (5_000, 1));
    assert_eq!(good[0].line, 3);
    assert_eq!(rejects[0].reason, Reason::UnclosedQuote);
    let last = format!("{HEAD}{GOOD}c,scam,email,\"b,suspect");
    let (good, rejects) = csv(&last);
    assert_eq!((good.len(), rejects.len()), (1, 1), "in a last line, too");
    assert_eq!(
        (rejects[0].line, &rejects[0].reason),
        (3, &Reason::UnclosedQuote)
    );
}

#[test]
fn one_line_that_is_not_utf8_is_refused_alone() {
    let mut file = format!("{HEAD}c1,刷单,email,a@example.com,suspect\n").into_bytes();
    file.extend_from_slice(b"c2,\xcb\xa2\xb5\xa5,email,a@example.com,suspect\n");
    file.extend_from_slice("c3,冒充客服,email,a@example.com,suspect\n".as_bytes());
    let (rows, rejects) = read(&file, Format::Csv);
    assert_eq!(rows.len(), 2);
    assert_eq!(rejects[0].reason, Reason::Encoding);
    assert_eq!((rejects[0].line, rejects[0].column), (3, Some(2)));
}

#[test]
fn a_gb18030_file_with_chinese_headers_is_detected_and_said() {
    let text = "案件编号,案件类别,类型,值,角色,案件名称\n甲1,刷单,邮箱,a@example.com,嫌疑人,\"第一行\r\n第二行，珺\"\n";
    let (bytes, _, _) = encoding_rs::GB18030.encode(text);
    let mut parser = parser(&bytes, Format::Csv).unwrap();
    assert_eq!(parser.encoding(), Encoding::Gb18030);
    let Some(Ok(Parsed::Row(row))) = parser.next() else {
        panic!("a row")
    };
    assert_eq!(
        (row.case_no.as_str(), row.category.as_str()),
        ("甲1", "刷单")
    );
    assert_eq!((row.kind, row.role), (Kind::Email, Role::Suspect));
    assert_eq!(row.title.as_deref(), Some("第一行\r\n第二行，珺"));
    assert!(parser.next().is_none());
}

#[test]
fn gb18030_behind_an_ascii_header_is_detected_at_its_first_row() {
    let (bytes, _, _) = encoding_rs::GB18030.encode(
        "case_no,category,kind,value,role\nc0,scam,qq,12345,suspect\nc1,刷单,qq,12345,suspect\n",
    );
    let mut parser = parser(&bytes, Format::Csv).unwrap();
    assert!(parser.by_ref().all(|it| matches!(it, Ok(Parsed::Row(_)))));
    assert_eq!(parser.encoding(), Encoding::Gb18030);
}

#[test]
fn a_byte_order_mark_column_order_and_blank_lines_do_not_matter() {
    let text = "\u{feff}role,Value,kind,category,Case-No,_note\r\nsuspect,a@example.com,Email,scam,c1,x\r\n\r\n,,,,,\r\nvictim,\"b@example.com\",email,scam,c2,";
    let (rows, rejects) = csv(text);
    assert_eq!(rejects, []);
    assert_eq!(rows.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 5]);
    assert_eq!(rows[0].canonical.value, "a@example.com");
}

#[test]
fn a_quoted_line_break_stays_in_its_field_and_lines_are_counted_on() {
    let text = format!(
        "{}{}",
        "case_no,category,kind,value,role,title\n",
        "c1,scam,qq,12345,suspect,\"a \"\"b\"\"\nc\"\nc2,scam,qq,1,suspect,\n"
    );
    let (rows, rejects) = csv(&text);
    assert_eq!(rows[0].title.as_deref(), Some("a \"b\"\nc"));
    assert_eq!(rejects[0].line, 4);
}

#[test]
fn a_formula_is_kept_as_data_in_rows_and_in_the_rejects_file() {
    let text = "case_no,category,kind,value,role,title\n=1+1,scam,qq,12345,suspect,\"=cmd|'/c calc'!A1\"\n";
    let (rows, _) = csv(text);
    assert_eq!(rows[0].case_no, "=1+1");
    assert_eq!(rows[0].title.as_deref(), Some("=cmd|'/c calc'!A1"));
    let written = rejects_file(
        format!("{HEAD}=1+1,scam,qq,x,suspect\n").as_bytes(),
        Format::Csv,
    );
    assert!(String::from_utf8(written).unwrap().contains(",=1+1,scam,"));
}

#[test]
fn dates_of_four_spellings_are_one_day_and_impossible_ones_none() {
    for text in [
        "2026-11-22",
        "2026/11/22",
        "2026年11月22日",
        "20261122",
        " 2026-11-22 ",
    ] {
        assert_eq!(dates::parse(text), Some(20_779), "{text}");
    }
    assert_eq!(dates::parse("2026/1/5"), dates::parse("20260105"));
    for text in [
        "2026-02-29",
        "2026-13-01",
        "22.11.2026",
        "2026-11",
        "1970-01-01",
        "2026-11/22",
        "+026-1-1",
        "年月日",
        "2026年1日",
        "12345678",
        "二〇二六年",
    ] {
        assert_eq!(dates::parse(text), None, "{text}");
    }
    assert_eq!(dates::today(NOW, SHANGHAI_OFFSET_S), 20_780);
    assert_eq!(dates::end_of(20_779, SHANGHAI_OFFSET_S) % 86_400, 16 * 3600);
}

#[test]
fn future_and_expired_days_are_refused_by_the_local_calendar() {
    let file = |opened: &str, expires: &str| {
        csv(&format!(
            "case_no,category,kind,value,role,opened_on,expires_on\nc,scam,qq,12345,suspect,{opened},{expires}\n"
        ))
    };
    assert_eq!(
        file("2026-11-24", "2026-11-23").0[0].opened_on,
        Some(20_781)
    );
    assert_eq!(file("2026-11-25", "").1[0].reason, Reason::Future);
    assert_eq!(file("", "2026-11-22").1[0].reason, Reason::Expired);
    assert_eq!(file("yesterday", "").1[0].reason, Reason::Date);
}

#[test]
fn audiences_are_read_and_nothing_like_them() {
    assert_eq!(audience(" Federation "), Some(Audience::Federation));
    assert_eq!(audience("nobody"), Some(Audience::Nobody));
    let regions = ["north".to_owned(), "皖南".to_owned()].into();
    assert_eq!(
        audience("region: north；皖南"),
        Some(Audience::Regions(regions))
    );
    let members = ["a", "b"].map(|name| MemberId::new(name).unwrap()).into();
    assert_eq!(audience("members:b;a;b"), Some(Audience::Members(members)));
    for bad in [
        "",
        "all",
        "region",
        "region:",
        "members:",
        "members:A",
        "members:a;;b",
        "nobody:a",
    ] {
        assert_eq!(audience(bad), None, "{bad}");
    }
    let (_, rejects) =
        csv("case_no,category,kind,value,role,audience\nc,scam,qq,12345,suspect,everyone\n");
    assert_eq!(
        (&rejects[0].reason, rejects[0].column),
        (&Reason::Audience, Some(6))
    );
}

#[test]
fn json_lines_are_refused_one_by_one() {
    let good = r#"{"case_no":"c1","category":"scam","kind":"qq","value":1234567,"role":"suspect","title":null,"_x":[1]}"#;
    let with = |more: &str| good.replace("\"title\":null", more);
    let bad = [
        ("{".to_owned(), "intake.json"),
        ("[]".to_owned(), "intake.json"),
        (format!("{good} {good}"), "intake.json"),
        (with(r#""value":"x""#), "intake.repeated_field"),
        (with(r#""titel":"x""#), "intake.unknown_field"),
        (with(r#""title":1.5"#), "intake.not_text"),
        (with(r#""title":{"a":"b"}"#), "intake.not_text"),
        (with(r#""title":"\u0000 x""#), "intake.control"),
        (with(r#""role":"suspect""#), "intake.repeated_field"),
        ("[".repeat(50_000), "intake.json"),
    ];
    for (line, code) in bad {
        let (rows, rejects) = read(format!("{line}\n\n{good}").as_bytes(), Format::JsonLines);
        assert_eq!(rejects.iter().map(Reject::code).collect::<Vec<_>>(), [code]);
        assert_eq!(
            (rows.len(), rows[0].line, rows[0].raw.as_str()),
            (1, 3, "1234567")
        );
    }
    // A comma before a quote begins no field that could go on over the line's end.
    let comma = good.replace("\"_x\":[1]", r#""contact":"x,""#);
    let (rows, rejects) = read(format!("{comma}\n{good}").as_bytes(), Format::JsonLines);
    assert_eq!((rows.len(), rejects.len()), (2, 0));
}

#[test]
fn a_row_without_a_file_is_checked_as_one_of_a_file() {
    let row = |value: &str| {
        let fields = [
            (Field::Value, value),
            (Field::Role, "suspect"),
            (Field::Kind, "qq"),
            (Field::CaseNo, "c1"),
            (Field::Category, "scam"),
            // The first text counts.
            (Field::CaseNo, "c2"),
        ];
        let fields = fields.map(|(field, text)| (field, text.to_owned()));
        row_of(7, fields, &options())
    };
    for (value, code) in [
        ("12x45", "qq.shape"),
        ("", "intake.missing"),
        ("1\u{0}", "intake.control"),
    ] {
        let Parsed::Reject(reject) = row(value) else {
            panic!("{value:?} is taken");
        };
        assert_eq!(
            (reject.code(), reject.line, reject.field),
            (code, 7, Some(Field::Value))
        );
        assert_eq!(reject.record[..4], ["c1", "scam", "qq", value]);
    }
    let line = format!("{HEAD}c1,scam,qq,1234567,suspect\n");
    let (rows, _) = csv(&line);
    let Parsed::Row(taken) = row("1234567") else {
        panic!("it is refused");
    };
    assert_eq!(
        taken,
        Row {
            line: 7,
            ..rows[0].clone()
        }
    );
}

#[test]
fn debug_shows_neither_values_nor_case_numbers() {
    let (rows, rejects) = csv(&format!(
        "{HEAD}secret1,scam,qq,1234567,suspect\nsecret2,scam,qq,98x,suspect\n"
    ));
    let shown = format!("{rows:?}{rejects:?}");
    assert!(
        !shown.contains("secret") && !shown.contains("1234567") && !shown.contains("98x"),
        "{shown}"
    );
}

#[test]
fn a_mended_rejects_file_is_imported_as_it_is() {
    let file = "案件编号,类别,类型,值,角色\nc1,刷单,qq,12x45,嫌疑人\n";
    let written = String::from_utf8(rejects_file(file.as_bytes(), Format::Csv)).unwrap();
    assert!(
        written.starts_with("\u{feff}_line,_column,_reason,案件编号,类别,类型,值,角色\n2,value,"),
        "{written}"
    );
    let (rows, rejects) = csv(&written.replace("12x45", "12345"));
    assert_eq!((rows.len(), rejects.len()), (1, 0));
    assert_eq!(rows[0].category, "刷单");
}

#[test]
fn rejects_of_json_lines_are_mended_as_csv() {
    let file = "{\"role\":\"victim\",\"case_no\":\"c1\",\"category\":\"scam\",\"kind\":\"qq\",\"value\":\"12x45\"}\n{broken\n";
    let written = String::from_utf8(rejects_file(file.as_bytes(), Format::JsonLines)).unwrap();
    let (rows, rejects) = csv(&written.replace("12x45", "12345"));
    assert_eq!((rows.len(), rejects.len()), (1, 1));
    assert_eq!(rows[0].role, Role::Victim);
    assert_eq!(rejects[0].code(), "intake.missing");
    assert!(rejects[0].record.contains(&"{broken".to_owned()));
}

#[test]
fn a_forced_encoding_is_not_guessed_again() {
    let file = format!("{HEAD}c1,刷单,email,a@example.com,suspect\n");
    let forced = Options {
        encoding: Some(Encoding::Gb18030),
        ..options()
    };
    let parser = Parser::new(file.as_bytes(), Format::Csv, forced).unwrap();
    assert_eq!(parser.encoding(), Encoding::Gb18030);
}

#[test]
fn a_reader_that_fails_ends_the_parser_after_one_error() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("unplugged"))
        }
    }
    // Longer than what the parser reads ahead.
    let good = format!("{HEAD}{}", GOOD.repeat(5_000));
    let file = std::io::Read::chain(good.as_bytes(), Broken);
    let mut parser = Parser::new(file, Format::Csv, options()).unwrap();
    assert!(parser.any(|it| matches!(it, Err(IntakeError::Read(_)))));
    assert!(parser.next().is_none());
}

#[test]
fn a_read_that_was_interrupted_is_made_again() {
    struct Interrupted<R>(R, bool);
    impl<R: std::io::Read> std::io::Read for Interrupted<R> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(std::io::ErrorKind::Interrupted.into());
            }
            self.0.read(buffer)
        }
    }
    let file = format!("{HEAD}{}", GOOD.repeat(5_000));
    let file = Interrupted(file.as_bytes(), false);
    let parser = Parser::new(file, Format::Csv, options()).unwrap();
    let rows = parser.filter(|it| matches!(it, Ok(Parsed::Row(_))));
    assert_eq!(rows.count(), 5_000);
}

#[test]
fn real_case_files_are_read_whole() {
    let near = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/linking/polkadot.csv");
    let Ok(file) = std::fs::File::open(&near) else {
        println!("skipped: {} is not there", near.display());
        return;
    };
    let parsed: Vec<_> = Parser::new(file, Format::Csv, options())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let refused = parsed
        .iter()
        .filter(|it| matches!(it, Parsed::Reject(it) if it.code().starts_with("intake.")))
        .count();
    assert!(parsed.len() > 1_000);
    assert_eq!(refused, 0);
}

fn rejects_file(bytes: &[u8], format: Format) -> Vec<u8> {
    let parser = parser(bytes, format).unwrap();
    let columns = parser.columns().to_vec();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rejects.csv");
    let mut rejects = Rejects::at(&path);
    // There is a file with a header, also for no refused rows.
    let mut any = false;
    for parsed in parser {
        if let Parsed::Reject(reject) = parsed.unwrap() {
            let refusal = Refused {
                line: reject.line,
                column: reject.field.map_or("", Field::name).to_owned(),
                record: reject.record.clone(),
                ..Refused::default()
            };
            rejects.add(&refusal, reject.code()).unwrap();
            any = true;
        }
    }
    rejects.finish(&columns).unwrap();
    if any {
        std::fs::read(path).unwrap()
    } else {
        HEAD.into()
    }
}

fn told(rejects: &[Reject]) -> Vec<String> {
    let one = |it: &Reject| {
        format!(
            "{} {:?} {:?} {:?}",
            it.code(),
            it.field,
            it.value,
            it.record
        )
    };
    rejects.iter().map(one).collect()
}

proptest! {
    #[test]
    fn a_rejects_file_is_refused_again_for_the_same_reasons(
        rows in prop::collection::vec(
            prop::collection::vec("(?s)[a-z0-9 \",=\n\r\\x00\\x7f\u{4e00}-\u{4e20}-]{0,12}|qq|suspect|c1", 1..8),
            0..12,
        )
    ) {
        let mut writer = csv_writer();
        for row in &rows {
            writer.write_record(row).unwrap();
        }
        let file = writer.into_inner().unwrap();
        let first = read(&file, Format::Csv);
        let written = rejects_file(&file, Format::Csv);
        let again = read(&written, Format::Csv);
        prop_assert_eq!(again.0.len(), 0);
        prop_assert_eq!(told(&again.1), told(&first.1));
        prop_assert_eq!(rejects_file(&written, Format::Csv).len() > 3, true);
    }

    #[test]
    fn no_bytes_make_the_parser_fail_or_lose_a_row(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let file = [HEAD.as_bytes(), &bytes, b"\n", GOOD.as_bytes()].concat();
        for format in [Format::Csv, Format::JsonLines] {
            for parsed in parser(&file, format).unwrap() {
                parsed.unwrap();
            }
        }
    }
}

fn csv_writer() -> csv::Writer<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new()
        .flexible(true)
        .from_writer(Vec::new());
    writer.write_record(HEAD.trim().split(',')).unwrap();
    writer
}
