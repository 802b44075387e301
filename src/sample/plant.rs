//! What is planted in the drawn cases: links, the hub, near misses, duplicates
//! and wrong rows.

use std::collections::BTreeSet;

use super::stories::{self, Story};
use super::values::{self, Value};
use super::{BUREAUS, Case, Draw, File, PlantedLink, RefusedRow, Row};

/// A case that a group is planted in, by bureau and place in the file.
type Place = (usize, usize);

/// One group: its story, its cases, and which value stands in which of them.
struct Plan {
    story: Story,
    places: Vec<Place>,
    links: Vec<(Value, Vec<usize>)>,
}

const HEFEI: usize = 0;
const WUHU: usize = 1;
const BENGBU: usize = 2;

/// Plants the twelve links and the hub.
pub(super) fn links(files: &mut [File], draw: &mut Draw) -> (Vec<PlantedLink>, PlantedLink) {
    let mut truth = Vec::new();
    let plans = [task_ring(draw), police_ring(draw), investment_ring(draw)];
    for (number, plan) in plans.into_iter().enumerate() {
        for place in &plan.places {
            let case = &mut files[place.0].cases[place.1];
            retell(case, place.0, plan.story, draw);
        }
        for (value, at) in plan.links {
            let places: Vec<Place> = at.iter().map(|place| plan.places[*place]).collect();
            truth.push(plant(files, &value, &places, number + 1, draw));
        }
    }
    let mut crowd = Vec::new();
    for (bureau, file) in files.iter().enumerate() {
        crowd.extend(
            (0..file.cases.len())
                .filter(|case| case % 3 == 0)
                .map(|case| (bureau, case)),
        );
    }
    let hub = plant(files, &values::payment_site(), &crowd, 0, draw);
    (truth, hub)
}

/// Five cases around one task group, tied by five values.
fn task_ring(draw: &mut Draw) -> Plan {
    Plan {
        story: stories::TASK_REBATE,
        places: vec![(HEFEI, 3), (HEFEI, 17), (WUHU, 6), (WUHU, 22), (BENGBU, 9)],
        links: vec![
            (draw.fresh(values::phone), vec![0, 2, 4]),
            (draw.fresh(values::bank_card), vec![1, 4]),
            (draw.fresh(values::wechat), vec![0, 3]),
            (draw.fresh(values::chinese_domain), vec![2, 4]),
            (draw.fresh(values::qq), vec![1, 3]),
        ],
    }
}

/// Four cases of callers who pose as police, tied by four values.
fn police_ring(draw: &mut Draw) -> Plan {
    Plan {
        story: stories::IMPERSONATION,
        places: vec![(HEFEI, 28), (WUHU, 13), (WUHU, 31), (BENGBU, 18)],
        links: vec![
            (draw.fresh(values::resident_id_with_x), vec![0, 1]),
            (values::person_of_two_scripts("1983-03-21"), vec![0, 2]),
            (draw.fresh(values::phone), vec![0, 1, 2]),
            (draw.fresh(values::imei), vec![2, 3]),
        ],
    }
}

/// Four cases around one fake trading site, tied by three values.
fn investment_ring(draw: &mut Draw) -> Plan {
    Plan {
        story: stories::INVESTMENT,
        places: vec![(HEFEI, 36), (WUHU, 35), (BENGBU, 27), (BENGBU, 33)],
        links: vec![
            (draw.fresh(values::evm), vec![0, 1, 2]),
            (draw.fresh(values::tron), vec![1, 3]),
            (draw.fresh(values::url), vec![0, 3]),
        ],
    }
}

/// Makes a drawn case one of the group's kind; its own evidence stays.
fn retell(case: &mut Case, bureau: usize, story: Story, draw: &mut Draw) {
    case.story = story;
    case.title = *draw.pick(if bureau == BENGBU { story.en } else { story.zh });
}

