//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// anotherLeads waits for a leader that is not the one there was.
func (e *ensemble) anotherLeads(than string) {
	e.t.Helper()
	e.becomes("another leads", func(cc *v1alpha1.CoordinationCluster) error {
		if l := cc.Status.Leader; l == "" || l == than {
			return fmt.Errorf("%q leads", l)
		}
		return nil
	})
}

func TestContainersKilled(t *testing.T) {
	c := local(t)
	e := found(t, 3, ordinary)
	for _, pod := range append(e.followers(), e.leader()) {
		if err := c.KillContainer(t.Context(), e.pod(pod), "server"); err != nil {
			t.Fatal(err)
		}
		e.becomes(pod+" is back", func(cc *v1alpha1.CoordinationCluster) error {
			for _, p := range e.pods() {
				if p.Name == pod && (len(p.Status.ContainerStatuses) != 1 || p.Status.ContainerStatuses[0].RestartCount != 1) {
					return errors.New("it has not been started again")
				}
			}
			return nil
		})
		e.settled()
		e.load.progress()
	}
	e.conclude()
}

func TestNodesDrained(t *testing.T) {
	local(t)
	e := found(t, 3, ordinary)
	first := e.node(e.leader())
	second := e.node(e.followers()[0])
	drain := func(node, timeout string) error {
		_, err := e.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--pod-selector="+v1alpha1.LabelCluster+"="+name, "--timeout="+timeout)
		return err
	}
	t.Cleanup(func() {
		if _, err := e.kubectl("uncordon", first, second); err != nil {
			t.Error(err)
		}
	})
	if err := drain(first, "4m"); err != nil {
		t.Fatal(err)
	}
	e.load.progress()
	if err := drain(second, "10s"); err == nil {
		t.Error("a second node was drained, and no majority is left")
	}
	e.load.progress()
	e.must("uncordon", first, second)
	e.settled()
	if err := drain(second, "4m"); err != nil {
		t.Fatal(err)
	}
	e.load.progress()
	e.must("uncordon", second)
	e.conclude()
}

