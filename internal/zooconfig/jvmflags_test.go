package zooconfig

import (
	"slices"
	"testing"
)

func TestSplitWords(t *testing.T) {
	for line, want := range map[string][]string{
		"":                                    nil,
		"  \t\n ":                             nil,
		"-Xmx1g -Da=b":                        {"-Xmx1g", "-Da=b"},
		`-Da="b c" -Dd='e "f"'`:               {"-Da=b c", `-Dd=e "f"`},
		`"-Da=b c"d`:                          {"-Da=b cd"},
		`-Da=b\ c\"`:                          {`-Da=b c"`},
		`"a\"b\\c\d\$"`:                       {`a"b\c\d$`},
		`'a\b'`:                               {`a\b`},
		`'' ""`:                               {"", ""},
		"-Da=1\n-Db=2\r\n":                    {"-Da=1", "-Db=2"},
		`-XX:OnOutOfMemoryError='kill -9 %p'`: {"-XX:OnOutOfMemoryError=kill -9 %p"},
	} {
		got, err := splitWords(line)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %q %v, want %q", line, got, err, want)
		}
	}
	for _, line := range []string{`'a`, `"a`, `a\`, `"a\"`, `"\`} {
		if got, err := splitWords(line); err == nil {
			t.Errorf("%q: got %q, want an error", line, got)
		}
	}
}
