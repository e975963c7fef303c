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
const (
	quotaPath  = "/zookeeper/quota"
	limitsNode = "zookeeper_limits"
	statsNode  = "zookeeper_stats"
)

// quotaTarget returns what path, if it is a quota's node, is the quota of, and
// which of the two nodes it is.
func quotaTarget(path string) (target, node string, ok bool) {
	if !strings.HasPrefix(path, quotaPath+"/") {
		return "", "", false
	}
	i := strings.LastIndexByte(path, '/')
	target, node = path[len(quotaPath):i], path[i+1:]
	return target, node, node == limitsNode || node == statsNode
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

// quotaRoot returns the deepest node at or above path that has a quota.
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

func (m *Machine) quotaNode(root, name string) (tree.NodeID, tree.QuotaRecord, bool) {
	id := m.tree.Find(quotaPath + root + "/" + name)
	if id == tree.None {
		return tree.None, tree.QuotaRecord{}, false
	}
	q, err := tree.ParseQuota(m.tree.Data(id))
	return id, q, err == nil
}

// overQuota reports whether a change of so many bytes and nodes at path would
// pass a hard limit.
func (m *Machine) overQuota(path string, bytes, count int64) bool {
	root, ok := m.quotaRoot(path)
	if !ok {
		return false
	}
	_, limits, ok := m.quotaNode(root, limitsNode)
	if !ok {
		return false
	}
	_, used, ok := m.quotaNode(root, statsNode)
	if !ok {
		return false
	}
	if hard := limits.CountHardLimit(); count > 0 && hard > -1 && used.Count()+count > hard {
		return true
	}
	hard := limits.ByteHardLimit()
	return bytes > 0 && hard > -1 && used.Bytes()+bytes > hard
}

func (m *Machine) quotaCreated(path string, bytes int64) {
	if target, node, ok := quotaTarget(path); ok {
		switch node {
		case limitsNode:
			m.quotaRoots[strings.Clone(target)] = struct{}{}
			m.quotaTouched = true
		case statsNode:
			m.recount(target)
		}
	}
	m.adjustQuota(path, bytes, 1)
}

func (m *Machine) quotaDeleted(path string, bytes int64) {
	if target, node, ok := quotaTarget(path); ok && node == limitsNode {
		delete(m.quotaRoots, target)
		m.quotaTouched = true
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
	if id, used, ok := m.quotaNode(root, statsNode); ok {
		used.SetBytes(used.Bytes() + bytes)
		used.SetCount(used.Count() + count)
		m.tree.ReplaceData(id, used.Append(nil))
	}
}

// recount fills a new quota's figures with what is there.
func (m *Machine) recount(root string) {
	top := m.tree.Find(root)
	if top == tree.None {
		return
	}
	if id, used, ok := m.quotaNode(root, statsNode); ok {
		used.SetCount(int64(m.tree.DescendantCount(top)) + 1)
		used.SetBytes(m.tree.SubtreeBytes(top))
		m.tree.ReplaceData(id, used.Append(nil))
	}
}

// rebuildQuotaRootsIfTouched puts the index of quotas right after a multi that
// had changed it was undone.
func (m *Machine) rebuildQuotaRootsIfTouched() {
	if m.quotaTouched {
		m.rebuildQuotaRoots()
	}
}

func (m *Machine) rebuildQuotaRoots() {
	clear(m.quotaRoots)
	m.quotaTouched = false
	var walk func(id tree.NodeID, path string)
	walk = func(id tree.NodeID, path string) {
		for child, name := range m.tree.Children(id) {
			if name == limitsNode && path != "" {
				m.quotaRoots[path] = struct{}{}
			}
			walk(child, path+"/"+name)
		}
	}
	if top := m.tree.Find(quotaPath); top != tree.None {
		walk(top, "")
	}
}
