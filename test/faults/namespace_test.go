//go:build faults

package faults

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// within calls f on a thread that is in a place's network. Sockets that f makes
// stay there.
func within(place int, f func() error) error {
	ended := make(chan error, 1)
	go func() {
		// The thread is not given back: it ends with the goroutine.
		runtime.LockOSThread()
		ended <- func() error {
			ns, err := os.Open("/run/netns/" + namespace(place))
			if err != nil {
				return err
			}
			defer ns.Close()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return err
			}
			return f()
		}()
	}()
	return <-ended
}
