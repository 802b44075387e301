#!/usr/bin/env python3
"""Makes a federation, its keys, logs and witnesses, and a bundle of them,
without any code of casegate: what `casegate audit verify` must accept.

    make.py --out DIR [--records N] [--access N]

writes DIR/bundle and DIR/policy.toml. The member hefei has rotated its records
key half-way, retracted four records, let one expire, and has two receipts of
wuhu for one erasure; its last five records are not witnessed. The third of its
rosters only says so again.

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
from entries import TYPE

FEDERATION = "selfmade.example"
MEMBERS = {"hefei": 1, "wuhu": 1, "bengbu": 1, "audit-office": 3}
DAY = 86400
NOW = int(time.time())
RECORDS, CHECKPOINT, WITNESS = 1, 2, 3


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
    return hashlib.sha256(public(key)).digest()[:4]


def authority(name):
    """A self-signed CA certificate in DER; its key is forgotten."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    start = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=30)
    made = (x509.CertificateBuilder().subject_name(who).issuer_name(who)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(start).not_valid_after(start + datetime.timedelta(days=3650))
            .add_extension(x509.BasicConstraints(True, None), critical=True)
            .sign(key, hashes.SHA256()))
    return made.public_bytes(serialization.Encoding.DER)


class Member:
    def __init__(self, name, role, port):
        self.name, self.role, self.port = name, role, port
        self.ca = authority(name)
        self.keys = {use: [Ed25519PrivateKey.generate()] for use in (RECORDS, CHECKPOINT, WITNESS)}
        self.from_size = {}
        self.revoked = {}    # key number -> ("keep", size)

    def roster_message(self, witnesses, issued_at):
        keys = [message((1, use), (2, number(key)), (3, public(key)), (4, NOW - 30 * DAY),
                        (6, self.revoked.get(number(key), 0)),
                        (7, self.from_size.get(number(key), 0)))
                for use, all_keys in self.keys.items() for key in all_keys]
        return message(
            (1, self.name), (2, self.role), (3, self.name), (4, "anhui"), (5, self.ca),
            (6, f"127.0.0.1:{self.port}"), (7, keys), (8, 1), (9, 1), (10, witnesses))


def make_roster(version, previous, members, roots, issued_at):
    """Signed by the first two of three roots."""
    everyone = [m.roster_message(sorted(n for n in MEMBERS if n != m.name), issued_at)
                for m in members.values()]
    raw = message(
        (1, version), (2, FEDERATION), (3, previous), (4, [public(r) for r in roots]), (5, 2),
        (6, everyone), (8, message((4, 2))), (9, issued_at), (10, NOW + 365 * DAY))
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

    def append(self, body_type, body, expires_at=0, state=1):
        statement = message(
            (1, 1), (2, FEDERATION), (3, 1 if self.kind == "records" else 2), (4, 1),
            (5, self.member.name), (6, body_type), (7, hashlib.sha256(body).digest()),
            (8, NOW - 20 * DAY + len(self.entries)), (9, expires_at), (10, number(self.key)))
        signature = self.key.sign(rosters.pae(TYPE, statement))
        self.entries.append(message(
            (1, statement), (2, message((1, number(self.key)), (2, signature)))))
        self.bodies.append((state, body if state == 1 else b""))
        return len(self.entries) - 1

    def element(self, expires_at=0, state=1, scope=1):
        body = message(
            (1, os.urandom(16)), (2, FEDERATION), (3, self.member.name), (4, os.urandom(16)),
            (5, 1), (6, os.urandom(16)), (7, os.urandom(4)), (8, os.urandom(32)), (9, 1),
            (11, message((1, scope))), (13, expires_at), (14, 1))
        return self.append(1, body, expires_at, state)

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
    folder, size = f"{log.kind}/1", len(log.entries)
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
    statement, key_number, signature = entry[:-74], entry[-70:-66], entry[-64:]
    statement = statement[2 if statement[1] < 128 else 3:]
    return json.dumps({
        "payloadType": TYPE.decode(), "payload": b64(statement),
        "signatures": [{"keyid": key_number.hex(), "sig": b64(signature)}]}, separators=(",", ":"))


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
    def third():
        return make_roster(3, hashlib.sha256(raw2).digest(), members, roots, NOW - 5 * DAY)
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
    access = Log(members["hefei"], "access")
    access.key = new_key
    for _ in range(args.access):
        access.append(16, message(
            (1, os.urandom(16)), (2, 1), (3, os.urandom(16)), (4, "Desk.Query"), (5, "li.wei"),
            (8, "ok"), (9, 1)))
    access.grow()
    write_log(root, access, [args.access // 2], witnesses)

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

    write(args.out, "policy.toml", f'federation = "{FEDERATION}"\n'
          f'roster_pin = "{hashlib.sha256(raw1).hexdigest()}"\n')


if __name__ == "__main__":
    main()
