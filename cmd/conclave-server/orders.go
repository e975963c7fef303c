package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/tlsfiles"
	"github.com/conclave-dev/conclave/internal/zooconfig"
)

// Commands that give orders to a running member, through its admin API.

// target says which member is meant.
type target struct{ admin, dataDir, config, tlsDir, serverName string }

func (t *target) flags(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&t.admin, "admin", "", "the member's admin API: the path of its socket, or host:port")
	cmd.PersistentFlags().StringVar(&t.dataDir, "data-dir", "", "the member's data directory, whose socket is used")
	cmd.PersistentFlags().StringVar(&t.config, "config", "", "the member's configuration, whose data directory's socket is used")
	cmd.PersistentFlags().StringVar(&t.tlsDir, "tls-dir", "", "with --admin host:port, speak TLS with ca.crt, tls.crt and tls.key from here; the certificate needs the organization "+tlsfiles.RoleOperator)
	cmd.PersistentFlags().StringVar(&t.serverName, "tls-server-name", "", "with --tls-dir, the name in the members' certificates (conclave.tls.serverName)")
}

func (t *target) client() (adminpb.AdminClient, func(), error) {
	address := t.admin
	switch {
	case address == "" && t.dataDir != "":
		address = admin.SocketPath(t.dataDir)
	case address == "" && t.config != "":
		cfg, _, err := zooconfig.Load(t.config, zooconfig.OSEnv())
		if err != nil {
			return nil, nil, err
		}
		address = admin.SocketPath(cfg.DataDir)
	case address == "":
		return nil, nil, errors.New("say which member is meant: --admin (its socket, or host:port), --data-dir or --config")
	}
	if _, _, err := net.SplitHostPort(address); err != nil || strings.ContainsRune(address, '/') {
		if _, err := os.Stat(address); err != nil {
			return nil, nil, fmt.Errorf("there is no admin socket of a member: %w; a member makes it when it starts, and removes it when it stops", err)
		}
		address = "unix:" + address
	}
	creds := insecure.NewCredentials()
	if t.tlsDir != "" {
		if t.serverName == "" || strings.HasPrefix(address, "unix:") {
			return nil, nil, errors.New("--tls-dir is for --admin host:port, and needs --tls-server-name; a socket does without TLS")
		}
		files, err := tlsfiles.Open(tlsfiles.Options{Dir: t.tlsDir, ServerName: t.serverName, Role: tlsfiles.RoleOperator, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return nil, nil, fmt.Errorf("--tls-dir: %w", err)
		}
		creds = credentials.NewTLS(files.Client())
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds))
	if err != nil {
		return nil, nil, err
	}
	return adminpb.NewAdminClient(conn), func() { conn.Close() }, nil
}

// orderTime bounds an order.
const orderTime = 2 * time.Minute

// ask calls f with the member's API, and makes an error of it readable.
func (t *target) ask(cmd *cobra.Command, f func(ctx context.Context, c adminpb.AdminClient, out io.Writer) error) error {
	c, done, err := t.client()
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeout(cmd.Context(), orderTime)
	defer cancel()
	return readable(f(ctx, c, cmd.OutOrStdout()))
}

func readable(err error) error {
	st, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	for _, d := range st.Details() {
		if r, ok := d.(*adminpb.Refusal); ok {
			return fmt.Errorf("refused (%s) by %s", strings.TrimPrefix(r.GetReason().String(), "REFUSAL_REASON_"), st.Message())
		}
	}
	if st.Code() == codes.Unavailable && strings.HasPrefix(st.Message(), "connection error") { // gRPC's own words
		return fmt.Errorf("no member answers there; is it running? (%s)", st.Message())
	}
	return fmt.Errorf("%s: %s", st.Code(), st.Message())
}

// hexID is a member id on the command line.
type hexID uint64

func (h *hexID) String() string { return fmt.Sprintf("%x", uint64(*h)) }
func (h *hexID) Type() string   { return "id" }
func (h *hexID) Set(s string) error {
	v, err := strconv.ParseUint(s, 16, 64)
	if err != nil || v == 0 {
		return fmt.Errorf("%q: a member's id is a hexadecimal number, as member list shows it", s)
	}
	*h = hexID(v)
	return nil
}

