package metrics

import (
	"math"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// FileDescriptors returns how many file descriptors the process has open and
// how many it may open; -1 for what the system does not tell.
func FileDescriptors() (open, limit int64) {
	open, limit = -1, -1
	if dir, err := os.Open("/proc/self/fd"); err == nil {
		if names, err := dir.Readdirnames(-1); err == nil {
			open = int64(len(names)) - 1 // dir itself
		}
		dir.Close()
	}
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) == nil {
		limit = int64(min(r.Cur, math.MaxInt64)) // RLIM_INFINITY is beyond it
	}
	return open, limit
}

// Process returns the collector for the Go runtime and the process, whose
// names are those that Prometheus' own clients use. Started is when the
// process began.
func Process(started time.Time) Collector {
	return func(emit func(Family)) {
		show := func(name, help string, t Type, v float64) {
			emit(Family{name, help, t, []Sample{{Value: v}}})
		}
		emit(Family{"go_info", "Version of Go.", TypeGauge,
			[]Sample{{Labels: []Label{{"version", runtime.Version()}}, Value: 1}}})
		samples := make([]metrics.Sample, len(runtimeFigures))
		for i, f := range runtimeFigures {
			samples[i].Name = f.source
		}
		metrics.Read(samples)
		for i, f := range runtimeFigures {
			if samples[i].Value.Kind() == metrics.KindUint64 {
				show(f.name, f.help, f.kind, float64(samples[i].Value.Uint64()))
			}
		}
		show("process_start_time_seconds", "When the process began, since the Unix epoch.", TypeGauge,
			float64(started.UnixMilli())/1e3)
		var usage syscall.Rusage
		if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) == nil {
			show("process_cpu_seconds_total", "User and system time of the process.", TypeCounter,
				time.Duration(usage.Utime.Nano()+usage.Stime.Nano()).Seconds())
		}
		if pages, ok := residentPages(); ok {
			show("process_resident_memory_bytes", "Resident memory of the process.", TypeGauge,
				pages*float64(os.Getpagesize()))
		}
		open, limit := FileDescriptors()
		if open >= 0 {
			show("process_open_fds", "Open file descriptors.", TypeGauge, float64(open))
		}
		if limit >= 0 {
			show("process_max_fds", "Largest number of open file descriptors.", TypeGauge, float64(limit))
		}
	}
}

// runtimeFigures are taken from package runtime/metrics, all of them numbers.
var runtimeFigures = []struct {
	name, help string
	kind       Type
	source     string
}{
	{"go_goroutines", "Goroutines.", TypeGauge, "/sched/goroutines:goroutines"},
	{"go_sched_gomaxprocs_threads", "GOMAXPROCS.", TypeGauge, "/sched/gomaxprocs:threads"},
	{"go_memstats_heap_alloc_bytes", "Bytes of objects on the heap.", TypeGauge, "/memory/classes/heap/objects:bytes"},
	{"go_memstats_sys_bytes", "Bytes obtained from the system.", TypeGauge, "/memory/classes/total:bytes"},
	{"go_memstats_alloc_bytes_total", "Bytes allocated on the heap.", TypeCounter, "/gc/heap/allocs:bytes"},
	{"go_memstats_next_gc_bytes", "Size of the heap at which the collector runs next.", TypeGauge, "/gc/heap/goal:bytes"},
	{"go_gc_cycles_total", "Garbage collections.", TypeCounter, "/gc/cycles/total:gc-cycles"},
}

func residentPages() (float64, bool) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0, false
	}
	pages, err := strconv.ParseFloat(fields[1], 64)
	return pages, err == nil
}
