package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/pace"
)

const (
	// rarely is how often status is written for nothing but drift.
	rarely = time.Minute
	// lagging is how many log entries a member is behind or not, and nobody minds.
	lagging = 100
)

// weight is what there is in a status that was not in the one before.
type weight int

const (
	nothing weight = iota
	// drift moves with every client's doings, by little: who looks at it once in a
	// while knows as much.
	drift
	// figures are what has moved by much, and the words of conditions and of members.
	figures
	// news is everything else: latches, the target, a step, who leads, who is ready, a
	// condition's status and reason.
	news
)

// weigh tells what is new in what a pass writes.
func weigh(was, is *v1alpha1.CoordinationClusterStatus) weight {
	was, is = unshown(was), unshown(is)
	switch {
	case equality.Semantic.DeepEqual(was, is):
		return nothing
	case !equality.Semantic.DeepEqual(unfigured(was), unfigured(is)):
		return news
	}
	// The members are the same ones.
	for i := range is.Members {
		m, before := &is.Members[i], &was.Members[i]
		m.Zxid = before.Zxid
		if !moved(before.Connections, m.Connections, 0) {
			m.Connections = before.Connections
		}
		if !moved(before.Lag, m.Lag, lagging) {
			m.Lag = before.Lag
		}
	}
	if equality.Semantic.DeepEqual(was, is) {
		return drift
	}
	return figures
}

// moved tells whether a figure has moved by more than an eighth, and by more than
// what is little.
func moved(was, is, little int64) bool {
	by := max(was-is, is-was)
	return by > little && by > was/8
}

// unfigured is status without figures and words. Words are among them since they
// may have figures in them, and whatever a member or the network says of a failure;
// where they tell of something else, a reason is another one.
func unfigured(s *v1alpha1.CoordinationClusterStatus) *v1alpha1.CoordinationClusterStatus {
	out := s.DeepCopy()
	for i := range out.Members {
		m := &out.Members[i]
		m.Zxid, m.Connections, m.Lag, m.Message = "", 0, 0, ""
	}
	for i := range out.Conditions {
		out.Conditions[i].Message = ""
	}
	if out.Rollout != nil {
		out.Rollout.SessionsExpired, out.Rollout.Message = 0, ""
	}
	if out.Recovery != nil {
		out.Recovery.Message = ""
	}
	return out
}

// worthWriting tells whether status is written in this pass. News are, always. What
// clients bring about waits for its turn among all clusters, and whoever does not
// have it looks again then; so no more is written of it than may be, whatever
// clients do.
func (p *pass) worthWriting() bool {
	now, w, writer := p.Now(), weigh(&p.cluster.Status, p.status), passWriter(p.key)
	switch {
	case w == nothing:
		p.Turns.Leave(writer)
		return false
	case w == news || p.lock:
		p.Turns.Pass(writer, now)
		return true
	case w == drift && now.Sub(p.figured.at(p.key)) < rarely:
		p.Turns.Leave(writer)
		return false
	}
	ok, again := p.Turns.Take(writer, pace.Calm, now)
	if !ok {
		p.again = min(p.again, max(again.Sub(now), soon))
	}
	return ok
}

// passWriter is who a pass is among those who write status.
func passWriter(cluster client.ObjectKey) pace.Writer {
	return pace.Writer{Cluster: cluster, Part: "members"}
}

// moments are when the status of each cluster was written last. An operator that
// starts knows of none.
type moments struct {
	mu   sync.Mutex
	have map[client.ObjectKey]time.Time
}

func (m *moments) at(cluster client.ObjectKey) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.have[cluster]
}

func (m *moments) note(cluster client.ObjectKey, t time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.have == nil {
		m.have = map[client.ObjectKey]time.Time{}
	}
	m.have[cluster] = t
}

func (m *moments) forget(cluster client.ObjectKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.have, cluster)
}