func memberCommand() *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use: "member", Short: "Show and change who belongs to an ensemble, through a running member's admin API", Args: noArgs,
		Long: `member shows and changes who belongs to an ensemble, through the admin API of a
running member. What changes the membership has to be ordered from the leader;
what is so already is not done again.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	t.flags(cmd)
	cmd.AddCommand(listCommand(&t), bootstrapCommand(&t), addCommand(&t), promoteCommand(&t), removeCommand(&t), startCleanCommand(&t))
	return cmd
}

func listCommand(t *target) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "Show the member, its ensemble, and what it has heard of the others", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.ask(cmd, func(ctx context.Context, c adminpb.AdminClient, out io.Writer) error {
				st, err := c.Status(ctx, &adminpb.StatusRequest{})
				if err == nil {
					show(out, st)
				}
				return err
			})
		},
	}
}

func lower(prefix string, e fmt.Stringer) string {
	return strings.ToLower(strings.TrimPrefix(e.String(), prefix))
}

func show(out io.Writer, st *adminpb.StatusResponse) {
	fmt.Fprintf(out, "server.%d (member %x): %s, %s, configuration index %d\n", st.GetName(), st.GetMemberId(),
		lower("MEMBERSHIP_", st.GetMembership()), lower("ROLE_", st.GetRole()), st.GetConfigurationIndex())
	if id := st.GetClusterId(); id != "" {
		fmt.Fprintf(out, "cluster %s, zxid %#x, log index %d\n", id, st.GetZxid(), st.GetAppliedIndex())
	}
	if st.GetClusterId() == "" && st.GetPeerAddress() != "" {
		fmt.Fprintf(out, "it is reached at %s by other members, at %s by clients\n", st.GetPeerAddress(), st.GetClientAddress())
	}
	for _, id := range st.GetFormerClusterIds() {
		fmt.Fprintf(out, "it goes on in the place of cluster %s, which lost its majority\n", id)
	}
	if why := st.GetMembershipReason(); why != "" {
		fmt.Fprintln(out, why)
	} else if !st.GetReady() {
		fmt.Fprintf(out, "not ready: %s", st.GetNotReadyReason())
		if ms := st.GetNoQuorumMs(); ms > 0 {
			fmt.Fprintf(out, ", for %v", (time.Duration(ms) * time.Millisecond).Round(100*time.Millisecond))
		}
		fmt.Fprintln(out)
	}
	seen := map[string]*adminpb.Sighting{}
	for _, s := range st.GetSightings() {
		seen[s.GetAddress()] = s
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "SERVER\tID\tROLE\tPEERS\tCLIENTS\tLAST ZXID\tSTATE")
	row := func(role string, m *adminpb.Member) {
		if m.GetObserver() {
			role = "observer"
		}
		zxid, state := fmt.Sprintf("%#x", st.GetZxid()), "this member"
		if m.GetId() != st.GetMemberId() {
			zxid, state = sighted(seen[m.GetPeerAddress()])
		}
		delete(seen, m.GetPeerAddress())
		fmt.Fprintf(w, "%d\t%x\t%s\t%s\t%s\t%s\t%s\n", m.GetName(), m.GetId(), role, m.GetPeerAddress(), m.GetClientAddress(), zxid, state)
	}
	for _, m := range st.GetVoters() {
		row("voter", m)
	}
	for _, m := range st.GetLearners() {
		row("learner", m)
	}
	for _, s := range st.GetSightings() {
		if seen[s.GetAddress()] != nil {
			zxid, state := sighted(s)
			fmt.Fprintf(w, "%d\t-\tnone\t%s\t\t%s\t%s\n", s.GetName(), s.GetAddress(), zxid, state)
		}
	}
	w.Flush()
}

func sighted(s *adminpb.Sighting) (zxid, state string) {
	zxid = "unknown"
	if s.GetSeenMsAgo() >= 0 && s != nil {
		zxid = fmt.Sprintf("%#x", s.GetZxid())
	}
	switch {
	case s == nil:
		return zxid, "not asked yet"
	case s.GetAnswers() && s.GetProblem() == "":
		return zxid, "answers"
	case s.GetAnswers():
		return zxid, s.GetProblem()
	case s.GetSeenMsAgo() < 0:
		return zxid, "never seen: " + s.GetProblem()
	}
	ago := (time.Duration(s.GetSeenMsAgo()) * time.Millisecond).Round(100 * time.Millisecond)
	return zxid, fmt.Sprintf("MISSING, seen %v ago: %s", ago, s.GetProblem())
}

func bootstrapCommand(t *target) *cobra.Command {
	var cluster string
	var id hexID
	cmd := &cobra.Command{
		Use: "bootstrap", Short: "Make a new ensemble of a member that waits (--await-bootstrap)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.ask(cmd, func(ctx context.Context, c adminpb.AdminClient, out io.Writer) error {
				r, err := c.Bootstrap(ctx, &adminpb.BootstrapRequest{ClusterId: cluster, MemberId: uint64(id)})
				if err == nil {
					fmt.Fprintf(out, "member %x is the ensemble %s\n", r.GetMemberId(), r.GetClusterId())
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&cluster, "cluster-id", "", "the new ensemble's id: 32 random hexadecimal digits")
	cmd.Flags().Var(&id, "id", "the member's id, as it says itself")
	require(cmd, "cluster-id", "id")
	return cmd
}

func require(cmd *cobra.Command, flags ...string) {
	for _, f := range flags {
		if err := cmd.MarkFlagRequired(f); err != nil {
			panic(err) // there is no such flag
		}
	}
}

// change is an order that changes the membership as it is now.
func (t *target) change(cmd *cobra.Command, order func(ctx context.Context, c adminpb.AdminClient, index uint64) (*adminpb.MembershipResponse, error)) error {
	return t.ask(cmd, func(ctx context.Context, c adminpb.AdminClient, out io.Writer) error {
		st, err := c.Status(ctx, &adminpb.StatusRequest{})
		if err != nil {
			return err
		}
		if st.GetConfigurationIndex() == 0 {
			return fmt.Errorf("server.%d belongs to no ensemble: %s", st.GetName(), st.GetMembershipReason())
		}
		r, err := order(ctx, c, st.GetConfigurationIndex())
		if err == nil {
			fmt.Fprintf(out, "done: %d voters, %d others, configuration index %d\n", len(r.GetVoters()), len(r.GetLearners()), r.GetConfigurationIndex())
		}
		return err
	})
}

func addCommand(t *target) *cobra.Command {
	r := &adminpb.AddLearnerRequest{}
	var id hexID
	cmd := &cobra.Command{
		Use: "add", Short: "Take a member into the ensemble, without a vote", Args: cobra.NoArgs,
		Example: "  conclave-server member add --admin LEADER --id 1c9e... --name 4 --peer zk-3:2888 --client zk-3:2181",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.change(cmd, func(ctx context.Context, c adminpb.AdminClient, index uint64) (*adminpb.MembershipResponse, error) {
				r.MemberId, r.ConfigurationIndex = uint64(id), index
				return c.AddLearner(ctx, r)
			})
		},
	}
	cmd.Flags().Var(&id, "id", "the new member's id, as it says itself (member list)")
	cmd.Flags().Int32Var(&r.Name, "name", 0, "the N of server.N")
	cmd.Flags().StringVar(&r.PeerAddress, "peer", "", "host:port for the other members")
	cmd.Flags().StringVar(&r.ClientAddress, "client", "", "host:port for clients")
	cmd.Flags().BoolVar(&r.Observer, "observer", false, "it is to stay without a vote")
	require(cmd, "id", "name", "peer")
	return cmd
}

func promoteCommand(t *target) *cobra.Command {
	var id hexID
	var lag uint64
	cmd := &cobra.Command{
		Use: "promote", Short: "Give a learner a vote, once it is close behind the leader", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.change(cmd, func(ctx context.Context, c adminpb.AdminClient, index uint64) (*adminpb.MembershipResponse, error) {
				return c.Promote(ctx, &adminpb.PromoteRequest{ConfigurationIndex: index, MemberId: uint64(id), MaxLag: lag})
			})
		},
	}
	cmd.Flags().Var(&id, "id", "the learner's id")
	cmd.Flags().Uint64Var(&lag, "max-lag", 0, "how many log entries it may lack; 0 for 200")
	require(cmd, "id")
	return cmd
}

func removeCommand(t *target) *cobra.Command {
	var id hexID
	cmd := &cobra.Command{
		Use: "remove", Short: "Take a member out of the ensemble, for good", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.change(cmd, func(ctx context.Context, c adminpb.AdminClient, index uint64) (*adminpb.MembershipResponse, error) {
				return c.Remove(ctx, &adminpb.RemoveRequest{ConfigurationIndex: index, MemberId: uint64(id)})
			})
		},
	}
	cmd.Flags().Var(&id, "id", "the member's id")
	require(cmd, "id")
	return cmd
}

func startCleanCommand(t *target) *cobra.Command {
	var id hexID
	var cluster string
	var unreadable bool
	cmd := &cobra.Command{
		Use: "start-clean", Short: "Make a member that refuses to serve begin anew, with its data moved aside", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.ask(cmd, func(ctx context.Context, c adminpb.AdminClient, out io.Writer) error {
				r, err := c.StartClean(ctx, &adminpb.StartCleanRequest{ClusterId: cluster, MemberId: uint64(id), UnreadableIdentity: unreadable})
				if err == nil {
					fmt.Fprintf(out, "the member starts over; its data is kept in %s\n", r.GetMovedTo())
				}
				return err
			})
		},
	}
	cmd.Flags().Var(&id, "id", "the id that the member has now")
	cmd.Flags().StringVar(&cluster, "cluster-id", "", "the ensemble that its data belongs to")
	cmd.Flags().BoolVar(&unreadable, "unreadable-identity", false, "instead of the two: the member can't read who it is")
	cmd.MarkFlagsRequiredTogether("id", "cluster-id")
	cmd.MarkFlagsOneRequired("id", "unreadable-identity")
	cmd.MarkFlagsMutuallyExclusive("id", "unreadable-identity")
	return cmd
}

func recoverCommand() *cobra.Command {
	var t target
	var id hexID
	r := &adminpb.RecoverLostMajorityRequest{}
	cmd := &cobra.Command{
		Use: "recover-lost-majority", Short: "Go on with one survivor when the majority of an ensemble is lost FOR GOOD", Args: cobra.NoArgs,
		Long: `recover-lost-majority makes the member that is asked the only voter of a new
