//! The case table under concurrent change: a case number is one case, whoever
//! brings it first, and a closed case stays closed.

use std::io::{Cursor, Read};
use std::sync::Arc;

use casegate::blame::Blamed;
use casegate::cases::{Cases, case_ref};
use casegate::ids::{LogIndex, LogName};
use casegate::import::{ImportError, ImportRun, Importer};
use casegate::intake::Format;
use casegate::ledger::OWN_RECORDS;
use casegate::node::Parts;
use casegate::publish::PublishState;
use casegate::store::Batch;
use casegate::wire::v1::{CaseRow, CaseState, Purpose};

use crate::cluster::{Cluster, purpose, wait_for};
use crate::tamper::Ledgers;

const HEADER: &str = "case_no,category,kind,value,role\n";

/// A file that does something else before its end is read.
struct Interrupted<F: FnMut()> {
    text: Cursor<Vec<u8>>,
    then: Option<F>,
}

impl<F: FnMut()> Read for Interrupted<F> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let read = self.text.read(out)?;
        if read == 0
            && let Some(mut then) = self.then.take()
        {
            then();
        }
        Ok(read)
    }
}

fn run_of() -> ImportRun {
    let given = purpose();
    ImportRun {
        format: Format::Csv,
        preview: false,
        as_note: false,
        purpose: Purpose {
            offence: given.offence,
            reason: given.reason,
            ..Default::default()
        },
    }
}

fn import(importer: &Importer, text: &str, then: impl FnMut()) {
    let file = Interrupted {
        text: Cursor::new(format!("{HEADER}{text}\n").into_bytes()),
        then: Some(then),
    };
    tokio::task::block_in_place(|| importer.run(file, &run_of(), &mut |_| true))
        .expect("it is taken in");
}

