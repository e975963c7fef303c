package zooconfig

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// MaxServerID is the largest number of a server. ZooKeeper puts it into one
// byte of its session ids and documents 1 to 255; 0 works there as well.
const MaxServerID = 255

// Server is one server line: server.ID=host:peer:election[:role][;client].
type Server struct {
	// ID is the N of server.N, 0 to 255.
	ID int
	// Host is a name or an IP literal without brackets. Never empty.
	Host string
	// PeerPort and ElectionPort are 1 to 65535 and differ.
	PeerPort     int
	ElectionPort int
	// Observer is true if the server has no vote.
	Observer bool
	// ClientHost and ClientPort are the client address of the line. If it
	// gives only a port, the host is 0.0.0.0; if it gives none, they are ""
	// and 0.
	ClientHost string
	ClientPort int
	// Line is the value as it was written.
	Line string
}

// String renders the line as ZooKeeper does in /zookeeper/config: the role is
// always there, the client address only if the line has one, and an IPv6
// address in brackets with all its eight groups.
func (s Server) String() string {
	role := "participant"
	if s.Observer {
		role = "observer"
	}
	line := fmt.Sprintf("server.%d=%s:%d:%d:%s", s.ID, javaHost(s.Host), s.PeerPort, s.ElectionPort, role)
	if s.ClientPort != 0 {
		line += fmt.Sprintf(";%s:%d", javaHost(s.ClientHost), s.ClientPort)
	}
	return line
}

// javaHost renders a host as Java prints a socket address.
func javaHost(host string) string {
	ip, err := netip.ParseAddr(host)
	if err != nil || !ip.Is6() {
		return host
	}
	b := ip.As16()
	var groups [8]string
	for i := range groups {
		groups[i] = strconv.FormatUint(uint64(b[2*i])<<8|uint64(b[2*i+1]), 16)
	}
	text := strings.Join(groups[:], ":")
	if ip.Zone() != "" {
		text += "%" + ip.Zone()
	}
	return "[" + text + "]"
}

const serverForm = "a server line is host:peerPort:electionPort[:participant|observer][;[host:]clientPort], an IPv6 address in brackets"

// parseServer reads the value of server.id. Of several addresses separated by
// | it takes the first and counts the others in more; all of them are checked.
func parseServer(id int, line string) (s Server, more int, err error) {
	parts := splitJava(line, ";")
	if len(parts) == 0 || len(parts) > 2 {
		return s, 0, errors.New(serverForm)
	}
	s = Server{ID: id, Line: line}
	role := ""
	for i, addr := range splitJava(parts[0], "|") {
		one, r, err := parseMember(addr)
		if err != nil {
			return s, 0, err
		}
		if i == 0 {
			s.Host, s.PeerPort, s.ElectionPort = one.Host, one.PeerPort, one.ElectionPort
		}
		if r != "" && role != "" && r != role {
			return s, 0, fmt.Errorf("its addresses have different roles, %s and %s", role, r)
		}
		if r != "" {
			role = r
		}
		more = i
	}
	if s.Host == "" {
		return s, 0, errors.New(serverForm)
	}
	s.Observer = role == "observer"
	if len(parts) == 2 {
		if s.ClientHost, s.ClientPort, err = parseClient(parts[1]); err != nil {
			return s, 0, err
		}
	}
	return s, more, nil
}

// parseMember reads host:peerPort:electionPort[:role].
func parseMember(text string) (s Server, role string, err error) {
	f, err := splitAddress(text)
	if err != nil {
		return s, "", err
	}
	if len(f) < 3 || len(f) > 4 {
		return s, "", errors.New(serverForm)
	}
	if s.Host, err = parseHost(f[0]); err != nil {
		return s, "", err
	}
	if s.PeerPort, err = parsePort(f[1]); err != nil {
		return s, "", err
	}
	if s.ElectionPort, err = parsePort(f[2]); err != nil {
		return s, "", err
	}
	if s.PeerPort == s.ElectionPort {
		return s, "", fmt.Errorf("the peer port and the election port are both %d; they must differ", s.PeerPort)
	}
	if len(f) == 4 {
		role = strings.ToLower(f[3])
		if role != "participant" && role != "observer" {
			return s, "", fmt.Errorf("%q is no role; allowed: participant, observer", f[3])
		}
	}
	return s, role, nil
}

// parseClient reads [host:]port.
func parseClient(text string) (host string, port int, err error) {
	f, err := splitAddress(text)
	if err != nil {
		return "", 0, err
	}
	host = "0.0.0.0"
	switch len(f) {
	case 1:
	case 2:
		if host, err = parseHost(f[0]); err != nil {
			return "", 0, err
		}
	default:
		return "", 0, errors.New(serverForm)
	}
	port, err = parsePort(f[len(f)-1])
	return host, port, err
}

// splitAddress splits at colons; a first field in brackets is kept whole.
func splitAddress(text string) ([]string, error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), "[")
	if !ok {
		return splitJava(text, ":"), nil
	}
	host, rest, ok := strings.Cut(rest, "]")
	if !ok {
		return nil, fmt.Errorf("%q has a [ without its ]", text)
	}
	if !strings.HasPrefix(rest, ":") {
		return nil, fmt.Errorf("%q needs a : and a port after the ]", text)
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.Is6() {
		return nil, fmt.Errorf("[%s] is not an IPv6 address", host)
	}
	return append([]string{host}, splitJava(rest[1:], ":")...), nil
}

// splitJava splits as Java's String.split: empty fields at the end do not
// count. The fields are trimmed.
func splitJava(s, sep string) []string {
	f := strings.Split(s, sep)
	for i := range f {
		f[i] = strings.TrimSpace(f[i])
	}
	for len(f) > 0 && f[len(f)-1] == "" {
		f = f[:len(f)-1]
	}
	return f
}

func parsePort(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 65535 {
		return 0, fmt.Errorf("%q is no port; allowed: 1 to 65535", s)
	}
	return n, nil
}

// parseHost checks a host name or IP literal and returns it without brackets,
// an IP literal in its shortest form. Whether a name resolves is not asked.
func parseHost(s string) (string, error) {
	bare := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		bare = s[1 : len(s)-1]
	}
	if ip, err := netip.ParseAddr(bare); err == nil {
		return ip.Unmap().String(), nil
	}
	labels := strings.Split(strings.TrimSuffix(s, "."), ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.HasPrefix(l, "-") || strings.Trim(strings.ToLower(l), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", fmt.Errorf("%q is neither a host name nor an IP address", s)
		}
	}
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return "", fmt.Errorf("%q is not a complete IPv4 address", s)
	}
	if len(s) > 254 {
		return "", fmt.Errorf("a host name has at most 253 characters, not %d", len(s))
	}
	return s, nil
}

// listenHost turns the wildcard addresses into the empty host; see Config.
func listenHost(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		return ""
	}
	return host
}

// ErrServerNumber is in ParseServer's error for a number that is out of range.
var ErrServerNumber = errors.New("is no number of a server")

// ParseServer reads what stands behind "server.N=". Of several addresses the
// first is taken.
func ParseServer(id int, line string) (Server, error) {
	if id < 0 || id > MaxServerID {
		return Server{}, fmt.Errorf("%d %w; allowed: 0 to %d", id, ErrServerNumber, MaxServerID)
	}
	s, _, err := parseServer(id, line)
	return s, err
}
