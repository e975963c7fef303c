// Command conclave-operator makes running ensembles of CoordinationClusters.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/controllers"
	"github.com/conclave-dev/conclave/internal/pace"
	"github.com/conclave-dev/conclave/internal/pki"
	"github.com/conclave-dev/conclave/internal/projection/leases"
	"github.com/conclave-dev/conclave/internal/projector"
)

// version is set by the linker.
var version = "dev"

func main() {
	if err := command().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "conclave-operator:", err)
		os.Exit(1)
	}
}

type flags struct {
	namespaces          []string
	namespace           string
	image               string
	leaderElect         bool
	leaderNamespace     string
	metrics             string
	metricsSecure       bool
	metricsCerts        string
	probes              string
	profiles            string
	workers             int
	logLevel, logFormat string
}

func command() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "conclave-operator",
		Short: "Make running ensembles of CoordinationClusters",
		Long: `conclave-operator runs in a Kubernetes cluster and makes of every
CoordinationCluster a running ensemble: it founds it once, adds and removes
members one at a time, restarts them without losing a session, and heals what
can be healed. What it does and why not stands in each resource's status.

It finds the API server as kubectl does: by its service account in a pod, or
else by KUBECONFIG.`,
		Version:       version,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(*cobra.Command, []string) error { return run(f) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.namespace, "namespace", os.Getenv("POD_NAMESPACE"), "the operator's own namespace, from which NetworkPolicies let it to members (default POD_NAMESPACE; if empty, from every namespace)")
	fs.StringSliceVar(&f.namespaces, "namespaces", split(os.Getenv("WATCH_NAMESPACE")), "namespaces to look after, separated by commas (default WATCH_NAMESPACE, or all)")
	fs.StringVar(&f.image, "image", os.Getenv("OPERATOR_IMAGE"), "this program's own image, which clusters get that name none (default OPERATOR_IMAGE)")
	fs.BoolVar(&f.leaderElect, "leader-elect", false, "do nothing until no other operator leads: needed with more than one replica, and while one replaces another")
	fs.StringVar(&f.leaderNamespace, "leader-elect-namespace", "", "where the Lease of the election is (default the pod's own namespace)")
	fs.StringVar(&f.metrics, "metrics-bind-address", ":8443", "where metrics are served; 0 for nowhere")
	fs.BoolVar(&f.metricsSecure, "metrics-secure", true, "serve metrics over TLS, and only to who may get the URL /metrics (a ClusterRole)")
	fs.StringVar(&f.metricsCerts, "metrics-cert-dir", "", "directory with tls.crt and tls.key for metrics (default a certificate of its own signing)")
	fs.StringVar(&f.probes, "health-probe-bind-address", ":8081", "where /healthz and /readyz are served")
	fs.StringVar(&f.profiles, "pprof-bind-address", "", "where Go's profiles are served, below /debug/pprof, to whoever can reach it (default nowhere)")
	fs.IntVar(&f.workers, "workers", 8, "how many clusters are seen to at a time")
	fs.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	fs.StringVar(&f.logFormat, "log-format", "json", "json or text")
	return cmd
}

func split(s string) (out []string) {
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// logger makes the log, for Kubernetes' libraries too.
func logger(f flags) (logr.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return logr.Logger{}, fmt.Errorf("--log-level: %w", err)
	}
	options := &slog.HandlerOptions{Level: level}
	var h slog.Handler
	switch f.logFormat {
	case "json":
		h = slog.NewJSONHandler(os.Stderr, options)
	case "text":
		h = slog.NewTextHandler(os.Stderr, options)
	default:
		return logr.Logger{}, fmt.Errorf("--log-format %q: must be json or text", f.logFormat)
	}
	return logr.FromSlogHandler(h), nil
}

// scheme knows what the operator reads and writes.
func scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	return s, errors.Join(clientgoscheme.AddToScheme(s), v1alpha1.AddToScheme(s))
}

