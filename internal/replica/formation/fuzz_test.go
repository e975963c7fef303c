package formation

import (
	"reflect"
	"testing"
)

func sampleState() State {
	by := Identity{1, 101}
	return State{
		Self: Identity{2, 1 << 63}, Servers: lines(), Promised: Ballot{7, by}, Accepted: Ballot{6, by}, Decided: true, Seats: []Identity{by, {2, 5}},
		Value: &Value{ClusterID: ClusterID{1, 2, 3}, FoundedAt: -1, Voters: []Voter{{N: 1, ID: 101, Addr: "zk1:2888"}, {N: 2, ID: 5, Vacant: true}}},
	}
}

func sampleMessages() (*Request, *Reply) {
	st := sampleState()
	return &Request{Op: OpAccept, From: st.Self, To: 9, Servers: st.Servers, Ballot: st.Promised, Seats: st.Seats, Value: st.Value},
		&Reply{Code: CodeBallot, Reason: "because", From: st.Self, Servers: st.Servers, Promised: st.Promised, Accepted: st.Accepted,
			Value: st.Value, Decided: true, Seats: st.Seats, ClusterID: st.Value.ClusterID}
}

func TestMessagesSurviveEncoding(t *testing.T) {
	req, rep := sampleMessages()
	if got, err := DecodeRequest(req.Encode()); err != nil || !reflect.DeepEqual(got, req) {
		t.Errorf("request: %+v, %v", got, err)
	}
	if got, err := DecodeReply(rep.Encode()); err != nil || !reflect.DeepEqual(got, rep) {
		t.Errorf("reply: %+v, %v", got, err)
	}
	st := sampleState()
	if got, err := DecodeState(st.Encode()); err != nil || !reflect.DeepEqual(*got, st) {
		t.Errorf("state: %+v, %v", got, err)
	}
	for what, decode := range map[string]func([]byte) error{
		"request": func(p []byte) error { _, err := DecodeRequest(p); return err },
		"reply":   func(p []byte) error { _, err := DecodeReply(p); return err },
		"state":   func(p []byte) error { _, err := DecodeState(p); return err },
	} {
		whole := map[string][]byte{"request": req.Encode(), "reply": rep.Encode(), "state": st.Encode()}[what]
		for n := range whole {
			if decode(whole[:n]) == nil {
				t.Fatalf("a %s cut to %d of %d bytes was accepted", what, n, len(whole))
			}
		}
	}
	none := State{Self: st.Self, Accepted: st.Accepted}
	if _, err := DecodeState(none.Encode()); err == nil {
		t.Error("an accepted value that is missing was accepted")
	}
}

// FuzzDecode: what is understood survives being said again, and an acceptor
// that is asked it does not fall over.
func FuzzDecode(f *testing.F) {
	req, rep := sampleMessages()
	st := sampleState()
	f.Add(req.Encode())
	f.Add(rep.Encode())
	f.Add(st.Encode())
	f.Add((&Request{Op: OpProbe, From: Identity{3, 103}, To: 1, Servers: lines()}).Encode())
	f.Add((&Request{Op: OpDecide, From: Identity{3, 103}, To: 1, Servers: lines()}).Encode())
	f.Add((&JoinRequest{N: 3, PeerAddr: "a:1"}).Encode())
	f.Add((&JoinReply{Accepted: true, Peers: []Peer{{1, "a:1"}}}).Encode())
	f.Fuzz(func(t *testing.T, p []byte) {
		if r, err := DecodeRequest(p); err == nil {
			if again, err := DecodeRequest(r.Encode()); err != nil || !reflect.DeepEqual(again, r) {
				t.Fatalf("%+v became %+v, %v", r, again, err)
			}
			a, err := NewAcceptor(Config{Self: Identity{1, 101}, Servers: lines()}, nil)
			if err != nil {
				t.Fatal(err)
			}
			next, reply := a.Handle(r)
			if reply.Code != CodeOK && !reflect.DeepEqual(next, a.State) {
				t.Fatalf("%+v was refused (%s) and changed the state to %+v", r, reply.Reason, next)
			}
			if _, err := DecodeState(next.Encode()); err != nil {
				t.Fatalf("%+v left a state that cannot be read: %v", r, err)
			}
		}
		if r, err := DecodeReply(p); err == nil {
			if again, err := DecodeReply(r.Encode()); err != nil || !reflect.DeepEqual(again, r) {
				t.Fatalf("%+v became %+v, %v", r, again, err)
			}
		}
		if r, err := DecodeState(p); err == nil {
			if again, err := DecodeState(r.Encode()); err != nil || !reflect.DeepEqual(again, r) {
				t.Fatalf("%+v became %+v, %v", r, again, err)
			}
		}
		if r, err := DecodeJoinRequest(p); err == nil {
			if again, err := DecodeJoinRequest(r.Encode()); err != nil || !reflect.DeepEqual(again, r) {
				t.Fatalf("%+v became %+v, %v", r, again, err)
			}
		}
		if r, err := DecodeJoinReply(p); err == nil {
			if again, err := DecodeJoinReply(r.Encode()); err != nil || !reflect.DeepEqual(again, r) {
				t.Fatalf("%+v became %+v, %v", r, again, err)
			}
		}
	})
}
