package tree

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// Two hashes, for two purposes. Both are part of the digest, which members
// compare with each other: they must come out the same in every process and in
// every release that shares a digest, so that hash/maphash, seeded per process,
// can't serve.
//
// Names are what clients choose and what the index is searched by. A client
// that could make many paths with one hash would turn every lookup among them
// into a walk along them all. So names go through SipHash-1-3, with the
// parent's path hash for a key, and the index adds a secret of its own (see
// index.mix).
//
// Data and stats go through hashBytes and fold, which are faster and no match
// for an adversary: whoever forges two trees with one digest has only hidden a
// defect from the check that looks for defects.
const (
	mulA = 0x9e3779b97f4a7c15 // the golden ratio's fraction
	mulB = 0x6a09e667f3bcc909 // the square root of 2's
	mulC = 0xbb67ae8584caa73b // the square root of 3's
	mulD = 0x3c6ef372fe94f82b // the square root of 5's
)

// fold mixes two words into h. h is added again, rotated, because a product
// with 0 would otherwise forget it.
func fold(h, a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^mulA, b^h)
	return (hi ^ lo) + bits.RotateLeft64(h, 23)
}

// finish spreads the last bits over the whole word.
func finish(h uint64) uint64 {
	hi, lo := bits.Mul64(h^mulC, mulD)
	return hi ^ lo
}

// hashBytes hashes p under a seed.
func hashBytes(seed uint64, p []byte) uint64 {
	le := binary.LittleEndian
	n := uint64(len(p))
	h := fold(seed, n, mulB)
	for ; len(p) > 16; p = p[16:] {
		h = fold(h, le.Uint64(p), le.Uint64(p[8:]))
	}
	// The tail's two reads may overlap: with the length in h, that loses nothing.
	switch l := len(p); {
	case l >= 8:
		h = fold(h, le.Uint64(p), le.Uint64(p[l-8:]))
	case l >= 4:
		h = fold(h, uint64(le.Uint32(p)), uint64(le.Uint32(p[l-4:])))
	case l > 0:
		h = fold(h, uint64(p[0])<<16|uint64(p[l>>1])<<8|uint64(p[l-1]), n)
	}
	return finish(h)
}

// rootHash is the path hash of "/".
const rootHash uint64 = mulB

// childHash is the path hash of the node called name below a node whose path
// hash is parent. It depends on the path alone, never on node ids, and is never
// 0.
func childHash(parent uint64, name string) uint64 {
	return max(sipHash(parent, mulA, name), 1)
}

// sipHash is SipHash with one round for each word of s and three at the end.
func sipHash(k0, k1 uint64, s string) uint64 {
	v0, v1 := k0^0x736f6d6570736575, k1^0x646f72616e646f6d
	v2, v3 := k0^0x6c7967656e657261, k1^0x7465646279746573
	p := unsafe.Slice(unsafe.StringData(s), len(s))
	for ; len(p) >= 8; p = p[8:] {
		m := binary.LittleEndian.Uint64(p)
		v3 ^= m
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0 ^= m
	}
	// What is left, up to 7 bytes, and the length in the top byte.
	m := uint64(len(s)) << 56
	for i, c := range p {
		m |= uint64(c) << (8 * i)
	}
	v3 ^= m
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0 ^= m
	v2 ^= 0xff
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	return v0 ^ v1 ^ v2 ^ v3
}

func sipRound(v0, v1, v2, v3 uint64) (_, _, _, _ uint64) {
	v0 += v1
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v3
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 += v3
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 += v1
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}

// text returns b as a string without copying.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
