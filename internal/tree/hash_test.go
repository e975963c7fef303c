package tree

import (
	"encoding/binary"
	"math/bits"
	"strings"
	"testing"
)

// slowSip is SipHash as its authors describe it, with any number of rounds.
func slowSip(compress, final int, k0, k1 uint64, msg string) uint64 {
	v := [4]uint64{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573}
	rounds := func(n int) {
		for range n {
			v[0] += v[1]
			v[2] += v[3]
			v[1] = bits.RotateLeft64(v[1], 13)
			v[3] = bits.RotateLeft64(v[3], 16)
			v[1] ^= v[0]
			v[3] ^= v[2]
			v[0] = bits.RotateLeft64(v[0], 32)
			v[2] += v[1]
			v[0] += v[3]
			v[1] = bits.RotateLeft64(v[1], 17)
			v[3] = bits.RotateLeft64(v[3], 21)
			v[1] ^= v[2]
			v[3] ^= v[0]
			v[2] = bits.RotateLeft64(v[2], 32)
		}
	}
	padded := msg + strings.Repeat("\x00", 7-len(msg)%8) + string([]byte{byte(len(msg))})
	for ; padded != ""; padded = padded[8:] {
		m := binary.LittleEndian.Uint64([]byte(padded))
		v[3] ^= m
		rounds(compress)
		v[0] ^= m
	}
	v[2] ^= 0xff
	rounds(final)
	return v[0] ^ v[1] ^ v[2] ^ v[3]
}

func TestSipHash(t *testing.T) {
	var msg strings.Builder
	for i := range 15 {
		msg.WriteByte(byte(i))
	}
	// The example in the paper, which is of SipHash-2-4.
	if h := slowSip(2, 4, 0x0706050403020100, 0x0f0e0d0c0b0a0908, msg.String()); h != 0xa129ca6149be45e5 {
		t.Fatalf("the reference is wrong: %x", h)
	}
	for n := range 300 {
		s := strings.Repeat("a\x80zQ", 80)[:n]
		if got, want := sipHash(uint64(n)*mulC, mulA, s), slowSip(1, 3, uint64(n)*mulC, mulA, s); got != want {
			t.Fatalf("%d bytes: %x, want %x", n, got, want)
		}
	}
}

// Every bit of the input moves the fast hash, at every length.
func TestHashBytesSeesEveryBit(t *testing.T) {
	seen := map[uint64]bool{}
	total := 0
	for n := range 70 {
		b := make([]byte, n)
		for bit := -1; bit < 8*n; bit++ {
			if bit >= 0 {
				b[bit/8] ^= 1 << (bit % 8)
			}
			seen[hashBytes(7, b)] = true
			total++
			if bit >= 0 {
				b[bit/8] ^= 1 << (bit % 8)
			}
		}
	}
	if len(seen) != total {
		t.Errorf("%d inputs have %d hashes", total, len(seen))
	}
}
