//! Sample cases of three cities: synthetic, from a seed, the same on every
//! machine. Twelve values are planted in cases of at least two bureaus, each
//! written differently by each, and tie three groups of cases together; one
//! more value, a payment service's site, stands in many cases of every city
//! and means nothing (the hub). Every other value is in one case only, some
//! of them close to another one. A few rows must be refused, a few are
//! duplicates. `sample/values.rs` says why no value can be anyone's.

mod checks;
mod plant;
mod random;
mod stories;
mod values;

use std::collections::BTreeSet;

use random::Random;
use stories::Story;
use values::Value;

/// The seed of the sample that the project ships and its demo uses.
pub const SEED: u64 = 12;

/// The bureaus of the sample, by member name.
pub const BUREAUS: [&str; 3] = ["hefei", "wuhu", "bengbu"];

/// The columns of the CSV files, in order.
pub const COLUMNS: [&str; 10] = [
    "case_no",
    "category",
    "kind",
    "value",
    "role",
    "qualifier",
    "opened_on",
    "observed_on",
    "title",
    "contact",
];

/// How large a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleSize {
    /// Cases of each bureau; taken as at least 40 and at most 5,000.
    pub cases_per_bureau: usize,
}

impl Default for SampleSize {
    fn default() -> Self {
        Self {
            cases_per_bureau: 80,
        }
    }
}

/// A sample and everything that is true of it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// One file a bureau.
    pub bureaus: Vec<SampleBureau>,
    /// The twelve planted links.
    pub truth: Vec<PlantedLink>,
    /// The three groups of cases that they tie, each sorted.
    pub groups: Vec<Vec<PlantedCase>>,
    /// The hub; its group is 0.
    pub hub: PlantedLink,
    /// The rows that an import must refuse, and no others.
    pub refused: Vec<RefusedRow>,
    /// Rows that repeat an element of the same case, in another spelling.
    pub duplicates: usize,
    /// Elements that are kept but tie nothing: names without a birth date.
    pub not_linkable: usize,
    /// All rows, headers not counted.
    pub rows: usize,
    /// All cases.
    pub cases: usize,
}

/// A bureau's file.
#[derive(Clone, Debug)]
pub struct SampleBureau {
    /// The bureau's member name.
    pub id: &'static str,
    /// The file's text: UTF-8, with a header.
    pub csv: String,
}

/// A case by its bureau and number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlantedCase {
    /// The bureau's member name.
    pub bureau: &'static str,
    /// The bureau's own number for it.
    pub case_no: String,
}

/// A value that stands in cases of at least two bureaus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlantedLink {
    /// Its kind.
    pub kind: &'static str,
    /// Its canonical value.
    pub value: String,
    /// The bureaus, sorted.
    pub bureaus: Vec<&'static str>,
    /// The cases, sorted.
    pub cases: Vec<PlantedCase>,
    /// The number of its group, from 1; 0 for the hub.
    pub group: usize,
}

/// A row that is wrong on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRow {
    /// The bureau in whose file it stands.
    pub bureau: &'static str,
    /// The line, from 1, the header being line 1.
    pub line: usize,
    /// The kind that it claims.
    pub kind: &'static str,
}

/// An element that a run found to be shared across bureaus.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Its kind.
    pub kind: &'a str,
    /// Its canonical value.
    pub value: &'a str,
    /// The bureaus that hold it, in any order.
    pub bureaus: &'a [&'a str],
}

/// How a run's findings compare with the truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Links that were planted.
    pub planted: usize,
    /// Of these, found with exactly their bureaus.
    pub planted_found: usize,
    /// Found but not planted, or with other bureaus, or found twice.
    pub planted_false: usize,
    /// Whether the hub was seen at all its bureaus; it is neither found nor false.
    pub hub_found: bool,
}

impl Sample {
    /// Elements that an import accepts: distinct (bureau, case, kind, value).
    #[must_use]
    pub fn elements(&self) -> usize {
        self.rows - self.refused.len() - self.duplicates
    }

    /// Compares what a run found with the truth.
    pub fn judge<'a>(&self, found: impl IntoIterator<Item = Found<'a>>) -> Judgement {
        let mut judgement = Judgement {
            planted: self.truth.len(),
            ..Judgement::default()
        };
        let mut seen = BTreeSet::new();
        for one in found {
            let is = |link: &PlantedLink| {
                let bureaus: BTreeSet<&str> = one.bureaus.iter().copied().collect();
                link.kind == one.kind
                    && link.value == one.value
                    && link.bureaus.iter().copied().eq(bureaus)
            };
            let fresh = seen.insert((one.kind.to_owned(), one.value.to_owned()));
            if fresh && is(&self.hub) {
                judgement.hub_found = true;
            } else if fresh && self.truth.iter().any(is) {
                judgement.planted_found += 1;
            } else {
                judgement.planted_false += 1;
            }
        }
        judgement
    }

    /// The truth as text: a header, then group, kind, value, bureaus and cases
    /// between tabs, the hub last.
    #[must_use]
    pub fn planted_tsv(&self) -> String {
        let mut text = "group\tkind\tvalue\tbureaus\tcases\n".to_owned();
        for link in self.truth.iter().chain([&self.hub]) {
            let group = if link.group == 0 {
                "hub".to_owned()
            } else {
                link.group.to_string()
            };
            let cases: Vec<String> = link
                .cases
                .iter()
                .map(|case| format!("{}/{}", case.bureau, case.case_no))
                .collect();
            let (bureaus, cases) = (link.bureaus.join(","), cases.join(","));
            text.push_str(&format!(
                "{group}\t{}\t{}\t{bureaus}\t{cases}\n",
                link.kind, link.value
            ));
        }
        text
    }
}

