//go:build faults

package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/test/conformance/proc"
)

// patience bounds every wait for something that has to come about, on a machine
// that does many other things.
const patience = 10 * time.Minute

// eventually waits until cond returns nil.
func eventually(what string, cond func() error) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := cond()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return fmt.Errorf("%s: after %v: %w", what, patience, err)
		}
	}
}

// settings are the lines of zoo.cfg that all members share: files come and go
// often.
var settings = []string{
	"tickTime=1000", "initLimit=60", "syncLimit=20", "minSessionTimeout=2000", "maxSessionTimeout=120000",
	"maxClientCnxns=0", "4lw.commands.whitelist=*", "admin.enableServer=false", "snapCount=400", "conclave.heartbeatMs=50",
}

// member is one server. Its methods are safe for concurrent use.
type member struct {
	id      int // the N of server.N, and its place in the network
	dir     string
	program []string // what is started, without its arguments
	args    []string
	env     []string
	// electionMs is the election timeout, in milliseconds.
	electionMs int

	mu     sync.Mutex
	p      *proc.Process // nil while it is to be down
	paused bool
	conn   *grpc.ClientConn
}

func (m *member) addr() string    { return address(m.id) + ":2181" }
func (m *member) dataDir() string { return filepath.Join(m.dir, "data") }

// logPath is beside the member's directory: a disk that is full must not cut what
// the member says of it.
func (m *member) logPath() string { return m.dir + ".log" }

func serverLine(id int) string {
	return fmt.Sprintf("server.%d=%s:2888:3888;%s:2181", id, address(id), address(id))
}

// configure writes zoo.cfg; without servers the member waits to be taken in.
func (m *member) configure(servers []int, extra ...string) error {
	if err := os.MkdirAll(m.dataDir(), 0o755); err != nil {
		return err
	}
	lines := append([]string{"dataDir=" + m.dataDir(), fmt.Sprintf("conclave.electionMs=%d", m.electionMs)}, settings...)
	lines = append(lines, extra...)
	cfg := filepath.Join(m.dir, "zoo.cfg")
	m.args = []string{"--config", cfg}
	if len(servers) == 0 {
		m.args = append(m.args, "--await-bootstrap", "--self", serverLine(m.id))
	} else if err := os.WriteFile(filepath.Join(m.dataDir(), "myid"), fmt.Appendf(nil, "%d\n", m.id), 0o644); err != nil {
		return err
	}
	for _, id := range servers {
		lines = append(lines, serverLine(id))
	}
	return os.WriteFile(cfg, []byte(strings.Join(lines, "\n")+"\n"), 0o644)
}

// start starts the process; it does not wait until it serves.
func (m *member) start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.p != nil {
		if m.p.Running() {
			return nil
		}
		return fmt.Errorf("member %d has ended by itself: %w", m.id, m.p.Wait(time.Second))
	}
	log, err := os.OpenFile(m.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	fmt.Fprintf(log, "--- %s start of member %d\n", time.Now().Format("15:04:05.000"), m.id)
	args := append([]string{"--net=/run/netns/" + namespace(m.id)}, append(m.program, m.args...)...)
	m.paused = false
	m.p, err = proc.Start(proc.Spec{Name: fmt.Sprintf("member %d", m.id), Path: "nsenter", Args: args, Env: m.env, Dir: m.dir, Stdout: log, Stderr: log})
	return err
}

// kill ends the process with SIGKILL, and waits until it is gone. It is an error if it
// has ended by itself before, which nobody would learn of otherwise.
func (m *member) kill() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.p == nil {
		return nil
	}
	err := error(nil)
	if m.p.Running() {
		err = m.p.Kill()
	} else if _, died := os.Stat(m.report()); died != nil {
		err = m.fullDisk()
	}
	m.p, m.paused = nil, false
	return err
}

// report is where a victim says at which point it has died.
func (m *member) report() string { return filepath.Join(m.dir, "died") }

// fullDisk wants a process that has ended by itself to say that it was for its disk,
// which was full.
func (m *member) fullDisk() error {
	if text := proc.Tail(m.logPath(), 10); !strings.Contains(text, "no space left") {
		return fmt.Errorf("member %d has ended by itself, and not for a full disk; its log ends with:\n%s", m.id, text)
	}
	return nil
}

// stop ends the process in order.
func (m *member) stop() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.p == nil {
		return nil
	}
	if err := m.p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := m.p.Wait(patience)
	m.p, m.paused = nil, false
	return err
}

// pause stops the process (SIGSTOP), or lets it go on.
func (m *member) pause(on bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.p == nil || m.paused == on {
		return nil
	}
	m.paused = on
	if on {
		return m.p.Signal(syscall.SIGSTOP)
	}
	return m.p.Signal(syscall.SIGCONT)
}

// up reports whether the process runs and is not paused.
func (m *member) up() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.p != nil && m.p.Running() && !m.paused
}

// ended is closed when the process ends; nil if it is down.
func (m *member) ended() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.p == nil {
		return nil
	}
	return m.p.Done()
}

// fell reports whether the process has ended by itself, and takes note of it.
func (m *member) fell() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.p == nil || m.p.Running() {
		return false
	}
	m.p = nil
	return true
}

// admin is the member's admin API, over the socket in its directory.
func (m *member) admin() (adminpb.AdminClient, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn == nil {
		conn, err := grpc.NewClient("unix:"+admin.SocketPath(m.dataDir()), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, err
		}
		m.conn = conn
	}
	return adminpb.NewAdminClient(m.conn), nil
}

// orderTime bounds one order to a member, or question.
const orderTime = 20 * time.Second

func (m *member) status() (*adminpb.StatusResponse, error) {
	if !m.up() {
		return nil, fmt.Errorf("member %d does not run", m.id)
	}
	c, err := m.admin()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), orderTime)
	defer cancel()
	return c.Status(ctx, &adminpb.StatusRequest{})
}

// word asks a four-letter word.
func (m *member) word(word string) (string, error) {
	c, err := net.DialTimeout("tcp", m.addr(), orderTime)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(orderTime)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, word); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	return string(b), err
}

func (m *member) close() error {
	err := m.kill()
	if m.conn != nil {
		err = errors.Join(err, m.conn.Close())
	}
	return err
}
