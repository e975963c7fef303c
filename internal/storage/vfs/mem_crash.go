package vfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// Kill ends every process that uses the file system and leaves the machine
// running: handles and locks are dead, and all that was written is still
// there, synced or not. A Crash may follow.
func (m *Mem) Kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kill()
}

func (m *Mem) kill() {
	m.epoch++
	m.locks = make(map[string]*memLock)
}

// Crash cuts the power. Handles and locks are dead, and of everything that was
// not synced a random part is lost: per file and directory either all of it,
// none, what came after some moment, or any subset: sectors of one write out
// of order, a name without its file's contents, a size without the bytes.
func (m *Mem) Crash(rng *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kill()
	m.root.crash(rng)
}

func (n *memNode) crash(rng *rand.Rand) {
	if n.dir == nil {
		n.crashFile(rng)
		return
	}
	keep := survivor(rng, len(n.dir.pending), func(i int) uint64 { return n.dir.pending[i].at })
	for _, c := range n.dir.pending {
		if keep(c.at) {
			applyDirChange(n.dir.durable, c)
		}
	}
	n.dir.pending = nil
	n.dir.names = maps.Clone(n.dir.durable)
	for _, name := range sortedNames(n.dir.names) {
		n.dir.names[name].crash(rng)
	}
}

func (n *memNode) crashFile(rng *rand.Rand) {
	sectors := slices.Sorted(maps.Keys(n.dirty))
	var times []uint64
	for _, s := range sectors {
		for _, v := range n.dirty[s] {
			times = append(times, v.at)
		}
	}
	for _, v := range n.sizes {
		times = append(times, v.at)
	}
	slices.Sort(times)
	keep := survivor(rng, len(times), func(i int) uint64 { return times[i] })

	size := int64(len(n.durable))
	for _, v := range n.sizes {
		if keep(v.at) {
			size = v.size
		}
	}
	// The sectors first, into a file that has room for all of them: which
	// bytes the file has is decided by its size alone.
	room := size
	if len(sectors) > 0 {
		room = max(room, (sectors[len(sectors)-1]+1)*SectorSize)
	}
	disk := resize(n.durable, max(room, int64(len(n.durable))))
	for _, s := range sectors {
		for _, v := range n.dirty[s] {
			if keep(v.at) {
				copy(disk[s*SectorSize:], v.data[:])
			}
		}
	}
	n.durable = resize(disk, size)
	n.data = slices.Clone(n.durable)
	n.loseDirty()
}

// survivor decides what of n unsynced changes, made at the given times in
// rising order, reaches the disk. The answer for one time may differ from call
// to call: the sectors of one write fare differently.
func survivor(rng *rand.Rand, n int, at func(int) uint64) func(at uint64) bool {
	if n == 0 {
		return func(uint64) bool { return false }
	}
	switch rng.IntN(4) {
	case 0:
		return func(uint64) bool { return false }
	case 1:
		return func(uint64) bool { return true }
	case 2:
		// In order up to a moment, at which one write was under way.
		last := at(rng.IntN(n))
		return func(t uint64) bool { return t < last || t == last && rng.IntN(2) == 0 }
	default:
		odds := 1 + rng.IntN(9)
		return func(uint64) bool { return rng.IntN(10) < odds }
	}
}

// Clone returns a copy of the file system as programs and the disk see it now.
// The copy has no hook, and no open handles or locks.
func (m *Mem) Clone() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewMem(nil)
	c.clock = m.clock
	c.root = m.root.clone(make(map[*memNode]*memNode))
	return c
}

func (n *memNode) clone(done map[*memNode]*memNode) *memNode {
	if c := done[n]; c != nil {
		return c
	}
	c := &memNode{data: slices.Clone(n.data), durable: slices.Clone(n.durable), sizes: slices.Clone(n.sizes)}
	done[n] = c
	if n.dirty != nil {
		c.dirty = make(map[int64][]sectorVersion, len(n.dirty))
		for s, versions := range n.dirty {
			for _, v := range versions {
				data := *v.data
				c.dirty[s] = append(c.dirty[s], sectorVersion{v.at, &data})
			}
		}
	}
	if n.dir != nil {
		c.dir = &memDir{names: map[string]*memNode{}, durable: map[string]*memNode{}}
		for name, child := range n.dir.names {
			c.dir.names[name] = child.clone(done)
		}
		for name, child := range n.dir.durable {
			c.dir.durable[name] = child.clone(done)
		}
		for _, p := range n.dir.pending {
			p.node = p.node.clone(done)
			c.dir.pending = append(c.dir.pending, p)
		}
	}
	return c
}
