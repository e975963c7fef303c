package admin

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// testdata/genuine holds what a ZooKeeper 3.8.0 answered on 2026-11-22, as the
// only server and as each member of an ensemble of three voters and an
// observer: the words' answers (with directories and the kernel's version
// changed), the names and kinds of mntr's lines, and the names and kinds of
// the keys of /commands. What follows holds our answers against these facts.

// readSections reads "=== name" sections.
func readSections(t *testing.T, file string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "genuine", file))
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, s := range strings.Split("\n"+strings.TrimSuffix(string(b), "\n"), "\n=== ")[1:] {
		name, body, _ := strings.Cut(s, "\n")
		sections[name] = strings.TrimSuffix(body+"\n", "<no newline>\n") // the split took the newline
	}
	return sections
}

var shapes = []struct {
	pattern *regexp.Regexp
	becomes string
}{
	{regexp.MustCompile(`3\.8\.0-[^,]+, built on (\d{4}-\d\d-\d\d \d\d:\d\d UTC|\d\d/\d\d/\d{4} \d\d:\d\d GMT)`), "VERSION"},
	{regexp.MustCompile(`(Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d UTC \d{4}`), "DATE"},
	{regexp.MustCompile(`/(127\.0\.0\.1|\[::1\]):\d+`), "/CLIENT"},
	{regexp.MustCompile(`=(127\.0\.0\.1|zk-\d):\d+:\d+:(participant|observer);[0-9.]+:\d+`), "=MEMBER"},
	{regexp.MustCompile(`^version=[0-9a-f]+$`), "version=HEX"},
	{regexp.MustCompile(`^[0-9a-f]+: \d+$`), "HEX: NUMBER"},
	{regexp.MustCompile(`0x[0-9a-f]+`), "HEX"},
	{regexp.MustCompile(`=/[a-zA-Z0-9/-]+`), "=DIRECTORY"},
	{regexp.MustCompile(`/(app|gone)(/e\d)?`), "PATH"},
	{regexp.MustCompile(`lop=[A-Z]+`), "lop=OP"},
	{regexp.MustCompile(`-?\d+\.\d+`), "DECIMAL"},
	{regexp.MustCompile(`-?\d+`), "NUMBER"},
}

func shape(line string) string {
	for _, s := range shapes {
		line = s.pattern.ReplaceAllString(line, s.becomes)
	}
	return line
}

// shapesOf returns the shapes of an answer's lines in order, repetitions left
// out, and whether the answer ends in a newline.
func shapesOf(answer string) (lines []string, newline bool) {
	newline = strings.HasSuffix(answer, "\n")
	for _, l := range strings.Split(strings.TrimSuffix(answer, "\n"), "\n") {
		if s := shape(l); !slices.Contains(lines, s) {
			lines = append(lines, s)
		}
	}
	return lines, newline
}

func TestWordsAreShapedLikeZooKeepers(t *testing.T) {
	// Lines that only ZooKeeper has, and why.
	theirs := map[string]bool{
		"electionAlg=NUMBER": true, // raft has one way to elect
	}
	for _, state := range states {
		genuine := readSections(t, state+".words")
		if len(genuine) < 15 {
			t.Fatalf("%s: only %d words", state, len(genuine))
		}
		f := newFake(state)
		if state == observing { // where nobody was connected
			f.connections, f.byPath, f.bySession, f.status.Watches = f.connections[2:], nil, nil, 0
		}
		h := NewFourLetter(newSurface(f), "*")
		for name, want := range genuine {
			if name == "envi" {
				continue // see TestEnvironmentNames
			}
			wantLines, wantNewline := shapesOf(want)
			gotLines, gotNewline := shapesOf(ask(t, h, name))
			wantLines = slices.DeleteFunc(wantLines, func(s string) bool { return theirs[s] })
			if !slices.Equal(gotLines, wantLines) || gotNewline != wantNewline {
				t.Errorf("%s on a %s: lines\n%s\nnewline %v; ZooKeeper's\n%s\nnewline %v", name, state, strings.Join(gotLines, "\n"),
					gotNewline, strings.Join(wantLines, "\n"), wantNewline)
			}
		}
	}
}

