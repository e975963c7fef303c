//go:build faults

package faults

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/proc"
	"github.com/conclave-dev/conclave/test/faults/history"
)

// classPath is where Debian's libzookeeper-java puts ZooKeeper's own client.
const classPath = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-nop.jar"

// javaClient is a client with ZooKeeper's own library, in a process of its own,
// listened to on its way to the members. It never closes its session.
type javaClient struct {
	p     *proc.Process
	proxy *history.Proxy
}

// addJava adds such a client to the load.
func (c *cluster) addJava(seed uint64, session time.Duration) {
	c.t.Helper()
	cl := &client{name: "java", l: c.load}
	var addrs []string
	for _, m := range c.members {
		addrs = append(addrs, m.addr())
	}
	proxy, err := c.history.Proxy(cl.name, addrs, func(member string) (net.Conn, error) {
		return cl.reach("tcp", member, orderTime/5)
	}, func(err error) { c.t.Errorf("the history has a gap: %v", err) })
	c.must(err)
	source, err := filepath.Abs("java/Worker.java")
	c.must(err)
	log, err := os.Create(filepath.Join(c.dir, "java.log"))
	c.must(err)
	stdout, out, err := os.Pipe()
	c.must(err)
	p, err := proc.Start(proc.Spec{
		Name: "the Java client", Path: "java", Dir: c.dir, Stdout: out, Stderr: log,
		Args: []string{"-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classPath, source,
			strings.Join(proxy.Addrs, ","), cl.name, fmt.Sprint(session.Milliseconds()), fmt.Sprint(seed)},
	})
	c.must(errors.Join(err, out.Close(), log.Close()))
	cl.java = &javaClient{p, proxy}
	c.load.clients = append(c.load.clients, cl)
	c.load.workers.Go(func() {
		defer stdout.Close()
		lines := bufio.NewReader(stdout)
		for {
			switch _, err := lines.ReadString('\n'); {
			case err == nil:
				cl.writes.Add(1)
			case errors.Is(err, io.EOF):
				return
			default:
				c.t.Errorf("read from the Java client: %v", err)
				return
			}
		}
	})
}

// end kills it: its session has to expire.
func (j *javaClient) end() {
	_ = j.p.Kill()
	j.proxy.Close()
}
