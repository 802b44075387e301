//! `casegate init`: makes a node's directory for real enrolment: private keys
//! that never leave it, a signing request for the member's CA, and a config.
//! What exists is kept, so that it can be run again; keys are never overwritten.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use zeroize::Zeroizing;

use crate::cli::sheet::{Cell, Column, Sheet};
use crate::config::Config;
use crate::ids::{FederationId, MemberId, OfficerName, random};
use crate::keys::SigningKey;
use crate::pki::files::{load_seed, make_dir, write_private, write_public, write_seed};
use crate::pki::{self, identity};
use crate::policy::Identity;
use crate::roster::MemberRole;

/// The config with every key explained, from which a node's own is made.
const EXAMPLE: &str = include_str!("../../deploy/node.example.toml");

/// Makes a node's directory, with its keys, its signing request and its config.
#[derive(Clone, Debug, clap::Args)]
pub struct InitArgs {
    /// The directory; it is made if it is not there.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The federation, as its roster spells it.
    #[arg(long, value_name = "NAME")]
    federation: FederationId,
    /// The member whose node this is.
    #[arg(long, value_name = "NAME")]
    member: MemberId,
    /// The member's role: bureau, department or auditor.
    #[arg(long, value_name = "ROLE", value_parser = parse_role)]
    role: MemberRole,
    /// The region code that own cases carry.
    #[arg(long, value_name = "CODE", default_value = "", value_parser = parse_region)]
    region: String,
    /// The officer who has every right while the list of officers is empty.
    #[arg(long, value_name = "NAME")]
    first_admin: Option<OfficerName>,
    /// Says what would be made, and makes nothing.
    #[arg(long)]
    dry_run: bool,
}

fn parse_role(text: &str) -> Result<MemberRole, String> {
    MemberRole::from_word(text).ok_or_else(|| "the role is bureau, department or auditor".into())
}

fn parse_region(text: &str) -> Result<String, String> {
    let plain = text.len() <= 32 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if plain {
        Ok(text.to_owned())
    } else {
        Err("a region has letters, digits and '-' only".into())
    }
}

/// A file that the directory needs, and whether it was there before.
struct Made {
    file: &'static str,
    kept: bool,
}

/// Runs `casegate init`.
///
/// # Errors
/// A sentence that names the file that could not be made or read.
pub fn run(args: &InitArgs) -> anyhow::Result<Sheet> {
    let who = identity(&args.federation, args.role, &args.member, None)?;
    let dir = args.dir.as_path();
    let config = config_text(args)?;
    let made = if args.dry_run {
        plan(dir)
    } else {
        make(dir, &who, &config)?
    };
    let publics = if args.dry_run {
        vec![]
    } else {
        public_keys(dir)?
    };
    Ok(sheet(args, &who, &made, &publics))
}

const FILES: [&str; 7] = [
    "seal.key",
    "records.seed",
    "checkpoint.seed",
    "witness.seed",
    "node.key",
    "node.csr",
    "node.toml",
];

fn plan(dir: &Path) -> Vec<Made> {
    FILES
        .iter()
        .map(|file| Made {
            file,
            kept: dir.join(file).exists(),
        })
        .collect()
}

fn make(dir: &Path, who: &Identity, config: &str) -> anyhow::Result<Vec<Made>> {
    make_dir(dir)?;
    let made = plan(dir);
    let missing = |file| !dir.join(file).exists();
    if missing("seal.key") {
        let line = Zeroizing::new(hex::encode(random::<32>()) + "\n");
        write_private(&dir.join("seal.key"), line.as_bytes())?;
    }
    for file in ["records.seed", "checkpoint.seed", "witness.seed"] {
        if missing(file) {
            write_seed(&dir.join(file), &SigningKey::generate())?;
        }
    }
    request(dir, who)?;
    if missing("node.toml") {
        write_public(&dir.join("node.toml"), config.as_bytes())?;
    }
    Ok(made)
}

/// Makes the key and the request for it. The key is there first, so that one
/// that an interruption left alone is used again.
fn request(dir: &Path, who: &Identity) -> anyhow::Result<()> {
    let (key, csr) = (dir.join("node.key"), dir.join("node.csr"));
    if !key.exists() {
        ensure!(
            !csr.exists(),
            "{} is there without its key {}: remove the request, a new one is made with a new key",
            csr.display(),
            key.display()
        );
        let request = pki::request(who)?;
        write_private(&key, request.key_pem.as_bytes())?;
        write_public(&csr, request.csr_pem.as_bytes())?;
    } else if !csr.exists() {
        let held = std::fs::read_to_string(&key)
            .map(Zeroizing::new)
            .with_context(|| format!("cannot read {}", key.display()))?;
        write_public(&csr, pki::request_with(who, &held)?.as_bytes())?;
    } else {
        let text = std::fs::read_to_string(&csr)
            .with_context(|| format!("cannot read {}", csr.display()))?;
        let names = pki::requested_names(&text)
            .with_context(|| format!("cannot read {}", csr.display()))?;
        ensure!(
            names == [who.to_string()],
            "{} asks for {}, not for {who}: this directory is another node's",
            csr.display(),
            names.join(", ")
        );
    }
    Ok(())
}

fn public_keys(dir: &Path) -> anyhow::Result<Vec<(&'static str, String)>> {
    [
        ("records", "records.seed"),
        ("checkpoint", "checkpoint.seed"),
        ("witness", "witness.seed"),
    ]
    .into_iter()
    .map(|(name, file)| {
        let key = load_seed(&dir.join(file))?;
        Ok((name, hex::encode(key.public_key().as_bytes())))
    })
    .collect()
}

