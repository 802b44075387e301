#!/usr/bin/env python3
"""Makes a federation, its keys, logs and witnesses, and a bundle of them,
without any code of casegate: what `casegate audit verify` must accept.

    make.py --out DIR [--records N] [--access N]

writes DIR/bundle and DIR/policy.toml. The member hefei has rotated its records
key half-way, retracted four records, let one expire, and has two receipts of
wuhu for one erasure; its last five records are not witnessed. Some records have a
second signature, of an old key or of an algorithm that nobody knows yet; some records
and access lines are of a later version. The third of its rosters lists keys of that
algorithm and requires a feature. An officer signed the lines of its
access log.

DIR/instead/NAME has files that the roots or members could have signed instead of those
of the bundle, and in `delta.json` how many records change their verdict by them.
"""

import argparse
import base64
import datetime
import hashlib
import json
import os
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tlog_scales import signing, tlog

import rosters
import tree
import wire
from entries import TYPE
from officers import TYPE as OFFICER_TYPE

FEDERATION = "selfmade.example"
MEMBERS = {"hefei": 1, "wuhu": 1, "bengbu": 1, "audit-office": 3}
DAY = 86400
NOW = int(time.time())
RECORDS, CHECKPOINT, WITNESS = 1, 2, 3
NEWER_ALGORITHM = 9
LINE = 7     # of the access log, where another one can stand


def varint(n):
    out = b""
    n &= (1 << 64) - 1
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def message(*fields):
    """Encodes (number, value) pairs in order; zeros and empties are left out.
    A list repeats; a tuple ("keep", n) is written even when it is zero."""
    out = b""
    for number, value in fields:
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, tuple):
                out += varint(number << 3) + varint(one[1])
            elif isinstance(one, int):
                out += varint(number << 3) + varint(one) if one else b""
            elif one or isinstance(value, list):
                raw = one.encode() if isinstance(one, str) else one
                out += varint(number << 3 | 2) + varint(len(raw)) + raw
    return out


def public(key):
    return key.public_key().public_bytes_raw()


def number(key):
    return rosters.key_number(rosters.ED25519, public(key))


def certificate(name, key, issuer, issuer_key, extension, days=3650):
    """A certificate in DER, from 30 days ago on."""
    def who(text):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])
    start = datetime.datetime.fromtimestamp(NOW - 30 * DAY, datetime.timezone.utc)
    hash_ = None if isinstance(issuer_key, Ed25519PrivateKey) else hashes.SHA256()
    made = (x509.CertificateBuilder().subject_name(who(name)).issuer_name(who(issuer))
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(start).not_valid_after(start + datetime.timedelta(days=days))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .sign(issuer_key, hash_))
    return made.public_bytes(serialization.Encoding.DER)


def newer_key(name, use):
    """(id, key) of an algorithm that nobody knows yet."""
    key = hashlib.sha512(f"{name} {use}".encode()).digest() * 20
    return rosters.key_number(NEWER_ALGORITHM, key), key


class Officer:
    """An officer of a member, with a key of one of two kinds."""

    def __init__(self, member, name="li.wei", ed25519=False, days=3650):
        self.key = (Ed25519PrivateKey.generate() if ed25519
                    else ec.generate_private_key(ec.SECP256R1()))
        uri = f"spiffe://{FEDERATION}/bureau/hefei/officer/{name}"
        self.der = certificate(
            name, self.key, member.name, member.ca_key,
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), days)
        self.scheme = 2055 if ed25519 else 1027

    def sign(self, signed):
        if self.scheme == 2055:
            return self.key.sign(signed)
        return self.key.sign(signed, ec.ECDSA(hashes.SHA256()))


class Line:
    """A line of the access log: what is signed, and what the node says of it."""

    def __init__(self, officer, at, method="Desk.Query"):
        self.officer, self.at, self.taken_at, self.method = officer, at, at, method
        self.nonce, self.signed_method, self.flip, self.bare = os.urandom(16), method, 0, False

    def body(self, scope=1):
        commitment = os.urandom(32).hex()
        asked = message((1, "A-1"), (2, [message((1, "phone"), (2, commitment))]),
                        (4, message((1, "fraud"), (2, "reason"))), (60, "a field to come"))
        payload = message((1, self.signed_method), (2, self.nonce), (3, self.taken_at),
                          (4, self.officer.scheme), (5, asked))
        signed = rosters.pae(OFFICER_TYPE, payload)
        signature = bytearray(self.officer.sign(signed))
        signature[10] ^= self.flip
        proof = [] if self.bare else [
            (11, signed), (12, bytes(signature)), (13, self.officer.der), (15, self.taken_at)]
        return message(
            (1, os.urandom(16)), (2, scope), (3, os.urandom(16)), (4, self.method), (5, "li.wei"),
            (8, "ok"), (9, 1), *proof)