/// Puts a value into cases, in another spelling at each bureau.
fn plant(
    files: &mut [File],
    value: &Value,
    places: &[Place],
    group: usize,
    draw: &mut Draw,
) -> PlantedLink {
    let bureaus: BTreeSet<usize> = places.iter().map(|(bureau, _)| *bureau).collect();
    let first = draw.below(value.spellings.len());
    for (turn, holder) in bureaus.iter().enumerate() {
        for (bureau, case) in places.iter().filter(|(bureau, _)| bureau == holder) {
            files[*bureau].add(*case, value, first + turn, draw);
        }
    }
    let mut cases: Vec<_> = places
        .iter()
        .map(|(bureau, case)| files[*bureau].planted(*case))
        .collect();
    cases.sort();
    let mut bureaus: Vec<&'static str> = bureaus.into_iter().map(|b| BUREAUS[b]).collect();
    bureaus.sort_unstable();
    PlantedLink {
        kind: value.kind,
        value: value.canonical.clone(),
        bureaus,
        cases,
        group,
    }
}

/// Puts values that are close, but not equal, into cases of different
/// bureaus; returns how many names without a birth date there are.
pub(super) fn near_misses(files: &mut [File], draw: &mut Draw) -> usize {
    let [bare, www] = values::near_domains(&mut draw.random);
    let [phone, qq] = values::same_digits(&mut draw.random);
    let namesake = values::person_of_two_scripts("1991-01-09");
    let placed = [
        (HEFEI, bare),
        (WUHU, www),
        (WUHU, phone),
        (BENGBU, qq),
        (BENGBU, namesake),
    ];
    for (bureau, value) in placed {
        let case = draw.below(files[bureau].cases.len());
        files[bureau].add(case, &value, 0, draw);
    }
    let nameless = values::bare_name();
    for file in files.iter_mut() {
        let case = draw.below(file.cases.len());
        file.add(case, &nameless, 0, draw);
    }
    files.len()
}

/// How many rows of each file are repeated in another spelling.
const DUPLICATES: usize = 4;

/// Repeats elements; returns how many rows that makes.
pub(super) fn duplicates(files: &mut [File], draw: &mut Draw) -> usize {
    let mut made = 0;
    for file in files {
        let respelled: Vec<Row> = file
            .rows
            .iter()
            .enumerate()
            .filter(|(at, row)| at % 11 == 5 && row.value.spellings.len() > 1)
            .map(|(_, row)| row.clone())
            .take(DUPLICATES)
            .collect();
        for mut row in respelled {
            let other: Vec<&String> = row
                .value
                .spellings
                .iter()
                .filter(|s| **s != row.raw)
                .collect();
            row.raw = (*draw.pick(&other)).clone();
            file.rows.push(row);
            made += 1;
        }
    }
    made
}

/// Adds rows that break the rule of their kind.
pub(super) fn wrong_rows(files: &mut [File], draw: &mut Draw) -> Vec<RefusedRow> {
    let mut refused = Vec::new();
    for file in files {
        let wrong = [
            wrong_card(draw),
            wrong_resident_id(draw),
            wrong_wallet(draw),
        ];
        for value in wrong {
            let case = draw.below(file.cases.len());
            file.add(case, &value, 0, draw);
            let line = file.rows.len() + 1;
            refused.push(RefusedRow {
                bureau: file.id(),
                line,
                kind: value.kind,
            });
        }
    }
    refused
}

/// A card whose last digit does not check.
fn wrong_card(draw: &mut Draw) -> Value {
    let mut value = draw.fresh(values::bank_card);
    value.spellings = vec![next_digit(&value.canonical)];
    value
}

/// A resident ID whose check character is off.
fn wrong_resident_id(draw: &mut Draw) -> Value {
    let mut value = draw.fresh(values::resident_id);
    value.spellings = vec![next_digit(&value.canonical)];
    value
}

/// An address in mixed case that does not fit EIP-55.
fn wrong_wallet(draw: &mut Draw) -> Value {
    loop {
        let mut value = draw.fresh(values::evm);
        let turned: String = value.spelled(0)[2..]
            .chars()
            .map(|c| {
                if c.is_ascii_lowercase() {
                    c.to_ascii_uppercase()
                } else {
                    c.to_ascii_lowercase()
                }
            })
            .collect();
        let both = |f: fn(&char) -> bool| turned.chars().any(|c| f(&c));
        if both(char::is_ascii_lowercase) && both(char::is_ascii_uppercase) {
            value.spellings = vec![format!("0x{turned}")];
            return value;
        }
    }
}

/// The text with its last character replaced by another digit.
fn next_digit(text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    if let Some(last) = chars.last_mut() {
        *last = match last.to_digit(10) {
            Some(digit) => char::from_digit((digit + 1) % 10, 10).expect("a digit"),
            None => '0',
        };
    }
    chars.into_iter().collect()
}
