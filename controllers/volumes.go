package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/membership"
	"github.com/conclave-dev/conclave/internal/resources"
)

// ownVolumes lets volumes go with the cluster or not, as the spec says. Nothing else
// may hold it up: who says that they are to be kept, and deletes the cluster then,
// counts on it.
func (p *pass) ownVolumes(ctx context.Context) error {
	var errs []error
	for i := range p.seen.claims {
		c := &p.seen.claims[i]
		volume, seat, ok := p.claimOf(c)
		if !ok || !c.DeletionTimestamp.IsZero() {
			continue
		}
		goes := slices.ContainsFunc(c.OwnerReferences, func(ref metav1.OwnerReference) bool { return ref.UID == p.cluster.UID })
		if goes == (p.cluster.Spec.Storage.Retention.WhenDeleted == v1alpha1.RetentionDelete) {
			continue
		}
		err := p.Apply(ctx, resources.OwnedClaim(p.cluster, volume, role(seat.Observer), seat.Ordinal, c), client.FieldOwner(v1alpha1.FieldOwner), client.ForceOwnership)
		if client.IgnoreNotFound(err) != nil { // else the StatefulSet makes the next
			errs = append(errs, fmt.Errorf("applying volume claim %s: %w", c.Name, err))
		}
	}
	return errors.Join(errs...)
}

// keepVolumes lets volumes grow to what the spec says, and deletes those of members
// that were taken out, if the spec wants that. A StatefulSet can do none of it, nor
// what ownVolumes does: its claim templates are fixed, and it would delete the
// volumes of an ensemble that is only parked.
func (p *pass) keepVolumes(ctx context.Context) error {
	var errs []error // one claim's trouble is not another's
	for i := range p.seen.claims {
		c := &p.seen.claims[i]
		if !c.DeletionTimestamp.IsZero() {
			continue
		}
		volume, seat, ok := p.claimOf(c)
		if !ok {
			continue
		}
		if p.abandoned(seat) {
			uid := c.UID
			if err := client.IgnoreNotFound(p.Delete(ctx, c, client.Preconditions{UID: &uid})); err != nil {
				errs = append(errs, fmt.Errorf("deleting volume claim %s: %w", c.Name, err))
				continue
			}
			p.tell(ctx, "VolumeDeleted", "DeleteVolume", fmt.Sprintf("volume claim %s of a member that was taken out was deleted (storage.retention.whenScaled)", c.Name))
			continue
		}
		errs = append(errs, p.keepVolume(ctx, c, volume, seat))
	}
	return errors.Join(errs...)
}

// claimOf returns which volume of which member a claim is.
func (p *pass) claimOf(c *corev1.PersistentVolumeClaim) (resources.Volume, membership.Seat, bool) {
	seat, ok := p.claimSeat(c)
	if ok {
		for _, v := range resources.Volumes(p.cluster) {
			if c.Name == resources.ClaimName(p.cluster, v, role(seat.Observer), seat.Ordinal) {
				return v, seat, true
			}
		}
	}
	return "", seat, false
}

// abandoned tells whether a volume is nobody's any more and not to be kept.
func (p *pass) abandoned(s membership.Seat) bool {
	return p.cluster.Spec.Storage.Retention.WhenScaled == v1alpha1.RetentionDelete &&
		p.founded() && p.status.Parked == nil && p.plan.Act == membership.Rest && p.plan.Reason == membership.AtTarget &&
		s.Ordinal >= p.size(s.Observer) && s.Ordinal >= p.set(p.live(s.Observer), s.Observer).Replicas && !p.hasPod(p.podName(s))
}

// keepVolume lets one claim grow, if it is not as large as it is to be.
func (p *pass) keepVolume(ctx context.Context, c *corev1.PersistentVolumeClaim, v resources.Volume, seat membership.Seat) error {
	if c.Status.Phase != corev1.ClaimBound || !resources.Larger(p.cluster, v, c) {
		return nil
	}
	err := p.Apply(ctx, resources.Claim(p.cluster, v, role(seat.Observer), seat.Ordinal, c), client.FieldOwner(v1alpha1.FieldOwner), client.ForceOwnership)
	switch {
	case apierrors.IsForbidden(err) || apierrors.IsInvalid(err):
		if p.trouble == nil {
			p.trouble = &trouble{v1alpha1.ConditionProgressing, v1alpha1.ReasonVolumeNotResizable,
				fmt.Sprintf("volume claim %s can't be made larger: %v. It takes a storage class with allowVolumeExpansion", c.Name, err)}
		}
		return nil
	case apierrors.IsNotFound(err):
		return nil // it has just gone: the StatefulSet makes the next
	case err != nil:
		return fmt.Errorf("applying volume claim %s: %w", c.Name, err)
	}
	p.tell(ctx, "VolumeGrowing", "GrowVolume", fmt.Sprintf("volume claim %s grows to what the spec says", c.Name))
	return nil
}

// growing says which volumes of running members are smaller yet than they are to
// be. Those that nobody mounts grow when somebody does.
func (p *pass) growing() string {
	var waiting []string
	for i := range p.seen.claims {
		c := &p.seen.claims[i]
		v, seat, ok := p.claimOf(c)
		has, known := c.Status.Capacity[corev1.ResourceStorage]
		if !ok || !known || !c.DeletionTimestamp.IsZero() || c.Status.Phase != corev1.ClaimBound || !p.hasPod(p.podName(seat)) {
			continue
		}
		asked := c.Spec.Resources.Requests[corev1.ResourceStorage]
		if !resources.Larger(p.cluster, v, c) && has.Cmp(asked) >= 0 {
			continue
		}
		text := fmt.Sprintf("%s has %s", c.Name, has.String())
		for _, cond := range c.Status.Conditions {
			if cond.Status == corev1.ConditionTrue && cond.Message != "" {
				text += ": " + cond.Message
			}
		}
		waiting = append(waiting, text)
	}
	return strings.Join(waiting, "; ")
}