class Member:
    def __init__(self, name, role, port):
        self.name, self.role, self.port = name, role, port
        self.ca_key = ec.generate_private_key(ec.SECP256R1())
        self.ca = certificate(name, self.ca_key, name, self.ca_key, x509.BasicConstraints(True, None))
        self.keys = {use: [Ed25519PrivateKey.generate()] for use in (RECORDS, CHECKPOINT, WITNESS)}
        self.from_size = {}
        self.revoked = {}    # key number -> ("keep", size)
        self.newer = ()    # uses of keys that nobody knows yet
        self.newer_from = 0    # first index of the records key among them

    def roster_message(self, witnesses, issued_at):
        keys = [message((1, use), (2, number(key)), (3, public(key)), (4, NOW - 30 * DAY),
                        (6, self.revoked.get(number(key), 0)),
                        (7, self.from_size.get(number(key), 0)), (8, rosters.ED25519))
                for use, all_keys in self.keys.items() for key in all_keys]
        for use in self.newer:
            key_id, key = newer_key(self.name, use)
            keys.append(message(
                (1, use), (2, key_id), (3, key), (4, NOW - 30 * DAY),
                (7, self.newer_from if use == RECORDS else 0), (8, NEWER_ALGORITHM)))
        return message(
            (1, self.name), (2, self.role), (3, self.name), (4, "anhui"), (5, self.ca),
            (6, f"127.0.0.1:{self.port}"), (7, keys), (8, 1), (9, 1), (10, witnesses))


def make_roster(version, previous, members, roots, issued_at, required=()):
    """Signed by the first two of three roots."""
    everyone = [m.roster_message(sorted(n for n in MEMBERS if n != m.name), issued_at)
                for m in members.values()]
    raw = message(
        (1, version), (2, FEDERATION), (3, previous), (4, [message((1, rosters.ED25519), (2, public(r))) for r in roots]), (5, 2),
        (6, everyone), (8, message((4, 2))), (9, issued_at), (10, NOW + 365 * DAY),
        (11, list(required)), (1023, list(required)))    # and a field that nobody knows yet
    signed = [message((1, number(r)), (2, r.sign(rosters.pae(rosters.TYPE, raw))))
              for r in roots[:2]]
    return raw, message((1, raw), (2, signed))


def cosignature(text, witness, at):
    """A witness's line for a note's text."""
    key = witness.keys[WITNESS][0]
    vkey = signing.Vkey(f"{FEDERATION}/{witness.name}/witness", None, 4, public(key))
    signed = f"cosignature/v1\ntime {at}\n{text}".encode()
    return signing.NoteSignature.from_vkey_signature(
        vkey, at.to_bytes(8, "big") + key.sign(signed))


def signed_note(origin, size, root, member, witnesses, at):
    """A signed note, with cosignatures of some members."""
    signer = signing.PlainEd25519Signer(origin, member.keys[CHECKPOINT][0])
    made = tlog.Checkpoint.make_signed(origin, size, root, [signer])
    text = made.serialize_body()
    lines = [*made.signatures, *(cosignature(text, w, at) for w in witnesses)]
    return (text + "\n" + "".join(f"{s.serialize()}\n" for s in lines)).encode()


def roster_note(rosters_, signer, witnesses, at):
    """The checkpoint of the roster log."""
    made = tree.Tree([tree.leaf_hash(raw) for raw in rosters_])
    size = len(rosters_)
    return signed_note(f"{FEDERATION}/roster", size, made.root(size), signer, witnesses, at)


