// kubectl-conclave is a kubectl plugin: kubectl conclave looks into coordination
// clusters.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/conclave-dev/conclave/internal/plugin"
)

// version and built are set by the linker.
var version, built = "dev", ""

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	flags := genericclioptions.NewConfigFlags(true)
	root := plugin.New(plugin.Kubernetes(flags), plugin.Streams{Out: os.Stdout, Err: os.Stderr})
	root.Version = version
	if built != "" {
		root.Version += " of " + built
	}
	flags.AddFlags(root.PersistentFlags())
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		stop()
		os.Exit(1)
	}
}
