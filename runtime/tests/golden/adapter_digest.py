"""Sums the rows of the golden adapter with Python's integers and prints the digest its statistics must have.

The rows come from the generator of runtime/tests/store/world.rs, written here again; the canonical form from
runtime/docs/format.md. Run: python3 adapter_digest.py FORMAT > adapter-vFORMAT/digest.txt
"""
import hashlib
import struct
import sys

DIM, BITS, ROWS = 6, 7, 12
MASK = (1 << 64) - 1


def row(n):
    limit = (1 << (BITS - 1)) - 1
    state = (n * 0x9E3779B97F4A7C15 & MASK) | 1
    latent = []
    for _ in range(DIM):
        state ^= state << 13 & MASK
        state ^= state >> 7
        state ^= state << 17 & MASK
        latent.append((state >> 11) % (2 * limit + 1) - limit)
    latent[0] = limit if n % 2 == 0 else -limit
    if n % 7 == 6:
        return latent, ["wren", "robin"], ["Zaunkönig / 鷦鷯"]
    if n % 9 == 8:
        return latent, [], []
    return latent, [["wren", "robin", "a b/c"][n % 3]], []


def total(rows):
    return [sum(column) for column in zip(*rows)] if rows else [0] * DIM


def words(values):
    return b"".join(struct.pack("<q", v) for v in values)


def canonical(kind, rows):
    latents = [latent for latent, _, _ in rows]
    names = sorted({name for _, positive, negative in rows for name in positive + negative}, key=lambda n: n.encode())
    out = b"WHBK" + bytes([1, kind, 0, 0]) + struct.pack("<IIQ", DIM, len(names), len(rows)) + words(total(latents))
    out += words(sum(q[i] * q[j] for q in latents) for i in range(DIM) for j in range(i, DIM))
    for name in names:
        encoded = name.encode()
        out += struct.pack("<H", len(encoded)) + encoded
        for labels in (1, 2) if kind == 1 else (1,):
            members = [r[0] for r in rows if name in r[labels]]
            out += struct.pack("<Q", len(members)) + words(total(members))
    return out


def kind_of(row):
    return {(0, 0): 2, (1, 0): 0}.get((len(row[1]), len(row[2])), 1)


rows = [row(n) for n in range(ROWS)]
if sys.argv[1] != "1":
    # Since format 2: what was taught once more was taken back; the second row was relabelled.
    rows[1] = rows[1][0], ["jay"], []
digest = hashlib.sha256()
for kind in range(3):
    mine = [r for r in rows if kind_of(r) == kind]
    if mine:
        digest.update(canonical(kind, mine))
print(digest.hexdigest())
