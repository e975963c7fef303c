package formation

import (
	"fmt"
	"strings"
	"testing"
)

func TestConfigNamesWhatIsWrong(t *testing.T) {
	fine := []Server{{N: 1, Addr: "a:1"}, {N: 2, Addr: "b:1"}}
	var many []Server
	for n := range MaxServers + 1 {
		many = append(many, Server{N: uint64(n), Addr: fmt.Sprintf("h%d:1", n)})
	}
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"fine":           {Config{Identity{1, 5}, fine}, ""},
		"no lines":       {Config{Identity{1, 5}, nil}, "0 server lines"},
		"too many":       {Config{Identity{1, 5}, many}, "256 server lines"},
		"no id":          {Config{Identity{1, 0}, fine}, "the member has no id"},
		"no own line":    {Config{Identity{3, 5}, fine}, "this is server.3 (see myid)"},
		"one name twice": {Config{Identity{1, 5}, []Server{{N: 1, Addr: "a:1"}, {N: 1, Addr: "b:1"}}}, "two lines for one server: server.1=a:1 and server.1=b:1"},
		"one address":    {Config{Identity{1, 5}, []Server{{N: 1, Addr: "a:1"}, {N: 2, Addr: "a:1"}}}, "two servers with one address"},
		"no address":     {Config{Identity{1, 5}, []Server{{N: 1}}}, "an address of 0 bytes"},
		"long address":   {Config{Identity{1, 5}, []Server{{N: 1, Addr: strings.Repeat("a", 400)}}}, "an address of 400 bytes"},
		"nobody votes":   {Config{Identity{1, 5}, []Server{{N: 1, Addr: "a:1", Observer: true}}}, "all servers are observers"},
	} {
		err := c.cfg.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestDifferences(t *testing.T) {
	base := []Server{{N: 1, Addr: "a:1"}, {N: 2, Addr: "b:1"}}
	for name, c := range map[string]struct {
		mine, theirs []Server
		want         []string
	}{
		"same":             {base, base, nil},
		"order":            {base, []Server{base[1], base[0]}, nil},
		"case":             {base, []Server{{N: 1, Addr: "A:1"}, {N: 2, Addr: "B:1"}}, nil},
		"wildcard of mine": {[]Server{{N: 1, Addr: "0.0.0.0:1"}, base[1]}, base, nil},
		"both wildcards":   {[]Server{{N: 1, Addr: "0.0.0.0:1"}, base[1]}, []Server{base[0], {N: 2, Addr: ":1"}}, nil},
		"other port":       {[]Server{{N: 1, Addr: "0.0.0.0:9"}, base[1]}, base, []string{"here server.1=0.0.0.0:9, there server.1=a:1"}},
		"wildcard for another": {[]Server{base[0], {N: 2, Addr: "0.0.0.0:1"}}, []Server{base[0], {N: 2, Addr: "b:7"}},
			[]string{"here server.2=0.0.0.0:1, there server.2=b:7"}},
		"role": {base, []Server{base[0], {N: 2, Addr: "b:1", Observer: true}}, []string{"here server.2=b:1, there server.2=b:1:observer"}},
		"more": {base, append(base[:2:2], Server{N: 3, Addr: "c:1"}), []string{"server.3=c:1 stands there only"}},
		"less": {base, base[:1], []string{"server.2=b:1 stands here only"}},
	} {
		if got := differences(c.mine, 1, c.theirs, 2); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
