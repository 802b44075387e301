#!/usr/bin/env python3
"""Verifies a bundle of `casegate audit export` without any code of casegate.

    verify.py BUNDLE --policy FILE [--json]

BUNDLE is a directory or a tar file, FILE a policy in TOML. The rules, the codes
of findings and the names of verdicts are those of PROTOCOL.md section 15.
Needs Python 3.11 and the PyPI packages of requirements.txt: `cryptography` for
Ed25519, `tlog-scales` for Merkle proofs, roots and tile names.

Exit code: 0 nothing wrong, 1 something is wrong, 2 could not run, 5 the bundle has a
newer format than the one that is read here.
"""

import argparse
import hashlib
import json
import re
import sys
import tarfile
import tempfile
import tomllib
from collections import Counter
from pathlib import Path

import notes
import rosters
import tree
from entries import LogVerifier, check_receipt
from notes import Refused


class CannotRun(Exception):
    """The bundle or the policy cannot be read at all."""


class Newer(CannotRun):
    """The bundle has a newer format."""


FORMAT = 1


class Bundle:
    """A bundle's files, and what was found about them."""

    def __init__(self, root):
        self.root = Path(root)
        self.findings = set()
        if not self.root.is_dir():
            raise CannotRun(f"{root} is no bundle")

    def find(self, code, path):
        self.findings.add((code, str(path)))

    def read(self, path):
        """Returns the bytes of a file, or None."""
        try:
            return (self.root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def names(self, folder):
        """The names in a folder, sorted."""
        where = self.root / folder
        return sorted(p.name for p in where.iterdir()) if where.is_dir() else []


def read_policy(path):
    try:
        policy = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        policy["roster_pin"] = bytes.fromhex(policy["roster_pin"])
        if not isinstance(policy["federation"], str) or len(policy["roster_pin"]) != 32:
            raise ValueError("federation or roster_pin")
    except (OSError, KeyError, TypeError, ValueError) as why:
        raise CannotRun(f"the policy cannot be read: {why}") from None
    return policy


def check_sums(bundle):
    listed = {}
    for row in (bundle.read("SHA256SUMS") or b"").decode("utf-8", "replace").splitlines():
        digest, found, name = row.partition("  ")
        if found:
            listed[name] = digest
    present = {str(p.relative_to(bundle.root)) for p in bundle.root.rglob("*") if p.is_file()}
    present.discard("SHA256SUMS")
    for name in present ^ listed.keys():
        bundle.find("sums.missing", name)
    for name in present & listed.keys():
        with open(bundle.root / name, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != listed[name]:
                bundle.find("sums.mismatch", name)


def narrowest(width, widths):
    return min((w for w in widths if w >= width), default=None)


class Log:
    """One log of the bundle: its checkpoints, its tree, its verdicts."""

    def __init__(self, bundle, kind, generation, trust):
        self.bundle, self.trust = bundle, trust
        self.kind, self.generation = kind, generation
        self.folder = f"{kind}/{generation}"
        self.origin = f"{trust.federation}/{trust.member}/{kind}/{generation}"
        self.newest = None    # what `checkpoint` says, when it holds
        self.opened = []      # (name, checkpoint) of those that hold
        self.tree = None      # over the leaves that were found
        self.proven = 0       # how far a signed root proves them
        self.size = None
        self.verdicts = Counter()

    def verify(self):
        self.checkpoints()
        self.tiles()
        self.roots()
        self.consistency()
        LogVerifier(self).run()

    def open(self, path):
        raw = self.bundle.read(path)
        if raw is None:
            self.bundle.find("checkpoint.malformed", path)
            return None
        try:
            opened = notes.open_checkpoint(
                raw, self.origin, self.trust.checkpoint_keys(self.trust.member),
                self.trust.witnesses)
        except Refused as why:
            self.bundle.find(str(why), path)
            return None
        for code in opened.findings:
            self.bundle.find(code, path)
        return opened

    def checkpoints(self):
        path = f"{self.folder}/checkpoint"
        self.newest = self.open(path)
        if self.newest:
            self.opened.append(("checkpoint", self.newest))
        for name in self.bundle.names(f"{self.folder}/checkpoints"):
            old = self.open(f"{self.folder}/checkpoints/{name}")
            if old is None:
                continue
            if str(old.size) != name:
                self.bundle.find("checkpoint.malformed", f"{self.folder}/checkpoints/{name}")
                continue
            self.opened.append((f"checkpoints/{name}", old))
        self.size = max((note.size for _, note in self.opened), default=None)
        if self.newest and self.newest.size < self.size:
            self.bundle.find("checkpoint.smaller", path)

    def root_at(self, size):
        """The root that the log signed at a size, or None."""
        return next((note.root for _, note in self.opened if note.size == size), None)

    def tiles(self):
        """Finds the tree's leaves, and how far a signed root proves them."""
        if self.size is None:
            return
        held = {}
        for level, number, width in tree.shape(self.size):
            raw = self.hash_tile(level, number, width)
            if raw is not None:
                held[level, number] = raw
        wanted = self.root_at(self.size)
        made = tree.Tree(self.leaves(held, self.agreed))
        if made.root(self.size) != wanted:
            other = tree.Tree(self.leaves(held, self.entries_first))
            made = other if other.root(self.size) == wanted else made
        self.tree = made
        for (level, number), raw in held.items():
            if made.tile(level, number) not in (raw, b""):
                name = tree.path(level, number, len(raw) // 32)
                self.bundle.find("tile.root", f"{self.folder}/{name}")

    def leaves(self, held, choose):
        """Leaf hashes block by block, up to the first block that has none."""
        out, files = [], self.entry_files()
        for number, width in tree.bundles(self.size):
            by_tile = tree.split(held.get((0, number), b""))
            above = held.get((1, number // tree.WIDTH), b"")
            place = number % tree.WIDTH * 32
            block = choose(
                by_tile, above[place:place + 32] if width == tree.WIDTH else b"",
                lambda: self.entry_leaves(files.get(number, width), number, width))
            if not block:
                break
            out += block
        return out

    @staticmethod
    def agreed(by_tile, above, by_entries):
        """What two of tile, entries and the level above agree on."""
        if by_tile and (not above or tree.fold(by_tile) == above):
            return by_tile
        entries = by_entries()
        if entries and above and tree.fold(entries) == above:
            return entries
        return by_tile or entries

    @staticmethod
    def entries_first(by_tile, above, by_entries):
        return by_entries() or by_tile

    def entry_leaves(self, file_width, number, width):
        found = self.entries(number, file_width)[0][:width]
        return [tree.leaf_hash(e) for e in found] if len(found) == width else []

    def hash_tile(self, level, number, width):
        """A hash tile, from the file of this width or the narrowest wider one."""
        base = tree.path(level, number)
        name = narrowest(width, self.widths(base)) or width
        path = f"{self.folder}/{tree.path(level, number, name)}"
        raw = self.bundle.read(path)
        if raw is None or len(raw) != 32 * name:
            self.bundle.find("tile.truncated", path)
            return None
        return raw[:32 * width]

    def widths(self, base):
        """The widths in which a tile is there, by its full name."""
        partial = {int(w) for w in self.bundle.names(f"{self.folder}/{base}.p") if w.isdigit()}
        full = {tree.WIDTH} if (self.bundle.root / self.folder / base).is_file() else set()
        return partial | full

    def entry_files(self):
        """{number: width} of the entry bundles that are there."""
        top = self.bundle.root / self.folder / "tile/entries"
        found = {}
        for path in top.rglob("*"):
            name = str(path.relative_to(top))
            match = re.fullmatch(r"((?:x\d{3}/)*)(\d{3})(?:\.p/(\d+))?", name)
            if match and path.is_file():
                number = int((match[1] + match[2]).replace("x", "").replace("/", ""))
                found[number] = max(int(match[3] or tree.WIDTH), found.get(number, 0))
        return found

    def entries(self, number, width):
        """Returns (the entries of a bundle, a code or None); ([], None) without a file."""
        raw = self.bundle.read(f"{self.folder}/{tree.path(-1, number, width)}")
        if raw is None:
            return [], None
        out, at = [], 0
        while at < len(raw):
            size = int.from_bytes(raw[at:at + 2], "big")
            entry = raw[at + 2:at + 2 + size]
            if at + 2 > len(raw) or len(entry) != size:
                return out, "entry.truncated"
            out.append(entry)
            at += 2 + size
        if len(out) > width:
            return out[:width], "entry.truncated"
        return out, "entry.missing" if len(out) < width else None

    def leaf_of(self, index):
        """The tree's leaf, where a signed root proves it."""
        return self.tree.leaves[index] if index < self.proven else None

    def roots(self):
        for name, note in self.opened:
            if self.tree.root(note.size) == note.root:
                self.proven = max(self.proven, note.size)
            else:
                self.bundle.find("checkpoint.root", f"{self.folder}/{name}")

    def consistency(self):
        for name in self.bundle.names(f"{self.folder}/consistency"):
            path = f"{self.folder}/consistency/{name}"
            if not self.consistency_holds(name, self.bundle.read(path)):
                self.bundle.find("proof.consistency", path)

    def consistency_holds(self, name, raw):
        try:
            old, new = (notes.decimal(n) for n in name.split("-"))
            path = notes.hashes(raw.decode("ascii").splitlines())
        except (notes.Malformed, ValueError):
            return False
        roots = self.root_at(old), self.root_at(new)
        return None not in roots and notes.consistent(old, new, path, *roots)

    def witnessed(self):
        """[(size, time)] of the witnessed checkpoints, ascending."""
        found = {}
        for _, note in self.opened:
            time = self.trust.witnessed_at(note)
            if time is not None:
                found[note.size] = min(time, found.get(note.size, time))
        return sorted(found.items())


def check_roster_log(bundle, trust):
    """Who signed and cosigned the roster log, and whether it is of these rosters."""
    path = "roster/checkpoint"
    raw = bundle.read(path)
    if raw is None:
        return
    try:
        opened = notes.open_checkpoint(raw, f"{trust.federation}/roster",
                                       trust.roster_log_keys(), trust.roster_witnesses())
    except Refused as why:
        bundle.find(str(why), path)
        return
    for code in opened.findings:
        bundle.find(code, path)
    made = tree.Tree([tree.leaf_hash(roster["raw"]) for roster in trust.versions])
    if made.root(opened.size) != opened.root:
        bundle.find("checkpoint.root", path)


def check_proofs(bundle, logs, trust):
    for name in bundle.names("proofs"):
        generation, _, index = name.removesuffix(".proof").partition("-")
        log = logs.get(("records", generation))
        if log is None or not proof_holds(bundle.read(f"proofs/{name}"), log, index):
            bundle.find("proof.inclusion", f"proofs/{name}")


def proof_holds(raw, log, wanted):
    try:
        index, path, note = notes.read_proof(raw)
        opened = notes.open_checkpoint(
            note, log.origin, log.trust.checkpoint_keys(log.trust.member))
    except (notes.Malformed, Refused):
        return False
    leaf = log.leaf_of(index)
    return str(index) == wanted and leaf is not None and notes.included(
        index, opened.size, path, leaf, opened.root)


def check_receipts(bundle, logs, trust):
    stems = sorted({Path(name).stem for name in bundle.names("receipts")})
    origins = {log.origin for log in logs.values() if log.kind == "records"}
    for stem in stems:
        parts = {end: bundle.read(f"receipts/{stem}.{end}") for end in ("entry", "body", "proof")}
        if None in parts.values() or not check_receipt(stem, parts, origins, trust):
            bundle.find("receipt.forged", f"receipts/{stem}")


def check_evidence(bundle):
    for number in bundle.names("evidence"):
        bundle.find("evidence.pair", f"evidence/{number}")


def describe(bundle):
    """The member, if the bundle is of the format that is read here."""
    try:
        told = json.loads(bundle.read("bundle.json") or b"")
        written, member = told["format"], told["member"]
    except (ValueError, KeyError, TypeError):
        raise CannotRun("bundle.json does not name format and member") from None
    if not isinstance(written, int) or isinstance(written, bool) or written < 1:
        raise CannotRun("bundle.json names no format that there ever was")
    if written > FORMAT:
        raise Newer(f"bundle.newer: format {written}; this verifier reads format {FORMAT}")
    return member


def verify(root, policy):
    """Returns the report: findings, and verdicts for each log."""
    bundle = Bundle(root)
    check_sums(bundle)
    member = describe(bundle)
    trust = rosters.load(bundle, policy, member)
    logs = {}
    if trust.versions:
        check_roster_log(bundle, trust)
        for kind in ("records", "access"):
            for generation in bundle.names(kind):
                log = Log(bundle, kind, generation, trust)
                logs[kind, generation] = log
                log.verify()
        check_proofs(bundle, logs, trust)
        check_receipts(bundle, logs, trust)
        check_evidence(bundle)
    return report(bundle, logs, policy)


def report(bundle, logs, policy):
    counts = Counter()
    for log in logs.values():
        counts += log.verdicts
    wrong = {"not_logged", "key_invalid", "missing", "forged"}
    if policy.get("require_witnessed"):
        wrong.add("provisional")
    good = not bundle.findings and not any(counts[v] for v in wrong)
    return {
        "ok": good,
        "verdicts": dict(sorted(counts.items())),
        "logs": {log.origin: {"size": log.size, "verdicts": dict(sorted(log.verdicts.items()))}
                 for log in logs.values()},
        "findings": [{"code": code, "path": path} for code, path in sorted(bundle.findings)],
    }


def run(args):
    policy = read_policy(args.policy)
    source = Path(args.bundle)
    if source.is_dir():
        return verify(source, policy)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            with tarfile.open(source) as tar:
                tar.extractall(scratch, filter="data")
        except (OSError, tarfile.TarError) as why:
            raise CannotRun(f"{source}: {why}") from None
        return verify(scratch, policy)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("--policy", required=True)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    try:
        result = run(args)
    except CannotRun as why:
        print(why, file=sys.stderr)
        return 5 if isinstance(why, Newer) else 2
    if args.json:
        print(json.dumps(result))
    else:
        for origin, log in result["logs"].items():
            print(origin, log["size"], " ".join(f"{k}={v}" for k, v in log["verdicts"].items()))
        for finding in result["findings"]:
            print(finding["code"], finding["path"])
        print("nothing is wrong" if result["ok"] else "something is wrong")
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
