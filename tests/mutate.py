#!/usr/bin/env python3
"""Breaks casegate in one place at a time, and says which breaks no test notices.

    tests/mutate.py [--tests N] [--jobs N] [--seen] [PREFIX...]

Two kinds of breaks: an `if` (or the `if` of a match arm) that is never true, and a
function that returns `Ok(())` at once. They are found by their look in rustfmt's lines,
so conditions with `let` and `const fn` are passed over. All of them go into one copy of
the project, under target/mutate, and an environment variable picks the one that is
broken: one build serves all. The tests run once to see which of them reach a place at
all, then only those run again with the place broken, the likeliest first.

    PREFIX      only places in files that begin so, as src/roster
    --seen      only the first part: what no test reaches
    --tests N   at most N tests for a place (default 6; the more, the surer)
    --jobs N    tests at a time (default 2)

The build and the first part take minutes, the second some seconds a place. What was
found is kept in target/mutate/found.tsv, and a run that is repeated goes on after it, as
long as the source is the same. The last line is
`N places: R never reached, K noticed, S unnoticed`.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "target" / "mutate"
COPY = OUT / "project"
TIMEOUT_S = 120
# What makes data or words, and decides nothing.
PASSED_OVER = ("src/main.rs", "src/cli/demo", "src/sample", "src/lang")

FUNCTION = re.compile(r"^(\s*)(?:pub(?:\([\w: ]+\))? )?((?:const |async )*)fn (\w+)")
NOTHING = re.compile(r"\s*(?:\w+::)*Result<\(\)[,>]")
CONDITION = re.compile(r"^(\s*)(.*?)\bif (?!let\b)(.+) \{$")
FIRST_LINE = re.compile(r"^(\s*)((?:\} else )?)if (?!let\b)([^{]*)$")
ARM = re.compile(r"^(\s*)(.*\S) if (?!let\b)(.+?) => (.*)$")

SWITCH = '''//! Which place is broken, and which were reached.
#![allow(missing_docs, unreachable_pub)]
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

static REACHED: [AtomicBool; 8192] = [const { AtomicBool::new(false) }; 8192];

fn broken() -> usize {
    static BROKEN: OnceLock<usize> = OnceLock::new();
    *BROKEN.get_or_init(|| std::env::var("MUTATE").map_or(0, |n| n.parse().expect("a number")))
}

fn reach(place: usize) {
    if REACHED[place].swap(true, Ordering::Relaxed) {
        return;
    }
    static LOG: OnceLock<Option<String>> = OnceLock::new();
    let Some(log) = LOG.get_or_init(|| std::env::var("MUTATE_LOG").ok()) else { return };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(log);
    if let Ok(mut file) = file {
        drop(file.write_all(format!("{place}\\n").as_bytes()));
    }
}

pub fn holds(place: usize, condition: bool) -> bool {
    if condition {
        reach(place);
    }
    condition && place != broken()
}

pub fn skips(place: usize) -> bool {
    reach(place);
    place == broken()
}
'''


class Places:
    """The places of a source tree: {number: [file, line, text, function]}."""

    def __init__(self):
        self.all = {}

    def add(self, path, line, text, function):
        self.all[len(self.all) + 1] = [path, line, text[:160], function]
        return len(self.all)

    def switch(self, path, lines):
        """The lines of a file with a switch at every place."""
        out, at, function, closes, opens = [], 0, "", None, None
        while at < len(lines):
            line = lines[at]
            start = line.strip()
            if start == "#[cfg(test)]" and re.match(r"\s*mod \w+ \{", lines[at + 1]):
                return out + lines[at:]
            if found := FUNCTION.match(line):
                function = found[3]
                opens = None
                if "const" in found[2]:
                    closes = found[1] + "}"
                elif closes is None:
                    opens = body_of_nothing(lines, at)
            if start.startswith("macro_rules!"):
                closes = line[: len(line) - len(line.lstrip())] + "}"
            if closes is not None:
                closes = None if line.startswith(closes) else closes
            elif opens == at:
                place = self.add(path, at + 1, f"fn {function} -> Ok(())", function)
                line += f" if crate::mutate::skips({place}) {{ return Ok(()); }}"
            elif not start.startswith(("//", "#", "while ")) and '"' not in line.split(" if ")[0]:
                line, at = self.condition(path, lines, at, function)
            out.append(line)
            at += 1
        return out

    def condition(self, path, lines, at, function):
        """The line or lines of a condition with its switch, and the last one's index."""
        line = lines[at]
        found = CONDITION.match(line)
        if found and not re.search(r"\blet |=>|\{", found[3]):
            place = self.add(path, at + 1, f"{line.strip()} {lines[at + 1].strip()}", function)
            return f"{found[1]}{found[2]}if crate::mutate::holds({place}, {found[3]}) {{", at
        if found := FIRST_LINE.match(line):
            last = next((n for n in range(at + 1, min(at + 12, len(lines)))
                         if lines[n] == found[1] + "{"), None)
            whole = "\n".join([found[3]] + lines[at + 1 : last]) if last else "let "
            if not re.search(r"\blet |//|;$", whole):
                text = " ".join(part.strip() for part in lines[at : last + 2])
                place = self.add(path, at + 1, text, function)
                whole = f"{found[1]}{found[2]}if crate::mutate::holds({place}, {whole})"
                return f"{whole}\n{lines[last]}", last
        found = ARM.match(line)
        if found and not re.search(r"\blet ", found[3]) and not line.strip().startswith("if "):
            place = self.add(path, at + 1, line.strip(), function)
            switched = f"{found[1]}{found[2]} if crate::mutate::holds({place}, {found[3]})"
            return f"{switched} => {found[4]}", at
        return line, at


