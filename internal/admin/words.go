package admin

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/conclave-dev/conclave/internal/jute"
)

// answerRuok says imok as long as the process is alive, quorum or not. With a
// failed disk it is not, and says nothing, as ZooKeeper's manual has it.
func answerRuok(_ *Surface, st *Status, _ []byte, out *bufio.Writer) {
	if !st.Disk.Failed {
		out.WriteString("imok")
	}
}

// answerIsro says rw: there is no read-only mode here. Clients that look for a
// server to write to read it without a newline. A server that does not serve
// answers null, which they take for "not this one".
func answerIsro(_ *Surface, st *Status, _ []byte, out *bufio.Writer) {
	if st.Serving {
		out.WriteString("rw")
	} else {
		out.WriteString("null")
	}
}

func answerSrvr(s *Surface, st *Status, _ []byte, out *bufio.Writer) {
	fmt.Fprintf(out, "Zookeeper version: %s\n", s.Version)
	writeServerStats(s, st, out)
}

func answerStat(s *Surface, st *Status, _ []byte, out *bufio.Writer) {
	fmt.Fprintf(out, "Zookeeper version: %s\nClients:\n", s.Version)
	for _, c := range s.Source.Connections() {
		writeConnection(out, &c, false)
	}
	out.WriteByte('\n')
	writeServerStats(s, st, out)
}

// writeServerStats writes what srvr and stat have in common.
func writeServerStats(s *Surface, st *Status, out *bufio.Writer) {
	l := s.Metrics.Latency()
	fmt.Fprintf(out, "Latency min/avg/max: %d/%s/%d\n", millis(l.Min), decimal(round4(l.Avg/1e6)), millis(l.Max))
	fmt.Fprintf(out, "Received: %d\nSent: %d\n", s.Metrics.PacketsReceived.SinceReset(), s.Metrics.PacketsSent.SinceReset())
	fmt.Fprintf(out, "Connections: %d\nOutstanding: %d\n", st.Connections, st.Outstanding)
	fmt.Fprintf(out, "Zxid: 0x%x\nMode: %s\nNode count: %d\n", uint64(st.Zxid), st.Role, st.Nodes)
	if st.Role == RoleLeader {
		last, least, largest := s.Metrics.ProposalSize.Read()
		fmt.Fprintf(out, "Proposal sizes last/min/max: %d/%d/%d\n", last, least, largest)
	}
}

func answerCons(s *Surface, _ *Status, _ []byte, out *bufio.Writer) {
	for _, c := range s.Source.Connections() {
		writeConnection(out, &c, true)
	}
	out.WriteByte('\n')
}

// writeConnection writes a connection's line, with what its session does if
// full. The number in brackets is what ZooKeeper's poll waits for: 1 for
// something to read, 0 for nothing.
func writeConnection(out *bufio.Writer, c *Connection, full bool) {
	fmt.Fprintf(out, " /%s[%d](queued=%d,recved=%d,sent=%d", c.Remote, interest(c), c.Queued, c.Received, c.Sent)
	if full && c.Session != 0 {
		fmt.Fprintf(out, ",sid=0x%x,lop=%s,est=%d,to=%d", uint64(c.Session), operation(c.LastOp), unixMillis(c.Established),
			c.Timeout.Milliseconds())
		if c.LastCxid >= 0 {
			fmt.Fprintf(out, ",lcxid=0x%x", c.LastCxid)
		}
		fmt.Fprintf(out, ",lzxid=0x%x,lresp=%d,llat=%d,minlat=%d,avglat=%d,maxlat=%d", uint64(c.LastZxid),
			unixMillis(c.LastResponse), c.LastLatency.Milliseconds(), c.MinLatency.Milliseconds(),
			c.AvgLatency.Milliseconds(), c.MaxLatency.Milliseconds())
	}
	out.WriteString(")\n")
}

func interest(c *Connection) int {
	if c.Paused {
		return 0
	}
	return 1
}

// unixMillis is 0 for the zero time.
func unixMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// operations are ZooKeeper's short names of what a connection did last.
var operations = map[jute.OpCode]string{
	jute.OpPing: "PING", jute.OpCreateSession: "SESS", jute.OpCloseSession: "CLOS", jute.OpMulti: "MULT",
	jute.OpMultiRead: "MLTR", jute.OpCreate: "CREA", jute.OpCreate2: "CREA", jute.OpCreateTTL: "CREA",
	jute.OpCreateContainer: "CREA", jute.OpDelete: "DELE", jute.OpDeleteContainer: "DELE", jute.OpSetData: "SETD",
	jute.OpReconfig: "RECO", jute.OpSetACL: "SETA", jute.OpSync: "SYNC", jute.OpCheck: "CHEC", jute.OpExists: "EXIS",
	jute.OpGetData: "GETD", jute.OpSetWatches: "SETW", jute.OpSetWatches2: "STW2", jute.OpAddWatch: "ADDW",
	jute.OpGetACL: "GETA", jute.OpGetChildren: "GETC", jute.OpGetChildren2: "GETC",
	jute.OpGetAllChildrenNumber: "GETACN", jute.OpCheckWatches: "CHKW", jute.OpRemoveWatches: "REMW",
	jute.OpGetEphemerals: "GETE", jute.OpWhoAmI: "HOMI",
}

