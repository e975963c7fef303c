package admin

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
)

// command is one command of the HTTP server.
type command struct {
	name    string
	aliases []string
	// always: it is answered also when the member does not serve.
	always bool
	// run fills o with the answer. An error is told beside it.
	run func(s *Surface, st *Status, args url.Values, o *object) error
}

// commands are ZooKeeper's, in the order of their names.
// observer_connection_stat_reset is not among them: nothing is counted per
// observer that could be reset.
var commands = []command{
	{name: "configuration", aliases: []string{"conf", "config"}, run: cmdConfiguration},
	{name: "connection_stat_reset", aliases: []string{"crst"}, run: cmdConnectionStatReset},
	{name: "connections", aliases: []string{"cons"}, run: cmdConnections},
	{name: "dirs", run: cmdDirs},
	{name: "dump", run: cmdDump},
	{name: "environment", aliases: []string{"env", "envi"}, always: true, run: cmdEnvironment},
	{name: "get_trace_mask", aliases: []string{"gtmk"}, always: true, run: cmdGetTraceMask},
	{name: "hash", run: cmdHash},
	{name: "initial_configuration", aliases: []string{"icfg"}, run: cmdInitialConfiguration},
	{name: "is_read_only", aliases: []string{"isro"}, run: cmdIsReadOnly},
	{name: "last_snapshot", aliases: []string{"lsnp"}, run: cmdLastSnapshot},
	{name: "leader", aliases: []string{"lead"}, run: cmdLeader},
	{name: "monitor", aliases: []string{"mntr"}, run: cmdMonitor},
	{name: "observers", aliases: []string{"obsr"}, run: cmdObservers},
	{name: "ruok", run: cmdRuok},
	{name: "server_stats", aliases: []string{"srvr"}, run: cmdServerStats},
	{name: "set_trace_mask", aliases: []string{"stmk"}, always: true, run: cmdSetTraceMask},
	{name: "stat_reset", aliases: []string{"srst"}, run: cmdStatReset},
	{name: "stats", aliases: []string{"stat"}, run: cmdStats},
	{name: "system_properties", aliases: []string{"sysp"}, always: true, run: cmdSystemProperties},
	{name: "voting_view", run: cmdVotingView},
	{name: "watch_summary", aliases: []string{"wchs"}, run: cmdWatchSummary},
	{name: "watches", aliases: []string{"wchc"}, run: cmdWatches},
	{name: "watches_by_path", aliases: []string{"wchp"}, run: cmdWatchesByPath},
	{name: "zabstate", always: true, run: cmdZabState},
}

// findCommand returns the command with this name or alias, or nil.
func findCommand(name string) *command {
	for i := range commands {
		if c := &commands[i]; c.name == name || slices.Contains(c.aliases, name) {
			return c
		}
	}
	return nil
}

// answer runs the command. As in ZooKeeper every answer ends in the command's
// name and an error, null if there is none.
func (c *command) answer(s *Surface, args url.Values) object {
	var o object
	st := s.Source.Status()
	var err error
	if !st.Serving && !c.always {
		err = fmt.Errorf("%s", notServing)
	} else {
		err = c.run(s, &st, args, &o)
	}
	o.put("command", c.name)
	if err != nil {
		o.put("error", err.Error())
	} else {
		o.put("error", nil)
	}
	return o
}

func cmdConfiguration(s *Surface, st *Status, _ url.Values, o *object) error {
	c := s.Source.Configuration()
	o.put("client_port", c.ClientPort)
	o.put("data_dir", c.DataDir)
	o.put("data_log_dir", c.DataLogDir)
	o.put("tick_time", c.TickTime.Milliseconds())
	o.put("max_client_cnxns", c.MaxClientCnxns)
	o.put("min_session_timeout", c.MinSessionTimeout.Milliseconds())
	o.put("max_session_timeout", c.MaxSessionTimeout.Milliseconds())
	o.put("server_id", st.Name)
	o.put("client_port_listen_backlog", orMinusOne(c.ListenBacklog))
	return nil
}

func cmdConnectionStatReset(s *Surface, _ *Status, _ url.Values, _ *object) error {
	s.Source.ResetConnectionStats()
	return nil
}

func cmdConnections(s *Surface, _ *Status, _ url.Values, o *object) error {
	putConnections(s, o, true)
	return nil
}

func putConnections(s *Surface, o *object, full bool) {
	plain, secure := []object{}, []object{}
	for _, c := range s.Source.Connections() {
		x := connectionObject(&c, full)
		if c.Secure {
			secure = append(secure, x)
		} else {
			plain = append(plain, x)
		}
	}
	o.put("connections", plain)
	o.put("secure_connections", secure)
}

