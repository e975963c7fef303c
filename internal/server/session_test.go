package server

import "testing"

// Transcripts of what clients see, in testdata. go test -rewrite writes them
// anew; whoever does so reads them.

func TestSessions(t *testing.T) { runScripts(t, "sessions") }
func TestOrder(t *testing.T)    { runScripts(t, "order") }
func TestWatches(t *testing.T)  { runScripts(t, "watches") }
func TestMulti(t *testing.T)    { runScripts(t, "multi") }

// What others who built such a server got wrong, one transcript each.
func TestBugsOfOthers(t *testing.T) { runScripts(t, "bugs") }
