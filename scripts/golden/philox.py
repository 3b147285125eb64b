"""Philox4x32-10 exactly as runtime/tensor/philox.go: the same seed and stream give the same numbers in both
languages, so that golden files hold losses only, never weights or data."""

import numpy as np

M0, M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)  # multipliers, table 2 of Salmon et al., SC 2011
W0, W1 = 0x9E3779B9, 0xBB67AE85  # Weyl increments: golden ratio, sqrt(3) - 1
LOW = np.uint64(0xFFFFFFFF)


def stream(name):
    """FNV-1a, 64 bits, of a name: the number of the stream that the name draws from."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return h


def words(seed, name, n):
    """The first n 32-bit words of a stream, as uint32 (n,)."""
    blocks = -(-n // 4)
    s = stream(name)
    c = [np.arange(blocks, dtype=np.uint64), np.zeros(blocks, np.uint64)]
    c += [np.full(blocks, s & 0xFFFFFFFF, np.uint64), np.full(blocks, s >> 32, np.uint64)]
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p0, p1 = M0 * c[0], M1 * c[2]
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), p1 & LOW,
             (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), p0 & LOW]
        k0, k1 = (k0 + W0) % 2**32, (k1 + W1) % 2**32
    return np.stack(c, axis=1).reshape(-1)[:n].astype(np.uint32)


def uniform(seed, name, shape, lo, hi):
    """float32 numbers of [lo, hi): lo + (hi - lo) * u with u of 24 bits, every operation in float32."""
    lo, hi = np.float32(lo), np.float32(hi)
    u = (words(seed, name, int(np.prod(shape))) >> 8).astype(np.float32) / np.float32(2**24)
    return (lo + (hi - lo) * u).reshape(shape)


def integers(seed, name, shape, n):
    """int64 numbers below n: word modulo n."""
    return (words(seed, name, int(np.prod(shape))) % np.uint32(n)).astype(np.int64).reshape(shape)


if __name__ == "__main__":  # the first known answer of Random123's kat_vectors
    s, stream = stream, lambda _: 0
    assert [hex(w) for w in words(0, "", 4)] == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]
    print("philox: known answer matches")
