package storage

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

// A snapshot on disk, and on its way to a peer:
//
//	header    magic[8] version:4 metaLen:4 crc:4 meta
//	meta      index:8 term:8 zxid:8 time:8 idLen:4 clusterID confLen:4 confState
//	block     dataLen:4 crc:4 data        any number of them
//	trailer   0:4 crc:4 bodyLen:8 fileCRC:4
//
// A block's checksum is seeded with its number, so that blocks cannot change
// places. fileCRC is over all bytes before the trailer: with the length it finds
// what the blocks' own checksums cannot, a block that is missing. A file that
// ends without a trailer is not whole.
const (
	snapshotMagic      = "cnclvsnp"
	snapshotVersion    = 1
	snapshotHeaderSize = 20
	maxSnapshotMeta    = 16 << 20
	snapshotBlock      = 64 << 10
	blockHeaderSize    = 8
	trailerSize        = 20
	// syncEvery is how much a writer lets pile up in memory, in bytes. One
	// fsync of a whole snapshot would hold up the log's for as long as it
	// takes to write.
	syncEvery = 8 << 20
)

// SnapshotMeta says which state a snapshot is.
type SnapshotMeta struct {
	// Index and Term of the last entry that went into it.
	Index, Term uint64
	// ConfState is raft's configuration at Index, encoded by the caller.
	ConfState []byte
	// Zxid of the last transaction.
	Zxid int64
	// Time of the last transaction, in milliseconds since 1970, as entries
	// carry it.
	Time int64
	// ClusterID of the ensemble whose state it is.
	ClusterID string
}

// Equal compares all fields.
func (m SnapshotMeta) Equal(o SnapshotMeta) bool {
	return m.Index == o.Index && m.Term == o.Term && m.Zxid == o.Zxid && m.Time == o.Time &&
		m.ClusterID == o.ClusterID && bytes.Equal(m.ConfState, o.ConfState)
}

func (m SnapshotMeta) encode() []byte {
	b := make([]byte, snapshotHeaderSize, snapshotHeaderSize+40+len(m.ClusterID)+len(m.ConfState))
	copy(b, snapshotMagic)
	for _, v := range []uint64{m.Index, m.Term, uint64(m.Zxid), uint64(m.Time)} {
		b = le.AppendUint64(b, v)
	}
	for _, s := range [][]byte{[]byte(m.ClusterID), m.ConfState} {
		b = append(le.AppendUint32(b, uint32(len(s))), s...)
	}
	le.PutUint32(b[8:], snapshotVersion)
	le.PutUint32(b[12:], uint32(len(b)-snapshotHeaderSize))
	le.PutUint32(b[16:], snapshotHeaderCRC(b))
	return b
}

func snapshotHeaderCRC(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:16], castagnoli), castagnoli, b[snapshotHeaderSize:])
}

// decodeMeta takes what follows the fixed part of the header.
func decodeMeta(b []byte) (m SnapshotMeta, ok bool) {
	if len(b) < 40 {
		return m, false
	}
	m.Index, m.Term, m.Zxid, m.Time = le.Uint64(b), le.Uint64(b[8:]), int64(le.Uint64(b[16:])), int64(le.Uint64(b[24:]))
	b = b[32:]
	var parts [2][]byte
	for i := range parts {
		if len(b) < 4 || int64(le.Uint32(b)) > int64(len(b)-4) {
			return m, false
		}
		n := 4 + int(le.Uint32(b))
		parts[i], b = b[4:n], b[n:]
	}
	m.ClusterID = string(parts[0])
	if len(parts[1]) > 0 {
		m.ConfState = bytes.Clone(parts[1])
	}
	return m, len(b) == 0
}

// blockCRC is the checksum of block number n, or of the trailer after n blocks.
func blockCRC(n uint64, b []byte) uint32 {
	return crc32.Update(uint32(n)^uint32(n>>32), castagnoli, b)
}

// blockWriter writes the format to a file.
type blockWriter struct {
	f       vfs.File
	off     int64
	synced  int64
	body    uint64
	blocks  uint64
	fileCRC uint32
	buf     []byte // a block header's room, then what was not written yet
}

func newBlockWriter(f vfs.File, meta SnapshotMeta) (*blockWriter, error) {
	w := &blockWriter{f: f, buf: make([]byte, blockHeaderSize, blockHeaderSize+snapshotBlock)}
	b := meta.encode()
	if len(b) > maxSnapshotMeta {
		return nil, fmt.Errorf("the snapshot's metadata is %d bytes long", len(b))
	}
	return w, w.put(b)
}

func (w *blockWriter) put(b []byte) error {
	if _, err := w.f.WriteAt(b, w.off); err != nil {
		return err
	}
	w.off += int64(len(b))
	w.fileCRC = crc32.Update(w.fileCRC, castagnoli, b)
	if w.off-w.synced < syncEvery {
		return nil
	}
	w.synced = w.off
	return w.f.Datasync()
}

func (w *blockWriter) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		k := copy(w.buf[len(w.buf):cap(w.buf)], p[n:])
		w.buf = w.buf[:len(w.buf)+k]
		if len(w.buf) == cap(w.buf) {
			if err := w.flush(); err != nil {
				return n, err
			}
		}
		n += k
	}
	return n, nil
}

