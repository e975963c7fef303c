package plugin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/conclave-dev/conclave/internal/projection/leases"
	"github.com/conclave-dev/conclave/internal/projection/mirror"
)

func (c *command) ephemerals() *cobra.Command {
	cmd := c.of("ephemerals CLUSTER [PATH]", "List ephemeral nodes, with their sessions and Leases",
		"List the ephemeral nodes of a cluster, or those at and below a path, with the sessions that own them, the pods of\n"+
			"their clients, and the Leases of which they are the holders. It needs what sessions needs, and list on Leases.",
		false, nil)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		switch len(args) {
		case 1:
			return nil
		case 2:
			return checkPath(args[1])
		}
		return fmt.Errorf("ephemerals needs CLUSTER [PATH], and has %d arguments", len(args))
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
		defer cancel()
		l, err := c.follow(ctx, args[0])
		if err != nil {
			return err
		}
		defer l.close()
		held, err := c.leasesByHolder(ctx, l)
		if err != nil {
			return err
		}
		below := "/"
		if len(args) == 2 {
			below = args[1]
		}
		var nodes []mirror.Ephemeral
		for n := range l.mirror.Ephemerals() {
			if below == "/" || n.Path == below || strings.HasPrefix(n.Path, below+"/") {
				nodes = append(nodes, n)
			}
		}
		slices.SortFunc(nodes, func(a, b mirror.Ephemeral) int { return cmp.Compare(a.Path, b.Path) })
		rows := [][]string{{"PATH", "SESSION", "STATE", "AGE", "CLIENT", "POD", "LEASE", "HOLDER"}}
		for _, n := range nodes {
			s, _ := l.mirror.Session(n.Session, c.world.Now())
			row := []string{n.Path, sessionID(n.Session), s.State.String(), age(c.world.Now().Sub(n.Created)), clientOf(s), l.pod(ctx, s.Client), "", ""}
			for _, x := range held[n.Path] {
				// A node can be the holder of several Leases, by several rules.
				row[6] = strings.TrimPrefix(row[6]+","+x.Name, ",")
				row[7] = *x.Spec.HolderIdentity
			}
			rows = append(rows, row)
		}
		return table(c.out, rows...)
	}
	return cmd
}

// leasesByHolder are the Leases of a cluster by the node of the holder.
func (c *command) leasesByHolder(ctx context.Context, l *live) (map[string][]coordinationv1.Lease, error) {
	list, err := c.world.Leases(ctx, l.cluster)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b coordinationv1.Lease) int { return cmp.Compare(a.Name, b.Name) })
	out := make(map[string][]coordinationv1.Lease)
	for _, x := range list {
		if p := x.Annotations[leases.AnnotationHolderPath]; p != "" && x.Spec.HolderIdentity != nil {
			out[p] = append(out[p], x)
		}
	}
	return out, nil
}

func (c *command) who() *cobra.Command {
	return c.of("who CLUSTER PATH", "Show who holds a lock, and since when",
		"Show which session holds an ephemeral node, or leads the election whose candidates are the sequential ephemeral\n"+
			"children of a node, in which pod its client is, and since when. It needs what ephemerals needs.",
		true, func(ctx context.Context, args []string) error {
			l, err := c.follow(ctx, args[0])
			if err != nil {
				return err
			}
			defer l.close()
			held, err := c.leasesByHolder(ctx, l)
			if err != nil {
				return err
			}
			path := args[1]
			holder, waiting := holderOf(l.mirror, path)
			if holder == nil {
				fmt.Fprintf(c.out, "nobody: %s is not ephemeral, and has no sequential ephemeral children\n", path)
				return nil
			}
			s, known := l.mirror.Session(holder.Session, c.world.Now())
			state := "not known"
			if known {
				state = fmt.Sprintf("%s, silent for %s of %v", s.State, silence(s.Silence), s.Timeout)
			}
			when := func(at time.Time) string {
				return fmt.Sprintf("%s (%s ago)", at.UTC().Format(time.RFC3339), age(c.world.Now().Sub(at)))
			}
			rows := [][]string{
				{"Path:", path},
				{"Session:", sessionID(holder.Session), state},
				{"Client:", clientOf(s)},
				{"Pod:", l.pod(ctx, s.Client)},
				{"Node:", holder.Path, fmt.Sprintf("czxid 0x%x", holder.Czxid)},
				{"Made:", when(holder.Created)},
			}
			if holder.Path != path {
				rows = append(rows, []string{"Waiting:", fmt.Sprint(waiting)})
			}
			for _, x := range held[holder.Path] {
				rows = append(rows, []string{"Lease:", x.Name, "holder " + *x.Spec.HolderIdentity})
				if x.Spec.AcquireTime != nil {
					rows = append(rows, []string{"Holder since:", when(x.Spec.AcquireTime.Time)})
				}
			}
			return table(c.out, rows...)
		})
}

// holderOf is the node that holds a path: itself, or its lowest sequential ephemeral
// child; and how many children come behind.
func holderOf(m *mirror.Mirror, path string) (holder *mirror.Ephemeral, waiting int) {
	if e, ok := m.Ephemeral(path); ok {
		return &e, 0
	}
	var lowest int32
	for e := range m.Ephemerals() {
		dir, name := splitPath(e.Path)
		n, ok := leases.Sequence(name)
		if !ok || dir != path {
			continue
		}
		if holder != nil {
			waiting++
		}
		if holder == nil || n < lowest || n == lowest && e.Czxid < holder.Czxid {
			holder, lowest = &e, n
		}
	}
	return holder, waiting
}
