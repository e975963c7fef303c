package cells

import "testing"

func TestSynced(t *testing.T) {
	for _, c := range []struct {
		syncs  float64
		writes uint64
		ok     bool
	}{{3000, 1000, true}, {1000, 1000, true}, {999, 1000, false}, {0, 1, false}} {
		if err := synced(c.syncs, c.writes); (err == nil) != c.ok {
			t.Errorf("%v syncs of %d writes: %v", c.syncs, c.writes, err)
		}
	}
}
