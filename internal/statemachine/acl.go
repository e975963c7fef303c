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
		if acl[i].Perms&perm != 0 && isAnyone(acl[i].ID) {
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
	if !ok {
		return false
	}
	p, err := base.Prefix(bits)
	return err == nil && p.Contains(addr)
}

// parseIPExpr reads what an ACL says of addresses: one of them, and how many of
// its bits count.
func parseIPExpr(expr string) (netip.Addr, int, bool) {
	base, mask, masked := strings.Cut(expr, "/")
	addr, ok := parseIP(base)
	if !ok || !masked {
		return addr, addr.BitLen(), ok
	}
	bits, err := strconv.Atoi(mask)
	if err != nil || bits < 0 || bits > addr.BitLen() {
		return netip.Addr{}, 0, false
	}
	return addr, bits, true
}

// parseIP reads an address. Of IPv4 it takes what ZooKeeper takes: four numbers
// as Java reads them, leading zeros and all ("010" is ten, not eight). IPv6
// came to ZooKeeper with ZOOKEEPER-4240, after 3.9.
func parseIP(s string) (netip.Addr, bool) {
	if strings.IndexByte(s, ':') >= 0 {
		addr, err := netip.ParseAddr(s)
		return addr, err == nil && addr.Zone() == ""
	}
	var b [4]byte
	for i := range b {
		part, rest, more := strings.Cut(s, ".")
		v, err := strconv.ParseInt(part, 10, 32)
		if err != nil || v < 0 || v > 255 || more != (i < 3) {
			return netip.Addr{}, false
		}
		b[i], s = byte(v), rest
	}
	return netip.AddrFrom4(b), true
}

func validID(id jute.ID) bool {
	switch id.Scheme {
	case "digest":
		// user:hash. Java's split, by which ZooKeeper counts the parts, drops
		// empty ones at the end.
		return strings.Count(strings.TrimRight(id.ID, ":"), ":") == 1
	case "ip":
		_, _, ok := parseIPExpr(id.ID)
		return ok
	}
	return false
}

// maxExpanded bounds what the auth entries of one ACL become, in bytes. Nobody
// could read a longer ACL (jute.maxbuffer), and without a bound a request of
// a megabyte would make gigabytes of it.
const maxExpanded = 1 << 20

// FixupACL turns the ACL of a request into the one that is stored: repeated
// entries go, scheme auth becomes the identities that the caller has proven,
// and anything that no provider knows is InvalidACL. As in ZooKeeper, what auth
// becomes may repeat another entry. Neither slices nor strings of the result
// are its own.
func FixupACL(acl []jute.ACL, ids []jute.ID) ([]jute.ACL, jute.ErrCode) {
	if len(acl) == 0 {
		return nil, jute.ErrInvalidACL
	}
	if len(acl) == 1 && (isAnyone(acl[0].ID) || validID(acl[0].ID)) {
		return acl, jute.OK
	}
	out := make([]jute.ACL, 0, len(acl))
	repeats := repeatFinder(acl)
	expanded := 0
	for i, a := range acl {
		switch {
		case repeats(i):
		case isAnyone(a.ID) || validID(a.ID):
			out = append(out, a)
		case a.ID.Scheme == "auth":
			known := len(out)
			for _, id := range ids {
				// An address is no authentication, and super is nobody's name:
				// ZooKeeper has no provider for it.
				if id.Scheme == "digest" {
					out = append(out, jute.ACL{Perms: a.Perms, ID: id})
					expanded += len(id.Scheme) + len(id.ID)
				}
			}
			if len(out) == known || expanded > maxExpanded {
				return nil, jute.ErrInvalidACL
			}
		default:
			return nil, jute.ErrInvalidACL
		}
	}
	return out, jute.OK
}

// repeatFinder returns what tells, asked once for each entry in order, whether
// an entry has been there before. A request has room for a hundred thousand.
func repeatFinder(acl []jute.ACL) func(i int) bool {
	if len(acl) <= 32 {
		return func(i int) bool { return slices.Contains(acl[:i], acl[i]) }
	}
	seen := make(map[jute.ACL]struct{}, len(acl))
	return func(i int) bool {
		_, repeated := seen[acl[i]]
		seen[acl[i]] = struct{}{}
		return repeated
	}
}

func isAnyone(id jute.ID) bool { return id.Scheme == "world" && id.ID == "anyone" }

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
