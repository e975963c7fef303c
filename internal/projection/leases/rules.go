package leases

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/conclave-dev/conclave/internal/projection/mirror"
	"github.com/conclave-dev/conclave/internal/projection/pattern"
)

// Kind is what a rule's path stands for.
type Kind string

const (
	// Node: each matching ephemeral node has a Lease.
	Node Kind = "Node"
	// Election: each matching node with sequential ephemeral children has one.
	Election Kind = "Election"
)

// Source is where the holder's name comes from.
type Source string

const (
	// FromSession is the session's id.
	FromSession Source = "Session"
	// FromData is the node's data, or a field of it.
	FromData Source = "Data"
	// FromPod is the client's pod.
	FromPod Source = "Pod"
)

// Rule is one rule of spec.leases.
type Rule struct {
	Name string
	Kind Kind
	// Path is a pattern.Path.
	Path string
	// Children is a pattern.Name of candidates.
	Children string
	Holder   Source
	// JSONField of the data is the holder's name.
	JSONField string
	// LeaseName is a pattern.LeaseName.
	LeaseName           string
	Labels, Annotations map[string]string
}

// rule is a Rule that was understood.
type rule struct {
	Rule
	path     *pattern.Path
	children pattern.Name
	name     *pattern.LeaseName
}

// Rules are the rules of a cluster. A node that several match has a Lease for
// each.
type Rules struct{ list []*rule }

var (
	ruleName  = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$`)
	fieldPath = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)
)

// Compile reads rules. The error names everything that is wrong, each with its
// rule and field.
func Compile(list []Rule) (*Rules, error) {
	rs := &Rules{}
	var errs []error
	for i, r := range list {
		c, err := compile(r)
		for _, e := range err {
			errs = append(errs, fmt.Errorf("rules[%d] (%s): %w", i, r.Name, e))
		}
		if slices.ContainsFunc(rs.list, func(o *rule) bool { return o.Name == r.Name }) {
			errs = append(errs, fmt.Errorf("rules[%d] (%s): name: an earlier rule has it", i, r.Name))
		}
		rs.list = append(rs.list, c)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return rs, nil
}

func compile(r Rule) (c *rule, errs []error) {
	c = &rule{Rule: r}
	bad := func(field string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", field, err))
		}
	}
	if !ruleName.MatchString(r.Name) {
		bad("name", fmt.Errorf("%q is no label: lower-case letters, digits and -, at most 40", r.Name))
	}
	switch r.Kind {
	case Node:
		if r.Children != "" {
			bad("children", fmt.Errorf("is for rules of kind Election: a Node rule says it all in its path"))
		}
	case Election:
	default:
		bad("kind", fmt.Errorf("%q is neither Node nor Election", r.Kind))
	}
	switch c.Holder {
	case FromSession, FromData, FromPod:
	case "":
		c.Holder = FromSession
	default:
		bad("holder.from", fmt.Errorf("%q is none of Session, Data and Pod", r.Holder))
	}
	switch {
	case r.JSONField == "":
	case c.Holder != FromData:
		bad("holder.jsonField", fmt.Errorf("is a field of the node's data: set holder.from to Data"))
	case !fieldPath.MatchString(r.JSONField):
		bad("holder.jsonField", fmt.Errorf("%q: give names of fields, separated by dots: payload.id", r.JSONField))
	}
	var err error
	c.children, err = pattern.ParseName(r.Children)
	bad("children", err)
	for _, key := range slices.Sorted(maps.Keys(r.Labels)) {
		if strings.HasPrefix(key, "conclave.dev/") || strings.HasPrefix(key, "app.kubernetes.io/") {
			bad("labels", fmt.Errorf("%s is the operator's: use another prefix", key))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(r.Annotations)) {
		if strings.HasPrefix(key, "conclave.dev/") {
			bad("annotations", fmt.Errorf("%s is the operator's: use another prefix", key))
		}
	}
	if c.path, err = pattern.ParsePath(r.Path); err != nil {
		bad("path", err)
		return c, errs
	}
	c.name, err = pattern.ParseLeaseName(r.LeaseName, c.path)
	bad("leaseName", err)
	return c, errs
}

// Len is the number of rules.
func (rs *Rules) Len() int { return len(rs.list) }

// DataPatterns are the nodes whose data the rules need, as WatchSessions has
// them.
func (rs *Rules) DataPatterns() []string {
	var list []string
	for _, r := range rs.list {
		if r.Holder != FromData {
			continue
		}
		child := ""
		if r.Kind == Election {
			child = "*"
			if r.Children != "" {
				child = r.Children
			}
		}
		if p := r.path.Wire(child); !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	return list
}

func (rs *Rules) byName(name string) *rule {
	for _, r := range rs.list {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// subject is what of e the rule has a Lease for: the node, or its parent.
func (r *rule) subject(path string) (subject string, sequence int32, ok bool) {
	if r.Kind == Node {
		return path, 0, true
	}
	i := strings.LastIndexByte(path, '/')
	if i <= 0 {
		return "", 0, false
	}
	child := path[i+1:]
	if !r.children.Match(child) {
		return "", 0, false
	}
	sequence, ok = Sequence(child)
	return path[:i], sequence, ok
}

// leaseName names the Lease of a subject; ok is false if the rule does not select
// it.
func (r *rule) leaseName(cluster, subject string) (name string, ok bool) {
	captured, ok := r.path.Match(subject)
	if !ok {
		return "", false
	}
	return r.name.Render(cluster, r.Name, subject, captured), true
}

func (r *rule) candidate(e mirror.Ephemeral, sequence int32) *candidate {
	c := &candidate{path: e.Path, sequence: sequence, session: e.Session, czxid: e.Czxid, created: e.Created}
	if r.Holder == FromData {
		c.identity = dataIdentity(e.Data, e.DataLength, r.JSONField)
	}
	return c
}
