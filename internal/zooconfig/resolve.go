package zooconfig

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// candidate is a value offered for a setting. The highest rank wins, and
// among equals the last, as in Java.
type candidate struct {
	entry
	rank int
}

// Ranks of the places a value comes from, see the type java.
const (
	rankFlagOther = iota // a -D flag under a second name
	rankFlag
	rankFileOther // a key of the file under a second name
	rankFile
	rankBareFlag // a -D flag of a bare property
)

const prefix = "zookeeper."

// fileRank tells whether key, in the file, means s.
func (s *setting) fileRank(key string) (rank int, ok bool) {
	if key == s.name || s.alias != "" && key == s.alias {
		return rankFile, true
	}
	if base, cut := strings.CutPrefix(key, prefix); cut && (s.java == prefixed || s.java == bare) {
		return rankFileOther, base == s.name || s.alias != "" && base == s.alias
	}
	return 0, false
}

// flagRank tells whether key, as a system property, means s.
func (s *setting) flagRank(key string) (rank int, ok bool) {
	base, cut := strings.CutPrefix(key, prefix)
	switch {
	case s.java == own:
		return rankFlag, key == s.name
	case s.java == bare && key == s.name:
		return rankBareFlag, true
	case s.java == prefixed && cut && base == s.name:
		return rankFlag, true
	case s.java == bare && cut && base == s.name,
		s.java == prefixed && cut && s.alias != "" && base == s.alias,
		s.property != "" && key == s.property:
		return rankFlagOther, true
	}
	return 0, false
}

// resolve makes a draft from the defaults, the entries of the file and the
// system properties. What remains to be checked is what ties keys together.
func (r *report) resolve(file, flags []entry) *draft {
	d := &draft{given: map[string]origin{}, wrong: map[string]bool{}}
	offers := make([][]candidate, len(settings))
	for _, e := range r.lastOfEach(file) {
		if !offer(offers, e, (*setting).fileRank) {
			r.unsettled(d, e)
		}
	}
	for _, e := range r.lastOfEach(flags) {
		if !offer(offers, e, (*setting).flagRank) {
			r.unsettledFlag(e)
		}
	}
	for i := range settings {
		s := &settings[i]
		if s.def != "" {
			if _, err := s.set(d, s.def); err != nil {
				panic(fmt.Sprintf("zooconfig: default of %s: %v", s.name, err))
			}
		}
		if len(offers[i]) > 0 {
			r.apply(d, s, offers[i])
		}
	}
	return d
}

// lastOfEach keeps the last entry of every key, as Java does, and names the
// repetitions within a file.
func (r *report) lastOfEach(entries []entry) []entry {
	last := map[string]int{}
	for i, e := range entries {
		if first, ok := last[e.key]; ok && e.at.line != 0 {
			r.warn(e.at, "%s was set at %s before; the last one counts", e.key, entries[first].at)
		}
		last[e.key] = i
	}
	var out []entry
	for i, e := range entries {
		if last[e.key] == i {
			out = append(out, e)
		}
	}
	return out
}

func offer(offers [][]candidate, e entry, rank func(*setting, string) (int, bool)) bool {
	for i := range settings {
		if n, ok := rank(&settings[i], e.key); ok {
			offers[i] = append(offers[i], candidate{e, n})
			return true
		}
	}
	return false
}

func (r *report) apply(d *draft, s *setting, offers []candidate) {
	win := offers[0]
	for _, c := range offers[1:] {
		if c.rank >= win.rank {
			win = c
		}
	}
	for _, c := range offers {
		if c.value != win.value && c.key != win.key {
			r.warn(c.at, "%s is overridden by %s at %s", c.key, win.key, win.at)
		} else if c.value != win.value && c.at.source != win.at.source {
			r.warn(c.at, "%s is overridden at %s", c.key, win.at)
		}
	}
	d.given[s.name] = win.at
	err := leadingZero(s, win.value)
	note := ""
	if err == nil {
		note, err = s.set(d, win.value)
	}
	shown := "=" + win.value
	if s.secret {
		shown = " (value not shown)"
	}
	switch {
	case err != nil:
		d.wrong[s.name] = true
		r.fail(win.at, "%s%s: %w; allowed: %s (%s)", win.key, shown, err, s.allowed, s.typ)
	case note != "":
		r.warn(win.at, "%s%s: %s", win.key, shown, note)
	}
	if !isASCII(win.value) {
		r.warn(win.at, "%s%s: a configuration is read as ISO-8859-1, as Java does; write other characters as \\uXXXX", win.key, shown)
	}
}

