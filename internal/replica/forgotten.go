package replica

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
)

// forgotten returns what is wrong if the leader counts on entries that this
// member has acknowledged and does not have. A heartbeat's commit index is at
// most what the member has told this very leader to be on its disk: a log that
// ends before it is an older one, a copy put back or a volume that lost writes.
// Raft would panic over it. Whoever leads later does not know, and would bring
// the member up to date; but what only it and the old leader had would be lost
// if they are elected over, so the member must not go on by itself.
func (n *Node) forgotten(m *raftpb.Message) error {
	if m.GetType() != raftpb.MsgHeartbeat {
		return nil
	}
	last, err := n.cfg.Log.LastIndex()
	if err != nil || m.GetCommit() <= last {
		return err
	}
	return fmt.Errorf("this member's log ends at %d, and it has acknowledged entries up to %d and more to the leader, member %x: its directory is older than that, a copy that was put back, or a disk that lost what it had synced. Move the directory aside and start with an empty one, if a majority of the other voters is well: they bring it up to date", last, m.GetCommit(), m.GetFrom())
}
