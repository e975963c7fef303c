package cells

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"time"

	"github.com/conclave-dev/conclave/test/bench/hist"
	"github.com/conclave-dev/conclave/test/bench/swarm"
)

// WorkerCommand is the argument by which the bench's program runs Worker.
const WorkerCommand = "sessions-worker"

// order is what a worker is asked to do: open sessions, or ping with all it has.
type order struct {
	Open, Parallel int
	Ping           time.Duration
}

// result is a worker's answer.
type result struct {
	Took    time.Duration
	Each    *hist.H
	Expired int
	// Drops is how many connections were lost since the worker began.
	Drops int
	Error string
}

// Worker holds sessions on one server, in a process of its own: a process has
// too few descriptors for all of them. It reads orders from in and writes results
// to out until in ends; then it drops everything.
func Worker(server netip.AddrPort, in io.Reader, out io.Writer) error {
	s, err := swarm.New([]netip.AddrPort{server}, sessionTimeout)
	if err != nil {
		return err
	}
	defer s.Close()
	orders, results := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var o order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		r, err := obey(s, o)
		if err != nil {
			r.Error = err.Error()
		}
		if err := results.Encode(r); err != nil {
			return err
		}
	}
}

func obey(s *swarm.Swarm, o order) (r result, err error) {
	if o.Open > 0 {
		a, err := s.Open(o.Open, o.Parallel)
		if err != nil {
			return r, err
		}
		r.Took, r.Each, r.Expired = a.Took, a.Each, a.Expired
	} else if r.Each, err = s.Ping(o.Ping); err != nil {
		return r, err
	}
	r.Drops, err = s.Drops()
	return r, err
}

// worker is the other end of such a process.
type worker struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	orders  *json.Encoder
	results *json.Decoder
}

func startWorker(program string, server netip.AddrPort) (*worker, error) {
	w := &worker{cmd: exec.Command(program, WorkerCommand, server.String())}
	w.cmd.Stderr = os.Stderr
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	w.orders, w.results = json.NewEncoder(w.in), json.NewDecoder(out)
	return w, w.cmd.Start()
}

func (w *worker) close() {
	w.in.Close()
	w.cmd.Process.Kill() // its sessions are dropped either way
	w.cmd.Wait()
}

// workers act together.
type workers []*worker

func (ws workers) close() {
	for _, w := range ws {
		w.close()
	}
}

// do gives all workers an order and adds up what comes back; Took is the longest
// one's.
func (ws workers) do(o order) (sum result, err error) {
	for _, w := range ws {
		if err := w.orders.Encode(o); err != nil {
			return sum, fmt.Errorf("sessions worker: %w", err)
		}
	}
	sum.Each = new(hist.H)
	for _, w := range ws {
		var r result
		if err := w.results.Decode(&r); err != nil {
			return sum, fmt.Errorf("sessions worker: %w", err)
		}
		if r.Error != "" {
			return sum, fmt.Errorf("sessions worker: %s", r.Error)
		}
		sum.Took = max(sum.Took, r.Took)
		sum.Each.Merge(r.Each)
		sum.Expired += r.Expired
		sum.Drops += r.Drops
	}
	return sum, nil
}
