package formation

// Kinds of transport calls that this package's messages travel in.
const (
	// CallFormation carries a Request, answered with a Reply.
	CallFormation byte = 1
	// CallJoin carries a JoinRequest, answered with a JoinReply.
	CallJoin byte = 2
)

// JoinRequest asks an ensemble to take a member in: as a learner, promoted to
// voter once it has caught up, or to stay an observer.
type JoinRequest struct {
	N uint64
	// MemberID is the raft id that the member will have: random, made for this
	// data directory, never used before.
	MemberID uint64
	// PeerAddr is where its transport listens, ClientAddr where it serves
	// clients (may be empty); both "host:port".
	PeerAddr   string
	ClientAddr string
	Observer   bool
	// ClusterID is the ensemble it wants to join, zero if it does not know.
	ClusterID ClusterID
}

// JoinReply answers a JoinRequest.
type JoinReply struct {
	// Accepted: the member is part of the configuration, committed.
	Accepted bool
	// ClusterID is the ensemble of the one that answered, zero if it has none.
	ClusterID ClusterID
	// LeaderAddr is whom to ask, if the one that answered is not the leader and
	// knows it; "" otherwise.
	LeaderAddr string
	// Peers are the members' ids and peer addresses; set if Accepted.
	Peers []Peer
	// Reason says why not; for a person to read.
	Reason string
}

// Peer is a member's raft id and the address of its transport.
type Peer struct {
	ID   uint64
	Addr string
}

const (
	formatJoinRequest byte = 0x31
	formatJoinReply   byte = 0x32
)

// Encode returns the request's encoding.
func (r *JoinRequest) Encode() []byte {
	b := []byte{formatJoinRequest, bit(r.Observer, 0)}
	b = appendUint(b, r.N)
	b = appendUint(b, r.MemberID)
	b = appendString(b, r.PeerAddr, MaxAddr)
	b = appendString(b, r.ClientAddr, MaxAddr)
	return append(b, r.ClusterID[:]...)
}

// DecodeJoinRequest is the inverse of Encode.
func DecodeJoinRequest(p []byte) (*JoinRequest, error) {
	d := newDecoder("join request", p, formatJoinRequest)
	flags := d.byte()
	r := &JoinRequest{Observer: flags&1 != 0}
	r.N = d.uint()
	r.MemberID = d.uint()
	r.PeerAddr = d.string(MaxAddr)
	r.ClientAddr = d.string(MaxAddr)
	d.bytes(r.ClusterID[:])
	d.flags(flags, 1)
	return r, d.finish()
}

// Encode returns the reply's encoding.
func (r *JoinReply) Encode() []byte {
	b := []byte{formatJoinReply, bit(r.Accepted, 0)}
	b = append(b, r.ClusterID[:]...)
	b = appendString(b, r.LeaderAddr, MaxAddr)
	b = appendUint(b, uint64(len(r.Peers)))
	for _, p := range r.Peers {
		b = appendUint(b, p.ID)
		b = appendString(b, p.Addr, MaxAddr)
	}
	return appendString(b, r.Reason, MaxReason)
}

// DecodeJoinReply is the inverse of Encode.
func DecodeJoinReply(p []byte) (*JoinReply, error) {
	d := newDecoder("join reply", p, formatJoinReply)
	flags := d.byte()
	r := &JoinReply{Accepted: flags&1 != 0}
	d.bytes(r.ClusterID[:])
	r.LeaderAddr = d.string(MaxAddr)
	for range d.count(maxPeers) {
		r.Peers = append(r.Peers, Peer{ID: d.uint(), Addr: d.string(MaxAddr)})
	}
	r.Reason = d.string(MaxReason)
	d.flags(flags, 1)
	return r, d.finish()
}

// maxPeers bounds the peers in a JoinReply: voters, vacant seats and observers
// of the largest configuration, with room for replacements under way.
const maxPeers = 4 * MaxServers
