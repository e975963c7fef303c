// Package fake is a cluster's members in memory: processes on volumes that found
// an ensemble, join it, lose and regain it as the real ones do, as far as the
// operator can see. It keeps the rules of the admin API, refusals included, and
// notes what must never happen.
//
// Nothing goes on by itself: Tick is one moment in which everybody hears of
// everything.
//
// In the room: what adminpb promises. Not in the room: Kubernetes, and time.
package fake

import (
	"fmt"
	"slices"
	"sync"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
)

// World is all members that there are.
type World struct {
	mu        sync.Mutex
	volumes   map[string]*Volume
	procs     map[string]*Process
	ensembles map[string]*group
	nextID    uint64

	// Founded are the ids of the ensembles that Bootstrap made, in order.
	Founded []string
	// Orders are the calls that changed something, for messages of tests.
	Orders []string
	// OnCall, if set, is asked before each order; an error is returned in place of
	// carrying it out.
	OnCall func(pod, call string) error
	// OnDone, if set, is asked after each order that was carried out; an error is
	// returned in place of its answer, as when the answer is lost.
	OnDone func(pod, call string) error
}

// Volume is a disk. It belongs to a pod's name.
type Volume struct {
	ID         uint64
	Cluster    string
	Removed    bool
	Superseded bool
	Former     []string
	// Damaged: it can't be read.
	Damaged bool

	match uint64
	known config
}

// Process is a member that runs. Tests set its fields.
type Process struct {
	Name int32
	// Silent: it does not answer the operator.
	Silent bool
	// Cut: it does not reach the other members.
	Cut bool
	// Slow: it does not catch up.
	Slow bool
	// Connections are its clients. A drain lets one of them go at each Tick.
	Connections int64
	// Version is what it says it runs.
	Version string

	draining bool
	restart  bool
	vol      *Volume
	pod      string
}

type config struct {
	index   uint64
	members []seat
}

type seat struct {
	id       uint64
	name     int32
	voter    bool
	observer bool
	peer     string
	client   string
}

type group struct {
	last   uint64
	term   uint64
	leader uint64
	conf   config
}

// New makes an empty world.
func New() *World {
	return &World{volumes: map[string]*Volume{}, procs: map[string]*Process{}, ensembles: map[string]*group{}, nextID: 0x100}
}

func (w *World) freshID() uint64 { w.nextID++; return w.nextID }

// Start starts the member of a pod, on its volume if there is one.
func (w *World) Start(pod string, name int32) *Process {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.procs[pod]; p != nil {
		return p
	}
	if w.volumes[pod] == nil {
		w.volumes[pod] = &Volume{ID: w.freshID()}
	}
	p := &Process{Name: name, vol: w.volumes[pod], pod: pod, Version: "1"}
	w.procs[pod] = p
	return p
}

// Stop ends the member of a pod; its volume stays.
func (w *World) Stop(pod string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.procs, pod)
	w.settle()
}

// LoseVolume ends the member of a pod and destroys its volume.
func (w *World) LoseVolume(pod string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.procs, pod)
	delete(w.volumes, pod)
	w.settle()
}

// Damage makes a volume unreadable.
func (w *World) Damage(pod string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if v := w.volumes[pod]; v != nil {
		v.Damaged = true
	}
	w.settle()
}

// Volumes returns the pods that have a volume, in order.
func (w *World) Volumes() (pods []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for pod := range w.volumes {
		pods = append(pods, pod)
	}
	slices.Sort(pods)
	return pods
}

// Process returns the member that runs in a pod, or nil.
func (w *World) Process(pod string) *Process {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.procs[pod]
}

// Healthy tells whether every member of the ensemble runs, is connected and in
// sync, so that one of them may fail.
func (w *World) Healthy(cluster string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.ensembles[cluster]
	if g == nil || g.leader == 0 {
		return false
	}
	for _, s := range g.conf.members {
		if !w.synced(g, cluster, s) {
			return false
		}
	}
	return true
}

// Voters returns the server numbers of an ensemble's voters, in order.
func (w *World) Voters(cluster string) []int32 { return w.names(cluster, true) }

// Learners returns the server numbers of the others.
func (w *World) Learners(cluster string) []int32 { return w.names(cluster, false) }

