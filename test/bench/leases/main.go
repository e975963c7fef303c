package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/klog/v2"
)

func main() {
	var err error
	if len(os.Args) == 3 && os.Args[1] == holderCommand {
		var server netip.AddrPort
		if server, err = netip.ParseAddrPort(os.Args[2]); err == nil {
			err = hold(server, os.Stdin, os.Stdout)
		}
	} else {
		err = run(os.Args[1:], os.Stdout, os.Stderr)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "leases:", err)
		os.Exit(1)
	}
}

func run(args []string, out, errOut io.Writer) error {
	s := full
	f := flag.NewFlagSet("leases", flag.ContinueOnError)
	f.SetOutput(errOut)
	quick := f.Bool("quick", false, "a tenth of everything: shows that it works")
	audit := f.String("audit", "", "the API server's audit log (default the local cluster's)")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if *quick {
		s = little
	}
	// Watches that are taken up again are no news.
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b, err := newBench(ctx, s, *audit, errOut)
	if err != nil {
		return err
	}
	err = b.all(ctx)
	b.table.markdown(out)
	return errors.Join(err, b.close())
}
