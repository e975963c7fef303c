package transport

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf8"
)

// A hello is the first thing on a connection, 60 bytes, big endian:
//
//	magic [8] | version uint16 | kind byte | 0 | cluster [16] |
//	from uint64 | to uint64 | instance uint64 | length of what follows uint32 (0) | crc uint32
//
// It is answered with a frame, accept or goodbye.
const (
	helloMagic   = "CNCLPEER"
	helloVersion = 1
	helloSize    = 60
)

type hello struct {
	kind Kind
	// cluster is zero before the sender has an ensemble; only calls may be.
	cluster [16]byte
	// from is the sender's member id, to the one that it believes it is
	// calling; for a call either may be zero.
	from, to uint64
	// instance is random for every process: another one behind the same member
	// id means that the process was replaced.
	instance uint64
}

func (h hello) append(b []byte) []byte {
	at := len(b)
	b = append(b, helloMagic...)
	b = binary.BigEndian.AppendUint16(b, helloVersion)
	b = append(b, byte(h.kind), 0)
	b = append(b, h.cluster[:]...)
	b = binary.BigEndian.AppendUint64(b, h.from)
	b = binary.BigEndian.AppendUint64(b, h.to)
	b = binary.BigEndian.AppendUint64(b, h.instance)
	b = binary.BigEndian.AppendUint32(b, 0)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

// readHello reads a hello. A *RefusedError is one that the other side can
// understand and should be sent; anything else does not speak this protocol.
func readHello(r io.Reader) (hello, error) {
	var p [helloSize]byte
	// The magic first: what speaks another protocol is known by its first
	// bytes, and may never send as many as a hello has.
	if _, err := io.ReadFull(r, p[:len(helloMagic)]); err != nil {
		return hello{}, fmt.Errorf("no hello: %w", err)
	}
	if string(p[:len(helloMagic)]) != helloMagic {
		return hello{}, badFrame("not a member of an ensemble: it starts with %q", p[:len(helloMagic)])
	}
	if _, err := io.ReadFull(r, p[len(helloMagic):]); err != nil {
		return hello{}, fmt.Errorf("half a hello: %w", err)
	}
	if v := binary.BigEndian.Uint16(p[8:]); v != helloVersion {
		return hello{}, &RefusedError{RefusedVersion, fmt.Sprintf("the peer protocol's version %d is not spoken here, only %d", v, helloVersion)}
	}
	if got, want := crc32.Checksum(p[:helloSize-4], castagnoli), binary.BigEndian.Uint32(p[helloSize-4:]); got != want {
		return hello{}, badFrame("a hello's checksum is %08x, it claims %08x", got, want)
	}
	h := hello{kind: Kind(p[10])}
	copy(h.cluster[:], p[12:])
	h.from = binary.BigEndian.Uint64(p[28:])
	h.to = binary.BigEndian.Uint64(p[36:])
	h.instance = binary.BigEndian.Uint64(p[44:])
	if h.kind < KindControl || h.kind > KindCall || p[11] != 0 || binary.BigEndian.Uint32(p[52:]) != 0 {
		return hello{}, &RefusedError{RefusedProtocol, fmt.Sprintf("a hello asks for what is unknown here: %v, %d, %d", h.kind, p[11], binary.BigEndian.Uint32(p[52:]))}
	}
	return h, nil
}

// maxReason bounds the text of a goodbye or an error, in bytes.
const maxReason = 1024

func cutText(s string) string {
	if len(s) <= maxReason {
		return s
	}
	n := maxReason
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func appendGoodbye(b []byte, e *RefusedError) []byte {
	b, at := beginFrame(b, frameGoodbye)
	b = append(b, byte(e.Code))
	b = append(b, cutText(e.Reason)...)
	endFrame(b, at)
	return b
}

func parseGoodbye(p []byte) error {
	if len(p) == 0 || len(p) > 1+maxReason {
		return badFrame("a goodbye of %d bytes", len(p))
	}
	return &RefusedError{RefusalCode(p[0]), string(p[1:])}
}

func parseUint(what string, p []byte) (uint64, error) {
	if len(p) != 8 {
		return 0, badFrame("%s of %d bytes", what, len(p))
	}
	return binary.BigEndian.Uint64(p), nil
}

// parseAnswer reads the answer to a hello: the other side's instance, or why not.
func parseAnswer(typ byte, p []byte) (instance uint64, err error) {
	switch typ {
	case frameAccept:
		return parseUint("an acceptance", p)
	case frameGoodbye:
		return 0, parseGoodbye(p)
	}
	return 0, badFrame("type %d is no answer to a hello", typ)
}
