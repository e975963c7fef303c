// Command conclave-server runs one member of a coordination ensemble that
// ZooKeeper's clients use unmodified.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/member"
	"github.com/conclave-dev/conclave/internal/zooconfig"
)

// version and built are set by the linker: what was built, and the time of its
// commit (RFC 3339).
var (
	version = "dev"
	built   = ""
)

func main() {
	if err := command().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "conclave-server:", err)
		os.Exit(1)
	}
}

type flags struct {
	config, dataDir, listen string
	logLevel, logFormat     string
	pprof                   string
	await                   bool
	self                    string
	offset                  int
}

func command() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "conclave-server (--config zoo.cfg | --data-dir DIR)",
		Short: "Run one member of a coordination ensemble for ZooKeeper clients",
		Long: `conclave-server runs one member of a coordination ensemble that ZooKeeper's
clients use unmodified.

With --config it reads ZooKeeper's own configuration file (and the myid file in
its dataDir): what starts ZooKeeper today starts Conclave with the same file.
System properties are taken from the file, or as -Dkey=value from the
environment variable SERVER_JVMFLAGS.

With --data-dir alone it is an ensemble of one.

With --await-bootstrap a member whose directory is empty forms no ensemble by
itself: it serves its admin API and waits to be told which one it belongs to.
Its configuration has a server line for itself alone, in the file or in --self.

The other commands give orders to a running member, through its admin API.`,
		Example: `  conclave-server --config /etc/zookeeper/zoo.cfg
  conclave-server --data-dir /var/lib/conclave --listen 127.0.0.1:2181
  conclave-server --config /etc/conclave/zoo.cfg --await-bootstrap --self 'zk-0.zk:2888:3888;2181'`,
		Version:       version,
		Args:          noArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(*cobra.Command, []string) error { return run(f) },
	}
	cmd.Flags().StringVar(&f.config, "config", "", "ZooKeeper's configuration file, zoo.cfg")
	cmd.Flags().StringVar(&f.dataDir, "data-dir", "", "run an ensemble of one with its data here")
	cmd.Flags().StringVar(&f.listen, "listen", "", "with --data-dir, where clients connect (default 127.0.0.1:2181)")
	cmd.Flags().StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	cmd.Flags().StringVar(&f.pprof, "pprof", "", "serve Go's profiles at this address, for whoever looks into speed or memory")
	cmd.Flags().BoolVar(&f.await, "await-bootstrap", false, "with an empty directory, wait to be told which ensemble this member belongs to")
	cmd.Flags().StringVar(&f.self, "self", "", "with --await-bootstrap, this member's server line: [server.N=]host:peerPort:electionPort;clientPort (N defaults to myid, or to the ordinal of a pod's name + 1)")
	cmd.Flags().IntVar(&f.offset, "server-number-offset", 0, "with --self, added to the number that the ordinal of a pod's name gives, so that two StatefulSets share an ensemble")
	cmd.AddCommand(memberCommand(), sessionsCommand(), recoverCommand(), snapshotCommand())
	cmd.Flags().StringVar(&f.logFormat, "log-format", "text", "text or json")
	return cmd
}

func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%q stands alone: a configuration file goes behind --config, a data directory behind --data-dir", args[0])
	}
	return nil
}

func run(f flags) error {
	log, err := logger(f)
	if err != nil {
		return err
	}
	cfg, text, warnings, err := load(f)
	if err != nil {
		return err
	}
	if len(warnings) > 0 {
		log.Warn("configuration: " + strings.Join(warnings, "; "))
	}
	if f.pprof != "" {
		h := admin.StartHTTP(log, "profiles", f.pprof, 0, profiles())
		defer h.Stop(context.Background())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	for {
		err := serve(ctx, stop, log, member.Options{Config: cfg, ConfigText: text, Version: buildVersion(), Logger: log, AwaitBootstrap: f.await})
		if !errors.Is(err, member.ErrStartOver) {
			return err
		}
		log.Info("starting over, as this member was told to")
	}
}

// serve runs a member until ctx ends or it can't go on.
func serve(ctx context.Context, stop func(), log *slog.Logger, opt member.Options) error {
	m, err := member.Start(opt)
	if err != nil {
		return err
	}
	log.Info("started", "version", version, "clients", m.ClientAddr().String(), "data", opt.Config.DataDir)
	select {
	case <-ctx.Done():
		stop() // a second signal ends the process at once
		if opt.Config.Leave > 0 {
			log.Info("leaving: clients are served until nobody sends any more", "within", opt.Config.Leave)
			m.Leave()
		}
		log.Info("stopping: leadership is handed over, clients are let go")
		m.Stop()
		return nil
	case <-m.Failed():
		m.Stop()
		return fmt.Errorf("the member can't go on: %w", m.Err())
	}
}

func load(f flags) (cfg *zooconfig.Config, text string, warnings []string, err error) {
	env := zooconfig.OSEnv()
	switch {
	case f.await && f.config == "":
		return nil, "", nil, errors.New("--await-bootstrap needs a configuration: --config zoo.cfg (and --self, if the file does not have this member's server line)")
	case f.offset != 0 && f.self == "":
		return nil, "", nil, errors.New("--server-number-offset is for --self")
	case f.self != "" && !f.await:
		return nil, "", nil, errors.New("--self is for --await-bootstrap: otherwise the server lines stand in the configuration")
	case f.config != "" && (f.dataDir != "" || f.listen != ""):
		return nil, "", nil, errors.New("--config says where the data is and where clients connect; --data-dir and --listen are for a start without it")
	case f.config != "":
		raw, err := os.ReadFile(f.config)
		if err != nil {
			return nil, "", nil, fmt.Errorf("--config: %w", err)
		}
		if f.await {
			cfg, warnings, err = zooconfig.LoadAwaiting(f.config, f.self, f.offset, env)
		} else {
			cfg, warnings, err = zooconfig.Load(f.config, env)
		}
		return cfg, string(raw), warnings, err
	case f.dataDir != "":
		if f.listen == "" {
			f.listen = "127.0.0.1:2181"
		}
		cfg, warnings, err = zooconfig.FromFlags(f.dataDir, f.listen, env)
		return cfg, "", warnings, err
	}
	return nil, "", nil, errors.New("say --config zoo.cfg to start from ZooKeeper's configuration, or --data-dir DIR for an ensemble of one (see --help)")
}

func logger(f flags) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return nil, fmt.Errorf("--log-level %q: it is debug, info, warn or error", f.logLevel)
	}
	opts := &slog.HandlerOptions{Level: level}
	switch f.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, opts)), nil
	}
	return nil, fmt.Errorf("--log-format %q: it is text or json", f.logFormat)
}

// profiles serves net/http/pprof.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

func buildVersion() admin.Version {
	when := built
	if info, ok := debug.ReadBuildInfo(); ok && when == "" {
		// A plain go build in a clone.
		for _, s := range info.Settings {
			if s.Key == "vcs.time" {
				when = s.Value
			}
		}
	}
	t, err := time.Parse(time.RFC3339, when)
	if err != nil {
		t = time.Time{} // a build without it
	}
	return admin.Version{Number: version, Built: t}
}
