package script

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// String returns the step's text, without a line end.
func (s Step) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "s%d ", s.Session)
	ops := s.Ops
	if s.Verb == Burst {
		if len(ops) == 0 {
			b.WriteString("sync @")
			return b.String()
		}
		b.WriteString(ops[0].String())
		ops = ops[1:]
	} else {
		b.WriteString(s.Verb)
	}
	if takesMember[s.Verb] {
		fmt.Fprintf(&b, " member=%d", s.Member)
	}
	if takesHow[s.Verb] {
		b.WriteString(" how=" + s.How)
	}
	for _, op := range ops {
		b.WriteString("\n + " + op.String())
	}
	return b.String()
}

var listNames = [5]string{"data", "exist", "child", "persistent", "recursive"}

// String returns the operation's text.
func (o Op) String() string {
	b := []byte(o.Name)
	for _, f := range kinds[o.Name].fields {
		switch f {
		case fPath:
			if o.NilPath {
				b = append(b, " nopath"...)
			} else {
				b = append(append(b, ' '), word(o.Path)...)
			}
		case fData:
			if o.NilData {
				b = append(b, " nodata"...)
			} else {
				b = append(b, " data="+Quote(o.Data)...)
			}
		case fACL:
			b = append(b, " acl="+o.ACL...)
		case fMode:
			b = fmt.Appendf(b, " mode=%d", o.Mode)
		case fTTL:
			b = fmt.Appendf(b, " ttl=%d", o.TTL)
		case fVersion:
			b = fmt.Appendf(b, " version=%d", o.Version)
		case fWatch:
			if o.Watch {
				b = append(b, " watch"...)
			}
		case fType:
			b = fmt.Appendf(b, " type=%d", o.Type)
		case fScheme:
			b = append(b, " scheme="+word(o.Scheme)...)
		case fOps:
			for _, sub := range o.Ops {
				b = append(b, " ["+sub.String()+"]"...)
			}
		case fSince:
			b = append(b, " since="+o.Since...)
		case fLists:
			for i, list := range o.Lists {
				for _, path := range list {
					b = append(b, " "+listNames[i]+"="+word(path)...)
				}
			}
		case fCode:
			b = fmt.Appendf(b, " code=%d", o.Code)
		}
	}
	if o.Cut != 0 {
		b = fmt.Appendf(b, " cut=%d", o.Cut)
	}
	return string(b)
}

// Quote quotes a string; a long one that repeats a few bytes becomes "those"*n.
func Quote(s string) string {
	for unit := 1; unit <= 8 && len(s) > 40; unit++ {
		n := len(s) / unit
		if strings.Repeat(s[:unit], n) == s {
			return fmt.Sprintf("%q*%d", s[:unit], n)
		}
	}
	return strconv.Quote(s)
}

// word quotes what would not read back as one word.
func word(s string) string {
	plain := func(r rune) bool { return r > ' ' && r < 0x7f && !strings.ContainsRune(`"[]=#`, r) }
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return strconv.Quote(s)
}

