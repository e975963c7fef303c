package storage

import (
	"errors"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

var testIdentity = Identity{
	ClusterID: "00ff", MemberID: 0xfedcba9876543210, Name: 3, Boot: 7, LogID: 5, Removed: true,
	Formation: []byte{1, 0, 255}, SupersededBy: "00fe", Refusal: "it was removed", MoveAside: true,
	Hosts: []byte{2, 0}, HostsIndex: 9, Former: []string{"aa", "bb"}, Recovery: []byte{3},
}

func openIdentity(t *testing.T, fs vfs.FS) *IdentityFile {
	t.Helper()
	check(t, fs.MkdirAll("d"))
	f, err := OpenIdentity(fs, "d")
	check(t, err)
	return f
}

func TestIdentitySurvivesCrashes(t *testing.T) {
	for k := 1; ; k++ {
		done := false
		for seed := range uint64(8) {
			fuse := 1 << 30
			fs := vfs.NewMem(func(vfs.Op, string, int64, int) error {
				if fuse--; fuse > 0 {
					return nil
				}
				return syscall.EIO
			})
			f := openIdentity(t, fs)
			if !reflect.DeepEqual(f.Get(), Identity{}) {
				t.Fatalf("a new identity is %+v", f.Get())
			}
			check(t, f.Update(func(id *Identity) { *id = testIdentity; id.Boot = 6 }))
			fuse = k
			err := f.Update(func(id *Identity) { id.Boot++ })
			if done = err == nil; !done {
				if again := f.Update(func(*Identity) {}); again != err || !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "d/identity") {
					t.Fatalf("operation %d: %v, then %v", k, err, again)
				}
				if f.Get().Boot != 6 {
					t.Fatalf("a failed update is seen: %+v", f.Get())
				}
			}
			fuse = 1 << 30
			if seed < 6 {
				fs.Crash(newRand(seed))
			} else {
				fs.Kill()
			}
			got := openIdentity(t, fs).Get()
			fs.Crash(newRand(seed))
			if again := openIdentity(t, fs).Get(); !reflect.DeepEqual(again, got) {
				t.Fatalf("operation %d, seed %d: %+v was found, and then %+v", k, seed, got, again)
			}
			if got.Boot == 6 && !done {
				got.Boot = 7
			}
			if !reflect.DeepEqual(got, testIdentity) {
				t.Fatalf("operation %d, seed %d: found %+v", k, seed, got)
			}
			if names, _ := fs.List("d"); len(names) != 1 {
				t.Fatalf("left behind: %v", names)
			}
		}
		if done {
			return
		}
	}
}

func TestGetReturnsACopy(t *testing.T) {
	f := openIdentity(t, vfs.NewMem(nil))
	check(t, f.Update(func(id *Identity) { *id = testIdentity }))
	f.Get().Formation[0] = 9
	if !reflect.DeepEqual(f.Get(), testIdentity) {
		t.Fatal("a caller changed the identity through Get")
	}
}

func TestDamagedIdentityRefuses(t *testing.T) {
	fs := vfs.NewMem(nil)
	check(t, openIdentity(t, fs).Update(func(id *Identity) { *id = testIdentity }))
	const file = "d/identity"
	refused := func(err error) bool {
		var corrupt *CorruptError
		return errors.As(err, &corrupt) && corrupt.File == file
	}
	info, err := fs.Stat(file)
	check(t, err)
	for off := range info.Size {
		for bit := range 8 {
			check(t, fs.Corrupt(file, off, 1<<bit))
			// The case of an envelope's key does not matter, nor which
			// white space there is.
			if f, err := OpenIdentity(fs, "d"); err != nil && !refused(err) || err == nil && !reflect.DeepEqual(f.Get(), testIdentity) {
				t.Fatalf("byte %d, bit %d: %v", off, bit, err)
			}
			check(t, fs.Corrupt(file, off, 1<<bit))
		}
	}
	whole, err := readFile(fs, file)
	check(t, err)
	for name, contents := range map[string]string{
		"empty":     "",
		"half":      string(whole[:len(whole)/2]),
		"two":       string(whole) + string(whole),
		"null":      `{"crc32c":"` + identityCRC([]byte("null")) + `","identity":null}`,
		"newer":     `{"crc32c":"` + identityCRC([]byte(`{"version":2}`)) + `","identity":{"version":2}}`,
		"not an id": `{"crc32c":"` + identityCRC([]byte(`{"version":1,"memberID":"x"}`)) + `","identity":{"version":1,"memberID":"x"}}`,
	} {
		f, err := fs.Create(file)
		check(t, err)
		_, err = f.WriteAt([]byte(contents), 0)
		check(t, err)
		if _, err := OpenIdentity(fs, "d"); !refused(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A field from a later release of the same version is no damage.
	later := `{"version":1,"memberID":"00000000000000ff","color":"red"}`
	f, err := fs.Create(file)
	check(t, err)
	_, err = f.WriteAt([]byte(`{"crc32c":"`+identityCRC([]byte(later))+`", "identity": `+later+"}"), 0)
	check(t, err)
	if got := openIdentity(t, fs).Get(); got.MemberID != 255 {
		t.Errorf("read %+v", got)
	}
}
