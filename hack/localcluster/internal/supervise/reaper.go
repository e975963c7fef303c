package supervise

import (
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
)

// children reaps all children of this process: as process 1 of its namespace
// it gets those that others leave behind, too. Nothing else in a process that
// uses this package may wait for children.
var children = reaper{ended: make(map[int]func(syscall.WaitStatus))}

type reaper struct {
	start sync.Once

	mu sync.Mutex
	// ended has what to call when a process of ours ends. Processes are started
	// with mu held, so that none is reaped before it is in here.
	ended map[int]func(syscall.WaitStatus)
}

// run starts cmd, and has ended called by the reaper's goroutine in time.
func (r *reaper) run(cmd *exec.Cmd, ended func(syscall.WaitStatus)) (int, error) {
	r.start.Do(func() { go r.reap() })
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	pid := cmd.Process.Pid
	r.ended[pid] = ended
	return pid, cmd.Process.Release()
}

// reap goes on as long as the process lives.
func (r *reaper) reap() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGCHLD)
	for {
		var status syscall.WaitStatus
		r.mu.Lock()
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		ended := r.ended[pid]
		if err == nil && pid > 0 {
			delete(r.ended, pid)
		}
		r.mu.Unlock()
		switch {
		case err == syscall.EINTR:
		case err != nil || pid == 0:
			<-signals
		case ended != nil:
			ended(status)
		}
	}
}