/// Makes the sample of a seed.
#[must_use]
pub fn generate(seed: u64, size: SampleSize) -> Sample {
    let mut draw = Draw {
        random: Random::new(seed),
        taken: BTreeSet::new(),
    };
    let count = size.cases_per_bureau.clamp(40, 5_000);
    let mut files: Vec<File> = (0..BUREAUS.len())
        .map(|b| File::new(b, count, &mut draw))
        .collect();
    let (truth, hub) = plant::links(&mut files, &mut draw);
    let not_linkable = plant::near_misses(&mut files, &mut draw);
    let duplicates = plant::duplicates(&mut files, &mut draw);
    let refused = plant::wrong_rows(&mut files, &mut draw);
    Sample {
        groups: groups(&truth),
        truth,
        hub,
        refused,
        duplicates,
        not_linkable,
        rows: files.iter().map(|file| file.rows.len()).sum(),
        cases: count * BUREAUS.len(),
        bureaus: files.iter().map(File::written).collect(),
    }
}

fn groups(truth: &[PlantedLink]) -> Vec<Vec<PlantedCase>> {
    let last = truth.iter().map(|link| link.group).max().unwrap_or(0);
    (1..=last)
        .map(|group| {
            let cases: BTreeSet<&PlantedCase> = truth
                .iter()
                .filter(|link| link.group == group)
                .flat_map(|link| &link.cases)
                .collect();
            cases.into_iter().cloned().collect()
        })
        .collect()
}

/// The generator, and the values that it gave out already.
#[derive(Debug)]
struct Draw {
    random: Random,
    taken: BTreeSet<(&'static str, String)>,
}

impl Draw {
    /// Makes values until one is new.
    fn fresh(&mut self, make: impl Fn(&mut Random) -> Value) -> Value {
        loop {
            let value = make(&mut self.random);
            if self.taken.insert((value.kind, value.canonical.clone())) {
                return value;
            }
        }
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.below(end)
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        self.random.pick(of)
    }
}

/// A bureau's cases while the sample is made.
#[derive(Debug)]
struct File {
    bureau: usize,
    cases: Vec<Case>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Case {
    number: String,
    story: Story,
    title: &'static str,
    /// Days since 2025-01-01.
    opened: usize,
    desk: usize,
}

#[derive(Clone, Debug)]
struct Row {
    case: usize,
    kind: &'static str,
    raw: String,
    qualifier: String,
    role: &'static str,
    /// Days before the case was opened.
    before: usize,
    /// The value, for respelling.
    value: Value,
}

impl File {
    fn new(bureau: usize, count: usize, draw: &mut Draw) -> Self {
        let mut file = Self {
            bureau,
            cases: Vec::new(),
            rows: Vec::new(),
        };
        for number in 1..=count {
            let story = *draw.pick(stories::all());
            file.open_case(number, story, draw);
            for _ in 0..2 + draw.below(4) {
                let kind = *draw.pick(story.kinds);
                let value = draw.fresh(|r| values::draw(kind, r));
                let spelling = draw.below(8);
                file.add(number - 1, &value, spelling, draw);
            }
        }
        file
    }

    fn open_case(&mut self, number: usize, story: Story, draw: &mut Draw) {
        const PREFIX: [&str; 3] = ["HF", "WH", "BB"];
        let title = *draw.pick(if self.bureau == 2 { story.en } else { story.zh });
        self.cases.push(Case {
            number: format!("{}-2025-{number:04}", PREFIX[self.bureau]),
            story,
            title,
            opened: 20 + draw.below(300),
            desk: 1 + draw.below(4),
        });
    }

    fn add(&mut self, case: usize, value: &Value, spelling: usize, draw: &mut Draw) {
        let role = match value.kind {
            "person" | "resident-id" => "suspect",
            _ => *draw.pick(&["suspect", "instrument", "instrument"]),
        };
        self.rows.push(Row {
            case,
            kind: value.kind,
            raw: value.spelled(spelling).to_owned(),
            qualifier: value.qualifier.clone(),
            role,
            before: draw.below(20),
            value: value.clone(),
        });
    }

    fn id(&self) -> &'static str {
        BUREAUS[self.bureau]
    }

    fn planted(&self, case: usize) -> PlantedCase {
        PlantedCase {
            bureau: self.id(),
            case_no: self.cases[case].number.clone(),
        }
    }

    fn written(&self) -> SampleBureau {
        let mut csv = csv::Writer::from_writer(Vec::new());
        let mut put =
            |record: [&str; 10]| csv.write_record(record).expect("memory takes ten columns");
        put(COLUMNS);
        for row in &self.rows {
            let case = &self.cases[row.case];
            put([
                &case.number,
                case.story.category,
                row.kind,
                &row.raw,
                row.role,
                &row.qualifier,
                &date(case.opened),
                &date(case.opened - row.before),
                case.title,
                &self.contact(case.desk),
            ]);
        }
        let bytes = csv.into_inner().expect("memory takes all of it");
        SampleBureau {
            id: self.id(),
            csv: String::from_utf8(bytes).expect("only text was written"),
        }
    }

    fn contact(&self, desk: usize) -> String {
        match self.bureau {
            0 => format!("合肥反诈专班{desk}组"),
            1 => format!("芜湖反诈专班{desk}组"),
            _ => format!("Bengbu anti-fraud desk {desk}"),
        }
    }
}

/// The day that is `day` days after 2025-01-01.
fn date(day: usize) -> String {
    let first = time::Date::from_ordinal_date(2025, 1).expect("a date");
    let days = i64::try_from(day).expect("a year at most");
    (first + time::Duration::days(days)).to_string()
}
