package wire

import (
	"encoding/hex"
	"testing"
	"time"
)

func TestHandshakeBytes(t *testing.T) {
	q := ConnectRequest{LastZxidSeen: 5, Timeout: 4 * time.Second, SessionID: 0x0102030405060708, Passwd: []byte{9}}
	want := "00000000" + "0000000000000005" + "00000fa0" + "0102030405060708" + "0000000109"
	q.OmitReadOnly = true
	if got := hex.EncodeToString(q.Encode()); got != want {
		t.Errorf("without the read-only byte: %s, want %s", got, want)
	}
	q.OmitReadOnly, q.ReadOnly = false, true
	if got := hex.EncodeToString(q.Encode()); got != want+"01" {
		t.Errorf("with the read-only byte: %s, want %s01", got, want)
	}
	body, _ := hex.DecodeString("00000000" + "00000fa0" + "0000000000000007" + "00000002aabb" + "00")
	resp, err := DecodeConnectResponse(body)
	if err != nil || resp.Timeout != 4*time.Second || resp.SessionID != 7 || string(resp.Passwd) != "\xaa\xbb" || !resp.HasReadOnly || resp.ReadOnly {
		t.Errorf("decoded %+v, %v", resp, err)
	}
	if resp, err := DecodeConnectResponse(body[:len(body)-1]); err != nil || resp.HasReadOnly {
		t.Errorf("without the last byte: %+v, %v", resp, err)
	}
}

func TestReaderStopsAtTheEnd(t *testing.T) {
	for _, body := range []string{"", "0000", "00000005aabb", "ffffffff00"} {
		raw, _ := hex.DecodeString(body)
		r := NewReader(raw)
		_ = r.Strings()
		if r.Done() == nil {
			t.Errorf("%q was read as a complete vector of strings", body)
		}
	}
	w := new(Writer).Strings("a", "bc").ACLs(OpenACL).Buffer(nil)
	r := NewReader(w.Bytes())
	if ss := r.Strings(); len(ss) != 2 || ss[1] != "bc" {
		t.Errorf("strings: %q", ss)
	}
	if acls := r.ACLs(); len(acls) != 1 || acls[0] != OpenACL[0] {
		t.Errorf("ACLs: %+v", acls)
	}
	if b := r.Buffer(); b != nil {
		t.Errorf("buffer: %x, want nil", b)
	}
	if err := r.Done(); err != nil {
		t.Error(err)
	}
}
