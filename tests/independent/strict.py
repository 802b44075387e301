"""Ed25519 with the strict verdict of the protocol.

The signature itself is checked by OpenSSL through `cryptography`, which is
cofactorless and refuses a large S. What it leaves open is checked here: keys
and R must be canonical points of not small order, keys of prime order.
"""

from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def decode(raw):
    """Returns the point (x, y), or None when the bytes are not its one spelling."""
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if len(raw) != 32 or y >= P:
        return None
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P != u:
        x = x * pow(2, (P - 1) // 4, P) % P
    if v * x * x % P != u or (x == 0 and sign):
        return None
    return (P - x if x & 1 != sign else x, y)


def add(a, b):
    (x1, y1), (x2, y2) = a, b
    k = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P
    return x, (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P


def times(n, point):
    total = (0, 1)
    while n:
        if n & 1:
            total = add(total, point)
        point, n = add(point, point), n >> 1
    return total


# The y of all points of small order: 1, -1, 0 and those of order eight.
SMALL_Y = frozenset({
    1, P - 1, 0,
    int.from_bytes(bytes.fromhex(
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"),
    int.from_bytes(bytes.fromhex(
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"),
})


@lru_cache(maxsize=None)
def public_key(raw):
    """Returns the key, or None when the protocol refuses it."""
    point = decode(raw)
    if point is None or point[1] in SMALL_Y or times(L, point) != (0, 1):
        return None
    return Ed25519PublicKey.from_public_bytes(raw)


def holds(raw_key, signature, message):
    """Says whether the signature holds, strictly."""
    key = public_key(bytes(raw_key))
    if key is None or len(signature) != 64:
        return False
    y = int.from_bytes(signature[:32], "little") & (2**255 - 1)
    if y >= P or y in SMALL_Y:
        return False
    try:
        key.verify(bytes(signature), message)
    except InvalidSignature:
        return False
    return True