// Parse reads a script.
func Parse(text string) ([]Step, error) {
	var steps []Step
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		var err error
		if rest, more := strings.CutPrefix(line, "+"); more {
			if len(steps) == 0 || !takesOps[steps[len(steps)-1].Verb] {
				return nil, fmt.Errorf("line %d: no step above takes this operation", n)
			}
			last := &steps[len(steps)-1]
			var op Op
			if op, err = parseOp(rest); err == nil {
				last.Ops = append(last.Ops, op)
			}
		} else {
			var s Step
			if s, err = parseStep(line); err == nil {
				steps = append(steps, s)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return steps, nil
}

func parseStep(line string) (Step, error) {
	var s Step
	who, rest, _ := strings.Cut(line, " ")
	session, ok := strings.CutPrefix(who, "s")
	var err error
	if s.Session, err = strconv.Atoi(session); err != nil || !ok {
		return s, fmt.Errorf("%q is no session: a step begins with one, such as s0", who)
	}
	rest = strings.TrimSpace(rest)
	verb, args, _ := strings.Cut(rest, " ")
	if !isVerb(verb) {
		s.Verb = Burst
		op, err := parseOp(rest)
		s.Ops = []Op{op}
		return s, err
	}
	s.Verb = verb
	words, err := split(args)
	for _, w := range words {
		switch {
		case w.key == "member" && takesMember[verb]:
			s.Member, err = strconv.Atoi(w.value)
		case w.key == "how" && takesHow[verb]:
			s.How = w.value
		default:
			return s, fmt.Errorf("%s does not take %q", verb, w.text())
		}
		if err != nil {
			return s, err
		}
	}
	return s, err
}

// token is one argument: a bare word (in value), key=value, or a list in
// brackets (in value, without them).
type token struct {
	key, value string
	nested     bool
}

func (t token) text() string {
	if t.key != "" {
		return t.key + "=" + t.value
	}
	return t.value
}

// split cuts arguments apart.
func split(s string) ([]token, error) {
	var out []token
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		if s[0] == '[' {
			end, err := closing(s)
			if err != nil {
				return nil, err
			}
			out = append(out, token{value: s[1:end], nested: true})
			s = s[end+1:]
			continue
		}
		var t token
		if i := strings.IndexAny(s, " =\""); i >= 0 && s[i] == '=' {
			t.key, s = s[:i], s[i+1:]
		}
		if s != "" && s[0] == '"' {
			quoted, err := strconv.QuotedPrefix(s)
			if err != nil {
				return nil, fmt.Errorf("at %s: %w", s, err)
			}
			t.value, _ = strconv.Unquote(quoted) // QuotedPrefix has checked it
			if s = s[len(quoted):]; s != "" && s[0] == '*' {
				var times string
				times, s, _ = strings.Cut(s[1:], " ")
				n, err := strconv.Atoi(times)
				if err != nil || n < 0 || n*len(t.value) > 1<<20 {
					return nil, fmt.Errorf("%s times %s is too much", times, quoted)
				}
				t.value = strings.Repeat(t.value, n)
			}
		} else {
			t.value, s, _ = strings.Cut(s, " ")
		}
		out = append(out, t)
	}
	return out, nil
}

// closing returns where the bracket that s begins with is closed.
func closing(s string) (int, error) {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '[':
			depth++
		case ']':
			if depth--; depth == 0 {
				return i, nil
			}
		case '"':
			quoted, err := strconv.QuotedPrefix(s[i:])
			if err != nil {
				return 0, fmt.Errorf("at %s: %w", s[i:], err)
			}
			i += len(quoted) - 1
		}
	}
	return 0, fmt.Errorf("no ] closes %s", s)
}

func parseOp(text string) (Op, error) {
	name, args, _ := strings.Cut(strings.TrimSpace(text), " ")
	o := Op{Name: name}
	k, ok := kinds[name]
	if !ok {
		return o, fmt.Errorf("%q is neither a step nor an operation", name)
	}
	words, err := split(args)
	if err != nil {
		return o, err
	}
	for _, w := range words {
		if err := o.set(k, w); err != nil {
			return o, fmt.Errorf("%s: %s: %w", name, w.text(), err)
		}
	}
	return o, nil
}

// set takes one argument.
func (o *Op) set(k kind, w token) error {
	has := func(f field) bool { return slices.Contains(k.fields, f) }
	var err error
	number := func(bits int) (n int64) {
		n, err = strconv.ParseInt(w.value, 10, bits)
		return n
	}
	switch {
	case w.nested && has(fOps):
		sub, err := parseOp(w.value)
		o.Ops = append(o.Ops, sub)
		return err
	case w.key == "" && w.value == "watch" && has(fWatch):
		o.Watch = true
	case w.key == "" && w.value == "nodata" && has(fData):
		o.NilData = true
	case w.key == "" && w.value == "nopath" && has(fPath):
		o.NilPath = true
	case w.key == "" && has(fPath):
		o.Path = w.value
	case w.key == "data" && has(fData):
		o.Data = w.value
	case w.key == "acl" && has(fACL):
		if _, ok := ACLs[w.value]; !ok {
			return fmt.Errorf("no such list")
		}
		o.ACL = w.value
	case w.key == "scheme" && has(fScheme):
		o.Scheme = w.value
	case w.key == "since" && has(fSince):
		o.Since = w.value
	case w.key == "mode" && has(fMode):
		o.Mode = int32(number(32))
	case w.key == "ttl" && has(fTTL):
		o.TTL = number(64)
	case w.key == "version" && has(fVersion):
		o.Version = int32(number(32))
	case w.key == "type" && has(fType):
		o.Type = int32(number(32))
	case w.key == "code" && has(fCode):
		o.Code = int32(number(32))
	case w.key == "cut":
		o.Cut = int(number(32))
	case has(fLists):
		i := slices.Index(listNames[:], w.key)
		if i < 0 {
			return fmt.Errorf("not understood")
		}
		o.Lists[i] = append(o.Lists[i], w.value)
	default:
		return fmt.Errorf("not understood")
	}
	return err
}
