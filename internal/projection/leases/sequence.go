package leases

import "math"

// sequenceDigits is how many letters ZooKeeper's counter takes at least, its sign
// included: Java's %010d.
const sequenceDigits = 10

// Sequence returns the number that ZooKeeper appended to the name of a sequential
// node; ok is false if it is none.
//
// Negative numbers (the counter overflows) of ten digits take eleven letters. Their
// sign may as well be the end of the name in front ("lock-1000000000"); it is a
// sign if the number would be too large without it, or if it follows the - or _ in
// which recipes end their names.
func Sequence(name string) (n int32, ok bool) {
	if len(name) < sequenceDigits {
		return 0, false
	}
	front, tail := name[:len(name)-sequenceDigits], name[len(name)-sequenceDigits:]
	negative := tail[0] == '-'
	if negative {
		tail = tail[1:]
	}
	var v int64
	for i := range len(tail) {
		c := tail[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + int64(c-'0')
	}
	if !negative && v >= 1e9 && len(front) > 0 && front[len(front)-1] == '-' {
		negative = v > math.MaxInt32 || len(front) > 1 && (front[len(front)-2] == '-' || front[len(front)-2] == '_')
	}
	if negative {
		v = -v
	}
	if v < math.MinInt32 || v > math.MaxInt32 || negative && v == 0 {
		return 0, false
	}
	return int32(v), true
}