/// The case refs under which elements stand in the own log.
async fn published_refs(parts: &Arc<Parts>) -> Vec<Vec<u8>> {
    parts.publisher.wake();
    let state = parts.publisher.state();
    wait_for("the queue is published", || {
        parts.ledger.is_queue_empty() && *state.borrow() == PublishState::Idle
    })
    .await;
    let size = parts.ledger.own_log(LogName::Records).size().0;
    (0..size)
        .filter_map(|at| {
            let read = parts.ledger.element(OWN_RECORDS, LogIndex(at));
            read.expect("it reads")
        })
        .map(|element| element.body.case_ref.as_bytes().to_vec())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_files_that_bring_the_same_new_case_make_one_case() {
    let cluster = Cluster::new(&["hefei"]).await;
    let parts = Arc::clone(cluster.parts("hefei"));
    let inner = parts.importer.clone();
    import(
        &parts.importer,
        "HF-1,loan,domain,one.example,suspect",
        || {
            import(&inner, "HF-1,loan,domain,two.example,suspect", || {});
        },
    );
    let row = parts.cases.find("HF-1").expect("it reads").expect("a case");
    let of_case = case_ref(&row).as_bytes().to_vec();
    assert_eq!(published_refs(&parts).await, vec![of_case; 2]);
    cluster.federation.stop().await;
}

#[test]
fn a_number_that_is_taken_is_refused_and_the_first_case_stays_as_it_is() {
    let ledgers = Ledgers::new();
    let cases = Cases::new(ledgers.open("hefei"));
    let row = |case_no: &str, title: &str| CaseRow {
        case_no: case_no.into(),
        title: title.into(),
        ..Default::default()
    };
    let first = cases.add(row("HF-1", "first")).expect("it is new");
    for (refused, code) in [
        (row("HF-1", "second"), "case.exists"),
        (row(" ", "blank"), "case.bad_number"),
        (row("HF\n2", "control"), "case.bad_number"),
    ] {
        let added = cases.add_with(refused, |_| panic!("nothing may be committed"));
        assert_eq!(added.expect_err("refused").code(), code);
    }
    cases.close("HF-1").expect("closed");
    let again = cases
        .add(row("HF-1", "third"))
        .expect_err("closed, and taken");
    assert_eq!(again.code(), "case.exists");
    let all = cases.all().expect("cases");
    assert_eq!(all.len(), 1);
    let kept = (&*all[0].title, &all[0].case_ref);
    assert_eq!(kept, ("first", &first.case_ref));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_that_an_officer_adds_during_an_import_is_the_case_of_its_rows() {
    let cluster = Cluster::new(&["hefei"]).await;
    let parts = Arc::clone(cluster.parts("hefei"));
    let mut added = None;
    import(
        &parts.importer,
        "HF-1,loan,domain,one.example,suspect",
        || {
            let row = CaseRow {
                case_no: "HF-1".into(),
                title: "by hand".into(),
                ..Default::default()
            };
            added = Some(parts.cases.add(row).expect("it is new"));
        },
    );
    let added = added.expect("it was added");
    let row = parts.cases.find("HF-1").expect("it reads").expect("a case");
    assert_eq!(
        (row.title.as_str(), case_ref(&row)),
        ("by hand", case_ref(&added))
    );
    let of_case = case_ref(&added).as_bytes().to_vec();
    assert_eq!(published_refs(&parts).await, [of_case]);
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_that_is_closed_while_its_rows_are_published_stays_closed() {
    let cluster = Cluster::new(&["hefei"]).await;
    let parts = Arc::clone(cluster.parts("hefei"));
    for round in 0..20 {
        let case_no = format!("HF-{round}");
        let row = format!("{case_no},loan,domain,d{round}.example,suspect");
        import(&parts.importer, &row, || {});
        parts.publisher.wake();
        let closing = Arc::clone(&parts);
        let closed = tokio::task::spawn_blocking(move || closing.cases.close(&case_no));
        let closed = closed.await.expect("it ends").expect("it is there");
        wait_for("the queue is published", || parts.ledger.is_queue_empty()).await;
        let row = parts.cases.find(&closed.case_no).expect("it reads");
        assert_eq!(row.expect("a case").state(), CaseState::Closed);
    }
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_stands_twice_is_taken_once_and_none_after_its_officer_has_gone() {
    let cluster = Cluster::new(&["hefei"]).await;
    let parts = Arc::clone(cluster.parts("hefei"));
    let file = |rows: &str| Cursor::new(format!("{HEADER}{rows}").into_bytes());
    let read = |rows: &str, told: bool| {
        let run = || parts.importer.run(file(rows), &run_of(), &mut |_| told);
        tokio::task::block_in_place(run)
    };
    let broken = "HF-1,loan,phone,none,suspect\nHF-1,loan,domain,one.example,suspect\n";
    let refused = read(broken, false).expect_err("nobody hears of the refused row");
    assert_eq!(refused.to_string(), ImportError::BrokenOff.to_string());
    assert!(parts.ledger.is_queue_empty());
    assert!(parts.cases.all().expect("cases").is_empty());

    let twice = "HF-1,loan,domain,one.example,suspect\n".repeat(2);
    let report = read(&twice, true).expect("it is taken in");
    assert_eq!((report.rows, report.fresh, report.unchanged), (2, 1, 0));
    assert_eq!(published_refs(&parts).await.len(), 1);
    cluster.federation.stop().await;
}

#[test]
fn a_case_is_named_by_its_number_or_by_digits_of_its_ref_that_no_other_has() {
    let ledgers = Ledgers::new();
    let ledger = ledgers.open("hefei");
    let cases = Cases::new(ledger.clone());
    let mut near = [0xab; 16];
    near[15] = 0xac;
    let mut batch = Batch::new();
    for (case_no, case_ref) in [
        ("HF-1", [0xab; 16]),
        ("HF-2", near),
        ("HF-3", [0xcd; 16]),
        ("cdcdcdcd", [0x01; 16]),
    ] {
        let row = CaseRow {
            case_no: case_no.into(),
            case_ref: case_ref.to_vec().into(),
            ..Default::default()
        };
        cases.stage(&row, &mut batch).expect("staged");
    }
    ledger.store().commit(batch).expect("kept");
    let named = |name: &str| cases.open_or_closed(name).map(|row| row.case_no);
    let refused = |name: &str| named(name).expect_err(name).code();
    assert_eq!(refused("ababababab"), "case.ambiguous");
    for short in ["abababa", "ABABABAB", "abababaz", &"ab".repeat(17)] {
        assert_eq!(refused(short), "case.unknown", "{short}");
    }
    assert_eq!(named(&"ab".repeat(16)).expect("a whole ref"), "HF-1");
    assert_eq!(named("cdcdcdcdcd").expect("its first digits"), "HF-3");
    assert_eq!(named("cdcdcdcd").expect("a number comes first"), "cdcdcdcd");
    assert!(cases.find("cdcdcdcdcd").expect("it reads").is_none());
}
