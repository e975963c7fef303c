package process

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/conclave-dev/conclave/internal/member"
	"github.com/conclave-dev/conclave/internal/zooconfig"
)

func TestMain(m *testing.M) {
	if text, ok := os.LookupEnv(planVariable); ok {
		if err := runMember(text); err != nil {
			fmt.Fprintln(os.Stderr, "member:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	removeBinary()
	os.Exit(code)
}

// runMember does what conclave-server does, on a disk that follows a plan.
func runMember(text string) error {
	var p plan
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return err
	}
	cfg, _, err := zooconfig.FromFlags(p.DataDir, "127.0.0.1:0", zooconfig.Env{})
	if err != nil {
		return err
	}
	cfg.AllFourLetterWords = true
	if p.SnapCount != 0 {
		cfg.SnapCount = p.SnapCount
	}
	disk := newFaultFS(p)
	defer disk.end()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	m, err := member.Start(member.Options{
		Config: cfg, Logger: log, FS: disk, SegmentSize: p.SegmentSize, SpareSegments: p.Spares, KeepEntries: p.KeepEntries,
	})
	if err != nil {
		return err
	}
	log.Info("started", "clients", m.ClientAddr().String())
	select {
	case <-ctx.Done():
		m.Stop()
		return nil
	case <-m.Failed():
		m.Stop()
		return m.Err()
	}
}
