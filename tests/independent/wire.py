"""Reads the protobuf messages of casegate by hand (fields as in PROTOCOL.md).

`read` takes a message apart by a table {number: (name, kind)} and, where the
protocol wants it (statements, entries, bodies), accepts only the one encoding
that a writer makes: fields in order, shortest varints, no defaults, nothing
unknown. Kinds: u unsigned, i signed, z zigzag, t text, b bytes, a dict for a
message, a `Word` for an enum; `*` before it says repeated, `?` optional with presence.

Given a list as `newer`, it passes over the fields and words that a later version may
add (PROTOCOL.md section 5), reads the words as 1, and names each in the list.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """An enum with the numbers from 1 to `most`; one that leads decides what follows it."""

    most: int
    leads: bool = False


FIELD_MAX = (1 << 29) - 1


class Malformed(Exception):
    """The bytes are not the message, or not in the one encoding."""


RANGE = {1: ("start", "u"), 2: ("end", "u")}
SIGNATURE = {1: ("key_id", "b"), 2: ("signature", "b")}
ENTRY = {1: ("statement", "b"), 2: ("signatures", ("*", SIGNATURE))}
STATEMENT = {
    1: ("version", "u"), 2: ("federation", "t"), 3: ("log", "u"),
    4: ("generation", "u"), 5: ("author", "t"), 6: ("body_type", "u"),
    7: ("body_sha256", "b"), 8: ("issued_at", "i"), 9: ("expires_at", "i"),
    10: ("key_id", "b"),
}
REASON = Word(4)
AUDIENCE = {1: ("scope", Word(4, leads=True)), 2: ("names", ("*", "t"))}
ELEMENT = {
    1: ("nonce", "b"), 2: ("federation", "t"), 3: ("member", "t"),
    4: ("case_ref", "b"), 5: ("kind", Word(23)), 6: ("token", "b"),
    7: ("token_key_id", "b"), 8: ("commitment", "b"), 9: ("role", Word(4)),
    10: ("observed_on", "z"), 11: ("audience", AUDIENCE), 12: ("handling", "t"),
    13: ("expires_at", "i"), 14: ("canonical_rules", "u"),
}
NOTICE = {
    1: ("nonce", "b"), 2: ("case_ref", "b"), 3: ("category", "t"),
    4: ("month", "u"), 5: ("desk", "t"), 6: ("expires_at", "i"),
    7: ("audience", AUDIENCE),
}
AMEND = {
    1: ("nonce", "b"), 2: ("target_index", "u"), 3: ("target_leaf", "b"),
    4: ("observed_on", "z"), 5: ("audience", AUDIENCE), 6: ("handling", "t"),
    7: ("expires_at", "i"),
}
RETRACT = {1: ("nonce", "b"), 2: ("targets", ("*", RANGE)), 3: ("reason", REASON)}
RECEIPT_ITEM = {
    1: ("range", RANGE), 2: ("state", Word(2)), 3: ("retracted_by", "u"), 4: ("at", "i"),
}
RECEIPT = {1: ("nonce", "b"), 2: ("origin", "t"), 3: ("items", ("*", RECEIPT_ITEM))}
ERASED_RANGE = {
    1: ("range", RANGE), 2: ("retracted_by", "u"), 3: ("reason", REASON),
    4: ("decided_at", "i"), 5: ("erased_at", "i"), 6: ("owed", ("*", "t")),
}
ERASURE = {1: ("nonce", "b"), 2: ("items", ("*", ERASED_RANGE))}
OPENED = {1: ("purpose", "b"), 2: ("salt", "b"), 3: ("case_ref", "b"), 4: ("count", "u")}
SEEN = {
    1: ("case_ref", "b"), 2: ("offence_class", "t"), 3: ("urgency", "t"),
    4: ("commitment", "b"), 5: ("count", "u"),
}
ASKED = {1: ("member", "t"), 2: ("outcome", "t"), 3: ("count", "u")}
ACCESS = {
    1: ("nonce", "b"), 2: ("scope", Word(6)), 3: ("query_id", "b"), 4: ("method", "t"),
    5: ("caller", "t"), 6: ("purposes", ("*", OPENED)), 7: ("seen", ("*", SEEN)),
    8: ("outcome", "t"), 9: ("count", "u"), 10: ("asked", ("*", ASKED)),
    11: ("officer_request", "b"), 12: ("officer_signature", "b"),
    13: ("officer_certificate", "b"), 14: ("log", "t"), 15: ("taken_at", "i"),
    16: ("officer_chain", ("*", "b")),
}

# Of an access line, what says who signed it; of a request, what the rules name.
ACCESS_LINE = {
    4: ("method", "t"), 5: ("caller", "t"), 8: ("outcome", "t"),
    11: ("officer_request", "b"), 12: ("officer_signature", "b"),
    13: ("officer_certificate", "b"), 15: ("taken_at", "i"), 16: ("officer_chain", ("*", "b")),
}
OFFICER = {
    1: ("method", "t"), 2: ("nonce", "b"), 3: ("signed_at", "i"), 4: ("scheme", "u"),
    5: ("request", "b"),
}
QUERY = {3: ("add", "u")}

SIGNED_ROSTER = {1: ("roster", "b"), 2: ("signatures", ("*", SIGNATURE))}
MEMBER_KEY = {
    1: ("use", "u"), 2: ("key_id", "b"), 3: ("public_key", "b"),
    4: ("valid_from", "i"), 5: ("valid_to", "i"), 6: ("revoked_at_size", ("?", "u")),
    7: ("from_size", "u"), 8: ("algorithm", "u"),
}
ROOT_KEY = {1: ("algorithm", "u"), 2: ("public_key", "b")}
FROZEN = {1: ("generation", "u"), 2: ("size", "u"), 3: ("root", "b")}
MEMBER = {
    1: ("id", "t"), 2: ("role", "u"), 3: ("name", "t"), 4: ("region", "t"), 5: ("ca", "b"),
    7: ("keys", ("*", MEMBER_KEY)), 8: ("records_generation", "u"),
    9: ("access_generation", "u"), 10: ("witnesses", ("*", "t")),
    12: ("frozen", ("*", FROZEN)),
}
POLICY = {4: ("witness_quorum", "u")}
ROSTER = {
    1: ("version", "u"), 2: ("federation", "t"), 3: ("previous_sha256", "b"),
    4: ("root_keys", ("*", ROOT_KEY)), 5: ("root_threshold", "u"),
    6: ("members", ("*", MEMBER)), 8: ("policy", POLICY), 9: ("issued_at", "i"),
    10: ("expires_at", "i"),
}

ZERO = {"u": 0, "i": 0, "z": 0, "t": "", "b": b""}


def varint(data, at, strict=True):
    """Returns (number, next position); where it is strict, only of the shortest form."""
    number = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Malformed("varint")
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if not byte & 0x80:
            if (strict and byte == 0 and shift) or number >> 64:
                raise Malformed("varint")
            return number, at
        shift += 7


def skip(data, at, wire_type):
    """Where the value of a field that is not known ends."""
    if wire_type == 0:
        return varint(data, at)[1]
    size = {1: 8, 5: 4}.get(wire_type)
    if wire_type == 2:
        size, at = varint(data, at)
    if size is None or size > len(data) - at:
        raise Malformed("unknown field")
    return at + size


def read(data, table, strict=True, newer=None):
    """Returns a dict with every field of the table."""
    out = {name: default(kind) for name, kind in table.values()}
    at, last, led = 0, 0, False
    while at < len(data):
        tag, at = varint(data, at, strict)
        number, wire_type = tag >> 3, tag & 7
        if newer is not None and number not in table:
            if not max(last, 1) <= number <= FIELD_MAX:
                raise Malformed(f"order of field {number}")
            at, last = skip(data, at, wire_type), number
            newer.append(f"field {number}")
            continue
        if wire_type == 0:
            value, at = varint(data, at, strict)
        elif wire_type in (1, 5) and not strict and number not in table:
            at += 8 if wire_type == 1 else 4
            if at > len(data):
                raise Malformed("length")
            continue
        elif wire_type == 2:
            size, at = varint(data, at, strict)
            if size > len(data) - at:
                raise Malformed("length")
            value, at = data[at:at + size], at + size
        else:
            raise Malformed("wire type")
        if number not in table:
            if strict:
                raise Malformed(f"field {number}")
            continue
        name, kind = table[number]
        repeated = isinstance(kind, tuple) and kind[0] == "*"
        present = isinstance(kind, tuple) and kind[0] == "?"
        kind = kind[1] if isinstance(kind, tuple) else kind
        if strict and (number < last or (number == last and not (repeated or led))):
            raise Malformed(f"order of {name}")
        last = number
        value = convert(value, "b" if led and kind == "t" else kind, wire_type, strict, newer)
        if isinstance(kind, Word):
            if newer is not None and value > kind.most:
                newer.append(f"{name} {value}")
                value, led = 1, kind.leads
            if strict and not 1 <= value <= kind.most:
                raise Malformed(f"{name} {value}")
        if repeated:
            out[name].append(value)
            continue
        if strict and not present and isinstance(kind, str) and value == ZERO[kind]:
            raise Malformed(f"default of {name}")
        out[name] = value
    return out


def default(kind):
    if isinstance(kind, tuple):
        return [] if kind[0] == "*" else None
    if isinstance(kind, Word):
        return 0
    return None if isinstance(kind, dict) else ZERO[kind]


def convert(value, kind, wire_type, strict, newer):
    if wire_type != (0 if isinstance(kind, Word) or kind in ("u", "i", "z") else 2):
        raise Malformed("wire type")
    if isinstance(kind, Word) and value >= 1 << 31:
        raise Malformed("word")
    if isinstance(kind, dict):
        return read(value, kind, strict, newer)
    if kind == "t":
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed("text") from None
    if kind == "i":
        return value - (1 << 64) if value >> 63 else value
    if kind == "z":
        return (value >> 1) ^ -(value & 1)
    return value
