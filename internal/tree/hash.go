package tree

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// The hash is part of the digest, which members compare with each other: it
// must come out the same in every process and in every release that shares a
// digest. hash/maphash is seeded per process, so it cannot serve.
//
// It is fast and well spread, and not meant to withstand an adversary: nothing
// trusts equal hashes to mean equal names (lookups compare the names), and
// whoever could forge two trees with one digest would only hide a defect from
// the check that looks for defects.
const (
	mulA = 0x9e3779b97f4a7c15 // the golden ratio's fraction
	mulB = 0x6a09e667f3bcc909 // the square root of 2
	mulC = 0xbb67ae8584caa73b // the square root of 3
	mulD = 0x3c6ef372fe94f82b // the square root of 5
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
	h := fold(seed, uint64(len(p)), mulB)
	n := len(p)
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
		h = fold(h, uint64(p[0])<<16|uint64(p[l>>1])<<8|uint64(p[l-1]), uint64(n))
	}
	return finish(h)
}

// rootHash is the path hash of "/".
const rootHash uint64 = mulB

// childHash is the path hash of the node called name below a node whose path
// hash is parent. It depends on the path alone, never on node ids.
func childHash(parent uint64, name string) uint64 {
	return hashBytes(parent, unsafe.Slice(unsafe.StringData(name), len(name)))
}

// text returns b as a string without copying.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