def body_of_nothing(lines, at):
    """The line that opens the body of a function that answers `Result<()>`, if it does."""
    signature = ""
    for last in range(at, min(at + 14, len(lines))):
        signature += " " + lines[last].strip()
        if signature.endswith(("{", ";", "}")):
            nothing = NOTHING.match(signature.split("->")[-1])
            return last if signature.endswith("{") and nothing else None
    return None


def copy():
    """A copy of the project with all switches; returns the places."""
    COPY.mkdir(parents=True, exist_ok=True)
    for name in ("src", "tests", "proto", "certs", "deploy", ".ci"):
        shutil.rmtree(COPY / name, ignore_errors=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, COPY / name)
    for file in ROOT.iterdir():
        if file.is_file() and file.name != ".git":
            shutil.copy2(file, COPY / file.name)
    places = Places()
    for file in sorted((COPY / "src").rglob("*.rs")):
        path = file.relative_to(COPY).as_posix()
        if not (path.startswith(PASSED_OVER) or file.name == "tests.rs" or "/tests/" in path):
            lines = file.read_text(encoding="utf-8").split("\n")
            file.write_text("\n".join(places.switch(path, lines)), encoding="utf-8")
    (COPY / "src" / "mutate.rs").write_text(SWITCH, encoding="utf-8")
    lib = COPY / "src" / "lib.rs"
    text = lib.read_text(encoding="utf-8")
    lib.write_text(re.sub(r"(?m)^(pub )?mod ", r"pub mod mutate;\n\g<0>", text, count=1),
                   encoding="utf-8")
    return places.all


def build():
    """Builds the tests; returns {name of test: program}."""
    done = subprocess.run(["cargo", "test", "--locked", "--no-run", "--message-format=json"],
                          cwd=COPY, stdout=subprocess.PIPE, text=True, check=True)
    tests = {}
    for line in done.stdout.splitlines():
        said = json.loads(line)
        if said.get("reason") == "compiler-artifact" and said["profile"]["test"] and said["executable"]:
            listed = subprocess.run([said["executable"], "--list"], capture_output=True,
                                    text=True, check=True, cwd=COPY)
            names = [row[:-6] for row in listed.stdout.splitlines() if row.endswith(": test")]
            tests |= {name: said["executable"] for name in names}
    # What looks at the source itself would see the switches.
    return {name: program for name, program in tests.items() if not name.startswith("tidy::")}


