package compare

import (
	"fmt"
	"slices"
)

// Zxids maps the transactions of one script on two ensembles to each other.
// The values differ, since other scripts run beside it; their order may not.
type Zxids struct {
	// pairs[0] and pairs[1] are the zxids known, sorted; those at the same
	// place are the same transaction.
	pairs [2][]int64
}

// Exact notes that a and b are the same transaction. The error says that they
// cannot be.
func (z *Zxids) Exact(a, b int64) error {
	i, known := slices.BinarySearch(z.pairs[0], a)
	j, alsoKnown := slices.BinarySearch(z.pairs[1], b)
	switch {
	case known && alsoKnown && i == j:
		return nil
	case known || alsoKnown || i != j:
		return fmt.Errorf("transaction %s on the left is %s on the right", place(i, known), place(j, alsoKnown))
	}
	z.pairs[0] = slices.Insert(z.pairs[0], i, a)
	z.pairs[1] = slices.Insert(z.pairs[1], j, b)
	return nil
}

// Loose checks that a and b have seen the same of the transactions that are
// known: other scripts may have moved both on.
func (z *Zxids) Loose(a, b int64) error {
	i, known := slices.BinarySearch(z.pairs[0], a)
	j, alsoKnown := slices.BinarySearch(z.pairs[1], b)
	if known {
		i++
	}
	if alsoKnown {
		j++
	}
	if i != j {
		at := min(i, j)
		return fmt.Errorf("%d of the script's transactions are seen on the left, %d on the right, of %d; the next is %#x on the left and %#x on the right",
			i, j, len(z.pairs[0]), z.pairs[0][at], z.pairs[1][at])
	}
	return nil
}

func place(i int, known bool) string {
	if known {
		return fmt.Sprintf("number %d", i)
	}
	return fmt.Sprintf("(a new one, behind %d others)", i)
}
