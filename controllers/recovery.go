package controllers

import (
	"context"
	"fmt"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/ensemble"
	"github.com/conclave-dev/conclave/internal/membership"
)

// recoverMajority carries out spec.recovery, in the one situation that it names:
// this ensemble, by its id, without a majority, and this survivor. The member
// itself refuses while a majority answers, or another has more. It is an order
// that is carried out once: the ensemble that goes on has another id. And it is one
// for today: where it turns out that nothing is lost it is void, so that it does not
// lie in wait for the next time that two members are away for a minute.
func (p *pass) recoverMajority(ctx context.Context) (done bool, err error) {
	order, r := p.cluster.Spec.Recovery, p.status.Recovery
	if order == nil {
		if r != nil && r.Void {
			p.status.Recovery = nil // whoever gives it again means it
		}
		return false, nil
	}
	if r != nil && r.Void && r.FormerClusterID == order.ClusterID && r.Survivor == order.Survivor && r.Reason == order.Reason {
		return false, nil
	}
	if r != nil && r.FormerClusterID == order.ClusterID && r.ClusterID != "" {
		return false, nil // it was carried out; what it is about is no more
	}
	refuse := func(format string, args ...any) (bool, error) {
		p.status.Recovery = &v1alpha1.RecoveryStatus{FormerClusterID: order.ClusterID, Survivor: order.Survivor, Message: limit(fmt.Sprintf(format, args...), 1024)}
		p.again = watching
		return false, nil
	}
	if order.ClusterID != p.status.ClusterID {
		return refuse("spec.recovery names ensemble %s, and this is %s: nothing is done", order.ClusterID, p.status.ClusterID)
	}
	switch p.plan.Reason {
	case membership.QuorumLost:
	case membership.NoLeader:
		// A majority answers the operator; whether its members reach one another they
		// know better, and refuse if they do.
	default:
		if p.leader() == nil {
			return refuse("spec.recovery gives up a majority, and it is not sure that it is lost (%s: %s)", p.plan.Reason, p.plan.Message)
		}
		const why = "spec.recovery gives up a majority, and the ensemble has not lost it: the order is void, and nothing is done, now or later. Take it out of the spec"
		p.lock = true
		done, err := refuse(why)
		p.status.Recovery.Void, p.status.Recovery.Reason = true, order.Reason
		return done, err
	}
	id, err := strconv.ParseUint(order.Survivor, 16, 64)
	if err != nil {
		return refuse("spec.recovery.survivor %q is no member's id", order.Survivor)
	}
	pod := ""
	var last int64
	for name, a := range p.seen.answers {
		if a.Status.GetMemberId() == id && id != 0 {
			pod, last = name, a.Status.GetZxid()
		}
	}
	if pod == "" {
		return refuse("spec.recovery.survivor %s does not answer: nothing is done", order.Survivor)
	}
	// What is about to be done is written down first, and told once: a member that
	// refuses, or does not answer, is asked again and again.
	zxid := fmt.Sprintf("0x%x", uint64(last))
	begun := r != nil && r.FormerClusterID == order.ClusterID && r.Survivor == order.Survivor && r.LastZxid != ""
	if !begun || r.LastZxid != zxid {
		p.status.Recovery = &v1alpha1.RecoveryStatus{FormerClusterID: order.ClusterID, Survivor: order.Survivor, LastZxid: zxid}
		if begun {
			p.status.Recovery.Message = r.Message
		}
		p.lock = true
		if err := p.writeStatus(ctx); err != nil {
			return true, err
		}
		if !begun {
			p.warn(ctx, "RecoveringLostMajority", "RecoverLostMajority", fmt.Sprintf("ensemble %s is made to go on from member %s alone: %s", order.ClusterID, order.Survivor, order.Reason))
		}
		return true, errWritten
	}
	err = p.order(ctx, pod, func(ctx context.Context, api adminpb.AdminClient) error {
		_, err := api.RecoverLostMajority(ctx, &adminpb.RecoverLostMajorityRequest{ClusterId: order.ClusterID, MemberId: id,
			Reason: fmt.Sprintf("spec.recovery of CoordinationCluster %s: %s", p.key, order.Reason)})
		return err
	})
	p.again = watching
	if why, ok := ensemble.Refusal(err); ok {
		p.status.Recovery.Message = limit(fmt.Sprintf("member %s refuses (%v): %v", order.Survivor, why, err), 1024)
		return true, nil
	}
	if err != nil {
		p.failed = err
		return true, nil
	}
	now := metav1.NewTime(p.Now())
	p.status.Recovery.Time, p.status.Recovery.Message = &now, ""
	return true, nil
}
