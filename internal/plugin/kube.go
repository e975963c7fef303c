package plugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/conclave-dev/conclave/api/v1alpha1"
)

// portClient is where a member's pod serves clients.
const portClient = 2181

// kube is the World that a kubeconfig leads to.
type kube struct {
	flags *genericclioptions.ConfigFlags
	once  sync.Once
	cfg   *rest.Config
	c     client.Client
	err   error
}

// Kubernetes is the World of kubectl's usual flags, which are read when it is first
// asked something.
func Kubernetes(flags *genericclioptions.ConfigFlags) World { return &kube{flags: flags} }

func (k *kube) client() (client.Client, error) {
	k.once.Do(func() {
		if k.cfg, k.err = k.flags.ToRESTConfig(); k.err != nil {
			return
		}
		s := runtime.NewScheme()
		if k.err = errors.Join(scheme.AddToScheme(s), v1alpha1.AddToScheme(s)); k.err == nil {
			k.c, k.err = client.New(k.cfg, client.Options{Scheme: s})
		}
	})
	return k.c, k.err
}

func (k *kube) Now() time.Time { return time.Now() }

func (k *kube) Namespace() (string, error) {
	ns, _, err := k.flags.ToRawKubeConfigLoader().Namespace()
	return ns, err
}

func (k *kube) Clusters(ctx context.Context) ([]v1alpha1.CoordinationCluster, error) {
	c, err := k.client()
	if err != nil {
		return nil, err
	}
	ns, err := k.Namespace()
	if err != nil {
		return nil, err
	}
	var list v1alpha1.CoordinationClusterList
	if err := c.List(ctx, &list, client.InNamespace(ns)); err != nil {
		return nil, err
	}
	return list.Items, nil
}

func (k *kube) Cluster(ctx context.Context, name string) (*v1alpha1.CoordinationCluster, error) {
	c, err := k.client()
	if err != nil {
		return nil, err
	}
	ns, err := k.Namespace()
	if err != nil {
		return nil, err
	}
	var cc v1alpha1.CoordinationCluster
	err = c.Get(ctx, client.ObjectKey{Namespace: ns, Name: name}, &cc)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("there is no CoordinationCluster %s in namespace %s", name, ns)
	}
	return &cc, err
}

func (k *kube) Tree(ctx context.Context, cc *v1alpha1.CoordinationCluster, auth []Auth) (Tree, error) {
	pod, err := readyMember(cc)
	if err != nil {
		return nil, err
	}
	return dialTree(ctx, func() (net.Conn, error) {
		return forward(ctx, k.cfg, cc.Namespace, pod, portClient)
	}, auth)
}

// readyMember is a member that serves clients, by the operator's word; one that does
// not lead, if there is one.
func readyMember(cc *v1alpha1.CoordinationCluster) (string, error) {
	pod := ""
	for _, m := range cc.Status.Members {
		if m.Ready && !m.Draining && (pod == "" || m.Role != v1alpha1.RoleLeader) {
			pod = m.Pod
		}
	}
	if pod == "" {
		return "", fmt.Errorf("no member of %s/%s is ready; kubectl conclave status %s says more", cc.Namespace, cc.Name, cc.Name)
	}
	return pod, nil
}
