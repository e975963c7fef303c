package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/membership"
	"github.com/conclave-dev/conclave/internal/resources"
	"github.com/conclave-dev/conclave/internal/rollout"
)

// writeStatus says everything that a pass has seen, once.
func (p *pass) writeStatus(ctx context.Context) error {
	p.summarize()
	p.setConditions()
	p.measure()
	if !p.worthWriting() {
		return nil
	}
	ac, err := statusOf(p.cluster, p.status, false)
	if err != nil {
		return err
	}
	for read, tries := p.cluster, 0; ; tries++ {
		if p.lock {
			ac.WithResourceVersion(read.ResourceVersion)
		}
		err := p.Status().Apply(ctx, ac, client.FieldOwner(v1alpha1.FieldOwner), client.ForceOwnership)
		if err == nil {
			p.figured.note(p.key, p.Now())
			p.announce(ctx)
			return nil
		}
		// What is shown of sessions may have been written meanwhile, and is nothing that
		// this rests upon.
		if !p.lock || !apierrors.IsConflict(err) || tries == 3 || !p.onlyShown(ctx, &read) {
			return fmt.Errorf("writing status: %w", err)
		}
	}
}

// onlyShown reads the cluster again, and tells whether nobody has changed anything
// but what is shown of sessions.
func (p *pass) onlyShown(ctx context.Context, read **v1alpha1.CoordinationCluster) bool {
	now := &v1alpha1.CoordinationCluster{}
	if p.Reader.Get(ctx, p.key, now) != nil {
		return false
	}
	*read = now
	return now.UID == p.cluster.UID && now.Generation == p.cluster.Generation && now.DeletionTimestamp.Equal(p.cluster.DeletionTimestamp) &&
		equality.Semantic.DeepEqual(unshown(&now.Status), unshown(&p.cluster.Status))
}

// summarize fills in what was observed.
func (p *pass) summarize() {
	s := p.status
	s.ObservedGeneration = p.cluster.Generation
	s.Selector = labels.SelectorFromSet(resources.RoleSelector(p.cluster, resources.Voter)).String()
	s.ClientEndpoint = resources.ClientEndpoint(p.cluster)
	if p.plan.Act == "" {
		return // nothing was observed
	}
	s.Replicas, s.ReadyReplicas, s.Observers, s.ReadyObservers = 0, 0, 0, 0
	s.Leader = ""
	var versions []string
	var members []v1alpha1.MemberStatus
	leader := p.leader()
	for i := range p.seen.pods {
		pod := &p.seen.pods[i]
		seat, ok := p.seatOf(pod.Name)
		if !ok {
			continue
		}
		m := p.memberStatus(pod, seat, leader)
		members = append(members, m)
		if pod.DeletionTimestamp == nil {
			count, ready := &s.Replicas, &s.ReadyReplicas
			if seat.Observer {
				count, ready = &s.Observers, &s.ReadyObservers
			}
			*count++
			if m.Ready {
				*ready++
			}
		}
		if m.Role == v1alpha1.RoleLeader {
			s.Leader = m.Pod
		}
		if m.Version != "" && !slices.Contains(versions, m.Version) {
			versions = append(versions, m.Version)
		}
	}
	slices.SortFunc(members, func(a, b v1alpha1.MemberStatus) int { return int(a.Number - b.Number) })
	s.Members = members[:min(len(members), 64)]
	slices.Sort(versions)
	s.Version = limit(strings.Join(versions, ","), 256)
	s.Ready = fmt.Sprintf("%d/%d", s.ReadyReplicas, ptr.Deref(p.cluster.Spec.Replicas, 3))
	p.summarizeStep()
	p.summarizeRollout(leader)
}

// leader is the answer of the member that leads; nil if none does.
func (p *pass) leader() *adminpb.StatusResponse {
	o, err := p.observed()
	if err != nil {
		return nil
	}
	if l := membership.Leader(o); l != nil {
		return l.Status
	}
	return nil
}

func (p *pass) memberStatus(pod *corev1.Pod, seat membership.Seat, leader *adminpb.StatusResponse) v1alpha1.MemberStatus {
	m := v1alpha1.MemberStatus{Pod: pod.Name, Number: seat.ServerName(), Role: v1alpha1.RoleNone, Node: pod.Spec.NodeName,
		Hash: pod.Annotations[v1alpha1.AnnotationHash]}
	a := p.seen.answers[pod.Name]
	st := a.Status
	if st == nil {
		m.Message = problem(pod)
		if m.Message == "" && a.Err != nil {
			m.Message = "it does not answer: " + a.Err.Error()
		}
		m.Message = limit(m.Message, 512)
		return m
	}
	m.ID, m.Version, m.Connections, m.Draining = hexID(st.GetMemberId()), st.GetVersion(), st.GetConnections(), st.GetDrain().GetActive()
	m.Lag = int64(st.GetLag())
	if st.GetZxid() != 0 {
		m.Zxid = fmt.Sprintf("0x%x", uint64(st.GetZxid()))
	}
	isMember := func(list []*adminpb.Member) *adminpb.Member {
		for _, x := range list {
			if x.GetId() == st.GetMemberId() && x.GetId() != 0 {
				return x
			}
		}
		return nil
	}
	if st.GetMembership() == adminpb.Membership_MEMBERSHIP_MEMBER {
		from := leader
		if from == nil {
			from = st
		}
		learner := isMember(from.GetLearners())
		m.Voter = isMember(from.GetVoters()) != nil
		switch {
		case leader != nil && leader.GetMemberId() == st.GetMemberId():
			m.Role = v1alpha1.RoleLeader
		case !st.GetHasQuorum():
			m.Role = v1alpha1.RoleLooking
		case m.Voter:
			m.Role = v1alpha1.RoleFollower
		case learner.GetObserver():
			m.Role = v1alpha1.RoleObserver
		case learner != nil:
			m.Role = v1alpha1.RoleLearner
		}
	}
	m.Ready = st.GetReady() && podReady(pod) && pod.DeletionTimestamp == nil && (m.Voter || seat.Observer)
	switch {
	case m.Ready:
	case st.GetMembership() != adminpb.Membership_MEMBERSHIP_MEMBER:
		m.Message = sentence(strings.ToLower(strings.TrimPrefix(st.GetMembership().String(), "MEMBERSHIP_")), st.GetMembershipReason())
	case pod.DeletionTimestamp != nil:
		m.Message = "its pod is terminating"
	case st.GetNotReadyReason() != "":
		m.Message = st.GetNotReadyReason()
	case !podReady(pod):
		m.Message = "its pod is not ready yet"
	case !m.Voter:
		m.Message = "it has no vote yet"
	}
	if st.GetDisk().GetFailed() || st.GetDisk().GetSlow() {
		m.Message = sentence(m.Message, "disk: "+st.GetDisk().GetReason())
	}
	m.Message = limit(m.Message, 512)
	return m
}