class Log:
    """One log while it is written."""

    def __init__(self, member, kind):
        self.member, self.kind = member, kind
        self.origin = f"{FEDERATION}/{member.name}/{kind}/1"
        self.entries, self.bodies = [], []
        self.key = member.keys[RECORDS][0]

    @staticmethod
    def time(index):
        return NOW - 20 * DAY + index

    def append(self, body_type, body, expires_at=0, state=1, newer=False):
        """An entry; with `newer` under a key of an algorithm that nobody knows yet."""
        key_id = newer_key(self.member.name, RECORDS)[0] if newer else number(self.key)
        statement = message(
            (1, 1), (2, FEDERATION), (3, 1 if self.kind == "records" else 2), (4, 1),
            (5, self.member.name), (6, body_type), (7, hashlib.sha256(body).digest()),
            (8, self.time(len(self.entries))), (9, expires_at), (10, key_id))
        signed = rosters.pae(TYPE, statement)
        signatures = [(key_id, b"\x5a" * 3309 if newer else self.key.sign(signed))]
        if len(self.entries) in (40, 42):
            signatures.append((newer_key(self.member.name, RECORDS)[0], b"\xa5" * 3309))
        other = self.member.keys[RECORDS][-1]
        if len(self.entries) in (41, 42) and other is not self.key:
            signatures.append((number(other), other.sign(signed)))
        self.entries.append(message(
            (1, statement), (2, [message((1, i), (2, s)) for i, s in signatures])))
        self.bodies.append((state, body if state == 1 else b""))
        return len(self.entries) - 1

    def element(self, expires_at=0, state=1, scope=1, kind=1, role=1, more=b"", newer=False):
        body = message(
            (1, os.urandom(16)), (2, FEDERATION), (3, self.member.name), (4, os.urandom(16)),
            (5, kind), (6, os.urandom(16)), (7, b"\x41" + os.urandom(7)), (8, os.urandom(32)),
            (9, role), (11, message((1, scope))), (13, expires_at), (14, 1)) + more
        return self.append(1, body, expires_at, state, newer)

    def grow(self):
        self.tree = tree.Tree([tree.leaf_hash(e) for e in self.entries])

    def checkpoint(self, size, witnesses=(), at=0):
        return signed_note(self.origin, size, self.tree.root(size), self.member, witnesses, at)

    def proof(self, index, note):
        path = self.tree._reader.get_inclusion_proof(index, len(self.entries)).node_hashes
        rows = ["c2sp.org/tlog-proof@v1", f"index {index}"] + [b64(h) for h in path]
        return ("\n".join(rows) + "\n\n").encode() + note


def b64(raw):
    return base64.b64encode(raw).decode()


def write(root, path, raw):
    where = root / path
    where.parent.mkdir(parents=True, exist_ok=True)
    where.write_bytes(raw if isinstance(raw, bytes) else raw.encode())


def write_log(root, log, sizes, witnesses):
    """Everything of a log's directory; returns the newest note."""
    folder, size = f"logs/{log.kind}/1", len(log.entries)
    for at, old in enumerate(sizes):
        write(root, f"{folder}/checkpoints/{old}", log.checkpoint(old, witnesses, NOW - 9 * DAY + at))
    newest = log.checkpoint(size)
    write(root, f"{folder}/checkpoint", newest)
    for level, tile, width in tree.shape(size):
        write(root, f"{folder}/{tree.path(level, tile, width)}", log.tree.tile(level, tile))
    for tile, width in tree.bundles(size):
        part = log.entries[tile * 256:(tile + 1) * 256]
        write(root, f"{folder}/{tree.path(-1, tile, width)}",
              b"".join(len(e).to_bytes(2, "big") + e for e in part))
        name = tree.path(-1, tile).removeprefix("tile/entries/")
        write(root, f"{folder}/bodies/{name}", b"".join(
            bytes([s]) + len(b).to_bytes(4, "big") + b
            for s, b in log.bodies[tile * 256:(tile + 1) * 256]))
        write(root, f"{folder}/dsse/{name}.jsonl", "".join(dsse(e) + "\n" for e in part))
    every = [*sizes, size]
    for old, new in zip(every, every[1:]):
        path = log.tree._reader.get_consistency_proof(old, new).node_hashes
        write(root, f"{folder}/consistency/{old}-{new}", "".join(b64(h) + "\n" for h in path))
    return newest


def dsse(entry):
    read = wire.read(entry, wire.ENTRY)
    return json.dumps({
        "payloadType": TYPE.decode(), "payload": b64(read["statement"]),
        "signatures": [{"keyid": one["key_id"].hex(), "sig": b64(one["signature"])}
                       for one in read["signatures"]]}, separators=(",", ":"))


# A field that nobody has today, and records of a later version; the retraction is
# for a reason of its own, so that it ends nothing here.
MORE = message((100, "new"))
NEWER = (
    lambda log: log.append(40, b"a letter from the future"),
    lambda log: log.append(41, b""),
    lambda log: log.append(42, b"", state=2),
    lambda log: log.element(kind=99),
    lambda log: log.element(role=9),
    lambda log: log.element(scope=7),
    lambda log: log.element(more=MORE),
    lambda log: log.append(4, message(
        (1, os.urandom(16)), (2, [message((1, 0), (2, 10)) + MORE]), (3, 9))),
)


