//! The sample keeps its promises: twelve links, three groups, one hub, nothing
//! else in common, and the refusals and duplicates that it names.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use casegate::cli::output::Output;
use casegate::cli::sample::{SampleArgs, run};
use casegate::element::{Kind, Rules, canonicalize};
use casegate::ids::{CaseRef, MemberId};
use casegate::lang::Lang;
use casegate::links::{Analysis, CaseKey, Options, Posting, TokenGroup};
use casegate::sample::{COLUMNS, Found, PlantedCase, SEED, Sample, SampleSize, generate};

fn shipped() -> Sample {
    generate(SEED, SampleSize::default())
}

/// A row of a bureau's file by column name, with its line.
fn rows(sample: &Sample) -> Vec<(&'static str, usize, BTreeMap<String, String>)> {
    let mut all = Vec::new();
    for bureau in &sample.bureaus {
        let mut reader = csv::Reader::from_reader(bureau.csv.as_bytes());
        let headers = reader.headers().expect("a header").clone();
        for record in reader.records() {
            let record = record.expect("a row of as many columns as the header");
            let line =
                usize::try_from(record.position().expect("a position").line()).expect("small");
            let row = headers
                .iter()
                .map(str::to_owned)
                .zip(record.iter().map(str::to_owned));
            all.push((bureau.id, line, row.collect()));
        }
    }
    all
}

fn found<'a>(sample: &'a Sample, bureaus: &'a [Vec<&'a str>]) -> Vec<Found<'a>> {
    let links = sample.truth.iter().chain([&sample.hub]);
    links
        .zip(bureaus)
        .map(|(link, bureaus)| Found {
            kind: link.kind,
            value: &link.value,
            bureaus,
        })
        .collect()
}

#[test]
fn a_link_that_is_missing_foreign_twice_or_elsewhere_counts_against_a_run() {
    let sample = shipped();
    let bureaus: Vec<Vec<&str>> = sample
        .truth
        .iter()
        .chain([&sample.hub])
        .map(|link| link.bureaus.clone())
        .collect();
    let all = found(&sample, &bureaus);
    let judged = sample.judge(all.iter().copied());
    assert_eq!(
        (judged.planted, judged.planted_found, judged.planted_false),
        (12, 12, 0)
    );
    assert!(judged.hub_found);

    let fewer = sample.judge(all[1..12].iter().copied());
    assert_eq!(
        (fewer.planted_found, fewer.planted_false, fewer.hub_found),
        (11, 0, false)
    );
    let twice = sample.judge(all.iter().copied().chain([all[0]]));
    assert_eq!((twice.planted_found, twice.planted_false), (12, 1));
    let foreign = Found {
        kind: "phone",
        value: "+8615400000000",
        bureaus: &["hefei", "wuhu"],
    };
    assert_eq!(sample.judge([foreign]).planted_false, 1);
    let elsewhere = Found {
        bureaus: &["hefei"],
        ..all[0]
    };
    assert_eq!(sample.judge([elsewhere]).planted_false, 1);
}

#[test]
fn a_seed_makes_the_same_sample_and_another_seed_another_one() {
    let (one, two) = (shipped(), shipped());
    assert_eq!(one.planted_tsv(), two.planted_tsv());
    for (a, b) in one.bureaus.iter().zip(&two.bureaus) {
        assert_eq!(a.csv, b.csv);
    }
    let other = generate(SEED + 1, SampleSize::default());
    assert_ne!(one.bureaus[0].csv, other.bureaus[0].csv);
    assert_eq!(other.truth.len(), 12);
}

#[test]
fn twelve_links_tie_three_groups_and_one_hub_stands_everywhere() {
    let sample = shipped();
    assert_eq!(sample.truth.len(), 12);
    assert_eq!(
        sample.groups.iter().map(Vec::len).collect::<Vec<_>>(),
        [5, 4, 4]
    );
    let mut grouped = BTreeSet::new();
    for group in &sample.groups {
        assert!(
            group.iter().all(|case| grouped.insert(case)),
            "a case is in one group only"
        );
    }
    for link in &sample.truth {
        assert!(link.bureaus.len() >= 2, "{}", link.kind);
    }
    assert_eq!(sample.hub.bureaus, ["bengbu", "hefei", "wuhu"]);
    assert!(sample.hub.cases.len() > Options::default().hub_cases);
    for group in &sample.groups {
        let within = group
            .iter()
            .filter(|case| sample.hub.cases.contains(case))
            .count();
        assert!(within > 0, "the hub would glue the groups if it counted");
    }
}

