package transport

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"google.golang.org/protobuf/proto"
)

// FuzzFrames: whatever arrives, and in whatever pieces, the reader yields the
// same frames, each of them one that was encoded, and then an error.
func FuzzFrames(f *testing.F) {
	two := appendFrameUint(appendFrame(nil, frameForward, []byte("batch")), framePing, 7)
	f.Add(two)
	f.Add(two[:len(two)-3])
	f.Add(appendGoodbye(nil, &RefusedError{RefusedBusy, "busy"}))
	f.Add(bytes.Repeat(appendFrame(nil, frameReport, bytes.Repeat([]byte("x"), 300)), 5))
	f.Fuzz(func(t *testing.T, p []byte) {
		const max = 1 << 10
		whole := newFrameReader(bytes.NewReader(p), max)
		pieces := newFrameReader(iotest.OneByteReader(bytes.NewReader(p)), max)
		var seen []byte
		for {
			typ, payload, err := whole.next()
			typ2, payload2, err2 := pieces.next()
			if typ != typ2 || !bytes.Equal(payload, payload2) || (err == nil) != (err2 == nil) || err != nil && err.Error() != err2.Error() {
				t.Fatalf("at once: %d %q %v; in pieces: %d %q %v", typ, payload, err, typ2, payload2, err2)
			}
			if err != nil {
				bad := new(badFrameError)
				if err != io.EOF && err != io.ErrUnexpectedEOF && !errors.As(err, &bad) {
					t.Fatalf("an error of its own making: %v", err)
				}
				if err == io.EOF && len(seen) != len(p) {
					t.Fatalf("the end after %d of %d bytes", len(seen), len(p))
				}
				break
			}
			seen = appendFrame(seen, typ, payload)
		}
		if !bytes.HasPrefix(p, seen) {
			t.Fatalf("frames that were not sent: %q from %q", seen, p)
		}
	})
}

// FuzzHello: a hello that is understood is one that would be sent.
func FuzzHello(f *testing.F) {
	f.Add(goodHello(KindData).append(nil))
	f.Add(hello{kind: KindCall}.append(nil))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		h, err := readHello(bytes.NewReader(p))
		if err != nil {
			return
		}
		if again := h.append(nil); !bytes.Equal(again, p[:helloSize]) {
			t.Fatalf("%+v\nfrom %x\nsent %x", h, p[:helloSize], again)
		}
	})
}

// FuzzMessage: a message that is understood survives being sent on.
func FuzzMessage(f *testing.F) {
	for _, m := range sampleMessages() {
		b, err := appendMessage(nil, m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		m, err := decodeMessage(p)
		if err != nil {
			return
		}
		b, err := appendMessage(nil, m)
		if err != nil {
			t.Fatalf("%v cannot be sent on: %v", m, err)
		}
		if len(b) > messageBound(m) {
			t.Fatalf("%d bytes, the bound said %d", len(b), messageBound(m))
		}
		if again, err := decodeMessage(b); err != nil || !proto.Equal(again, m) {
			t.Fatalf("%v became %v, %v", m, again, err)
		}
	})
}
