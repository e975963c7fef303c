package shrink

import "slices"

// List returns a part of list, in order, that still fails and from which no
// single element can be left out. fails is asked for candidates; the list
// itself is taken to fail. Nothing is asked after more returns false.
func List[T any](list []T, fails func([]T) bool, more func() bool) []T {
	for chunk := (len(list) + 1) / 2; chunk > 0 && len(list) > 0; {
		removed := false
		for at := 0; at < len(list) && more(); {
			candidate := slices.Delete(slices.Clone(list), at, min(at+chunk, len(list)))
			if fails(candidate) {
				list, removed = candidate, true
			} else {
				at += chunk
			}
		}
		if chunk == 1 && !removed || !more() {
			break
		}
		if chunk > 1 {
			chunk = (chunk + 1) / 2
		}
	}
	return list
}
