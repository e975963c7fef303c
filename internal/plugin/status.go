package plugin

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/conclave-dev/conclave/api/v1alpha1"
)

func (c *command) status() *cobra.Command {
	return c.of("status CLUSTER", "Show how a cluster is, at a glance",
		"Show how a cluster is: what is wrong, if anything is; its members, with the leader and how far each is behind;\nits sessions and Leases. It is what the operator has seen last.",
		false, func(ctx context.Context, args []string) error {
			cc, err := c.world.Cluster(ctx, args[0])
			if err != nil {
				return err
			}
			return c.printStatus(cc)
		})
}

// wellWhenFalse are conditions that say that something is wrong, or under way, when
// they are True.
var wellWhenFalse = []string{v1alpha1.ConditionDegraded, v1alpha1.ConditionProgressing}

func (c *command) printStatus(cc *v1alpha1.CoordinationCluster) error {
	s := &cc.Status
	word := "not available"
	if available := find(s.Conditions, v1alpha1.ConditionAvailable); available != nil && available.Status == metav1.ConditionTrue {
		word = "available"
	}
	fmt.Fprintf(c.out, "%s/%s: %s, %s voters ready, leader %s, version %s\n", cc.Namespace, cc.Name, word, or(s.Ready), or(s.Leader), or(s.Version))
	if s.ClientEndpoint != "" {
		fmt.Fprintf(c.out, "clients connect to %s\n", s.ClientEndpoint)
	}
	if s.ObservedGeneration != cc.Generation {
		fmt.Fprintln(c.out, "the operator has not seen the last change of the spec yet")
	}
	for _, name := range v1alpha1.Conditions() {
		x := find(s.Conditions, name)
		if x == nil {
			continue
		}
		well := metav1.ConditionTrue
		if slices.Contains(wellWhenFalse, name) {
			well = metav1.ConditionFalse
		}
		if x.Status != well {
			fmt.Fprintf(c.out, "%s is %s (%s, for %s): %s\n", name, x.Status, x.Reason, age(c.world.Now().Sub(x.LastTransitionTime.Time)), x.Message)
		}
	}
	rows := [][]string{{"MEMBER", "ROLE", "READY", "LAG", "ZXID", "CONNECTIONS", "VERSION", "NODE", "MESSAGE"}}
	for _, m := range s.Members {
		ready := "no"
		if m.Ready {
			ready = "yes"
		}
		if m.Draining {
			ready += ", draining"
		}
		rows = append(rows, []string{m.Pod, string(m.Role), ready, fmt.Sprint(m.Lag), m.Zxid, fmt.Sprint(m.Connections), m.Version, m.Node, m.Message})
	}
	fmt.Fprintln(c.out)
	if err := table(c.out, rows...); err != nil {
		return err
	}
	if x := s.Sessions; x != nil {
		fmt.Fprintln(c.out)
		if err := table(c.out,
			[]string{"SESSIONS", "CONNECTED", "CONNECTING", "NOT CONNECTED", "CLOSED", "EXPIRED", "EPHEMERALS", "WATCHES", "SEEN"},
			[]string{fmt.Sprint(x.Total), fmt.Sprint(x.Connected), fmt.Sprint(x.Connecting), fmt.Sprint(x.NotConnected),
				fmt.Sprint(x.Closed), fmt.Sprint(x.Expired), fmt.Sprint(x.Ephemerals), fmt.Sprint(x.Watches), c.ago(x.ObservedTime)}); err != nil {
			return err
		}
	}
	if x := s.Leases; x != nil {
		fmt.Fprintln(c.out)
		return table(c.out, []string{"LEASES", "TRUNCATED", "CONFLICTS", "DURATION", "SEEN"},
			[]string{fmt.Sprint(x.Mirrored), fmt.Sprint(x.Truncated), fmt.Sprint(x.Conflicts), fmt.Sprintf("%ds", x.DurationSeconds), c.ago(x.ObservedTime)})
	}
	return nil
}

func (c *command) ago(t *metav1.Time) string {
	if t == nil {
		return "never"
	}
	return age(c.world.Now().Sub(t.Time)) + " ago"
}

func find(list []metav1.Condition, name string) *metav1.Condition {
	for i := range list {
		if list[i].Type == name {
			return &list[i]
		}
	}
	return nil
}

func or(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
