package statemachine

import (
	"strings"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/tree"
)

// A quota on /a/b lives in two nodes: /zookeeper/quota/a/b/zookeeper_limits,
// which clients write, and zookeeper_stats beside it, which the server keeps
// up to date as nodes below /a/b come, change and go. Only hard limits refuse
// anything.
const quotaPath = "/zookeeper/quota"

// quotaChange is a change of Machine.quotaRoots.
type quotaChange struct {
	root string
	set  bool // or removed
}

// quotaTarget returns what path, if it is a quota's node, is the quota of, and
// which of the two nodes it is.
func quotaTarget(path string) (target, node string, ok bool) {
	if !strings.HasPrefix(path, quotaPath+"/") {
		return "", "", false
	}
	i := strings.LastIndexByte(path, '/')
	target, node = path[len(quotaPath):i], path[i+1:]
	return target, node, node == tree.LimitsName || node == tree.StatsName
}

// checkQuotaNode refuses what can't be a quota's node, so that no write of a
// client ever leaves the bookkeeping with text that it can't read.
func (m *Machine) checkQuotaNode(path string, data []byte) jute.ErrCode {
	target, _, ok := quotaTarget(path)
	if !ok {
		return jute.OK
	}
	if target == "" {
		return jute.ErrBadArguments
	}
	if _, err := tree.ParseQuota(data); err != nil {
		return jute.ErrBadArguments
	}
	return jute.OK
}

// quotaRoot returns the deepest node at or above path that has a quota: the one
// that counts, and whose limits hold. Quotas further up neither see nor limit
// what happens below another.
func (m *Machine) quotaRoot(path string) (string, bool) {
	if len(m.quotaRoots) == 0 {
		return "", false
	}
	for p := path; p != ""; {
		if _, ok := m.quotaRoots[p]; ok {
			return p, true
		}
		p = p[:max(strings.LastIndexByte(p, '/'), 0)]
	}
	return "", false
}

// findQuotaNode returns the limits or stats node of the quota on root, or None.
func (m *Machine) findQuotaNode(root, name string) tree.NodeID {
	m.quotaBuf = append(append(append(append(m.quotaBuf[:0], quotaPath...), root...), '/'), name...)
	return m.tree.Find(unsafeString(m.quotaBuf))
}

func (m *Machine) quotaNode(root, name string) (tree.NodeID, tree.QuotaRecord, bool) {
	id := m.findQuotaNode(root, name)
	if id == tree.None {
		return tree.None, tree.QuotaRecord{}, false
	}
	q, err := tree.ParseQuota(m.tree.Data(id))
	return id, q, err == nil
}

// overQuota reports whether a change of so many bytes and nodes at path would
// leave more there than a hard limit allows. As in ZooKeeper that goes for a
// change to less, too, while it is still too much; only a change that leaves
// the figure where it is passes.
func (m *Machine) overQuota(path string, bytes, count int64) bool {
	root, ok := m.quotaRoot(path)
	if !ok {
		return false
	}
	_, limits, ok := m.quotaNode(root, tree.LimitsName)
	if !ok {
		return false
	}
	_, used, ok := m.quotaNode(root, tree.StatsName)
	if !ok {
		return false
	}
	if hard := limits.CountHardLimit(); count != 0 && hard > -1 && used.Count()+count > hard {
		return true
	}
	hard := limits.ByteHardLimit()
	return bytes != 0 && hard > -1 && used.Bytes()+bytes > hard
}

func (m *Machine) quotaCreated(path string, bytes int64) {
	if target, node, ok := quotaTarget(path); ok {
		switch node {
		case tree.LimitsName:
			m.changeQuotas(target, true)
		case tree.StatsName:
			m.recount(target)
		}
	}
	m.adjustQuota(path, bytes, 1)
}

func (m *Machine) quotaDeleted(path string, bytes int64) {
	if target, node, ok := quotaTarget(path); ok && node == tree.LimitsName {
		m.changeQuotas(target, false)
	}
	m.adjustQuota(path, -bytes, -1)
}

func (m *Machine) quotaResized(path string, bytes int64) { m.adjustQuota(path, bytes, 0) }

// adjustQuota moves the figures of the quota that path is under.
func (m *Machine) adjustQuota(path string, bytes, count int64) {
	root, ok := m.quotaRoot(path)
	if !ok {
		return
	}
	if id, used, ok := m.quotaNode(root, tree.StatsName); ok {
		used.SetBytes(used.Bytes() + bytes)
		used.SetCount(used.Count() + count)
		m.storeQuota(id, &used)
		if bytes > 0 || count > 0 {
			m.noteSoftQuota(root, &used)
		}
	}
}

// noteSoftQuota notes that a change has left more than a soft limit allows:
// it refuses nothing, but somebody should hear of it.
func (m *Machine) noteSoftQuota(root string, used *tree.QuotaRecord) {
	_, limits, ok := m.quotaNode(root, tree.LimitsName)
	if !ok {
		return
	}
	if c, b := limits.Count(), limits.Bytes(); c > -1 && used.Count() > c || b > -1 && used.Bytes() > b {
		m.result.SoftQuota = root
		m.result.SoftUse = used.String()
	}
}

// recount fills a new quota's figures with what is there, whatever the client
// has written: nothing, if there is no such node yet.
func (m *Machine) recount(root string) {
	var used tree.QuotaRecord
	used.SetCount(0)
	used.SetBytes(0)
	if top := m.tree.Find(root); top != tree.None {
		used.SetCount(int64(m.tree.DescendantCount(top)) + 1)
		used.SetBytes(m.tree.SubtreeBytes(top))
	}
	m.storeQuota(m.findQuotaNode(root, tree.StatsName), &used)
}

func (m *Machine) storeQuota(id tree.NodeID, q *tree.QuotaRecord) {
	m.quotaBuf = q.Append(m.quotaBuf[:0])
	m.tree.ReplaceData(id, m.quotaBuf)
}

// changeQuotas notes that root has a quota now, or has none any more.
func (m *Machine) changeQuotas(root string, set bool) {
	root = strings.Clone(root)
	m.putQuota(root, set)
	m.quotaLog = append(m.quotaLog, quotaChange{root, set})
}

func (m *Machine) putQuota(root string, set bool) {
	if set {
		m.quotaRoots[root] = struct{}{}
	} else {
		delete(m.quotaRoots, root)
	}
}

// undoQuotas takes back what the transaction under way has changed.
func (m *Machine) undoQuotas() {
	for i := len(m.quotaLog) - 1; i >= 0; i-- {
		m.putQuota(m.quotaLog[i].root, !m.quotaLog[i].set)
	}
	m.quotaLog = m.quotaLog[:0]
}

// findQuotas fills quotaRoots from a restored tree.
func (m *Machine) findQuotas() {
	for below := []tree.NodeID{tree.Quota}; len(below) > 0; {
		id := below[len(below)-1]
		below = below[:len(below)-1]
		for child, name := range m.tree.Children(id) {
			if name == tree.LimitsName && id != tree.Quota {
				m.quotaRoots[m.tree.Path(id)[len(quotaPath):]] = struct{}{}
			}
			if m.tree.NumChildren(child) > 0 {
				below = append(below, child)
			}
		}
	}
}
