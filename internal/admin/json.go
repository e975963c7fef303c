package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// object is a JSON object that keeps its order. Values are nil, bool, string,
// int, int64, uint64, float64, object, or a slice of any of these.
type object []field

type field struct {
	key   string
	value any
}

func (o *object) put(key string, value any) { *o = append(*o, field{key, value}) }

// writeJSON writes v as ZooKeeper's AdminServer lays JSON out: spaces around
// colons, objects over several lines, arrays on one. Scripts grep in it.
func writeJSON(b *bytes.Buffer, v any, indent string) {
	switch x := v.(type) {
	case object:
		if len(x) == 0 {
			b.WriteString("{ }")
			return
		}
		b.WriteByte('{')
		for i, f := range x {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString("\n" + indent + "  " + quote(f.key) + " : ")
			writeJSON(b, f.value, indent+"  ")
		}
		b.WriteString("\n" + indent + "}")
	case []object:
		writeArray(b, x, indent)
	case []string:
		writeArray(b, x, indent)
	case []int64:
		writeArray(b, x, indent)
	case string:
		b.WriteString(quote(x))
	case float64:
		b.WriteString(decimal(x))
	case bool:
		b.WriteString(strconv.FormatBool(x))
	case nil:
		b.WriteString("null")
	case int, int64, uint64:
		fmt.Fprint(b, x)
	default:
		panic(fmt.Sprintf("admin: no JSON for %T", v)) // a programming error, found by the first test of the command
	}
}

func writeArray[T any](b *bytes.Buffer, xs []T, indent string) {
	if len(xs) == 0 {
		b.WriteString("[ ]")
		return
	}
	b.WriteByte('[')
	for i, x := range xs {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte(' ')
		writeJSON(b, x, indent)
	}
	b.WriteString(" ]")
}

// quote returns s as a JSON string; what is no UTF-8 is replaced.
func quote(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return strconv.Quote(s) // a string always encodes
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}
