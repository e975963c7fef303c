//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// coreDNS brings the cluster's DNS to a number of pods.
func (e *ensemble) coreDNS(replicas int) {
	e.t.Helper()
	if out, err := kubectl("kube-system", "scale", "deployment/coredns", fmt.Sprintf("--replicas=%d", replicas)); err != nil {
		e.t.Fatal(out, err)
	}
	eventually(e.t, fmt.Sprintf("%d pods of CoreDNS", replicas), func() error {
		out, err := kubectl("kube-system", "get", "pods", "--selector=k8s-app=kube-dns",
			`--output=jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}`)
		if pods := strings.Fields(out); err == nil && (len(pods) != replicas || strings.Count(out, "True") != replicas) {
			err = fmt.Errorf("pods are ready: %v", pods)
		}
		return err
	})
}

// Nobody concludes from names that are not found that there is no ensemble: not a
// new operator, and not members that begin again.
func TestDNSOutage(t *testing.T) {
	local(t)
	e := found(t, 3, patient)
	members, before := e.get().Status.Members, e.uids()
	t.Cleanup(func() { e.coreDNS(2) })
	e.coreDNS(0)
	e.load.progress()
	e.killOperator()
	e.must(append([]string{"delete", "pod", "--grace-period=1"}, "--selector="+v1alpha1.LabelCluster+"="+name)...)
	e.becomes("all members are back, and do not find each other", func(cc *v1alpha1.CoordinationCluster) error {
		if cc.Status.ClusterID != e.id {
			t.Fatalf("the ensemble was %s and is %s", e.id, cc.Status.ClusterID)
		}
		for _, m := range members {
			switch now := member(cc, m.Pod); {
			case e.uids()[m.Pod] == before[m.Pod]:
				return fmt.Errorf("%s is there still", m.Pod)
			case now.ID == "":
				return fmt.Errorf("%s does not answer: %s", m.Pod, now.Message)
			case now.ID != m.ID:
				t.Fatalf("%s was member %s and is %s", m.Pod, m.ID, now.ID)
			}
		}
		return errors.Join(has(cc, v1alpha1.ConditionAvailable, "False/"+v1alpha1.ReasonNoLeader), has(cc, v1alpha1.ConditionQuorumHealthy, "False/"+v1alpha1.ReasonElecting))
	})
	// An edit that the operator has seen is a pass that has looked at all of this.
	e.edit(map[string]any{"updateStrategy": map[string]any{"drainSeconds": 3}})
	cc := e.becomes("the operator has looked again", func(cc *v1alpha1.CoordinationCluster) error {
		if cc.Status.ObservedGeneration != cc.Generation {
			return errors.New("it has not")
		}
		return nil
	})
	t.Log(condition(cc, v1alpha1.ConditionQuorumHealthy))
	e.coreDNS(2)
	e.conclude()
}

// A member that can't write ends, and is started again and again; the others do
// without it, and room is all that it needs.
func TestVolumeFull(t *testing.T) {
	c := local(t)
	e := found(t, 3, ordinary)
	pod := e.followers()[0]
	claim, id, before := "data-"+pod, member(e.get(), pod).ID, e.uids()
	t.Cleanup(func() {
		if err := c.FreeVolume(context.Background(), e.namespace, claim); err != nil && !t.Failed() {
			t.Log(err)
		}
	})
	if err := c.FillVolume(t.Context(), e.namespace, claim); err != nil {
		t.Fatal(err)
	}
	if err := c.KillContainer(t.Context(), e.pod(pod), "server"); err != nil {
		t.Fatal(err)
	}
	cc := e.becomes("the crash loop is told", func(cc *v1alpha1.CoordinationCluster) error {
		return has(cc, v1alpha1.ConditionDegraded, "True/"+v1alpha1.ReasonMemberCrashing)
	})
	t.Log(condition(cc, v1alpha1.ConditionDegraded))
	if text := condition(cc, v1alpha1.ConditionDegraded); !strings.Contains(text, pod) || !strings.Contains(text, "no space left") {
		t.Errorf("who, and why? %s", text)
	}
	if m := member(cc, pod); m.Ready || !strings.Contains(m.Message, "CrashLoopBackOff") {
		t.Errorf("%+v", m)
	}
	if err := errors.Join(has(cc, v1alpha1.ConditionAvailable, "True/"+v1alpha1.ReasonServing), has(cc, v1alpha1.ConditionQuorumHealthy, "True/"+v1alpha1.ReasonQuorum)); err != nil {
		t.Error(err)
	}
	e.load.progress()
	if err := c.FreeVolume(t.Context(), e.namespace, claim); err != nil {
		t.Fatal(err)
	}
	// It would come back by itself, after up to five minutes of kubelet's patience.
	e.must("delete", "pod", pod)
	cc = e.settled()
	if now := member(cc, pod).ID; now != id {
		t.Errorf("%s was member %s and is %s", pod, id, now)
	}
	for _, p := range e.pods() {
		if p.Name != pod && (p.UID != before[p.Name] || restarts(p) > 0) {
			t.Errorf("%s was restarted", p.Name)
		}
	}
	e.conclude()
}

func restarts(p corev1.Pod) (n int32) {
	for _, c := range p.Status.ContainerStatuses {
		n += c.RestartCount
	}
	return n
}
