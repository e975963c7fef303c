package controllers

import (
	"crypto/tls"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/conclave-dev/conclave/internal/ensemble"
	"github.com/conclave-dev/conclave/internal/pki"
)

// Connections are the operator's connections to the members of all clusters.
type Connections struct {
	mu       sync.Mutex
	clusters map[client.ObjectKey]connection
}

type connection struct {
	id     string
	client *ensemble.Client
}

// NewConnections makes an empty set.
func NewConnections() *Connections {
	return &Connections{clusters: map[client.ObjectKey]connection{}}
}

// For implements Ensembles.
func (c *Connections) For(cluster client.ObjectKey, cr Credentials) (ensemble.Ensemble, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	have, ok := c.clusters[cluster]
	if ok && have.id == cr.ID {
		return have.client, nil
	}
	if ok {
		have.client.Close()
	}
	n := connection{cr.ID, ensemble.NewClient(cr.Config)}
	c.clusters[cluster] = n
	return n.client, nil
}

// Forget implements Ensembles.
func (c *Connections) Forget(cluster client.ObjectKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have, ok := c.clusters[cluster]; ok {
		have.client.Close()
		delete(c.clusters, cluster)
	}
}

// ownCertificates are the operator's own, one for each cluster. They are never
// written anywhere: an operator that starts makes new ones.
type ownCertificates struct {
	mu   sync.Mutex
	have map[client.ObjectKey]ownCertificate
}

type ownCertificate struct {
	pki.Certificate
	tls tls.Certificate
}

func (o *ownCertificates) get(cluster client.ObjectKey, a *pki.Authority, now time.Time) (tls.Certificate, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c, ok := o.have[cluster]; ok && a.Check(c.Certificate, pki.RoleOperator, nil, now) == nil {
		return c.tls, nil
	}
	made, err := a.Issue(pki.RoleOperator, nil, now)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := made.TLS()
	if err != nil {
		return tls.Certificate{}, err
	}
	if o.have == nil {
		o.have = map[client.ObjectKey]ownCertificate{}
	}
	o.have[cluster] = ownCertificate{made, pair}
	return pair, nil
}

func (o *ownCertificates) forget(cluster client.ObjectKey) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.have, cluster)
}
