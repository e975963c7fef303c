package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func get(h http.Handler, method, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w
}

func TestCommands(t *testing.T) {
	for _, state := range states {
		var b bytes.Buffer
		for _, c := range commands {
			h := NewCommandHandler(newSurface(newFake(state)), "/commands")
			w := get(h, "GET", "/commands/"+c.name+"?traceMask=50")
			if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("%s: %d %v", c.name, w.Code, w.Header())
			}
			if !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s: no JSON", c.name)
			}
			section(&b, c.name, w.Body.String())
			for _, alias := range c.aliases {
				if got := get(h, "GET", "/commands/"+alias+"?traceMask=50"); got.Body.String() != w.Body.String() {
					t.Errorf("%s is not %s: %s", alias, c.name, got.Body)
				}
			}
		}
		golden(t, state+".commands", b.Bytes())
	}
}

func TestCommandsAreZooKeepers(t *testing.T) {
	want := strings.Fields(`configuration connection_stat_reset connections dirs dump environment get_trace_mask hash
		initial_configuration is_read_only last_snapshot leader monitor observers ruok server_stats set_trace_mask stat_reset
		stats system_properties voting_view watch_summary watches watches_by_path zabstate`)
	var got []string
	for _, c := range commands {
		got = append(got, c.name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	list := get(NewCommandHandler(newSurface(newFake(leading)), "/commands"), "GET", "/commands")
	for _, name := range want {
		if !strings.Contains(list.Body.String(), fmt.Sprintf("<a href=\"/commands/%s\">%s</a>\n<br/>\n", name, name)) {
			t.Errorf("%s is not listed", name)
		}
	}
}

func TestCommandsThatAct(t *testing.T) {
	f := newFake(leading)
	s := newSurface(f)
	h := NewCommandHandler(s, "/commands")
	get(h, "GET", "/commands/crst")
	get(h, "GET", "/commands/set_trace_mask?traceMask=7")
	get(h, "GET", "/commands/srst")
	if f.resets != 1 || f.mask != 7 || s.Metrics.PacketsSent.SinceReset() != 0 {
		t.Errorf("%d resets, mask %d, %d packets", f.resets, f.mask, s.Metrics.PacketsSent.SinceReset())
	}
	for query, want := range map[string]string{
		"":               `"error" : "setTraceMask requires long traceMask argument"`,
		"?traceMask=abc": `"error" : "setTraceMask requires long traceMask argument, got abc"`,
		"?traceMask=%00": `"error" : "setTraceMask requires long traceMask argument, got \u0000"`,
	} {
		if got := get(h, "GET", "/commands/stmk"+query).Body.String(); !strings.Contains(got, want) || f.mask != 7 {
			t.Errorf("stmk%s: %s, mask %d", query, got, f.mask)
		}
	}
	get(h, "HEAD", "/commands/crst")
	get(h, "POST", "/commands/crst")
	if f.resets != 2 {
		t.Errorf("%d resets", f.resets)
	}
}

func TestCommandsNotServing(t *testing.T) {
	f := newFake(following)
	f.status = Status{Role: RoleLooking}
	h := NewCommandHandler(newSurface(f), "/commands")
	for _, c := range commands {
		w := get(h, "GET", "/commands/"+c.name)
		want := fmt.Sprintf("{\n  \"command\" : \"%s\",\n  \"error\" : \"This ZooKeeper instance is not currently serving requests\"\n}", c.name)
		if refused := w.Body.String() == want; refused == c.always || w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
	}
	if got := get(h, "GET", "/commands/zabstate").Body.String(); !strings.Contains(got, `"zabstate" : "election"`) {
		t.Errorf("zabstate: %s", got)
	}
}

func TestCommandErrors(t *testing.T) {
	f := newFake(following)
	f.snapshot = nil
	f.status.LeaderID = 0
	f.status.Disk = DiskHealth{Failed: true, Reason: "input/output error"}
	h := NewCommandHandler(newSurface(f), "/commands")
	for name, want := range map[string]string{
		"leader":        `"error" : "no leader is known"`,
		"ruok":          `"error" : "disk failed: input/output error"`,
		"last_snapshot": "\"zxid\" : \"ffffffffffffffff\",\n  \"timestamp\" : -1,",
	} {
		if got := get(h, "GET", "/commands/"+name).Body.String(); !strings.Contains(got, want) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestUnknownPaths(t *testing.T) {
	h := NewCommandHandler(newSurface(newFake(leading)), "/commands")
	w := get(h, "GET", "/commands/nope")
	var answer struct {
		Command, Error string
		Commands       []string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK ||
		answer.Command != "nope" || answer.Error != "Unknown command: nope" || len(answer.Commands) != len(commands) {
		t.Errorf("%d %v %s", w.Code, err, w.Body)
	}
	for target, want := range map[string]int{
		"/": 404, "/commandsX": 404, "/commands": 200, "/commands/": 200, "/commands/ruok/x": 200, "/commands/ruok/": 200,
		"/commands//ruok": 200, "/commands/" + url.PathEscape("\xff\"<b>\n"): 200, "/commands/..": 200,
	} {
		w := get(h, "GET", target)
		if w.Code != want {
			t.Errorf("%s: %d, want %d", target, w.Code, want)
		}
		if w.Header().Get("Content-Type") == "application/json" && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: no JSON: %s", target, w.Body)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "TRACE"} {
		if w := get(h, method, "/commands/ruok"); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") == "" {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
	if w := get(NewCommandHandler(newSurface(newFake(leading)), "/zk/admin"), "GET", "/zk/admin/ruok"); w.Code != http.StatusOK {
		t.Errorf("under another prefix: %d", w.Code)
	}
}

func FuzzCommand(f *testing.F) {
	for _, c := range commands {
		f.Add(c.name, "traceMask=1")
	}
	f.Add("../../etc/passwd", "a=%zz&&=")
	h := NewCommandHandler(newSurface(newFake(leading)), "/commands")
	f.Fuzz(func(t *testing.T, name, query string) {
		r := httptest.NewRequest("GET", "/commands/x", nil)
		r.URL.Path, r.URL.RawQuery = "/commands/"+name, query
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Header().Get("Content-Type") == "application/json" && !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%q %q: %s", name, query, w.Body)
		}
	})
}

func TestHTTPServer(t *testing.T) {
	log, _ := newLog()
	s := StartHTTP(log, "commands", "127.0.0.1:0", time.Minute, NewCommandHandler(newSurface(newFake(leading)), "/commands"))
	resp, err := http.Get("http://" + s.Addr().String() + "/commands/ruok")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || string(body) != "{\n  \"command\" : \"ruok\",\n  \"error\" : null\n}" {
		t.Errorf("%v %s", err, body)
	}

	// Garbage gets an answer or a closed connection, and harms nobody.
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "\x16\x03\x01\x02\x00 no HTTP at all\r\n\r\n")
	c.SetDeadline(time.Now().Add(time.Minute))
	line, _ := bufio.NewReader(c).ReadString('\n')
	if line != "" && !strings.HasPrefix(line, "HTTP/1.1 400") {
		t.Errorf("garbage is answered with %q", line)
	}
	c.Close()

	s.Stop(context.Background())
	if _, err := net.Dial("tcp", s.Addr().String()); err == nil {
		t.Error("still listening after Stop")
	}
}

func TestHTTPServerThatCannotListen(t *testing.T) {
	log, out := newLog()
	first := StartHTTP(log, "commands", "127.0.0.1:0", 0, http.NotFoundHandler())
	defer first.Stop(context.Background())
	second := StartHTTP(log, "commands", first.Addr().String(), 0, http.NotFoundHandler())
	if second.Addr() != nil {
		t.Error("two servers on one port")
	}
	if got := out.String(); strings.Count(got, "level=WARN") != 1 || !strings.Contains(got, first.Addr().String()) {
		t.Errorf("log:\n%s", got)
	}
	second.Stop(context.Background())
}

// A request that hangs is cut off when the time to stop is over.
func TestHTTPServerStopsInTime(t *testing.T) {
	log, _ := newLog()
	entered := make(chan struct{})
	s := StartHTTP(log, "commands", "127.0.0.1:0", 0, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	}))
	failed := make(chan error, 1)
	go func() {
		resp, err := http.Get("http://" + s.Addr().String())
		if err == nil {
			resp.Body.Close()
		}
		failed <- err
	}()
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.Stop(ctx)
	if err := <-failed; err == nil {
		t.Error("the request was answered")
	}
}
