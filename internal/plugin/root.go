package plugin

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// Streams are where a command writes.
type Streams struct{ Out, Err io.Writer }

// timeout bounds a command that answers once.
const timeout = 30 * time.Second

// command is what all commands share.
type command struct {
	world    World
	out, err io.Writer
	auth     []string
}

// New is the root command. The world is asked for when a command runs, once flags
// are known.
func New(world World, s Streams) *cobra.Command {
	c := &command{world: world, out: s.Out, err: s.Err}
	root := &cobra.Command{
		Use:           "kubectl-conclave",
		Short:         "Look into coordination clusters",
		Long:          "Look into the CoordinationClusters of a namespace: members, sessions, and the nodes that clients keep in them.\nNothing is changed.",
		SilenceUsage:  true,
		SilenceErrors: true,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl conclave"},
	}
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.AddCommand(c.status(), c.sessions(), c.ephemerals(), c.who(), c.ls(), c.get(), c.stat())
	return root
}

// of makes a command about a cluster, and, if path is true, a path in it.
func (c *command) of(use, short, long string, path bool, run func(ctx context.Context, args []string) error) *cobra.Command {
	n := 1
	if path {
		n = 2
	}
	return &cobra.Command{
		Use: use, Short: short, Long: long,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != n {
				return fmt.Errorf("%s needs %s, and has %d arguments", cmd.Name(), strings.TrimPrefix(use, cmd.Name()+" "), len(args))
			}
			if path {
				return checkPath(args[1])
			}
			return nil
		},
		ValidArgsFunction: c.complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return run(ctx, args)
		},
	}
}

// checkPath refuses what can't be the path of a node.
func checkPath(path string) error {
	switch {
	case !strings.HasPrefix(path, "/"):
		return fmt.Errorf("%q is no path: it begins with /", path)
	case path != "/" && strings.HasSuffix(path, "/"):
		return fmt.Errorf("%q is no path: it ends in a name", path)
	case strings.Contains(path, "//"):
		return fmt.Errorf("%q is no path: it has // in it", path)
	}
	return nil
}

// complete completes names of clusters, and paths in them.
func (c *command) complete(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	const quiet = cobra.ShellCompDirectiveNoFileComp
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var out []string
	switch {
	case len(args) == 0:
		list, err := c.world.Clusters(ctx)
		if err != nil {
			return nil, quiet | cobra.ShellCompDirectiveError
		}
		for i := range list {
			if name := list[i].Name; strings.HasPrefix(name, typed) {
				out = append(out, name)
			}
		}
	case len(args) == 1 && strings.Contains(cmd.Use, "PATH"):
		dir, _ := splitPath(typed)
		t, err := c.tree(ctx, args[0])
		if err != nil {
			return nil, quiet | cobra.ShellCompDirectiveError
		}
		defer t.Close()
		names, err := t.Children(dir)
		if err != nil {
			return nil, quiet
		}
		for _, n := range names {
			if p := join(dir, n); strings.HasPrefix(p, typed) {
				out = append(out, p)
			}
		}
		return out, quiet | cobra.ShellCompDirectiveNoSpace
	}
	return out, quiet
}

// splitPath is the parent of what was typed so far, and the beginning of a name.
func splitPath(typed string) (dir, name string) {
	i := strings.LastIndexByte(typed, '/')
	switch {
	case i < 0:
		return "/", typed
	case i == 0:
		return "/", typed[1:]
	}
	return typed[:i], typed[i+1:]
}

func join(dir, name string) string { return strings.TrimSuffix(dir, "/") + "/" + name }

// table prints rows in columns. A cell has no tabs or line ends in it.
func table(out io.Writer, rows ...[]string) error {
	w := tabwriter.NewWriter(out, 0, 8, 3, ' ', 0)
	clean := strings.NewReplacer("\t", " ", "\n", " ", "\r", " ")
	for _, r := range rows {
		for i, cell := range r {
			if r[i] = clean.Replace(cell); r[i] == "" {
				r[i] = "-"
			}
		}
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	return w.Flush()
}

// age is a duration as kubectl shows it.
func age(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours())/24)
}
