package zooconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// readMembers takes the server lines and the version from the file or, if it
// names one, from the dynamic configuration file. It returns false if they are
// not complete because something is wrong.
func (r *report) readMembers(d *draft, env Env) bool {
	before := len(r.problems)
	if at, ok := d.given["dynamicConfigFile"]; ok {
		for _, e := range d.members {
			if e.key != "version" {
				r.fail(e.at, "%s=%s: with dynamicConfigFile (%s) this line must stand in that file", e.key, e.value, at)
			}
		}
		d.members = nil
		if d.dynamicFile != "" {
			r.readDynamic(d, at, env)
		}
	}
	byID := map[int]entry{}
	for _, e := range d.members {
		switch number, ok := strings.CutPrefix(e.key, "server."); {
		case ok:
			r.addServer(d, byID, number, e)
		case e.key == "version":
			v, err := strconv.ParseUint(e.value, 16, 63)
			if err != nil {
				r.fail(e.at, "version=%s: not a version; allowed: a hexadecimal number of at most 63 bits", e.value)
			}
			d.ConfigVersion = v
		}
	}
	slices.SortFunc(d.Servers, func(a, b Server) int { return a.ID - b.ID })
	r.checkAddresses(d, byID)
	return len(r.problems) == before && !d.wrong["dynamicConfigFile"]
}

// readDynamic reads the file with the server lines. Its version is that of
// its name, as ZooKeeper writes it, or else of a line version=, as early
// releases of 3.5 did.
func (r *report) readDynamic(d *draft, at origin, env Env) {
	text, err := env.read(d.dynamicFile)
	if err != nil {
		r.fail(at, "dynamicConfigFile=%s: %w; allowed: a file with the server lines", d.dynamicFile, err)
		return
	}
	r.sources = slices.Insert(r.sources, 1, d.dynamicFile)
	entries, problems := parseProperties(d.dynamicFile, text)
	r.problems = append(r.problems, problems...)
	var version *entry
	for _, e := range r.lastOfEach(trimmed(entries)) {
		switch {
		case strings.HasPrefix(e.key, "server."):
			d.members = append(d.members, e)
		case e.key == "version":
			version = &e
		case isGroup(e.key):
			u, _ := findUnused("group.*")
			r.warn(e.at, "%s is not used: %s", e.key, u.doc)
		default:
			r.fail(e.at, "%s: only server lines belong into a dynamic configuration file; move the key to %s", e.key, at.source)
		}
	}
	if v := versionOfName(d.dynamicFile); v != "" {
		if version != nil {
			r.warn(version.at, "version is overridden by the name of the file")
		}
		version = &entry{"version", v, origin{source: d.dynamicFile}}
	}
	if version != nil {
		d.members = append(d.members, *version)
	}
}

// versionOfName is the hexadecimal number after the last dot of a file's name,
// or empty.
func versionOfName(file string) string {
	name := filepath.Base(file)
	i := strings.LastIndexByte(name, '.')
	if _, err := strconv.ParseUint(name[i+1:], 16, 63); i < 0 || err != nil {
		return ""
	}
	return name[i+1:]
}

func (r *report) addServer(d *draft, byID map[int]entry, number string, e entry) {
	id, err := strconv.Atoi(number)
	if err != nil || id < 0 || id > MaxServerID {
		r.fail(e.at, "%s=%s: %q is no number of a server; allowed: 1 to %d", e.key, e.value, number, MaxServerID)
		return
	}
	if other, ok := byID[id]; ok {
		r.fail(e.at, "%s=%s: server %d has a line at %s already", e.key, e.value, id, other.at)
		return
	}
	s, more, err := parseServer(id, e.value)
	if err != nil {
		r.fail(e.at, "%s=%s: %w", e.key, e.value, err)
		return
	}
	if more > 0 {
		r.warn(e.at, "%s has %d addresses: only the first, %s, is used", e.key, more+1, address(s.Host, s.PeerPort))
	}
	byID[id] = e
	d.Servers = append(d.Servers, s)
}

// checkAddresses refuses two servers with one address: at most one of them
// could ever be there.
func (r *report) checkAddresses(d *draft, byID map[int]entry) {
	owner := map[string]int{}
	for _, s := range d.Servers {
		for _, port := range []int{s.PeerPort, s.ElectionPort} {
			a := strings.ToLower(address(s.Host, port))
			if first, ok := owner[a]; ok {
				e := byID[s.ID]
				r.fail(e.at, "%s=%s: %s belongs to server.%d already (%s)", e.key, e.value, a, first, byID[first].at)
				break
			}
			owner[a] = s.ID
		}
	}
}

// settleEnsemble decides whether this server stands alone, which one of the
// servers it is, and what follows from that.
func (r *report) settleEnsemble(d *draft, env Env) {
	before := len(r.problems)
	voters, observers := d.Voters(), len(d.Servers)-d.Voters()
	d.Standalone = d.standaloneEnabled && voters <= 1
	standaloneAt := d.given["standaloneEnabled"]
	switch {
	case voters == 0 && observers > 0:
		r.fail(r.top(), "all %d servers are observers: at least one must be a participant", observers)
	case voters == 0 && !d.standaloneEnabled:
		r.fail(standaloneAt, "standaloneEnabled=false needs at least one server line with a participant")
	case d.Standalone && observers > 0:
		r.fail(r.top(), "one participant with %d observers needs standaloneEnabled=false: a standalone server serves no observers", observers)
	}
	if len(r.problems) > before || d.DataDir == "" {
		return // who this server is cannot be said
	}
	id, found := r.readMyID(d, env)
	if len(r.problems) > before {
		return
	}
	switch {
	case found:
		d.MyID = id
	case d.Standalone && len(d.Servers) == 1:
		d.MyID = d.Servers[0].ID
	case d.Standalone:
		d.MyID = 1
	}
	r.settleSelf(d, found)
}