func operation(op jute.OpCode) string {
	if name, ok := operations[op]; ok {
		return name
	}
	return "NA"
}

func answerCrst(s *Surface, _ *Status, _ []byte, out *bufio.Writer) {
	s.Source.ResetConnectionStats()
	out.WriteString("Connection stats reset.\n")
}

func answerSrst(s *Surface, _ *Status, _ []byte, out *bufio.Writer) {
	s.Metrics.Reset()
	out.WriteString("Server stats reset.\n")
}

// answerConf writes ZooKeeper's keys. Every line but "membership: " has an
// equals sign with something behind it: Solr complains of any that has not.
func answerConf(s *Surface, st *Status, _ []byte, out *bufio.Writer) {
	c := s.Source.Configuration()
	data, log := s.Source.DirSizes()
	str := func(key, v string) {
		if v != "" {
			fmt.Fprintf(out, "%s=%s\n", key, v)
		}
	}
	num := func(key string, v int64) { fmt.Fprintf(out, "%s=%d\n", key, v) }
	num("clientPort", int64(c.ClientPort))
	num("secureClientPort", int64(orMinusOne(c.SecureClientPort)))
	str("dataDir", c.DataDir)
	num("dataDirSize", data)
	str("dataLogDir", c.DataLogDir)
	num("dataLogSize", log)
	num("tickTime", c.TickTime.Milliseconds())
	num("maxClientCnxns", int64(c.MaxClientCnxns))
	num("minSessionTimeout", c.MinSessionTimeout.Milliseconds())
	num("maxSessionTimeout", c.MaxSessionTimeout.Milliseconds())
	num("clientPortListenBacklog", int64(orMinusOne(c.ListenBacklog)))
	num("serverId", int64(st.Name))
	if !st.inEnsemble() {
		return
	}
	num("initLimit", ticks(c.InitLimit, c.TickTime))
	num("syncLimit", ticks(c.SyncLimit, c.TickTime))
	num("electionPort", int64(c.ElectionPort))
	num("quorumPort", int64(c.QuorumPort))
	peerType := int64(0)
	if c.Observer {
		peerType = 1
	}
	num("peerType", peerType)
	fmt.Fprintf(out, "membership: \n%s", c.Membership)
}

func orMinusOne(n int) int {
	if n <= 0 {
		return -1
	}
	return n
}

func ticks(d, tick time.Duration) int64 {
	if tick <= 0 {
		return 0
	}
	return int64(d / tick)
}

func answerDirs(s *Surface, _ *Status, _ []byte, out *bufio.Writer) {
	data, log := s.Source.DirSizes()
	fmt.Fprintf(out, "datadir_size: %d\nlogdir_size: %d\n", data, log)
}

func answerEnvi(s *Surface, _ *Status, _ []byte, out *bufio.Writer) {
	out.WriteString("Environment:\n")
	for _, e := range s.environment() {
		fmt.Fprintf(out, "%s=%s\n", e.Name, e.Value)
	}
}

func answerGtmk(s *Surface, _ *Status, _ []byte, out *bufio.Writer) {
	out.WriteString(strconv.FormatInt(s.Source.TraceMask(), 10))
}

func answerStmk(s *Surface, _ *Status, arg []byte, out *bufio.Writer) {
	if len(arg) < 8 {
		return // half a mask is none
	}
	mask := int64(binary.BigEndian.Uint64(arg))
	s.Source.SetTraceMask(mask)
	out.WriteString(strconv.FormatInt(mask, 10))
}

func answerHash(s *Surface, _ *Status, _ []byte, out *bufio.Writer) {
	for _, d := range s.Source.Digests() {
		fmt.Fprintf(out, "%x: %d\n", uint64(d.Zxid), d.Digest)
	}
}

func answerMntr(s *Surface, _ *Status, _ []byte, out *bufio.Writer) {
	for _, f := range s.figures() {
		for _, l := range f.lines() {
			v := ""
			switch x := l.value.(type) {
			case float64:
				v = decimal(x)
			default:
				v = fmt.Sprint(x)
			}
			fmt.Fprintf(out, "zk_%s\t%s\n", l.name, v)
		}
	}
}

func answerWchs(s *Surface, _ *Status, _ []byte, out *bufio.Writer) {
	w := s.Source.WatchSummary()
	fmt.Fprintf(out, "%d connections watching %d paths\nTotal watches:%d\n", w.Connections, w.Paths, w.Watches)
}

func answerWchc(s *Surface, _ *Status, _ []byte, out *bufio.Writer) {
	for _, w := range s.Source.WatchesBySession() {
		fmt.Fprintf(out, "0x%x\n", uint64(w.Session))
		for _, path := range w.Paths {
			fmt.Fprintf(out, "\t%s\n", path)
		}
	}
	out.WriteByte('\n')
}

func answerWchp(s *Surface, _ *Status, _ []byte, out *bufio.Writer) {
	for _, w := range s.Source.WatchesByPath() {
		fmt.Fprintf(out, "%s\n", w.Path)
		for _, id := range w.Sessions {
			fmt.Fprintf(out, "\t0x%x\n", uint64(id))
		}
	}
	out.WriteByte('\n')
}

// hostPort joins what may be unknown: it is empty without a host.
func hostPort(host string, port int) string {
	if host == "" {
		return ""
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}