def passes(tests, name, **env):
    try:
        done = subprocess.run([tests[name], "--exact", name], cwd=COPY, capture_output=True,
                              env=os.environ | env, timeout=TIMEOUT_S, check=False)
        return done.returncode == 0
    except subprocess.TimeoutExpired:
        return False


def reached(tests, jobs):
    """{place: tests that reach it}, from a run of every test with nothing broken."""
    def one(name):
        log = OUT / "reached.log.d" / name.replace("::", "-")
        ok = passes(tests, name, MUTATE_LOG=str(log))
        return name, ok, {int(n) for n in log.read_text().split()} if log.exists() else set()
    shutil.rmtree(OUT / "reached.log.d", ignore_errors=True)
    (OUT / "reached.log.d").mkdir(parents=True)
    by_place = defaultdict(list)
    with ThreadPoolExecutor(jobs) as pool:
        for name, ok, places in pool.map(one, tests):
            if not ok:
                print(f"passed over, as it fails with nothing broken: {name}")
                continue
            for place in places:
                by_place[place].append(name)
    return by_place


def likeliest(place, names, reach):
    """The tests by how much their names have in common with the place, the small ones first."""
    path, _, _, function = place
    words = {word.rstrip("s") for word in re.split(r"[/_]", path[4:-3])} | {function}
    def score(name):
        return (-sum(word.rstrip("s") in words for word in re.split(r"::|_", name)), reach[name], name)
    return sorted(names, key=score)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prefixes", nargs="*", default=["src/"], metavar="PREFIX")
    parser.add_argument("--seen", action="store_true")
    parser.add_argument("--tests", type=int, default=6)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    places, tests = copy(), build()
    state, found = hashlib.sha256(), {}
    for file in sorted(p for part in ("src", "tests") for p in (COPY / part).rglob("*.rs")):
        state.update(file.read_bytes())
    kept, seen = OUT / "found.tsv", OUT / "reached.json"
    if seen.exists() and json.loads(seen.read_text())["state"] == state.hexdigest():
        by_place = {int(n): names for n, names in json.loads(seen.read_text())["by_place"].items()}
        rows = (line.split("\t") for line in kept.read_text().splitlines())
        found = {int(n): (word, int(tried)) for n, word, tried in rows}
    else:
        by_place = reached(tests, args.jobs)
        seen.write_text(json.dumps({"state": state.hexdigest(), "by_place": by_place}))
        kept.write_text("")
    reach = defaultdict(int)
    for names in by_place.values():
        for name in names:
            reach[name] += 1

    def judge(number):
        names = likeliest(places[number], by_place.get(number, []), reach)[: args.tests]
        word, tried = found.get(number, ("unnoticed", 0))
        if word == "unnoticed" and tried < len(names) and not args.seen:
            noticed = any(not passes(tests, name, MUTATE=str(number)) for name in names[tried:])
            word, tried = "noticed" if noticed else word, len(names)
            with kept.open("a") as file:
                file.write(f"{number}\t{word}\t{tried}\n")
        return number, word if names else "never reached", tried

    chosen = [n for n, place in places.items() if place[0].startswith(tuple(args.prefixes))]
    counts = defaultdict(int)
    with ThreadPoolExecutor(args.jobs) as pool:
        for number, word, tried in pool.map(judge, chosen):
            counts[word] += 1
            path, line, text, _ = places[number]
            if word == "never reached" or (word == "unnoticed" and not args.seen):
                of = f" by {tried} of {len(by_place[number])} tests" if tried else ""
                print(f"{word}{of}: {path}:{line} {text}", flush=True)
    if args.seen:
        print(f"{len(chosen)} places: {counts['never reached']} never reached")
    else:
        print(f"{len(chosen)} places: {counts['never reached']} never reached, "
              f"{counts['noticed']} noticed, {counts['unnoticed']} unnoticed")


if __name__ == "__main__":
    sys.exit(main())
