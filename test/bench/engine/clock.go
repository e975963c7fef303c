package engine

import "time"

// Clock returns nanoseconds since some fixed point; it never goes back.
type Clock func() int64

var epoch = time.Now()

// Monotonic is the machine's clock.
func Monotonic() int64 { return int64(time.Since(epoch)) }
