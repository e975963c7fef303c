package controllers

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/pki"
	"github.com/conclave-dev/conclave/internal/resources"
)

// Keys of the Secret that members mount.
const (
	keyBundle = "ca.crt"
	keyCert   = corev1.TLSCertKey
	keyKey    = corev1.TLSPrivateKeyKey
)

// Credentials are what the operator shows members, and whom it trusts.
type Credentials struct {
	// Config verifies members by the name that their certificates share.
	Config *tls.Config
	// ID tells credentials apart: with another one, connections are made anew.
	ID string
}

// certify makes and renews the authority, the members' certificate and the
// operator's own. Members read the Secret again by themselves.
func (p *pass) certify(ctx context.Context) error {
	shown, err := p.secret(ctx, resources.TLSSecretName(p.cluster))
	if err != nil || p.trouble != nil {
		return err
	}
	authority, err := p.authority(ctx, shown.Data[keyBundle])
	if err != nil || p.trouble != nil {
		return err
	}
	render := func(bundle, cert, key []byte) *corev1ac.SecretApplyConfiguration {
		return resources.TLSSecret(p.cluster, bundle, cert, key)
	}
	if err := p.certificate(ctx, shown, authority, pki.RoleMember, []string{resources.TLSName(p.cluster)}, render); err != nil {
		return err
	}
	shown, err = p.secret(ctx, resources.ReaderSecretName(p.cluster))
	if err != nil || p.trouble != nil {
		return err
	}
	render = func(bundle, cert, key []byte) *corev1ac.SecretApplyConfiguration {
		return resources.ReaderSecret(p.cluster, bundle, cert, key)
	}
	if err := p.certificate(ctx, shown, authority, pki.RoleReader, nil, render); err != nil {
		return err
	}
	return p.connect(authority)
}

// acquaint gives the operator its own certificate and changes nothing, for a
// cluster that is paused. Without an authority nobody can be asked.
func (p *pass) acquaint(ctx context.Context) error {
	secret, err := p.secret(ctx, resources.AuthoritySecretName(p.cluster))
	if err != nil || p.trouble != nil {
		return err
	}
	authority, err := pki.ParseAuthority(p.Policy, p.authorityName(), secret.Data)
	if err != nil {
		return nil
	}
	return p.connect(authority)
}

func (p *pass) authorityName() string { return p.key.Namespace + "/" + p.key.Name }

func (p *pass) connect(authority *pki.Authority) error {
	own, err := p.own.get(p.key, authority, p.Now())
	if err != nil {
		return err
	}
	sum := sha256.Sum256(append(authority.Bundle(), own.Certificate[0]...))
	p.api, err = p.Ensembles.For(p.key, Credentials{
		Config: &tls.Config{RootCAs: authority.Pool(), ServerName: resources.TLSName(p.cluster), Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS13},
		ID:     fmt.Sprintf("%x", sum[:8]),
	})
	return err
}

// authority reads the cluster's authority, makes one, or takes the steps of its
// rotation that are due. bundle is what members have been given to trust.
func (p *pass) authority(ctx context.Context, bundle []byte) (*pki.Authority, error) {
	name := p.authorityName()
	secret, err := p.secret(ctx, resources.AuthoritySecretName(p.cluster))
	if err != nil || p.trouble != nil {
		return nil, err
	}
	authority, err := pki.ParseAuthority(p.Policy, name, secret.Data)
	made := errors.Is(err, pki.ErrAbsent)
	switch {
	case made:
		if authority, err = pki.New(p.Policy, name, bundle, p.Now()); err != nil {
			// What can't be read is trusted by nobody.
			if authority, err = pki.New(p.Policy, name, nil, p.Now()); err != nil {
				return nil, err
			}
		}
	case err != nil:
		p.trouble = &trouble{v1alpha1.ConditionDegraded, v1alpha1.ReasonCertificateInvalid,
			fmt.Sprintf("Secret %s: %v. Put back what it was, or delete the Secret: another authority is made then, and members that are connected stay so", secret.Name, err)}
		return nil, nil
	}
	next, err := authority.Advance(bundle, p.Now())
	if err != nil {
		return nil, err
	}
	if next == authority && !made {
		return authority, nil
	}
	data, err := next.Data()
	if err != nil {
		return nil, err
	}
	if err := p.writeSecret(ctx, secret, resources.AuthoritySecret(p.cluster, data)); err != nil {
		return nil, fmt.Errorf("writing Secret %s: %w", secret.Name, err)
	}
	if made {
		p.tell(ctx, "AuthorityMade", "MakeAuthority", "the certificate authority of this cluster was made")
	} else {
		p.tell(ctx, "AuthorityRotated", "RotateAuthority", "the certificate authority of this cluster took a step of its rotation")
	}
	return next, nil
}

// certificate sees to one that is kept in a Secret: that which all members share, or
// that of people who only look.
func (p *pass) certificate(ctx context.Context, secret *corev1.Secret, authority *pki.Authority, role pki.Role, names []string,
	render func(bundle, cert, key []byte) *corev1ac.SecretApplyConfiguration) (err error) {
	found := pki.Certificate{Cert: secret.Data[keyCert], Key: secret.Data[keyKey]}
	why := authority.Check(found, role, names, p.Now())
	if why == nil && string(secret.Data[keyBundle]) == string(authority.Bundle()) {
		return nil
	}
	if why != nil {
		if found, err = authority.Issue(role, names, p.Now()); err != nil {
			return err
		}
	}
	if err := p.writeSecret(ctx, secret, render(authority.Bundle(), found.Cert, found.Key)); err != nil {
		return fmt.Errorf("writing Secret %s: %w", secret.Name, err)
	}
	if why != nil {
		whose := "the members'"
		if role == pki.RoleReader {
			whose = "the readers'"
		}
		p.tell(ctx, "CertificateIssued", "IssueCertificate", whose+" certificate was issued: "+why.Error())
	}
	return nil
}

// secret reads one of the cluster's Secrets; it is empty if there is none. One that
// belongs to somebody else is trouble.
func (p *pass) secret(ctx context.Context, name string) (*corev1.Secret, error) {
	s := &corev1.Secret{}
	err := p.Reader.Get(ctx, client.ObjectKey{Namespace: p.key.Namespace, Name: name}, s)
	switch {
	case apierrors.IsNotFound(err):
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: p.key.Namespace, Name: name}}, nil
	case err != nil:
		return nil, fmt.Errorf("reading Secret %s: %w", name, err)
	case !p.ours(s):
		p.trouble = &trouble{v1alpha1.ConditionProgressing, v1alpha1.ReasonNameTaken, fmt.Sprintf("Secret %s exists and is not this cluster's: rename or delete it", name)}
	}
	return s, nil
}

// writeSecret replaces a Secret, if nobody has since it was read.
func (p *pass) writeSecret(ctx context.Context, old *corev1.Secret, next *corev1ac.SecretApplyConfiguration) error {
	if old.ResourceVersion == "" {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: p.key.Namespace, Name: old.Name, Labels: next.Labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(p.cluster, v1alpha1.Kind)}}, Data: next.Data, Type: *next.Type}
		s.OwnerReferences[0].BlockOwnerDeletion = nil
		err := p.Create(ctx, s, client.FieldOwner(v1alpha1.FieldOwner))
		if apierrors.IsAlreadyExists(err) {
			return apierrors.NewConflict(corev1.Resource("secrets"), old.Name, err)
		}
		return err
	}
	return p.Apply(ctx, next.WithResourceVersion(old.ResourceVersion), client.FieldOwner(v1alpha1.FieldOwner), client.ForceOwnership)
}
