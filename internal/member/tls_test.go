package member

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/tlsfiles"
	"github.com/conclave-dev/conclave/internal/tlsfiles/tlstest"
	"github.com/conclave-dev/conclave/internal/zooconfig"
)

const tlsName = "member.test.conclave.dev"

// An ensemble forms, serves and is asked over TLS; a rotation of its authority
// goes unnoticed.
func TestEnsembleOverTLS(t *testing.T) {
	t.Parallel()
	ca, next := tlstest.NewCA(t), tlstest.NewCA(t)
	leaf := tlstest.Leaf{ServerName: tlsName}
	dir := t.TempDir()
	ca.Write(dir, leaf)
	e := newEnsemble(t, 3, fmt.Sprintf("conclave.tls.dir=%s\nconclave.tls.serverName=%s\nconclave.adminAddress=127.0.0.1:0\n", dir, tlsName))
	e.startAll()
	for _, phase := range []struct {
		by      *tlstest.CA
		trusted []*tlstest.CA
	}{{ca, []*tlstest.CA{ca, next}}, {next, []*tlstest.CA{ca, next}}, {next, []*tlstest.CA{next}}} {
		phase.by.Write(dir, leaf, phase.trusted...)
		// A member that starts makes and takes every kind of connection.
		e.stop(2)
		e.start(2)
		e.ready()
		e.connect(1, 60*time.Second, nil).mustCreate("/phase-", jute.ModePersistentSequential)
	}
	e.sameState()

	operatorDir := t.TempDir()
	next.Write(operatorDir, tlstest.Leaf{Role: tlsfiles.RoleOperator, Uses: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	files, err := tlsfiles.Open(tlsfiles.Options{Dir: operatorDir, ServerName: tlsName, Role: tlsfiles.RoleOperator, Logger: slog.New(slog.DiscardHandler)})
	check(t, err)
	conn, err := grpc.NewClient(e.members[0].AdminAddr().String(), grpc.WithTransportCredentials(credentials.NewTLS(files.Client())))
	check(t, err)
	defer conn.Close()
	st, err := adminpb.NewAdminClient(conn).Status(e.order(), &adminpb.StatusRequest{})
	if err != nil || !st.GetReady() || len(st.GetVoters()) != 3 || st.GetTls().GetNotAfterMs() == 0 || st.GetTls().GetProblem() != "" {
		t.Errorf("%v, %v", st, err)
	}
}

func TestTLSFilesThatAreMissingAtTheStart(t *testing.T) {
	dir := t.TempDir()
	cfg, _, err := zooconfig.Parse("zoo.cfg", fmt.Appendf(nil, "dataDir=%s\nclientPort=1\nadmin.enableServer=false\nconclave.tls.dir=%s\nconclave.tls.serverName=x\n", dir, dir), zooconfig.Env{})
	check(t, err)
	_, err = Start(Options{Config: cfg, Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "conclave.tls.dir") || !strings.Contains(err.Error(), filepath.Join(dir, tlsfiles.CAFile)) {
		t.Error(err)
	}
}
