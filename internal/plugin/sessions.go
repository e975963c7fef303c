package plugin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/conclave-dev/conclave/internal/projection/mirror"
)

// states are those that --state takes. The last two are seen with --watch only.
var states = []string{"NOT_CONNECTED", "CONNECTING", "CONNECTED", closed, expired}

const (
	closed  = "CLOSED"
	expired = "EXPIRED"
)

func (c *command) sessions() *cobra.Command {
	var watch bool
	var state, order string
	cmd := c.of("sessions CLUSTER", "List the sessions of clients, live from the leader",
		"List the sessions of clients as the leader knows them now: their states, for how long nothing was heard of their\n"+
			"clients, how many ephemeral nodes go with them, and where the clients are. SILENCE is as of now for the hundred\n"+
			"sessions nearest to expiry, and for others when they last changed.\n\n"+
			"It connects to the leader's admin port, with the certificate of readers: it needs get on the Secret\n"+
			"CLUSTER-reader.",
		false, nil)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if state != "" {
			if state = strings.ReplaceAll(strings.ToUpper(state), "-", "_"); !slices.Contains(states, state) {
				return fmt.Errorf("--state: %q is none of %s", state, strings.Join(states, ", "))
			}
			if (state == closed || state == expired) && !watch {
				return fmt.Errorf("--state: sessions that are %s are no more; --watch shows how they end", state)
			}
		}
		if order != "id" && order != "silence" {
			return fmt.Errorf("--sort: %q is neither id nor silence", order)
		}
		if watch {
			return c.watchSessions(cmd.Context(), args[0], state, order)
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
		defer cancel()
		l, err := c.follow(ctx, args[0])
		if err != nil {
			return err
		}
		defer l.close()
		rows := [][]string{sessionHeader}
		for _, s := range l.list(state, order) {
			rows = append(rows, l.row(ctx, s, s.State.String()))
		}
		return table(c.out, rows...)
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on with a line for every change")
	cmd.Flags().StringVar(&state, "state", "", "only sessions of this state: "+strings.Join(states, ", "))
	cmd.Flags().StringVar(&order, "sort", "id", "by id or silence, the longest first")
	complete := func(list []string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return list, cobra.ShellCompDirectiveNoFileComp
		}
	}
	// They fail only for flags that are not there.
	_ = cmd.RegisterFlagCompletionFunc("state", complete(states))
	_ = cmd.RegisterFlagCompletionFunc("sort", complete([]string{"id", "silence"}))
	return cmd
}

var sessionHeader = []string{"SESSION", "STATE", "SILENCE", "TIMEOUT", "EPHEMERALS", "AGE", "MEMBER", "CLIENT", "POD"}

func (l *live) row(ctx context.Context, s mirror.Session, state string) []string {
	quiet := silence(s.Silence)
	if state == closed || state == expired {
		quiet = ""
	}
	return []string{sessionID(s.ID), state, quiet, s.Timeout.String(), fmt.Sprint(s.Ephemerals),
		age(l.c.world.Now().Sub(s.Created)), l.member(s.Member), clientOf(s), l.pod(ctx, s.Client)}
}

// list is the sessions of a state, or all, in order.
func (l *live) list(state, order string) []mirror.Session {
	list := l.mirror.AtRisk(l.mirror.Sessions(), l.c.world.Now())
	if state != "" {
		list = slices.DeleteFunc(list, func(s mirror.Session) bool { return s.State.String() != state })
	}
	slices.SortFunc(list, func(a, b mirror.Session) int {
		if order == "silence" && a.Silence != b.Silence {
			return cmp.Compare(b.Silence, a.Silence)
		}
		return cmp.Compare(a.ID, b.ID)
	})
	return list
}

// watchSessions prints all sessions, and then a line for each change, until it is
// stopped. It goes on with the next leader.
func (c *command) watchSessions(ctx context.Context, name, state, order string) error {
	first, cancel := context.WithTimeout(ctx, timeout)
	l, err := c.followWithin(ctx, first, name)
	cancel()
	if err != nil {
		return err
	}
	defer func() { l.close() }()
	line := func(cells []string) {
		for i := range cells {
			if cells[i] == "" {
				cells[i] = "-"
			}
		}
		fmt.Fprintln(c.out, strings.TrimRight(fmt.Sprintf("%-18s   %-13s   %-9s   %-8s   %-10s   %-5s   %-12s   %-21s   %s", anys(cells)...), " "))
	}
	wanted := func(s string) bool { return state == "" || s == state }
	line(slices.Clone(sessionHeader))
	for _, s := range l.list(state, order) {
		line(l.row(ctx, s, s.State.String()))
	}
	for {
		_, d, err := l.next()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			fmt.Fprintf(c.err, "the stream has ended: %v; connecting again\n", err)
			l.close()
			l.mirror.Broken()
			if err := l.again(ctx, name); err != nil {
				return err
			}
			continue
		}
		for _, id := range d.Touched {
			if s, ok := l.mirror.Session(id, c.world.Now()); ok && wanted(s.State.String()) {
				line(l.row(ctx, s, s.State.String()))
			}
		}
		for _, e := range d.Ended {
			how := closed
			if e.Expired {
				how = expired
			}
			if wanted(how) {
				line(l.row(ctx, e.Session, how))
			}
		}
	}
}

// followWithin follows for as long as ctx lasts, if that comes about within first.
func (c *command) followWithin(ctx, first context.Context, name string) (*live, error) {
	inner, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(first, cancel)
	l, err := c.follow(inner, name)
	if !stop() || err != nil {
		cancel()
		if err == nil {
			l.close()
			err = first.Err()
		}
		return nil, err
	}
	end := l.stop
	l.stop = func() { end(); cancel() }
	return l, nil
}

// again connects until it succeeds, or ctx ends.
func (l *live) again(ctx context.Context, name string) error {
	for {
		err := l.connect(ctx, name)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
			fmt.Fprintf(l.c.err, "%v; trying again\n", err)
		}
	}
}

func anys(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}