func connectionObject(c *Connection, full bool) object {
	o := object{{"remote_socket_address", c.Remote}, {"interest_ops", interest(c)},
		{"outstanding_requests", c.Queued}, {"packets_received", c.Received}, {"packets_sent", c.Sent}}
	if !full || c.Session == 0 {
		return o
	}
	return append(o, object{{"session_id", c.Session}, {"last_operation", operation(c.LastOp)},
		{"established", unixMillis(c.Established)}, {"session_timeout", c.Timeout.Milliseconds()},
		{"last_cxid", c.LastCxid}, {"last_zxid", c.LastZxid}, {"last_response_time", unixMillis(c.LastResponse)},
		{"last_latency", c.LastLatency.Milliseconds()}, {"min_latency", c.MinLatency.Milliseconds()},
		{"avg_latency", c.AvgLatency.Milliseconds()}, {"max_latency", c.MaxLatency.Milliseconds()}}...)
}

func cmdDirs(s *Surface, _ *Status, _ url.Values, o *object) error {
	data, log := s.Source.DirSizes()
	o.put("datadir_size", data)
	o.put("logdir_size", log)
	return nil
}

func cmdDump(s *Surface, _ *Status, _ url.Values, o *object) error {
	sessions := s.Source.Sessions()
	var expiries, ephemerals object
	for _, set := range expirySets(sessions, sessionExpiry, s.Source.Configuration().TickTime) {
		if set.at.IsZero() {
			continue // on members that do not run the expiry clock
		}
		ids := []int64{}
		for _, x := range set.items {
			ids = append(ids, x.ID)
		}
		expiries.put(strconv.FormatInt(set.at.UnixMilli(), 10), ids)
	}
	for _, x := range sessions {
		if len(x.Ephemerals) > 0 {
			ephemerals.put(strconv.FormatInt(x.ID, 10), x.Ephemerals)
		}
	}
	o.put("expiry_time_to_session_ids", expiries)
	o.put("session_id_to_ephemeral_paths", ephemerals)
	return nil
}

func cmdEnvironment(s *Surface, _ *Status, _ url.Values, o *object) error {
	for _, e := range s.environment() {
		o.put(e.Name, e.Value)
	}
	return nil
}

func cmdGetTraceMask(s *Surface, _ *Status, _ url.Values, o *object) error {
	o.put("tracemask", s.Source.TraceMask())
	return nil
}

func cmdSetTraceMask(s *Surface, _ *Status, args url.Values, o *object) error {
	if !args.Has("traceMask") {
		return fmt.Errorf("setTraceMask requires long traceMask argument")
	}
	arg := args.Get("traceMask")
	mask, err := strconv.ParseInt(arg, 10, 64)
	if err != nil {
		return fmt.Errorf("setTraceMask requires long traceMask argument, got %s", arg)
	}
	s.Source.SetTraceMask(mask)
	o.put("tracemask", mask)
	return nil
}

func cmdHash(s *Surface, _ *Status, _ url.Values, o *object) error {
	digests := []object{}
	for _, d := range s.Source.Digests() {
		digests = append(digests, object{{"zxid", d.Zxid}, {"digest", d.Digest}, {"digest_version", d.Version}})
	}
	o.put("digests", digests)
	return nil
}

func cmdInitialConfiguration(s *Surface, _ *Status, _ url.Values, o *object) error {
	if initial := s.Source.Configuration().Initial; initial != "" {
		o.put("initial_configuration", initial)
	} else {
		o.put("initial_configuration", nil)
	}
	return nil
}

func cmdIsReadOnly(_ *Surface, _ *Status, _ url.Values, o *object) error {
	o.put("read_only", false)
	return nil
}

// cmdLastSnapshot gives -1 for both if there is no snapshot; the zxid is in
// hexadecimal.
func cmdLastSnapshot(s *Surface, _ *Status, _ url.Values, o *object) error {
	zxid, taken := int64(-1), int64(-1)
	if snap, ok := s.Source.LastSnapshot(); ok {
		zxid, taken = snap.Zxid, snap.Taken.Unix()
	}
	o.put("zxid", strconv.FormatUint(uint64(zxid), 16))
	o.put("timestamp", taken)
	return nil
}

func cmdLeader(s *Surface, st *Status, _ url.Values, o *object) error {
	if !st.inEnsemble() {
		return fmt.Errorf("server is not initialized") // ZooKeeper's words for a standalone server
	}
	l, ok := leader(st, s.Source.Peers())
	if !ok {
		return fmt.Errorf("no leader is known")
	}
	o.put("is_leader", st.Role == RoleLeader)
	o.put("leader_id", l.Name)
	o.put("leader_ip", l.Host)
	return nil
}

func cmdMonitor(s *Surface, _ *Status, _ url.Values, o *object) error {
	for _, f := range s.figures() {
		for _, l := range f.lines() {
			o.put(l.name, l.value)
		}
	}
	return nil
}

func cmdObservers(s *Surface, st *Status, _ url.Values, o *object) error {
	synced, observers := 0, []object{}
	for _, p := range s.Source.Peers() {
		if st.Role != RoleLeader || p.Voter || p.Self || !p.Connected {
			continue // only the leader knows who is connected to it
		}
		if p.Synced {
			synced++
		}
		observers = append(observers, object{{"remote_socket_address", hostPort(p.Host, p.PeerPort)}, {"sid", p.Name}})
	}
	o.put("synced_observers", synced)
	o.put("observers", observers)
	return nil
}

