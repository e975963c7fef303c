package server

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/base64"
	"hash"
	"strings"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/metrics"
	"github.com/conclave-dev/conclave/internal/statemachine"
)

// auth handles an auth request: it is answered at once, and takes effect for
// everything that the client sends after it. What the client has proven goes
// into the log, numbered like a write, so that writes are judged by it on
// every member; the secret itself does not. Replies say nothing of the state:
// their zxid is 0. The caller holds c.mu.
func (s *Server) auth(c *Conn, xid int32, body []byte) {
	var req jute.AuthRequest
	d := jute.NewDecoder(body)
	req.Decode(&d)
	ids, ok := s.prove(c, &req)
	if d.Err() != nil || !ok {
		s.opt.Metrics.AuthFailures.Inc()
		s.opt.Logger.Warn("connection closed: authentication failed", "session", sessionID(c.session), "client", c.addr, "scheme", clip(req.Scheme))
		c.reply(xid, 0, jute.ErrAuthFailed)
		s.end(c, metrics.ClosedAuthFailed)
		return
	}
	for _, id := range ids {
		if containsID(c.ids, id) {
			continue
		}
		c.ids = append(c.ids, id)
		if c.moved {
			continue // it writes no more
		}
		s.submit(c, pending{xid: xid, op: jute.OpAuth, write: true, quiet: true, start: s.opt.Now()}, jute.OpAuth, statemachine.AuthBody(id))
	}
	c.reply(xid, 0, jute.OK)
}

// clip shortens what a client has sent for the log.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

func containsID(ids []jute.ID, id jute.ID) bool {
	for i := range ids {
		if ids[i] == id {
			return true
		}
	}
	return false
}

// prove returns the identities that an auth request shows.
func (s *Server) prove(c *Conn, req *jute.AuthRequest) ([]jute.ID, bool) {
	switch req.Scheme {
	case "digest":
		digest, ok := s.digest(string(req.Auth))
		if !ok || req.Auth == nil {
			return nil, false
		}
		ids := []jute.ID{{Scheme: "digest", ID: digest}}
		if s.opt.SuperDigest != "" && digest == s.opt.SuperDigest {
			ids = append([]jute.ID{{Scheme: "super"}}, ids...)
		}
		return ids, true
	case "ip":
		// The client's address is known without asking.
		return []jute.ID{{Scheme: "ip", ID: c.ip}}, true
	}
	return nil, false
}

// digestHashes are the hashes that DigestAuthenticationProvider.digestAlg names.
var digestHashes = map[string]func() hash.Hash{
	"SHA1": sha1.New, "SHA-224": sha256.New224, "SHA-256": sha256.New, "SHA-384": sha512.New384, "SHA-512": sha512.New,
	"SHA3-224": func() hash.Hash { return sha3.New224() }, "SHA3-256": func() hash.Hash { return sha3.New256() },
	"SHA3-384": func() hash.Hash { return sha3.New384() }, "SHA3-512": func() hash.Hash { return sha3.New512() },
}

// digest turns user:password into user:base64(hash(user:password)). As in
// ZooKeeper a secret without a colon is a user's, too.
func (s *Server) digest(secret string) (string, bool) {
	user, _, _ := strings.Cut(secret, ":")
	newHash := digestHashes[s.opt.DigestAlg]
	if newHash == nil {
		return "", false
	}
	h := newHash()
	h.Write([]byte(secret))
	return user + ":" + base64.StdEncoding.EncodeToString(h.Sum(nil)), true
}
