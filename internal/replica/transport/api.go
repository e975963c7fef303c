package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// Handler receives what other members send. Its methods are called on the
// transport's goroutines, concurrently for different streams. A method that
// blocks holds up the one stream it was called for, and, through the bounds of
// the connection, its sender; it must return soon after the owner has decided
// to call Close, which waits for it. No method may call Close, SetPeers or
// SetIdentity.
type Handler interface {
	// Raft delivers a raft message. The message and all that it points to
	// belong to the handler; the entries of one message share memory, so
	// whoever keeps a part of one for long copies it.
	Raft(from uint64, m *raftpb.Message)
	// Forward delivers client operations for the leader. batch is valid
	// during the call only.
	Forward(from uint64, batch []byte)
	// Report delivers a session report. payload is valid during the call only.
	Report(from uint64, payload []byte)
	// Delivered follows when everything that has arrived on a stream has been
	// delivered by Raft and Forward: what came together is dealt with together.
	Delivered()
	// Snapshot receives a snapshot: the MsgSnap that announces it, and its
	// content. body ends with io.EOF only if all of it has arrived; any other
	// end is an error. Returning nil acknowledges: the snapshot is durable here.
	Snapshot(from uint64, m *raftpb.Message, body io.Reader) error
	// Call answers a request from a process that need not be a member of
	// anything yet. payload is valid during the call only. The text of an
	// error is sent to the caller.
	Call(remote net.Addr, kind byte, payload []byte) (reply []byte, err error)

	// PeerConnected: both streams to this peer stand. Whatever was sent to it
	// before this call may have been lost.
	PeerConnected(id uint64)
	// PeerLost: a stream to this peer has broken, or could not be made. refused
	// says that its process is gone and not merely slow: a dial was refused, a
	// stream was reset, it said that it was stopping, or another process
	// answers in its place (then PeerConnected follows). May be called a second
	// time, with refused set, when that becomes known.
	PeerLost(id uint64, err error, refused bool)
	// Unreachable: raft messages for this peer were dropped or are lost with a
	// broken stream; for RawNode.ReportUnreachable. Also called from within
	// Send, on the caller's goroutine: it must not block.
	Unreachable(id uint64)
}

// Sender is what a member does with a transport. *Transport implements it over
// TCP; a simulation has its own.
type Sender interface {
	Send(msgs []*raftpb.Message)
	Forward(to uint64, batch []byte) bool
	Report(to uint64, payload []byte) bool
	SendSnapshot(to uint64, m *raftpb.Message, body io.Reader) error
	Call(ctx context.Context, addr string, kind byte, payload []byte) ([]byte, error)
	SetPeers(peers map[uint64]string)
	SetIdentity(clusterID [16]byte, memberID uint64)
	Status() []PeerStatus
	Close() error
}

// Options configure a Transport. Zero fields get the defaults named here.
type Options struct {
	// Listen is the address for the peer port, "host:port". Listener, if set,
	// is used instead; the transport closes it.
	Listen   string
	Listener net.Listener

	// ClusterID and MemberID are this member's identity, zero before it has
	// one; see SetIdentity.
	ClusterID [16]byte
	MemberID  uint64

	// Handler is required.
	Handler Handler

	// Dial opens a connection to a peer's address; it resolves names each time.
	// Default: a net.Dialer.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// ServerTLS and ClientTLS, if set, give the configuration for accepted and for
	// dialled connections; they are asked anew for each. The client's names the
	// server, or verifies by itself whom it has met.
	ServerTLS, ClientTLS func() *tls.Config

	// Admit, if set, may refuse the streams of a member by returning an error;
	// its text is the reason that the member is given ("removed from the
	// ensemble"). It must not block.
	Admit func(from uint64) error

	// Logger defaults to slog.Default().
	Logger *slog.Logger

	// SilenceTimeout is how long a stream may be silent before it is closed.
	// Default 5 s.
	SilenceTimeout time.Duration
	// HandshakeTimeout bounds dialling and hello together, and on the accepting
	// side everything up to the end of the hello. Default 2 s, never more than
	// SilenceTimeout.
	HandshakeTimeout time.Duration
	// MaxFrame bounds one frame, and so one raft message, in bytes. It has to
	// exceed raft's MaxSizePerMsg plus the largest entry. Default 64 MiB.
	MaxFrame int
	// MaxCall bounds the payload of a call and of its reply. Default 1 MiB.
	MaxCall int
	// QueueBytes bounds what waits for one peer's data stream, what is being
	// written included; the control stream has a sixteenth of it. What exceeds
	// it is dropped, and costs raft a probe: it should be twice what raft may
	// have in flight to a follower, or more. Default 16 MiB.
	QueueBytes int
	// MaxPending bounds accepted connections whose hello has not been read;
	// above it, the oldest of them is closed. Default 64.
	MaxPending int
	// MaxCalls bounds the calls being answered at a time. Default 32.
	MaxCalls int
	// MaxStreams bounds the incoming streams of identified members. Default 256.
	MaxStreams int
	// Jitter spreads a backoff; default: uniform between half of d and d.
	Jitter func(d time.Duration) time.Duration
}

