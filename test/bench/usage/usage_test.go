package usage

import (
	"os"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	stat := []byte("4711 (a (strange) name) S 1 4711 4711 0 -1 4194560 1 0 0 0 250 50 7 8 20 0 9 0 100 1 2 3")
	if got, err := parseStat(stat); err != nil || got != 3*time.Second {
		t.Errorf("parseStat = %v, %v", got, err)
	}
	if _, err := parseStat([]byte("4711 (x) S 1")); err == nil {
		t.Error("a short line was accepted")
	}
	if got, err := parseMachine([]byte("cpu  100 10 200 99999 88888 1 2 87 5 5\ncpu0 1\n")); err != nil || got != 4*time.Second {
		t.Errorf("parseMachine = %v, %v", got, err)
	}
	if got, err := parseResident("Name:\tx\nVmHWM:\t    9 kB\nVmRSS:\t   12 kB\n"); err != nil || got != 12<<10 {
		t.Errorf("parseResident = %d, %v", got, err)
	}
	if _, err := parseResident("Name:\tx\n"); err == nil {
		t.Error("a process without memory was accepted")
	}
}

func TestReadThisProcess(t *testing.T) {
	pids := []int{os.Getpid()}
	c, err := Read(pids)
	if err != nil || c.Machine <= 0 {
		t.Fatalf("%+v, %v", c, err)
	}
	if m, err := Memory(pids); err != nil || m < 1<<20 {
		t.Errorf("this process has %d bytes, %v", m, err)
	}
}

func TestBetween(t *testing.T) {
	start := time.Now()
	a := CPU{At: start}
	b := CPU{At: start.Add(2 * time.Second), Self: time.Second, Servers: 2 * time.Second, Machine: 4 * time.Second}
	if got := Between(a, b); got != (Cost{0.5, 1, 0.5}) {
		t.Errorf("%+v", got)
	}
	if got := Between(a, a); got != (Cost{}) {
		t.Errorf("no time at all costs %+v", got)
	}
}
