package statemachine

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/conclave-dev/conclave/internal/jute"
)

// CheckACL reports whether someone who has proven ids may do perm on a node
// with this ACL. An empty ACL allows everything, as ZooKeeper has it.
func CheckACL(acl []jute.ACL, perm jute.Perm, ids []jute.ID) bool {
	if len(acl) == 0 {
		return true
	}
	for i := range acl {
		if acl[i].Perms&perm != 0 && acl[i].ID.Scheme == "world" && acl[i].ID.ID == "anyone" {
			return true
		}
	}
	for i := range ids {
		if ids[i].Scheme == "super" {
			return true
		}
	}
	for i := range acl {
		if acl[i].Perms&perm == 0 {
			continue
		}
		for _, id := range ids {
			if id.Scheme == acl[i].ID.Scheme && matchID(id.Scheme, id.ID, acl[i].ID.ID) {
				return true
			}
		}
	}
	return false
}

func matchID(scheme, id, expr string) bool {
	if scheme == "ip" {
		return matchIP(id, expr)
	}
	return id == expr
}

// matchIP reports whether the address id lies in expr: an address, or
// address/bits.
func matchIP(id, expr string) bool {
	addr, err := netip.ParseAddr(id)
	if err != nil {
		return false
	}
	base, bits, ok := parseIPExpr(expr)
	if !ok || base.BitLen() != addr.BitLen() {
		return false
	}
	p, err := base.Prefix(bits)
	return err == nil && p.Contains(addr)
}

func parseIPExpr(expr string) (netip.Addr, int, bool) {
	base, mask, masked := strings.Cut(expr, "/")
	addr, err := netip.ParseAddr(base)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, 0, false
	}
	if !masked {
		return addr, addr.BitLen(), true
	}
	bits, err := strconv.Atoi(mask)
	if err != nil || bits < 0 || bits > addr.BitLen() {
		return netip.Addr{}, 0, false
	}
	return addr, bits, true
}

func validID(id jute.ID) bool {
	switch id.Scheme {
	case "digest":
		// user:hash, and nothing that would make a third part.
		user, hash, ok := strings.Cut(id.ID, ":")
		return ok && hash != "" && !strings.Contains(hash, ":") && user+hash != ""
	case "ip":
		_, _, ok := parseIPExpr(id.ID)
		return ok
	}
	return false
}

// FixupACL turns the ACL of a request into the one that is stored: duplicates
// go, scheme auth becomes the identities that the caller has proven, and
// anything that no provider knows is InvalidACL. The result shares no memory
// with its arguments' slices, but strings may still be views.
func FixupACL(acl []jute.ACL, ids []jute.ID) ([]jute.ACL, jute.ErrCode) {
	if len(acl) == 0 {
		return nil, jute.ErrInvalidACL
	}
	if len(acl) == 1 && acl[0].ID.Scheme == "world" && acl[0].ID.ID == "anyone" {
		return acl, jute.OK
	}
	out := make([]jute.ACL, 0, len(acl))
	add := func(a jute.ACL) {
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	for _, a := range acl {
		switch {
		case a.ID.Scheme == "world" && a.ID.ID == "anyone":
			add(a)
		case a.ID.Scheme == "auth":
			found := false
			for _, id := range ids {
				// An address is no authentication: ZooKeeper's ip provider
				// says of itself that it does not authenticate.
				if id.Scheme == "digest" || id.Scheme == "super" {
					found = true
				}
				if id.Scheme == "digest" {
					add(jute.ACL{Perms: a.Perms, ID: id})
				}
			}
			if !found {
				return nil, jute.ErrInvalidACL
			}
		case validID(a.ID):
			add(a)
		default:
			return nil, jute.ErrInvalidACL
		}
	}
	if len(out) == 0 {
		return nil, jute.ErrInvalidACL
	}
	return out, jute.OK
}

// MaskACL returns acl with the hashes of digest identities replaced by x, as
// getACL shows them to callers without ADMIN.
func MaskACL(acl []jute.ACL) []jute.ACL {
	out := slices.Clone(acl)
	for i := range out {
		if out[i].ID.Scheme == "digest" {
			user, _, _ := strings.Cut(out[i].ID.ID, ":")
			out[i].ID.ID = user + ":x"
		}
	}
	return out
}