func (w *blockWriter) flush() error {
	data := w.buf[blockHeaderSize:]
	if len(data) == 0 {
		return nil
	}
	le.PutUint32(w.buf, uint32(len(data)))
	le.PutUint32(w.buf[4:], blockCRC(w.blocks, data))
	w.blocks++
	w.body += uint64(len(data))
	err := w.put(w.buf)
	w.buf = w.buf[:blockHeaderSize]
	return err
}

// finish writes what is left and the trailer.
func (w *blockWriter) finish() error {
	if err := w.flush(); err != nil {
		return err
	}
	b := make([]byte, trailerSize)
	le.PutUint64(b[8:], w.body)
	le.PutUint32(b[16:], w.fileCRC)
	le.PutUint32(b[4:], blockCRC(w.blocks, b[8:]))
	return w.put(b)
}

// SnapshotReader reads the body of a snapshot. It returns io.EOF only after the
// whole file has been found to be as it was written; what it returned before an
// error must be thrown away. A *CorruptError names file and offset.
type SnapshotReader struct {
	f       vfs.File
	path    string
	meta    SnapshotMeta
	size    int64
	off     int64 // of the next block
	body    uint64
	blocks  uint64
	fileCRC uint32
	data    []byte // verified, not returned yet
	buf     []byte
	err     error
}

func newSnapshotReader(f vfs.File, path string) (*SnapshotReader, error) {
	r := &SnapshotReader{f: f, path: path, buf: make([]byte, snapshotBlock)}
	var err error
	if r.size, err = f.Size(); err != nil {
		return nil, ioError("stat", path, err)
	}
	head, err := r.take(snapshotHeaderSize)
	if err != nil {
		return nil, err
	}
	head = bytes.Clone(head)
	switch {
	case string(head[:8]) != snapshotMagic:
		return nil, &CorruptError{path, 0, "this is not a snapshot (bad magic)"}
	case le.Uint32(head[8:]) != snapshotVersion:
		return nil, &CorruptError{path, 0, fmt.Sprintf("the snapshot has version %d of the format, this program reads version %d", le.Uint32(head[8:]), snapshotVersion)}
	case le.Uint32(head[12:]) > maxSnapshotMeta:
		return nil, &CorruptError{path, 0, "the header is damaged"}
	}
	meta, err := r.take(int64(le.Uint32(head[12:])))
	if err != nil {
		return nil, err
	}
	var ok bool
	if r.meta, ok = decodeMeta(meta); !ok || snapshotHeaderCRC(append(head, meta...)) != le.Uint32(head[16:]) {
		return nil, &CorruptError{path, 0, "the checksum of the header is wrong"}
	}
	return r, nil
}

// take reads the next n bytes of the file.
func (r *SnapshotReader) take(n int64) ([]byte, error) {
	if r.off+n > r.size {
		return nil, &CorruptError{r.path, r.off, fmt.Sprintf("the file ends at %d, before it should", r.size)}
	}
	if int64(len(r.buf)) < n {
		r.buf = make([]byte, n)
	}
	b := r.buf[:n]
	if _, err := r.f.ReadAt(b, r.off); err != nil && err != io.EOF {
		return nil, ioError(fmt.Sprintf("read %d bytes at offset %d of", n, r.off), r.path, err)
	}
	r.off += n
	r.fileCRC = crc32.Update(r.fileCRC, castagnoli, b)
	return b, nil
}

// Meta returns what the header says.
func (r *SnapshotReader) Meta() SnapshotMeta { return r.meta }

// Size returns the size of the file in bytes.
func (r *SnapshotReader) Size() int64 { return r.size }

// Read implements io.Reader.
func (r *SnapshotReader) Read(p []byte) (int, error) {
	for len(r.data) == 0 && r.err == nil {
		r.data, r.err = r.next()
	}
	if len(r.data) == 0 {
		return 0, r.err
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}

// next returns the next block, or io.EOF after the trailer.
func (r *SnapshotReader) next() ([]byte, error) {
	off, before := r.off, r.fileCRC
	head, err := r.take(blockHeaderSize)
	if err != nil {
		return nil, err
	}
	n, crc := int64(le.Uint32(head)), le.Uint32(head[4:])
	if n > snapshotBlock {
		return nil, &CorruptError{r.path, off, fmt.Sprintf("a block of %d bytes is too large", n)}
	}
	trailer := n == 0
	if trailer {
		n = trailerSize - blockHeaderSize
	}
	data, err := r.take(n)
	if err != nil {
		return nil, err
	}
	if crc != blockCRC(r.blocks, data) {
		return nil, &CorruptError{r.path, off, "the checksum of the block is wrong"}
	}
	if !trailer {
		r.blocks++
		r.body += uint64(n)
		return data, nil
	}
	switch {
	case le.Uint64(data) != r.body:
		return nil, &CorruptError{r.path, off, fmt.Sprintf("the snapshot should have %d bytes and has %d", le.Uint64(data), r.body)}
	case le.Uint32(data[8:]) != before:
		return nil, &CorruptError{r.path, off, "the checksum of the file is wrong"}
	case r.off != r.size:
		return nil, &CorruptError{r.path, r.off, fmt.Sprintf("%d bytes follow the end of the snapshot", r.size-r.off)}
	}
	return nil, io.EOF
}

// verify reads the rest and returns what is wrong with it.
func (r *SnapshotReader) verify() error {
	_, err := io.Copy(io.Discard, struct{ io.Reader }{r})
	return err
}

// Close closes the file.
func (r *SnapshotReader) Close() error { return r.f.Close() }
