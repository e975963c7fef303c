package compare

import "github.com/conclave-dev/conclave/test/diff/side"

// Difference is one that is expected: it is not Conclave's fault, or it is
// meant. Each has its line in docs/compatibility.md.
type Difference struct {
	Name string
	// Match reports whether two frames that answer the same differ in this way
	// and in no other.
	Match func(zk, conclave *side.Frame) bool
}

// Known are the differences that may turn up anywhere.
var Known = []Difference{
	{
		// They came with 3.9 (ZOOKEEPER-4472); 3.8 cannot read them.
		Name: "watcher types 4 and 5",
		Match: func(zk, conclave *side.Frame) bool {
			op := conclave.Op
			return op != nil && (op.Name == "checkWatches" || op.Name == "removeWatches") && (op.Type == 4 || op.Type == 5) &&
				says(zk, "MarshallingError") && says(conclave, "NoWatcher")
		},
	},
	{
		// 3.8 answers as soon as anybody watches the path.
		Name: "checkWatches sees others' watches",
		Match: func(zk, conclave *side.Frame) bool {
			op := conclave.Op
			return op != nil && op.Name == "checkWatches" && op.Type >= 1 && op.Type <= 3 && says(zk, "ok") && says(conclave, "NoWatcher")
		},
	},
}

// says reports whether a reply has this result and nothing else in it.
func says(f *side.Frame, result string) bool {
	return f.Text == f.Op.Name+": "+result+" zxid=~"
}
