package tree

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The nodes below /zookeeper/quota/<path> that hold the limits and the present
// use of the subtree at /<path>.
const (
	LimitsName = "zookeeper_limits"
	StatsName  = "zookeeper_stats"
)

// Keys of a quota record.
const (
	keyCount     = "count"
	keyBytes     = "bytes"
	keyCountHard = "countHardLimit"
	keyBytesHard = "byteHardLimit"
)

// QuotaRecord is the content of a zookeeper_limits or zookeeper_stats node:
// numbers by name. A number that is not there is -1, which means no limit. The
// zero QuotaRecord has no number.
//
// ZooKeeper keeps names that it does not know, and so does this.
type QuotaRecord struct {
	fields []quotaField // sorted by key; each key once
}

type quotaField struct {
	key   string
	value int64
}

// ParseQuota reads a quota record as ZooKeeper's StatsTrack does: fields
// "key=number" with commas or semicolons between them, any number of them; what
// follows a second "=" is ignored; a number left out between two "=" is -1; of
// a key's several numbers the last counts. The record keeps nothing of b.
func ParseQuota(b []byte) (QuotaRecord, error) {
	var q QuotaRecord
	s := strings.TrimRight(string(b), ",;")
	for from := 0; from < len(s); {
		field := s[from:]
		if i := strings.IndexAny(field, ",;"); i >= 0 {
			field = field[:i]
		}
		key, rest, found := strings.Cut(field, "=")
		// Java's split drops empty strings at the end: "count=" has no number at
		// all, while the one of "count==5" is empty.
		if !found || strings.Trim(rest, "=") == "" {
			return QuotaRecord{}, fmt.Errorf("quota record %q: at byte %d: %q is not of the form key=number", b, from, field)
		}
		number, _, _ := strings.Cut(rest, "=")
		value := int64(-1)
		if number != "" {
			v, err := strconv.ParseInt(number, 10, 64)
			if err != nil {
				return QuotaRecord{}, fmt.Errorf("quota record %q: at byte %d: %q is not a number of 64 bits", b, from, number)
			}
			value = v
		}
		q.set(key, value)
		from += len(field)
		for from < len(s) && (s[from] == ',' || s[from] == ';') {
			from++
		}
	}
	return q, nil
}

// Count returns the number of nodes: the soft limit, or the present use.
func (q *QuotaRecord) Count() int64 { return q.get(keyCount) }

// Bytes returns the number of bytes of data: the soft limit, or the present use.
func (q *QuotaRecord) Bytes() int64 { return q.get(keyBytes) }

// CountHardLimit returns the number of nodes beyond which creates are refused.
func (q *QuotaRecord) CountHardLimit() int64 { return q.get(keyCountHard) }

// ByteHardLimit returns the number of bytes of data beyond which writes are
// refused.
func (q *QuotaRecord) ByteHardLimit() int64 { return q.get(keyBytesHard) }

// SetCount sets the number of nodes.
func (q *QuotaRecord) SetCount(v int64) { q.set(keyCount, v) }

// SetBytes sets the number of bytes.
func (q *QuotaRecord) SetBytes(v int64) { q.set(keyBytes, v) }

// SetCountHardLimit sets the hard limit of nodes.
func (q *QuotaRecord) SetCountHardLimit(v int64) { q.set(keyCountHard, v) }

// SetByteHardLimit sets the hard limit of bytes.
func (q *QuotaRecord) SetByteHardLimit(v int64) { q.set(keyBytesHard, v) }

// Append appends the record as ZooKeeper writes it: count and bytes first,
// then, behind a further "=" that keeps the parser of ZooKeeper 3.4.3 from
// reading on, the other fields in the order of their keys.
func (q *QuotaRecord) Append(b []byte) []byte {
	b = append(append(b, keyCount...), '=')
	b = strconv.AppendInt(b, q.Count(), 10)
	b = append(append(append(b, ','), keyBytes...), '=')
	b = strconv.AppendInt(b, q.Bytes(), 10)
	first := true
	for _, f := range q.fields {
		if f.key == keyCount || f.key == keyBytes {
			continue
		}
		if first {
			b = append(b, '=')
			first = false
		}
		b = append(append(append(b, ';'), f.key...), '=')
		b = strconv.AppendInt(b, f.value, 10)
	}
	return b
}

func (q *QuotaRecord) String() string { return string(q.Append(nil)) }

func (q *QuotaRecord) find(key string) (int, bool) {
	return slices.BinarySearchFunc(q.fields, key, func(f quotaField, key string) int { return strings.Compare(f.key, key) })
}

func (q *QuotaRecord) get(key string) int64 {
	if i, ok := q.find(key); ok {
		return q.fields[i].value
	}
	return -1
}

func (q *QuotaRecord) set(key string, value int64) {
	i, ok := q.find(key)
	if !ok {
		q.fields = slices.Insert(q.fields, i, quotaField{key: key})
	}
	q.fields[i].value = value
}
