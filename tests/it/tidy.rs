//! Holds the tree to its own rules: layers, headers, where the storage engines
//! are named, what no file may contain, and that CI runs what the README says.
//! It reads sources as text; comments and test modules are cut away first.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The layers of ARCHITECTURE.md, the lowest first. A module imports from its
/// own layer and from lower ones.
const LAYERS: [(&str, &[&str]); 6] = [
    (
        "LEAVES",
        &[
            "blame", "clock", "config", "features", "ids", "keys", "lang", "metrics", "seal",
        ],
    ),
    (
        "CORE",
        &[
            "checkpoint",
            "element",
            "links",
            "merkle",
            "oprf",
            "policy",
            "record",
            "roster",
            "sample",
            "wire",
        ],
    ),
    ("STORAGE", &["postings", "shred", "store"]),
    (
        "SERVICES",
        &[
            "access",
            "audit",
            "cases",
            "custodian",
            "evidence",
            "find",
            "import",
            "intake",
            "ledger",
            "officers",
            "publish",
            "replicate",
            "rosterlog",
            "rosters",
            "spoken",
            "tokens",
            "witness",
            "witnessing",
        ],
    ),
    (
        "EDGE",
        &[
            "admin",
            "doctor",
            "federation",
            "node",
            "pki",
            "rpc",
            "setup",
            "tls",
        ],
    ),
    ("TOP", &["cli", "main"]),
];

/// Imports against the layers: from, to, why.
const UPWARD: [(&str, &str, &str); 1] = [(
    "config",
    "roster",
    "the config names the member's role, and the roster owns the word for it",
)];

/// Imports that close a circle within a layer: from, to, why.
const CIRCLES: [(&str, &str, &str); 2] = [
    (
        "rpc",
        "node",
        "the Desk service answers for the whole node, so it is given its parts",
    ),
    (
        "admin",
        "node",
        "health and metrics are read from the node's parts",
    ),
];

/// The most lines of a source file.
const LINES_MAX: usize = 600;

/// Crates that do I/O or know a runtime: CORE and LEAVES do without them.
const IMPURE: [&str; 8] = [
    "tokio",
    "tonic",
    "hyper_util",
    "axum",
    "rustls",
    "tokio_rustls",
    "sled",
    "fjall",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    assert!(path.is_file(), "there is no {}", path.display());
    fs::read_to_string(path).expect("the file is text that can be read")
}

/// All files below `dir` with one of these extensions, by their path from the root.
fn files(dir: &str, extensions: &[&str]) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let mut dirs: Vec<PathBuf> = vec![root().join(dir)];
    while let Some(dir) = dirs.pop() {
        for item in fs::read_dir(&dir).expect("the directory can be read") {
            let path = item.expect("the directory can be read").path();
            if path.is_dir() {
                dirs.push(path);
            } else if path
                .extension()
                .is_some_and(|e| extensions.iter().any(|want| e == *want))
            {
                let name = path.strip_prefix(root()).expect("it is below the root");
                out.insert(name.to_string_lossy().into_owned(), read(&path));
            }
        }
    }
    assert!(!out.is_empty(), "no files below {dir}");
    out
}

fn sources() -> BTreeMap<String, String> {
    files("src", &["rs"])
}

/// A source without comments and without its test module, which stands last.
fn production(name: &str, text: &str) -> String {
    if name.ends_with("/tests.rs") {
        return String::new();
    }
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let next = lines.peek().map_or("", |l| l.trim_start());
        if line.trim() == "#[cfg(test)]" && next.starts_with("mod tests {") {
            break;
        }
        if !line.trim_start().starts_with("//") {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// The top-level module that a file belongs to.
fn module(name: &str) -> &str {
    let name = name.strip_prefix("src/").expect("a source is below src");
    let first = name.split('/').next().unwrap_or(name);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// The top-level modules that a text names with `crate::`.
fn imports(text: &str) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for rest in text.split("crate::").skip(1) {
        let word = |text: &str| -> String {
            text.chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect()
        };
        match rest.strip_prefix('{') {
            // Of `crate::{a::B, c::D}` the words after the brace and commas at its own depth.
            Some(list) => {
                let mut depth = 0_usize;
                let mut at_start = true;
                for (i, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => at_start = true,
                        c if c.is_whitespace() => {}
                        _ if at_start => {
                            at_start = false;
                            out.insert(word(&list[i..]));
                        }
                        _ => {}
                    }
                }
            }
            None => {
                out.insert(word(rest));
            }
        }
    }
    out.remove("");
    out
}

fn layer(module: &str) -> Option<usize> {
    LAYERS
        .iter()
        .position(|(_, modules)| modules.contains(&module))
}

/// From each module, the modules that its production code imports.
fn graph() -> BTreeMap<String, BTreeSet<String>> {
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, text) in sources() {
        let own = module(&name).to_owned();
        if own == "lib" {
            continue;
        }
        let mut named = imports(&production(&name, &text));
        named.remove(&own);
        named.retain(|m| layer(m).is_some());
        graph.entry(own).or_default().extend(named);
    }
    graph
}

