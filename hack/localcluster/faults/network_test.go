package faults

import "testing"

func TestPairsGoBothWays(t *testing.T) {
	got := pairs([]string{"a", "b"}, []string{"c"})
	want := `add element inet conclave_faults pairs { a . c, c . a }
add element inet conclave_faults pairs { b . c, c . b }
`
	if got != want {
		t.Errorf("%s", got)
	}
}
