package resources

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// Where things are in the server's container.
const (
	configDir = "/etc/conclave"
	dataDir   = "/data"
	logDir    = "/datalog"
)

// zooCfg renders zoo.cfg. What the user's keys may say is decided by the CRD; of
// the keys here only the purge's and leaveMs can be among them.
func zooCfg(c *v1alpha1.CoordinationCluster) string {
	s := &c.Spec
	keys := map[string]string{
		"conclave.leaveMs":          strconv.Itoa(leaveMillis),
		"autopurge.purgeInterval":   "1",
		"autopurge.snapRetainCount": "3",
	}
	for k, v := range s.Server.Config {
		keys[k] = string(v)
	}
	set := func(k, v string) { keys[k] = v }
	set("dataDir", dataDir)
	if s.Storage.Log != nil {
		set("dataLogDir", logDir)
	}
	set("clientPort", strconv.Itoa(PortClient))
	// A pod's own name resolves only after it has an address.
	set("quorumListenOnAllIPs", "true")
	set("admin.enableServer", "false")
	set("metricsProvider.className", "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider")
	set("metricsProvider.httpPort", strconv.Itoa(PortMetrics))
	set("conclave.adminAddress", ":"+strconv.Itoa(PortAdmin))
	set("conclave.healthAddress", ":"+strconv.Itoa(PortHealth))
	set("conclave.tls.dir", configDir+"/tls")
	set("conclave.tls.serverName", TLSName(c))
	set("tickTime", strconv.Itoa(int(s.Sessions.TickMilliseconds)))
	if t := s.Sessions.MinTimeoutMilliseconds; t != nil {
		set("minSessionTimeout", strconv.Itoa(int(*t)))
	}
	if t := s.Sessions.MaxTimeoutMilliseconds; t != nil {
		set("maxSessionTimeout", strconv.Itoa(int(*t)))
	}
	if n := s.Sessions.MaxPerMember; n > 0 {
		set("maxCnxns", strconv.Itoa(int(n)))
	}
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		fmt.Fprintf(&b, "%s=%s\n", k, escape(keys[k]))
	}
	return b.String()
}

// escape writes a value as a properties file has it: a backslash would else be
// taken for the beginning of an escape.
func escape(v string) string { return strings.ReplaceAll(v, `\`, `\\`) }
