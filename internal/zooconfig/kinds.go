package zooconfig

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// draft is a Config in the making, with the values whose meaning depends on
// other keys.
type draft struct {
	Config

	initTicks, syncTicks       int
	clientPort                 int // 0: not given
	clientPortAddress          string
	minTimeoutMs, maxTimeoutMs int // -1: not given
	electionMs                 int // 0: not given
	peerType                   string
	metricsClass               string
	peerAddress                string
	dynamicFile                string
	standaloneEnabled          bool
	quorumListenOnAllIPs       bool

	// given has the keys that were set, under the name they have in settings;
	// wrong has those of them whose value was refused.
	given map[string]origin
	wrong map[string]bool
	// members are the entries about the ensemble: server, group, weight and
	// version.
	members []entry
}

// kind is a type of value: how it is called and limited in the documentation,
// and how a text becomes a field of a draft.
type kind struct {
	typ     string
	allowed string
	// number is true if ZooKeeper reads the system property with Java's
	// Integer.decode, to which a leading 0 means octal.
	number bool
	// set checks and stores v. A note is a warning about a value that was
	// taken otherwise than written.
	set func(d *draft, v string) (note string, err error)
}

// parseWhole reads a decimal number as Java does, or a hexadecimal one (0x..),
// which Java allows in system properties.
func parseWhole(v string) (int64, error) {
	digits, base := strings.ToLower(v), 10
	if hex, ok := strings.CutPrefix(digits, "0x"); ok && !strings.HasPrefix(hex, "+") && !strings.HasPrefix(hex, "-") {
		digits, base = hex, 16
	}
	n, err := strconv.ParseInt(digits, base, 64)
	if err != nil {
		if errors.Is(err, strconv.ErrRange) {
			return 0, errors.New("out of range")
		}
		return 0, errors.New("not a whole number")
	}
	return n, nil
}

// between is a number from lo to hi in the given unit, handed to store.
func between(unit string, lo, hi int64, store func(*draft, int64)) kind {
	return kind{typ: unit, allowed: fmt.Sprintf("%d to %d", lo, hi), number: true, set: func(d *draft, v string) (string, error) {
		n, err := parseWhole(v)
		if err == nil && (n < lo || n > hi) {
			err = errors.New("out of range")
		}
		if err == nil {
			store(d, n)
		}
		return "", err
	}}
}

func whole(lo, hi int64, field func(*draft) *int) kind {
	return between("number", lo, hi, func(d *draft, n int64) { *field(d) = int(n) })
}

// atLeast is a number that ZooKeeper raises to lo, with a warning, if it is
// less.
func atLeast(lo int64, field func(*draft) *int) kind {
	k := whole(math.MinInt32, math.MaxInt32, field)
	set := k.set
	k.allowed = fmt.Sprintf("%d to %d; less counts as %d", lo, math.MaxInt32, lo)
	k.set = func(d *draft, v string) (note string, err error) {
		if _, err = set(d, v); err == nil && int64(*field(d)) < lo {
			*field(d) = int(lo)
			note = fmt.Sprintf("less than %d counts as %d", lo, lo)
		}
		return note, err
	}
	return k
}

// limit is a bound up to hi of which 0 and anything less means that there is
// none.
func limit(unit string, hi int64, store func(*draft, int64)) kind {
	k := between(unit, math.MinInt32, hi, func(d *draft, n int64) { store(d, max(n, 0)) })
	k.allowed = fmt.Sprintf("1 to %d; 0 or less: no limit", hi)
	return k
}

func bytes(lo, hi int64, field func(*draft) *int) kind {
	k := whole(lo, hi, field)
	k.typ = "bytes"
	return k
}

func millis(lo, hi int64, field func(*draft) *time.Duration) kind {
	return between("milliseconds", lo, hi, func(d *draft, n int64) { *field(d) = time.Duration(n) * time.Millisecond })
}

// timeout is a session timeout in milliseconds, -1 for the default.
func timeout(field func(*draft) *int) kind {
	k := whole(-1, math.MaxInt32, field)
	k.typ, k.allowed = "milliseconds", fmt.Sprintf("0 to %d, or -1 for the default", math.MaxInt32)
	return k
}

func ticks(field func(*draft) *int) kind {
	k := whole(1, math.MaxInt32, field)
	k.typ = "ticks"
	return k
}

// boolean is true or false in any case, as in ZooKeeper's file.
func boolean(field func(*draft) *bool) kind {
	return either("true or false", "true", "false", field)
}

// yesNo is for the properties that ZooKeeper compares with yes or no.
func yesNo(field func(*draft) *bool) kind {
	return either("yes or no", "yes", "no", field)
}

func either(typ, on, off string, field func(*draft) *bool) kind {
	return kind{typ: typ, allowed: on + ", " + off, set: func(d *draft, v string) (string, error) {
		switch {
		case strings.EqualFold(v, on):
			*field(d) = true
		case strings.EqualFold(v, off):
			*field(d) = false
		default:
			return "", fmt.Errorf("neither %s nor %s", on, off)
		}
		return "", nil
	}}
}

