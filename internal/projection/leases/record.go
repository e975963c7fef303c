package leases

import (
	"strconv"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/conclave-dev/conclave/api/v1alpha1"
)

// Labels and annotations of a Lease.
const (
	LabelCluster = v1alpha1.LabelCluster
	LabelRule    = v1alpha1.LabelRule

	// AnnotationPath is the node, or the parent of the candidates.
	AnnotationPath = v1alpha1.AnnotationPath
	// AnnotationHolderPath is the node of the holder.
	AnnotationHolderPath = "conclave.dev/holder-path"
	// AnnotationSession is the holder's session.
	AnnotationSession = v1alpha1.AnnotationSession
	// AnnotationCzxid is the transaction that made the holder's node.
	AnnotationCzxid = v1alpha1.AnnotationCzxid
	// AnnotationFencingToken is a decimal number that rises with each change of
	// holder: the czxid, unless that would not rise.
	AnnotationFencingToken = "conclave.dev/fencing-token"
	// AnnotationHolderFrom is where the rule takes the holder's name from.
	AnnotationHolderFrom = "conclave.dev/holder-from"
	// AnnotationClusterID is the ensemble, within which zxids can be compared.
	AnnotationClusterID = "conclave.dev/cluster-id"
)

// record is what a Lease says, the rule's labels and annotations aside.
type record struct {
	ruleName, subject string
	// holder is empty if nobody holds; then so are path and session, and czxid is 0.
	holder, path string
	session      uint64
	czxid, token int64
	from         string
	transitions  int32
	// duration is in seconds.
	duration          int32
	acquired, renewed time.Time
}

// holderFrom says where a rule takes the holder's name from.
func (r *rule) holderFrom() string {
	if r.JSONField != "" {
		return string(r.Holder) + ":" + r.JSONField
	}
	return string(r.Holder)
}

// names tells whether a record has this holder, under a name that it can have been
// given.
func (p *Planner) names(r *record, c *candidate, rule *rule) bool {
	if r.path != c.path || r.czxid != c.czxid || r.from != rule.holderFrom() {
		return false
	}
	switch session := SessionIdentity(c.session); rule.Holder {
	case FromData:
		return r.holder == dataHolder(c)
	case FromPod:
		// If its pod was not known then, it goes without.
		pod, ok := p.cfg.PodOf(c.session)
		return r.holder == session || ok && r.holder == pod
	default:
		return r.holder == session
	}
}

func dataHolder(c *candidate) string {
	if c.identity != "" {
		return c.identity
	}
	return SessionIdentity(c.session)
}

func zxidText(zxid int64) string { return "0x" + strconv.FormatInt(zxid, 16) }

// lease is the whole object for a record.
func (p *Planner) lease(e *entry, r *record) *coordinationv1.Lease {
	l := &coordinationv1.Lease{}
	l.Name, l.Namespace = e.name, p.cfg.Namespace
	l.Labels, l.Annotations = make(map[string]string), make(map[string]string)
	if rule := p.rules.byName(r.ruleName); rule != nil {
		for k, v := range rule.Labels {
			l.Labels[k] = v
		}
		for k, v := range rule.Annotations {
			l.Annotations[k] = v
		}
	}
	for k, v := range p.cfg.Labels {
		l.Labels[k] = v
	}
	l.Labels[LabelCluster], l.Labels[LabelRule] = p.cfg.Cluster, r.ruleName
	a := l.Annotations
	a[AnnotationPath], a[AnnotationHolderFrom] = r.subject, r.from
	a[AnnotationFencingToken] = strconv.FormatInt(r.token, 10)
	if p.cfg.ClusterID != "" {
		a[AnnotationClusterID] = p.cfg.ClusterID
	}
	if r.holder != "" {
		a[AnnotationHolderPath], a[AnnotationSession] = r.path, SessionIdentity(r.session)
		a[AnnotationCzxid] = zxidText(r.czxid)
	}
	l.OwnerReferences = []metav1.OwnerReference{p.cfg.Owner}
	acquired, renewed := metav1.NewMicroTime(r.acquired), metav1.NewMicroTime(r.renewed)
	l.Spec = coordinationv1.LeaseSpec{
		HolderIdentity: &r.holder, LeaseDurationSeconds: &r.duration,
		AcquireTime: &acquired, RenewTime: &renewed, LeaseTransitions: &r.transitions,
	}
	return l
}

// ours tells whether a Lease is of this cluster's making: it has our label and our
// owner.
func (p *Planner) ours(l *coordinationv1.Lease) bool {
	_, rule := l.Labels[LabelRule]
	return rule && l.Labels[LabelCluster] == p.cfg.Cluster && p.owned(l)
}

func (p *Planner) owned(l *coordinationv1.Lease) bool {
	for i := range l.OwnerReferences {
		if l.OwnerReferences[i].UID == p.cfg.Owner.UID {
			return true
		}
	}
	return false
}

// read is the record of a Lease of ours. What is missing or damaged is zero.
func read(l *coordinationv1.Lease) record {
	a, s := l.Annotations, l.Spec
	r := record{
		ruleName: l.Labels[LabelRule], subject: a[AnnotationPath], path: a[AnnotationHolderPath], from: a[AnnotationHolderFrom],
		session: uint64(zxid(a[AnnotationSession])), czxid: zxid(a[AnnotationCzxid]),
	}
	r.token, _ = strconv.ParseInt(a[AnnotationFencingToken], 10, 64)
	// It never was less: that was done by hand.
	r.token = max(r.token, r.czxid)
	if s.HolderIdentity != nil {
		r.holder = *s.HolderIdentity
	}
	if s.LeaseTransitions != nil {
		r.transitions = *s.LeaseTransitions
	}
	if s.LeaseDurationSeconds != nil {
		r.duration = *s.LeaseDurationSeconds
	}
	if s.AcquireTime != nil {
		r.acquired = s.AcquireTime.Time
	}
	if s.RenewTime != nil {
		r.renewed = s.RenewTime.Time
	}
	return r
}

func zxid(text string) int64 {
	n, _ := strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 64)
	return int64(n)
}

// says tells whether what exists says all that is wanted. Labels and annotations
// that others have added are theirs.
func says(l, want *coordinationv1.Lease) bool {
	for k, v := range want.Labels {
		if l.Labels[k] != v {
			return false
		}
	}
	for k, v := range want.Annotations {
		if l.Annotations[k] != v {
			return false
		}
	}
	// What is ours and not wanted now was put there by others.
	for k := range l.Annotations {
		if _, ok := want.Annotations[k]; !ok && strings.HasPrefix(k, "conclave.dev/") {
			return false
		}
	}
	owned := false
	for i := range l.OwnerReferences {
		owned = owned || l.OwnerReferences[i].UID == want.OwnerReferences[0].UID
	}
	s, w := &l.Spec, &want.Spec
	return owned && s.Strategy == nil && s.PreferredHolder == nil &&
		equal(s.HolderIdentity, w.HolderIdentity) && equal(s.LeaseDurationSeconds, w.LeaseDurationSeconds) &&
		equal(s.LeaseTransitions, w.LeaseTransitions) && sameTime(s.AcquireTime, w.AcquireTime) && sameTime(s.RenewTime, w.RenewTime)
}

func equal[T comparable](a, b *T) bool { return a != nil && b != nil && *a == *b }

func sameTime(a, b *metav1.MicroTime) bool { return a != nil && b != nil && a.Time.Equal(b.Time) }
