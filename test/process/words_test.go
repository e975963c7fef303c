package process

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// TestWordsWithJunk sends four-letter words with things behind them: they are
// answered as without.
func TestWordsWithJunk(t *testing.T) {
	t.Parallel()
	v := startVictim(t)
	junk := map[string][]byte{
		"nothing":          nil,
		"a newline":        []byte("\n"),
		"a DOS newline":    []byte("\r\n"),
		"a space and more": []byte(" please, and again: ruok\n"),
		"zeros":            make([]byte, 100),
		"a handshake":      frame(wire.ConnectRequest{}.Encode()),
		"three megabytes":  bytes.Repeat([]byte("junk"), 800_000),
	}
	for word, want := range map[string]string{
		"ruok": "imok", "isro": "rw", "srvr": "Zookeeper version: ", "conf": "clientPort=", "envi": "Environment:\n",
		"mntr": "zk_version\t", "wchs": "connections watching", "cons": " /", "stat": "Zookeeper version: ", "dirs": "datadir_size: ",
	} {
		for name, j := range junk {
			t.Run(word+" with "+name, func(t *testing.T) {
				c := v.dial(nil)
				// It may answer and close before it has taken everything.
				go func() { _, _ = c.Write(append([]byte(word), j...)) }()
				if got := string(closed(t, c)); !strings.Contains(got, want) && (len(j) < 1<<20 || got != "") {
					t.Errorf("%.200q, want %q", got, want)
				}
			})
		}
	}
}

// TestHalfWords sends words in pieces, and words that lack their argument.
func TestHalfWords(t *testing.T) {
	t.Parallel()
	v := startVictim(t)
	var work sync.WaitGroup
	work.Go(func() { // byte by byte
		c := v.dial([]byte("r"))
		for _, b := range []byte("uok") {
			if _, err := c.Write([]byte{b}); err != nil {
				t.Error(err)
			}
		}
		if got := string(closed(t, c)); got != "imok" {
			t.Errorf("ruok in pieces: %q", got)
		}
	})
	for name, raw := range map[string]string{
		"a word in half, and the end": "ru", "stmk without its mask": "stmk", "stmk with half a mask": "stmk\x00\x00\x00", "nothing, and the end": "",
	} {
		work.Go(func() {
			c := v.dial([]byte(raw))
			if err := c.(*net.TCPConn).CloseWrite(); err != nil {
				t.Error(err)
			}
			if got := closed(t, c); len(got) > 0 {
				t.Errorf("%s: %q", name, got)
			}
		})
	}
	work.Wait()
	if got := string(closed(t, v.dial([]byte("stmk\x00\x00\x00\x00\x00\x00\x00\x02")))); got != "2" {
		t.Errorf("stmk: %q", got)
	}
	if got := string(closed(t, v.dial([]byte("gtmk")))); got != "2" {
		t.Errorf("gtmk: %q", got)
	}
}

// TestWordsToSlowReaders asks for long answers and does not read them. The
// answer waits for the client, longer than a silent connection is waited for,
// and nobody waits with it.
func TestWordsToSlowReaders(t *testing.T) {
	t.Parallel()
	v := startVictim(t)
	s := connect(t, v.addr)
	// More than the kernel takes for a client that does not read.
	long := strings.Repeat("x", 900)
	const watches = 20_000
	for i := range watches / 100 {
		var paths []string
		for j := range 100 {
			paths = append(paths, fmt.Sprintf("/%d/%d/%s", i, j, long))
		}
		s.must(t, wire.OpSetWatches, wire.SetWatchesBody(0, nil, paths, nil))
	}
	c := v.dial([]byte("wchp"))
	// Two silences pass: a client that opens a connection now and says nothing
	// is gone, and so is the next.
	closed(t, v.dial(nil))
	closed(t, v.dial(nil))
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil || bytes.Count(got, []byte(long)) != watches {
		t.Errorf("%d bytes with %d paths, %v", len(got), bytes.Count(got, []byte(long)), err)
	}
}

// TestRandomWords sends four random letters.
func TestRandomWords(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(seed(t), 9))
	v := startVictim(t)
	for range 200 {
		word := make([]byte, 4)
		for i := range word {
			word[i] = "abcdefghijklmnopqrstuvwxyz"[r.IntN(26)]
		}
		c := v.dial(word)
		closed(t, c)
	}
}
