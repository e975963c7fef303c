package formation

import (
	"cmp"
	"fmt"
)

// Ballot orders the proposals. It carries the proposer's whole identity: a
// proposer that has lost its disk does not remember which rounds it has used,
// and must not use one of them again for another value.
type Ballot struct {
	Round uint64
	By    Identity
}

// Compare is negative if b is before o.
func (b Ballot) Compare(o Ballot) int {
	return cmp.Or(cmp.Compare(b.Round, o.Round), cmp.Compare(b.By.N, o.By.N), cmp.Compare(b.By.MemberID, o.By.MemberID))
}

// IsZero: no ballot.
func (b Ballot) IsZero() bool { return b == Ballot{} }

func (b Ballot) String() string { return fmt.Sprintf("%d by %v", b.Round, b.By) }

// Op is what a request asks.
type Op byte

const (
	// OpProbe asks who is there and what it has. It changes nothing.
	OpProbe Op = 1
	// OpPrepare asks for the promise to ignore earlier ballots.
	OpPrepare Op = 2
	// OpAccept asks to accept the value.
	OpAccept Op = 3
	// OpDecide says that the value is decided.
	OpDecide Op = 4
)

func (o Op) String() string {
	switch o {
	case OpProbe:
		return "probe"
	case OpPrepare:
		return "prepare"
	case OpAccept:
		return "accept"
	case OpDecide:
		return "decide"
	}
	return fmt.Sprintf("op %d", byte(o))
}

// Request is what a proposer asks an acceptor.
type Request struct {
	Op   Op
	From Identity
	// To is the server that the sender believes it is calling.
	To uint64
	// Servers is the sender's configuration.
	Servers []Server
	// Ballot, for OpPrepare and OpAccept.
	Ballot Ballot
	// Seats, for OpPrepare: the voters that have answered the proposer, by the
	// ids they have now.
	Seats []Identity
	// Value, for OpAccept and OpDecide.
	Value *Value
}

// Code classifies a reply.
type Code byte

const (
	// CodeOK: done as asked; for OpPrepare it is the promise.
	CodeOK Code = 0
	// CodeBallot: a later ballot has been promised.
	CodeBallot Code = 1
	// CodeSameN: caller and callee are different members of the same name.
	CodeSameN Code = 2
	// CodeWrongServer: another server than the one that was called.
	CodeWrongServer Code = 3
	// CodeServersDiffer: their lists of servers are not the same.
	CodeServersDiffer Code = 4
	// CodeNotFounder: the value does not name this member, on this disk.
	CodeNotFounder Code = 5
	// CodeRefused: anything else that should not have been asked.
	CodeRefused Code = 6
	maxCode          = CodeRefused
)

// Reply answers a Request. It says, whatever was asked, what the member has.
type Reply struct {
	Code Code
	// Reason is for a person to read; empty if Code is CodeOK.
	Reason string
	From   Identity
	// Servers is the member's configuration; empty if it has none.
	Servers []Server
	// Promised and Accepted are ballots, zero for none; Value is the value
	// accepted, or decided.
	Promised, Accepted Ballot
	Value              *Value
	// Decided: Value is decided, and this member is one of its founders.
	Decided bool
	// Seats are the ids that this member has learned for the voters' names,
	// the first for each name.
	Seats []Identity
	// ClusterID is the ensemble that this member belongs to, zero for none.
	ClusterID ClusterID
}

// State is what an acceptor has promised; it is durable before any answer that
// follows from it.
type State struct {
	// Self is whose state it is.
	Self Identity
	// Servers is the configuration under which the first promise was made.
	Servers []Server
	// Invariant: Accepted <= Promised.
	Promised, Accepted Ballot
	// Value is what was accepted in Accepted, or what was decided.
	Value *Value
	// Decided: Value is decided. It names Self, and never changes again.
	Decided bool
	// Seats holds, for each voter's name, the first id that a proposal named it
	// by. It is never replaced: a different id means a lost disk, or two
	// processes of one name.
	Seats []Identity
}

const (
	formatRequest byte = 0x11
	formatReply   byte = 0x21
	formatState   byte = 0x41
)

// Encode returns the request's encoding.
func (r *Request) Encode() []byte {
	b := []byte{formatRequest, byte(r.Op), bit(r.Value != nil, 0)}
	b = appendIdentity(b, r.From)
	b = appendUint(b, r.To)
	b = appendServers(b, r.Servers)
	b = appendBallot(b, r.Ballot)
	b = appendIdentities(b, r.Seats)
	return appendValue(b, r.Value)
}

// DecodeRequest is the inverse of Encode.
func DecodeRequest(p []byte) (*Request, error) {
	d := newDecoder("request", p, formatRequest)
	r := &Request{Op: Op(d.byte())}
	flags := d.byte()
	r.From = d.identity()
	r.To = d.uint()
	r.Servers = d.servers()
	r.Ballot = d.ballot()
	r.Seats = d.identities()
	r.Value = d.value(flags&1 != 0)
	d.flags(flags, 1)
	if r.Op < OpProbe || r.Op > OpDecide {
		d.fail("unknown operation %d", r.Op)
	}
	return r, d.finish()
}

