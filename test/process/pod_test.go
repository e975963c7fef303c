package process

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
)

// podUser is who a member is in its pod: nobody in particular.
const podUser = 65532

// freePort returns a port that is free on all addresses, below those of outgoing
// connections: a member that is started again finds it free again.
func freePort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		port := 12000 + rand.IntN(18000)
		if l, err := net.Listen("tcp", fmt.Sprint(":", port)); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// podVolume is a volume as a kubelet mounts it: root's, writable for the pod's
// group, with the lost+found of its file system.
func podVolume(t *testing.T) string {
	t.Helper()
	dir := dataDir(t)
	if err := os.MkdirAll(filepath.Join(dir, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(dir, 0, podUser); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o2775|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	return dir
}

// startAsPod starts conclave-server as an unprivileged user, where it can.
func startAsPod(t *testing.T, arguments []string) *server {
	t.Helper()
	bin := program(t)
	if os.Getuid() != 0 {
		return start(t, bin, arguments, "TMPDIR=/nonexistent")
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("setpriv (util-linux) is needed to give up root's rights")
	}
	if err := os.Chmod(filepath.Dir(bin), 0o755); err != nil {
		t.Fatal(err)
	}
	user := fmt.Sprint(podUser)
	return start(t, setpriv, append([]string{"--reuid", user, "--regid", user, "--clear-groups", bin}, arguments...), "TMPDIR=/nonexistent")
}

// adminConn connects to a member's socket.
func adminConn(t *testing.T, target string, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient(target, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestPod runs a member as Kubernetes does: under a name that does not resolve
// yet, as a user without rights, on volumes with a lost+found, with a
// configuration that it can't write, told by others what to do.
func TestPod(t *testing.T) {
	t.Parallel()
	data, log := podVolume(t), podVolume(t)
	client, peer, election, health := freePort(t), freePort(t), freePort(t), freePort(t)
	cfg := filepath.Join(t.TempDir(), "zoo.cfg")
	for dir := filepath.Dir(cfg); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, cfg, fmt.Sprintf("dataDir=%s\ndataLogDir=%s\nclientPort=%d\ntickTime=500\nadmin.enableServer=false\n4lw.commands.whitelist=*\nconclave.healthAddress=:%d\n", data, log, client, health))
	if err := os.Chmod(cfg, 0o444); err != nil {
		t.Fatal(err)
	}
	name := "shop-observer-2.shop-members.default.svc.nowhere.invalid"
	arguments := []string{"--config", cfg, "--await-bootstrap", "--log-format", "text", "--server-number-offset", "100",
		"--self", fmt.Sprintf("%s:%d:%d;%d", name, peer, election, client)}

	s := startAsPod(t, arguments)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	api := adminpb.NewAdminClient(adminConn(t, "unix:"+admin.SocketPath(data)))
	var st *adminpb.StatusResponse
	eventually(t, "it waits to be told its ensemble", func() (err error) {
		if st, err = api.Status(ctx, &adminpb.StatusRequest{}); err != nil {
			return err
		}
		return nil
	})
	if st.GetMembership() != adminpb.Membership_MEMBERSHIP_AWAITING || st.GetName() != 103 || st.GetPeerAddress() != fmt.Sprintf("%s:%d", name, peer) {
		t.Fatalf("%v", st)
	}
	probe := grpc_health_v1.NewHealthClient(adminConn(t, fmt.Sprint("127.0.0.1:", health)))
	check := func(service string, want grpc_health_v1.HealthCheckResponse_ServingStatus) error {
		r, err := probe.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service}, grpc.WaitForReady(true))
		if err == nil && r.Status != want {
			err = fmt.Errorf("%s is %v", service, r.Status)
		}
		return err
	}
	if err := check("live", grpc_health_v1.HealthCheckResponse_SERVING); err != nil {
		t.Error(err)
	}
	if err := check("ready", grpc_health_v1.HealthCheckResponse_NOT_SERVING); err != nil {
		t.Error(err)
	}
	if _, err := api.Bootstrap(ctx, &adminpb.BootstrapRequest{ClusterId: strings.Repeat("1f", 16), MemberId: st.GetMemberId()}); err != nil {
		t.Fatal(err)
	}
	serves := func() {
		t.Helper()
		s.addr = fmt.Sprint("127.0.0.1:", client)
		s.mustServe()
		eventually(t, "it is ready", func() error { return check("ready", grpc_health_v1.HealthCheckResponse_SERVING) })
		// Other members reach it under any address that its name may come to mean.
		for _, addr := range []string{"127.0.0.1", "127.0.0.2"} {
			c, err := net.Dial("tcp", net.JoinHostPort(addr, fmt.Sprint(peer)))
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
	}
	serves()
	// All that it writes is on its volumes.
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", s.p.PID()))
	if err != nil || len(fds) == 0 {
		t.Fatalf("no open files: %v", err)
	}
	for _, fd := range fds {
		file, err1 := os.Readlink(fd)
		about, err2 := os.ReadFile(strings.Replace(fd, "/fd/", "/fdinfo/", 1))
		if err1 != nil || err2 != nil {
			continue // closed since
		}
		var pos, flags int
		if _, err := fmt.Sscanf(string(about), "pos:\t%d\nflags:\t%o", &pos, &flags); err != nil {
			t.Fatalf("%q: %v", about, err)
		}
		info, err := os.Stat(file)
		if err == nil && info.Mode().IsRegular() && flags&(os.O_WRONLY|os.O_RDWR) != 0 && !strings.HasPrefix(file, data+"/") && !strings.HasPrefix(file, log+"/") {
			t.Errorf("%s is open for writing", file)
		}
	}
	s.stop()

	// The pod is started again, on another node for all that it knows: it needs no
	// order to go on.
	s = startAsPod(t, arguments)
	serves()
	again, err := api.Status(ctx, &adminpb.StatusRequest{}, grpc.WaitForReady(true))
	if err != nil || again.GetMemberId() != st.GetMemberId() || again.GetClusterId() != strings.Repeat("1f", 16) {
		t.Errorf("%v, %v", again, err)
	}
	s.stop()
	if left, err := os.ReadDir(filepath.Join(data, "lost+found")); err != nil || len(left) != 0 {
		t.Errorf("lost+found: %v, %v", left, err)
	}
}
