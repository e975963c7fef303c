package formation

import (
	"encoding/hex"
	"fmt"
	"slices"
)

// Bounds of what is encoded and decoded. A list of servers that exceeds them
// is refused by Config.Validate.
const (
	// MaxServers bounds the server lines: ZooKeeper's myid is 1..255.
	MaxServers = 255
	// MaxAddr bounds an address, in bytes: a DNS name has at most 253, a port 5.
	MaxAddr = 320
	// MaxReason bounds the text of a refusal, in bytes; longer ones are cut.
	MaxReason = 2048
	// MaxMessage bounds an encoded message or state, in bytes.
	MaxMessage = 1 << 20
)

// ClusterID names an ensemble: 16 random bytes, never all zero.
type ClusterID [16]byte

func (c ClusterID) String() string { return hex.EncodeToString(c[:]) }

// IsZero says that no ensemble is named.
func (c ClusterID) IsZero() bool { return c == ClusterID{} }

// Identity is who a member is: its name in the configuration, and the random
// id that was written into its data directory when that was first used. A
// member that has lost its disk comes back under the same name with another id.
type Identity struct {
	N        uint64
	MemberID uint64
}

func (i Identity) String() string { return fmt.Sprintf("server.%d (member %x)", i.N, i.MemberID) }

// Server is one server.N line, as far as the members must agree on it.
type Server struct {
	N uint64
	// Addr is where its transport listens, "host:peerPort".
	Addr     string
	Observer bool
}

func (s Server) String() string {
	if s.Observer {
		return fmt.Sprintf("server.%d=%s:observer", s.N, s.Addr)
	}
	return fmt.Sprintf("server.%d=%s", s.N, s.Addr)
}

// Voter is one seat of the founding configuration.
type Voter struct {
	N uint64
	// ID is the raft id. It is the member id of the server that took part.
	ID   uint64
	Addr string
	// Vacant: the server did not answer when the ensemble was founded. Its seat
	// counts, under a random id that no member holds and none may ever use:
	// without it, three founders of five would be an ensemble of three, which
	// two could go on with, while three others, one of them on a new disk,
	// might found a second one. The server joins as a learner under its own id,
	// and its promotion removes the vacant id in the same change of membership.
	Vacant bool
}

// Value is what a formation decides, once and for all.
type Value struct {
	ClusterID ClusterID
	// Voters has one seat for every configured voter, ascending by N. A majority
	// of them are not vacant.
	Voters []Voter
	// FoundedAt is the proposer's clock, in milliseconds since 1970.
	FoundedAt int64
}

// Seat returns the seat of server n.
func (v *Value) Seat(n uint64) (Voter, bool) {
	for _, s := range v.Voters {
		if s.N == n {
			return s, true
		}
	}
	return Voter{}, false
}

// Names reports whether exactly this member, on this disk, is a founder.
func (v *Value) Names(who Identity) bool {
	s, ok := v.Seat(who.N)
	return ok && !s.Vacant && s.ID == who.MemberID
}

// Equal compares two values.
func (v *Value) Equal(o *Value) bool {
	if v == nil || o == nil {
		return v == o
	}
	return v.ClusterID == o.ClusterID && v.FoundedAt == o.FoundedAt && slices.Equal(v.Voters, o.Voters)
}

// Majority is how many of n make a majority.
func Majority(n int) int { return n/2 + 1 }
