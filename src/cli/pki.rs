//! `casegate pki`: keys and certificates. `request` runs where the key is to
//! stay, `sign` where the member's CA is kept; `dev` makes everything at once
//! and is for development only.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::output::{Output, Screen};
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
pub fn run(args: &PkiArgs, now: UnixSeconds, output: &Output) -> anyhow::Result<()> {
    match &args.command {
        PkiCommand::Dev(args) => dev(args, now, output),
        PkiCommand::Ca(args) => ca(args, now, output),
        PkiCommand::Keys(args) => keys(args, output),
        PkiCommand::Request(args) => request(args, output),
        PkiCommand::Sign(args) => sign(args, now, output),
        PkiCommand::Show(args) => show(args, output),
    }
}

fn say(
    output: &Output,
    command: &str,
    value: &serde_json::Value,
    show: impl FnOnce(&mut Screen),
) -> anyhow::Result<()> {
    output.emit(command, value, show)?;
    Ok(())
}

fn role_of(text: &str) -> anyhow::Result<MemberRole> {
    MemberRole::from_word(text)
        .with_context(|| format!("{text:?} is no role: bureau, department or auditor"))
}

fn dev(args: &DevArgs, now: UnixSeconds, output: &Output) -> anyhow::Result<()> {
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
    let value = json!({ "dir": dir, "members": names, "pin": pin.to_string() });
    say(output, "pki.dev", &value, |screen| {
        let (federation, pin) = (federation.as_str(), pin.to_string());
        let values = [("dir", &*dir), ("federation", federation), ("pin", &pin)];
        screen.text("pki.dev.made", &values);
        screen.text("pki.dev.members", &[("members", &names.join(", "))]);
        screen.text("pki.dev.warning", &[]);
    })
}

fn ca(args: &CaArgs, now: UnixSeconds, output: &Output) -> anyhow::Result<()> {
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
    let value = json!({ "member": member.as_str(), "cert": cert });
    say(output, "pki.ca", &value, |screen| {
        screen.text("pki.ca.made", &[("cert", &cert)]);
    })
}

/// Makes one seed beside the ones in use; its file is named after the key.
fn next_key(usage: &str, out: &Path, output: &Output) -> anyhow::Result<()> {
    make_dir(out)?;
    let key = SigningKey::generate();
    let file = out.join(format!("{usage}-{}.seed", key.id()));
    write_seed(&file, &key)?;
    let hex = hex::encode(key.public_key().as_bytes());
    let (file, id) = (file.display().to_string(), key.id().to_string());
    let value = json!({ "use": usage, "id": id, "public_key": hex, "file": file });
    say(output, "pki.keys.next", &value, |screen| {
        screen.text("pki.keys.next.made", &[("file", &file)]);
        screen.line("[[member.key]]");
        screen.line(&format!("use = \"{usage}\""));
        screen.line(&format!("key = \"{hex}\""));
        let then = match usage {
            "checkpoint" => "pki.keys.next.checkpoint",
            "witness" => "pki.keys.next.witness",
            _ => "pki.keys.next.records",
        };
        screen.text(then, &[("file", &file)]);
    })
}

fn keys(args: &KeysArgs, output: &Output) -> anyhow::Result<()> {
    if let Some(usage) = &args.next {
        return next_key(usage, &args.out, output);
    }
    make_dir(&args.out)?;
    let mut public = serde_json::Map::new();
    let mut lines = Vec::new();
    for name in ["records", "checkpoint", "witness"] {
        let key = SigningKey::generate();
        write_seed(&args.out.join(format!("{name}.seed")), &key)?;
        let hex = hex::encode(key.public_key().as_bytes());
        lines.push(format!("{name} = \"{hex}\""));
        public.insert(name.into(), hex.into());
    }
    let seal = zeroize::Zeroizing::new(hex::encode(random::<32>()) + "\n");
    write_private(&args.out.join("seal.key"), seal.as_bytes())?;
    say(output, "pki.keys", &public.into(), |screen| {
        screen.text("pki.keys.made", &[]);
        lines.iter().for_each(|line| screen.line(line));
    })
}

fn request(args: &RequestArgs, output: &Output) -> anyhow::Result<()> {
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
    let value = json!({ "name": identity.to_string(), "csr": csr });
    say(output, "pki.request", &value, |screen| {
        let (name, member) = (identity.to_string(), member.as_str());
        let values = [("csr", &*csr), ("name", &name), ("member", member)];
        screen.text("pki.request.made", &values);
    })
}

fn sign(args: &SignArgs, now: UnixSeconds, output: &Output) -> anyhow::Result<()> {
    let key = args.ca.join("ca.key");
    check_private(&key)?;
    let key_pem = zeroize::Zeroizing::new(read(&key)?);
    let authority = Authority::from_pem(&read(&args.ca.join("ca.pem"))?, &key_pem)?;
    let name = crate::policy::Identity::from_uri(&args.name)?;
    let validity = Validity::days(now, args.days);
    let cert = authority.sign_request(&read(&args.csr)?, &name, validity)?;
    write_public(&args.out, cert.as_bytes())?;
    let out = args.out.display().to_string();
    let value = json!({ "name": name.to_string(), "cert": out, "days": args.days });
    say(output, "pki.sign", &value, |screen| {
        let (name, days) = (name.to_string(), args.days.to_string());
        let values = [("cert", &*out), ("name", &name), ("days", &days)];
        screen.text("pki.sign.made", &values);
    })
}

fn show(args: &ShowArgs, output: &Output) -> anyhow::Result<()> {
    let text = read(&args.cert)?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(text.as_bytes())
        .with_context(|| format!("{} is no PEM file", args.cert.display()))?;
    let cert = pem.parse_x509().context("the file holds no certificate")?;
    let der = rustls::pki_types::CertificateDer::from(pem.contents.as_slice());
    let name = identity_of(&der)?.to_string();
    let (from, to) = (cert.validity().not_before, cert.validity().not_after);
    let value =
        json!({ "name": name, "not_before": from.timestamp(), "not_after": to.timestamp() });
    say(output, "pki.show", &value, |screen| {
        let (from, to) = (from.to_string(), to.to_string());
        let values = [("name", &*name), ("from", &from), ("to", &to)];
        screen.text("pki.show.cert", &values);
    })
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
