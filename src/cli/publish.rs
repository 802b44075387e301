//! `casegate publish`: records elements of one case and publishes them; and how
//! an element is named on the command line, KIND:VALUE.

use serde::Serialize;

use crate::cli::desk::{Desk, PurposeArgs};
use crate::cli::failure::{CommandError, Exit};
use crate::cli::import::{self, ReportView};
use crate::cli::output::{Output, Screen, Table};
use crate::cli::show;
use crate::lang::Lang;
use crate::wire::v1;

/// An element as an officer names it.
#[derive(Clone, PartialEq, Eq)]
pub struct ElementArg {
    /// The kind's word.
    pub kind: String,
    /// The value as it was written.
    pub value: String,
}

impl std::fmt::Debug for ElementArg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ElementArg({}:..)", self.kind)
    }
}

/// Reads `KIND:VALUE`. The kind ends at the first colon, so that a value may
/// have more, as URLs and MAC addresses do.
///
/// # Errors
/// A sentence for clap, without the value.
pub fn parse_element(text: &str) -> Result<ElementArg, String> {
    let (kind, value) = text
        .split_once(':')
        .ok_or("an element is written KIND:VALUE, such as phone:13800000000")?;
    if show::parse_kind(kind).is_none() {
        return Err(
            "the word before the first colon is not a kind of element: use phone, \
             bank-card, wechat, url, wallet or another that --help lists"
                .to_owned(),
        );
    }
    if value.trim().is_empty() {
        return Err("the value after the colon is empty".to_owned());
    }
    Ok(ElementArg {
        kind: kind.to_owned(),
        value: value.to_owned(),
    })
}

/// The kinds, for `--help`.
pub const KINDS_HELP: &str = "KIND is one of phone, bank-card, bank-account, iban, resident-id, \
    passport, person, org-id, wechat, qq, alipay, telegram, social, email, url, domain, ip, imei, \
    imsi, mac, wallet, plate, app. The kind ends at the first colon.";

/// Joins elements with their qualifiers: none, or one for each element.
///
/// # Errors
/// [`CommandError::Usage`] for any other number of qualifiers.
pub fn specs(
    elements: &[ElementArg],
    qualifiers: &[String],
    role: Option<&str>,
) -> Result<Vec<v1::ElementSpec>, CommandError> {
    if !qualifiers.is_empty() && qualifiers.len() != elements.len() {
        return Err(CommandError::Usage(
            "give --qualifier once for each --element, in their order; '' for one without",
        ));
    }
    let qualifiers = qualifiers.iter().map(Some).chain(std::iter::repeat(None));
    let spec = |(element, qualifier): (&ElementArg, Option<&String>)| v1::ElementSpec {
        kind: element.kind.clone(),
        value: element.value.clone(),
        qualifier: qualifier.cloned().unwrap_or_default(),
        role: role.unwrap_or_default().to_owned(),
    };
    Ok(elements.iter().zip(qualifiers).map(spec).collect())
}

/// Records elements of one case and publishes their tokens; the values stay here.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = KINDS_HELP)]
pub struct PublishArgs {
    /// The case's number.
    #[arg(long = "case", value_name = "NO")]
    pub case_no: String,
    /// The case's category; needed for a case that is not recorded yet.
    #[arg(long, value_name = "WORD")]
    pub category: Option<String>,
    /// An element of the case; may be given many times.
    #[arg(long = "element", value_name = "KIND:VALUE", required = true, value_parser = parse_element)]
    pub elements: Vec<ElementArg>,
    /// What an element needs besides: wallet chain, platform, birth date,
    /// country, plate class. Once for each element, in their order.
    #[arg(long = "qualifier", value_name = "TEXT")]
    pub qualifiers: Vec<String>,
    /// What the elements are in the case.
    #[arg(long, value_parser = ["suspect", "victim", "witness", "instrument"])]
    pub role: Option<String>,
    /// Who may receive them: federation, region:NAME, members:a;b or nobody.
    #[arg(long, value_name = "WHO")]
    pub audience: Option<String>,
    /// Why.
    #[command(flatten)]
    pub purpose: PurposeArgs,
}

/// What was published, as JSON and people see it.
#[derive(Clone, Debug, Serialize)]
pub struct PublishView {
    case: String,
    /// Not published yet: custodians are out of reach.
    queued: bool,
    /// The elements that were refused, in order.
    refused_elements: Vec<RefusalView>,
    #[serde(flatten)]
    report: ReportView,
}

/// Why an element was refused.
#[derive(Clone, Debug, Serialize)]
pub struct RefusalView {
    column: String,
    code: String,
    reason: String,
}

impl PublishView {
    /// Takes the node's answer.
    ///
    /// # Errors
    /// [`CommandError::Answer`] when it has no report.
    pub fn of(case: &str, answer: &v1::PublishResponse, lang: Lang) -> Result<Self, CommandError> {
        let report = answer
            .report
            .as_ref()
            .ok_or(CommandError::Answer("report"))?;
        let refusal = |r: &v1::Refusal| RefusalView {
            column: r.column.clone(),
            code: r.code.clone(),
            reason: import::reason(lang, r),
        };
        Ok(Self {
            case: case.to_owned(),
            queued: answer.queued,
            refused_elements: answer.refusals.iter().map(refusal).collect(),
            report: ReportView::of(report),
        })
    }

    /// Shows it to people.
    pub fn show(&self, screen: &mut Screen) {
        let taken = self.report.fresh + self.report.amendments;
        if taken == 0 && self.refused_elements.is_empty() {
            screen.text("message.publish.nothing", &[]);
        } else if taken > 0 {
            let (count, queued) = if self.queued { (0, taken) } else { (taken, 0) };
            let (count, queued) = (count.to_string(), queued.to_string());
            screen.text(
                "message.publish.done",
                &[("count", &count), ("queued", &queued)],
            );
            self.report.show_behind(screen);
        }
        if self.report.not_linkable > 0 {
            let count = self.report.not_linkable.to_string();
            screen.text("message.import.not_linkable", &[("count", &count)]);
        }
        if self.refused_elements.is_empty() {
            return;
        }
        screen.title("label.title.refused");
        let mut table = Table::new()
            .column("label.column.column")
            .column("label.column.reason");
        for refusal in &self.refused_elements {
            table.row([&refusal.column, &refusal.reason]);
        }
        screen.table(&table);
    }

    /// Refused elements are errors of use; the others are published all the same.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.refused_elements.is_empty() {
            Exit::Done
        } else {
            Exit::Refused
        }
    }
}

/// Publishes the elements.
///
/// # Errors
/// [`CommandError`].
pub async fn run(args: &PublishArgs, desk: &Desk, output: &Output) -> Result<Exit, CommandError> {
    let request = v1::PublishRequest {
        case_no: args.case_no.clone(),
        category: args.category.clone().unwrap_or_default(),
        elements: specs(&args.elements, &args.qualifiers, args.role.as_deref())?,
        audience: args.audience.clone().unwrap_or_default(),
        purpose: Some(args.purpose.to_wire()),
    };
    let answer = desk.client.publish(request).await?;
    let view = PublishView::of(&args.case_no, &answer, output.lang())?;
    output.emit("publish", &view, |screen| view.show(screen))?;
    Ok(view.exit())
}
