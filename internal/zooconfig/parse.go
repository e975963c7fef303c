package zooconfig

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"strings"
	"time"
)

// Env is what a configuration refers to outside its own text. Either function
// may be nil: nothing is set, and no file exists.
type Env struct {
	// Getenv returns an environment variable, "" if it is not set.
	Getenv func(string) string
	// ReadFile returns a file. An error that is fs.ErrNotExist means that there
	// is none.
	ReadFile func(string) ([]byte, error)
}

func (e Env) read(name string) ([]byte, error) {
	if e.ReadFile == nil {
		return nil, fs.ErrNotExist
	}
	return e.ReadFile(name)
}

// Parse reads the text of a zoo.cfg, along with what it refers to in env: the
// system properties in SERVER_JVMFLAGS and JVMFLAGS, the dynamic configuration
// file and dataDir's myid file. name stands for the file in messages.
//
// The warnings name, each with its place, the keys that have no effect, and
// values that were taken otherwise than written; they are meant for one
// message to the log. The error joins one error for everything that is wrong;
// with an error there is no Config.
func Parse(name string, text []byte, env Env) (*Config, []string, error) {
	r := &report{sources: append([]string{name}, flagVariables...)}
	file, problems := parseProperties(name, text)
	r.problems = append(r.problems, problems...)
	flags, problems := systemProperties(env.Getenv)
	r.problems = append(r.problems, problems...)
	d := r.resolve(trimmed(file), flags)
	r.checkTogether(d)
	if _, ok := d.given["dataDir"]; !ok {
		r.fail(r.top(), "dataDir is not set; it is required")
	}
	if r.readMembers(d, env) {
		r.settleEnsemble(d, env)
	}
	return r.result(d)
}

// FromFlags is the configuration of an ensemble of one that needs no file:
// dataDir and the address for clients, host:port with port 0 for any free one.
// System properties in env count as for a file. Everything else has its
// default, but the HTTP AdminServer stays off unless a system property turns
// it on or gives it a port, so that several such servers can run on one
// machine.
func FromFlags(dataDir, listen string, env Env) (*Config, []string, error) {
	const dirFlag, listenFlag = "--data-dir", "--listen"
	r := &report{sources: append([]string{dirFlag, listenFlag}, flagVariables...)}
	flags, problems := systemProperties(env.Getenv)
	r.problems = append(r.problems, problems...)
	d := r.resolve([]entry{{"dataDir", dataDir, origin{source: dirFlag}}}, flags)
	r.checkTogether(d)
	_, enabled := d.given["admin.enableServer"]
	_, port := d.given["admin.serverPort"]
	if !enabled && !port {
		d.AdminServer.Enabled = false
	}
	var err error
	if d.ClientHost, d.ClientPort, err = splitListen(listen); err != nil {
		r.fail(origin{source: listenFlag}, "%q: %w; allowed: host:port or :port, an IPv6 address in brackets, port 0 for any free one", listen, err)
	}
	d.Standalone, d.MyID = true, 1
	return r.result(d)
}

func (r *report) result(d *draft) (*Config, []string, error) {
	d.StandaloneEnabled = d.standaloneEnabled
	var warnings []string
	for _, w := range r.sorted(r.warnings) {
		warnings = append(warnings, w.Error())
	}
	if err := errors.Join(r.sorted(r.problems)...); err != nil {
		return nil, warnings, err
	}
	return &d.Config, warnings, nil
}

// trimmed trims keys and values as ZooKeeper does.
func trimmed(entries []entry) []entry {
	for i, e := range entries {
		entries[i].key, entries[i].value = trimJava(e.key), trimJava(e.value)
	}
	return entries
}

// checkTogether checks and settles what depends on more than one key, apart
// from the ensemble.
func (r *report) checkTogether(d *draft) {
	if d.DataLogDir == "" {
		d.DataLogDir = d.DataDir
	}
	for _, key := range []string{"dataDir", "dataLogDir"} {
		dir := map[string]string{"dataDir": d.DataDir, "dataLogDir": d.DataLogDir}[key]
		if at, ok := d.given[key]; ok && dir != "" && !filepath.IsAbs(dir) && !strings.HasPrefix(dir, ".") && at.line != 0 {
			r.warn(at, "%s=%s is relative: it moves with the working directory", key, dir)
		}
	}
	r.checkTimes(d)
	r.checkMetrics(d)
	r.checkSuperDigest(d)
	r.checkTLS(d)

	heartbeat := int(d.Heartbeat / time.Millisecond)
	if d.electionMs == 0 {
		d.electionMs = max(500, 10*heartbeat)
	}
	if d.electionMs < 5*heartbeat {
		r.fail(d.given["conclave.electionMs"], "conclave.electionMs=%d: less than 5 heartbeats; allowed: %d or more, or a shorter conclave.heartbeatMs than %d", d.electionMs, 5*heartbeat, heartbeat)
	}
	d.Election = time.Duration(d.electionMs) * time.Millisecond
}