func (w *World) names(cluster string, voter bool) (names []int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if g := w.ensembles[cluster]; g != nil {
		for _, s := range g.conf.members {
			if s.voter == voter {
				names = append(names, s.name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// Leader returns the pod of an ensemble's leader, or nothing.
func (w *World) Leader(cluster string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if g := w.ensembles[cluster]; g != nil && g.leader != 0 {
		if p := w.process(cluster, g.leader); p != nil {
			return p.pod
		}
	}
	return ""
}

// HasQuorum tells whether an ensemble has a leader or could elect one.
func (w *World) HasQuorum(cluster string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.ensembles[cluster]
	return g != nil && w.quorum(cluster, g.conf.members)
}

// Tick lets everybody hear of everything, once.
func (w *World) Tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for pod, p := range w.procs {
		if p.restart {
			p.restart, p.draining = false, false
			*p.vol = Volume{ID: w.freshID()}
			w.procs[pod] = p
		}
		if p.draining && p.Connections > 0 {
			p.Connections--
		}
	}
	w.settle()
	for cluster, g := range w.ensembles {
		if g.leader == 0 {
			continue
		}
		g.last++ // somebody writes
		for _, s := range g.conf.members {
			if p := w.process(cluster, s.id); p != nil && !p.Cut && !p.Slow {
				p.vol.match, p.vol.known = g.last, g.conf
			}
		}
		for _, p := range w.procs {
			v := p.vol
			if v.Cluster == cluster && !v.Removed && !p.Cut && !slices.ContainsFunc(g.conf.members, func(s seat) bool { return s.id == v.ID }) {
				v.Removed = true // the others tell it
			}
		}
	}
}

// settle elects leaders and lets those go that have no majority.
func (w *World) settle() {
	for cluster, g := range w.ensembles {
		if p := w.process(cluster, g.leader); p != nil && !p.Cut && w.quorum(cluster, g.conf.members) {
			continue
		}
		g.leader = 0
		if !w.quorum(cluster, g.conf.members) {
			continue
		}
		var best *Process
		for _, s := range g.conf.members {
			if p := w.process(cluster, s.id); s.voter && p != nil && !p.Cut && (best == nil || p.vol.match > best.vol.match) {
				best = p
			}
		}
		g.term++
		g.leader, best.vol.match, best.vol.known = best.vol.ID, g.last, g.conf
	}
}

func (w *World) process(cluster string, id uint64) *Process {
	for _, p := range w.procs {
		if p.vol.ID == id && p.vol.Cluster == cluster && id != 0 && !p.vol.Removed && !p.vol.Superseded && !p.vol.Damaged && !p.restart {
			return p
		}
	}
	return nil
}

func (w *World) connected(cluster string, s seat) bool {
	p := w.process(cluster, s.id)
	return p != nil && !p.Cut
}

func (w *World) synced(g *group, cluster string, s seat) bool {
	return w.connected(cluster, s) && (w.process(cluster, s.id).vol.match+5 >= g.last || s.id == g.leader)
}

func (w *World) quorum(cluster string, members []seat) bool {
	voters, up := 0, 0
	for _, s := range members {
		if s.voter {
			voters++
			if w.connected(cluster, s) {
				up++
			}
		}
	}
	return voters > 0 && up >= voters/2+1
}

func (w *World) status(p *Process) *adminpb.StatusResponse {
	v := p.vol
	st := &adminpb.StatusResponse{
		MemberId: v.ID, Name: p.Name, ClusterId: v.Cluster, Version: p.Version, FormerClusterIds: v.Former,
		PeerAddress: p.pod + ":2888", ClientAddress: p.pod + ":2181", Connections: p.Connections,
		Drain: &adminpb.DrainState{Active: p.draining, Remaining: p.Connections}, Disk: &adminpb.DiskHealth{},
	}
	switch {
	case v.Damaged:
		st.Membership, st.MembershipReason = adminpb.Membership_MEMBERSHIP_UNREADABLE, "a checksum is wrong"
		st.MemberId, st.ClusterId = 0, ""
		return st
	case v.Superseded:
		st.Membership, st.MembershipReason = adminpb.Membership_MEMBERSHIP_SUPERSEDED, "its ensemble goes on without it"
		return st
	case v.Removed:
		st.Membership, st.MembershipReason = adminpb.Membership_MEMBERSHIP_REMOVED, "the ensemble has removed it"
		return st
	case v.Cluster == "":
		st.Membership = adminpb.Membership_MEMBERSHIP_AWAITING
		return st
	}
	g := w.ensembles[v.Cluster]
	st.Membership, st.Role = adminpb.Membership_MEMBERSHIP_MEMBER, adminpb.Role_ROLE_LOOKING
	st.ConfigurationIndex, st.Term, st.AppliedIndex, st.CommittedIndex = v.known.index, g.term, v.match, v.match
	leading := g.leader == v.ID
	for _, s := range v.known.members {
		m := &adminpb.Member{Id: s.id, Name: s.name, PeerAddress: s.peer, ClientAddress: s.client, Observer: s.observer}
		if leading {
			m.Connected, m.Synced = w.connected(v.Cluster, s), w.synced(g, v.Cluster, s)
			if q := w.process(v.Cluster, s.id); q != nil {
				m.MatchIndex = q.vol.match
			}
		}
		if s.voter {
			st.Voters = append(st.Voters, m)
		} else {
			st.Learners = append(st.Learners, m)
		}
	}
	if g.leader != 0 && !p.Cut {
		st.LeaderId, st.HasQuorum, st.Serving = g.leader, true, true
		st.CaughtUp = !p.Slow && v.match+5 >= g.last
		st.Role = adminpb.Role_ROLE_OBSERVER
		for _, s := range v.known.members {
			if s.id == v.ID && s.voter {
				st.Role = adminpb.Role_ROLE_FOLLOWER
			}
		}
		if leading {
			st.Role = adminpb.Role_ROLE_LEADER
		}
		st.Ready = st.CaughtUp && !p.draining
	}
	switch {
	case st.Ready:
	case p.draining:
		st.NotReadyReason = "draining"
	case !st.HasQuorum:
		st.NotReadyReason = "no contact with a quorum"
	default:
		st.NotReadyReason = "catching up"
	}
	return st
}

// Status is what the member of a pod would answer, or nil.
func (w *World) Status(pod string) *adminpb.StatusResponse {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.procs[pod]
	if p == nil || p.Silent {
		return nil
	}
	return w.status(p)
}

func (w *World) note(format string, args ...any) {
	w.Orders = append(w.Orders, fmt.Sprintf(format, args...))
}