func TestEnvironmentNames(t *testing.T) {
	theirs := strings.Split(readSections(t, "leader.words")["envi"], "\n")
	lines := strings.Split(ask(t, NewFourLetter(newSurface(newFake(leading)), "envi"), "envi"), "\n")
	if lines[0] != theirs[0] || shape(lines[1]) != shape(theirs[1]) {
		t.Errorf("begins with %q, ZooKeeper's with %q", lines[:2], theirs[:2])
	}
}

// Every line of our mntr is one of ZooKeeper's in the same state, with a value
// of the same kind; and what dashboards look at is there.
func TestMonitorNames(t *testing.T) {
	b, err := os.ReadFile("testdata/genuine/mntr")
	if err != nil {
		t.Fatal(err)
	}
	type fact struct{ kind, states string }
	genuine := map[string]fact{}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		genuine[f[0]] = fact{f[1], f[2]}
	}
	always := `version server_state avg_latency min_latency max_latency packets_received packets_sent num_alive_connections
		outstanding_requests znode_count watch_count ephemerals_count approximate_data_size open_file_descriptor_count
		max_file_descriptor_count global_sessions local_sessions uptime max_election_time cnt_fsynctime avg_snapshottime
		p99_proposal_latency p50_readlatency p999_updatelatency`
	wanted := map[string]string{
		standalone: always, observing: always + " peer_state quorum_size", following: always + " peer_state quorum_size",
		leading: always + ` peer_state quorum_size leader_uptime synced_followers synced_observers learners pending_syncs
			last_proposal_size min_proposal_size max_proposal_size`,
	}
	for _, state := range states {
		got := map[string]bool{}
		for line := range strings.Lines(ask(t, NewFourLetter(newSurface(newFake(state)), "mntr"), "mntr")) {
			name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			if !ok || value == "" || got[name] {
				t.Errorf("%s: line %q", state, line)
			}
			got[name] = true
			kind := "text"
			if _, err := strconv.ParseInt(value, 10, 64); err == nil {
				kind = "int"
			} else if _, err := strconv.ParseFloat(value, 64); err == nil {
				kind = "float"
			}
			want, ok := genuine[name]
			if !ok || kind != want.kind || want.states != "all" && !strings.Contains(want.states, state) {
				t.Errorf("%s: %s is %s; in ZooKeeper %s, on %s", state, name, kind, want.kind, want.states)
			}
		}
		for _, name := range strings.Fields(wanted[state]) {
			if !got["zk_"+name] {
				t.Errorf("%s: no %s", state, name)
			}
		}
	}
}

// keysOf adds the keys of v and their kinds; keys that are data become *.
func keysOf(path string, v any, into map[string]string) {
	kind := "null"
	switch x := v.(type) {
	case map[string]any:
		kind = "object"
		for key, value := range x {
			if _, err := strconv.ParseInt(key, 10, 64); err == nil || strings.HasPrefix(key, "/") {
				key = "*"
			}
			if path != "" {
				key = path + "." + key
			}
			keysOf(key, value, into)
		}
	case []any:
		kind = "array"
		for _, value := range x {
			keysOf(path+"[]", value, into)
		}
	case string:
		kind = "text"
	case bool:
		kind = "bool"
	case json.Number:
		kind = "int"
		if strings.Contains(x.String(), ".") {
			kind = "float"
		}
	}
	if path == "" {
		path = "."
	}
	into[path] = kind
}

