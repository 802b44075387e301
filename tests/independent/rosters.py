"""The roster chain from the pin, and what it says about keys (PROTOCOL.md 3)."""

import hashlib
import re

import strict
import wire

TYPE = b"application/vnd.casegate.roster.v1+protobuf"
RECORDS, CHECKPOINT, WITNESS = 1, 2, 3
FOREVER = 1 << 63


def pae(kind, payload):
    """The bytes that DSSE signs."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


ED25519 = 1


class Newer(Exception):
    """A key whose algorithm is not known here would have to be used."""


def key_number(algorithm, key):
    """The id of a key: its algorithm, and the start of a digest of both."""
    start = bytes([algorithm])
    return start + hashlib.sha256(start + bytes(key)).digest()[:7]


def signed_by(roster, raw, signatures, whose):
    """True when enough roots of `whose` signed and no root's signature is bad.
    Those under unknown algorithms are passed over; raises Newer where they decide."""
    roots = {key_number(root["algorithm"], root["public_key"]): root
             for root in whose["root_keys"]}
    signers, unchecked, wanted = set(), set(), max(1, whose["root_threshold"])
    for one in signatures:
        root = roots.get(bytes(one["key_id"]))
        if root is None:
            continue
        if root["algorithm"] != ED25519:
            unchecked.add(bytes(one["key_id"]))
            continue
        if not strict.holds(root["public_key"], one["signature"], pae(TYPE, raw)):
            return False
        signers.add(bytes(one["key_id"]))
    if len(signers) < wanted <= len(signers) + len(unchecked):
        raise Newer
    return len(signers) >= wanted


def chain(bundle, policy):
    """The versions that count, version 1 first."""
    versions, previous = [], None
    numbers = [n for n in bundle.names("roster") if re.fullmatch(r"\d{6,}", n)]
    for number in range(1, max(map(int, numbers), default=1) + 1):
        path = f"roster/{number:06d}"
        raw = bundle.read(path)
        try:
            signed = wire.read(raw or b"", wire.SIGNED_ROSTER, strict=False)
            body = bytes(signed["roster"])
            roster = wire.read(body, wire.ROSTER, strict=False)
        except wire.Malformed:
            raw = None
        digest = hashlib.sha256(body).digest() if raw else None
        wanted = policy["roster_pin"] if number == 1 else digest
        named = b"" if number == 1 else previous
        if (raw is None or digest != wanted or bytes(roster["previous_sha256"]) != named
                or roster["version"] != number or roster["federation"] != policy["federation"]):
            bundle.find("roster.chain", path)
            return versions
        roots = versions[-1:] + [roster]
        try:
            code = "roster.signature"
            if all(signed_by(roster, body, signed["signatures"], r) for r in roots):
                code = None
        except Newer:
            code = "key.newer"
        if code:
            bundle.find(code, path)
            return versions
        versions.append(roster | {"raw": body})
        previous = digest
    return versions


class Trust:
    """Everything that follows from the policy: rosters, keys, witnesses."""

    def __init__(self, versions, policy, member):
        self.versions, self.policy = versions, policy
        self.federation, self.member = policy["federation"], member
        self.witnesses = self.witness_keys(self.own_witnesses)

    def of(self, roster, member):
        return next((m for m in roster["members"] if m["id"] == member), None)

    def keys(self, member, use):
        """The newest word on every key of a member for a use: {key: (word, newest?)}."""
        words = {}
        for roster in self.versions:
            who = self.of(roster, member)
            for key in who["keys"] if who else []:
                if key["use"] == use and key["algorithm"] == ED25519:
                    words[bytes(key["public_key"])] = key
        return words

    def has_newer(self, members, use):
        """Whether one of the members has a key of an unknown algorithm for a use."""
        return any(key["use"] == use and key["algorithm"] != ED25519
                   for roster in self.versions for member in roster["members"]
                   if members is None or member["id"] in members for key in member["keys"])

    def newer_witnesses(self):
        """The names under which lines of unknown algorithms may stand."""
        members = {member["id"] for roster in self.versions for member in roster["members"]}
        return {f"{self.federation}/{name}/witness" for name in members
                if self.has_newer([name], WITNESS)}

    def checkpoint_keys(self, member):
        """{key: the size up to which it may sign, or None}."""
        return {key: word["revoked_at_size"]
                for key, word in self.keys(member, CHECKPOINT).items()}

    def roster_log_keys(self):
        """{key: the last version before the one that revokes it, or None}: the
        checkpoint keys of all members may sign the roster log."""
        keys = {}
        for roster in self.versions:
            for key in (k for m in roster["members"] for k in m["keys"]
                        if k["use"] == CHECKPOINT and k["algorithm"] == ED25519):
                revoked = key["revoked_at_size"] is not None
                end = keys.setdefault(bytes(key["public_key"]), None)
                if revoked and end is None:
                    keys[bytes(key["public_key"])] = roster["version"] - 1
        return keys

    def roster_witnesses(self):
        """Every member witnesses the roster log."""
        return self.witness_keys(lambda roster: [m["id"] for m in roster["members"]])

    def own_witnesses(self, roster):
        return (self.of(roster, self.member) or {"witnesses": []})["witnesses"]

    def witness_keys(self, assigned):
        """{(key name, key): [(from, to)]}: the times in which a roster in force
        assigned the witness; all time for those that the policy names."""
        if self.policy.get("witness"):
            return {(one["name"], bytes.fromhex(one["key"])): [(0, FOREVER)]
                    for one in self.policy["witness"]}
        found = {}
        ends = [r["issued_at"] for r in self.versions[1:]] + [FOREVER]
        for number, (roster, end) in enumerate(zip(self.versions, ends)):
            start = roster["issued_at"] if number else 0
            for name in assigned(roster):
                for key in self.of(roster, name)["keys"]:
                    if key["use"] == WITNESS and key["algorithm"] == ED25519:
                        place = f"{self.federation}/{name}/witness", bytes(key["public_key"])
                        found.setdefault(place, []).append((start, end))
        # Who has a revoked key can date its cosignatures back.
        revoked = {bytes(key["public_key"]) for roster in self.versions
                   for member in roster["members"] for key in member["keys"]
                   if key["use"] == WITNESS and key["revoked_at_size"] is not None}
        return {place: [] if place[1] in revoked else spans for place, spans in found.items()}

    def quorum(self, time):
        own = 1
        if not self.policy.get("witness"):
            in_force = [r for r in self.versions if r["issued_at"] <= time] or self.versions[:1]
            own = (in_force[-1]["policy"] or {}).get("witness_quorum", 0)
        return self.policy.get("quorum", own)

    def witnessed_at(self, note):
        """When enough witnesses had cosigned a checkpoint, or None."""
        if "cosignature.invalid" in note.findings:
            return None
        for count, time in enumerate(sorted(note.times.values()), 1):
            if 0 < self.quorum(time) <= count:
                return time
        return None


class KeyRule:
    """The one validity rule for the records keys of one log."""

    def __init__(self, trust, member, kind, generation):
        self.kind, self.here = kind, generation
        self.spans = []   # (issued at, {key id: span})
        starts, revoked = {}, {}
        for roster in trust.versions:
            who = trust.of(roster, member)
            self.spans.append((roster["issued_at"], self.version(who, starts, revoked)))

    def version(self, who, starts, revoked):
        """One version's spans; a size speaks of the generation that stated it first."""
        spans = {}
        for key in (k for k in (who or {"keys": []})["keys"] if k["use"] == RECORDS):
            number, generation = bytes(key["key_id"]), who["records_generation"]
            if number not in starts or starts[number][1] != key["from_size"]:
                starts[number] = (generation, key["from_size"])
            if key["revoked_at_size"] is not None:
                revoked.setdefault(number, (generation, key["revoked_at_size"]))
            spans[number] = {
                "key": bytes(key["public_key"]), "known": key["algorithm"] == ED25519, "from": key["valid_from"],
                "to": key["valid_to"], "start": starts[number],
                "revoked": revoked.get(number) if key["revoked_at_size"] is not None else None,
            }
        for span in spans.values():
            later = [s["start"] for s in spans.values() if s["start"] > span["start"]]
            span["end"] = min(later, default=None)
        return spans

    def newest(self, number):
        for _, spans in reversed(self.spans):
            if number in spans:
                return spans[number]
        return None

    def judge(self, number, index, witnessed_at):
        """'valid', 'provisional' or 'key_invalid'."""
        place = (self.here, index)
        newest = self.newest(number)
        cut = newest["revoked"]
        if self.kind == "records" and cut is not None and cut <= place:
            return "key_invalid"
        if self.kind == "access" and cut is not None and witnessed_at is None:
            return "key_invalid"
        if witnessed_at is None:
            return "provisional"
        in_force = self.spans[0][1]
        for issued_at, spans in self.spans:
            if issued_at <= witnessed_at:
                in_force = spans
        span = in_force.get(number)
        if span is None or (self.kind == "access" and span["revoked"] is not None):
            return "key_invalid"
        if witnessed_at < span["from"] or (span["to"] and span["to"] <= witnessed_at):
            return "key_invalid"
        if self.kind == "records" and (
                place < span["start"] or (span["end"] and span["end"] <= place)):
            return "key_invalid"
        return "valid"


def load(bundle, policy, member):
    return Trust(chain(bundle, policy), policy, member)
