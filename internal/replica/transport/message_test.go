package transport

import (
	"bytes"
	"fmt"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

func appMessage(entries, size int) *raftpb.Message {
	m := &raftpb.Message{
		Type: raftpb.MsgApp.Enum(), To: new(uint64(2)), From: new(uint64(1)), Term: new(uint64(7)),
		LogTerm: new(uint64(7)), Index: new(uint64(100000)), Commit: new(uint64(99999)),
	}
	for i := range entries {
		m.Entries = append(m.Entries, &raftpb.Entry{
			Type: raftpb.EntryNormal.Enum(), Term: new(uint64(7)), Index: new(uint64(100001 + i)),
			Data: bytes.Repeat([]byte{byte(i)}, size),
		})
	}
	return m
}

func sampleMessages() map[string]*raftpb.Message {
	huge := ^uint64(0)
	return map[string]*raftpb.Message{
		"empty":     {},
		"heartbeat": {Type: raftpb.MsgHeartbeat.Enum(), To: new(uint64(2)), From: new(uint64(1)), Term: new(uint64(3)), Commit: new(uint64(0)), Context: []byte("ctx")},
		"zeroes":    {Type: raftpb.MsgHup.Enum(), To: new(uint64(0)), From: new(uint64(0)), Reject: new(false), Context: []byte{}},
		"reject":    {Type: raftpb.MsgAppResp.Enum(), Index: new(huge), Reject: new(true), RejectHint: new(huge), LogTerm: new(huge), Vote: new(huge)},
		"app":       appMessage(3, 10),
		"app0":      appMessage(1, 0),
		"conf change": {Type: raftpb.MsgProp.Enum(), Entries: []*raftpb.Entry{
			{Type: raftpb.EntryConfChangeV2.Enum(), Data: []byte("cc")}, {Term: new(uint64(1))}, {}}},
		"snapshot": {Type: raftpb.MsgSnap.Enum(), To: new(uint64(2)), Snapshot: &raftpb.Snapshot{Data: []byte("x"), Metadata: &raftpb.SnapshotMetadata{
			Index: new(uint64(5)), Term: new(uint64(2)), ConfState: &raftpb.ConfState{Voters: []uint64{1, 2}, Learners: []uint64{3}, AutoLeave: new(false)}}}},
	}
}

func TestMessagesSurviveEncoding(t *testing.T) {
	for name, m := range sampleMessages() {
		b, err := appendMessage([]byte("before"), m)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		enc := b[len("before"):]
		if len(enc) > messageBound(m) {
			t.Errorf("%s: %d bytes, the bound said %d", name, len(enc), messageBound(m))
		}
		got, err := decodeMessage(enc)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !proto.Equal(got, m) {
			t.Errorf("%s: got %v, want %v", name, got, m)
		}
		for i := range enc { // nothing of the input may be kept
			enc[i] ^= 0xff
		}
		if !proto.Equal(got, m) {
			t.Errorf("%s: the message changed with the buffer it was decoded from", name)
		}
	}
}

// A new version of raft may add fields that this encoding would drop.
func TestEncodingKnowsEveryField(t *testing.T) {
	for _, c := range []struct {
		m    proto.Message
		want string
	}{
		{&raftpb.Message{}, "[type to from term logTerm index entries commit vote snapshot reject rejectHint context responses]"},
		{&raftpb.Entry{}, "[Term Index Type Data]"},
	} {
		fields := c.m.ProtoReflect().Descriptor().Fields()
		var names []string
		for i := range fields.Len() {
			names = append(names, string(fields.Get(i).Name()))
		}
		if got := fmt.Sprint(names); got != c.want {
			t.Errorf("%T has the fields %s; the encoding was written for %s", c.m, got, c.want)
		}
	}
	if n := len(raftpb.EntryType_name); n > entryTypeMask+1 {
		t.Errorf("raft has %d types of entries, the encoding has room for %d", n, entryTypeMask+1)
	}
}

func TestMessagesForStorageAreNotSent(t *testing.T) {
	m := &raftpb.Message{Type: raftpb.MsgStorageAppend.Enum(), Responses: []*raftpb.Message{{}}}
	if b, err := appendMessage(nil, m); err != errNotForWire || len(b) != 0 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
}

func TestDamagedMessagesAreRefused(t *testing.T) {
	enc, err := appendMessage(nil, appMessage(2, 5))
	if err != nil {
		t.Fatal(err)
	}
	for n := range enc {
		if m, err := decodeMessage(enc[:n]); err == nil {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(enc), m)
		}
	}
	if _, err := decodeMessage(append(enc, 0)); err == nil {
		t.Fatal("a byte too many was accepted")
	}
	claims := []byte{byte(raftpb.MsgApp), hasEntries >> 8, hasEntries & 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f}
	if _, err := decodeMessage(claims); err == nil {
		t.Fatal("four billion entries in no bytes were accepted")
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, n := range []int{0, 1, 16, 128} {
		m := appMessage(n, 1024)
		size := int64(proto.Size(m))
		b.Run(fmt.Sprintf("ours/entries=%d", n), func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				buf, _ = appendMessage(buf[:0], m)
			}
		})
		b.Run(fmt.Sprintf("protobuf/entries=%d", n), func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				buf, _ = proto.MarshalOptions{}.MarshalAppend(buf[:0], m)
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, n := range []int{0, 1, 16, 128} {
		m := appMessage(n, 1024)
		size := int64(proto.Size(m))
		ours, _ := appendMessage(nil, m)
		theirs, _ := proto.Marshal(m)
		b.Run(fmt.Sprintf("ours/entries=%d", n), func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decodeMessage(ours); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("protobuf/entries=%d", n), func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				if err := proto.Unmarshal(theirs, new(raftpb.Message)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
