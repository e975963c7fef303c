package leases

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxIdentity is the longest holderIdentity in bytes. What is longer is no name.
const maxIdentity = 256

// SessionIdentity is how a session is named as a holder.
func SessionIdentity(id uint64) string { return fmt.Sprintf("0x%x", id) }

// dataIdentity reads the holder's name from a node's data: its text, or a field of
// its JSON, whose names are separated by dots. It is empty if there is no name in
// it: no data, not all of it (length is how much there is), or not text.
func dataIdentity(data []byte, length int, field string) string {
	if len(data) < length {
		return ""
	}
	text := string(data)
	if field != "" {
		text = jsonField(data, field)
	}
	text = strings.TrimSpace(strings.TrimRight(text, "\x00"))
	if len(text) > maxIdentity || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return text
}

func jsonField(data []byte, field string) string {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return ""
	}
	for name := range strings.SplitSeq(field, ".") {
		object, ok := v.(map[string]any)
		if !ok {
			return ""
		}
		v = object[name]
	}
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}
