"""The verdict on every record of a log, and receipts (PROTOCOL.md 4, 5, 15)."""

import base64
import bisect
import hashlib
import json
import re
import time

import notes
import officers
import rosters
import strict
import tree
import wire

TYPE = b"application/vnd.casegate.statement.v1+protobuf"
LOGS = {"records": 1, "access": 2}
ELEMENT, NOTICE, AMEND, RETRACT, RECEIPT, ERASURE, ACCESS = 1, 2, 3, 4, 5, 6, 16
TABLES = {
    ELEMENT: wire.ELEMENT, NOTICE: wire.NOTICE, AMEND: wire.AMEND, RETRACT: wire.RETRACT,
    RECEIPT: wire.RECEIPT, ERASURE: wire.ERASURE, ACCESS: wire.ACCESS,
}
BODY_BYTES_MAX = {"records": 16 << 10, "access": 1 << 20}
HELD, NOT_FOR_YOU, ABSENT, ERASED, LOST = 1, 2, 3, 4, 5
ENTRY_BYTES_MAX = 16 * 1024    # with a signature of an unknown algorithm
ED25519_BYTES_MAX, FURTHER_BYTES = 512, 78
SIGNATURES_MAX = 4


class Forged(Exception):
    """An entry or a body that is not what it should be."""


def check_signatures(raw, signatures):
    """The form of an entry's signatures, and the size that they allow."""
    ids = [bytes(one["key_id"]) for one in signatures]
    if not 1 <= len(ids) <= SIGNATURES_MAX or len(set(ids)) < len(ids):
        raise Forged("signatures")
    for number, one in zip(ids, signatures):
        known = len(number) == 8 and number[0] == rosters.ED25519
        if len(number) != 8 or not one["signature"] or known and len(one["signature"]) != 64:
            raise Forged("signatures")
    most = ED25519_BYTES_MAX + FURTHER_BYTES * (len(ids) - 1)
    if len(raw) > most and all(number[0] == rosters.ED25519 for number in ids):
        raise Forged("size")


def stands_in(body_type, kind):
    """A type that is not known here may stand in either log."""
    known = body_type in TABLES
    return 1 <= body_type < 1 << 31 and (not known or (body_type == ACCESS) == (kind == "access"))


def open_entry(raw, origin, key_of):
    """Returns the statement of an entry that stands in `origin` and is signed, and
    what `key_of` has on its key; of an unknown algorithm it is not checked."""
    if len(raw) > ENTRY_BYTES_MAX:
        raise Forged("size")
    try:
        entry = wire.read(raw, wire.ENTRY)
        statement = wire.read(entry["statement"], wire.STATEMENT)
    except wire.Malformed as why:
        raise Forged(str(why)) from None
    check_signatures(raw, entry["signatures"])
    signature = entry["signatures"][0]
    federation, author, kind, generation = origin.split("/")
    wanted = (1, federation, LOGS[kind], int(generation), author)
    found = tuple(statement[f] for f in ("version", "federation", "log", "generation", "author"))
    if found != wanted or not stands_in(statement["body_type"], kind):
        raise Forged("statement")
    if len(statement["body_sha256"]) != 32 or statement["key_id"] != signature["key_id"]:
        raise Forged("statement")
    signed = rosters.pae(TYPE, bytes(entry["statement"]))
    for one in entry["signatures"]:
        span = key_of(bytes(one["key_id"]))
        if span and span["known"] and not strict.holds(span["key"], one["signature"], signed):
            raise Forged("signature")
    return statement, key_of(bytes(statement["key_id"]))


def open_body(raw, statement):
    """Returns the body's fields; None for a body of a later version."""
    if hashlib.sha256(raw).digest() != statement["body_sha256"]:
        raise Forged("digest")
    if len(raw) > BODY_BYTES_MAX["records" if statement["log"] == 1 else "access"]:
        raise Forged("size")
    table, newer = TABLES.get(statement["body_type"]), []
    if table is None:
        return None
    try:
        body = wire.read(raw, table, newer=newer)
    except wire.Malformed as why:
        raise Forged(str(why)) from None
    if body.get("expires_at", 0) != statement["expires_at"] or len(body["nonce"]) != 16:
        raise Forged("fields")
    if statement["body_type"] == ELEMENT and (
            body["federation"], body["member"]) != (statement["federation"], statement["author"]):
        raise Forged("fields")
    return None if newer else body


