package script

import "strings"

// Verbs of steps.
const (
	// Burst sends operations in one packet, a barrier before them: the member then
	// has everything that earlier steps wrote through other members.
	Burst = "burst"
	// Open opens a session at Member in a slot that has none.
	Open = "open"
	// Close sends Ops and closeSession in one packet.
	Close = "close"
	// Drop closes the connection; the session lives on.
	Drop = "drop"
	// Attach re-attaches a dropped session at Member.
	Attach = "attach"
	// Move attaches the session at Member while its connection to another member
	// is open, and then writes through the old connection.
	Move = "move"
	// Expire opens a session of its own with a short timeout at Member, sends Ops
	// through it, falls silent (How says in which way), and waits for its end.
	Expire = "expire"
	// Reap makes a node that the ensemble removes by itself, as How says, and
	// waits until it is gone.
	Reap = "reap"
	// Forge tries to get a session that is not to be had, as How says, at Member.
	Forge = "forge"
	// Greet opens a session with an unusual handshake, as How says, at Member, and
	// closes it.
	Greet = "greet"
	// Sweep reads everything below @ and below % through every member.
	Sweep = "sweep"
)

// Ways of a step that has several.
const (
	Silent  = "silent"  // Expire: the connection stays open
	Dropped = "dropped" // Expire: the connection is closed

	Container = "container" // Reap: a container whose last child goes
	TTL       = "ttl"       // Reap: a node whose time to live ends
	TTLParent = "ttlparent" // Reap: the same, held back by a child at first

	WrongPassword = "password" // Forge: a living session, wrong password
	ShortPassword = "short"    // Forge: a living session, a password of 3 bytes
	Unknown       = "unknown"  // Forge: an id that no session ever had
	Ended         = "ended"    // Forge: the last session of this slot that was closed
	FutureZxid    = "future"   // Forge: a living session, a zxid that nobody has seen
	Garbage       = "garbage"  // Forge: a frame that is no ConnectRequest

	NoTimeout       = "notimeout"  // Greet: timeout 0
	NegativeTimeout = "negative"   // Greet: timeout -1
	ShortTimeout    = "short"      // Greet: timeout 1 ms
	LongTimeout     = "long"       // Greet: timeout 2^31-1 ms
	NoPassword      = "nopassword" // Greet: an empty password
	OldClient       = "old"        // Greet: no read-only byte
	ReadOnlyClient  = "readonly"   // Greet: a read-only server would do
)

// Step is one thing that one session does, or that is done to it.
type Step struct {
	// Session is a slot, from 0.
	Session int
	Verb    string
	// Member is a member, from 1, where the verb needs one.
	Member int
	How    string
	Ops    []Op
}

// takesOps and takesHow list the verbs that have operations, or ways.
var (
	takesMember = map[string]bool{Open: true, Attach: true, Move: true, Expire: true, Forge: true, Greet: true}
	takesHow    = map[string]bool{Expire: true, Reap: true, Forge: true, Greet: true}
	takesOps    = map[string]bool{Burst: true, Close: true, Expire: true}
	plain       = map[string]bool{Drop: true, Sweep: true}
)

func isVerb(s string) bool {
	return s != Burst && (takesMember[s] || takesHow[s] || takesOps[s] || plain[s])
}

// Op is one operation. Which fields count follows from Name.
type Op struct {
	// Name is ZooKeeper's name of the operation, or "op" for the one that Code
	// names.
	Name string
	Code int32
	Path string
	// NilPath: the path has jute's length -1, which no client sends.
	NilPath bool
	Data    string
	NilData bool
	// ACL is a name from ACLs.
	ACL     string
	Mode    int32
	TTL     int64 // milliseconds
	Version int32
	Watch   bool
	// Type is a watcher type, or addWatch's mode.
	Type int32
	// Scheme and Data are what auth shows.
	Scheme string
	// Ops are the operations of a multi or multiRead.
	Ops []Op
	// Since is the relative zxid of setWatches: one of SinceX.
	Since string
	// Lists are what setWatches restores: data, exist, child, and for setWatches2
	// persistent and recursive ones.
	Lists [5][]string
	// Cut is how many bytes of the body are left out at its end; if negative, how
	// many are added.
	Cut int
}

// What setWatches may say it has seen.
const (
	SinceSeen  = "seen"  // the last zxid that the session was shown
	SinceStart = "start" // the last zxid that it was shown when it was opened
	SinceNone  = "none"  // zxid 0: everything is news
)

// Count returns how many operations the steps make the ensemble do, those
// inside a multi not counted.
func Count(steps []Step) int {
	n := 0
	for _, s := range steps {
		n += max(1, len(s.Ops))
	}
	return n
}

// Format returns the steps' text.
func Format(steps []Step) string {
	var b strings.Builder
	for _, s := range steps {
		b.WriteString(s.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// UsesQuotas reports whether any path of the steps is one of a quota's.
func UsesQuotas(steps []Step) bool {
	for _, s := range steps {
		if opsUseQuotas(s.Ops) {
			return true
		}
	}
	return false
}

func opsUseQuotas(ops []Op) bool {
	for i := range ops {
		if strings.HasPrefix(ops[i].Path, "%") || opsUseQuotas(ops[i].Ops) {
			return true
		}
	}
	return false
}
