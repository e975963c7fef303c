package disk

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// The test binary is the program that Measure starts.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == Command {
		d, err := time.ParseDuration(os.Args[3])
		if err == nil {
			err = Child(os.Args[2], d, os.Stdin, os.Stdout)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestMeasure(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	h, err := Measure(program, dir, 20*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	// Each of the three begins at least one sync before its time is over.
	if h.Count() < Processes || h.Quantile(0.5) <= 0 {
		t.Errorf("%d syncs, median %v", h.Count(), time.Duration(h.Quantile(0.5)))
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left behind, %v", left, err)
	}
	if _, err := Measure("/nonexistent", dir, time.Millisecond); err == nil {
		t.Error("a program that does not exist was started")
	}
}