func (r *report) checkTimes(d *draft) {
	tick := int(d.TickTime / time.Millisecond)
	for _, l := range []struct {
		key   string
		ticks int
		field *time.Duration
	}{{"initLimit", d.initTicks, &d.InitLimit}, {"syncLimit", d.syncTicks, &d.SyncLimit}} {
		at, given := d.given[l.key]
		if most := math.MaxInt32 / tick; l.ticks > most {
			if given {
				r.fail(at, "%s=%d: too long with ticks of %d ms; allowed: 1 to %d", l.key, l.ticks, tick, most)
				continue
			}
			l.ticks = most
		}
		*l.field = time.Duration(l.ticks) * d.TickTime
	}
	lo, hi := d.minTimeoutMs, d.maxTimeoutMs
	if lo == -1 {
		lo = 2 * tick
	}
	if hi == -1 {
		hi = 20 * tick
	}
	if lo > hi {
		at, ok := d.given["minSessionTimeout"]
		if !ok {
			at = d.given["maxSessionTimeout"]
		}
		r.fail(at, "minSessionTimeout (%d ms) is longer than maxSessionTimeout (%d ms); if they are not set they are 2 and 20 ticks of %d ms", lo, hi, tick)
	}
	d.MinSessionTimeout = time.Duration(lo) * time.Millisecond
	d.MaxSessionTimeout = time.Duration(hi) * time.Millisecond
}

const metricsPackage = "org.apache.zookeeper.metrics."

func (r *report) checkMetrics(d *draft) {
	switch d.metricsClass {
	case metricsPackage + "prometheus.PrometheusMetricsProvider":
		d.Metrics.Enabled = true
		return
	case metricsPackage + "impl.DefaultMetricsProvider", metricsPackage + "impl.NullMetricsProvider":
	default:
		r.fail(d.given["metricsProvider.className"], "metricsProvider.className=%s: no such provider; allowed: %s with prometheus.PrometheusMetricsProvider, impl.DefaultMetricsProvider or impl.NullMetricsProvider", d.metricsClass, metricsPackage)
		return
	}
	for _, key := range []string{"metricsProvider.httpHost", "metricsProvider.httpPort", "metricsProvider.exportJvmInfo"} {
		if at, ok := d.given[key]; ok {
			r.warn(at, "%s is not used: metricsProvider.className does not turn the exporter for Prometheus on", key)
		}
	}
}

// checkTLS wants both of what TLS needs: without the name a member would take
// any certificate of its authority for the one that it calls.
func (r *report) checkTLS(d *draft) {
	dir, hasDir := d.given["conclave.tls.dir"]
	name, hasName := d.given["conclave.tls.serverName"]
	switch {
	case d.wrong["conclave.tls.dir"] || d.wrong["conclave.tls.serverName"]:
	case hasDir && !hasName:
		r.fail(dir, "conclave.tls.dir=%s needs conclave.tls.serverName: the DNS name that every member's certificate has", d.TLS.Dir)
	case hasName && !hasDir:
		r.fail(name, "conclave.tls.serverName=%s is for conclave.tls.dir, which is not set: without it nothing would be encrypted", d.TLS.ServerName)
	case hasDir && d.TLS.ServerName == "":
		r.fail(name, "conclave.tls.serverName must be a name that certificates have, and it stands for all addresses")
	}
}

// checkSuperDigest refuses a digest that no password can ever match.
func (r *report) checkSuperDigest(d *draft) {
	const key = "DigestAuthenticationProvider.superDigest"
	at, given := d.given[key]
	if !given || d.wrong["DigestAuthenticationProvider.digestAlg"] {
		return
	}
	user, digest, _ := strings.Cut(d.SuperDigest, ":")
	sum, err := base64.StdEncoding.DecodeString(digest)
	if size := digestSizes[d.DigestAlg]; user == "" || err != nil || len(sum) != size {
		r.fail(at, "%s (value not shown): not of the form user:digest, the digest being %s(user:password), %d bytes, in base64; no password could match it",
			key, d.DigestAlg, size)
	}
}
