package replica

import "testing"

// Members take their snapshots after different entries, none of them later than
// the configuration says, and none much more often.
func TestSnapshotsAreSpread(t *testing.T) {
	most := logSize{entries: 100000, bytes: 1 << 30}
	const parts = 10
	var entries, bytes [parts]int
	for id := uint64(1); id <= 50; id++ {
		for snapshot := uint64(0); snapshot < 50; snapshot++ {
			due := snapshotDue(most, id, 1000*snapshot)
			if due != snapshotDue(most, id, 1000*snapshot) {
				t.Fatal("the same snapshot is due at different times")
			}
			if due.entries < most.entries/2 || due.entries > most.entries || due.bytes < most.bytes/2 || due.bytes > most.bytes {
				t.Fatalf("member %d, behind the snapshot of %d: due after %+v", id, 1000*snapshot, due)
			}
			entries[(due.entries-most.entries/2)*parts/(most.entries/2+1)]++
			bytes[(due.bytes-most.bytes/2)*parts/(most.bytes/2+1)]++
		}
	}
	for i := range parts { // 2500 in all, 250 expected in each
		if entries[i] < 180 || bytes[i] < 180 {
			t.Errorf("in the tenth %d there are %d (by entries) and %d (by bytes) of 2500", i, entries[i], bytes[i])
		}
	}
	if due := snapshotDue(logSize{entries: 1, bytes: 1}, 7, 7); due != (logSize{1, 1}) {
		t.Errorf("of the least: %+v", due)
	}
}
