// Command provisioner makes the local cluster's volumes: for every claim a
// file system of the size asked for, in a sparse file, mounted in a folder
// that belongs to the node the scheduler chose. A volume can thus be full
// without the machine being full, stays with its node as a local disk does,
// and grows while it is mounted when its claim does.
//
// One process serves all nodes: it runs in the mount namespace from which the
// nodes' namespaces get their mounts.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "kubeconfig of a user who may do anything with volumes and claims")
	root := flag.String("root", "", "folder of the volumes: <root>/<node>/<volume>")
	name := flag.String("name", "conclave.dev/local-disk", "provisioner's name in storage classes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kubeconfig, *root, *name); err != nil {
		fmt.Fprintln(os.Stderr, "provisioner:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, kubeconfig, root, name string) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	return newProvisioner(client, disks{root: root}, name).run(ctx)
}
