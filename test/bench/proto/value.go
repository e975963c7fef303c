package proto

import "fmt"

// ValueLen is the size of every value that the bench writes.
const ValueLen = 100

// FillValue writes the one value that node may have at version into b, which is
// ValueLen long: both numbers, and bytes that follow from them. Whoever reads it
// back can tell which write it came from, and that not a byte is of another one.
func FillValue(b []byte, node uint32, version int32) {
	_ = b[ValueLen-1]
	be.PutUint32(b, node)
	be.PutUint32(b[4:], uint32(version))
	x := uint64(node)<<32 | uint64(uint32(version))
	for at := 8; at < 96; at += 8 {
		x = mix(x)
		be.PutUint64(b[at:], x)
	}
	be.PutUint32(b[96:], uint32(mix(x)))
}

// mix is a step of a generator whose states never repeat early; any one would do.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	return x ^ x>>27
}

// CheckValue returns the version that a value read from node was written for.
func CheckValue(b []byte, node uint32) (version int32, err error) {
	if len(b) != ValueLen {
		return 0, fmt.Errorf("value of %d bytes, want %d", len(b), ValueLen)
	}
	if got := be.Uint32(b); got != node {
		return 0, fmt.Errorf("value of node %d, want node %d", got, node)
	}
	version = int32(be.Uint32(b[4:]))
	x := uint64(node)<<32 | uint64(uint32(version))
	for at := 8; at < 96; at += 8 {
		if x = mix(x); be.Uint64(b[at:]) != x {
			return 0, fmt.Errorf("value of version %d is damaged at byte %d", version, at)
		}
	}
	if be.Uint32(b[96:]) != uint32(mix(x)) {
		return 0, fmt.Errorf("value of version %d is damaged at byte 96", version)
	}
	return version, nil
}