// Encode returns the reply's encoding.
func (r *Reply) Encode() []byte {
	b := []byte{formatReply, byte(r.Code), bit(r.Value != nil, 0) | bit(r.Decided, 1)}
	b = appendString(b, r.Reason, MaxReason)
	b = appendIdentity(b, r.From)
	b = appendServers(b, r.Servers)
	b = appendBallot(b, r.Promised)
	b = appendBallot(b, r.Accepted)
	b = appendIdentities(b, r.Seats)
	b = append(b, r.ClusterID[:]...)
	return appendValue(b, r.Value)
}

// DecodeReply is the inverse of Encode.
func DecodeReply(p []byte) (*Reply, error) {
	d := newDecoder("reply", p, formatReply)
	r := &Reply{Code: Code(d.byte())}
	flags := d.byte()
	r.Decided = flags&2 != 0
	r.Reason = d.string(MaxReason)
	r.From = d.identity()
	r.Servers = d.servers()
	r.Promised = d.ballot()
	r.Accepted = d.ballot()
	r.Seats = d.identities()
	d.bytes(r.ClusterID[:])
	r.Value = d.value(flags&1 != 0)
	d.flags(flags, 2)
	if r.Code > maxCode {
		d.fail("unknown code %d", r.Code)
	}
	d.accepted(r.Accepted, r.Decided, r.Value)
	return r, d.finish()
}

// Encode returns the state's encoding.
func (s *State) Encode() []byte {
	b := []byte{formatState, bit(s.Value != nil, 0) | bit(s.Decided, 1)}
	b = appendIdentity(b, s.Self)
	b = appendServers(b, s.Servers)
	b = appendBallot(b, s.Promised)
	b = appendBallot(b, s.Accepted)
	b = appendIdentities(b, s.Seats)
	return appendValue(b, s.Value)
}

// DecodeState is the inverse of Encode.
func DecodeState(p []byte) (*State, error) {
	d := newDecoder("stored state", p, formatState)
	flags := d.byte()
	s := &State{Decided: flags&2 != 0}
	s.Self = d.identity()
	s.Servers = d.servers()
	s.Promised = d.ballot()
	s.Accepted = d.ballot()
	s.Seats = d.identities()
	s.Value = d.value(flags&1 != 0)
	d.flags(flags, 2)
	d.accepted(s.Accepted, s.Decided, s.Value)
	return s, d.finish()
}

// accepted: what is accepted or decided is there.
func (d *decoder) accepted(in Ballot, decided bool, v *Value) {
	if v == nil && (decided || !in.IsZero()) {
		d.fail("a value is accepted or decided, but it is missing")
	}
}

func appendIdentity(b []byte, i Identity) []byte { return appendUint(appendUint(b, i.N), i.MemberID) }

func (d *decoder) identity() Identity { return Identity{N: d.uint(), MemberID: d.uint()} }

func appendBallot(b []byte, x Ballot) []byte { return appendIdentity(appendUint(b, x.Round), x.By) }

func (d *decoder) ballot() Ballot { return Ballot{Round: d.uint(), By: d.identity()} }

func appendIdentities(b []byte, list []Identity) []byte {
	b = appendUint(b, uint64(len(list)))
	for _, i := range list {
		b = appendIdentity(b, i)
	}
	return b
}

func (d *decoder) identities() (list []Identity) {
	for range d.count(MaxServers) {
		list = append(list, d.identity())
	}
	return list
}

func appendServers(b []byte, servers []Server) []byte {
	b = appendUint(b, uint64(len(servers)))
	for _, s := range servers {
		b = append(b, bit(s.Observer, 0))
		b = appendUint(b, s.N)
		b = appendString(b, s.Addr, MaxAddr)
	}
	return b
}

func (d *decoder) servers() (list []Server) {
	for range d.count(MaxServers) {
		flags := d.byte()
		d.flags(flags, 1)
		list = append(list, Server{Observer: flags&1 != 0, N: d.uint(), Addr: d.string(MaxAddr)})
	}
	return list
}

func appendValue(b []byte, v *Value) []byte {
	if v == nil {
		return b
	}
	b = append(b, v.ClusterID[:]...)
	b = appendUint(b, uint64(v.FoundedAt))
	b = appendUint(b, uint64(len(v.Voters)))
	for _, s := range v.Voters {
		b = append(b, bit(s.Vacant, 0))
		b = appendUint(b, s.N)
		b = appendUint(b, s.ID)
		b = appendString(b, s.Addr, MaxAddr)
	}
	return b
}

func (d *decoder) value(present bool) *Value {
	if !present {
		return nil
	}
	v := &Value{}
	d.bytes(v.ClusterID[:])
	v.FoundedAt = int64(d.uint())
	for range d.count(MaxServers) {
		flags := d.byte()
		d.flags(flags, 1)
		v.Voters = append(v.Voters, Voter{Vacant: flags&1 != 0, N: d.uint(), ID: d.uint(), Addr: d.string(MaxAddr)})
	}
	return v
}
