package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// nodes makes a command that reads nodes.
func (c *command) nodes(use, short, long string, run func(t Tree, path string) error) *cobra.Command {
	cmd := c.of(use, short, long, true, func(ctx context.Context, args []string) error {
		t, err := c.tree(ctx, args[0])
		if err != nil {
			return err
		}
		defer t.Close()
		if err := run(t, args[1]); err != nil {
			return fmt.Errorf("%s: %w", args[1], err)
		}
		return nil
	})
	cmd.Flags().StringArrayVar(&c.auth, "auth", nil, "show this to be let in, SCHEME:VALUE as in addauth: digest:USER:PASSWORD; several times for several")
	return cmd
}

func (c *command) tree(ctx context.Context, cluster string) (Tree, error) {
	var auth []Auth
	for _, text := range c.auth {
		scheme, value, ok := strings.Cut(text, ":")
		if !ok || scheme == "" || value == "" {
			return nil, fmt.Errorf("--auth: %q is not SCHEME:VALUE, such as digest:USER:PASSWORD", text)
		}
		auth = append(auth, Auth{scheme, value})
	}
	cc, err := c.world.Cluster(ctx, cluster)
	if err != nil {
		return nil, err
	}
	return c.world.Tree(ctx, cc, auth)
}

func (c *command) ls() *cobra.Command {
	return c.nodes("ls CLUSTER PATH", "List the children of a node", "List the children of a node, sorted, one a line.", func(t Tree, path string) error {
		names, err := t.Children(path)
		if err != nil {
			return err
		}
		slices.Sort(names)
		for _, n := range names {
			fmt.Fprintln(c.out, n)
		}
		return nil
	})
}

func (c *command) get() *cobra.Command {
	return c.nodes("get CLUSTER PATH", "Print the data of a node", "Print the data of a node as it is, and nothing else.", func(t Tree, path string) error {
		data, _, err := t.Get(path)
		if err != nil {
			return err
		}
		_, err = c.out.Write(data)
		return err
	})
}

func (c *command) stat() *cobra.Command {
	return c.nodes("stat CLUSTER PATH", "Show what is known of a node besides its data", "Show a node's transactions, times and versions, and the session that owns it, if it is ephemeral.", func(t Tree, path string) error {
		s, err := t.Stat(path)
		if err != nil {
			return err
		}
		owner := "none: the node stays"
		if s.EphemeralOwner != 0 {
			owner = fmt.Sprintf("0x%x", uint64(s.EphemeralOwner))
		}
		when := func(at time.Time) string {
			return fmt.Sprintf("%s (%s ago)", at.UTC().Format(time.RFC3339), age(c.world.Now().Sub(at)))
		}
		zxid := func(z int64) string { return fmt.Sprintf("0x%x", z) }
		return table(c.out,
			[]string{"Path:", path},
			[]string{"Created:", zxid(s.Czxid), when(s.Created)},
			[]string{"Data set:", zxid(s.Mzxid), when(s.Modified)},
			[]string{"Children changed:", zxid(s.Pzxid)},
			[]string{"Versions:", fmt.Sprintf("data %d, children %d, ACL %d", s.Version, s.ChildVersion, s.ACLVers)},
			[]string{"Session:", owner},
			[]string{"Data:", fmt.Sprintf("%d bytes", s.DataLength)},
			[]string{"Children:", fmt.Sprint(s.NumChildren)},
		)
	})
}
