package controllers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// reasonRepaired: somebody has changed or deleted an object, and it was put back.
const reasonRepaired = "ObjectRepaired"

// identity says what an apply configuration is about, and what it wants; after it
// was applied, what has become of it.
func identity(ac runtime.ApplyConfiguration) (m metav1.PartialObjectMetadata, text []byte, err error) {
	if text, err = json.Marshal(ac); err != nil {
		return m, nil, err
	}
	return m, text, json.Unmarshal(text, &m)
}

// intents are what was applied last. An object that nobody has touched since is not
// applied again, and of one that somebody has changed it is told that it is put
// back. Nothing else rests upon it: a new process knows none, and takes what it finds
// for what it should be.
type intents struct {
	mu   sync.Mutex
	have map[client.ObjectKey]clusterIntents
}

// clusterIntents are those of one cluster, by kind and name of the object.
type clusterIntents struct {
	uid types.UID // of the cluster: another one of its name has other objects
	of  map[string]intent
}

type intent struct {
	text    []byte
	version string
}

// of returns what was applied last; false if nothing was, or nothing that is wanted
// still.
func (i *intents) of(p *pass, object string) (intent, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	c := i.have[p.key]
	if c.uid != p.cluster.UID {
		return intent{}, false
	}
	last, ok := c.of[object]
	return last, ok
}

func (i *intents) note(p *pass, object string, n intent) {
	i.mu.Lock()
	defer i.mu.Unlock()
	c := i.have[p.key]
	if c.of == nil || c.uid != p.cluster.UID {
		if i.have == nil {
			i.have = map[client.ObjectKey]clusterIntents{}
		}
		c = clusterIntents{p.cluster.UID, map[string]intent{}}
		i.have[p.key] = c
	}
	c.of[object] = n
}

// drop is for an object that is to be there no more.
func (i *intents) drop(p *pass, object string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.have[p.key].of, object)
}

// forget is for a cluster that is no more.
func (i *intents) forget(cluster client.ObjectKey) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.have, cluster)
}

// tellRepair tells that an apply has put back what somebody had changed, or deleted
// if found is nil. now is the object as it is after it, which text has in full. What
// follows from the spec is not told here, nor what others have added and the operator
// does not mind.
func (p *pass) tellRepair(ctx context.Context, last intent, wanted []byte, found client.Object, now *metav1.PartialObjectMetadata, text []byte) {
	object := now.Kind + " " + now.Name
	message := object + " was deleted by somebody else, and is made again"
	if found != nil && found.GetUID() == now.UID { // else what was found is one that is gone
		// A cache that lags shows what it was before the last apply.
		if order, err := resourceversion.CompareResourceVersion(found.GetResourceVersion(), last.version); err != nil || order <= 0 {
			return
		}
		fields, err := repaired(last.text, wanted, found, text)
		if err != nil {
			log.FromContext(ctx).Error(err, "what was applied can't be compared with what was there", "object", object)
		}
		if len(fields) == 0 {
			return
		}
		const most = 8
		more := ""
		if len(fields) > most {
			more = fmt.Sprintf(" and %d more", len(fields)-most)
		}
		message = fmt.Sprintf("%s was changed by somebody else, and is put back: %s%s", object, strings.Join(fields[:min(most, len(fields))], ", "), more)
	}
	p.note(ctx, reasonRepaired, "Repair", message)
	// Events that differ in their words alone are taken for one that happens again.
	p.Recorder.Eventf(p.cluster, now, corev1.EventTypeNormal, reasonRepaired, "Repair", "%s", limit(message, 900))
}

// repaired names the fields that an apply has put back: those that are wanted just
// as before, and were something else. text is what the apply has made of found.
func repaired(last, wanted []byte, found client.Object, text []byte) ([]string, error) {
	var was, is map[string]any
	// Both are read as the same type, so that they leave out the same.
	now := reflect.New(reflect.TypeOf(found).Elem()).Interface()
	if err := errors.Join(json.Unmarshal(last, &was), json.Unmarshal(wanted, &is), json.Unmarshal(text, now)); err != nil {
		return nil, err
	}
	before, err := fieldsOf(found)
	if err != nil {
		return nil, err
	}
	after, err := fieldsOf(now)
	if err != nil {
		return nil, err
	}
	d := repairs{same: bytes.Equal(last, wanted)}
	d.compare("", was, is, before, after)
	return d.paths, nil
}

// fieldsOf are an object's, without those that nobody can edit.
func fieldsOf(o any) (map[string]any, error) {
	u, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, err
	}
	for _, k := range []string{"apiVersion", "kind", "status"} {
		delete(u, k)
	}
	if m, ok := u["metadata"].(map[string]any); ok {
		delete(m, "managedFields")
	}
	if s, ok := u["spec"].(map[string]any); ok {
		// A StatefulSet's can't be changed; and what a client reads has no kind in them,
		// which an answer to an apply has.
		delete(s, "volumeClaimTemplates")
	}
	return u, nil
}

type repairs struct {
	// same: nothing else is wanted than before. Otherwise what goes may go with what
	// the spec has changed, as the node ports of a Service do with its type.
	same  bool
	paths []string
}

// compare goes down into what is wanted. was and is are what was wanted and what
// is; before and after are what was found and what an apply has made of it.
func (d *repairs) compare(path string, was, is, before, after any) {
	w, wok := was.(map[string]any)
	i, iok := is.(map[string]any)
	join := field
	if !wok || !iok {
		w, wok = byName(was)
		i, iok = byName(is)
		join = func(path, name string) string { return path + "[" + name + "]" }
	}
	b, bok := before.(map[string]any)
	a, aok := after.(map[string]any)
	if !bok {
		b, bok = byName(before)
	}
	if !aok {
		a, aok = byName(after)
	}
	if !wok || !iok || !bok && before != nil || !aok && after != nil {
		if reflect.DeepEqual(was, is) && !reflect.DeepEqual(before, after) {
			d.paths = append(d.paths, path)
		}
		return
	}
	for _, k := range slices.Sorted(maps.Keys(i)) {
		if old, ok := w[k]; ok {
			d.compare(join(path, k), old, i[k], b[k], a[k])
		}
	}
	// What somebody has added where everything is ours is taken away.
	for _, k := range slices.Sorted(maps.Keys(b)) {
		if d.same && a[k] == nil && i[k] == nil {
			d.paths = append(d.paths, join(path, k))
		}
	}
}

// field is the path of a field. A key with dots in it, as labels have, is quoted.
func field(path, name string) string {
	switch {
	case strings.ContainsAny(name, "./"):
		return fmt.Sprintf("%s[%q]", path, name)
	case path == "":
		return name
	}
	return path + "." + name
}

// byName are the items of a list whose items have names, each its own; false for
// any other list.
func byName(list any) (map[string]any, bool) {
	items, ok := list.([]any)
	if !ok {
		return nil, false
	}
	out := make(map[string]any, len(items))
	for _, item := range items {
		m, _ := item.(map[string]any)
		name, _ := m["name"].(string)
		if name == "" || out[name] != nil {
			return nil, false
		}
		out[name] = m
	}
	return out, true
}
