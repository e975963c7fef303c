//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

func TestParkedAndBack(t *testing.T) {
	e := found(t, 3, patient)
	claims, members := e.claims(), e.get().Status.Members
	e.load.hush(true)
	e.scale(0)
	e.becomes("it is parked", func(cc *v1alpha1.CoordinationCluster) error {
		if n := len(e.pods()); n > 0 {
			return fmt.Errorf("there are %d pods", n)
		}
		return has(cc, v1alpha1.ConditionProgressing, "False/"+v1alpha1.ReasonParked)
	})
	if now := e.claims(); !slices.Equal(now, claims) {
		t.Errorf("volumes were %v and are %v", claims, now)
	}
	e.scale(5)
	cc := e.settled()
	for _, m := range members {
		if now := member(cc, m.Pod); now.ID != m.ID {
			t.Errorf("%s was member %s and is %s", m.Pod, m.ID, now.ID)
		}
	}
	e.conclude()
}

// delete waits until the cluster and its pods are gone.
func (e *ensemble) delete() {
	e.t.Helper()
	e.must("delete", "cc", name, "--timeout=4m")
	eventually(e.t, "all pods are gone", func() error {
		if n := len(e.pods()); n > 0 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
}

func TestDeletedAndCreatedOverKeptVolumes(t *testing.T) {
	e := found(t, 3, patient)
	members := e.get().Status.Members
	e.load.hush(true)
	e.delete()
	if n := len(e.claims()); n != 3 {
		t.Fatalf("%d volumes were kept", n)
	}
	e.create(3)
	cc := e.settled()
	if b := cc.Status.Bootstrap; b == nil || !b.Adopted || b.ClusterID != e.id {
		t.Errorf("the latch: %+v", b)
	}
	for _, m := range members {
		if now := member(cc, m.Pod); now.ID != m.ID {
			t.Errorf("%s was member %s and is %s", m.Pod, m.ID, now.ID)
		}
	}
	e.conclude()
}

func TestDeletedWithVolumes(t *testing.T) {
	e := found(t, 3, ordinary, func(s *v1alpha1.CoordinationClusterSpec) {
		s.Storage.Retention.WhenDeleted = v1alpha1.RetentionDelete
		s.Leases = &v1alpha1.LeasesSpec{Rules: []v1alpha1.LeaseRule{{Name: "held", Kind: v1alpha1.LeaseNode, Path: "/held-*", LeaseName: "of-{name}"}}}
	})
	stand(t, "go", strings.Join(e.addresses(), ","), slow, "hold", "/held-go", "holder").said("SESSION", time.Time{})
	eventually(t, "its Lease is there", func() error {
		_, err := e.kubectl("get", "lease", "of-held-go")
		return err
	})
	e.load.conclude()
	// Nobody is there who could take a finalizer away.
	operators := func(n int) {
		if out, err := kubectl(system, "scale", "deployment/conclave-operator", fmt.Sprintf("--replicas=%d", n)); err != nil {
			t.Error(out, err)
		}
		if out, err := kubectl(system, "rollout", "status", "deployment/conclave-operator", "--timeout=4m"); err != nil {
			t.Error(out, err)
		}
	}
	t.Cleanup(func() { operators(1) })
	operators(0)
	operatorGone(t)
	e.delete()
	eventually(t, "nothing is left", func() error {
		out, err := e.kubectl("get", "leases,pvc,services,statefulsets,configmaps,secrets,pdb,networkpolicies,serviceaccounts", "--selector="+v1alpha1.LabelCluster, "--output=name")
		if err == nil && out != "" {
			err = fmt.Errorf("there are:\n%s", out)
		}
		return err
	})
}

func TestVolumesGrow(t *testing.T) {
	e := found(t, 3, ordinary)
	before := e.uids()
	e.edit(map[string]any{"storage": map[string]any{"size": "512Mi"}})
	e.becomes("all volumes have grown", func(*v1alpha1.CoordinationCluster) error {
		for _, claim := range e.claims() {
			var c corev1.PersistentVolumeClaim
			if err := e.read(&c, claim); err != nil {
				return err
			}
			if got := c.Status.Capacity.Storage().String(); got != "512Mi" {
				return fmt.Errorf("%s has %s", claim, got)
			}
		}
		return nil
	})
	e.settled()
	for pod, uid := range e.uids() {
		if before[pod] != uid {
			t.Errorf("%s was restarted", pod)
		}
	}
	_, err := e.kubectl("patch", "cc", name, "--type=merge", `--patch={"spec":{"storage":{"size":"256Mi"}}}`)
	if err == nil {
		t.Error("volumes may shrink")
	}
	// A member that comes later gets the size of the others.
	e.through(5)
	e.conclude()
}

func TestDriftIsRepaired(t *testing.T) {
	e := found(t, 3, ordinary)
	repaired := func(what, want, path string, object ...string) {
		t.Helper()
		eventually(t, what, func() error {
			got, err := e.kubectl(append([]string{"get", "--output=jsonpath=" + path}, object...)...)
			if err == nil && got != want {
				err = fmt.Errorf("%s is %q, want %q", path, got, want)
			}
			return err
		})
	}
	budget := e.must("get", "pdb", "--output=jsonpath={.items[0].metadata.name}")
	uid := e.must("get", "pdb", budget, "--output=jsonpath={.metadata.uid}")
	e.must("delete", "pdb", budget)
	eventually(t, "the budget is made anew", func() error {
		var got string
		got, err := e.kubectl("get", "pdb", budget, "--output=jsonpath={.metadata.uid}")
		if err == nil && (got == "" || got == uid) {
			err = errors.New("it is not")
		}
		return err
	})
	e.must("patch", "service", name, "--type=merge", `--patch={"spec":{"selector":{"app.kubernetes.io/name":"somebody-else"}}}`)
	repaired("the Service's selector", `{"conclave.dev/cluster":"shop"}`, "{.spec.selector}", "service", name)
	e.must("scale", "statefulset", name, "--replicas=2")
	repaired("the number of voters", "3", "{.spec.replicas}", "statefulset", name)
	e.settled()
	e.load.progress()

	// What the operator does not set is left to others.
	e.must("annotate", "service", name, "somebody.example/mine=1")
	e.must("delete", "service", name+"-members")
	eventually(t, "the headless Service is made anew", func() error {
		var s corev1.Service
		err := e.read(&s, name+"-members")
		if apierrors.IsNotFound(err) {
			return errors.New("it is not")
		}
		return err
	})
	repaired("somebody's annotation", "1", `{.metadata.annotations.somebody\.example/mine}`, "service", name)
	e.conclude()
}