func TestNodeLost(t *testing.T) {
	c := local(t)
	e := found(t, 3, patient)
	leader := e.leader()
	node := e.node(leader)
	if operatorOn := operatorNode(t); operatorOn == node {
		// Kubernetes takes five minutes to give up a pod of a lost node.
		leader = e.followers()[0]
		if node = e.node(leader); node == operatorOn {
			leader = e.followers()[1]
			node = e.node(leader)
		}
	}
	if err := c.StopNode(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The test's own context has ended by now.
		if err := c.StartNode(context.Background(), node); err != nil && !strings.Contains(err.Error(), "runs") {
			t.Log(err)
		}
	})
	e.becomes("the loss is seen", func(cc *v1alpha1.CoordinationCluster) error {
		if member(cc, leader).Ready {
			return errors.New("it is ready")
		}
		return errors.Join(has(cc, v1alpha1.ConditionDegraded, "True/"+v1alpha1.ReasonMemberDown), has(cc, v1alpha1.ConditionQuorumHealthy, "True/"+v1alpha1.ReasonQuorum))
	})
	e.load.progress()
	if err := c.StartNode(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	id := member(e.settled(), leader).ID

	// The machine is lost for good, and the only copy of the member's data with it.
	// What follows is what docs/operations.md tells to do.
	if err := c.StopNode(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	e.must("delete", "node", node)
	e.must("delete", "pvc", "data-"+leader, "--wait=false")
	e.must("delete", "pod", leader, "--grace-period=0", "--force")
	e.becomes("another member takes the seat", func(cc *v1alpha1.CoordinationCluster) error {
		if m := member(cc, leader); m.ID == id || m.ID == "" || m.Node == node || !m.Voter {
			return fmt.Errorf("%s was member %s on %s, which is lost, and is %+v", leader, id, node, m)
		}
		return nil
	})
	cc := e.settled()
	m := member(cc, leader)
	votes := func(cc *v1alpha1.CoordinationCluster) {
		t.Helper()
		voters := 0
		for _, m := range cc.Status.Members {
			if m.Voter {
				voters++
			}
			if m.ID == id {
				t.Errorf("the lost member %s is one still: %+v", id, m)
			}
		}
		if voters != 3 {
			t.Errorf("there are %d voters: %+v", voters, cc.Status.Members)
		}
	}
	votes(cc)
	e.load.progress()

	// Should the machine come back after all, then what is on its disk does not.
	if err := c.StartNode(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	e.must("wait", "node", node, "--for=create", "--timeout=4m")
	e.must("wait", "node", node, "--for=condition=Ready", "--timeout=4m")
	cc = e.settled()
	if now := member(cc, leader); now.ID != m.ID {
		t.Errorf("%s was member %s and is %s", leader, m.ID, now.ID)
	}
	votes(cc)
	e.conclude()
	votes(e.get())
}

func operatorNode(t *testing.T) string {
	t.Helper()
	out, err := kubectl(system, "get", "pod", operatorPod(t), "--output=jsonpath={.spec.nodeName}")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLeaderCutOff(t *testing.T) {
	c := local(t)
	e := found(t, 3, patient)
	leader := e.leader()
	t.Cleanup(func() {
		if err := c.Heal(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := c.CutPod(t.Context(), e.pod(leader)); err != nil {
		t.Fatal(err)
	}
	e.anotherLeads(leader)
	e.load.progress()
	if err := c.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.conclude()
}

func TestVolumesLost(t *testing.T) {
	local(t)
	e := found(t, 3, ordinary)
	for _, pod := range []string{e.followers()[0], e.leader()} {
		id, uid := member(e.get(), pod).ID, e.uids()[pod]
		e.lose(pod)
		e.becomes("the pod is made anew", func(*v1alpha1.CoordinationCluster) error {
			if now := e.uids()[pod]; now == "" || now == uid {
				return errors.New("it is not")
			}
			return nil
		})
		cc := e.settled()
		if m := member(cc, pod); m.ID == id || m.ID == "" || !m.Voter {
			t.Errorf("%s had lost its volume as member %s, and is %+v", pod, id, m)
		}
		e.load.progress()
	}
	e.conclude()
}

// lose deletes a pod and its volume.
func (e *ensemble) lose(pods ...string) {
	e.t.Helper()
	for _, pod := range pods {
		e.must("delete", "pvc", "data-"+pod, "--wait=false")
	}
	e.must(append([]string{"delete", "pod", "--wait=false", "--grace-period=1"}, pods...)...)
}

// cordon keeps pods off all nodes but one, until the function that it returns is
// called.
func (e *ensemble) cordon(but string) func() {
	e.t.Helper()
	var nodes []string
	for _, n := range target.local.Nodes() {
		if n != but {
			nodes = append(nodes, n)
		}
	}
	e.must(append([]string{"cordon"}, nodes...)...)
	uncordon := func() {
		if _, err := e.kubectl(append([]string{"uncordon"}, nodes...)...); err != nil {
			e.t.Error(err)
		}
	}
	e.t.Cleanup(uncordon)
	return uncordon
}

func TestQuorumLostAndBack(t *testing.T) {
	local(t)
	e := found(t, 3, patient)
	leader := e.leader()
	uncordon := e.cordon(e.node(leader))
	e.must(append([]string{"delete", "pod"}, e.followers()...)...)
	e.becomes("the majority is down", func(cc *v1alpha1.CoordinationCluster) error {
		return errors.Join(has(cc, v1alpha1.ConditionQuorumHealthy, "False/"+v1alpha1.ReasonMajorityDown), has(cc, v1alpha1.ConditionAvailable, "False/"+v1alpha1.ReasonNoLeader))
	})
	uncordon()
	e.conclude()
}

func TestQuorumLostForGood(t *testing.T) {
	local(t)
	e := found(t, 3, patient)
	// What the lost ones alone had is lost; so that nothing is, everybody has all.
	e.load.hush(true)
	e.settled()
	survivor := e.leader()
	id := member(e.get(), survivor).ID
	e.lose(e.followers()...)
	cc := e.becomes("the majority is lost", func(cc *v1alpha1.CoordinationCluster) error {
		return has(cc, v1alpha1.ConditionQuorumHealthy, "False/"+v1alpha1.ReasonMajorityLost)
	})
	text := condition(cc, v1alpha1.ConditionQuorumHealthy)
	t.Log(text)
	if strings.Count(text, "last heard of at zxid 0x") != 2 || strings.Contains(text, "zxid 0x0)") {
		t.Error("what the lost ones had is forgotten")
	}

	order := map[string]any{"clusterID": strings.Repeat("0", 32), "survivor": id, "reason": "e2e: an order for another ensemble"}
	e.edit(map[string]any{"recovery": order})
	e.becomes("an order for another ensemble is refused", func(cc *v1alpha1.CoordinationCluster) error {
		return has(cc, v1alpha1.ConditionProgressing, "False/"+v1alpha1.ReasonRecoveryRefused)
	})
	order["clusterID"], order["reason"] = e.id, "e2e: two volumes are lost"
	e.edit(map[string]any{"recovery": order})
	cc = e.settled()
	r := cc.Status.Recovery
	if r == nil || r.FormerClusterID != e.id || r.Survivor != id || r.ClusterID == e.id || r.ClusterID != cc.Status.ClusterID {
		t.Fatalf("the recovery: %+v, and the ensemble is %s", r, cc.Status.ClusterID)
	}
	e.id = r.ClusterID
	e.conclude()
}
