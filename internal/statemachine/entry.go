package statemachine

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/session"
)

// A raft entry is a batch: a header, then operations, each with its own
// length, so that batches of several members are joined by concatenation.
//
//	entry  = version:u8 time:i64 op*
//	op     = length:u32 origin:u8 rest
//	rest   = session:i64 epoch:u32 seq:u64 flags:u8 opcode:i32 body   (origin session)
//	       | member:u64 boot:u64 seq:u64 kind:u8 body                 (origin member)
//	       | kind:u8 body                                             (origin leader)
//
// The body of a session's operation is the client's request as it came off the
// wire: nobody encodes it twice.

const entryVersion = 1

// HeaderSize is the size of a batch's header in bytes.
const HeaderSize = 9

// Origins of an operation.
const (
	originSession byte = 1
	originMember  byte = 2
	originLeader  byte = 3
)

// Kinds of a member's operations.
const (
	memberCreateSession byte = 1
	memberAttach        byte = 2
)

// Kinds of the leader's operations.
const (
	leaderExpire byte = 1
	leaderReap   byte = 2
)

// Flags of a session's operation.
const (
	// FlagSkipACL carries the origin's skipACL setting.
	FlagSkipACL byte = 1 << 0
	// FlagEnforceQuota carries the origin's enforceQuota setting.
	FlagEnforceQuota byte = 1 << 1
)

// AppendHeader begins a batch. now is the leader's clock in milliseconds since
// the Unix epoch: the only time that Apply knows.
func AppendHeader(b []byte, now int64) []byte {
	b = append(b, entryVersion)
	return binary.BigEndian.AppendUint64(b, uint64(now))
}

func beginOp(b []byte, origin byte) ([]byte, int) {
	mark := len(b)
	return append(b, 0, 0, 0, 0, origin), mark
}

func endOp(b []byte, mark int) []byte {
	binary.BigEndian.PutUint32(b[mark:], uint32(len(b)-mark-4))
	return b
}

// SessionOp names one write of a session.
type SessionOp struct {
	Session int64
	Epoch   uint32
	Seq     uint64
	Flags   byte
	Op      jute.OpCode
}

// AppendSessionOp appends a client's request, body as it came off the wire.
func AppendSessionOp(b []byte, h SessionOp, body []byte) []byte {
	b, mark := beginOp(b, originSession)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Session))
	b = binary.BigEndian.AppendUint32(b, h.Epoch)
	b = binary.BigEndian.AppendUint64(b, h.Seq)
	b = append(b, h.Flags)
	b = binary.BigEndian.AppendUint32(b, uint32(h.Op))
	b = append(b, body...)
	return endOp(b, mark)
}

// AuthBody is the body of a session's auth operation: an identity that the
// session's member has verified. Secrets stay outside the log.
func AuthBody(id jute.ID) []byte {
	return jute.AppendString(jute.AppendString(nil, id.Scheme), id.ID)
}

// MemberOp names one operation of a member itself.
type MemberOp struct {
	Member uint64
	// Boot rises with every start of the member.
	Boot uint64
	Seq  uint64
}

func appendMember(b []byte, h MemberOp, kind byte) ([]byte, int) {
	b, mark := beginOp(b, originMember)
	b = binary.BigEndian.AppendUint64(b, h.Member)
	b = binary.BigEndian.AppendUint64(b, h.Boot)
	b = binary.BigEndian.AppendUint64(b, h.Seq)
	return append(b, kind), mark
}

// AppendCreateSession asks for a new session attached to the member. id and
// password are random; an id that is taken is refused, and the member asks
// again with another.
func AppendCreateSession(b []byte, h MemberOp, id int64, password [session.PasswordSize]byte, timeout int32, client, ip string) []byte {
	b, mark := appendMember(b, h, memberCreateSession)
	b = jute.AppendInt64(b, id)
	b = append(b, password[:]...)
	b = jute.AppendInt32(b, timeout)
	b = jute.AppendString(b, client)
	b = jute.AppendString(b, ip)
	return endOp(b, mark)
}

// AppendAttach asks to attach an existing session to the member.
func AppendAttach(b []byte, h MemberOp, id int64, password []byte, timeout int32, client, ip string) []byte {
	b, mark := appendMember(b, h, memberAttach)
	b = jute.AppendInt64(b, id)
	b = jute.AppendBuffer(b, password)
	b = jute.AppendInt32(b, timeout)
	b = jute.AppendString(b, client)
	b = jute.AppendString(b, ip)
	return endOp(b, mark)
}

// AppendExpire ends a session for silence, as the leader saw it: void if the
// session was attached anew since (epoch has moved).
func AppendExpire(b []byte, id int64, epoch uint32) []byte {
	b, mark := beginOp(b, originLeader)
	b = append(b, leaderExpire)
	b = jute.AppendInt64(b, id)
	b = jute.AppendInt32(b, int32(epoch))
	return endOp(b, mark)
}

// AppendReap removes a container or TTL node if, when it is applied, its time
// has come. neverUsed is ZooKeeper's znode.container.maxNeverUsedIntervalMs,
// 0 for never: how long a container without a first child may stand.
func AppendReap(b []byte, path string, neverUsed int64) []byte {
	b, mark := beginOp(b, originLeader)
	b = append(b, leaderReap)
	b = jute.AppendInt64(b, neverUsed)
	b = jute.AppendString(b, path)
	return endOp(b, mark)
}

// ErrEntry is wrapped by every error for an entry that Apply can't read.
var ErrEntry = errors.New("statemachine: unreadable entry")

// CountOps returns how many operations a batch without its header holds, or an
// error if it is not a sequence of whole operations. Leaders check what
// members forward before they put it into the log.
func CountOps(batch []byte) (int, error) {
	n := 0
	for off := 0; off < len(batch); n++ {
		if len(batch)-off < 5 {
			return n, fmt.Errorf("%w: %d stray bytes at offset %d", ErrEntry, len(batch)-off, off)
		}
		l := int(binary.BigEndian.Uint32(batch[off:]))
		if l < 1 || l > len(batch)-off-4 {
			return n, fmt.Errorf("%w: operation of %d bytes at offset %d, %d left", ErrEntry, l, off, len(batch)-off-4)
		}
		off += 4 + l
	}
	return n, nil
}
