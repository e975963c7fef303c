package plugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/projection/stream"
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

	podsOnce sync.Once
	pods     map[netip.Addr]string
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

func (k *kube) Watch(ctx context.Context, cc *v1alpha1.CoordinationCluster, r *adminpb.WatchSessionsRequest) (stream.Receiver, func(), error) {
	c, err := k.client()
	if err != nil {
		return nil, nil, err
	}
	var secret corev1.Secret
	if err := c.Get(ctx, client.ObjectKey{Namespace: cc.Namespace, Name: cc.Name + "-reader"}, &secret); err != nil {
		return nil, nil, fmt.Errorf("the certificate for the admin port is in Secret %s-reader: %w", cc.Name, err)
	}
	t, err := adminTLS(secret.Data, fmt.Sprintf("member.%s.%s.%s", cc.Name, cc.Namespace, v1alpha1.Group))
	if err != nil {
		return nil, nil, err
	}
	return watch(ctx, cc, t, func(ctx context.Context, pod string) (net.Conn, error) {
		return forward(ctx, k.cfg, cc.Namespace, pod, portAdmin)
	}, r)
}

func (k *kube) Leases(ctx context.Context, cc *v1alpha1.CoordinationCluster) ([]coordinationv1.Lease, error) {
	c, err := k.client()
	if err != nil {
		return nil, err
	}
	var list coordinationv1.LeaseList
	err = c.List(ctx, &list, client.InNamespace(cc.Namespace), client.MatchingLabels{v1alpha1.LabelCluster: cc.Name}, client.HasLabels{v1alpha1.LabelRule})
	return list.Items, err
}

// PodAt looks in all namespaces, or, if the person may not, in that of the cluster.
func (k *kube) PodAt(ctx context.Context, a netip.Addr) string {
	k.podsOnce.Do(func() {
		k.pods = make(map[netip.Addr]string)
		c, err := k.client()
		if err != nil {
			return
		}
		var list corev1.PodList
		if err := c.List(ctx, &list); err != nil {
			ns, err := k.Namespace()
			if err != nil || c.List(ctx, &list, client.InNamespace(ns)) != nil {
				return
			}
		}
		for i := range list.Items {
			p := &list.Items[i]
			// An address of the node's is many pods', one of a pod that has ended is
			// nobody's.
			if p.Spec.HostNetwork || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
				continue
			}
			for _, ip := range p.Status.PodIPs {
				if addr, err := netip.ParseAddr(ip.IP); err == nil {
					k.pods[addr] = p.Namespace + "/" + p.Name
				}
			}
		}
	})
	return k.pods[a]
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
