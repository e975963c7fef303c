// Package hist counts latencies in log-linear buckets: every power of two is cut
// into 128 equal parts, so that a reported value is at most 0.8 % above the one
// that was recorded, from a nanosecond to a quarter of an hour. Recording costs
// a few nanoseconds and never allocates.
//
// What may not enter: clocks (callers hand in differences) and formatting.
package hist
