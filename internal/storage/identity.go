package storage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"sync"

	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

const (
	identityName    = "identity"
	identityVersion = 1
)

// Identity is who a member is, for as long as its data directory lives.
type Identity struct {
	// ClusterID is the ensemble's, in hex; empty until the member has formed
	// or joined one.
	ClusterID string
	// MemberID is the raft id, random and never used again by another disk;
	// zero until the member has one.
	MemberID uint64
	// Name is the N of server.N (myid), or ordinal + 1 in Kubernetes. It is
	// for people and configuration files; raft does not know it.
	Name int
	// Boot counts the starts of the member. The caller increments it at each
	// start, before anything else.
	Boot uint64
	// LogID is that of the member's log; zero until it has one. A member that
	// has one and finds another log, or none, must not start.
	LogID uint64
	// Formation is what the member has promised and accepted while a new
	// ensemble is being formed, so that it accepts no second one; the caller's
	// encoding, empty before the first promise.
	Formation []byte
	// Removed says that the ensemble has removed the member: it must not
	// serve nor vote under this identity again.
	Removed bool
	// SupersededBy is the ensemble that goes on in the place of ClusterID, since
	// that lost its majority; empty if there is none. A member that has one must
	// not serve nor vote.
	SupersededBy string
	// Refusal says in a sentence what is meant by Removed or SupersededBy.
	Refusal string
	// MoveAside says that everything is to be moved aside at the next start,
	// so that the member begins anew.
	MoveAside bool
	// Hosts is the membership that a member was told when it was taken in, and
	// HostsIndex its log index: until it has a snapshot, it knows the others
	// from there. The caller's encoding.
	Hosts      []byte
	HostsIndex uint64
	// Former are the ensembles of which this one is the recovery, oldest first.
	Former []string
	// Recovery is a recovery from a lost majority that was decided upon and is
	// to be carried out at the next start; the caller's encoding.
	Recovery []byte
}

func (id Identity) clone() Identity {
	id.Formation, id.Hosts, id.Recovery = bytes.Clone(id.Formation), bytes.Clone(id.Hosts), bytes.Clone(id.Recovery)
	id.Former = slices.Clone(id.Former)
	return id
}

// identityEnvelope is the file: the checksum is over the compact form of the
// identity as it stands there, so that fields this version does not know, and
// white space, do no harm.
type identityEnvelope struct {
	CRC32C   string          `json:"crc32c"`
	Identity json.RawMessage `json:"identity"`
}

// identityJSON is Identity in the file. Ids are hex strings: JSON's numbers lose
// bits in the hands of many tools.
type identityJSON struct {
	Version   int    `json:"version"`
	ClusterID string `json:"clusterID,omitempty"`
	MemberID  hexID  `json:"memberID,omitempty"`
	Name      int    `json:"name,omitempty"`
	Boot      uint64 `json:"boot,omitempty"`
	LogID     hexID  `json:"logID,omitempty"`
	Formation []byte `json:"formation,omitempty"`
	Removed   bool   `json:"removed,omitempty"`

	SupersededBy string   `json:"supersededBy,omitempty"`
	Refusal      string   `json:"refusal,omitempty"`
	MoveAside    bool     `json:"moveAside,omitempty"`
	Hosts        []byte   `json:"hosts,omitempty"`
	HostsIndex   uint64   `json:"hostsIndex,omitempty"`
	Former       []string `json:"formerClusterIDs,omitempty"`
	Recovery     []byte   `json:"recovery,omitempty"`
}

type hexID uint64

func (h hexID) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%016x", uint64(h)), nil }

func (h *hexID) UnmarshalText(b []byte) error {
	v, err := strconv.ParseUint(string(b), 16, 64)
	*h = hexID(v)
	return err
}

func encodeIdentity(id Identity) ([]byte, error) {
	raw, err := json.Marshal(identityJSON{
		Version: identityVersion, ClusterID: id.ClusterID, MemberID: hexID(id.MemberID), Name: id.Name, Boot: id.Boot,
		LogID: hexID(id.LogID), Formation: id.Formation, Removed: id.Removed,
		SupersededBy: id.SupersededBy, Refusal: id.Refusal, MoveAside: id.MoveAside, Hosts: id.Hosts, HostsIndex: id.HostsIndex,
		Former: id.Former, Recovery: id.Recovery,
	})
	if err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(identityEnvelope{identityCRC(raw), raw}, "", "  ")
	return append(b, '\n'), err
}