func cmdRuok(_ *Surface, st *Status, _ url.Values, _ *object) error {
	if st.Disk.Failed {
		return fmt.Errorf("disk failed: %s", st.Disk.Reason)
	}
	return nil
}

func cmdServerStats(s *Surface, st *Status, _ url.Values, o *object) error {
	m := s.Metrics
	sizes := func(last, least, largest int64) object {
		return object{{"last_buffer_size", last}, {"min_buffer_size", least}, {"max_buffer_size", largest}}
	}
	latency := m.Latency()
	data, log := s.Source.DirSizes()
	responses := sizes(m.ResponseSize.Read())
	o.put("version", s.Version.String())
	o.put("read_only", false)
	o.put("server_stats", object{
		{"packets_sent", m.PacketsSent.SinceReset()},
		{"packets_received", m.PacketsReceived.SinceReset()},
		{"client_response_stats", responses},
		{"server_state", st.Role.String()},
		{"outstanding_requests", st.Outstanding},
		{"min_latency", millis(latency.Min)},
		{"avg_latency", round4(latency.Avg / 1e6)},
		{"max_latency", millis(latency.Max)},
		{"data_dir_size", data},
		{"log_dir_size", log},
		{"last_processed_zxid", st.Zxid},
		{"num_alive_client_connections", st.Connections},
		{"uptime", s.since(st.Started)},
		{"auth_failed_count", m.AuthFailures.SinceReset()},
	})
	o.put("client_response", responses)
	if st.Role == RoleLeader {
		o.put("proposal_stats", sizes(m.ProposalSize.Read()))
	}
	o.put("node_count", st.Nodes)
	return nil
}

func cmdStatReset(s *Surface, _ *Status, _ url.Values, _ *object) error {
	s.Metrics.Reset()
	return nil
}

func cmdStats(s *Surface, st *Status, args url.Values, o *object) error {
	err := cmdServerStats(s, st, args, o)
	putConnections(s, o, false)
	return err
}

// cmdSystemProperties gives the effective settings, under the names that they
// have as system properties of ZooKeeper.
func cmdSystemProperties(s *Surface, _ *Status, _ url.Values, o *object) error {
	properties := s.Source.Configuration().Properties
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		o.put("zookeeper."+name, properties[name])
	}
	return nil
}

func cmdVotingView(s *Surface, st *Status, _ url.Values, o *object) error {
	var view object
	for _, p := range s.Source.Peers() {
		if p.Voter && st.inEnsemble() {
			view.put(strconv.Itoa(p.Name), object{
				{"server_addresses", []string{hostPort(p.Host, p.PeerPort)}},
				{"election_addresses", []string{hostPort(p.Host, p.ElectionPort)}},
				{"client_address", hostPort(p.ClientHost, p.ClientPort)},
				{"learner_type", "participant"}})
		}
	}
	o.put("current_config", view)
	return nil
}

func cmdWatchSummary(s *Surface, _ *Status, _ url.Values, o *object) error {
	w := s.Source.WatchSummary()
	o.put("num_connections", w.Connections)
	o.put("num_paths", w.Paths)
	o.put("num_total_watches", w.Watches)
	return nil
}

func cmdWatches(s *Surface, _ *Status, _ url.Values, o *object) error {
	var sessions object
	for _, w := range s.Source.WatchesBySession() {
		sessions.put(strconv.FormatInt(w.Session, 10), w.Paths)
	}
	o.put("session_id_to_watched_paths", sessions)
	return nil
}

func cmdWatchesByPath(s *Surface, _ *Status, _ url.Values, o *object) error {
	var paths object
	for _, w := range s.Source.WatchesByPath() {
		paths.put(w.Path, w.Sessions)
	}
	o.put("path_to_session_ids", paths)
	return nil
}

// cmdZabState tells of raft's state in the words of ZooKeeper's protocol. A
// standalone server has none, and says so as ZooKeeper's does.
func cmdZabState(s *Surface, st *Status, _ url.Values, o *object) error {
	if !st.inEnsemble() {
		o.put("voting", false)
		o.put("zabstate", "")
		return nil
	}
	var self Peer
	for _, p := range s.Source.Peers() {
		if p.Self {
			self = p
		}
	}
	address := func(port int) object {
		a := hostPort(self.Host, port)
		return object{{"all_addresses", []string{a}}, {"one", a}}
	}
	o.put("myid", st.Name)
	o.put("is_leader", st.Role == RoleLeader)
	o.put("quorum_address", address(self.PeerPort))
	o.put("election_address", address(self.ElectionPort))
	o.put("client_address", hostPort(self.ClientHost, self.ClientPort))
	o.put("voting", self.Voter)
	o.put("last_zxid", fmt.Sprintf("0x%x", uint64(st.Zxid)))
	o.put("zab_epoch", st.Zxid>>32)
	o.put("zab_counter", st.Zxid&0xffffffff)
	o.put("zabstate", phase(st))
	return nil
}
