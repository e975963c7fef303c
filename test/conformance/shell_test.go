//go:build conformance

package conformance

import (
	"context"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/compile"
)

// shellSession is what an operator types into zkCli, and what has to be among
// the lines that come back: regular expressions, those of one command in any
// order, behind those of the commands before it.
var shellSession = []struct {
	command string
	want    []string
}{
	{"create /cli hello", nil},
	{"create /cli/a 1", nil},
	{"create -s -e /cli/e 2", nil},
	{"create -c /cli/c", nil},
	{"create -t 3600000 /cli/t x", nil},
	{"get -s /cli", []string{`^hello$`, `^cZxid = 0x[0-9a-f]+$`, `^cversion = 4$`, `^dataVersion = 0$`, `^ephemeralOwner = 0x0$`, `^dataLength = 5$`, `^numChildren = 4$`}},
	{"set /cli world", nil},
	{"get /cli", []string{`^world$`}},
	{"set -v 0 /cli no", nil}, // refused
	{"stat /cli", []string{`^dataVersion = 1$`}},
	{"ls /cli", []string{`^\[a, c, e0000000001, t\]$`}},
	{"ls -R /cli", []string{`^/cli$`, `^/cli/a$`, `^/cli/c$`, `^/cli/e0000000001$`, `^/cli/t$`}},
	{"getAllChildrenNumber /cli", []string{`^4$`}},
	{"getEphemerals /cli", []string{`^\[/cli/e0000000001\]$`}},
	{"getAcl /cli", []string{`^'world,'anyone$`, `^: cdrwa$`}},
	{"setAcl /cli/a world:anyone:r", nil},
	{"getAcl -s /cli/a", []string{`^: r$`, `^aclVersion = 1$`}},
	{"addauth digest super:test", nil},
	{"whoami", []string{`^super: $`, `^ip: 127\.0\.0\.1$`, `^digest: super$`}},
	{"setquota -N 5 /cli/a", nil},
	{"listquota /cli/a", []string{`^Output quota for /cli/a count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=5$`, `^Output stat for /cli/a count=1,bytes=1`}},
	{"delquota /cli/a", nil},
	{"sync /cli", []string{`^Sync is OK$`}},
	{"config", []string{`^server\.1=127\..*:participant;127\.`, `^version=[0-9a-f]+$`}},
	{"addWatch /cli/w", nil},
	{"create /cli/w", []string{`type:NodeCreated path:/cli/w$`}},
	{"removewatches /cli/w", []string{`type:PersistentWatchRemoved path:/cli/w$`}},
	{"deleteall /cli", nil},
	{"stat /cli", nil}, // not there any more
	{"version", []string{`^ZooKeeper CLI version: `}},
	{"quit", nil},
}

// TestShell is zkCli, as an operator uses it.
func TestShell(t *testing.T) {
	e := sharedEnsemble(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var script strings.Builder
	for _, step := range shellSession {
		script.WriteString(step.command + "\n")
	}
	// The class behind Debian's zkCli.sh, without its fixed class path.
	cmd := exec.CommandContext(ctx, "java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", strings.Join(compile.Jars[3:], ":"),
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "org.apache.zookeeper.ZooKeeperMain", "-server", e.ConnectString())
	cmd.Stdin = strings.NewReader(script.String())
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("zkCli: %v\n%s\n%s", err, out, stderr.String())
	}
	lines := strings.Split(string(out), "\n")
	at := 0
	for _, step := range shellSession {
		last := at
		for _, pattern := range step.want {
			n := slices.IndexFunc(lines[at:], regexp.MustCompile(pattern).MatchString)
			if n < 0 {
				t.Fatalf("%q: no line matches %q behind line %d of\n%s\n%s", step.command, pattern, at, out, stderr.String())
			}
			last = max(last, at+n+1)
		}
		at = last
	}
	for _, refused := range []string{"version No is not valid : /cli", "Node does not exist: /cli"} {
		if !strings.Contains(stderr.String(), refused) {
			t.Errorf("zkCli does not report %q:\n%s", refused, stderr.String())
		}
	}
}
