package zooconfig

import (
	"strings"
	"testing"
)

func TestServerLines(t *testing.T) {
	for line, want := range map[string]string{
		"zoo1:2888:3888":      "zoo1:2888:3888:participant",
		"zoo1:2888:3888;2181": "zoo1:2888:3888:participant;0.0.0.0:2181",
		"127.0.0.1:2888:3888:participant;127.0.0.1:2181": "127.0.0.1:2888:3888:participant;127.0.0.1:2181",
		"zoo1:2888:3888:Observer;host-x:2181":            "zoo1:2888:3888:observer;host-x:2181",
		"[::1]:2888:3888;[::1]:2181":                     "[0:0:0:0:0:0:0:1]:2888:3888:participant;[0:0:0:0:0:0:0:1]:2181",
		"[fe80::2%eth0]:2888:3888":                       "[fe80:0:0:0:0:0:0:2%eth0]:2888:3888:participant",
		"[::ffff:1.2.3.4]:2888:3888":                     "1.2.3.4:2888:3888:participant",
		"[2001:db8::a:1]:2888:3888":                      "[2001:db8:0:0:0:0:a:1]:2888:3888:participant",
		"zoo1:2888:3888:":                                "zoo1:2888:3888:participant",
		"zoo1:2888:3888;":                                "zoo1:2888:3888:participant",
		" zoo1 : 2888 : 3888 ; 2181 ":                    "zoo1:2888:3888:participant;0.0.0.0:2181",
		"a:1:2|b:3:4":                                    "a:1:2:participant",
		"a:1:2:observer|b:3:4:observer;5":                "a:1:2:observer;0.0.0.0:5",
		"a:1:2|b:3:4:observer":                           "a:1:2:observer",
	} {
		s, _, err := parseServer(3, line)
		if err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		if got := s.String(); got != "server.3="+want {
			t.Errorf("%q: got %s, want %s", line, got, want)
		}
		if s.Line != line {
			t.Errorf("%q: line %q", line, s.Line)
		}
	}
	for line, want := range map[string]string{
		"":                                 "a server line is",
		";2181":                            "a server line is",
		"|":                                "a server line is",
		"zoo1":                             "a server line is",
		"zoo1:2888":                        "a server line is",
		":2888:3888":                       `"" is neither a host name`,
		"zoo1:2888:2888":                   "must differ",
		"zoo1:0:3888":                      `"0" is no port`,
		"zoo1:2888:65536":                  `"65536" is no port`,
		"zoo1:x:3888":                      `"x" is no port`,
		"zoo1:2888:3888:voter":             `"voter" is no role`,
		"zoo1:2888:3888:observer:x":        "a server line is",
		"zoo1:2888:3888;a:b:2181":          "a server line is",
		"zoo1:2888:3888;2181;2182":         "a server line is",
		"zoo1:2888:3888;0":                 `"0" is no port`,
		"zoo1:2888:3888;[::1]":             "needs a : and a port",
		"::1:2888:3888":                    "a server line is",
		"[::1:2888:3888":                   "without its ]",
		"[zoo1]:2888:3888":                 "[zoo1] is not an IPv6 address",
		"[::1]2888:3888":                   "needs a : and a port",
		"1.2.3.400:2888:3888":              "not a complete IPv4 address",
		"a:1:2:observer|b:3:4:participant": "different roles",
		"a:1:2||b:3:4":                     "a server line is",
		"{{host}}:2888:3888":               "neither a host name",
	} {
		if s, _, err := parseServer(3, line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v %v, want %q", line, s, err, want)
		}
	}
}
