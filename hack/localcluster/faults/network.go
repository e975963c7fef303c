package faults

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// The table of rules in a node's network that this package owns. Forwarded
// packets are all that pods exchange with anybody but their own node, also
// between pods of the same node: what a pod's node itself sends, such as
// the kubelet's probes, is not forwarded. The hook comes before kube-proxy's
// own, and after addresses of services have become those of pods.
const (
	table = "inet conclave_faults"
	rules = `
add table inet conclave_faults
add set inet conclave_faults pods { type ipv4_addr; }
add set inet conclave_faults pairs { type ipv4_addr . ipv4_addr; }
add chain inet conclave_faults forward { type filter hook forward priority -300; }
flush chain inet conclave_faults forward
add rule inet conclave_faults forward ip saddr @pods drop
add rule inet conclave_faults forward ip daddr @pods drop
add rule inet conclave_faults forward ip saddr . ip daddr @pairs drop
`
	// island drops all that comes over the node's only link to the others.
	island = `
add table inet conclave_faults
add chain inet conclave_faults island_in { type filter hook input priority -300; }
add chain inet conclave_faults island_out { type filter hook output priority -300; }
add chain inet conclave_faults island_forward { type filter hook forward priority -300; }
add rule inet conclave_faults island_in iifname eth0 drop
add rule inet conclave_faults island_out oifname eth0 drop
add rule inet conclave_faults island_forward iifname eth0 drop
add rule inet conclave_faults island_forward oifname eth0 drop
`
)

// CutPod keeps a pod from exchanging anything with anybody but its own node:
// probes go on, and everything else is lost without a word, also on connections
// that are open. It is the pod's address that is cut off, and stays so, until
// Heal: a pod that takes its place is not.
func (c *Cluster) CutPod(ctx context.Context, p Pod) error {
	got, err := c.pod(ctx, p)
	if err != nil {
		return err
	}
	return c.nft(ctx, got.Spec.NodeName, rules+"add element "+table+" pods { "+got.Status.PodIP+" }\n")
}

// Split keeps the pods of one side from exchanging anything with those of the
// other, in both directions.
func (c *Cluster) Split(ctx context.Context, one, other []Pod) error {
	nodes := make(map[string]bool)
	addresses := func(pods []Pod) (list []string, err error) {
		for _, p := range pods {
			got, err := c.pod(ctx, p)
			if err != nil {
				return nil, err
			}
			nodes[got.Spec.NodeName] = true
			list = append(list, got.Status.PodIP)
		}
		return list, nil
	}
	left, err := addresses(one)
	if err != nil {
		return err
	}
	right, err := addresses(other)
	if err != nil {
		return err
	}
	script := rules + pairs(left, right)
	for node := range nodes {
		if err := c.nft(ctx, node, script); err != nil {
			return err
		}
	}
	return nil
}

// pairs are the commands that separate two sets of addresses.
func pairs(left, right []string) string {
	var b strings.Builder
	for _, l := range left {
		for _, r := range right {
			fmt.Fprintf(&b, "add element %s pairs { %s . %s, %s . %s }\n", table, l, r, r, l)
		}
	}
	return b.String()
}

// CutNode cuts the link of a node to all others, the control plane among them.
// Its pods go on, and reach each other.
func (c *Cluster) CutNode(ctx context.Context, node string) error {
	return c.nft(ctx, node, island)
}

// Heal undoes all cuts on all nodes that run.
func (c *Cluster) Heal(ctx context.Context) error {
	var errs []error
	for _, node := range c.Nodes() {
		if !c.running(node) {
			continue
		}
		// Added first, so that there is something to delete.
		errs = append(errs, c.nft(ctx, node, "add table "+table+"\ndelete table "+table+"\n"))
	}
	return errors.Join(errs...)
}

func (c *Cluster) nft(ctx context.Context, node, script string) error {
	_, err := c.input(ctx, node, script, "nft", "-f", "-")
	return err
}