def fill_records(log, records, members):
    """Elements, a rotation half-way, a retraction with its erasure."""
    hefei = members["hefei"]
    while len(log.entries) < records - 10:
        index = len(log.entries)
        if index == records // 2:
            log.key = hefei.keys[RECORDS][1]
        if 20 <= index < 24:
            log.element(state=4)                             # retracted below
        elif index == 30:
            log.element(expires_at=NOW - DAY, state=4)       # its retention ended
        elif index == 31:
            log.element(state=2, scope=4)                    # for nobody
        elif 40 <= index < 40 + len(NEWER):
            NEWER[index - 40](log)
        else:
            log.element()
    target = message((1, 20), (2, 24))
    retracted = log.append(4, message((1, os.urandom(16)), (2, [target]), (3, 1)))
    erased = log.append(6, message((1, os.urandom(16)), (2, [message(
        (1, target), (2, retracted + 1), (3, 1), (4, NOW - 10 * DAY), (5, NOW - 10 * DAY + 5),
        (6, ["wuhu"]))])))
    while len(log.entries) < records:
        log.element()
    return retracted, erased


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--records", type=int, default=700)
    parser.add_argument("--access", type=int, default=60)
    args = parser.parse_args()
    root = args.out / "bundle"
    members = {name: Member(name, role, 7440 + i) for i, (name, role) in enumerate(MEMBERS.items())}
    roots = [Ed25519PrivateKey.generate() for _ in range(3)]
    raw1, signed1 = make_roster(1, b"", members, roots, NOW - 29 * DAY)
    new_key = Ed25519PrivateKey.generate()
    hefei = members["hefei"]
    hefei.keys[RECORDS].append(new_key)
    hefei.from_size[number(new_key)] = args.records // 2
    raw2, signed2 = make_roster(
        2, hashlib.sha256(raw1).digest(), members, roots, NOW - 15 * DAY)
    hefei.newer, hefei.newer_from = [RECORDS], args.records // 2
    members["wuhu"].newer, members["audit-office"].newer = [RECORDS], [WITNESS]

    def third():
        return make_roster(3, hashlib.sha256(raw2).digest(), members, roots, NOW - 5 * DAY,
                           ["records-1"])
    raw3, signed3 = third()
    for version, signed in enumerate((signed1, signed2, signed3), 1):
        write(root, f"roster/{version:06}", signed)
    cosigners = [members[name] for name in ("bengbu", "hefei", "wuhu")]

    def rosters_signed(last):
        return roster_note((raw1, raw2, last), members["hefei"], cosigners, NOW - 4 * DAY)
    write(root, "roster/checkpoint", rosters_signed(raw3))

    witnesses = [members["wuhu"], members["bengbu"]]
    log = Log(members["hefei"], "records")
    marks = fill_records(log, args.records, members)
    log.grow()
    sizes = [args.records * 3 // 10, args.records * 6 // 10, args.records - 5]
    note = write_log(root, log, sizes, witnesses)
    for index in (0, *marks):
        write(root, f"proofs/1-{index}.proof", log.proof(index, note))
    def access_log(where, change=lambda lines: None, broken=None):
        """The access log, with what `change` makes of its lines; three are newer, and
        the one at `broken` says so and is not: what is new stands before what is known."""
        log = Log(hefei, "access")
        log.key = new_key
        staff = Officer(hefei), Officer(hefei, ed25519=True)
        lines = [Line(staff[n % 2], log.time(n)) for n in range(args.access)]
        change(lines)
        for index, line in enumerate(lines):
            body = line.body(scope=99 if index == 4 else 1)
            if index == broken:
                log.append(16, MORE + body)
            elif index == 6:
                log.append(40, b"another letter")
            else:
                log.append(16, body + MORE if index == 5 else body)
        log.grow()
        write_log(where, log, [args.access // 2], witnesses)
    access_log(root)
    newer = args.out / "instead/broken_though_newer"
    access_log(newer, broken=10)
    write(newer, "delta.json", json.dumps({"forged": 1, "valid": -1}))

    wuhu = Log(members["wuhu"], "records")
    for _ in range(20):
        wuhu.element()
    receipts = []
    for days in (9, 2):
        item = message((1, message((1, 20), (2, 24))), (2, 1), (3, marks[0] + 1),
                       (4, NOW - days * DAY))
        receipts.append(
            wuhu.append(5, message((1, os.urandom(16)), (2, log.origin), (3, [item]))))
    wuhu.grow()
    note = wuhu.checkpoint(receipts[-1] + 1)

    def logged(where, stem, index):
        write(where, f"{stem}.entry", wuhu.entries[index])
        write(where, f"{stem}.body", wuhu.bodies[index][1])
        write(where, f"{stem}.proof", wuhu.proof(index, note))
    for receipt in receipts:
        logged(root, f"receipts/wuhu-1-{receipt}", receipt)
    element = args.out / "instead/element_for_a_receipt"
    logged(element, "receipts/wuhu-1-0", 0)
    write(element, "delta.json", "{}")
    # A receipt under a key that cannot be checked yet, in a log of its own making.
    receipt = args.out / "instead/newer_receipt"
    item = message((1, message((1, 20), (2, 24))), (2, 1), (3, marks[0] + 1), (4, NOW - 2 * DAY))
    last = wuhu.append(5, message((1, os.urandom(16)), (2, log.origin), (3, [item])), newer=True)
    wuhu.grow()
    note = wuhu.checkpoint(last + 1)
    logged(receipt, f"receipts/wuhu-1-{last}", last)
    write(receipt, "delta.json", "{}")
    # The last two records, not witnessed yet, under such a key.
    del log.entries[-2:], log.bodies[-2:]
    for _ in range(2):
        log.element(newer=True)
    log.grow()
    where = args.out / "instead/newer_key"
    note = write_log(where, log, sizes, witnesses)
    for index in (0, *marks):
        write(where, f"proofs/1-{index}.proof", log.proof(index, note))
    write(where, "delta.json", json.dumps({"unchecked": 2, "provisional": -2}))

    write(root, "bundle.json", json.dumps({
        "format": 1, "software": "make.py", "federation": FEDERATION, "member": "hefei",
        "exported_at": NOW}) + "\n")
    files = sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())
    write(root, "SHA256SUMS", "".join(
        f"{hashlib.sha256((root / f).read_bytes()).hexdigest()}  {f}\n" for f in files))
    def instead(name, holder, key, size, delta):
        """Another third roster, that revokes a key."""
        holder.revoked = {number(key): ("keep", size)}
        raw, signed = third()
        write(args.out, f"instead/{name}/roster/000003", signed)
        write(args.out, f"instead/{name}/roster/checkpoint", rosters_signed(raw))
        write(args.out, f"instead/{name}/delta.json", json.dumps(delta))
        holder.revoked = {}

    # Without wuhu the quorum of two is reached nowhere.
    held = sum(state != 4 for state, _ in log.bodies[:sizes[-1]])
    valid = held + args.access // 2
    instead("witness_key_revoked", members["wuhu"], members["wuhu"].keys[WITNESS][0], 0,
            {"valid": -valid, "provisional": valid})
    # Key-invalid from the cut on, and what of the access log was not witnessed.
    cut = args.records - 7
    provisional = args.records - sizes[-1] + args.access - args.access // 2
    instead("log_key_revoked", hefei, new_key, cut,
            {"valid": cut - sizes[-1], "provisional": -provisional,
             "key_invalid": provisional - cut + sizes[-1]})

    def line_instead(name, change):
        """Another access log, one of whose lines is another."""
        where = args.out / "instead" / name
        access_log(where, lambda lines: change(lines, lines[LINE]))
        write(where, "delta.json", "{}")
    line_instead("officer_signature_bit", lambda _, line: vars(line).update(flip=1))
    line_instead("officer_signed_another_method",
                 lambda _, line: vars(line).update(signed_method="Desk.Hits"))
    line_instead("officer_not_signed", lambda _, line: vars(line).update(bare=True))
    line_instead("officer_signed_earlier",
                 lambda _, line: vars(line).update(taken_at=line.at - 600))
    line_instead("officer_of_another_ca",
                 lambda _, line: vars(line).update(officer=Officer(members["wuhu"])))
    line_instead("officer_of_another_name",
                 lambda _, line: vars(line).update(officer=Officer(hefei, "wang")))
    line_instead("officer_expired", lambda _, line: vars(line).update(officer=Officer(hefei, days=3)))
    line_instead("officer_replayed",
                 lambda lines, line: vars(line).update(nonce=lines[0].nonce))

    write(args.out, "policy.toml", f'federation = "{FEDERATION}"\n'
          f'roster_pin = "{hashlib.sha256(raw1).hexdigest()}"\n')


if __name__ == "__main__":
    main()
