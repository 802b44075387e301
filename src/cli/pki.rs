//! `casegate pki`: keys and certificates. `request` runs where the key is to
//! stay, `sign` where the member's CA is kept; `dev` makes everything at once
//! and is for development only.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use crate::cli::sheet::{Cell, Sheet};
use crate::clock::UnixSeconds;
use crate::ids::{FederationId, MemberId, random};
use crate::keys::SigningKey;
use crate::pki::dev::{assign_witnesses, dev_federation, dev_member};
use crate::pki::files::{make_dir, write_private, write_public, write_seed};
use crate::pki::{self, Authority, LEAF_DAYS, Validity};
use crate::roster::MemberRole;
use crate::tls::{check_private, identity_of};

/// Makes keys and certificates.
#[derive(Clone, Debug, Args)]
pub struct PkiArgs {
    #[command(subcommand)]
    command: PkiCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum PkiCommand {
    /// Makes a whole federation for development: every member's keys in one place.
    Dev(DevArgs),
    /// Makes a member's certificate authority.
    Ca(CaArgs),
    /// Makes the seeds that sign a member's logs, and the key that seals its store.
    Keys(KeysArgs),
    /// Makes a key and a signing request, on the machine where the key stays.
    Request(RequestArgs),
    /// Answers a signing request with the member's certificate authority.
    Sign(SignArgs),
    /// Says whom a certificate names, and from when to when.
    Show(ShowArgs),
}

#[derive(Clone, Debug, Args)]
struct DevArgs {
    /// The directory to make; one directory a member in it.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The federation's name.
    #[arg(long, value_name = "NAME", default_value = "anhui.example")]
    federation: String,
    /// The members, such as hefei,wuhu,anhui:department,court:auditor; auditors get no node.
    #[arg(
        long,
        value_name = "NAME[:ROLE]",
        value_delimiter = ',',
        required = true
    )]
    members: Vec<String>,
    /// The officers of every member; the first keeps the list of officers.
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "li.wei"
    )]
    officers: Vec<String>,
    /// The members that witness everybody's logs; without any, the departments.
    #[arg(long = "witness", value_name = "NAME", value_delimiter = ',')]
    witnesses: Vec<String>,
    /// The first member's peer port; each further member takes the next ten.
    #[arg(long, value_name = "PORT", default_value_t = 7440)]
    port: u16,
}

#[derive(Clone, Debug, Args)]
struct CaArgs {
    /// The federation.
    #[arg(long, value_name = "NAME")]
    federation: String,
    /// The member that the CA may name.
    #[arg(long, value_name = "NAME")]
    member: String,
    /// Where ca.pem and ca.key go.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Clone, Debug, Args)]
struct KeysArgs {
    /// Where the files go.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Makes one key only, the next of its use: records, checkpoint or witness.
    #[arg(long, value_name = "USE", num_args = 0..=1, default_missing_value = "records",
          value_parser = ["records", "checkpoint", "witness"])]
    next: Option<String>,
}