func oneOf(field func(*draft) *string, words ...string) kind {
	return kind{typ: "word", allowed: strings.Join(words, ", "), set: func(d *draft, v string) (string, error) {
		for _, w := range words {
			if strings.EqualFold(v, w) {
				*field(d) = w
				return "", nil
			}
		}
		return "", errors.New("unknown")
	}}
}

func path(field func(*draft) *string) kind {
	return kind{typ: "path", allowed: "a path", set: func(d *draft, v string) (string, error) {
		if v == "" || strings.ContainsRune(v, 0) {
			return "", errors.New("not a path")
		}
		*field(d) = v
		return "", nil
	}}
}

// hostKind is a host to listen on; the wildcards become "".
func hostKind(field func(*draft) *string) kind {
	return kind{typ: "host", allowed: "a host name or an IP address", set: func(d *draft, v string) (string, error) {
		h, err := parseHost(v)
		*field(d) = listenHost(h)
		return "", err
	}}
}

func port(lo int64, field func(*draft) *int) kind {
	k := whole(lo, 65535, field)
	k.typ = "port"
	return k
}

// listenAddress is host:port, the host empty for all addresses; it may be
// empty altogether.
func listenAddress(field func(*draft) *string) kind {
	return kind{typ: "host:port", allowed: "host:port or :port, an IPv6 address in brackets; or nothing", set: func(d *draft, v string) (string, error) {
		if v == "" {
			*field(d) = ""
			return "", nil
		}
		h, p, err := splitListen(v)
		*field(d) = address(h, p)
		return "", err
	}}
}

// splitListen reads host:port for listening: any host may be missing, port 0
// means any free one.
func splitListen(v string) (host string, n int, err error) {
	host, text, err := net.SplitHostPort(v)
	if err != nil {
		return "", 0, errors.New("not host:port")
	}
	if host != "" {
		if host, err = parseHost(host); err != nil {
			return "", 0, err
		}
	}
	if n, err = strconv.Atoi(text); err != nil || n < 0 || n > 65535 {
		return "", 0, fmt.Errorf("%q is no port", text)
	}
	return listenHost(host), n, nil
}

// commandURL is the path of the AdminServer's commands.
func commandURL(field func(*draft) *string) kind {
	return kind{typ: "URL path", allowed: "a path such as /commands", set: func(d *draft, v string) (string, error) {
		v = strings.TrimRight(v, "/")
		if len(v) < 2 || v[0] != '/' || strings.ContainsAny(v, "*?#% \t\\") {
			return "", errors.New("not an absolute URL path")
		}
		*field(d) = v
		return "", nil
	}}
}

// fourLetterWords are the commands of ZooKeeper 3.5 to 3.10.
var fourLetterWords = []string{"conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro",
	"mntr", "ruok", "srst", "srvr", "stat", "stmk", "wchc", "wchp", "wchs"}

// whitelist is a comma-separated list of four-letter words, or *.
func whitelist() kind {
	return kind{typ: "list", allowed: "four-letter words separated by commas, or *", set: func(d *draft, v string) (string, error) {
		words, all := []string{"srvr"}, false
		var unknown []string
		for _, w := range strings.Split(v, ",") {
			switch w = strings.TrimSpace(w); {
			case w == "":
			case w == "*":
				all = true
			case len(w) != 4 || strings.Trim(w, "abcdefghijklmnopqrstuvwxyz") != "":
				return "", fmt.Errorf("%q is not a four-letter word", w)
			default:
				if !slices.Contains(fourLetterWords, w) {
					unknown = append(unknown, w)
				}
				words = append(words, w)
			}
		}
		slices.Sort(words)
		d.FourLetterWords, d.AllFourLetterWords = slices.Compact(words), all
		if unknown != nil {
			return "no such four-letter word: " + strings.Join(unknown, ", "), nil
		}
		return "", nil
	}}
}

// text is any value; what it may be is checked together with other keys.
func text(typ, allowed string, field func(*draft) *string) kind {
	return kind{typ: typ, allowed: allowed, set: func(d *draft, v string) (string, error) {
		*field(d) = v
		return "", nil
	}}
}

// digestSizes are the hashes of the digest scheme, by ZooKeeper's default name
// or else Java's, with their length in bytes.
var digestSizes = map[string]int{
	"SHA1": 20, "SHA-224": 28, "SHA-256": 32, "SHA-384": 48, "SHA-512": 64,
	"SHA3-224": 28, "SHA3-256": 32, "SHA3-384": 48, "SHA3-512": 64,
}

// digestAlg is a hash under any name that Java has for it (SHA, SHA-1,
// SHA256). MD5 and MD2, which Java has too, are not taken: a digest made with
// them protects nothing.
func digestAlg(field func(*draft) *string) kind {
	names := slices.Sorted(maps.Keys(digestSizes))
	return kind{typ: "word", allowed: strings.Join(names, ", "), set: func(d *draft, v string) (string, error) {
		plain := strings.ToUpper(v)
		if plain == "SHA" {
			plain = "SHA1"
		}
		for _, name := range names {
			if plain == name || strings.ReplaceAll(plain, "SHA-", "SHA") == strings.ReplaceAll(name, "SHA-", "SHA") {
				*field(d) = name
				return "", nil
			}
		}
		return "", errors.New("no such hash")
	}}
}
