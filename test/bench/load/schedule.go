package load

// Schedule is when the operations of an open loop are due: the k-th one, from 0,
// k intervals after the start. Times are on the loop's clock.
type Schedule struct {
	start    int64
	interval float64 // nanoseconds
	next     int64   // the first operation that has not been taken
}

// NewSchedule starts a schedule of rate operations a second.
func NewSchedule(start int64, rate float64) *Schedule {
	return &Schedule{start: start, interval: 1e9 / rate}
}

// At is when operation k is due.
func (s *Schedule) At(k int64) int64 { return s.start + int64(float64(k)*s.interval) }

// Next is when the next operation is due.
func (s *Schedule) Next() int64 { return s.At(s.next) }

// Take returns the next operation if it is due at the time now.
func (s *Schedule) Take(now int64) (k, at int64, ok bool) {
	if at = s.Next(); at > now {
		return 0, 0, false
	}
	s.next++
	return s.next - 1, at, true
}