#[test]
fn the_files_have_the_columns_and_counts_that_the_sample_names() {
    for cases_per_bureau in [0, 80, 150] {
        let sample = generate(5, SampleSize { cases_per_bureau });
        let rows = rows(&sample);
        assert_eq!(rows.len(), sample.rows);
        assert_eq!(
            rows.len(),
            sample.elements() + sample.refused.len() + sample.duplicates
        );
        let cases: BTreeSet<_> = rows
            .iter()
            .map(|(b, _, row)| (b, &row["case_no"]))
            .collect();
        assert_eq!(cases.len(), sample.cases);
        assert!(rows.iter().all(|(_, _, row)| row.len() == COLUMNS.len()));
        assert!(
            rows.iter()
                .all(|(_, _, row)| row["observed_on"] <= row["opened_on"])
        );
    }
}

#[test]
fn links_are_written_differently_at_different_bureaus() {
    let sample = shipped();
    let rows = rows(&sample);
    for link in &sample.truth {
        let mut spellings: BTreeMap<&str, &str> = BTreeMap::new();
        for case in &link.cases {
            let mut written = rows.iter().filter(|(bureau, _, row)| {
                *bureau == case.bureau && row["case_no"] == case.case_no && row["kind"] == link.kind
            });
            // A planted row stands after the drawn ones of its file.
            let (_, _, row) = written.next_back().expect("the link's own row");
            spellings.insert(case.bureau, &row["value"]);
        }
        let distinct: BTreeSet<&&str> = spellings.values().collect();
        assert!(
            distinct.len() >= 2,
            "{} {}: {spellings:?}",
            link.group,
            link.kind
        );
    }
}

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .expect("nobody panics while writing")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_command_writes_the_files_and_says_what_they_hold() {
    let dir = tempfile::tempdir().expect("a directory");
    let args = SampleArgs {
        out: dir.path().join("new"),
        seed: SEED,
        cases: 80,
    };
    let paper = Paper::default();
    let output = Output::to(
        true,
        Lang::En,
        Box::new(paper.clone()),
        Box::new(io::sink()),
    );
    let sheet = run(&args).expect("files are written");
    output.show(&sheet).expect("memory takes it");
    let sample = shipped();
    for bureau in &sample.bureaus {
        let path = args.out.join(format!("{}.csv", bureau.id));
        assert_eq!(std::fs::read_to_string(path).expect("there"), bureau.csv);
    }
    let truth = std::fs::read_to_string(args.out.join("planted.tsv")).expect("there");
    assert_eq!(truth.lines().count(), 1 + 12 + 1);
    let said: serde_json::Value =
        serde_json::from_slice(&paper.0.lock().expect("not poisoned")).expect("one object");
    assert_eq!(said["schema"], "casegate.sample/1");
    assert_eq!(said["planted"], 12);
    assert_eq!(said["rows"], sample.rows);
}

#[test]
fn people_read_it_in_their_language() {
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().to_owned();
    let args = SampleArgs {
        out: out.clone(),
        seed: SEED,
        cases: 80,
    };
    let say = |lang| {
        let paper = Paper::default();
        let output = Output::to(false, lang, Box::new(paper.clone()), Box::new(io::sink()));
        let sheet = run(&args).expect("files are written");
        output.show(&sheet).expect("memory takes it");
        String::from_utf8(paper.0.lock().expect("not poisoned").clone()).expect("text")
    };
    let rows = shipped().rows;
    let path = out.join("planted.tsv").display().to_string();
    assert_eq!(
        say(Lang::En),
        format!("3 files written: 240 cases, {rows} rows; the 12 planted links are in {path}\n")
    );
    assert_eq!(
        say(Lang::Zh),
        format!("已写入 3 个文件：240 起案件，{rows} 行；12 个预设关联见 {path}\n")
    );
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("taken");
    std::fs::write(&file, "").expect("written");
    let args = SampleArgs {
        out: file.clone(),
        seed: SEED,
        cases: 80,
    };
    let error = run(&args).expect_err("a file is no directory");
    assert!(
        error.to_string().contains(&file.display().to_string()),
        "{error}"
    );
}

