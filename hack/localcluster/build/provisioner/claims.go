package main

import (
	"context"
	"fmt"
	"log"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// The annotations through which Kubernetes and a provisioner talk.
const (
	selectedNode  = "volume.kubernetes.io/selected-node"
	provisionedBy = "pv.kubernetes.io/provisioned-by"
)

// work names a claim (namespace/name) or, without a slash, a volume.
type work string

type provisioner struct {
	client  kubernetes.Interface
	disks   disks
	name    string
	start   func(context.Context) error
	claims  corelisters.PersistentVolumeClaimLister
	volumes corelisters.PersistentVolumeLister
	classes storagelisters.StorageClassLister
	queue   workqueue.TypedRateLimitingInterface[work]
}

func newProvisioner(client kubernetes.Interface, d disks, name string) *provisioner {
	f := informers.NewSharedInformerFactory(client, 0)
	p := &provisioner{
		client:  client,
		disks:   d,
		name:    name,
		claims:  f.Core().V1().PersistentVolumeClaims().Lister(),
		volumes: f.Core().V1().PersistentVolumes().Lister(),
		classes: f.Storage().V1().StorageClasses().Lister(),
		queue:   workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[work]()),
	}
	enqueue := func(obj any) {
		if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj); err == nil {
			p.queue.Add(work(key))
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    enqueue,
		UpdateFunc: func(_, obj any) { enqueue(obj) },
	}
	claims := f.Core().V1().PersistentVolumeClaims().Informer()
	volumes := f.Core().V1().PersistentVolumes().Informer()
	p.start = func(ctx context.Context) error {
		for _, i := range []cache.SharedIndexInformer{claims, volumes} {
			if _, err := i.AddEventHandler(handler); err != nil {
				return err
			}
		}
		f.Start(ctx.Done())
		for t, ok := range f.WaitForCacheSync(ctx.Done()) {
			if !ok && ctx.Err() == nil {
				return fmt.Errorf("no list of %v", t)
			}
		}
		return nil
	}
	return p
}

// run works until ctx ends.
func (p *provisioner) run(ctx context.Context) error {
	if err := p.start(ctx); err != nil {
		return err
	}
	var worker sync.WaitGroup
	worker.Go(func() {
		for p.next(ctx) {
		}
	})
	<-ctx.Done()
	p.queue.ShutDown()
	worker.Wait()
	return nil
}

func (p *provisioner) next(ctx context.Context) bool {
	item, shutdown := p.queue.Get()
	if shutdown {
		return false
	}
	defer p.queue.Done(item)
	var err error
	if namespace, name, isClaim := strings.Cut(string(item), "/"); isClaim {
		err = p.claim(ctx, namespace, name)
	} else {
		err = p.volume(ctx, string(item))
	}
	if err != nil && ctx.Err() == nil {
		log.Printf("%s: %v", item, err)
		p.queue.AddRateLimited(item)
	} else {
		p.queue.Forget(item)
	}
	return true
}

// claim gives a claim its volume, or the volume its claim's new size.
func (p *provisioner) claim(ctx context.Context, namespace, name string) error {
	c, err := p.claims.PersistentVolumeClaims(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if c.Spec.VolumeName != "" {
		return p.resize(ctx, c)
	}
	node := c.Annotations[selectedNode]
	if node == "" || c.Spec.StorageClassName == nil || c.DeletionTimestamp != nil {
		return nil
	}
	class, err := p.classes.Get(*c.Spec.StorageClassName)
	if err != nil || class.Provisioner != p.name {
		return err
	}
	return p.provision(ctx, c, class, node)
}

func (p *provisioner) provision(ctx context.Context, c *corev1.PersistentVolumeClaim, class *storagev1.StorageClass, node string) error {
	// By the claim's UID, so that a second attempt finds what the first has made.
	name := "pvc-" + string(c.UID)
	if _, err := p.volumes.Get(name); err == nil {
		return nil
	}
	asked := c.Spec.Resources.Requests[corev1.ResourceStorage]
	size, err := p.disks.create(node, name, asked.Value())
	if err != nil {
		return err
	}
	_, err = p.client.CoreV1().PersistentVolumes().Create(ctx, &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{provisionedBy: p.name}},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName:              class.Name,
			PersistentVolumeReclaimPolicy: *class.ReclaimPolicy,
			AccessModes:                   c.Spec.AccessModes,
			VolumeMode:                    c.Spec.VolumeMode,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(size, resource.BinarySI)},
			ClaimRef: &corev1.ObjectReference{
				Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: c.Namespace, Name: c.Name, UID: c.UID,
			},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				Local: &corev1.LocalVolumeSource{Path: p.disks.path(node, name)},
			},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node},
				}},
			}}}},
		},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	log.Printf("%s/%s: volume %s of %d MiB on %s", c.Namespace, c.Name, name, size>>20, node)
	return nil
}

// resize makes a bound claim's volume as big as the claim asks for.
func (p *provisioner) resize(ctx context.Context, c *corev1.PersistentVolumeClaim) error {
	v, err := p.volumes.Get(c.Spec.VolumeName)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil || !p.ours(v) || c.Status.Phase != corev1.ClaimBound {
		return err
	}
	asked := c.Spec.Resources.Requests[corev1.ResourceStorage]
	if has := v.Spec.Capacity[corev1.ResourceStorage]; asked.Cmp(has) > 0 {
		if err := p.disks.grow(nodeOf(v), v.Name, asked.Value()); err != nil {
			return err
		}
		v = v.DeepCopy()
		v.Spec.Capacity[corev1.ResourceStorage] = asked
		if _, err := p.client.CoreV1().PersistentVolumes().Update(ctx, v, metav1.UpdateOptions{}); err != nil {
			return err
		}
		log.Printf("%s/%s: volume %s grown to %d MiB", c.Namespace, c.Name, v.Name, asked.Value()>>20)
	}
	if has := c.Status.Capacity[corev1.ResourceStorage]; asked.Cmp(has) <= 0 {
		return nil
	}
	c = c.DeepCopy()
	c.Status.Capacity[corev1.ResourceStorage] = v.Spec.Capacity[corev1.ResourceStorage]
	c.Status.Conditions = nil
	_, err = p.client.CoreV1().PersistentVolumeClaims(c.Namespace).UpdateStatus(ctx, c, metav1.UpdateOptions{})
	return err
}

// volume deletes a volume whose claim is gone, if its class said so.
func (p *provisioner) volume(ctx context.Context, name string) error {
	v, err := p.volumes.Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil || !p.ours(v) {
		return err
	}
	if v.Status.Phase != corev1.VolumeReleased || v.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
		return nil
	}
	if err := p.disks.remove(nodeOf(v), v.Name); err != nil {
		return err
	}
	err = p.client.CoreV1().PersistentVolumes().Delete(ctx, v.Name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	log.Printf("volume %s deleted", v.Name)
	return nil
}

func (p *provisioner) ours(v *corev1.PersistentVolume) bool {
	return v.Annotations[provisionedBy] == p.name && v.Spec.Local != nil
}

// nodeOf reads the node from the affinity that provision wrote.
func nodeOf(v *corev1.PersistentVolume) string {
	if a := v.Spec.NodeAffinity; a != nil && a.Required != nil {
		for _, term := range a.Required.NodeSelectorTerms {
			for _, e := range term.MatchExpressions {
				if e.Key == corev1.LabelHostname && len(e.Values) == 1 {
					return e.Values[0]
				}
			}
		}
	}
	return ""
}
