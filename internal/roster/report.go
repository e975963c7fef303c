package roster

import (
	"encoding/binary"
	"errors"
)

// Report is what a member tells the leader of its connections, several times
// in the shortest session timeout.
type Report struct {
	// FirstTerm is the first term in which the member's process knew a leader:
	// what was attached before, it has never seen.
	FirstTerm uint64
	// Applied is the index up to which Open and Gone know of attachments.
	Applied uint64
	Watches int64
	// Heard are the sessions that were heard from since the last report.
	Heard []int64
	// Gone are the connections that have ended since the last report.
	Gone []Seat
	// Full: Open lists every connection that a session is attached through. It
	// comes at the beginning, and now and then in case a report was lost.
	Full bool
	Open []Seat
}

// Seat is one attachment of a session.
type Seat struct {
	Session int64
	Epoch   uint32
}

const (
	reportVersion = 1
	reportHead    = 1 + 1 + 3*8 + 3*4
	seatSize      = 12
)

// Append encodes the report: version, full, FirstTerm, Applied, Watches, the
// three lengths, and the lists.
func (r *Report) Append(b []byte) []byte {
	be := binary.BigEndian
	full := byte(0)
	if r.Full {
		full = 1
	}
	b = append(b, reportVersion, full)
	for _, v := range []uint64{r.FirstTerm, r.Applied, uint64(r.Watches)} {
		b = be.AppendUint64(b, v)
	}
	for _, n := range []int{len(r.Heard), len(r.Gone), len(r.Open)} {
		b = be.AppendUint32(b, uint32(n))
	}
	for _, id := range r.Heard {
		b = be.AppendUint64(b, uint64(id))
	}
	for _, list := range [][]Seat{r.Gone, r.Open} {
		for _, s := range list {
			b = be.AppendUint64(b, uint64(s.Session))
			b = be.AppendUint32(b, s.Epoch)
		}
	}
	return b
}

// ErrReport is returned for bytes that are no report.
var ErrReport = errors.New("roster: not a report of a member's connections")

// DecodeReport decodes a report.
func DecodeReport(b []byte) (*Report, error) {
	be := binary.BigEndian
	if len(b) < reportHead || b[0] != reportVersion || b[1] > 1 {
		return nil, ErrReport
	}
	r := &Report{Full: b[1] == 1, FirstTerm: be.Uint64(b[2:]), Applied: be.Uint64(b[10:]), Watches: int64(be.Uint64(b[18:]))}
	heard, gone, open := uint64(be.Uint32(b[26:])), uint64(be.Uint32(b[30:])), uint64(be.Uint32(b[34:]))
	b = b[reportHead:]
	if uint64(len(b)) != 8*heard+seatSize*(gone+open) {
		return nil, ErrReport
	}
	r.Heard = make([]int64, heard)
	for i := range r.Heard {
		r.Heard[i] = int64(be.Uint64(b))
		b = b[8:]
	}
	seats := func(n uint64) []Seat {
		list := make([]Seat, n)
		for i := range list {
			list[i] = Seat{int64(be.Uint64(b)), be.Uint32(b[8:])}
			b = b[seatSize:]
		}
		return list
	}
	r.Gone, r.Open = seats(gone), seats(open)
	return r, nil
}
