package controllers

import (
	"testing"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/ensemble"
)

// What a member says when it refuses stands in a condition, for people.
func TestRefusalIsTold(t *testing.T) {
	p := &pass{}
	err := ensemble.Refuse(adminpb.RefusalReason_REFUSAL_REASON_LAGGING, "server.1: server.2 has not acknowledged anything yet")
	if err := p.done(t.Context(), err, "ScalingUp", "Promote", "server.2 becomes a voter"); err != nil {
		t.Fatal(err)
	}
	if want := "refused (LAGGING): server.1: server.2 has not acknowledged anything yet"; p.failed == nil || p.failed.Error() != want {
		t.Errorf("%v, want %q", p.failed, want)
	}
}
