package member

import "testing"

func TestConnectionLimit(t *testing.T) {
	for _, c := range []struct {
		configured int
		files      uint64
		want       int
	}{
		{0, 1 << 62, 0}, {7, 1 << 62, 7},
		{0, 1 << 20, 1<<20 - 512}, {100, 1 << 20, 100}, {1 << 21, 1 << 20, 1<<20 - 512},
		{0, 1024, 512}, {0, 1023, 511}, {0, 64, 32}, {100, 64, 32}, {0, 1, 1}, {0, 0, 1},
	} {
		if got := connectionLimit(c.configured, c.files); got != c.want {
			t.Errorf("maxCnxns %d, %d files: %d, want %d", c.configured, c.files, got, c.want)
		}
	}
}
