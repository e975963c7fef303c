package check

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/conclave-dev/conclave/test/conformance/wire"
	"github.com/conclave-dev/conclave/test/faults/history"
)

// A node is a register with a version: what a client asks of it, and what it was
// told.
type (
	asked struct {
		op      int32 // create, set, delete, check; exists and getData are reads
		value   string
		version int32
	}
	told struct {
		unknown bool
		err     int32
		// zxid is that of the write, for one that happened.
		zxid int64
		// stat and value are what was shown.
		stat  wire.Stat
		value string
	}
)

// register is a node's state.
type register struct {
	exists  bool
	value   string
	version int32
	// mzxid is the zxid of the last change if exact, otherwise less than that.
	mzxid int64
	exact bool
}

func (r register) changed(in asked, out told) register {
	next := register{exists: in.op != wire.OpDelete, value: in.value, mzxid: out.zxid, exact: true}
	if in.op == wire.OpSetData {
		next.version = r.version + 1
	}
	if in.op == wire.OpDelete {
		next.value = ""
	}
	if out.unknown {
		next.mzxid, next.exact = r.mzxid, false
	}
	return next
}

// verdict is how a register has to answer.
func (r register) verdict(in asked) int32 {
	switch {
	case in.op == wire.OpCreate && r.exists:
		return wire.NodeExists
	case in.op == wire.OpCreate:
		return wire.OK
	case !r.exists:
		return wire.NoNode
	case (in.op == wire.OpSetData || in.op == wire.OpDelete || in.op == wire.OpCheck) && in.version != -1 && in.version != r.version:
		return wire.BadVersion
	}
	return wire.OK
}

// step returns the states in which a register can be after an operation; none if
// it can't have answered so.
func (r register) step(in asked, out told) []register {
	verdict := r.verdict(in)
	if out.unknown {
		if verdict != wire.OK {
			return []register{r}
		}
		return []register{r, r.changed(in, out)}
	}
	if verdict != out.err {
		return nil
	}
	if verdict != wire.OK || in.op == wire.OpCheck {
		return []register{r}
	}
	if in.op == wire.OpExists || in.op == wire.OpGetData {
		if in.op == wire.OpGetData && out.value != r.value || out.stat.Version != r.version {
			return nil
		}
		if r.exact && out.stat.Mzxid != r.mzxid || !r.exact && out.stat.Mzxid <= r.mzxid {
			return nil
		}
		r.mzxid, r.exact = out.stat.Mzxid, true
		return []register{r}
	}
	if out.zxid <= r.mzxid || in.op == wire.OpSetData && (out.stat.Version != r.version+1 || out.stat.Mzxid != out.zxid) {
		return nil
	}
	return []register{r.changed(in, out)}
}

var model = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{register{}} },
	Step: func(state, in, out any) []any {
		var next []any
		for _, r := range state.(register).step(in.(asked), out.(told)) {
			next = append(next, r)
		}
		return next
	},
}).ToModel()

// patience is how long the search for an order of one node's operations may take.
const patience = 2 * time.Minute

