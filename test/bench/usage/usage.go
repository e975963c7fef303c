package usage

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of processor times in /proc. Linux presents a hundredth of a
// second on every architecture that Go runs on.
const tick = 10 * time.Millisecond

// CPU is what was used up to one moment.
type CPU struct {
	At time.Time
	// Self is this process's, Servers the sum of those asked for.
	Self, Servers time.Duration
	// Machine is all that was used on the machine, by whomever.
	Machine time.Duration
}

// Read takes the processor time of this process, of the processes pids and of
// the machine.
func Read(pids []int) (CPU, error) {
	c := CPU{At: time.Now()}
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return c, fmt.Errorf("getrusage: %w", err)
	}
	c.Self = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return c, err
		}
		used, err := parseStat(text)
		if err != nil {
			return c, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		c.Servers += used
	}
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return c, err
	}
	c.Machine, err = parseMachine(text)
	return c, err
}

// parseStat returns utime + stime. The second field is the program's name in
// parentheses and may contain anything.
func parseStat(text []byte) (time.Duration, error) {
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("%d fields behind the name", len(fields))
	}
	return ticks(fields[11], fields[12])
}

// parseMachine returns everything but idle and waiting of the line "cpu": user,
// nice, system, then, behind idle and iowait, irq, softirq and steal.
func parseMachine(text []byte) (time.Duration, error) {
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	return ticks(append(fields[1:4:4], fields[6:9]...)...)
}

func ticks(fields ...string) (time.Duration, error) {
	sum := time.Duration(0)
	for _, f := range fields {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// Cost is what a window of time has cost, in processors kept busy.
type Cost struct{ Self, Servers, Others float64 }

// Between compares two readings.
func Between(a, b CPU) Cost {
	wall := b.At.Sub(a.At).Seconds()
	if wall <= 0 {
		return Cost{}
	}
	self, servers := (b.Self-a.Self).Seconds()/wall, (b.Servers-a.Servers).Seconds()/wall
	return Cost{Self: self, Servers: servers, Others: max((b.Machine-a.Machine).Seconds()/wall-self-servers, 0)}
}

// Memory returns the resident memory of the processes, in bytes.
func Memory(pids []int) (int64, error) {
	sum := int64(0)
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, err
		}
		n, err := parseResident(string(text))
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/status: %w", pid, err)
		}
		sum += n
	}
	return sum, nil
}

func parseResident(status string) (int64, error) {
	for line := range strings.Lines(status) {
		value, ok := strings.CutPrefix(line, "VmRSS:")
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		return n << 10, err
	}
	return 0, fmt.Errorf("no VmRSS: the process has ended")
}
