#!/usr/bin/env python3
"""Plants one fault in a copy of a clean bundle.

    faults.py --list
    faults.py BUNDLE --plant NAME --out DIR [--sums]

With --sums the forger also writes SHA256SUMS anew. Prints as JSON which codes
every verifier must find, how many records change their verdict (null: only that
all verifiers agree), whether the shell can see all of it, the exit code with new sums,
and an index that a sample has to include. Exits with 3
where the bundle has nothing to plant the fault in.
"""

import argparse
import base64
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import notes
import tree

FAULTS = {}


class Nothing(Exception):
    """The bundle has nothing to plant this fault in."""


def fault(*codes, delta=None, shell=True, exit_code=1):
    """Registers a fault: the codes that have to be found, and the change of verdicts,
    which may also be what planting it returns."""
    def register(plant):
        FAULTS[plant.__name__] = (plant, codes, delta, shell, exit_code)
        return plant
    return register


class Target:
    """The records log of a bundle, and a record in it that a fault can hit."""

    def __init__(self, root, source):
        self.root, self.source = root, source
        logs = sorted((root / "logs/records").iterdir(), key=lambda p: int(p.name))
        self.log = logs[-1]
        self.also = None
        self.checkpoint = self.log / "checkpoint"
        self.size = notes.parse(self.checkpoint.read_bytes()).size

    def bundle(self, number=0):
        width = min(tree.WIDTH, self.size - number * tree.WIDTH)
        return self.log / tree.path(-1, number, width)

    def tile(self, level, number=0):
        width = min(tree.WIDTH, (self.size >> 8 * level) - number * tree.WIDTH)
        if width <= 0:
            raise Nothing
        return self.log / tree.path(level, number, width)

    def bodies(self, number=0):
        return self.log / ("bodies/" + tree.path(-1, number).removeprefix("tile/entries/"))

    def held(self, count=1):
        """Places in the first bundle whose bodies are there, from the middle on."""
        states = [state for state, _ in read_bodies(self.bodies())]
        places = [i for i, s in enumerate(states) if s == 1][len(states) // 2:]
        if len(places) < count:
            raise Nothing
        self.also = places[0]
        return places[:count]


def flip(path, at, bit=1):
    raw = bytearray(path.read_bytes())
    raw[at] ^= bit
    path.write_bytes(raw)


def read_entries(path):
    raw, out, at = path.read_bytes(), [], 0
    while at < len(raw):
        size = int.from_bytes(raw[at:at + 2], "big")
        out.append(raw[at + 2:at + 2 + size])
        at += 2 + size
    return out


def write_entries(path, entries):
    path.write_bytes(b"".join(len(e).to_bytes(2, "big") + e for e in entries))


def read_bodies(path):
    raw, out, at = path.read_bytes(), [], 0
    while at < len(raw):
        size = int.from_bytes(raw[at + 1:at + 5], "big")
        out.append((raw[at], raw[at + 5:at + 5 + size]))
        at += 5 + size
    return out


def write_bodies(path, bodies):
    path.write_bytes(b"".join(bytes([s]) + len(b).to_bytes(4, "big") + b for s, b in bodies))


def change(target, function):
    """Changes one entry of the first bundle."""
    place = target.held()[0]
    entries = read_entries(target.bundle())
    entries[place] = function(bytearray(entries[place]))
    write_entries(target.bundle(), entries)


def exchange(paths):
    if len(paths) < 2:
        raise Nothing
    first, second = paths[0].read_bytes(), paths[-1].read_bytes()
    paths[0].write_bytes(second)
    paths[-1].write_bytes(first)


def files(folder, pattern="*"):
    return sorted(folder.glob(pattern)) if folder.is_dir() else []


def newest_witnessed(target):
    found = sorted(files(target.log / "checkpoints"), key=lambda p: int(p.name))
    if not found:
        raise Nothing
    return found


# --- bodies and entries ------------------------------------------------------

@fault("body.forged", delta={"forged": 1, "valid": -1})
def body_bit(target):
    place = target.held()[0]
    bodies = read_bodies(target.bodies())
    state, body = bodies[place]
    bodies[place] = state, body[:20] + bytes([body[20] ^ 1]) + body[21:]
    write_bodies(target.bodies(), bodies)


@fault("body.forged", delta={"forged": 1, "valid": -1})
def body_of_another_record(target):
    first, second = target.held(2)
    bodies = read_bodies(target.bodies())
    bodies[first] = bodies[second]
    write_bodies(target.bodies(), bodies)


@fault("body.missing", delta={"missing": 1, "valid": -1})
def body_taken_away(target):
    place = target.held()[0]
    bodies = read_bodies(target.bodies())
    bodies[place] = 3, b""
    write_bodies(target.bodies(), bodies)


# The shell does not look for what explains an erased body.
@fault("body.missing", delta={"missing": 1, "valid": -1}, shell=False)
def body_called_erased(target):
    place = target.held()[0]
    bodies = read_bodies(target.bodies())
    bodies[place] = 4, b""
    write_bodies(target.bodies(), bodies)


@fault("entry.forged", delta={"forged": 1, "valid": -1})
def statement_bit(target):
    def forge(entry):
        at = entry.index(b"\x3a\x20") + 10    # within the body's digest
        entry[at] ^= 1
        return entry
    change(target, forge)


@fault("entry.forged", delta={"forged": 1, "valid": -1})
def signature_bit(target):
    def forge(entry):
        entry[-40] ^= 1
        return entry
    change(target, forge)


@fault("entry.forged", delta={"forged": 1, "valid": -1})
def signature_with_large_s(target):
    """S + L: the same signature for a verifier that does not look."""
    def forge(entry):
        s = int.from_bytes(entry[-32:], "little") + 2**252 + 27742317777372353535851937790883648493
        entry[-32:] = s.to_bytes(32, "little")
        return entry
    change(target, forge)


@fault("entry.forged")
def entry_of_the_other_log(target):
    logs = files(target.root / "logs/access")
    if not logs:
        raise Nothing
    other = next(iter(sorted(p for p in (logs[-1] / "tile/entries").rglob("*") if p.is_file())))
    entry = read_entries(other)[0]
    change(target, lambda _: entry)


@fault("entry.missing", delta={"missing": 1, "valid": -1})
def entry_missing(target):
    place = target.held()[0]
    entries = read_entries(target.bundle())
    del entries[place]
    write_entries(target.bundle(), entries)


@fault("entry.missing")
def entry_bundle_missing(target):
    if target.size <= 2 * tree.WIDTH:
        raise Nothing
    target.bundle(1).unlink()


@fault("entry.truncated", "entry.missing")
def entry_bundle_truncated(target):
    path = target.bundle()
    path.write_bytes(path.read_bytes()[:-10])


@fault("entry.forged", delta={"forged": 2, "valid": -2})
def entries_swapped(target):
    a, b = target.held(2)
    entries = read_entries(target.bundle())
    entries[a], entries[b] = entries[b], entries[a]
    write_entries(target.bundle(), entries)


@fault("entry.forged", delta={"not_logged": 1, "valid": -1})
def entry_and_body_repeated(target):
    """A record that the member did sign, at a place where it does not stand."""
    a, b = target.held(2)
    entries, bodies = read_entries(target.bundle()), read_bodies(target.bodies())
    entries[a], bodies[a] = entries[b], bodies[b]
    write_entries(target.bundle(), entries)
    write_bodies(target.bodies(), bodies)


@fault("entry.forged", delta={})
def dsse_bit(target):
    target.held()
    path = target.log / ("dsse/" + tree.path(-1, 0).removeprefix("tile/entries/") + ".jsonl")
    rows = path.read_text().splitlines(keepends=True)
    row = json.loads(rows[target.also])
    sig = bytearray(base64.b64decode(row["signatures"][0]["sig"]))
    sig[3] ^= 1
    row["signatures"][0]["sig"] = base64.b64encode(sig).decode()
    rows[target.also] = json.dumps(row, separators=(",", ":")) + "\n"
    path.write_text("".join(rows))


# --- tiles -------------------------------------------------------------------

@fault("tile.root", delta={})
def tile_bit(target):
    flip(target.tile(0), 40)


@fault("tile.root", delta={})
def upper_tile_bit(target):
    flip(target.tile(1), 3)


@fault("tile.root", delta={})
def last_tile_bit(target):
    flip(target.tile(0, (target.size - 1) // tree.WIDTH), 5)


@fault("tile.truncated", delta={})
def tile_truncated(target):
    path = target.tile(0)
    path.write_bytes(path.read_bytes()[:-1])


@fault("tile.truncated", delta={})
def tile_missing(target):
    target.tile(0).unlink()


@fault("checkpoint.root")
def tree_made_anew(target):
    """An entry is exchanged and every tile made to fit; only the root cannot be signed."""
    entry_and_body_repeated(target)
    leaves = []
    for number, _ in tree.bundles(target.size):
        leaves += [tree.leaf_hash(e) for e in read_entries(target.bundle(number))]
    made = tree.Tree(leaves)
    for level, number, width in tree.shape(target.size):
        (target.log / tree.path(level, number, width)).write_bytes(made.tile(level, number))


# --- checkpoints and cosignatures --------------------------------------------

def checkpoint_line(target, number, function):
    rows = target.checkpoint.read_text().split("\n")
    rows[number] = function(rows[number])
    target.checkpoint.write_text("\n".join(rows))


@fault("checkpoint.signature")
def checkpoint_bit(target):
    def forge(row):
        root = bytearray(base64.b64decode(row))
        root[7] ^= 1
        return base64.b64encode(root).decode()
    checkpoint_line(target, 2, forge)


@fault("checkpoint.signature")
def checkpoint_size(target):
    checkpoint_line(target, 1, lambda row: str(int(row) - 1))


@fault("checkpoint.signature")
def checkpoint_extended(target):
    checkpoint_line(target, 2, lambda row: row + "\nextension")


@fault("checkpoint.malformed")
def checkpoint_size_in_another_spelling(target):
    checkpoint_line(target, 1, lambda row: "0" + row)


@fault("checkpoint.origin")
def wrong_origin(target):
    """The checkpoint of the member's other log, well signed."""
    logs = files(target.root / "logs/access")
    if not logs:
        raise Nothing
    shutil.copyfile(logs[-1] / "checkpoint", target.checkpoint)


@fault("checkpoint.origin")
def another_members_origin(target):
    checkpoint_line(target, 0, lambda row: row.replace("/records/", "-2/records/"))


@fault("checkpoint.smaller", delta={})
def smaller_checkpoint(target):
    found = newest_witnessed(target)
    if len(found) < 2:
        raise Nothing
    if int(found[-1].name) < target.size:
        # What no witness had seen is gone with the larger checkpoint.
        raise_unwitnessed(target, found[-1])
    shutil.copyfile(found[0], target.checkpoint)


def raise_unwitnessed(target, largest):
    """Keeps the larger one among the witnessed, as a node does that saw it."""
    kept = target.log / "checkpoints" / str(target.size)
    shutil.copyfile(target.checkpoint, kept)


def stranger_cosigns(path):
    raw = path.read_text()
    text = raw[:raw.index("\n\n") + 1]
    origin = text.split("\n")[0]
    name = origin.split("/")[0] + "/stranger/witness"
    key = Ed25519PrivateKey.generate()
    time = 1_800_000_000
    signature = key.sign(f"cosignature/v1\ntime {time}\n{text}".encode())
    number = notes.key_id(name, 4, key.public_key().public_bytes_raw())
    line = base64.b64encode(number + time.to_bytes(8, "big") + signature).decode()
    path.write_text(f"{raw}\u2014 {name} {line}\n")


@fault("cosignature.unknown", delta={})
def unknown_witness(target):
    stranger_cosigns(newest_witnessed(target)[-1])


@fault("cosignature.unknown", delta={})
def witness_with_another_key(target):
    """A known witness's name, under a key that no roster has."""
    path = newest_witnessed(target)[-1]
    raw = path.read_text()
    line = next((r for r in raw.split("\n") if "/witness " in r), None)
    if line is None:
        raise Nothing
    name = line.split(" ")[1]
    blob = bytearray(base64.b64decode(line.split(" ")[2]))
    blob[0] ^= 1
    path.write_text(f"{raw}\u2014 {name} {base64.b64encode(blob).decode()}\n")


def flip_cosignature(path):
    rows = path.read_text().split("\n")
    for at, row in enumerate(rows):
        if "/witness " in row:
            head, blob = row.rsplit(" ", 1)
            raw = bytearray(base64.b64decode(blob))
            raw[40] ^= 1
            rows[at] = f"{head} {base64.b64encode(raw).decode()}"
            path.write_text("\n".join(rows))
            return
    raise Nothing


@fault("cosignature.invalid")
def cosignature_bit(target):
    flip_cosignature(newest_witnessed(target)[-1])


@fault("checkpoint.signature")
def cosignatures_without_the_log(target):
    """What witnesses sign is not what the log signs."""
    path = newest_witnessed(target)[-1]
    rows = path.read_text().split("\n")
    own = f"\u2014 {rows[0]} "
    path.write_text("\n".join(row for row in rows if not row.startswith(own)))


# --- proofs, receipts, evidence, rosters -------------------------------------

@fault("proof.inclusion", delta={})
def inclusion_proofs_swapped(target):
    exchange(files(target.root / "proofs"))


@fault("proof.inclusion", delta={})
def inclusion_hashes_swapped(target):
    found = files(target.root / "proofs")
    if not found:
        raise Nothing
    rows = found[0].read_text().split("\n")
    rows[2], rows[3] = rows[3], rows[2]
    found[0].write_text("\n".join(rows))


@fault("proof.consistency", delta={})
def consistency_proofs_swapped(target):
    exchange(files(target.log / "consistency"))


@fault("proof.consistency", delta={})
def consistency_hash_bit(target):
    found = [p for p in files(target.log / "consistency") if p.stat().st_size]
    if not found:
        raise Nothing
    rows = found[0].read_text().split("\n")
    raw = bytearray(base64.b64decode(rows[0]))
    raw[0] ^= 1
    rows[0] = base64.b64encode(raw).decode()
    found[0].write_text("\n".join(rows))


def receipt(target, part):
    found = files(target.root / "receipts", f"*.{part}")
    if not found:
        raise Nothing
    return found[0]


@fault("receipt.forged", delta={})
def receipt_body_forged(target):
    path = receipt(target, "body")
    flip(path, path.stat().st_size - 1)


@fault("receipt.forged", delta={})
def receipt_signature_forged(target):
    path = receipt(target, "entry")
    flip(path, path.stat().st_size - 20)


@fault("receipt.forged", delta={})
def receipt_proof_forged(target):
    path = receipt(target, "proof")
    rows = path.read_text().split("\n")
    at = 1 if rows[2] == "" else 2
    rows[at] = "index 0" if at == 1 else base64.b64encode(os.urandom(32)).decode()
    path.write_text("\n".join(rows))


@fault("receipt.forged", delta={})
def receipt_without_body(target):
    receipt(target, "body").unlink()


@fault("evidence.pair", delta={})
def evidence_planted(target):
    folder = target.root / "evidence/1"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(target.checkpoint, folder / "first")
    shutil.copyfile(target.checkpoint, folder / "second")


# Without the roster's new key its retraction does not count: see above.
@fault("roster.signature", shell="part")
def roster_signature_bit(target):
    path = files(target.root / "roster", "0*")[:2][-1]
    flip(path, path.stat().st_size - 9)


@fault("roster.chain")
def roster_bit(target):
    path = target.root / "roster/000001"
    raw = path.read_bytes()
    flip(path, len(raw) // 2)


@fault("roster.chain", shell="part")
def roster_missing(target):
    found = files(target.root / "roster", "0*")
    if len(found) < 3:
        raise Nothing
    found[1].unlink()


# --- the roster log ----------------------------------------------------------

def roster_note(target):
    path = target.root / "roster/checkpoint"
    if not path.is_file():
        raise Nothing
    return path


@fault("checkpoint.signature", delta={})
def roster_checkpoint_size(target):
    path = roster_note(target)
    rows = path.read_text().split("\n")
    rows[1] = str(int(rows[1]) + 1)
    path.write_text("\n".join(rows))


@fault("checkpoint.origin", delta={})
def roster_checkpoint_of_a_log(target):
    shutil.copyfile(target.checkpoint, roster_note(target))


@fault("checkpoint.malformed", delta={})
def roster_checkpoint_cut(target):
    path = roster_note(target)
    path.write_bytes(path.read_bytes()[:-1])


@fault("checkpoint.root")
def newest_roster_held_back(target):
    """The note speaks of one version more."""
    roster_note(target)
    found = files(target.root / "roster", "0*")
    if len(found) < 2:
        raise Nothing
    found[-1].unlink()


@fault("cosignature.invalid", delta={})
def roster_cosignature_bit(target):
    flip_cosignature(roster_note(target))


@fault("cosignature.unknown", delta={})
def unknown_witness_of_rosters(target):
    stranger_cosigns(roster_note(target))


# --- what the roots or members did sign --------------------------------------

def instead(target, name):
    """Puts what else they signed in its place."""
    made = target.source.parent / "instead" / name
    if not made.is_dir():
        raise Nothing
    for path in (p for p in made.rglob("*") if p.is_file() and p.parent != made):
        shutil.copyfile(path, target.root / path.relative_to(made))
    return json.loads((made / "delta.json").read_text())


@fault("receipt.forged", delta={})
def element_for_a_receipt(target):
    """Another body of the same member: signed and logged, and no receipt."""
    return instead(target, "element_for_a_receipt")


@fault("key.newer", delta={})
def newer_receipt(target):
    return instead(target, "newer_receipt")


# Nothing is false; some cannot be checked with what is known today.
@fault("key.newer")
def newer_key(target):
    target.also = target.size - 1
    return instead(target, "newer_key")


@fault("entry.forged", delta={"forged": 1, "valid": -1, "newer": -1})
def second_signature_bit(target):
    """A further signature by one of the member's keys has to hold as well."""
    entries, target.also = read_entries(target.bundle()), 42
    if len(entries) <= 42 or len(entries[42]) < 3309:    # make.py signs it three times
        raise Nothing
    entries[42] = entries[42][:-1] + bytes([entries[42][-1] ^ 1])
    write_entries(target.bundle(), entries)


@fault("body.forged")
def broken_though_newer(target):
    """An access line with a field that nobody knows, in front of those that all know."""
    target.also = 10
    return instead(target, "broken_though_newer")


# Nothing is said of what is in it: a verifier of that format may find it whole.
@fault("bundle.newer", exit_code=5)
def bundle_of_a_newer_format(target):
    path = target.root / "bundle.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"format": told["format"] + 1}))


# Nothing is false; nothing is witnessed any more.
@fault(exit_code=0)
def witness_key_revoked(target):
    return instead(target, "witness_key_revoked")


# The shell does not judge when a key was valid.
@fault(shell=False)
def log_key_revoked_while_in_use(target):
    return instead(target, "log_key_revoked")


# --- what officers signed ------------------------------------------------------

LINE = 7     # of the access log that was made for these


def line_instead(name, *codes, shell=True):
    """The member signed and logged it all; one line is not its officer's."""
    def plant(target):
        target.also = LINE
        return instead(target, name)
    plant.__name__ = name
    fault(*codes, delta={}, shell=shell)(plant)


line_instead("officer_signature_bit", "officer.signature")
line_instead("officer_signed_another_method", "officer.signature")
line_instead("officer_not_signed", "officer.unsigned")
line_instead("officer_signed_earlier", "officer.untimely")
line_instead("officer_of_another_ca", "officer.certificate")
line_instead("officer_of_another_name", "officer.certificate")
line_instead("officer_expired", "officer.certificate")
# The shell looks at a sample of the lines.
line_instead("officer_replayed", "officer.replayed", shell=False)


# --- the tool ----------------------------------------------------------------

def write_sums(root):
    names = sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())
    names.remove("SHA256SUMS")
    (root / "SHA256SUMS").write_text("".join(
        f"{hashlib.sha256((root / n).read_bytes()).hexdigest()}  {n}\n" for n in names))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", nargs="?", type=Path)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--plant", choices=sorted(FAULTS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--sums", action="store_true")
    args = parser.parse_args()
    if args.list:
        print("\n".join(FAULTS))
        return 0
    plant, codes, delta, shell, exit_code = FAULTS[args.plant]
    shutil.rmtree(args.out, ignore_errors=True)
    shutil.copytree(args.bundle, args.out, copy_function=os.link)
    target = Target(args.out, args.bundle)
    try:
        unlink_before_writing()
        delta = plant(target) or delta
    except Nothing:
        return 3
    if args.sums:
        write_sums(args.out)
    print(json.dumps({"codes": codes, "delta": delta, "shell": shell,
                      "exit": exit_code, "also": target.also}))
    return 0


def unlink_before_writing():
    """The copy shares its files with the clean bundle: a change makes a new one."""
    for name in ("write_bytes", "write_text"):
        original = getattr(Path, name)

        def write(self, *args, original=original, **kwargs):
            self.unlink(missing_ok=True)
            return original(self, *args, **kwargs)
        setattr(Path, name, write)
    copy = shutil.copyfile
    shutil.copyfile = lambda a, b: (Path(b).unlink(missing_ok=True), copy(a, b))[1]


if __name__ == "__main__":
    sys.exit(main())
