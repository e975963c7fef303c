package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"time"

	"github.com/conclave-dev/conclave/test/bench/swarm"
)

// holderCommand is how this program starts itself as a holder of sessions: a process
// has no descriptors for all of them.
const holderCommand = "holder"

const (
	// holdTimeout of sessions that only are there, in milliseconds.
	holdTimeout = 3_600_000
	// parallel is how many sessions are opened at a time; at most most by one loop.
	parallel, most = 256, 15_000
)

// holder is a process that holds sessions on one member.
type holder struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func startHolder(server netip.AddrPort) (*holder, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	h := &holder{cmd: exec.Command(self, holderCommand, server.String())}
	h.cmd.Stderr = os.Stderr
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	h.out = bufio.NewScanner(out)
	return h, h.cmd.Start()
}

// ask gives an order and waits until it is carried out.
func (h *holder) ask(format string, args ...any) error {
	if _, err := fmt.Fprintf(h.in, format+"\n", args...); err != nil {
		return fmt.Errorf("a holder of sessions: %w", err)
	}
	if !h.out.Scan() {
		return errors.New("a holder of sessions has ended")
	}
	if answer := h.out.Text(); answer != "done" {
		return fmt.Errorf("a holder of sessions: %s", answer)
	}
	return nil
}

// end ends the process, and with it its connections.
func (h *holder) end() {
	h.in.Close()
	h.cmd.Wait()
}

// all asks all holders at once.
func all(list []*holder, format string, args ...any) error {
	errs := make(chan error)
	for _, h := range list {
		go func() { errs <- h.ask(format, args...) }()
	}
	var err error
	for range list {
		err = errors.Join(err, <-errs)
	}
	return err
}

// hold carries out the orders of a holder.
func hold(server netip.AddrPort, in io.Reader, out io.Writer) error {
	servers := []netip.AddrPort{server}
	var kept, flapping *swarm.Swarm
	orders := bufio.NewScanner(in)
	for orders.Scan() {
		err := func() error {
			var connected, gone, flaps, comings, seconds int
			switch line := orders.Text(); {
			case scan(line, "hold %d %d", &connected, &gone):
				for ; gone > 0; gone -= most {
					s, err := opened(servers, holdTimeout, min(gone, most))
					if err != nil {
						return err
					}
					s.Close()
				}
				var err error
				kept, err = opened(servers, holdTimeout, connected)
				return err
			case scan(line, "flap %d", &flaps):
				var err error
				flapping, err = opened(servers, holdTimeout, flaps)
				return err
			case scan(line, "storm %d %d", &comings, &seconds):
				return storm(servers, flapping, comings, time.Duration(seconds)*time.Second)
			default:
				return fmt.Errorf("what is %q?", line)
			}
		}()
		answer := "done"
		if err != nil {
			answer = err.Error()
		}
		fmt.Fprintln(out, answer)
	}
	for _, s := range []*swarm.Swarm{kept, flapping} {
		if s != nil {
			s.Close()
		}
	}
	return orders.Err()
}

func scan(line, format string, args ...any) bool {
	n, err := fmt.Sscanf(line, format, args...)
	return err == nil && n == len(args)
}

func opened(servers []netip.AddrPort, timeout int32, n int) (*swarm.Swarm, error) {
	s, err := swarm.New(servers, timeout)
	if err != nil {
		return nil, err
	}
	_, err = s.Open(n, parallel)
	return s, err
}

// rounds of sessions that come and go are under way at a time: a round begins every
// second, however long the ones before take.
const rounds = 8

// storm drops and restores all connections of a swarm every second, and opens and
// closes as many sessions a second as comings.
func storm(servers []netip.AddrPort, flapping *swarm.Swarm, comings int, d time.Duration) error {
	end := time.Now().Add(d)
	errs := make(chan error, rounds+1)
	go func() {
		errs <- everySecond(end, func() error {
			_, err := flapping.Reattach()
			return err
		})
	}()
	under := 0
	err := everySecond(end, func() error {
		if under == rounds {
			under--
			if err := <-errs; err != nil {
				return err
			}
		}
		under++
		go func() {
			s, err := opened(servers, 30_000, comings)
			if err == nil {
				err = s.CloseAll()
				s.Close()
			}
			errs <- err
		}()
		return nil
	})
	for ; under >= 0; under-- {
		err = errors.Join(err, <-errs)
	}
	return err
}

// everySecond calls do once a second, or as often as it returns.
func everySecond(end time.Time, do func() error) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for ; time.Now().Before(end); <-tick.C {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}
