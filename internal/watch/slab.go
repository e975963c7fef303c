package watch

// slabChunk is how many elements a slab allocates at a time.
const slabChunk = 256

// slab hands out slots that are named by small integers, 0 being none. A table
// of a million watches links its records through such names: they take half
// the memory of pointers, give the garbage collector nothing to follow, and
// growing never moves what is there, so that pointers from at stay good.
type slab[T any] struct {
	chunks [][]T
	free   []uint32 // released slots, handed out again before new ones
	next   uint32   // first slot never handed out; slot 0 stays unused and means none
}

// at returns the slot i, which must have been handed out by get.
func (s *slab[T]) at(i uint32) *T { return &s.chunks[i/slabChunk][i%slabChunk] }

// get hands out a slot that holds v.
func (s *slab[T]) get(v T) uint32 {
	var i uint32
	if n := len(s.free); n > 0 {
		i, s.free = s.free[n-1], s.free[:n-1]
	} else {
		if s.next == 0 {
			s.next = 1
		}
		i = s.next
		s.next++
		if int(i/slabChunk) == len(s.chunks) {
			s.chunks = append(s.chunks, make([]T, slabChunk))
		}
	}
	*s.at(i) = v
	return i
}

// put takes slot i back and forgets what it held.
func (s *slab[T]) put(i uint32) {
	var none T
	*s.at(i) = none
	s.free = append(s.free, i)
}