// options are the manager's: what it watches is what belongs to a cluster, and no
// Secret.
func options(f flags, s *runtime.Scheme) (ctrl.Options, error) {
	of, err := labels.Parse(v1alpha1.LabelCluster)
	if err != nil {
		return ctrl.Options{}, err
	}
	selected := cache.ByObject{Label: of}
	o := ctrl.Options{
		Scheme: s,
		Cache: cache.Options{
			DefaultTransform: cache.TransformStripManagedFields(),
			ByObject: map[client.Object]cache.ByObject{
				// Clients' pods are known by their addresses.
				&corev1.Pod{}: {Transform: projector.Slim}, &coordinationv1.Lease{}: selected,
				&corev1.PersistentVolumeClaim{}: selected, &corev1.ConfigMap{}: selected, &corev1.Service{}: selected,
				&corev1.ServiceAccount{}: selected, &appsv1.StatefulSet{}: selected, &policyv1.PodDisruptionBudget{}: selected, &networkingv1.NetworkPolicy{}: selected,
			},
		},
		Client:                        client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
		HealthProbeBindAddress:        f.probes,
		PprofBindAddress:              f.profiles,
		LeaderElection:                f.leaderElect,
		LeaderElectionID:              "operator.conclave.dev",
		LeaderElectionNamespace:       f.leaderNamespace,
		LeaderElectionReleaseOnCancel: true, // the process ends when the manager does
		Metrics: metricsserver.Options{
			BindAddress: f.metrics, SecureServing: f.metricsSecure, CertDir: f.metricsCerts,
			TLSOpts: []func(*tls.Config){func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }},
		},
	}
	if f.metricsSecure {
		o.Metrics.FilterProvider = filters.WithAuthenticationAndAuthorization
	}
	if len(f.namespaces) > 0 {
		o.Cache.DefaultNamespaces = map[string]cache.Config{}
		for _, ns := range f.namespaces {
			o.Cache.DefaultNamespaces[ns] = cache.Config{}
		}
	}
	return o, nil
}

// gcPercent is how much may be allocated before the collector runs, in percent of
// what is live (Go's own default is 100). What is live is mostly copies of sessions and
// Leases, which hold few pointers: memory is worth more than the little time.
const gcPercent = 50

func run(f flags) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	log, err := logger(f)
	if err != nil {
		return err
	}
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	if f.workers < 1 {
		return fmt.Errorf("--workers %d: must be at least 1", f.workers)
	}
	s, err := scheme()
	if err != nil {
		return err
	}
	o, err := options(f, s)
	if err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the API server: %w", err)
	}
	m, err := ctrl.NewManager(config, o)
	if err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	if err := m.GetFieldIndexer().IndexField(context.Background(), &corev1.Pod{}, projector.IndexPodIP, projector.PodIPs); err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	recorder := m.GetEventRecorder("conclave-operator")
	turns := pace.New(pace.PerSecond)
	projection := projector.New(projector.Options{Client: m.GetClient(), Reader: m.GetAPIReader(), Cache: m.GetCache(), Recorder: recorder,
		Pod: projector.PodsBy(m.GetClient()), Now: time.Now, Limits: leases.DefaultLimits, Turns: turns})
	if err := m.Add(projection); err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	r := &controllers.Reconciler{
		Client: m.GetClient(), Reader: m.GetAPIReader(), Recorder: recorder, Ensembles: controllers.NewConnections(), Projection: projection, Turns: turns,
		Image: f.image, Namespace: f.namespace, Policy: pki.DefaultPolicy, Now: time.Now, FreshID: controllers.RandomID,
	}
	if err := r.SetupWithManager(m, f.workers); err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	if err := errors.Join(m.AddHealthzCheck("alive", healthz.Ping), m.AddReadyzCheck("alive", healthz.Ping)); err != nil {
		return err
	}
	if f.image == "" {
		log.Info("this operator was not told its own image (--image): clusters have to name theirs")
	}
	goVersion := ""
	if b, ok := debug.ReadBuildInfo(); ok {
		goVersion = b.GoVersion
	}
	log.Info("starting", "version", version, "go", goVersion, "namespaces", f.namespaces, "image", f.image)
	return m.Start(ctrl.SetupSignalHandler())
}
