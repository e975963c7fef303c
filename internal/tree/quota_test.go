package tree

import (
	"math"
	"strings"
	"testing"
)

// What comes out is what ZooKeeper 3.8.0's StatsTrack makes of each; where out
// is empty, it throws.
func TestQuotaRecord(t *testing.T) {
	for _, tc := range []struct {
		in                                 string
		count, bytes, countHard, bytesHard int64
		out                                string
	}{
		{"", -1, -1, -1, -1, "count=-1,bytes=-1"},
		{"count=1,bytes=2", 1, 2, -1, -1, "count=1,bytes=2"},
		{"count=1,bytes=2=", 1, 2, -1, -1, "count=1,bytes=2"},
		{"count=1,bytes=2=;byteHardLimit=3;countHardLimit=4", 1, 2, 4, 3, "count=1,bytes=2=;byteHardLimit=3;countHardLimit=4"},
		{"countHardLimit=4;byteHardLimit=3", -1, -1, 4, 3, "count=-1,bytes=-1=;byteHardLimit=3;countHardLimit=4"},
		{"bytes=2,count=1", 1, 2, -1, -1, "count=1,bytes=2"},
		{"count=1", 1, -1, -1, -1, "count=1,bytes=-1"},
		{"bytes=5", -1, 5, -1, -1, "count=-1,bytes=5"},
		{in: "count="},
		{in: "count=="},
		{"count==5", -1, -1, -1, -1, "count=-1,bytes=-1"},
		{"count=5=6", 5, -1, -1, -1, "count=5,bytes=-1"},
		{"=5", -1, -1, -1, -1, "count=-1,bytes=-1=;=5"},
		{in: "="},
		{in: "=="},
		{",", -1, -1, -1, -1, "count=-1,bytes=-1"},
		{";;,", -1, -1, -1, -1, "count=-1,bytes=-1"},
		{in: ",count=1"},
		{"count=1,", 1, -1, -1, -1, "count=1,bytes=-1"},
		{"count=1;;,bytes=2;", 1, 2, -1, -1, "count=1,bytes=2"},
		{"count=1,,bytes=2", 1, 2, -1, -1, "count=1,bytes=2"},
		{"count=+5,bytes=-7", 5, -7, -1, -1, "count=5,bytes=-7"},
		{in: "count=-"},
		{in: "count=+"},
		{in: "count=--1"},
		{in: "count= 1"},
		{in: "count=1 "},
		{in: "count=1\n"},
		{in: "count=0x10"},
		{in: "count=1.5"},
		{in: "count=1_000"},
		{"count=007", 7, -1, -1, -1, "count=7,bytes=-1"},
		{"count=9223372036854775807", math.MaxInt64, -1, -1, -1, "count=9223372036854775807,bytes=-1"},
		{in: "count=9223372036854775808"},
		{"count=-9223372036854775808", math.MinInt64, -1, -1, -1, "count=-9223372036854775808,bytes=-1"},
		{"foo=3,count=1", 1, -1, -1, -1, "count=1,bytes=-1=;foo=3"},
		{"Zoo=1;abc=2,count=1,bytes=4", 1, 4, -1, -1, "count=1,bytes=4=;Zoo=1;abc=2"},
		{"count=1,count=2", 2, -1, -1, -1, "count=2,bytes=-1"},
		{"byteHardLimit=-1", -1, -1, -1, -1, "count=-1,bytes=-1=;byteHardLimit=-1"},
		{in: "count=1,bytes=2=;byteHardLimit==;x=1"},
		{in: "abc"},
		{in: "count"},
		{"k\u00e9=1", -1, -1, -1, -1, "count=-1,bytes=-1=;k\u00e9=1"},
		{"count =1", -1, -1, -1, -1, "count=-1,bytes=-1=;count =1"},
	} {
		q, err := ParseQuota([]byte(tc.in))
		if tc.out == "" {
			if err == nil || !strings.Contains(err.Error(), "at byte") {
				t.Errorf("%q: got %q and error %v", tc.in, q.String(), err)
			}
			continue
		}
		if err != nil {
			t.Error(err)
			continue
		}
		if q.Count() != tc.count || q.Bytes() != tc.bytes || q.CountHardLimit() != tc.countHard || q.ByteHardLimit() != tc.bytesHard || q.String() != tc.out {
			t.Errorf("%q: got %q: %d %d %d %d", tc.in, q.String(), q.Count(), q.Bytes(), q.CountHardLimit(), q.ByteHardLimit())
		}
	}
}

func TestQuotaRecordSet(t *testing.T) {
	var q QuotaRecord
	if q.String() != "count=-1,bytes=-1" {
		t.Errorf("the zero record is %q", q.String())
	}
	q.SetByteHardLimit(9)
	q.SetCount(3)
	q.SetCountHardLimit(10)
	q.SetBytes(4)
	q.SetCount(q.Count() + 1)
	if want := "count=4,bytes=4=;byteHardLimit=9;countHardLimit=10"; q.String() != want {
		t.Errorf("got %q, want %q", q.String(), want)
	}
}

func FuzzQuota(f *testing.F) {
	for _, s := range []string{"", "count=1,bytes=2=;byteHardLimit=3;countHardLimit=4", ",count=1", "count==5", "a=1;b=2,,a=+3", "==", "count=9223372036854775808"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in := string(b)
		q, err := ParseQuota(b)
		if string(b) != in {
			t.Fatal("the input was changed")
		}
		if err != nil {
			return
		}
		out := q.String()
		again, err := ParseQuota([]byte(out))
		if err != nil || again.String() != out {
			t.Fatalf("%q is written as %q and read as %q: %v", in, out, again.String(), err)
		}
		if again.Count() != q.Count() || again.ByteHardLimit() != q.ByteHardLimit() {
			t.Fatalf("%q is written as %q, which says otherwise", in, out)
		}
	})
}
