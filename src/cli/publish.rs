//! `casegate publish`: records elements of one case and publishes them; and how
//! an element is named on the command line, KIND:VALUE.

use crate::cli::desk::{Desk, PurposeArgs};
use crate::cli::failure::{CommandError, Exit};
use crate::cli::import;
use crate::cli::sheet::{Column, Say, Section, Sheet};
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
    let kind = show::parse_kind(kind).map_err(|_| {
        "the word before the first colon is not a kind of element: use phone, \
         bank-card, wechat, url, wallet or another that --help lists"
    })?;
    if value.trim().is_empty() {
        return Err("the value after the colon is empty".to_owned());
    }
    Ok(ElementArg {
        kind: kind.as_str().to_owned(),
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

/// Why an element was refused, in the officer's language.
struct Refused {
    of: v1::Refusal,
    reason: String,
}

type RefusedColumn = Column<Refused>;

const REFUSED: &[RefusedColumn] = &[
    RefusedColumn::of("column", "label.column.column", |r| (&r.of.column).into()),
    RefusedColumn::data("code", |r| (&r.of.code).into()),
    RefusedColumn::of("reason", "label.column.reason", |r| (&r.reason).into()).flow(),
];

/// What was published. Refused elements are errors of use; the others are
/// published all the same.
///
/// # Errors
/// [`CommandError::Answer`] when the answer has no report.
pub fn sheet(case: &str, answer: &v1::PublishResponse, lang: Lang) -> Result<Sheet, CommandError> {
    let report = answer.report.as_ref();
    let report = report.ok_or(CommandError::Answer("report"))?;
    let refused: Vec<Refused> = answer
        .refusals
        .iter()
        .map(|of| Refused {
            of: of.clone(),
            reason: import::reason(lang, of),
        })
        .collect();
    let exit = if refused.is_empty() {
        Exit::Done
    } else {
        Exit::Refused
    };
    let mut sheet = Sheet::new("publish").ends(exit);
    sheet.head(Say::new("page.case", [("case", case.into())]));
    sheet.data("case", case);
    sheet.data("queued", answer.queued);
    let taken = report.fresh + report.amendments;
    if taken == 0 && refused.is_empty() {
        sheet.say("message.publish.nothing", []);
    } else if taken > 0 {
        let (count, queued) = if answer.queued {
            (0, taken)
        } else {
            (taken, 0)
        };
        let words = [("count", count.into()), ("queued", queued.into())];
        sheet.say("message.publish.done", words);
        import::behind(&mut sheet, report);
    }
    if report.not_linkable > 0 {
        let count = report.not_linkable.into();
        sheet.say("message.import.not_linkable", [("count", count)]);
    }
    let refused = Section::of(&refused, REFUSED).keyed("refused_elements");
    sheet.section(refused.titled("label.title.refused"));
    sheet.fields(report, import::REPORT);
    Ok(sheet)
}

/// Publishes the elements.
///
/// # Errors
/// [`CommandError`].
pub async fn run(args: &PublishArgs, desk: &Desk, lang: Lang) -> Result<Sheet, CommandError> {
    let request = v1::PublishRequest {
        case_no: args.case_no.clone(),
        category: args.category.clone().unwrap_or_default(),
        elements: specs(&args.elements, &args.qualifiers, args.role.as_deref())?,
        audience: args.audience.clone().unwrap_or_default(),
        purpose: Some(args.purpose.to_wire()),
    };
    let answer = desk.client.publish(request).await?;
    sheet(&args.case_no, &answer, lang)
}