// PeerStatus is what a member knows about its streams to a peer.
type PeerStatus struct {
	ID   uint64
	Addr string
	// Connected: both streams stand.
	Connected bool
	Control   StreamStatus
	Data      StreamStatus
	// Incoming: this peer has a control stream to us.
	Incoming bool
}

// StreamStatus describes one outgoing stream.
type StreamStatus struct {
	Connected bool
	// Since is when it was connected or lost; zero if it was never connected.
	Since time.Time
	// RTT is the last ping's round trip; zero before the first.
	RTT time.Duration
	// QueuedBytes wait to be written.
	QueuedBytes int
	// Totals since the peer was set.
	Frames, Bytes, Dropped, Dials uint64
	// LastError is why it last broke or could not be made, empty if never.
	LastError string
}

// Kind is what a stream is for.
type Kind byte

const (
	KindControl  Kind = 1
	KindData     Kind = 2
	KindSnapshot Kind = 3
	KindCall     Kind = 4
)

func (k Kind) String() string {
	switch k {
	case KindControl:
		return "control"
	case KindData:
		return "data"
	case KindSnapshot:
		return "snapshot"
	case KindCall:
		return "call"
	}
	return fmt.Sprintf("kind %d", byte(k))
}

// RefusalCode says why a member refused a hello or closed a stream.
type RefusalCode byte

const (
	// RefusedVersion: it does not speak this version of the protocol.
	RefusedVersion RefusalCode = 1
	// RefusedNoEnsemble: it is not a member of anything yet.
	RefusedNoEnsemble RefusalCode = 2
	// RefusedCluster: it is a member of another cluster.
	RefusedCluster RefusalCode = 3
	// RefusedMember: it is not the member that was called, or the caller
	// claims its very id.
	RefusedMember RefusalCode = 4
	// RefusedAdmit: Options.Admit said so.
	RefusedAdmit RefusalCode = 5
	// RefusedBusy: one of its bounds is reached.
	RefusedBusy RefusalCode = 6
	// RefusedProtocol: what it was sent makes no sense.
	RefusedProtocol RefusalCode = 7
	// ClosedReplaced: a newer stream of the same member took the place.
	ClosedReplaced RefusalCode = 8
	// ClosedSilent: nothing was heard for too long.
	ClosedSilent RefusalCode = 9
	// ClosedStopping: the member is stopping.
	ClosedStopping RefusalCode = 10
	// ClosedIdentity: the member has taken on another identity.
	ClosedIdentity RefusalCode = 11
)

// RefusedError is a refusal or a farewell that a member sent, with its reason.
type RefusedError struct {
	Code   RefusalCode
	Reason string
}

func (e *RefusedError) Error() string { return "the peer refused: " + e.Reason }

// CallError is the error that the called member's handler returned.
type CallError struct{ Reason string }

func (e *CallError) Error() string { return e.Reason }

var (
	// ErrClosed: the transport is closed.
	ErrClosed = errors.New("transport: closed")
	// ErrUnknownPeer: no address was set for the member.
	ErrUnknownPeer = errors.New("transport: no address is known for this member")
	// ErrRestarted: another process answers in the place of the one before.
	ErrRestarted = errors.New("the peer's process was replaced by another")
	// ErrNoIdentity: this member is not a member of an ensemble yet.
	ErrNoIdentity = errors.New("transport: this process has no identity in an ensemble yet")
)