func identityCRC(compact []byte) string {
	return fmt.Sprintf("%08x", crc32.Checksum(compact, castagnoli))
}

// decodeIdentity returns what is wrong with the file, if anything is.
func decodeIdentity(b []byte) (Identity, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var env identityEnvelope
	if err := dec.Decode(&env); err != nil {
		return Identity{}, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return Identity{}, errors.New("something follows the JSON document")
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, env.Identity); err != nil {
		return Identity{}, err
	}
	if got := identityCRC(compact.Bytes()); got != env.CRC32C {
		return Identity{}, fmt.Errorf("the checksum is %s and should be %q", got, env.CRC32C)
	}
	var j identityJSON
	if err := json.Unmarshal(compact.Bytes(), &j); err != nil {
		return Identity{}, err
	}
	if j.Version != identityVersion {
		return Identity{}, fmt.Errorf("it has version %d of the format, this program reads version %d", j.Version, identityVersion)
	}
	return Identity{
		ClusterID: j.ClusterID, MemberID: uint64(j.MemberID), Name: j.Name, Boot: j.Boot, LogID: uint64(j.LogID), Formation: j.Formation, Removed: j.Removed,
		SupersededBy: j.SupersededBy, Refusal: j.Refusal, MoveAside: j.MoveAside, Hosts: j.Hosts, HostsIndex: j.HostsIndex,
		Former: j.Former, Recovery: j.Recovery,
	}, nil
}

// IdentityFile keeps an Identity in a file.
type IdentityFile struct {
	fs   vfs.FS
	dir  string
	path string

	mu  sync.Mutex
	id  Identity
	err error // of the first update that failed
}

// OpenIdentity reads the identity in dir; without a file it is the zero value.
func OpenIdentity(fsys vfs.FS, dir string) (*IdentityFile, error) {
	f := &IdentityFile{fs: fsys, dir: dir, path: path.Join(dir, identityName)}
	if err := fsys.Remove(f.path + tempSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open identity: %w", err)
	}
	// The name that the last process left need not be durable; what is read
	// here must be, before anybody acts on it.
	if err := fsys.SyncDir(dir); err != nil {
		return nil, fmt.Errorf("open identity: %w", err)
	}
	b, err := readFile(fsys, f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open identity: %w", err)
	}
	if f.id, err = decodeIdentity(b); err != nil {
		return nil, fmt.Errorf("open identity: %w", &CorruptError{f.path, 0, err.Error()})
	}
	return f, nil
}

func readFile(fsys vfs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	b := make([]byte, size)
	if err == nil && size > 0 {
		_, err = f.ReadAt(b, 0)
	}
	return b, errors.Join(err, f.Close())
}

// Get returns the identity. The caller owns the copy.
func (f *IdentityFile) Get() Identity {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.id.clone()
}

// Update changes the identity; the change is durable when it returns. If it
// fails, the file has either the old or the new identity, Get returns the old
// one, every further Update fails too, and the member must stop.
func (f *IdentityFile) Update(change func(*Identity)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	id := f.id.clone()
	change(&id)
	b, err := encodeIdentity(id)
	if err == nil {
		err = writeFileAtomic(f.fs, f.dir, f.path, b)
	}
	if err != nil {
		f.err = fmt.Errorf("update identity %s: %w", f.path, err)
		return f.err
	}
	f.id = id
	return nil
}

// forget is for when the file is gone.
func (f *IdentityFile) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.id = Identity{}
}

// writeFileAtomic replaces the file, in dir, so that after a crash either the
// old or the new contents are there.
func writeFileAtomic(fsys vfs.FS, dir, name string, b []byte) error {
	f, err := fsys.Create(name + tempSuffix)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(b, 0); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = fsys.Remove(name + tempSuffix)
		return err
	}
	if err := fsys.Rename(name+tempSuffix, name); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}