// summarizeStep notes since when the step under way is.
func (p *pass) summarizeStep() {
	t := p.status.Target
	if t == nil {
		return
	}
	step := v1alpha1.StepStatus{StartTime: metav1.NewTime(p.Now())}
	switch {
	case p.plan.Act != membership.Rest && p.plan.Act != membership.Hold:
		step.Action = string(p.plan.Act)
		if p.plan.Act == membership.Wait {
			step.Action = string(p.plan.Reason)
		}
		if p.plan.Member.ID != 0 || p.plan.Member.PeerAddress != "" {
			step.Member, step.MemberID = p.podName(p.plan.Member.Seat), hexID(p.plan.Member.ID)
		}
		step.ConfigurationIndex = int64(p.plan.Index)
	case p.rollingOut():
		step.Action, step.Member, step.PodUID = "Restart", p.roll.Pod, p.roll.UID
	default:
		t.Step = nil
		return
	}
	if old := t.Step; old != nil && old.Action == step.Action && old.Member == step.Member && old.MemberID == step.MemberID {
		step.StartTime = old.StartTime
	}
	t.Step = &step
}

// stuck tells whether the step under way has taken longer than it should.
func (p *pass) stuck() bool {
	if p.status.Target == nil || p.status.Target.Step == nil {
		return false
	}
	limit := int64(ptr.Deref(p.cluster.Spec.UpdateStrategy.StepTimeoutSeconds, 600))
	return p.Now().Unix()-p.status.Target.Step.StartTime.Unix() > limit
}

// summarizeRollout keeps the account of a restart: how far it is, and how many
// sessions it has cost.
func (p *pass) summarizeRollout(leader *adminpb.StatusResponse) {
	hash := ""
	if live := p.seen.voters; live != nil {
		hash = live.Annotations[v1alpha1.AnnotationHash]
	}
	r := p.status.Rollout
	now := metav1.NewTime(p.Now())
	known := leader != nil && leader.GetSessions() != nil
	// While the StatefulSet's controller has not said what is new, as at the founding,
	// no pod is known to be old.
	unknown := p.roll.Reason == rollout.RevisionUnknown || p.roll.Reason == rollout.NotFoundedYet
	if p.rollingOut() && !unknown && (r == nil || r.Hash != hash || r.CompletionTime != nil) {
		begun := &v1alpha1.RolloutStatus{Hash: hash, Cause: p.cause(), StartTime: &now}
		if r != nil && r.CompletionTime == nil { // an edit on the way hides no loss
			begun.ExpiredBefore, begun.SessionsExpired = r.ExpiredBefore, r.SessionsExpired
		}
		r, p.status.Rollout = begun, begun
	}
	if r == nil || r.CompletionTime != nil {
		return
	}
	if known && r.ExpiredBefore == nil {
		r.ExpiredBefore = ptr.To(leader.GetSessions().GetExpired())
	}
	if known {
		r.SessionsExpired = max(r.SessionsExpired, leader.GetSessions().GetExpired()-*r.ExpiredBefore)
	}
	r.Updated, r.Total, r.Message = int32(p.roll.Updated), int32(p.roll.Total), limit(p.roll.Message, 256)
	if p.roll.Pod != "" { // it stays the last one until that is back
		r.Member = p.roll.Pod
	}
	// A pod that is of the revision counts once its member is in sync.
	if p.roll.Act == rollout.Rest && p.plan.Act == membership.Rest && p.allReady() {
		r.CompletionTime, r.Member, r.Message = &now, "", ""
	}
}

func (p *pass) allReady() bool {
	return !slices.ContainsFunc(p.status.Members, func(m v1alpha1.MemberStatus) bool { return !m.Ready })
}

// cause says what a roll is for, as far as pods show it.
func (p *pass) cause() string {
	if p.seen.voters == nil {
		return ""
	}
	image := func(spec corev1.PodSpec) string {
		for _, c := range spec.Containers {
			if c.Name == resources.ContainerName {
				return c.Image
			}
		}
		return ""
	}
	to := image(p.seen.voters.Spec.Template.Spec)
	for i := range p.seen.pods {
		if from := image(p.seen.pods[i].Spec); from != "" && to != "" && from != to {
			return limit("image: "+from+" to "+to, 256)
		}
	}
	return "configuration or resources"
}