ensemble, with the data that it has. It is for one case: the majority of the
ensemble's voters will never come back. What only they had is lost.

If they may come back, wait: the ensemble goes on by itself when they do.

It is refused while a majority of the voters answers, and while another voter
answers that has more than this one. The lost members refuse to serve if they
return after all, since the ensemble has another id then; but what they did
while nobody could ask them is not undone: make sure that they are down.

The member keeps a line about it in <dataDir>/conclave/audit.log.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.ask(cmd, func(ctx context.Context, c adminpb.AdminClient, out io.Writer) error {
				r.MemberId = uint64(id)
				return recoverLost(ctx, c, r, out)
			})
		},
	}
	t.flags(cmd)
	cmd.Flags().StringVar(&r.ClusterId, "cluster-id", "", "the ensemble that has lost its majority")
	cmd.Flags().Var(&id, "survivor", "the id of the member that survives: the one that is asked")
	cmd.Flags().StringVar(&r.Reason, "reason", "", "who decided this and why, for the audit trail")
	cmd.Flags().BoolVar(&r.DryRun, "dry-run", false, "only say what would be done, or why not")
	require(cmd, "cluster-id", "survivor", "reason")
	return cmd
}

func recoverLost(ctx context.Context, c adminpb.AdminClient, r *adminpb.RecoverLostMajorityRequest, out io.Writer) error {
	got, err := c.RecoverLostMajority(ctx, r)
	if err != nil {
		return err
	}
	for _, s := range got.GetGivenUp() {
		zxid, state := sighted(s)
		fmt.Fprintf(out, "given up: server.%d (member %x) at %s, last zxid %s: %s\n", s.GetName(), s.GetMemberId(), s.GetAddress(), zxid, state)
	}
	if r.GetDryRun() {
		fmt.Fprintf(out, "dry run: the survivor would go on from zxid %#x with %#x; nothing was changed\n", got.GetLastZxid(), got.GetFirstZxid())
		return nil
	}
	fmt.Fprintf(out, "cluster %s goes on as %s; from zxid %#x with %#x\n", r.GetClusterId(), got.GetClusterId(), got.GetLastZxid(), got.GetFirstZxid())
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		// It starts over: for a moment nobody answers.
		if st, err := c.Status(ctx, &adminpb.StatusRequest{}); err == nil && st.GetClusterId() == got.GetClusterId() && st.GetReady() {
			show(out, st)
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the recovery is decided, and the member does not serve yet; look at its log: %w", ctx.Err())
		}
	}
}

