package supervise

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCrashIsWrittenDown(t *testing.T) {
	dir := t.TempDir()
	statuses := filepath.Join(dir, "status")
	s, err := New(statuses, "node1", func(c string) string { return filepath.Join(dir, "log", c+".log") })
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("steady", "/bin/sh", "-c", "exec sleep 600"); err != nil {
		t.Fatal(err)
	}
	// Its end is written into the folder that is removed after this.
	t.Cleanup(func() {
		if err := s.Stop("steady"); err != nil {
			t.Error(err)
		}
	})
	if err := s.Start("crashing", "/bin/sh", "-c", "echo the reason >&2; exit 3"); err != nil {
		t.Fatal(err)
	}
	if err := s.Start("absent", filepath.Join(dir, "absent")); err == nil {
		t.Fatal("a program that does not exist was started")
	}
	if err := s.Ready(); err != nil {
		t.Fatal(err)
	}
	var machines []Machine
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if machines, err = Read(statuses); err != nil {
			t.Fatal(err)
		}
		if !machines[0].Components[1].Running() {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the end is not seen: %+v", machines)
		}
	}
	if !machines[0].Ready || !machines[0].Components[0].Running() {
		t.Errorf("%+v", machines[0])
	}
	err = Crashed(machines)
	if err == nil {
		t.Fatal("no crash is reported")
	}
	for _, want := range []string{"crashing of node1", "exit status 3", "the reason"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "steady") {
		t.Errorf("the component that runs is in: %v", err)
	}
}

func TestFailureIsReported(t *testing.T) {
	s, err := New(t.TempDir(), "control", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Fail(os.ErrPermission); err != nil {
		t.Fatal(err)
	}
	machines, err := Read(filepath.Dir(s.file))
	if err != nil {
		t.Fatal(err)
	}
	if err := Crashed(machines); err == nil || !strings.Contains(err.Error(), "control: permission denied") {
		t.Fatalf("%v", err)
	}
}

func TestCommandAndStop(t *testing.T) {
	dir := t.TempDir()
	s, err := New(dir, "control", func(c string) string { return filepath.Join(dir, c+".log") })
	if err != nil {
		t.Fatal(err)
	}
	if err := Command("/bin/sh", "-c", "echo said; exit 4"); err == nil || !strings.Contains(err.Error(), "exit status 4: said") {
		t.Errorf("%v", err)
	}
	if err := Command("/bin/true"); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := s.Start("node1", "/bin/sh", "-c", "exec sleep 600"); err != nil {
			t.Fatal(err)
		}
		if err := s.Stop("node1"); err != nil {
			t.Fatal(err)
		}
	}
	machines, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if c := machines[0].Components; len(c) != 1 || c[0].Running() || !c[0].Stopped || !strings.Contains(c[0].Exit, "killed") {
		t.Errorf("%+v", c)
	}
	if err := Crashed(machines); err != nil {
		t.Errorf("a component that was stopped counts as crashed: %v", err)
	}
}
