package zooconfig

import (
	"fmt"
	"slices"
)

// Status says what Conclave does with a key.
type Status string

const (
	// Used keys have an effect.
	Used Status = "used"
	// Unused keys are named in a warning.
	Unused Status = "unused"
	// Refused keys are an error unless their value asks for nothing.
	Refused Status = "refused"
)

// Key documents one key of the configuration, or (a Name that ends in *) all
// that begin alike.
type Key struct {
	Name string
	// Alias is a second name in the file, or empty.
	Alias string
	// Property is the system property, for -D in SERVER_JVMFLAGS; empty if
	// there is none.
	Property string
	// FlagWins is true if a -D flag overrides the file. Otherwise the file
	// overrides the flag.
	FlagWins bool
	Type     string
	Allowed  string
	Default  string
	Status   Status
	Doc      string
}

// Keys lists all keys: those in use in the order of the table, which puts
// together what belongs together, then the refused and the unused ones.
func Keys() []Key {
	var keys []Key
	for _, s := range settings {
		k := Key{Name: s.name, Alias: s.alias, Type: s.typ, Allowed: s.allowed, Default: s.def, Status: Used, Doc: s.doc}
		switch s.java {
		case prefixed:
			k.Property = prefix + s.name
		case bare:
			k.Property, k.FlagWins = s.name, true
		case own:
			k.Property = s.name
		}
		keys = append(keys, k)
	}
	keys = slices.Insert(keys, slices.IndexFunc(keys, func(k Key) bool { return k.Name == "dynamicConfigFile" }),
		Key{Name: "server.N", Type: "server", Allowed: fmt.Sprintf("N 1 to %d; %s", MaxServerID, serverForm), Status: Used,
			Doc: "A member of the ensemble. Which one this server is stands in the file myid in dataDir. Of several addresses (separated by |) the first is used."},
		Key{Name: "version", Type: "number", Allowed: "a hexadecimal number", Default: "0", Status: Used,
			Doc: "Version of the list of servers."})
	for _, r := range refusedKeys {
		keys = append(keys, Key{Name: r.name, Property: prefix + r.name, Status: Refused, Doc: r.doc})
	}
	for _, u := range unusedKeys {
		k := Key{Name: u.name, Property: prefix + u.name, Status: Unused, Doc: u.doc}
		if u.property != "" {
			k.Property = u.property
		}
		keys = append(keys, k)
	}
	return keys
}
