package zooconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
)

// LoadAwaiting is Load for a member that is told by others which ensemble it
// belongs to: its configuration names no server but itself. self is its server
// line, with or without "server.N=" in front, for a file that all members share;
// empty if the file has it, with standaloneEnabled=false. Without a number it is
// that of the myid file, or else one more than the ordinal at the end of the
// host's first label, as a StatefulSet names its pods (zk-0 is server.1), and
// offset: with 100, the pods of a second StatefulSet are server.101 and so on.
//
// A host that is a name need not resolve yet, and may come to mean another
// address: the member then listens on all addresses, unless the file has
// quorumListenOnAllIPs.
func LoadAwaiting(path, self string, offset int, env Env) (*Config, []string, error) {
	if self != "" {
		var err error
		if env, err = withSelf(path, self, offset, env); err != nil {
			return nil, nil, err
		}
	}
	c, warnings, err := Load(path, env)
	if err != nil {
		return nil, warnings, err
	}
	if len(c.Servers) != 1 || c.Standalone {
		return nil, warnings, fmt.Errorf("%s: a member that waits to be told its ensemble has a server line for itself and no other (with standaloneEnabled=false), and there are %d: servers that name each other form their ensemble by themselves", path, len(c.Servers))
	}
	return c, warnings, nil
}

// withSelf returns env with the member's own line behind the file at path, and
// its number in the myid file.
func withSelf(path, self string, offset int, env Env) (Env, error) {
	text, err := env.read(path)
	if err != nil {
		return env, fmt.Errorf("configuration file: %w", err)
	}
	number, line := "", self
	if rest, ok := strings.CutPrefix(self, "server."); ok {
		if number, line, ok = strings.Cut(rest, "="); !ok {
			return env, fmt.Errorf("%q: a server line has the form server.N=host:peerPort:electionPort;clientPort", self)
		}
	}
	// The directory for myid is in the file; everything else of it is judged
	// when the whole is read.
	entries, _ := parseProperties(path, text)
	var myid string
	listen := ""
	if host, _, _ := strings.Cut(line, ":"); !isAddress(host) {
		listen = "quorumListenOnAllIPs=true\n"
	}
	for _, e := range trimmed(entries) {
		switch {
		case e.key == "dataDir":
			myid = filepath.Join(e.value, "myid")
		case e.key == "quorumListenOnAllIPs":
			listen = ""
		case strings.HasPrefix(e.key, "server."):
			return env, fmt.Errorf("%v: %s=%s: a member that waits to be told its ensemble is given its own line alone", e.at, e.key, e.value)
		}
	}
	if number == "" {
		switch have, err := env.read(myid); {
		case err == nil:
			line1, _ := cutLine(have)
			number = strings.TrimSpace(string(line1))
		case !errors.Is(err, fs.ErrNotExist):
			return env, err
		default:
			if number, err = numberOfPod(line, offset); err != nil {
				return env, err
			}
		}
	}
	text = fmt.Appendf(text, "\n%sstandaloneEnabled=false\nserver.%s=%s\n", listen, number, line)
	inner := env.ReadFile
	env.ReadFile = func(name string) ([]byte, error) {
		switch name {
		case path:
			return text, nil
		case myid:
			return []byte(number), nil
		}
		return inner(name)
	}
	return env, nil
}

// isAddress reports whether a server line's host is an IP address; an IPv6
// address is in brackets, and cut off at its first colon.
func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil || strings.HasPrefix(host, "[")
}

func numberOfPod(line string, offset int) (string, error) {
	host, _, _ := strings.Cut(line, ":")
	label, _, _ := strings.Cut(host, ".")
	ordinal, err := strconv.ParseUint(label[strings.LastIndexByte(label, '-')+1:], 10, 16)
	if err != nil || !strings.Contains(label, "-") {
		return "", fmt.Errorf("%q: the server's number is not known: there is no myid file, and %q does not end in an ordinal as a pod's name does; write server.N= in front", line, label)
	}
	n := offset + int(ordinal) + 1
	if offset < 0 || n > MaxServerID {
		return "", fmt.Errorf("%q: ordinal %d and offset %d make server.%d; allowed: an offset of 0 or more, and numbers up to %d", line, ordinal, offset, n, MaxServerID)
	}
	return strconv.Itoa(n), nil
}