// Linearizable judges the nodes below prefix, each by itself. Only nodes that
// live longer than sessions can be judged so.
func Linearizable(conns []*history.Connection, prefix string) []Violation {
	keys := operations(gather(conns), prefix)
	var out []Violation
	for _, path := range sortedKeys(keys) {
		ops := keys[path]
		switch porcupine.CheckOperationsTimeout(model, ops, patience) {
		case porcupine.Ok:
		case porcupine.Unknown:
			out = append(out, Violation{"linearizable", 0, fmt.Sprintf("%s: no verdict on %d operations within %v", path, len(ops), patience)})
		default:
			at, window := shortest(ops)
			out = append(out, Violation{"linearizable", at, fmt.Sprintf("%s: there is no order in which this can have happened:\n%s", path, window)})
		}
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// operations returns what was done to each node.
func operations(f *facts, prefix string) map[string][]porcupine.Operation {
	keys := map[string][]porcupine.Operation{}
	clients := map[string]int{}
	add := func(c *history.Connection, path string, in asked, out told, call, ret int64) {
		if _, ok := clients[c.Client]; !ok {
			clients[c.Client] = len(clients)
		}
		keys[path] = append(keys[path], porcupine.Operation{ClientId: clients[c.Client], Input: in, Call: call, Output: out, Return: ret, Metadata: c.Client})
	}
	for _, w := range f.writes {
		if strings.HasPrefix(w.path, prefix) && judged(w) {
			add(w.conn, w.path, asked{w.op, w.data, w.version}, told{unknown: !w.known, err: w.err, zxid: w.zxid, stat: w.stat}, w.req.Sent, w.decided)
		}
	}
	for _, s := range f.sessions {
		// A read can't show less than the session's last sync or write before it.
		since := int64(-1)
		for _, c := range s.conns {
			for _, q := range c.Requests {
				if q.Reply == nil {
					continue
				}
				switch q.Op {
				case wire.OpSync, wire.OpCreate, wire.OpCreate2, wire.OpSetData, wire.OpDelete, wire.OpMulti:
					if q.Reply.Err == wire.OK {
						since = q.Sent
					}
				case wire.OpExists, wire.OpGetData:
					if since >= 0 && strings.HasPrefix(q.Path, prefix) {
						add(c, q.Path, asked{op: q.Op}, told{err: q.Reply.Err, stat: q.Reply.Stat, value: q.Reply.Data}, since, q.Reply.At)
					}
				}
			}
		}
	}
	return keys
}

// judged reports whether what a write was told says something of its node.
func judged(w *write) bool {
	if !w.known {
		return w.op != wire.OpCheck
	}
	switch w.err {
	case wire.OK, wire.NoNode, wire.NodeExists, wire.BadVersion:
		return true
	}
	return false // another part of its multi failed, or the session had ended
}

// shortest returns the last lines of the shortest beginning of ops that can't
// have happened, and when its last operation returned.
func shortest(ops []porcupine.Operation) (at int64, window string) {
	byReturn := slices.Clone(ops)
	slices.SortStableFunc(byReturn, func(a, b porcupine.Operation) int { return int(max(-1, min(1, a.Return-b.Return))) })
	n, _ := slices.BinarySearchFunc(sequence(len(byReturn)), true, func(k int, _ bool) int {
		if porcupine.CheckOperationsTimeout(model, beginning(byReturn, k+1), patience/10) == porcupine.Illegal {
			return 1
		}
		return -1
	})
	if n == len(byReturn) {
		n--
	}
	var b strings.Builder
	for i := max(0, n-14); i <= n; i++ {
		fmt.Fprintf(&b, "  %s\n", describe(byReturn[i]))
	}
	for _, o := range byReturn[n+1:] {
		if o.Call < byReturn[n].Return {
			fmt.Fprintf(&b, "  beside it: %s\n", describe(o))
		}
	}
	return byReturn[n].Return, b.String()
}

func sequence(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// beginning is a history as it was when k operations had returned: the outcome
// of the others was not known then.
func beginning(byReturn []porcupine.Operation, k int) []porcupine.Operation {
	out := slices.Clone(byReturn[:k])
	for _, o := range byReturn[k:] {
		op := o.Input.(asked).op
		if o.Call >= byReturn[k-1].Return || op == wire.OpExists || op == wire.OpGetData || op == wire.OpCheck || o.Output.(told).err != wire.OK {
			continue
		}
		o.Output, o.Return = told{unknown: true}, math.MaxInt64
		out = append(out, o)
	}
	return out
}

func describe(o porcupine.Operation) string {
	in, out := o.Input.(asked), o.Output.(told)
	text := map[int32]string{
		wire.OpCreate: "create %q", wire.OpSetData: "set %q", wire.OpDelete: "delete%.0s", wire.OpCheck: "check%.0s",
		wire.OpGetData: "get%.0s", wire.OpExists: "exists%.0s",
	}[in.op]
	text = fmt.Sprintf("[%v, %v] %v: "+text+" version %d", time.Duration(o.Call), time.Duration(o.Return), o.Metadata, in.value, in.version)
	switch {
	case out.unknown:
		return text + ": unknown"
	case out.err != wire.OK:
		return text + fmt.Sprintf(": error %d", out.err)
	case in.op == wire.OpGetData || in.op == wire.OpExists:
		return text + fmt.Sprintf(": %q version %d mzxid %#x", out.value, out.stat.Version, out.stat.Mzxid)
	}
	return text + fmt.Sprintf(": zxid %#x, version %d", out.zxid, out.stat.Version)
}
