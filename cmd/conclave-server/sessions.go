package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
)

func sessionsCommand() *cobra.Command {
	var t target
	var nodes, watch bool
	cmd := &cobra.Command{
		Use: "sessions", Short: "Show the sessions of an ensemble and their ephemeral nodes, as its leader knows them", Args: noArgs,
		Long: `sessions shows the sessions of an ensemble, those most at risk first. It has to
be asked of the leader; another member says who that is.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, done, err := t.client()
			if err != nil {
				return err
			}
			defer done()
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			req := &adminpb.WatchSessionsRequest{}
			if nodes {
				req.DataPatterns, req.MaxDataBytes = []string{"/**"}, 64
			}
			return readable(sessions(ctx, c, req, nodes, watch, cmd.OutOrStdout()))
		},
	}
	t.flags(cmd)
	cmd.Flags().BoolVar(&nodes, "ephemerals", false, "show the ephemeral nodes too")
	cmd.Flags().BoolVar(&watch, "watch", false, "go on, with a line for each change")
	return cmd
}

// sessions prints what a leader's stream says.
func sessions(ctx context.Context, c adminpb.AdminClient, req *adminpb.WatchSessionsRequest, nodes, watch bool, out io.Writer) error {
	stream, err := c.WatchSessions(ctx, req)
	if err != nil {
		return err
	}
	all, held := map[uint64]*adminpb.Session{}, map[string]*adminpb.Ephemeral{}
	var totals *adminpb.SessionTotals
	whole, shown := false, false
	for {
		u, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if s := u.GetSnapshot(); s != nil {
			if s.GetFirst() {
				clear(all)
				clear(held)
				shown = false
			}
			for _, s := range s.GetSessions() {
				all[s.GetId()] = s
			}
			for _, e := range s.GetEphemerals() {
				held[e.GetPath()] = e
			}
			whole = s.GetLast()
		}
		for _, c := range u.GetChanges().GetChanges() {
			if shown {
				showChange(out, c, nodes)
			} else if s := c.GetSession(); s != nil {
				all[s.GetId()] = s
			} else if e := c.GetEnd(); e != nil {
				delete(all, e.GetSession().GetId())
			} else if e := c.GetEphemeral(); e != nil {
				held[e.GetPath()] = e
			} else if g := c.GetGone(); g != nil {
				delete(held, g.GetPath())
			}
		}
		if h := u.GetHeartbeat(); h != nil {
			totals = h.GetTotals()
			if !h.GetQuorum() {
				fmt.Fprintf(out, "no contact with a majority for %v: what is shown may be of the past\n", millis(h.GetNoQuorumMs()))
			}
		}
		if whole && totals != nil && !shown {
			shown = true
			showSessions(out, slices.Collect(maps.Values(all)), totals)
			if nodes {
				showEphemerals(out, held)
			}
			if !watch {
				return nil
			}
		}
	}
}

func millis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

func state(s *adminpb.Session) string {
	return strings.TrimPrefix(s.GetState().String(), "SESSION_STATE_")
}

func showSessions(out io.Writer, list []*adminpb.Session, t *adminpb.SessionTotals) {
	fmt.Fprintf(out, "sessions: %d connected, %d connecting, %d not connected; ended: %d closed, %d expired; %d ephemerals, %d watches\n",
		t.GetConnected(), t.GetConnecting(), t.GetNotConnected(), t.GetClosed(), t.GetExpired(), t.GetEphemerals(), t.GetWatches())
	risk := func(s *adminpb.Session) float64 { return float64(s.GetSilenceMs()) / float64(max(1, s.GetTimeoutMs())) }
	apart := func(s *adminpb.Session) int {
		if s.GetState() == adminpb.SessionState_SESSION_STATE_CONNECTED {
			return 1
		}
		return 0
	}
	slices.SortFunc(list, func(a, b *adminpb.Session) int {
		return cmp.Or(cmp.Compare(apart(a), apart(b)), cmp.Compare(risk(b), risk(a)), cmp.Compare(a.GetId(), b.GetId()))
	})
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "SESSION\tSTATE\tMEMBER\tCLIENT\tSILENCE\tTIMEOUT\tEPHEMERALS")
	for _, s := range list {
		fmt.Fprintf(w, "%#x\t%s\t%x\t%s\t%v\t%v\t%d\n", s.GetId(), state(s), s.GetMemberId(), s.GetClient(), millis(s.GetSilenceMs()), millis(s.GetTimeoutMs()), s.GetEphemerals())
	}
	w.Flush()
}

func showEphemerals(out io.Writer, held map[string]*adminpb.Ephemeral) {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "PATH\tSESSION\tCZXID\tCREATED\tDATA")
	for _, path := range slices.Sorted(maps.Keys(held)) {
		e := held[path]
		fmt.Fprintf(w, "%q\t%#x\t%#x\t%s\t%q\n", path, e.GetSessionId(), e.GetCzxid(), time.UnixMilli(e.GetCreatedMs()).UTC().Format(time.RFC3339), e.GetData())
	}
	w.Flush()
}

func showChange(out io.Writer, c *adminpb.SessionsChange, nodes bool) {
	switch {
	case c.GetSession() != nil:
		s := c.GetSession()
		fmt.Fprintf(out, "%#x %s at member %x, client %s\n", s.GetId(), state(s), s.GetMemberId(), s.GetClient())
	case c.GetEnd() != nil:
		e := c.GetEnd()
		how := "closed by its client"
		if e.GetExpired() {
			how = "expired"
		}
		fmt.Fprintf(out, "%#x CLOSED: %s; %d ephemerals went with it %q\n", e.GetSession().GetId(), how, e.GetSession().GetEphemerals(), e.GetPaths())
	case c.GetEphemeral() != nil && nodes:
		e := c.GetEphemeral()
		fmt.Fprintf(out, "%#x holds %q, czxid %#x, data %q\n", e.GetSessionId(), e.GetPath(), e.GetCzxid(), e.GetData())
	case c.GetGone() != nil && nodes:
		g := c.GetGone()
		fmt.Fprintf(out, "%#x no longer holds %q, czxid %#x\n", g.GetSessionId(), g.GetPath(), g.GetCzxid())
	}
}