func TestCommandKeys(t *testing.T) {
	// Keys of ZooKeeper's that have no meaning here, or that nothing is known of.
	missing := regexp.MustCompile(`^(server_stats\.(fsync_threshold_exceed_count|provider_null|non_mtls.*)` +
		`|(quorum|election)_address\.(empty|all_host_strings.*|all_ports.*|all_reachable.*|reachable.*|wildcard.*)` +
		`|observers\[\]\.(established|last_zxid|packets_.*|queued_.*|requests))$`)
	for _, state := range []string{standalone, leading} {
		f := newFake(state)
		for i := range f.connections {
			f.connections[i].Secure = false
		}
		f.digests = nil // as they were
		if state == leading {
			f.config.Initial = ""
		}
		s := newSurface(f)
		for name, facts := range readSections(t, state+".keys") {
			var b bytes.Buffer
			writeJSON(&b, findCommand(name).answer(s, url.Values{}), "")
			d := json.NewDecoder(&b)
			d.UseNumber()
			var v any
			if err := d.Decode(&v); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got, want := map[string]string{}, map[string]string{}
			keysOf("", v, got)
			for line := range strings.Lines(facts) {
				key, kind, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
				if !missing.MatchString(key) {
					want[key] = kind
				}
			}
			if !maps.Equal(got, want) {
				for _, key := range slices.Sorted(maps.Keys(want)) {
					if got[key] != want[key] {
						t.Errorf("%s on a %s: %s is %q, in ZooKeeper %q", name, state, key, got[key], want[key])
					}
				}
				for _, key := range slices.Sorted(maps.Keys(got)) {
					if _, ok := want[key]; !ok {
						t.Errorf("%s on a %s: %s is not ZooKeeper's", name, state, key)
					}
				}
			}
		}
	}
}

// How those who read these answers in the field read them.
func TestParsersInTheField(t *testing.T) {
	h := NewFourLetter(newSurface(newFake(leading)), "*")
	srvr, mntr, envi, conf := ask(t, h, "srvr"), ask(t, h, "mntr"), ask(t, h, "envi"), ask(t, h, "conf")

	// kazoo: the leading digits and dots of zookeeper.version in envi.
	if m := regexp.MustCompile(`(?m)^zookeeper\.version=([\d.]*)`).FindStringSubmatch(envi); m == nil || m[1] != "3.8.0" {
		t.Errorf("kazoo reads the version %q", m)
	}
	// Metricbeat: what is between the first colon and the comma, and a date.
	first, _, _ := strings.Cut(srvr, "\n")
	if !regexp.MustCompile(`:\s(.*),`).MatchString(first) || !regexp.MustCompile(`built on (.*)`).MatchString(first) {
		t.Errorf("Metricbeat reads nothing from %q", first)
	}
	// go-zookeeper: the date as up to ZooKeeper 3.6.
	if !regexp.MustCompile(`^Zookeeper version: [A-Za-z0-9.-]+, built on \d\d/\d\d/\d{4} \d\d:\d\d GMT$`).MatchString(first) {
		t.Errorf("go-zookeeper reads nothing from %q", first)
	}
	// Datadog: three numbers, the last followed by a hyphen; a first line of mntr
	// that it skips.
	if m := regexp.MustCompile(`^Zookeeper version: ([^.]+)\.([^.]+)\.([^-]+)`).FindStringSubmatch(srvr); m == nil || m[3] != "0" {
		t.Errorf("Datadog reads the version %q", m)
	}
	if !strings.HasPrefix(mntr, "zk_version\t") {
		t.Error("mntr does not begin with the version")
	}
	// Telegraf gives up at the first line of mntr that is not like this.
	telegraf := regexp.MustCompile(`^zk_(\w+)\s+([\w\.\-]+)`)
	for line := range strings.Lines(mntr) {
		if !telegraf.MatchString(line) {
			t.Errorf("Telegraf gives up at %q", line)
		}
	}
	// Solr wants something on both sides of an equals sign, or "membership:".
	for line := range strings.Lines(conf) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if (key == "" || value == "") && !strings.HasPrefix(line, "membership:") {
			t.Errorf("Solr complains of %q", line)
		}
	}
	// zkServer.sh status, and many a script.
	if !regexp.MustCompile(`(?m)^Mode: (\S+)$`).MatchString(srvr) {
		t.Error("no mode")
	}
}
