package server

import (
	"testing"
	"time"
)

// A session that is attached anew, or heard from, between the leader's finding
// it due and its naming the attachment must not be expired under its new
// attachment's number.
func TestExpiryIsDecidedOnOneState(t *testing.T) {
	newOrderly(t)
	r := newRig(t, 3, nil)
	leader := r.leader.srv
	c := r.newClient("c")
	c.connect(r.members[1], c.hello())
	r.commit()
	c.link.hangUp()

	due := func() []int64 {
		r.now += c.timeout + time.Second
		leader.clockMu.Lock()
		defer leader.clockMu.Unlock()
		return leader.clock.Due(r.now, 10)
	}
	proposed := func(ids []int64) bool {
		r.leader.leading = nil
		leader.expire(r.now, ids)
		return len(r.leader.leading) > 0
	}

	ids := due()
	c.connect(r.members[2], c.hello())
	r.commit()
	if len(ids) != 1 || proposed(ids) {
		t.Errorf("sessions %v, due before session %d was attached anew, are proposed for expiry", ids, c.session)
	}

	ids = due()
	leader.clockMu.Lock()
	leader.clock.Touch(r.now, c.session)
	leader.clockMu.Unlock()
	if len(ids) != 1 || proposed(ids) {
		t.Errorf("sessions %v, due before session %d was heard from, are proposed for expiry", ids, c.session)
	}

	if ids = due(); len(ids) != 1 || !proposed(ids) {
		t.Errorf("sessions %v are not proposed for expiry, though session %d is silent", ids, c.session)
	}
}
