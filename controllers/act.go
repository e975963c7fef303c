package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/ensemble"
	"github.com/conclave-dev/conclave/internal/membership"
	"github.com/conclave-dev/conclave/internal/rollout"
)

// act takes the one step of this pass: the membership's before a restart's. Without a
// revision, which is when the spec can't be rendered, nothing is done that takes one,
// and all else is.
func (p *pass) act(ctx context.Context) error {
	switch {
	case p.plan.Act == membership.SetPods && p.revision == nil:
		return nil // the spec has to be put right first
	case p.plan.Act.Changes():
		return p.done(ctx, p.changeMembership(ctx), string(p.plan.Reason), string(p.plan.Act), p.plan.Message)
	case p.armed:
		p.again = soon
		return nil
	case p.roll.Act.Changes() && p.revision != nil:
		if p.roll.Act == rollout.Lower && p.roll.Reason == rollout.UpToDate {
			p.again = soon
			return p.applySets(ctx) // nothing moves by it, and nothing needs to be told
		}
		return p.done(ctx, p.restart(ctx), string(p.roll.Reason), string(p.roll.Act), p.roll.Message)
	}
	if pod := p.staleDrain(); pod != "" {
		return p.done(ctx, p.order(ctx, pod, func(ctx context.Context, api adminpb.AdminClient) error {
			_, err := api.Drain(ctx, &adminpb.DrainRequest{Cancel: true})
			return err
		}), "DrainEnded", "CancelDrain", fmt.Sprintf("pod %s stays after all, and takes clients again", pod))
	}
	if err := p.keepVolumes(ctx); err != nil {
		return err
	}
	if p.plan.Act != membership.Rest || p.roll.Act != rollout.Rest || p.revision == nil {
		p.again = watching
		return nil
	}
	return errors.Join(p.forgetRevisions(ctx), p.forgetPodMonitor(ctx))
}

// done tells of a step that was taken, or that was not.
func (p *pass) done(ctx context.Context, err error, reason, action, message string) error {
	p.again = soon
	if err == nil {
		p.acted = message
		p.tell(ctx, reason, action, message)
		steps.WithLabelValues(action, "done").Inc()
		return nil
	}
	steps.WithLabelValues(action, "failed").Inc()
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // what it was planned on has changed; the next pass sees to it
	}
	if why, ok := ensemble.Refusal(err); ok {
		refusal := strings.TrimPrefix(why.String(), "REFUSAL_REASON_")
		p.failed, p.again = fmt.Errorf("refused (%s): %s", refusal, status.Convert(err).Message()), watching
		return nil
	}
	p.failed, p.again = err, watching
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if apierrors.ReasonForError(err) != metav1.StatusReasonUnknown {
		return err
	}
	return nil // a member did not answer; whether it has done it shows in its status
}

// order calls the member of a pod.
func (p *pass) order(ctx context.Context, pod string, call func(context.Context, adminpb.AdminClient) error) error {
	e, err := p.endpointOf(pod)
	if err != nil {
		return err
	}
	api, err := p.api.At(e)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, ensemble.OrderTimeout)
	defer cancel()
	return call(ctx, api)
}

// changeMembership carries out a step of the membership.
func (p *pass) changeMembership(ctx context.Context) error {
	plan := p.plan
	if plan.Act == membership.SetPods {
		return p.applySets(ctx)
	}
	return p.order(ctx, plan.Ask, func(ctx context.Context, api adminpb.AdminClient) (err error) {
		switch plan.Act {
		case membership.Bootstrap:
			_, err = api.Bootstrap(ctx, &adminpb.BootstrapRequest{ClusterId: plan.ClusterID, MemberId: plan.Member.ID})
		case membership.StartClean:
			_, err = api.StartClean(ctx, &adminpb.StartCleanRequest{ClusterId: plan.ClusterID, MemberId: plan.Member.ID, UnreadableIdentity: plan.Member.ID == 0})
		case membership.AddLearner:
			_, err = api.AddLearner(ctx, &adminpb.AddLearnerRequest{ConfigurationIndex: plan.Index, MemberId: plan.Member.ID, Name: plan.Member.ServerName(),
				PeerAddress: plan.Member.PeerAddress, ClientAddress: plan.Member.ClientAddress, Observer: plan.Member.Observer})
		case membership.Promote:
			_, err = api.Promote(ctx, &adminpb.PromoteRequest{ConfigurationIndex: plan.Index, MemberId: plan.Member.ID})
		case membership.TransferLeadership:
			_, err = api.TransferLeadership(ctx, &adminpb.TransferLeadershipRequest{TargetMemberId: plan.Member.ID})
		case membership.Drain:
			_, err = api.Drain(ctx, &adminpb.DrainRequest{WithinMs: drainSeconds(p.cluster).Milliseconds()})
		case membership.Remove:
			_, err = api.Remove(ctx, &adminpb.RemoveRequest{ConfigurationIndex: plan.Index, MemberId: plan.Member.ID})
		default:
			err = fmt.Errorf("unknown step %q", plan.Act)
		}
		return err
	})
}

// restart carries out a step of a rolling restart.
func (p *pass) restart(ctx context.Context) error {
	plan := p.roll
	switch plan.Act {
	case rollout.Lower:
		return p.applySets(ctx)
	case rollout.DeletePod:
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: p.key.Namespace, Name: plan.Ask}}
		uid := types.UID(plan.UID)
		return p.Delete(ctx, pod, client.Preconditions{UID: &uid})
	}
	return p.order(ctx, plan.Ask, func(ctx context.Context, api adminpb.AdminClient) (err error) {
		if plan.Act == rollout.TransferLeadership {
			_, err = api.TransferLeadership(ctx, &adminpb.TransferLeadershipRequest{TargetMemberId: plan.Member})
			return err
		}
		_, err = api.Drain(ctx, &adminpb.DrainRequest{WithinMs: drainSeconds(p.cluster).Milliseconds()})
		return err
	})
}

// staleDrain returns a pod that is drained for nobody's sake any more: the spec
// was edited back, or the step was given up.
func (p *pass) staleDrain() string {
	drained := p.drained()
	for i := range p.seen.pods {
		pod := &p.seen.pods[i]
		if st := p.seen.answers[pod.Name].Status; st.GetDrain().GetActive() && pod.DeletionTimestamp == nil && !slices.Contains(drained, pod.Name) {
			return pod.Name
		}
	}
	return ""
}

// tell leaves an event, and a line in the log: one for each decision.
func (p *pass) tell(ctx context.Context, reason, action, message string) {
	p.note(ctx, reason, action, message)
	p.Recorder.Eventf(p.cluster, nil, corev1.EventTypeNormal, reason, action, "%s", limit(message, 900))
}

// note leaves a line in the log, with what tells where the ensemble was. Whose it is
// the context's logger says.
func (p *pass) note(ctx context.Context, reason, action, message string) {
	about := []any{"reason", reason, "action", action}
	if id := p.plan.Member.ID; id != 0 && action == string(p.plan.Act) {
		about = append(about, "member", p.podName(p.plan.Member.Seat), "memberID", hexID(id))
	}
	if z := p.leader().GetZxid(); z != 0 {
		about = append(about, "zxid", fmt.Sprintf("0x%x", uint64(z)))
	}
	log.FromContext(ctx).Info(message, about...)
}

// warn leaves an event about something that a person should look at.
func (p *pass) warn(ctx context.Context, reason, action, message string) {
	p.note(ctx, reason, action, message)
	p.Recorder.Eventf(p.cluster, nil, corev1.EventTypeWarning, reason, action, "%s", limit(message, 900))
}

func limit(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n-3] + "..."
}
