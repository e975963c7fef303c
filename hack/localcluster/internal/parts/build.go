package parts

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// A Builder builds parts of the clone at Root into the folder Cache.
type Builder struct {
	Root  string
	Cache string
	// Progress gets a line per program, and one every few seconds while a long one is compiled.
	Progress io.Writer
}

// DefaultCache is the folder conclave/localcluster in the user's cache folder.
func DefaultCache() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("where to keep what is built: %w: set XDG_CACHE_HOME or HOME", err)
	}
	return filepath.Join(dir, "conclave", "localcluster"), nil
}

// A job is a program to be compiled, and the file that it becomes.
type job struct {
	part    Part
	program Program
	out     string
}

// Build returns a folder with all programs of the parts by name, after building
// those that are not in the cache. The folder's name is made from the parts'
// keys: it changes when anything does that a program depends on.
func (b *Builder) Build(ctx context.Context, list []Part) (string, error) {
	jobs, set, err := b.plan(list)
	if err != nil {
		return "", err
	}
	// Whoever needs nothing built does not wait for one who does.
	if exists(set) {
		return set, nil
	}
	unlock, err := b.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	for i, j := range jobs {
		if exists(j.out) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(j.out), 0o755); err != nil {
			return "", fmt.Errorf("build cache: %w", err)
		}
		if err := b.compile(ctx, j, fmt.Sprintf("[%d/%d] %s", i+1, len(jobs), j.program.Name)); err != nil {
			return "", err
		}
	}
	return set, collect(set, jobs)
}

// plan names the file of each program, and the folder of them all.
func (b *Builder) plan(list []Part) (jobs []job, set string, err error) {
	all := sha256.New()
	for _, p := range list {
		key, err := b.key(p)
		if err != nil {
			return nil, "", err
		}
		for _, prog := range p.Programs {
			out := filepath.Join(b.Cache, "parts", p.Name+"-"+key, prog.Name)
			fmt.Fprintf(all, "%s\n", out)
			jobs = append(jobs, job{p, prog, out})
		}
	}
	return jobs, filepath.Join(b.Cache, "sets", hex.EncodeToString(all.Sum(nil))[:16]), nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// collect makes the folder set of links to what was built. A set that exists is
// complete: it is renamed into place.
func collect(set string, jobs []job) error {
	if exists(set) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(set), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(set), ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	for _, j := range jobs {
		if err := os.Symlink(j.out, filepath.Join(tmp, j.program.Name)); err != nil {
			return err
		}
	}
	return os.Rename(tmp, set)
}

// lock keeps a second build, in this clone or in another, from compiling the
// same things at the same time. The kernel drops the lock with its process.
func (b *Builder) lock() (func(), error) {
	if err := os.MkdirAll(b.Cache, 0o755); err != nil {
		return nil, fmt.Errorf("build cache: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(b.Cache, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("build cache: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		fmt.Fprintf(b.Progress, "waiting for another build, which holds %s\n", f.Name())
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}

// key is a hash of all that decides what a part's programs are: the files of
// its module, the flags, the Go version and the architecture.
func (b *Builder) key(p Part) (string, error) {
	dir := filepath.Join(b.Root, p.Dir)
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.HasSuffix(path, "_test.go") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("part %s: %w", p.Name, err)
	}
	sort.Strings(files)
	h := sha256.New()
	fmt.Fprintf(h, "%s %s %q %q\n", runtime.Version(), runtime.GOARCH, p.Tags, p.LDFlags)
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("part %s: %w", p.Name, err)
		}
		name, _ := filepath.Rel(dir, path)
		fmt.Fprintf(h, "%s %d\n", name, len(data))
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

func (b *Builder) compile(ctx context.Context, j job, label string) error {
	p, prog, out := j.part, j.program, j.out
	start := time.Now()
	fmt.Fprintf(b.Progress, "%s: compiling\n", label)
	tmp := fmt.Sprintf("%s.%d.tmp", out, os.Getpid())
	defer os.Remove(tmp)
	cmd := exec.CommandContext(ctx, "go", "build", "-v", "-trimpath", "-buildvcs=false", "-mod=readonly",
		"-tags", p.Tags, "-ldflags", "-s -w "+p.LDFlags, "-o", tmp, prog.Package)
	cmd.Dir = filepath.Join(b.Root, p.Dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w: is Go in PATH?", prog.Name, err)
	}
	var lines atomic.Int64
	stop := make(chan struct{})
	ticked := make(chan struct{})
	go func() {
		defer close(ticked)
		b.tick(stop, label, start, &lines)
	}()
	tail := readTail(stderr, &lines)
	err = cmd.Wait()
	close(stop)
	<-ticked
	if err != nil {
		return fmt.Errorf("go build %s in %s: %w\n%s", prog.Package, p.Dir, err, tail)
	}
	info, err := os.Stat(tmp)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, out); err != nil {
		return err
	}
	fmt.Fprintf(b.Progress, "%s: took %d s, %d MB\n", label, int(time.Since(start).Seconds()), info.Size()>>20)
	return nil
}

// tick shows that a long compilation goes on.
func (b *Builder) tick(stop <-chan struct{}, label string, start time.Time, lines *atomic.Int64) {
	t := time.NewTicker(20 * time.Second)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
			fmt.Fprintf(b.Progress, "%s: %d packages after %d s\n", label, lines.Load(), int(time.Since(start).Seconds()))
		}
	}
}

// readTail counts the lines of r, one for each package compiled, and returns
// the last of them, among which are the compiler's complaints.
func readTail(r io.Reader, lines *atomic.Int64) []byte {
	const keep = 30
	var last [][]byte
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		lines.Add(1)
		if last = append(last, bytes.Clone(s.Bytes())); len(last) > keep {
			last = last[1:]
		}
	}
	// A line too long for the scanner must not block the compiler.
	_, _ = io.Copy(io.Discard, r)
	return bytes.Join(last, []byte("\n"))
}

// Clean removes from the cache whatever the parts of this clone do not use.
func (b *Builder) Clean(list []Part) error {
	unlock, err := b.lock()
	if err != nil {
		return err
	}
	defer unlock()
	used := make(map[string]bool)
	for _, p := range list {
		key, err := b.key(p)
		if err != nil {
			return err
		}
		used[p.Name+"-"+key] = true
	}
	entries, err := os.ReadDir(filepath.Join(b.Cache, "parts"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if !used[e.Name()] {
			fmt.Fprintf(b.Progress, "removing %s\n", e.Name())
			if err := os.RemoveAll(filepath.Join(b.Cache, "parts", e.Name())); err != nil {
				return err
			}
		}
	}
	// Sets are only links, made again in no time.
	return os.RemoveAll(filepath.Join(b.Cache, "sets"))
}
