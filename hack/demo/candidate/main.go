package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	logger := log.New(os.Stdout, "", log.LstdFlags|log.Lmicroseconds|log.LUTC|log.Lmsgprefix)
	host, _ := os.Hostname()
	servers := flag.String("servers", "127.0.0.1:2181", "members of the ensemble, host:port, separated by commas")
	path := flag.String("path", "/election", "the election: candidates are nodes below it")
	name := flag.String("name", host, "who this candidate is; in a pod, the host's name is the pod's")
	timeout := flag.Duration("timeout", 6*time.Second, "of the session: so long after a crash another leads")
	flag.Parse()
	if flag.Arg(0) == "crash" {
		// Go's programs end at once on it, also the first process of a container, which
		// nothing in that container can kill otherwise.
		if err := syscall.Kill(1, syscall.SIGABRT); err != nil {
			logger.Fatalf("crash: %v", err)
		}
		return
	}
	if flag.NArg() > 0 {
		logger.Fatalf("candidate: %q: there is only the command crash", flag.Args())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	logger.SetPrefix(*name + ": ")
	c := &candidate{servers: strings.Split(*servers, ","), dir: *path, name: *name, timeout: *timeout, logf: logger.Printf}
	c.lead = func(ctx context.Context, token int64) {
		// Here is the place for the work of which there may be one in the world. Whatever
		// it writes to carries the token, and refuses lower ones than it has seen.
		<-ctx.Done()
	}
	c.run(ctx)
	fmt.Fprintln(os.Stdout, *name+": ended")
}