#[derive(Clone, Debug, Args)]
struct RequestArgs {
    /// The federation.
    #[arg(long, value_name = "NAME")]
    federation: String,
    /// The member.
    #[arg(long, value_name = "NAME")]
    member: String,
    /// bureau, department or auditor.
    #[arg(long, value_name = "ROLE", default_value = "bureau")]
    role: String,
    /// The officer; without it the request is for the member's node.
    #[arg(long, value_name = "NAME")]
    officer: Option<String>,
    /// Where NAME.key and NAME.csr go.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Clone, Debug, Args)]
struct SignArgs {
    /// The directory of ca.pem and ca.key.
    #[arg(long, value_name = "DIR")]
    ca: PathBuf,
    /// The signing request.
    #[arg(long, value_name = "FILE")]
    csr: PathBuf,
    /// The one name to accept, as the request's sender told you by other means.
    #[arg(long, value_name = "spiffe://...")]
    name: String,
    /// How many days the certificate is valid.
    #[arg(long, value_name = "N", default_value_t = LEAF_DAYS, value_parser = clap::value_parser!(i64).range(1..=3650))]
    days: i64,
    /// The certificate to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Clone, Debug, Args)]
struct ShowArgs {
    /// The certificate, PEM.
    cert: PathBuf,
}

/// Runs `casegate pki` at the time `now`.
///
/// # Errors
/// A sentence that names what was refused; files that exist are never overwritten.
pub fn run(args: &PkiArgs, now: UnixSeconds) -> anyhow::Result<Sheet> {
    match &args.command {
        PkiCommand::Dev(args) => dev(args, now),
        PkiCommand::Ca(args) => ca(args, now),
        PkiCommand::Keys(args) => keys(args),
        PkiCommand::Request(args) => request(args),
        PkiCommand::Sign(args) => sign(args, now),
        PkiCommand::Show(args) => show(args),
    }
}

fn role_of(text: &str) -> anyhow::Result<MemberRole> {
    MemberRole::from_word(text)
        .with_context(|| format!("{text:?} is no role: bureau, department or auditor"))
}

fn dev(args: &DevArgs, now: UnixSeconds) -> anyhow::Result<Sheet> {
    let federation = FederationId::new(&args.federation)?;
    let officers: Vec<&str> = args.officers.iter().map(String::as_str).collect();
    let (mut members, mut listen) = (Vec::new(), Vec::new());
    for (place, text) in (0_u16..).zip(&args.members) {
        let (name, role) = text.split_once(':').unwrap_or((text, "bureau"));
        let base = place
            .checked_mul(10)
            .and_then(|offset| args.port.checked_add(offset));
        let Some(base) = base.filter(|port| port.checked_add(3).is_some()) else {
            bail!(
                "there are not enough ports above {} for all members",
                args.port
            );
        };
        let [peer, desk, audit, admin] = [0, 1, 2, 3].map(|n| format!("127.0.0.1:{}", base + n));
        let (id, role) = (MemberId::new(name)?, role_of(role)?);
        let mut member = dev_member(&federation, &id, role, now, &officers)?;
        if role == MemberRole::Auditor {
            members.push((member, String::new()));
        } else {
            member.audit_endpoint = audit;
            members.push((member, peer.clone()));
        }
        listen.push([peer, desk, admin]);
    }
    let named: Vec<MemberId> = args
        .witnesses
        .iter()
        .map(|name| MemberId::new(name))
        .collect::<Result<_, _>>()?;
    let departments = members
        .iter()
        .filter(|(member, _)| member.role == MemberRole::Department)
        .map(|(member, _)| member.id.clone());
    let witnesses = if named.is_empty() {
        departments.collect()
    } else {
        named
    };
    assign_witnesses(&mut members, &witnesses);
    let made = dev_federation(&federation, members, now)?;
    let pin = made.write(&args.dir, &listen)?;
    let names: Vec<&str> = made
        .members
        .iter()
        .map(|member| member.id.as_str())
        .collect();
    let dir = args.dir.display().to_string();
    let mut sheet = Sheet::new("pki.dev");
    sheet.data("dir", &dir);
    sheet.data("members", Cell::texts(&names));
    sheet.data("pin", pin.to_string());
    let words = [
        ("dir", dir.into()),
        ("federation", federation.as_str().into()),
        ("pin", pin.to_string().into()),
    ];
    sheet.say("pki.dev.made", words);
    sheet.say("pki.dev.members", [("members", Cell::texts(&names))]);
    sheet.say("pki.dev.warning", []);
    Ok(sheet)
}

fn ca(args: &CaArgs, now: UnixSeconds) -> anyhow::Result<Sheet> {
    let (federation, member) = (
        FederationId::new(&args.federation)?,
        MemberId::new(&args.member)?,
    );
    let made = Authority::generate(&federation, &member, now)?;
    make_dir(&args.out)?;
    write_private(&args.out.join("ca.key"), made.key_pem().as_bytes())?;
    let cert = args.out.join("ca.pem");
    write_public(&cert, made.cert_pem().as_bytes())?;
    let cert = cert.display().to_string();
    let mut sheet = Sheet::new("pki.ca");
    sheet.data("member", member.as_str());
    sheet.data("cert", &cert);
    sheet.say("pki.ca.made", [("cert", cert.into())]);
    Ok(sheet)
}

/// Makes one seed beside the ones in use; its file is named after the key.
fn next_key(usage: &str, out: &Path) -> anyhow::Result<Sheet> {
    make_dir(out)?;
    let key = SigningKey::generate();
    let file = out.join(format!("{usage}-{}.seed", key.id()));
    write_seed(&file, &key)?;
    let hex = hex::encode(key.public_key().as_bytes());
    let (file, id) = (file.display().to_string(), key.id().to_string());
    let mut sheet = Sheet::new("pki.keys.next");
    sheet.data("use", usage).data("id", id);
    sheet.data("public_key", &hex).data("file", &file);
    sheet.say("pki.keys.next.made", [("file", (&file).into())]);
    sheet.line("[[member.key]]");
    sheet.line(format!("use = \"{usage}\""));
    sheet.line(format!("key = \"{hex}\""));
    let then = match usage {
        "checkpoint" => "pki.keys.next.checkpoint",
        "witness" => "pki.keys.next.witness",
        _ => "pki.keys.next.records",
    };
    sheet.say(then, [("file", file.into())]);
    Ok(sheet)
}

fn keys(args: &KeysArgs) -> anyhow::Result<Sheet> {
    if let Some(usage) = &args.next {
        return next_key(usage, &args.out);
    }
    make_dir(&args.out)?;
    let mut sheet = Sheet::new("pki.keys");
    sheet.say("pki.keys.made", []);
    for name in ["records", "checkpoint", "witness"] {
        let key = SigningKey::generate();
        write_seed(&args.out.join(format!("{name}.seed")), &key)?;
        let hex = hex::encode(key.public_key().as_bytes());
        sheet.line(format!("{name} = \"{hex}\""));
        sheet.data(name, hex);
    }
    let seal = zeroize::Zeroizing::new(hex::encode(random::<32>()) + "\n");
    write_private(&args.out.join("seal.key"), seal.as_bytes())?;
    Ok(sheet)
}

fn request(args: &RequestArgs) -> anyhow::Result<Sheet> {
    let federation = FederationId::new(&args.federation)?;
    let member = MemberId::new(&args.member)?;
    let officer = args.officer.as_deref();
    let identity = pki::identity(&federation, role_of(&args.role)?, &member, officer)?;
    let made = pki::request(&identity)?;
    make_dir(&args.out)?;
    let name = officer.unwrap_or("node");
    write_private(
        &args.out.join(format!("{name}.key")),
        made.key_pem.as_bytes(),
    )?;
    let csr = args.out.join(format!("{name}.csr"));
    write_public(&csr, made.csr_pem.as_bytes())?;
    let csr = csr.display().to_string();
    let mut sheet = Sheet::new("pki.request");
    sheet.data("name", identity.to_string());
    sheet.data("csr", &csr);
    let words = [
        ("csr", csr.into()),
        ("name", identity.to_string().into()),
        ("member", member.as_str().into()),
    ];
    sheet.say("pki.request.made", words);
    Ok(sheet)
}

fn sign(args: &SignArgs, now: UnixSeconds) -> anyhow::Result<Sheet> {
    let key = args.ca.join("ca.key");
    check_private(&key)?;
    let key_pem = zeroize::Zeroizing::new(read(&key)?);
    let authority = Authority::from_pem(&read(&args.ca.join("ca.pem"))?, &key_pem)?;
    let name = crate::policy::Identity::from_uri(&args.name)?;
    let validity = Validity::days(now, args.days);
    let cert = authority.sign_request(&read(&args.csr)?, &name, validity)?;
    write_public(&args.out, cert.as_bytes())?;
    let out = args.out.display().to_string();
    let mut sheet = Sheet::new("pki.sign");
    sheet.data("name", name.to_string());
    sheet.data("cert", &out);
    sheet.data("days", Cell::Data(args.days.into()));
    let words = [
        ("cert", out.into()),
        ("name", name.to_string().into()),
        ("days", args.days.to_string().into()),
    ];
    sheet.say("pki.sign.made", words);
    Ok(sheet)
}

fn show(args: &ShowArgs) -> anyhow::Result<Sheet> {
    let text = read(&args.cert)?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(text.as_bytes())
        .with_context(|| format!("{} is no PEM file", args.cert.display()))?;
    let cert = pem.parse_x509().context("the file holds no certificate")?;
    let der = rustls::pki_types::CertificateDer::from(pem.contents.as_slice());
    let name = identity_of(&der)?.to_string();
    let validity = cert.validity();
    let [from, to] = [validity.not_before, validity.not_after].map(|at| at.timestamp());
    let mut sheet = Sheet::new("pki.show");
    sheet.data("name", &name);
    sheet.data("not_before", Cell::Second(from));
    sheet.data("not_after", Cell::Second(to));
    let words = [
        ("name", name.into()),
        ("from", Cell::Time(from)),
        ("to", Cell::Time(to)),
    ];
    sheet.say("pki.show.cert", words);
    Ok(sheet)
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
