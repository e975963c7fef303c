//go:build faults

package faults

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	server "github.com/conclave-dev/conclave/internal/member"
	"github.com/conclave-dev/conclave/internal/zooconfig"
)

// A victim is a member that kills itself at a durability boundary: this program,
// with a file system between the member and its disk that knows what each change
// is for (points_test.go). What is released has no code for it.

// victimVariable carries a victim's plan, in JSON; it makes this program one.
const victimVariable = "CONCLAVE_FAULTS_VICTIM"

// victimPlan says at which points a victim is to die: at the first that it
// passes and that is not in Spared.
type victimPlan struct {
	// Armed is false for one that is to live.
	Armed  bool
	Spared []string
	// Report is a file to which the victim adds the point at which it dies.
	Report string
}

// Files of victims come and go often.
const (
	victimSnapCount   = 120
	victimSegmentSize = 32 << 10
	victimKeepEntries = 60
)

// runVictim does what conclave-server does.
func runVictim(text string) int {
	if err := victim(text, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "conclave-server:", err)
		return 1
	}
	return 0
}

func victim(text string, args []string) error {
	var plan victimPlan
	if err := json.Unmarshal([]byte(text), &plan); err != nil {
		return err
	}
	flags := flag.NewFlagSet("victim", flag.ContinueOnError)
	config := flags.String("config", "", "")
	await := flags.Bool("await-bootstrap", false, "")
	self := flags.String("self", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var cfg *zooconfig.Config
	var err error
	if *await {
		cfg, _, err = zooconfig.LoadAwaiting(*config, *self, 0, zooconfig.OSEnv())
	} else {
		cfg, _, err = zooconfig.Load(*config, zooconfig.OSEnv())
	}
	if err != nil {
		return err
	}
	cfg.SnapCount = victimSnapCount
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	for {
		m, err := server.Start(server.Options{
			Config: cfg, AwaitBootstrap: *await, Logger: log, FS: newPoints(plan, cfg.DataDir),
			SegmentSize: victimSegmentSize, SpareSegments: 1, KeepEntries: victimKeepEntries,
		})
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			m.Stop()
			return nil
		case <-m.Failed():
			m.Stop()
			if err := m.Err(); !errors.Is(err, server.ErrStartOver) {
				return err
			}
		}
	}
}

// hunt has the members of a cluster die, one at a time, at each point once. A
// member that has died is started again, as the next victim or not.
type hunt struct {
	c *cluster
	// done are the points at which somebody has died.
	done []string
	// prey is who is to die next; nil for nobody.
	prey *member
	// next chooses the prey after one has died.
	next func(died *member) *member
}

// victims makes the members of a cluster victims, of which none is armed.
func (c *cluster) victims() *hunt {
	c.t.Helper()
	self, err := os.Executable()
	c.must(err)
	for _, m := range c.members {
		m.program = []string{self}
		m.electionMs = 300 // leaders die often, and a lost majority is given up after ten of them
		c.must(os.MkdirAll(m.dir, 0o755))
	}
	h := &hunt{c: c}
	h.next = func(died *member) *member { return died }
	h.arm(nil)
	c.hunt = h
	return h
}

// arm chooses who is to die. It takes effect when the members are started.
func (h *hunt) arm(prey *member) {
	h.c.t.Helper()
	h.prey = prey
	for _, m := range h.c.members {
		b, err := json.Marshal(victimPlan{Armed: m == prey, Spared: h.done, Report: m.report()})
		h.c.must(err)
		m.env = []string{victimVariable + "=" + string(b)}
	}
}

// look finds out whether the prey has died, notes where, and starts it again.
func (h *hunt) look() {
	h.c.t.Helper()
	if h.prey == nil || !h.prey.fell() {
		return
	}
	died := h.prey
	b, err := os.ReadFile(died.report())
	if err != nil {
		h.c.t.Fatalf("member %d has ended by itself, and not at a point: %v", died.id, err)
	}
	h.c.must(os.Remove(died.report()))
	point := strings.TrimSpace(string(b))
	if slices.Contains(h.done, point) {
		h.c.t.Fatalf("member %d has died at %q, again", died.id, point)
	}
	h.done = append(h.done, point)
	h.arm(h.next(died))
	h.c.must(died.start())
	if h.prey != nil && h.prey != died {
		h.restart(h.prey) // to know that it is the next
	}
}

// restart kills a member and starts it, with what it was armed for last.
func (h *hunt) restart(m *member) {
	h.c.t.Helper()
	h.c.must(m.kill())
	_ = os.Remove(m.report()) // it may have died just now
	h.c.must(m.start())
}

// passed fails the test if nobody died at one of the points.
func (h *hunt) passed(points ...string) {
	h.c.t.Helper()
	h.c.t.Logf("%d crashes: %s", len(h.done), strings.Join(h.done, "; "))
	for _, p := range points {
		if !slices.ContainsFunc(h.done, func(d string) bool { return strings.HasPrefix(d, p) }) {
			h.c.t.Errorf("nobody came to the point %q", p)
		}
	}
}
