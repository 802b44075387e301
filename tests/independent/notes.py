"""Signed notes, checkpoints and tlog-proofs, strictly (C2SP signed-note,
tlog-checkpoint, tlog-cosignature, tlog-proof; PROTOCOL.md section 7).

Key ids and Merkle proofs are those of the PyPI package tlog-scales.
"""

import base64
import binascii
from dataclasses import dataclass, field

from tlog_scales import signing, tlog

import strict

NOTE_BYTES_MAX = 64 * 1024
SIGNATURES_MAX = 64
PROOF_HEADER = "c2sp.org/tlog-proof@v1"


class Malformed(Exception):
    """Not a note, a checkpoint or a proof."""


class Refused(Exception):
    """A checkpoint with a finding; the argument is its code."""


def unbase64(text):
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("base64") from None
    if base64.b64encode(raw).decode() != text:
        raise Malformed("base64")
    return raw


def decimal(text):
    if not text.isascii() or not text.isdigit() or str(int(text)) != text:
        raise Malformed("number")
    if int(text) >= 1 << 64:
        raise Malformed("number")
    return int(text)


@dataclass
class Note:
    """A note in parts; nothing of it is verified."""
    text: str
    lines: list  # of (name, key id, signature)
    origin: str = ""
    size: int = 0
    root: bytes = b""
    extended: bool = False


def parse(raw):
    """Takes a signed checkpoint apart."""
    if len(raw) > NOTE_BYTES_MAX:
        raise Malformed("too big")
    try:
        note = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("not UTF-8") from None
    if any(c < " " and c != "\n" or c == "\x7f" for c in note):
        raise Malformed("control character")
    head, found, tail = note.rpartition("\n\n")
    if not found or not tail.endswith("\n"):
        raise Malformed("no signature lines")
    rows = tail[:-1].split("\n")
    if len(rows) > SIGNATURES_MAX:
        raise Malformed("too many lines")
    result = Note(head + "\n", [signature_line(row) for row in rows])
    body = head.split("\n")
    if len(body) < 3 or "" in body:
        raise Malformed("not a checkpoint")
    result.extended = len(body) > 3
    result.origin, result.size, result.root = body[0], decimal(body[1]), unbase64(body[2])
    if len(result.root) != 32:
        raise Malformed("root")
    return result


def signature_line(row):
    parts = row.split(" ")
    if len(parts) != 3 or parts[0] != "\u2014" or not parts[1] or "+" in parts[1]:
        raise Malformed("signature line")
    raw = unbase64(parts[2])
    if len(raw) < 5 or any(c.isspace() for c in parts[1]):
        raise Malformed("signature line")
    return parts[1], raw[:4], raw[4:]


def key_id(name, kind, key):
    """The id of a key in notes: 1 for a log's key, 4 for a witness's."""
    return signing.Vkey(name, None, kind, bytes(key)).key_id.to_bytes(4, "big")


@dataclass
class Checkpoint:
    """A checkpoint whose log signature holds."""
    origin: str
    size: int
    root: bytes
    times: dict = field(default_factory=dict)     # witness -> newest time
    findings: list = field(default_factory=list)  # codes of cosignatures


def open_checkpoint(raw, origin, log_keys, witnesses=None, newer=False, passed=()):
    """Verifies a note: form, origin, log signature, then its cosignatures.

    `newer` says that a key of an unknown algorithm may have signed it, `passed`
    under which witnesses' names lines of such keys may stand.

    `log_keys` maps a key to the size up to which it may sign (None: any).
    `witnesses` maps (name, key) to the times in which it counts; without it
    the lines that are not the log's are ignored.
    """
    try:
        note = parse(raw)
    except Malformed:
        raise Refused("checkpoint.malformed") from None
    if note.origin != origin:
        raise Refused("checkpoint.origin")
    ids = {key_id(origin, 1, key): (key, end) for key, end in log_keys.items()}
    signed = 0
    for name, number, signature in note.lines:
        if name == origin and number in ids:
            key, end = ids[number]
            if not strict.holds(key, signature, note.text.encode()):
                raise Refused("checkpoint.signature")
            signed += end is None or note.size <= end
    if not signed and newer and not any(name == origin and number in ids
                                        for name, number, _ in note.lines):
        raise Refused("key.newer")
    if not signed:
        raise Refused("checkpoint.signature")
    if note.extended:
        raise Refused("checkpoint.malformed")
    opened = Checkpoint(note.origin, note.size, note.root)
    if witnesses is not None:
        cosignatures(note, opened, ids, witnesses, passed)
    return opened


def cosignatures(note, opened, log_ids, witnesses, passed):
    known = {(name, key_id(name, 4, key)): (key, spans)
             for (name, key), spans in witnesses.items()}
    for name, number, signature in note.lines:
        if name == note.origin and number in log_ids:
            continue
        key, spans = known.get((name, number), (None, ()))
        if key is None:
            if name not in passed:
                opened.findings.append("cosignature.unknown")
            continue
        time = int.from_bytes(signature[:8], "big")
        signed = f"cosignature/v1\ntime {time}\n{note.text}".encode()
        if len(signature) != 72 or time >> 63 or not strict.holds(key, signature[8:], signed):
            opened.findings.append("cosignature.invalid")
            continue
        if any(start <= time < end for start, end in spans):
            opened.times[name] = max(time, opened.times.get(name, 0))


def hashes(lines):
    raw = [unbase64(line) for line in lines]
    if any(len(h) != 32 for h in raw):
        raise Malformed("hash")
    return raw


def read_proof(raw):
    """Returns (index, hashes, note bytes) of a tlog-proof."""
    try:
        head, found, note = raw.decode("utf-8").partition("\n\n")
    except UnicodeDecodeError:
        raise Malformed("not UTF-8") from None
    rows = head.split("\n")
    if not found or len(rows) < 2 or rows[0] != PROOF_HEADER or not rows[1].startswith("index "):
        raise Malformed("proof")
    return decimal(rows[1][6:]), hashes(rows[2:]), note.encode()


def included(index, size, path, leaf, root):
    try:
        tlog.InclusionProof(index, size, path).check(leaf, root)
    except tlog.InclusionProofInvalid:
        return False
    return True


def consistent(old_size, size, path, old_root, root):
    try:
        tlog.ConsistencyProof(old_size, size, path).check(old_root, root)
    except tlog.ConsistencyProofInvalid:
        return False
    return True
