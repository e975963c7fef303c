package formation_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/internal/replica/formation"
	"github.com/conclave-dev/conclave/internal/replica/transport"
	"go.etcd.io/raft/v3/raftpb"
)

// member is what a replica will be: a transport whose calls go to a node, and
// which takes on the identity that comes out.
type member struct {
	node *formation.Node
	t    *transport.Transport
	// streams gets an id for every peer that is connected.
	streams chan uint64
}

func (m *member) Raft(uint64, *raftpb.Message) {}
func (m *member) Forward(uint64, []byte)       {}
func (m *member) Report(uint64, []byte)        {}
func (m *member) Delivered()                   {}
func (m *member) Snapshot(uint64, *raftpb.Message, io.Reader) error {
	return errors.New("no snapshots here")
}
func (m *member) PeerConnected(id uint64)      { m.streams <- id }
func (m *member) PeerLost(uint64, error, bool) {}
func (m *member) Unreachable(uint64)           {}
func (m *member) Call(_ net.Addr, kind byte, payload []byte) ([]byte, error) {
	if kind != formation.CallFormation {
		return nil, errors.New("unknown call")
	}
	return m.node.HandleCall(payload)
}

// From empty directories to streams between the members of an ensemble, over TCP.
func TestFoundingOverTheNetwork(t *testing.T) {
	var members []*member
	var servers []formation.Server
	for n := uint64(1); n <= 3; n++ {
		m := &member{streams: make(chan uint64, 100)}
		var err error
		m.t, err = transport.New(transport.Options{Listen: "127.0.0.1:0", Handler: m, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer m.t.Close()
		members = append(members, m)
		servers = append(servers, formation.Server{N: n, Addr: m.t.Addr().String()})
	}
	var wg sync.WaitGroup
	for i, m := range members {
		self := formation.Identity{N: uint64(i + 1), MemberID: uint64(1000 + i)}
		var err error
		m.node, err = formation.NewNode(formation.Config{Self: self, Servers: servers}, nil, formation.Env{
			Call: func(ctx context.Context, addr string, request []byte) ([]byte, error) {
				return m.t.Call(ctx, addr, formation.CallFormation, request)
			},
			Persist: func([]byte) error { return nil },
			Logger:  slog.New(slog.DiscardHandler),
			Timing:  formation.DefaultTiming(time.Minute),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, m := range members {
		m.t.Start()
		wg.Go(func() {
			out, err := m.node.Run(t.Context())
			if err != nil || out.Founded == nil {
				t.Errorf("server.%d: %+v, %v", i+1, out, err)
				return
			}
			peers := map[uint64]string{}
			for _, v := range out.Founded.Voters {
				if !v.Vacant {
					peers[v.ID] = v.Addr
				}
			}
			m.t.SetIdentity(out.Founded.ClusterID, uint64(1000+i))
			m.t.SetPeers(peers)
		})
	}
	wg.Wait()
	for _, m := range members {
		for seen := map[uint64]bool{}; len(seen) < 2 && !t.Failed(); {
			seen[<-m.streams] = true
		}
	}
}
