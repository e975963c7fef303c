package controllers

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/ensemble"
	"github.com/conclave-dev/conclave/internal/membership"
	"github.com/conclave-dev/conclave/internal/resources"
)

// observation is what a pass has read, and what the members have answered.
type observation struct {
	// voters and observers are nil if the StatefulSet does not exist.
	voters, observers *appsv1.StatefulSet
	pods              []corev1.Pod
	claims            []corev1.PersistentVolumeClaim
	answers           map[string]ensemble.Answer
}

func (p *pass) setName(observer bool) string {
	return resources.StatefulSetName(p.cluster, role(observer))
}

func (p *pass) podName(s membership.Seat) string {
	return resources.PodName(p.cluster, role(s.Observer), s.Ordinal)
}

// seatOf returns the seat that a pod of this cluster has by its name.
func (p *pass) seatOf(pod string) (membership.Seat, bool) {
	for _, observer := range []bool{true, false} {
		if rest, ok := strings.CutPrefix(pod, p.setName(observer)+"-"); ok {
			if n, err := strconv.Atoi(rest); err == nil && n >= 0 && strconv.Itoa(n) == rest {
				return membership.Seat{Observer: observer, Ordinal: n}, true
			}
		}
	}
	return membership.Seat{}, false
}

// observe reads what there is. StatefulSets come from the API server itself: what
// is planned on them is planned on the present.
func (p *pass) observe(ctx context.Context) error {
	var err error
	if p.seen.voters, err = p.statefulSet(ctx, false); err != nil {
		return err
	}
	if p.seen.observers, err = p.statefulSet(ctx, true); err != nil {
		return err
	}
	selector := []client.ListOption{client.InNamespace(p.key.Namespace), client.MatchingLabels{v1alpha1.LabelCluster: p.key.Name}}
	var pods corev1.PodList
	if err := p.List(ctx, &pods, selector...); err != nil {
		return fmt.Errorf("listing pods: %w", err)
	}
	p.seen.pods = pods.Items
	// A volume that a cache does not show yet might be taken for one that is not
	// there.
	var reader client.Reader = p.Client
	if p.status.Bootstrap == nil || !p.status.Bootstrap.Succeeded {
		reader = p.Reader
	}
	var claims corev1.PersistentVolumeClaimList
	if err := reader.List(ctx, &claims, selector...); err != nil {
		return fmt.Errorf("listing volume claims: %w", err)
	}
	p.seen.claims = claims.Items
	if p.api == nil {
		return nil // no credentials: nobody can be asked
	}
	var members []ensemble.Endpoint
	for i := range p.seen.pods {
		members = append(members, endpoint(&p.seen.pods[i]))
	}
	p.seen.answers = ensemble.Ask(ctx, p.api, members)
	p.api.Keep(members)
	return nil
}

func (p *pass) statefulSet(ctx context.Context, observer bool) (*appsv1.StatefulSet, error) {
	set := &appsv1.StatefulSet{}
	switch err := p.Reader.Get(ctx, client.ObjectKey{Namespace: p.key.Namespace, Name: p.setName(observer)}, set); {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading StatefulSet %s: %w", p.setName(observer), err)
	}
	return set, nil
}

func endpoint(pod *corev1.Pod) ensemble.Endpoint {
	e := ensemble.Endpoint{Pod: pod.Name}
	if pod.Status.PodIP != "" {
		e.Address = net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(resources.PortAdmin))
	}
	return e
}

// endpointOf is where the member of a pod is asked.
func (p *pass) endpointOf(pod string) (ensemble.Endpoint, error) {
	for i := range p.seen.pods {
		if p.seen.pods[i].Name == pod {
			return endpoint(&p.seen.pods[i]), nil
		}
	}
	return ensemble.Endpoint{}, fmt.Errorf("there is no pod %s", pod)
}

// set is what the planner is told of a StatefulSet.
func (p *pass) set(s *appsv1.StatefulSet, observer bool) membership.Set {
	out := membership.Set{Exists: s != nil && s.DeletionTimestamp.IsZero()}
	if out.Exists {
		out.Replicas = int(ptr.Deref(s.Spec.Replicas, 1))
	}
	for i := range p.seen.claims {
		c := &p.seen.claims[i]
		if seat, ok := p.claimSeat(c); ok && seat.Observer == observer && c.Status.Phase == corev1.ClaimBound && c.DeletionTimestamp.IsZero() {
			out.Volumes = append(out.Volumes, seat.Ordinal)
		}
	}
	slices.Sort(out.Volumes)
	out.Volumes = slices.Compact(out.Volumes)
	return out
}

// claimSeat returns whose volume a claim is: a StatefulSet names them after the
// template and the pod.
func (p *pass) claimSeat(c *corev1.PersistentVolumeClaim) (membership.Seat, bool) {
	for i := range len(c.Name) {
		if c.Name[i] == '-' {
			if s, ok := p.seatOf(c.Name[i+1:]); ok {
				return s, true
			}
		}
	}
	return membership.Seat{}, false
}

// observed is what the planner of the membership looks at.
func (p *pass) observed() (membership.Observed, error) {
	l, err := latches(p.status)
	if err != nil {
		return membership.Observed{}, err
	}
	o := membership.Observed{
		Want: want(p.cluster), Latches: l, FreshClusterID: p.FreshID(), DrainPatience: drainPatience(p.cluster),
		Voters: p.set(p.seen.voters, false), Observers: p.set(p.seen.observers, true),
	}
	for i := range p.seen.pods {
		pod := &p.seen.pods[i]
		seat, ok := p.seatOf(pod.Name)
		if !ok {
			continue
		}
		m := membership.Pod{Seat: seat, Name: pod.Name, UID: string(pod.UID), Terminating: pod.DeletionTimestamp != nil, Problem: problem(pod)}
		a := p.seen.answers[pod.Name]
		m.Status = a.Status
		switch {
		case a.Status != nil:
			m.Problem = ""
		case a.Err != nil:
			m.NoAnswer = a.Err.Error()
		default:
			m.NoAnswer = "it was not asked"
		}
		o.Pods = append(o.Pods, m)
	}
	return o, nil
}

// lasting are what a container waits for that does not come by itself.
var lasting = []string{"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable",
	"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff"}

const (
	// unschedulable begins the problem of a pod that no node takes.
	unschedulable = "Unschedulable"
	crashLoop     = "CrashLoopBackOff"
)

// lastLine is what a container said last, as far as a status has room for it.
func lastLine(text string) string {
	text = strings.TrimSpace(text)
	text = text[strings.LastIndexByte(text, '\n')+1:]
	return strings.ToValidUTF8(text[:min(len(text), 300)], "")
}

// problem says why a pod does not run, if that does not go away by waiting.
func problem(pod *corev1.Pod) string {
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, c := range statuses {
			w := c.State.Waiting
			if w == nil || !slices.Contains(lasting, w.Reason) {
				continue
			}
			text := w.Message
			if t := c.LastTerminationState.Terminated; t != nil && w.Reason == crashLoop {
				text = fmt.Sprintf("it ended with exit code %d (%s)", t.ExitCode, t.Reason)
				if last := lastLine(t.Message); last != "" {
					text += ": " + last
				}
			}
			return strings.TrimSuffix(w.Reason+": "+text, ": ")
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return unschedulable + ": " + c.Message
		}
	}
	if pod.Status.Phase == corev1.PodFailed {
		return strings.TrimSuffix("Failed: "+pod.Status.Reason, ": ")
	}
	return ""
}

func podReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