#[test]
fn import_sees_the_sample_as_it_describes_itself() {
    for seed in [SEED, 1, 2, 3] {
        let sample = generate(seed, SampleSize::default());
        let rules = Rules::new("CN").expect("a region");
        let mut refused = Vec::new();
        let mut elements = BTreeSet::new();
        let mut not_linkable = BTreeSet::new();
        let mut holders: BTreeMap<(String, String), BTreeSet<&str>> = BTreeMap::new();
        for (bureau, line, row) in rows(&sample) {
            let kind = Kind::parse(&row["kind"]).expect("a kind");
            let qualifier = Some(row["qualifier"].as_str()).filter(|q| !q.is_empty());
            let Ok(canonical) = canonicalize(kind, &row["value"], qualifier, &rules) else {
                refused.push((bureau, line, row["kind"].clone()));
                continue;
            };
            let (kind, value) = (row["kind"].clone(), canonical.value);
            let element = (bureau, row["case_no"].clone(), kind.clone(), value.clone());
            if canonical.linkable {
                holders.entry((kind, value)).or_default().insert(bureau);
            } else {
                not_linkable.insert(element.clone());
            }
            elements.insert(element);
        }
        let named: Vec<_> = sample
            .refused
            .iter()
            .map(|r| (r.bureau, r.line, r.kind.to_owned()))
            .collect();
        assert_eq!(refused, named);
        assert_eq!(elements.len(), sample.elements());
        assert_eq!(not_linkable.len(), sample.not_linkable);

        let shared: Vec<(&String, &String, Vec<&str>)> = holders
            .iter()
            .filter(|(_, bureaus)| bureaus.len() > 1)
            .map(|((kind, value), bureaus)| (kind, value, bureaus.iter().copied().collect()))
            .collect();
        let judged = sample.judge(shared.iter().map(|(kind, value, bureaus)| Found {
            kind,
            value,
            bureaus,
        }));
        assert_eq!(
            (judged.planted_found, judged.planted_false),
            (12, 0),
            "{shared:?}"
        );
        assert!(judged.hub_found);
    }
}

#[test]
fn link_analysis_finds_the_planted_groups_and_leaves_the_hub_out() {
    let sample = shipped();
    let rules = Rules::new("CN").expect("a region");
    let mut refs: BTreeMap<CaseKey, PlantedCase> = BTreeMap::new();
    let mut numbers: BTreeMap<PlantedCase, CaseKey> = BTreeMap::new();
    let mut tokens: BTreeMap<(Kind, String), Vec<Posting>> = BTreeMap::new();
    for (bureau, _, row) in rows(&sample) {
        let planted = PlantedCase {
            bureau,
            case_no: row["case_no"].clone(),
        };
        let next = u128::try_from(numbers.len()).expect("small").to_be_bytes();
        let case = numbers.entry(planted.clone()).or_insert_with(|| CaseKey {
            member: MemberId::new(bureau).expect("a member"),
            case: CaseRef(next),
        });
        refs.insert(case.clone(), planted);
        let kind = Kind::parse(&row["kind"]).expect("a kind");
        let qualifier = Some(row["qualifier"].as_str()).filter(|q| !q.is_empty());
        let Ok(canonical) = canonicalize(kind, &row["value"], qualifier, &rules) else {
            continue;
        };
        if canonical.linkable {
            let posting = Posting {
                case: case.clone(),
                day: None,
                role: 1,
            };
            tokens
                .entry((kind, canonical.value))
                .or_default()
                .push(posting);
        }
    }
    let mut analysis = Analysis::new(Options::default());
    for ((kind, _), postings) in tokens {
        analysis.push(&TokenGroup {
            kind: kind.as_str(),
            postings,
        });
    }
    let report = analysis.finish(sample.cases as u64);
    let mut found: Vec<Vec<PlantedCase>> = report
        .groups
        .iter()
        .map(|group| group.cases.iter().map(|case| refs[case].clone()).collect())
        .collect();
    found
        .iter_mut()
        .for_each(|group: &mut Vec<PlantedCase>| group.sort());
    found.sort();
    let mut planted = sample.groups.clone();
    planted.sort();
    assert_eq!(found, planted);
    assert_eq!((report.hubs, report.totals.shared_tokens), (1, 13));
}
