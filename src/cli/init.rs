//! `casegate init`: makes a node's directory for real enrolment: private keys
//! that never leave it, a signing request for the member's CA, and a config.
//! What exists is kept, so that it can be run again; keys are never overwritten.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde_json::json;
use zeroize::Zeroizing;

use crate::cli::failure::Exit;
use crate::cli::output::Output;
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
    #[arg(long, value_name = "NAME", value_parser = parse_federation)]
    federation: FederationId,
    /// The member whose node this is.
    #[arg(long, value_name = "NAME", value_parser = parse_member)]
    member: MemberId,
    /// The member's role: bureau, department or auditor.
    #[arg(long, value_name = "ROLE", value_parser = parse_role)]
    role: MemberRole,
    /// The officer who has every right while the list of officers is empty.
    #[arg(long, value_name = "NAME", value_parser = parse_officer)]
    first_admin: Option<OfficerName>,
    /// Says what would be made, and makes nothing.
    #[arg(long)]
    dry_run: bool,
}

fn parse_federation(text: &str) -> Result<FederationId, String> {
    FederationId::new(text).map_err(|e| e.to_string())
}

fn parse_member(text: &str) -> Result<MemberId, String> {
    MemberId::new(text).map_err(|e| e.to_string())
}

fn parse_officer(text: &str) -> Result<OfficerName, String> {
    OfficerName::new(text).map_err(|e| e.to_string())
}

fn parse_role(text: &str) -> Result<MemberRole, String> {
    MemberRole::from_word(text).ok_or_else(|| "the role is bureau, department or auditor".into())
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
pub fn run(args: &InitArgs, output: &Output) -> anyhow::Result<Exit> {
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
    present(args, &who, &made, &publics, output)?;
    Ok(Exit::Done)
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

fn present(
    args: &InitArgs,
    who: &Identity,
    made: &[Made],
    publics: &[(&'static str, String)],
    output: &Output,
) -> anyhow::Result<()> {
    let dir = args.dir.display().to_string();
    let files: Vec<_> = made
        .iter()
        .map(|made| json!({ "file": made.file, "kept": made.kept }))
        .collect();
    let keys: serde_json::Map<_, _> = publics
        .iter()
        .map(|(name, key)| ((*name).to_owned(), json!(key)))
        .collect();
    let value = json!({
        "dir": dir, "dry_run": args.dry_run, "name": who.to_string(), "files": files,
        "public_keys": keys,
    });
    output.emit("init", &value, |screen| {
        for made in made {
            let words = [("file", made.file)];
            if made.kept {
                screen.text("message.init.kept", &words);
            } else if args.dry_run {
                screen.text("message.init.would_make", &words);
            } else {
                screen.text("message.init.made", &words);
            }
        }
        if args.dry_run {
            screen.text("message.init.dry_run", &[]);
            return;
        }
        for (name, key) in publics {
            screen.line(&format!("{name} = \"{key}\""));
        }
        let words = [("dir", dir.as_str()), ("name", &who.to_string())];
        screen.title("message.init.next");
        screen.text("message.init.step.request", &words);
        screen.text("message.init.step.keys", &words);
        screen.text("message.init.step.roster", &words);
        screen.text("message.init.step.backup", &words);
        screen.text("message.init.step.start", &words);
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::Lang;

    fn args(dir: &Path) -> InitArgs {
        InitArgs {
            dir: dir.to_owned(),
            federation: FederationId::new("anhui.example").expect("a name"),
            member: MemberId::new("wuhu").expect("a name"),
            role: MemberRole::Department,
            first_admin: None,
            dry_run: false,
        }
    }

    fn silent() -> Output {
        Output::to(
            false,
            Lang::En,
            Box::new(std::io::sink()),
            Box::new(std::io::sink()),
        )
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
        run(&args(dir.path()), &silent()).expect("it is made");
        let before = all(dir.path());
        run(&args(dir.path()), &silent()).expect("it is kept");
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
        run(&dry, &silent()).expect("it says what it would do");
        assert!(!target.exists());
    }

    #[test]
    fn another_members_directory_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        run(&args(dir.path()), &silent()).expect("it is made");
        let other = MemberId::new("hefei").expect("a name");
        let error = run(
            &InitArgs {
                member: other,
                ..args(dir.path())
            },
            &silent(),
        );
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
        run(&args(dir.path()), &silent()).expect("it is made");
        let key = std::fs::read(dir.path().join("node.key")).expect("a key");
        std::fs::remove_file(dir.path().join("node.csr")).expect("it was there");
        run(&args(dir.path()), &silent()).expect("it is made again");
        assert!(key == std::fs::read(dir.path().join("node.key")).expect("a key"));
        let csr = std::fs::read_to_string(dir.path().join("node.csr")).expect("a request");
        let names = pki::requested_names(&csr).expect("a request that holds");
        assert_eq!(names, ["spiffe://anhui.example/department/wuhu/node"]);
    }

    #[test]
    fn the_config_says_what_was_asked_and_the_keys_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        run(&args(dir.path()), &silent()).expect("it is made");
        let config = Config::load(&dir.path().join("node.toml")).expect("a config");
        assert_eq!(config.member.as_str(), "wuhu");
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
