//! The config file: the example is complete and exact, and mistakes are
//! refused with the place where they stand.

use std::collections::BTreeSet;
use std::path::Path;

use casegate::config::{Config, ConfigError};

const EXAMPLE: &str = include_str!("../../deploy/node.example.toml");

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/casegate/node.toml"))
}

fn changed(from: &str, to: &str) -> Result<Config, ConfigError> {
    assert!(EXAMPLE.contains(from), "the example has {from:?}");
    parse(&EXAMPLE.replacen(from, to, 1))
}

fn keys(table: &toml::Table, above: &str, out: &mut BTreeSet<String>) {
    for (key, value) in table {
        let path = format!("{above}{key}");
        match value {
            toml::Value::Table(inner) => keys(inner, &format!("{path}."), out),
            _ => {
                out.insert(path);
            }
        }
    }
}

#[test]
fn the_example_has_every_key_and_no_other() {
    let config = parse(EXAMPLE).expect("the example parses");
    let (mut known, mut shown) = (BTreeSet::new(), BTreeSet::new());
    let back = toml::Table::try_from(&config).expect("a config can be written");
    keys(&back, "", &mut known);
    keys(&EXAMPLE.parse().expect("TOML"), "", &mut shown);
    assert_eq!(known, shown);
}

#[test]
fn the_example_shows_the_defaults() {
    let with = parse(EXAMPLE).expect("the example parses");
    let short: String = EXAMPLE
        .split_inclusive('\n')
        .take_while(|line| !line.starts_with("[listen]"))
        .filter(|line| !line.starts_with("phone_region") && !line.starts_with("timezone"))
        .filter(|line| !line.starts_with("replicate"))
        .collect();
    let without = parse(&short).expect("keys with a default may be left out");
    assert_eq!(with.listen, without.listen);
    assert_eq!(with.limits, without.limits);
    assert_eq!(with.log, without.log);
    assert_eq!(with.store, without.store);
    assert_eq!(
        (with.phone_region, with.timezone),
        (without.phone_region, without.timezone)
    );
    assert_eq!(with.replicate, without.replicate);
    assert_eq!(without.desk.first_admin, None);
}

#[test]
fn relative_paths_are_read_from_the_files_directory() {
    let config = parse(EXAMPLE).expect("the example parses");
    assert_eq!(config.dir, Path::new("/etc/casegate/store"));
    assert_eq!(config.keys.seal, Path::new("/etc/casegate/seal.key"));
    let config = changed("\"node.key\"", "\"/secret/node.key\"").expect("parses");
    assert_eq!(config.tls.key, Path::new("/secret/node.key"));
}

#[test]
fn mistakes_are_refused_with_their_place() {
    for (from, to, says) in [
        ("cache_mib", "cache_mb", "unknown field `cache_mb`"),
        ("[store]", "[stores]", "unknown field `stores`"),
        ("member = \"hefei\"\n", "", "missing field `member`"),
        ("\"hefei\"", "\"He Fei\"", "line 8"),
        (
            "role = \"bureau\"",
            "role = \"police\"",
            "unknown variant `police`",
        ),
        ("timeout_s = 30", "timeout_s = \"30\"", "invalid type"),
        ("127.0.0.1:7440", "127.0.0.1", "invalid socket address"),
        ("pin = \"00", "pin = \"0", "64 hexadecimal digits"),
        (
            "\"Asia/Shanghai\"",
            "\"Europe/Paris\"",
            "not a known time zone",
        ),
        ("\"li.wei\"", "\"li wei\"", "officer"),
        (
            "127.0.0.1:7443",
            "0.0.0.0:7443",
            "listen.admin: is plain HTTP",
        ),
        (
            "127.0.0.1:7441",
            "127.0.0.1:7440",
            "listen: names one address twice",
        ),
        (
            "\"CN\"",
            "\"China\"",
            "phone_region: is two capital letters",
        ),
        ("8388608", "1", "limits.message_bytes_max: is not between"),
        ("timeout_s = 30", "timeout_s = 0", "limits: of 0"),
        ("cache_mib = 16", "cache_mib = 0", "store.cache_mib"),
    ] {
        let error = changed(from, to).expect_err(to).to_string();
        assert!(error.contains(says), "{to}: {error}");
        assert!(error.starts_with("/etc/casegate/node.toml: "), "{error}");
    }
}

#[test]
fn time_zones_become_offsets() {
    for (name, offset_s) in [
        ("Asia/Urumqi", 21_600),
        ("UTC", 0),
        ("+05:30", 19_800),
        ("-03:00", -10_800),
    ] {
        let config = changed("\"Asia/Shanghai\"", &format!("\"{name}\"")).expect(name);
        assert_eq!(config.timezone.offset_s(), offset_s);
    }
    for bad in ["+8:00", "08:00", "+08:60", "+15:00", "+0８:00", "", "+"] {
        assert!(
            changed("\"Asia/Shanghai\"", &format!("\"{bad}\"")).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Path::new("/nowhere/node.toml")).expect_err("no such file");
    assert!(
        error.to_string().starts_with("/nowhere/node.toml: "),
        "{error}"
    );
}
