package controllers

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/csaupgrade"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// takeOver makes the operator the owner of all that others have edited in an object
// of ours, so that the next apply takes away what is not wanted; false if there is
// nothing to take. It is for an object that can't be applied otherwise: to a
// server-side apply a port that somebody has renumbered is another port, and stays
// beside ours, under the same name, which is invalid.
func (p *pass) takeOver(ctx context.Context, o client.Object) (bool, error) {
	// A cache leaves out whose the fields are.
	if err := p.Reader.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
		return false, err
	}
	others := sets.New[string]()
	for _, m := range o.GetManagedFields() {
		if m.Operation == metav1.ManagedFieldsOperationUpdate && m.Subresource == "" {
			others.Insert(m.Manager)
		}
	}
	patch, err := csaupgrade.UpgradeManagedFieldsPatch(o, others, v1alpha1.FieldOwner)
	if err != nil || patch == nil {
		return false, err
	}
	if err := p.Patch(ctx, o, client.RawPatch(types.JSONPatchType, patch)); err != nil {
		return false, fmt.Errorf("taking over what %v have edited: %w", sets.List(others), err)
	}
	log.FromContext(ctx).Info("an object can't be applied beside what others have edited in it; all of that is the operator's now", "object", o.GetName(), "others", sets.List(others))
	return true, nil
}