fn is_listed(list: &[(&str, &str, &str)], from: &str, to: &str) -> bool {
    list.iter().any(|(f, t, _)| *f == from && *t == to)
}

#[test]
fn every_module_has_a_layer() {
    for module in graph().keys() {
        assert!(
            layer(module).is_some(),
            "{module} is in no layer: put it into LAYERS"
        );
    }
}

#[test]
fn imports_point_downward_only() {
    let graph = graph();
    for (from, targets) in &graph {
        for to in targets {
            let down = layer(to) <= layer(from);
            let listed = is_listed(&UPWARD, from, to);
            assert!(down || listed, "{from} imports {to}, which stands above it");
            assert!(!(down && listed), "{from} -> {to} is no exception any more");
        }
    }
    for (from, to, why) in UPWARD {
        let used = graph.get(from).is_some_and(|targets| targets.contains(to));
        assert!(
            used,
            "the exception {from} -> {to} ({why}) is not needed any more"
        );
    }
}

#[test]
fn modules_of_a_layer_go_in_no_circles() {
    let mut graph = graph();
    for (from, to, why) in CIRCLES {
        let used = graph
            .get_mut(from)
            .is_some_and(|targets| targets.remove(to));
        assert!(
            used,
            "the exception {from} -> {to} ({why}) is not needed any more"
        );
    }
    for (from, to, _) in UPWARD {
        graph.entry(from.to_owned()).or_default().remove(to);
    }
    // Takes away modules that import nothing that is left, until none can be.
    loop {
        let free: Vec<String> = graph
            .iter()
            .filter(|(_, targets)| targets.iter().all(|to| !graph.contains_key(to)))
            .map(|(from, _)| from.clone())
            .collect();
        if free.is_empty() {
            break;
        }
        for module in free {
            graph.remove(&module);
        }
    }
    assert!(
        graph.is_empty(),
        "these modules import each other in a circle: {:?}",
        graph.keys()
    );
}

#[test]
fn leaves_and_core_do_no_io_and_know_no_runtime() {
    for (name, text) in sources() {
        if layer(module(&name)).is_none_or(|at| at > 1) || name == "src/wire.rs" {
            continue;
        }
        // The types of certificates do nothing.
        let code = production(&name, &text).replace("rustls::pki_types", "");
        for word in IMPURE.map(|name| format!("{name}::")) {
            assert!(!code.contains(&word), "{name} names {word}");
        }
        for word in [
            "std::fs",
            "TcpListener",
            "TcpStream",
            "UdpSocket",
            "std::thread",
            "std::process",
        ] {
            // The config reads its own file.
            let allowed = name == "src/config.rs" && word == "std::fs";
            assert!(allowed || !code.contains(word), "{name} names {word}");
        }
    }
}

#[test]
fn every_file_says_first_what_it_is() {
    let mut all = sources();
    all.extend(files("tests", &["rs"]));
    all.insert("build.rs".into(), read(&root().join("build.rs")));
    for (name, text) in all {
        assert!(text.starts_with("//!"), "{name} does not open with //!");
        let head = text.lines().take_while(|l| l.starts_with("//!")).count();
        assert!(
            head <= 20,
            "{name} opens with {head} lines: that belongs into a document"
        );
    }
}

#[test]
fn no_source_is_too_long() {
    for (name, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{name} has {lines} lines: split it");
    }
}

#[test]
fn each_storage_engine_is_named_in_one_file() {
    for (engine, home) in [("sled", "src/store.rs"), ("fjall", "src/postings.rs")] {
        for (name, text) in sources() {
            if name == home {
                continue;
            }
            let code = production(&name, &text);
            let named = code
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .any(|w| w == engine);
            assert!(
                !named,
                "{name} names {engine}, which is the business of {home}"
            );
        }
    }
}

