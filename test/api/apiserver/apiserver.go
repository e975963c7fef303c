// Package apiserver starts a real API server with the project's CRD, for tests
// with the build tag envtest.
//
// In the room: starting and ending it, for a package's tests or by hand. Not in
// the room: tests.
package apiserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// Server is a running API server, with an etcd of its own.
type Server struct {
	env *envtest.Environment
	// Config is how to reach it, with all rights.
	Config *rest.Config
	// Kubectl is the path of a kubectl of its version.
	Kubectl string
}

// Start starts one. It needs KUBEBUILDER_ASSETS, which make test sets.
func Start() (*Server, error) {
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		return nil, errors.New("KUBEBUILDER_ASSETS is not set, the folder with etcd and kube-apiserver: run make test, which builds and names it, or export KUBEBUILDER_ASSETS=$(hack/localcluster/assets.sh)")
	}
	_, here, _, _ := runtime.Caller(0)
	env := &envtest.Environment{
		BinaryAssetsDirectory:    assets,
		CRDDirectoryPaths:        []string{filepath.Join(filepath.Dir(here), "..", "..", "..", "config", "crd", "bases")},
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: 5 * time.Minute,
		ControlPlaneStopTimeout:  time.Minute,
	}
	config, err := env.Start()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting an API server from %s: %w", assets, err), env.Stop())
	}
	// Tests take turns with nobody.
	config.QPS, config.Burst = -1, -1
	return &Server{env: env, Config: config, Kubectl: filepath.Join(assets, "kubectl")}, nil
}

// Main runs a package's tests while a server runs, which stands in server.
func Main(m *testing.M, server **Server) {
	ctrl.SetLogger(logr.Discard())
	s, err := Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	*server = s
	code := m.Run()
	if err := s.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// Stop ends it.
func (s *Server) Stop() error { return s.env.Stop() }

// Kubeconfig writes a file for kubectl into dir and returns its path.
func (s *Server) Kubeconfig(dir string) (string, error) {
	user, err := s.env.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		return "", err
	}
	text, err := user.KubeConfig()
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "kubeconfig")
	return file, os.WriteFile(file, text, 0o600)
}