// readMyID reads the number of this server from its data directory. Without
// the file an ensemble of several cannot be entered.
func (r *report) readMyID(d *draft, env Env) (id int, found bool) {
	file := filepath.Join(d.DataDir, "myid")
	text, err := env.read(file)
	if errors.Is(err, fs.ErrNotExist) {
		if !d.Standalone {
			r.fail(r.top(), "%s is missing: the configuration names servers %s; write the number of this one into the file, for example: echo %d > %s",
				file, d.serverIDs(), d.Servers[0].ID, file)
		}
		return 0, false
	}
	if err != nil {
		r.fail(r.top(), "%s cannot be read: %w", file, err)
		return 0, false
	}
	line, _ := cutLine(text)
	id, err = strconv.Atoi(strings.TrimSpace(string(line)))
	if err != nil || id < 0 || id > MaxServerID {
		r.fail(r.top(), "%s says %.40q, which is no number of a server; allowed: 1 to %d, alone on the first line", file, line, MaxServerID)
		return 0, false
	}
	if _, ok := d.member(id); !ok && !d.Standalone {
		r.fail(r.top(), "%s says %d, but the configuration names servers %s only: correct the file, or add a line server.%d=host:peerPort:electionPort on every server",
			file, id, d.serverIDs(), id)
		return 0, false
	} else if !ok && len(d.Servers) > 0 {
		r.warn(r.top(), "%s says %d, but the only server line is that of server.%d; a standalone server ignores it", file, id, d.Servers[0].ID)
	}
	return id, true
}

func (d *draft) member(id int) (Server, bool) {
	for _, s := range d.Servers {
		if s.ID == id {
			return s, true
		}
	}
	return Server{}, false
}

func (d *draft) serverIDs() string {
	var ids []string
	for _, s := range d.Servers {
		ids = append(ids, strconv.Itoa(s.ID))
	}
	return strings.Join(ids, ", ")
}

// settleSelf applies this server's own line. byFile tells that the myid file
// named it.
func (r *report) settleSelf(d *draft, byFile bool) {
	self, ok := d.Self()
	d.Observer = ok && self.Observer
	role := "participant"
	if d.Observer {
		role = "observer"
	}
	if at, given := d.given["peerType"]; given && d.peerType != role {
		r.warn(at, "peerType=%s is overridden by the server lines, by which this server is: %s", d.peerType, role)
	}
	r.settleClientAddress(d, self, byFile)
	d.PeerAddress = ""
	if !d.Standalone {
		d.PeerAddress = address(listenHost(self.Host), self.PeerPort)
		if d.quorumListenOnAllIPs {
			d.PeerAddress = address("", self.PeerPort)
		}
		if d.peerAddress != "" {
			d.PeerAddress = d.peerAddress
		}
	}
}

// settleClientAddress takes the client address from the file or the server
// line. If both have one they must agree, as in ZooKeeper; a server line that
// no myid file points at only fills the gap.
func (r *report) settleClientAddress(d *draft, self Server, byFile bool) {
	portAt := d.given["clientPort"]
	addrAt, addrGiven := d.given["clientPortAddress"]
	if d.wrong["clientPort"] || d.wrong["clientPortAddress"] {
		return
	}
	if addrGiven && d.clientPort == 0 {
		r.fail(addrAt, "clientPortAddress is set, but clientPort is not")
		return
	}
	d.ClientHost, d.ClientPort = d.clientPortAddress, d.clientPort
	if self.ClientPort == 0 {
		if d.ClientPort == 0 {
			r.fail(r.top(), "no client could connect: set clientPort, or append ;port to the server line of this server")
		}
		return
	}
	line := fmt.Sprintf("the client address of server.%d (%s)", self.ID, address(self.ClientHost, self.ClientPort))
	host := listenHost(self.ClientHost)
	if d.clientPort != 0 && (d.clientPort != self.ClientPort || differ(d.clientPortAddress, host)) {
		if !byFile {
			r.warn(portAt, "%s is overridden by clientPort", line)
			return
		}
		r.fail(portAt, "clientPort and clientPortAddress (%s) contradict %s; remove one of them", address(d.clientPortAddress, d.clientPort), line)
		return
	}
	d.ClientHost, d.ClientPort = host, self.ClientPort
}

// differ reports whether the address of the file certainly is another one than
// that of the server line. An address for all interfaces agrees with any; a
// name may mean any IP address, and names are not resolved here.
func differ(file, line string) bool {
	if file == "" || strings.EqualFold(file, line) {
		return false
	}
	_, err1 := netip.ParseAddr(file)
	_, err2 := netip.ParseAddr(line)
	return line == "" || err1 == nil && err2 == nil
}