// leadingZero refuses a number of which Java would make an octal one, while
// whoever wrote it hardly meant that.
func leadingZero(s *setting, v string) error {
	v = strings.TrimLeft(v, "+-")
	if s.number && s.java != fileOnly && s.java != own && len(v) > 1 && v[0] == '0' && v[1] >= '0' && v[1] <= '9' {
		return errors.New("to ZooKeeper a leading 0 means octal; write it in decimal without the 0")
	}
	return nil
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > 127 }) < 0
}

// unsettled deals with a key of the file that is no setting.
func (r *report) unsettled(d *draft, e entry) {
	if strings.HasPrefix(e.key, "server.") || e.key == "version" {
		d.members = append(d.members, e)
		return
	}
	base := strings.TrimPrefix(e.key, prefix)
	if r.refuse(e, base) {
		return
	}
	if isGroup(e.key) {
		d.members = append(d.members, e)
	}
	if u, ok := findUnused(base); ok {
		r.warn(e.at, "%s is not used: %s", e.key, u.doc)
		return
	}
	r.warn(e.at, "%s is not used: %s", e.key, hint(base))
}

// unsettledFlag deals with a -D flag that is no setting. Properties that are
// not ZooKeeper's are nobody's business.
func (r *report) unsettledFlag(e entry) {
	base, cut := strings.CutPrefix(e.key, prefix)
	if cut && r.refuse(e, base) {
		return
	}
	u, ok := findUnused(base)
	if !cut {
		for _, u := range unusedKeys {
			if u.property == e.key {
				r.warn(e.at, "-D%s is not used: %s", e.key, u.doc)
			}
		}
		return
	}
	if ok {
		r.warn(e.at, "-D%s is not used: %s", e.key, u.doc)
		return
	}
	r.warn(e.at, "-D%s is not used: %s", e.key, hint(base))
}

// hint says what an unknown key may have been meant for.
func hint(key string) string {
	for i := range settings {
		if s := &settings[i]; strings.EqualFold(s.name, key) {
			return fmt.Sprintf("unknown key; did you mean a line %s= in the configuration file?", s.name)
		}
	}
	return "unknown key"
}

// refuse reports a key that asks for protection which there is none of. It
// returns true if the key is one of those, harmless or not.
func (r *report) refuse(e entry, base string) bool {
	k, ok := findRefused(base)
	if !ok {
		return false
	}
	if slices.Contains(k.harmless, strings.ToLower(e.value)) {
		return true
	}
	if why, ok := k.warned[strings.ToLower(e.value)]; ok {
		r.warn(e.at, "%s=%s is not used: %s", e.key, e.value, why)
		return true
	}
	shown := "=" + e.value
	if strings.Contains(strings.ToLower(e.key), "password") {
		shown = " (value not shown)"
	}
	r.fail(e.at, "%s%s: %s, and to start all the same would silently take protection away; to accept that, remove the key%s", e.key, shown, k.doc, k.orSet())
	return true
}

// orSet names the value that turns a refused key off, where there is one.
func (k refusedKey) orSet() string {
	switch {
	case strings.HasSuffix(k.name, "*"):
	case slices.Contains(k.harmless, "false"):
		return ", or set it to false"
	case slices.Contains(k.harmless, "0"):
		return ", or set it to 0"
	case slices.Contains(k.harmless, "true"):
		return ", or set it to true"
	}
	return ""
}

// isGroup is true for the keys of hierarchical quorums.
func isGroup(key string) bool {
	return strings.HasPrefix(key, "group") || strings.HasPrefix(key, "weight")
}
