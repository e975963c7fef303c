package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// operatorUser is who writes for the operator.
const operatorUser = "system:serviceaccount:conclave-system:conclave-operator"

// write is one that the operator has made, by the API server's word.
type write struct {
	at   time.Time
	what string
}

// audit reads the API server's audit log as it grows.
type audit struct {
	file *os.File
	stop chan struct{}
	done sync.WaitGroup

	mu     sync.Mutex
	writes []write
	failed error
}

func followAudit(path string) (*audit, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the API server's audit log: %w: a local cluster of this version has one", err)
	}
	if _, err := f.Seek(0, io.SeekEnd); err != nil {
		return nil, err
	}
	a := &audit{file: f, stop: make(chan struct{})}
	a.done.Go(a.run)
	return a, nil
}

// Close ends the reading.
func (a *audit) Close() {
	close(a.stop)
	a.done.Wait()
	a.file.Close()
}

func (a *audit) run() {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var rest []byte
	buf := make([]byte, 1<<20)
	for {
		n, err := a.file.Read(buf)
		rest = append(rest, buf[:n]...)
		for {
			line, more, ok := bytes.Cut(rest, []byte("\n"))
			if !ok {
				break
			}
			a.line(line)
			rest = more
		}
		rest = slices.Clone(rest)
		switch {
		case err != nil && err != io.EOF:
			a.mu.Lock()
			a.failed = err
			a.mu.Unlock()
			return
		case n > 0:
			continue
		}
		select {
		case <-tick.C:
		case <-a.stop:
			return
		}
	}
}

func (a *audit) line(b []byte) {
	var e struct {
		Verb      string
		User      struct{ Username string }
		ObjectRef struct{ Resource, Namespace, Subresource, APIGroup string }

		RequestReceivedTimestamp time.Time
	}
	err := json.Unmarshal(b, &e)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.failed = fmt.Errorf("the audit log: %w: %s", err, b)
		return
	}
	// What is asked about who reads the operator's metrics changes nothing.
	if e.User.Username != operatorUser || strings.HasSuffix(e.ObjectRef.APIGroup, ".k8s.io") && strings.HasSuffix(e.ObjectRef.Resource, "reviews") {
		return
	}
	what := e.ObjectRef.Resource
	if e.ObjectRef.Subresource != "" {
		what += "/" + e.ObjectRef.Subresource
	}
	if what == "leases" && e.ObjectRef.Namespace != namespace {
		what = "its own election"
	}
	a.writes = append(a.writes, write{e.RequestReceivedTimestamp, what})
}

// rates are the operator's writes in a window of time.
type rates struct {
	mean float64
	// most are the most in any second.
	most int
	// by is the mean by resource.
	by map[string]float64
	// leases is how many were of Leases.
	leases int
}

// between counts the writes from one time to another.
func (a *audit) between(from, to time.Time) (rates, error) {
	// What was written last is in the log by then.
	time.Sleep(time.Second)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failed != nil {
		return rates{}, a.failed
	}
	r := rates{by: make(map[string]float64)}
	var times []time.Time
	seconds := to.Sub(from).Seconds()
	for _, w := range a.writes {
		if w.at.Before(from) || w.at.After(to) {
			continue
		}
		times = append(times, w.at)
		r.by[w.what] += 1 / seconds
		if w.what == "leases" {
			r.leases++
		}
	}
	r.mean = float64(len(times)) / seconds
	slices.SortFunc(times, time.Time.Compare)
	first := 0
	for i, t := range times {
		for t.Sub(times[first]) >= time.Second {
			first++
		}
		r.most = max(r.most, i-first+1)
	}
	return r, nil
}

// covers tells whether the log has the writes of so many changes of Leases as the watch
// has seen: without them every bar for writes would be reached. Half of them will do,
// since some changes were written just before the window.
func (r rates) covers(changes int) error {
	if r.leases == 0 || r.leases < changes/2 {
		return fmt.Errorf("the watch has seen %d changes of Leases, and the audit log has %d writes of Leases by %s: see whether the operator has another account, or the log is another API server's",
			changes, r.leases, operatorUser)
	}
	return nil
}

func (r rates) String() string {
	var list []string
	for _, what := range slices.Sorted(maps.Keys(r.by)) {
		list = append(list, fmt.Sprintf("%s %.1f", what, r.by[what]))
	}
	return strings.Join(list, ", ")
}