/// The example config with this node's own values in their lines.
fn config_text(args: &InitArgs) -> anyhow::Result<String> {
    let mut text = String::with_capacity(EXAMPLE.len());
    for line in EXAMPLE.lines() {
        let key = line.split(" =").next().unwrap_or_default();
        let own = match key {
            "federation" => Some(args.federation.to_string()),
            "member" => Some(args.member.to_string()),
            "role" => Some(args.role.to_string()),
            "region" => Some(args.region.clone()),
            "first_admin" => match &args.first_admin {
                Some(officer) => Some(officer.to_string()),
                None => {
                    text.push_str("# first_admin = \"li.wei\"\n");
                    continue;
                }
            },
            _ => None,
        };
        match own {
            Some(value) => text.push_str(&format!("{key} = \"{value}\"\n")),
            None => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    Config::parse(&text, &args.dir.join("node.toml"))?;
    Ok(text)
}

const FILE: &[Column<Made>] = &[
    Column::data("file", |m| m.file.into()),
    Column::data("kept", |m| m.kept.into()),
];

fn sheet(
    args: &InitArgs,
    who: &Identity,
    made: &[Made],
    publics: &[(&'static str, String)],
) -> Sheet {
    let dir = args.dir.display().to_string();
    let keys: serde_json::Map<_, _> = publics
        .iter()
        .map(|(name, key)| ((*name).to_owned(), key.clone().into()))
        .collect();
    let mut sheet = Sheet::new("init");
    sheet.data("dir", &dir);
    sheet.data("dry_run", args.dry_run);
    sheet.data("name", who.to_string());
    sheet.data("files", Cell::rows(made, FILE));
    sheet.data("public_keys", Cell::Data(keys.into()));
    for made in made {
        let words = [("file", made.file.into())];
        if made.kept {
            sheet.say("message.init.kept", words);
        } else if args.dry_run {
            sheet.say("message.init.would_make", words);
        } else {
            sheet.say("message.init.made", words);
        }
    }
    if args.dry_run {
        sheet.say("message.init.dry_run", []);
        return sheet;
    }
    for (name, key) in publics {
        sheet.line(format!("{name} = \"{key}\""));
    }
    sheet.title("message.init.next");
    for key in [
        "message.init.step.request",
        "message.init.step.keys",
        "message.init.step.roster",
        "message.init.step.backup",
        "message.init.step.start",
    ] {
        let words = [("dir", (&dir).into()), ("name", who.to_string().into())];
        sheet.say(key, words);
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(dir: &Path) -> InitArgs {
        InitArgs {
            dir: dir.to_owned(),
            federation: FederationId::new("anhui.example").expect("a name"),
            member: MemberId::new("wuhu").expect("a name"),
            role: MemberRole::Department,
            region: "340200".into(),
            first_admin: None,
            dry_run: false,
        }
    }

    fn all(dir: &Path) -> Vec<Vec<u8>> {
        FILES
            .iter()
            .map(|file| std::fs::read(dir.join(file)).expect("it is there"))
            .collect()
    }

    #[test]
    fn running_it_again_changes_no_byte() {
        let dir = tempfile::tempdir().expect("a directory");
        run(&args(dir.path())).expect("it is made");
        let before = all(dir.path());
        run(&args(dir.path())).expect("it is kept");
        assert!(before == all(dir.path()));
    }

    #[test]
    fn a_dry_run_makes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let target = dir.path().join("node");
        let dry = InitArgs {
            dry_run: true,
            ..args(&target)
        };
        run(&dry).expect("it says what it would do");
        assert!(!target.exists());
    }

    #[test]
    fn another_members_directory_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        run(&args(dir.path())).expect("it is made");
        let other = MemberId::new("hefei").expect("a name");
        let error = run(&InitArgs {
            member: other,
            ..args(dir.path())
        });
        assert!(
            error
                .expect_err("refused")
                .to_string()
                .contains("another node's")
        );
    }

    #[test]
    fn a_lost_request_is_made_again_for_the_same_key() {
        let dir = tempfile::tempdir().expect("a directory");
        run(&args(dir.path())).expect("it is made");
        let key = std::fs::read(dir.path().join("node.key")).expect("a key");
        std::fs::remove_file(dir.path().join("node.csr")).expect("it was there");
        run(&args(dir.path())).expect("it is made again");
        assert!(key == std::fs::read(dir.path().join("node.key")).expect("a key"));
        let csr = std::fs::read_to_string(dir.path().join("node.csr")).expect("a request");
        let names = pki::requested_names(&csr).expect("a request that holds");
        assert_eq!(names, ["spiffe://anhui.example/department/wuhu/node"]);
    }

    #[test]
    fn the_config_says_what_was_asked_and_the_keys_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        run(&args(dir.path())).expect("it is made");
        let config = Config::load(&dir.path().join("node.toml")).expect("a config");
        assert_eq!(
            (config.member.as_str(), config.region.as_str()),
            ("wuhu", "340200")
        );
        assert_eq!(MemberRole::from(config.role), MemberRole::Department);
        assert_eq!(config.desk.first_admin, None);
        for file in [
            "seal.key",
            "records.seed",
            "checkpoint.seed",
            "witness.seed",
            "node.key",
        ] {
            let mode = std::fs::metadata(dir.path().join(file))
                .expect("there")
                .permissions()
                .mode();
            assert_eq!(mode & 0o077, 0, "{file}");
        }
    }
}