func snapshotCommand() *cobra.Command {
	var t target
	var file string
	cmd := &cobra.Command{
		Use: "snapshot", Short: "Write a snapshot of a running member's state into a file", Args: cobra.NoArgs,
		Long: `snapshot writes a snapshot of a running member's state into a file. No command
reads it back yet.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.ask(cmd, func(ctx context.Context, c adminpb.AdminClient, out io.Writer) error {
				return takeSnapshot(ctx, c, file, out)
			})
		},
	}
	t.flags(cmd)
	cmd.Flags().StringVar(&file, "output", "", "the file; it must not exist")
	require(cmd, "output")
	return cmd
}

func takeSnapshot(ctx context.Context, c adminpb.AdminClient, file string, out io.Writer) error {
	stream, err := c.Snapshot(ctx, &adminpb.SnapshotRequest{})
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	var header *adminpb.SnapshotHeader
	size, err := 0, error(nil)
	for err == nil {
		var part *adminpb.SnapshotPart
		if part, err = stream.Recv(); err != nil {
			break
		}
		if part.GetHeader() != nil {
			header = part.GetHeader()
		}
		n := 0
		n, err = f.Write(part.GetData())
		size += n
	}
	if errors.Is(err, io.EOF) {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(file))
	}
	fmt.Fprintf(out, "%s: cluster %s, zxid %#x, log index %d, %d bytes\n", file, header.GetClusterId(), header.GetZxid(), header.GetIndex(), size)
	return nil
}
