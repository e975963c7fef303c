package transport

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// A frame is
//
//	crc uint32 | length uint32 | type byte | payload
//
// big endian. length counts the payload; crc is CRC32C of everything behind
// itself, so that a damaged length is found out with the frame it claims.
const frameHeader = 9

// Frame types. A number is never given a second meaning.
const (
	frameAccept   byte = 1  // the hello is accepted; instance uint64
	frameGoodbye  byte = 2  // refusal or farewell; code byte, reason
	framePing     byte = 3  // the sender's clock, uint64; answered with a pong
	framePong     byte = 4  // the ping's payload
	frameRaft     byte = 5  // a raft message
	frameForward  byte = 6  // client operations
	frameReport   byte = 7  // session report
	frameSnapMeta byte = 8  // the MsgSnap of a snapshot stream
	frameSnapBody byte = 9  // a piece of its content
	frameSnapEnd  byte = 10 // the content's length, uint64
	frameSnapDone byte = 11 // the receiver has it durable
	frameRequest  byte = 12 // a call: kind byte, payload
	frameReply    byte = 13 // its reply
	frameError    byte = 14 // its error's text, or why a snapshot was not taken
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// beginFrame appends a frame's header, to be completed by endFrame with the
// offset that it returns once the payload has been appended.
func beginFrame(b []byte, typ byte) ([]byte, int) {
	at := len(b)
	return append(b, 0, 0, 0, 0, 0, 0, 0, 0, typ), at
}

func endFrame(b []byte, at int) {
	binary.BigEndian.PutUint32(b[at+4:], uint32(len(b)-at-frameHeader))
	binary.BigEndian.PutUint32(b[at:], crc32.Checksum(b[at+4:], castagnoli))
}

func appendFrame(b []byte, typ byte, payload []byte) []byte {
	b, at := beginFrame(b, typ)
	b = append(b, payload...)
	endFrame(b, at)
	return b
}

func appendFrameUint(b []byte, typ byte, v uint64) []byte {
	b, at := beginFrame(b, typ)
	b = binary.BigEndian.AppendUint64(b, v)
	endFrame(b, at)
	return b
}

// frameError says what is wrong with the bytes of a stream, as opposed to an
// error of the connection.
type badFrameError struct{ what string }

func (e *badFrameError) Error() string { return "bad frame: " + e.what }

func badFrame(format string, args ...any) error {
	return &badFrameError{fmt.Sprintf(format, args...)}
}

const (
	// readBuffer is what a reader starts with and returns to, unless its largest
	// frame is smaller.
	readBuffer = 64 << 10
	// keepBuffer is the largest buffer for reading that is kept for frames that
	// do not need it.
	keepBuffer = 2 << 20
)

// frameReader cuts a stream into frames, as many from one read as there are.
type frameReader struct {
	r io.Reader
	// max bounds a frame's payload.
	max int
	buf []byte
	// buf[start:end] has been read and not consumed.
	start, end int
}

func newFrameReader(r io.Reader, max int) *frameReader {
	return &frameReader{r: r, max: max}
}

// next returns the next frame; its payload is valid until the next call. The
// error is io.EOF if the stream ended between two frames, a *badFrameError, or
// the reader's own.
func (f *frameReader) next() (typ byte, payload []byte, err error) {
	if err := f.fill(frameHeader); err != nil {
		return 0, nil, err
	}
	head := f.buf[f.start:f.end]
	crc, length := binary.BigEndian.Uint32(head), binary.BigEndian.Uint32(head[4:])
	if uint64(length) > uint64(f.max) {
		return 0, nil, badFrame("it claims %d bytes, the bound is %d", length, f.max)
	}
	size := frameHeader + int(length)
	if err := f.fill(size); err != nil {
		return 0, nil, err
	}
	frame := f.buf[f.start : f.start+size]
	if got := crc32.Checksum(frame[4:], castagnoli); got != crc {
		return 0, nil, badFrame("its checksum is %08x, it claims %08x", got, crc)
	}
	f.start += size
	return frame[8], frame[frameHeader:size:size], nil
}

// more reports whether next would return a frame without reading.
func (f *frameReader) more() bool {
	have := f.end - f.start
	return have >= frameHeader && have-frameHeader >= int(binary.BigEndian.Uint32(f.buf[f.start+4:]))
}

// fill reads until n bytes are buffered. The buffer grows with what has
// arrived, never to a length that was merely claimed.
func (f *frameReader) fill(n int) error {
	for f.end-f.start < n {
		if f.start == f.end {
			f.start, f.end = 0, 0
			if len(f.buf) > keepBuffer && n <= readBuffer {
				f.buf = nil
			}
		}
		if f.buf == nil {
			f.buf = make([]byte, min(readBuffer, frameHeader+f.max))
		}
		if f.end == len(f.buf) || f.start+n > len(f.buf) {
			f.makeRoom()
		}
		got, err := f.r.Read(f.buf[f.end:])
		f.end += got
		if err != nil && f.end-f.start < n {
			if err == io.EOF && f.end > f.start {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

func (f *frameReader) makeRoom() {
	if f.start > 0 {
		f.end = copy(f.buf, f.buf[f.start:f.end])
		f.start = 0
	}
	if f.end == len(f.buf) {
		grown := make([]byte, 2*len(f.buf))
		f.end = copy(grown, f.buf[:f.end])
		f.buf = grown
	}
}
