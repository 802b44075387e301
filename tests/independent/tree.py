"""The Merkle tree of a log over its leaf hashes, and its tiles.

Roots at any size and the names of tiles come from the PyPI package
tlog-scales, which reads the tiles from memory here.
"""

import hashlib

from tlog_scales import reader, tiles

WIDTH = 256


def leaf_hash(entry):
    return tiles.leaf_hash(bytes(entry))


def split(raw):
    """The hashes of a tile."""
    return [raw[i:i + 32] for i in range(0, len(raw), 32)]


def fold(row):
    """The root of a full tile of 256 hashes."""
    while len(row) > 1:
        row = [hashlib.sha256(b"\x01" + row[i] + row[i + 1]).digest()
               for i in range(0, len(row), 2)]
    return row[0]


def path(level, number, width=WIDTH):
    """The name of a tile below the log's directory; level -1 for entries."""
    return "/".join(tiles.tile_path(level, number, width % WIDTH))


def shape(size):
    """All hash tiles of a tree: (level, number, width)."""
    for level in range(8):
        full, rest = tiles.level_tiles(size, level)
        if not full and not rest:
            return
        yield from ((level, n, WIDTH) for n in range(full))
        if rest:
            yield level, full, rest


def bundles(size):
    """All entry bundles of a tree: (number, width)."""
    full, rest = divmod(size, WIDTH)
    yield from ((n, WIDTH) for n in range(full))
    if rest:
        yield full, rest


class Tree:
    """Tiles and roots that a list of leaf hashes makes."""

    def __init__(self, leaves):
        self.leaves = leaves
        self.levels = [leaves]
        while len(self.levels[-1]) >= WIDTH:
            row = self.levels[-1]
            full = len(row) // WIDTH * WIDTH
            self.levels.append([fold(row[i:i + WIDTH]) for i in range(0, full, WIDTH)])
        self._reader = reader.TilesReader(self)
        self._reader.set_size(len(leaves))

    def tile(self, level, number):
        return b"".join(self.levels[level][number * WIDTH:(number + 1) * WIDTH])

    def get(self, *name):
        """The reader's view: a file of a tlog-tiles directory."""
        number = 0
        for part in name[2:]:
            if part.endswith(".p"):
                number = number * 1000 + int(part.strip("x.p"))
                break
            number = number * 1000 + int(part.lstrip("x"))
        return self.tile(int(name[1]), number)

    def root(self, size):
        if not 0 <= size <= len(self.leaves):
            return None
        return self._reader.mth(0, size)
