package process

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
)

// TestOtherPorts throws garbage at the ports that are not for clients: those of
// peers, of the admin API, of commands and of metrics.
func TestOtherPorts(t *testing.T) {
	t.Parallel()
	seed := seed(t)
	dir := dataDir(t)
	host := host()
	ports := map[string]string{"peer": "10001", "admin": "10002", "commands": "10003", "metrics": "10004"}
	write(t, dir+"/data/myid", "1\n")
	text := fmt.Sprintf("dataDir=%s/data\nclientPort=10000\nclientPortAddress=%[2]s\ntickTime=500\n4lw.commands.whitelist=*\n"+
		"standaloneEnabled=false\nserver.1=%[2]s:10001:10005\nconclave.adminAddress=%[2]s:10002\n"+
		"admin.serverAddress=%[2]s\nadmin.serverPort=10003\n"+
		"metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider\nmetricsProvider.httpHost=%[2]s\nmetricsProvider.httpPort=10004\n",
		dir, host)
	watch(start(t, program(t), []string{"--config", write(t, dir+"/zoo.cfg", text)}).mustServe())
	fixed := map[string]string{
		"a TLS hello":        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"an HTTP request":    "GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"half of one":        "GET / HTTP/1.1\r\nHost:",
		"an endless header":  "GET / HTTP/1.1\r\nx: " + strings.Repeat("x", 100_000),
		"an HTTP/2 preface":  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"and frames of junk": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x04\x00\x00\x00\x00\x00junk",
		"a client's hello":   string(length(44)) + strings.Repeat("\x00", 44),
		"a word":             "ruok",
		"nothing":            "",
		"zeros":              strings.Repeat("\x00", 70_000),
		"ones":               strings.Repeat("\xff", 70_000),
	}
	var work sync.WaitGroup
	for name, port := range ports {
		addr := net.JoinHostPort(host, port)
		work.Go(func() {
			for what, raw := range fixed {
				if err := poke(addr, []byte(raw)); err != nil {
					t.Errorf("%s port, %s: %v", name, what, err)
				}
			}
			r := rand.New(rand.NewPCG(seed, uint64(len(name))))
			for range 100 {
				noise := make([]byte, r.IntN(400))
				for i := range noise {
					noise[i] = byte(r.Uint32())
				}
				if err := poke(addr, noise); err != nil {
					t.Errorf("%s port, %x: %v", name, noise, err)
				}
			}
			// Many that say nothing do not keep a good one out.
			for range 50 {
				c, err := net.DialTimeout("tcp", addr, patience)
				if err != nil {
					t.Errorf("%s port: %v", name, err)
					return
				}
				defer c.Close()
			}
		})
	}
	work.Wait()
}

// poke sends bytes, ends its side, and sees the other ended.
func poke(addr string, raw []byte) error {
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return err
	}
	defer c.Close()
	_, _ = c.Write(raw) // it may be closed before it is all there
	_ = c.(*net.TCPConn).CloseWrite()
	return drained(c)
}