#[test]
fn production_code_does_not_unwrap_print_or_exit() {
    for (name, text) in sources() {
        let code = production(&name, &text);
        for word in [
            ".unwrap()",
            ".unwrap_err()",
            "println!",
            "eprintln!",
            "dbg!(",
            "todo!(",
        ] {
            assert!(!code.contains(word), "{name} has {word}");
        }
        if !name.starts_with("src/cli/") && name != "src/main.rs" {
            for word in ["print!(", "process::exit"] {
                assert!(!code.contains(word), "{name} has {word}");
            }
        }
    }
}

#[test]
fn tests_all_run_and_none_pauses() {
    // In two parts, so that this file does not find itself.
    let words = [concat!("#[ig", "nore"), concat!("sle", "ep(")];
    let mut all = files("tests", &["rs"]);
    all.extend(
        sources()
            .into_iter()
            .filter(|(name, _)| name.ends_with("/tests.rs")),
    );
    for (name, text) in all {
        for word in words {
            assert!(!text.contains(word), "{name} has {word}");
        }
    }
    for (name, text) in sources() {
        assert!(!text.contains(words[0]), "{name} has {}", words[0]);
    }
}

#[test]
fn ci_runs_the_commands_of_the_readme() {
    let readme = read(&root().join("README.md"));
    let ci = read(&root().join(".ci/run"));
    for command in ["cargo run --release -- demo", "cargo test --release"] {
        assert!(
            readme.contains(command),
            "the README does not say `{command}`"
        );
        assert!(ci.contains(command), ".ci/run does not run `{command}`");
    }
}

#[test]
fn documents_link_to_files_that_are_there() {
    let documents = [
        "README.md",
        "ARCHITECTURE.md",
        "PROTOCOL.md",
        "TRUST.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "certs/README.md",
    ];
    for document in documents {
        let path = root().join(document);
        let text = read(&path);
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let there = path.parent().is_some_and(|dir| dir.join(target).exists());
            assert!(there, "{document} links to {target}, which is not there");
        }
    }
}

#[test]
fn comments_cite_only_documents_that_are_there() {
    for (name, text) in sources() {
        for (at, _) in text.match_indices(".md") {
            let outside = |c: char| !c.is_ascii_alphanumeric() && c != '/';
            let stem = text[..at].rsplit(outside).next().unwrap_or_default();
            let document = format!("{stem}.md");
            assert!(
                root().join(&document).is_file(),
                "{name} cites {document}, which is not there"
            );
        }
    }
}

#[test]
fn architecture_names_every_module_and_no_other() {
    let text = read(&root().join("ARCHITECTURE.md"));
    assert!(
        text.lines().count() < 200,
        "ARCHITECTURE.md has 200 lines or more"
    );
    let named: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|rest| rest.split('`').next())
        .collect();
    for (_, modules) in LAYERS {
        for module in modules {
            assert!(
                named.contains(module),
                "ARCHITECTURE.md has no line for {module}"
            );
        }
    }
}

#[test]
fn the_protocol_names_every_method() {
    let text = read(&root().join("PROTOCOL.md"));
    for method in casegate::policy::Method::ALL {
        let name = method.as_str().rsplit('.').next().unwrap_or_default();
        assert!(text.contains(name), "PROTOCOL.md does not name {method}");
    }
}

#[test]
fn no_file_names_a_place_outside_the_project() {
    // Parts, so that this file does not find itself.
    let words = [
        concat!("/wo", "rk/"),
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
    ];
    let mut all = sources();
    for dir in ["tests", "proto", "deploy", "certs", ".ci"] {
        all.extend(files(
            dir,
            &["rs", "proto", "toml", "md", "txt", "json", "py"],
        ));
    }
    for name in [
        "README.md",
        "ARCHITECTURE.md",
        "PROTOCOL.md",
        "TRUST.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "Cargo.toml",
        "deny.toml",
        ".ci/run",
    ] {
        all.insert(name.into(), read(&root().join(name)));
    }
    for (name, text) in all {
        for word in words {
            assert!(!text.contains(word), "{name} names {word}");
        }
    }
}

#[test]
fn a_list_of_imports_is_read_to_its_end() {
    let text = "use crate::{a::B, c::{D, E}, f};\nuse crate::g::H;\nlet x = crate::i::J;";
    let want: BTreeSet<String> = ["a", "c", "f", "g", "i"].map(String::from).into();
    assert_eq!(imports(text), want);
}

#[test]
fn comments_and_test_modules_are_not_production() {
    let text = "// x.unwrap()\nlet a = 1;\n#[cfg(test)]\nmod tests {\n x.unwrap()\n}\n";
    assert_eq!(production("src/a.rs", text), "let a = 1;\n");
    assert_eq!(production("src/a/tests.rs", text), "");
}
