package disk

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/conclave-dev/conclave/test/bench/hist"
)

const (
	// Block is what is written before each sync.
	Block = 4096
	// fileSize is written once in advance, so that a sync need not commit the
	// file's growth to the journal: the best that a log can arrange.
	fileSize = 8 << 20
	// Processes is how many write at the same time.
	Processes = 3
)

// Command is the argument by which the bench's program runs Child.
const Command = "fsync-probe"

// Measure has Processes children write and sync in a directory of their own below
// dir for the time d, and returns how long each of their fdatasync calls took. program
// is the bench's own one.
func Measure(program, dir string, d time.Duration) (*hist.H, error) {
	dir, err := os.MkdirTemp(dir, "fsync-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	type child struct {
		cmd   *exec.Cmd
		start io.WriteCloser
		out   *json.Decoder
	}
	var children []child
	defer func() {
		for _, c := range children {
			c.start.Close()
			c.cmd.Process.Kill()
			c.cmd.Wait()
		}
	}()
	for i := range Processes {
		c := child{cmd: exec.Command(program, Command, filepath.Join(dir, fmt.Sprint(i)), d.String())}
		c.cmd.Stderr = os.Stderr
		out, err := c.cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		c.out = json.NewDecoder(out)
		if c.start, err = c.cmd.StdinPipe(); err != nil {
			return nil, err
		}
		if err := c.cmd.Start(); err != nil {
			return nil, err
		}
		children = append(children, c)
	}
	// Each has written its file by the time it says so; they begin together.
	for _, c := range children {
		var ready string
		if err := c.out.Decode(&ready); err != nil {
			return nil, fmt.Errorf("fsync probe: %w", err)
		}
	}
	for _, c := range children {
		c.start.Close()
	}
	all := new(hist.H)
	for _, c := range children {
		var h hist.H
		if err := c.out.Decode(&h); err != nil {
			return nil, fmt.Errorf("fsync probe: %w", err)
		}
		all.Merge(&h)
	}
	return all, nil
}

// Child is one of the processes: it prepares the file at path, says so on out,
// waits for the end of in, writes and syncs for the time d, and writes the
// histogram to out.
func Child(path string, d time.Duration, in io.Reader, out io.Writer) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	block := make([]byte, Block)
	for at := int64(0); at < fileSize; at += Block {
		if _, err := f.WriteAt(block, at); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode("ready"); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	var h hist.H
	begin := time.Now()
	for at := int64(0); time.Since(begin) < d; at = (at + Block) % fileSize {
		block[0]++
		if _, err := f.WriteAt(block, at); err != nil {
			return err
		}
		before := time.Now()
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return fmt.Errorf("fdatasync of %s: %w", path, err)
		}
		h.Record(int64(time.Since(before)))
	}
	return json.NewEncoder(out).Encode(&h)
}
