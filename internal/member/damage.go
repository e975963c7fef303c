package member

import (
	"errors"
	"fmt"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/storage"
)

// A member that can't read its data. One that was started by hand ends, and says
// why: a person has to look. One that takes orders (--await-bootstrap) stays
// and says why in its status, so that whoever gives the orders can judge whether
// the others are well enough to let it begin anew. To end again and again would
// tell him nothing.

// lostError is about files that are missing, and not to be had by trying again.
type lostError struct{ error }

func lost(format string, args ...any) error { return lostError{fmt.Errorf(format, args...)} }

// unreadable reports whether err says that what is on disk is not what was
// written there.
func unreadable(err error) bool {
	var corrupt *storage.CorruptError
	var gone lostError
	return errors.As(err, &corrupt) || errors.As(err, &gone)
}

// endure notes that the member can't read its data, if it is one that stays for
// orders; otherwise err is returned.
func (m *Member) endure(err error) error {
	if err == nil || !m.opt.AwaitBootstrap || !unreadable(err) {
		return err
	}
	m.damage.Store(&err)
	return nil
}

// refuseDamaged makes a member that can't read its data refuse to serve.
func (m *Member) refuseDamaged() {
	m.refuse(adminpb.Membership_MEMBERSHIP_UNREADABLE, m.damageReason())
}

func (m *Member) damageReason() string {
	return (*m.damage.Load()).Error() + "; if a majority of the other voters is well, " + cleanHint
}

// diskDamage describes the damage, if the member refuses to serve for it.
func (m *Member) diskDamage() (d admin.DiskHealth, ok bool) {
	err := m.damage.Load()
	if err == nil || m.standing.Load().state != adminpb.Membership_MEMBERSHIP_UNREADABLE {
		return d, false
	}
	d = admin.DiskHealth{Failed: true, Reason: (*err).Error()}
	var corrupt *storage.CorruptError
	if errors.As(*err, &corrupt) {
		d.File, d.Offset = corrupt.File, corrupt.Offset
	}
	return d, true
}

// startDamagedClean moves data aside of which nobody can tell whose it is.
func (m *Member) startDamagedClean() (movedTo string, err error) {
	suffix, err := m.dir.SetAside()
	if err != nil {
		return "", err
	}
	m.log.Warn("told to start clean: data whose identity can't be read was moved aside, and the member starts over", "suffix", suffix)
	m.startOver()
	return m.whereAside(suffix), nil
}
