//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// TestPlugin: kubectl conclave, as a person has it, through the API server's
// port-forward to members of which no port is exposed.
func TestPlugin(t *testing.T) {
	dir := t.TempDir()
	if err := command("go", "build", "-o", filepath.Join(dir, "kubectl-conclave"), "./cmd/kubectl-conclave"); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	e := found(t, 3, ordinary[3:], func(spec *v1alpha1.CoordinationClusterSpec) {
		spec.Leases = &v1alpha1.LeasesSpec{Rules: []v1alpha1.LeaseRule{{Name: "held", Kind: v1alpha1.LeaseNode, Path: "/held-*", LeaseName: "of-{name}"}}}
	})
	setup := e.load.connect("setup", time.Minute)
	eventually(t, "a node with an ACL", func() error {
		if err := setup.zk.AddAuth("digest", []byte("me:secret")); err != nil {
			return err
		}
		if _, err := setup.zk.Create("/private", []byte("for me"), 0, zk.DigestACL(zk.PermAll, "me", "secret")); !errors.Is(err, zk.ErrNodeExists) {
			return err
		}
		return nil
	})
	c := stand(t, "go", strings.Join(e.addresses(), ","), slow, "hold", "/held-go", "holder")
	c.said("SESSION", time.Time{})
	id := c.session()
	for _, x := range []struct {
		command string
		want    []string
	}{
		{"status shop", []string{"shop: available, 3/3 voters ready, leader shop-", "SESSIONS", "LEASES"}},
		{"sessions shop", []string{id, "CONNECTED", "shop-"}},
		{"sessions shop --state connected --sort silence", []string{id}},
		{"ephemerals shop /held-go", []string{"/held-go", id, "of-held-go"}},
		{"who shop /held-go", []string{id, "Lease:", "of-held-go", "Holder since:"}},
		{"ls shop /", []string{"held-go\n", "private\n", "zookeeper\n"}},
		{"stat shop /held-go", []string{"Session:", id}},
		{"get shop /private --auth digest:me:secret", []string{"for me"}},
	} {
		// Of what the operator shows it may come a moment later.
		eventually(t, "kubectl conclave "+x.command, func() error {
			out, err := e.conclave(x.command)
			for _, w := range x.want {
				if err == nil && !strings.Contains(out, w) {
					err = fmt.Errorf("there is no %q in\n%s", w, out)
				}
			}
			return err
		})
	}
	if out, err := e.conclave("get shop /private"); err == nil || !strings.Contains(err.Error(), "ACL does not allow it") {
		t.Errorf("a node that is somebody's is read by anybody: %q, %v", out, err)
	}
	e.conclude()
}

// conclave runs a command of the plugin.
func (e *ensemble) conclave(line string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "kubectl", append(append([]string{"conclave"}, strings.Fields(line)...), "--namespace="+e.namespace)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kubectl conclave %s: %w: %s", line, err, stderr.String())
	}
	return stdout.String(), nil
}
