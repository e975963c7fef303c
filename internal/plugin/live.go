package plugin

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	v1alpha1 "github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/projection/mirror"
	"github.com/conclave-dev/conclave/internal/projection/stream"
)

// ranked is how many sessions' silences the leader tells as of now: all it ranks.
const ranked = 100

// live is a cluster as its leader tells it.
type live struct {
	c       *command
	cluster *v1alpha1.CoordinationCluster
	mirror  *mirror.Mirror
	source  stream.Receiver
	stop    func()
	pods    map[netip.Addr]string
}

// follow connects to the leader and returns once everything has been told. Close
// ends it.
func (c *command) follow(ctx context.Context, name string) (*live, error) {
	l := &live{c: c, mirror: mirror.New(), pods: make(map[netip.Addr]string)}
	if err := l.connect(ctx, name); err != nil {
		return nil, err
	}
	for whole, beat := false, false; !whole || !beat; {
		u, _, err := l.next()
		if err != nil {
			l.close()
			return nil, err
		}
		whole, beat = l.mirror.Whole(), beat || u.Heartbeat != nil
	}
	return l, nil
}

func (l *live) connect(ctx context.Context, name string) (err error) {
	if l.cluster, err = l.c.world.Cluster(ctx, name); err != nil {
		return err
	}
	l.source, l.stop, err = l.c.world.Watch(ctx, l.cluster, stream.Request(l.mirror, nil, ranked, true))
	return err
}

// next takes in one message.
func (l *live) next() (*mirror.Update, mirror.Delta, error) {
	msg, err := l.source.Recv()
	if err != nil {
		return nil, mirror.Delta{}, err
	}
	u, err := stream.Update(msg)
	if err != nil {
		return nil, mirror.Delta{}, err
	}
	d, err := l.mirror.Apply(u, l.c.world.Now())
	return u, d, err
}

func (l *live) close() { l.stop() }

// member is the pod of a member.
func (l *live) member(id uint64) string {
	hex := strconv.FormatUint(id, 16)
	for _, m := range l.cluster.Status.Members {
		if n, err := strconv.ParseUint(m.ID, 16, 64); err == nil && n == id && id != 0 {
			return m.Pod
		}
	}
	if id == 0 {
		return ""
	}
	return hex
}

// pod is the pod of a client.
func (l *live) pod(ctx context.Context, client netip.AddrPort) string {
	if !client.IsValid() {
		return ""
	}
	name, ok := l.pods[client.Addr()]
	if !ok {
		name = l.c.world.PodAt(ctx, client.Addr())
		l.pods[client.Addr()] = name
	}
	return name
}

func clientOf(s mirror.Session) string {
	if !s.Client.IsValid() {
		return ""
	}
	return s.Client.String()
}

func sessionID(id uint64) string { return fmt.Sprintf("0x%x", id) }

// silence of a session, the leader's ranking considered.
func silence(d time.Duration) string { return d.Truncate(10 * time.Millisecond).String() }