def is_dsse(row, raw):
    """Says whether a line is the entry as a DSSE envelope."""
    entry = wire.read(raw, wire.ENTRY)
    try:
        found = json.loads(row)
    except ValueError:
        return False
    return found == {
        "payloadType": TYPE.decode(),
        "payload": base64.b64encode(entry["statement"]).decode(),
        "signatures": [{"keyid": one["key_id"].hex(),
                        "sig": base64.b64encode(one["signature"]).decode()}
                       for one in entry["signatures"]],
    }


def split_bodies(raw):
    """[(state, bytes)] of a bodies file; what cannot be read ends it."""
    out, at = [], 0
    while raw is not None and at + 5 <= len(raw):
        size = int.from_bytes(raw[at + 1:at + 5], "big")
        body = raw[at + 5:at + 5 + size]
        if len(body) != size:
            break
        out.append((raw[at], body))
        at += 5 + size
    return out


class LogVerifier:
    """Gives each record of a log its verdict."""

    def __init__(self, log):
        self.log = log
        federation, member, kind, generation = log.origin.split("/")
        self.rule = rosters.KeyRule(log.trust, member, kind, int(generation))
        self.ended = []    # (start, end) of retractions and erasures
        self.absent = []   # (index, statement, bodies' file)
        self.witnessed = log.witnessed()
        self.sizes = [size for size, _ in self.witnessed]
        self.lines = officers.Lines(log.trust, member)

    def run(self):
        files = self.log.entry_files()
        if not files:
            return
        for number in range(min(files), max(files) + 1):
            self.bundle(number, files.get(number))
        self.judge_absent()

    def key_of(self, number):
        return self.rule.newest(number)

    def bundle(self, number, width):
        log = self.log
        if width is None:
            missing = log.folder + "/" + tree.path(-1, number)
            log.bundle.find("entry.missing", missing)
            log.verdicts["missing"] += tree.WIDTH
            return
        name = f"{log.folder}/{tree.path(-1, number, width)}"
        wanted = min(tree.WIDTH, max(width, (log.size or 0) - number * tree.WIDTH))
        found, code = log.entries(number, width)
        if code == "entry.truncated":
            log.bundle.find(code, name)
        if len(found) < wanted:
            log.bundle.find("entry.missing", name)
            log.verdicts["missing"] += wanted - len(found)
        first = number * tree.WIDTH
        part = tree.path(-1, number).removeprefix("tile/entries/")
        place = f"{log.folder}/bodies/{part}"
        bodies = split_bodies(log.bundle.read(place))
        offsets, signed = self.offsets(first, found, wanted), {}
        for offset, raw in zip(offsets, found):
            body = bodies[offset] if offset < len(bodies) else (ABSENT, b"")
            verdict = self.record(first + offset, raw, body, name, place)
            if verdict:
                log.verdicts[verdict] += 1
            if self.signed:
                signed[offset] = raw
        self.dsse(f"{log.folder}/dsse/{part}.jsonl", signed, wanted)

    def offsets(self, first, found, wanted):
        """Where the entries stand: in their order or, when some are missing,
        where the tree has their leaf."""
        if len(found) >= wanted or self.log.tree is None:
            return list(range(len(found)))
        leaves = self.log.tree.leaves[first:first + wanted]
        places = {leaf: offset for offset, leaf in enumerate(leaves)}
        return [places.get(tree.leaf_hash(raw), offset) for offset, raw in enumerate(found)]

    def dsse(self, path, found, width):
        """The entries whose signatures hold as DSSE envelopes, if the file is there."""
        raw = self.log.bundle.read(path)
        if raw is None:
            return
        rows = raw.decode("utf-8", "replace").split("\n")
        for offset, entry in found.items():
            if not is_dsse(rows[offset] if offset < len(rows) else "", entry):
                self.log.bundle.find("entry.forged", path)
                return
        if "".join(rows[width:]):
            self.log.bundle.find("entry.forged", path)

    def record(self, index, raw, body, name, place):
        """The verdict; None when it has to wait for the log's retractions."""
        log, self.signed = self.log, False
        try:
            statement, key = open_entry(raw, log.origin, self.key_of)
        except Forged:
            log.bundle.find("entry.forged", name)
            return "forged"
        self.signed = True
        newer = key is not None and not key["known"]
        if newer:
            log.bundle.find("key.newer", name)
        state, content = body
        unknown, fields, forged = statement["body_type"] not in TABLES, {}, False
        if state == HELD:
            try:
                fields = open_body(content, statement)
            except Forged:
                forged = True
        if unknown or fields is None:
            log.newer.append(index)
        if forged:
            log.bundle.find("body.forged", place)
            return "forged"
        if state == HELD and fields is not None and statement["body_type"] == ACCESS:
            for fault in self.lines.check(content, statement["issued_at"]):
                log.bundle.find(fault, place)
        withheld = state == NOT_FOR_YOU and log.kind == "records" and (
            unknown or statement["body_type"] in (ELEMENT, NOTICE, AMEND))
        if state not in (HELD, ERASED) and not withheld:
            log.bundle.find("body.missing", place)
        if log.tree is not None and index < log.proven and (
                log.tree.leaves[index] != tree.leaf_hash(raw)):
            log.bundle.find("entry.forged", name)
            return "not_logged"
        if log.tree is None or index >= log.proven:
            return "not_logged"
        verdict = "key_invalid"
        if key is not None:
            verdict = self.rule.judge(bytes(statement["key_id"]), index, self.time(index))
        if newer and verdict != "key_invalid":
            return "unchecked"
        if verdict == "key_invalid" or withheld:
            return verdict
        if state == ERASED:
            self.absent.append((index, statement, place, verdict))
            return None
        if state != HELD:
            return "missing"
        if fields is None:
            return verdict
        if statement["body_type"] == RETRACT:
            self.ended += [(r["start"], min(r["end"], index)) for r in fields["targets"]]
        if statement["body_type"] == ERASURE:
            self.ended += [(r["range"]["start"], min(r["range"]["end"], index))
                           for r in fields["items"]]
        return verdict

    def time(self, index):
        at = bisect.bisect_right(self.sizes, index)
        return self.witnessed[at][1] if at < len(self.witnessed) else None

    def judge_absent(self):
        """What retractions, erasures or the retention end explain is erased."""
        now, ended = time.time(), sorted(self.ended)
        starts = [start for start, _ in ended]
        reach = []   # how far the ranges up to here go
        for _, end in ended:
            reach.append(max(end, reach[-1] if reach else 0))
        for index, statement, place, _ in self.absent:
            at = bisect.bisect_right(starts, index)
            named = at > 0 and reach[at - 1] > index
            if named or 0 < statement["expires_at"] <= now:
                self.log.verdicts["erased"] += 1
            else:
                self.log.bundle.find("body.missing", place)
                self.log.verdicts["missing"] += 1


def check_receipt(stem, parts, origins, trust):
    """The finding about a member's receipt, its entry, body and place in that
    member's log; None when it holds."""
    found = re.fullmatch(r"(.+)-(\d+)-(\d+)", stem)
    if not found:
        return "receipt.forged"
    member, generation, index = found.groups()
    origin = f"{trust.federation}/{member}/records/{generation}"
    rule = rosters.KeyRule(trust, member, "records", int(generation))

    try:
        statement, key = open_entry(parts["entry"], origin, rule.newest)
        if key is not None and not key["known"]:
            return "key.newer"
        if key is None or statement["body_type"] != RECEIPT:
            return "receipt.forged"
        body = open_body(parts["body"], statement)
        if body is None:
            return "receipt.forged"
        place, path, note = notes.read_proof(parts["proof"])
        opened = notes.open_checkpoint(note, origin, trust.checkpoint_keys(member))
    except (Forged, notes.Malformed, notes.Refused):
        return "receipt.forged"
    holds = (body["origin"] in origins and str(place) == index
            and rule.judge(bytes(statement["key_id"]), place, None) != "key_invalid"
            and notes.included(place, opened.size, path, tree.leaf_hash(parts["entry"]),
                               opened.root))
    return None if holds else "receipt.forged"
