package main

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestOptions(t *testing.T) {
	s, err := scheme()
	if err != nil {
		t.Fatal(err)
	}
	o, err := options(flags{namespaces: []string{"a", "b"}, metrics: ":8443", metricsSecure: true}, s)
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Cache.DefaultNamespaces) != 2 || o.Metrics.FilterProvider == nil || !o.Metrics.SecureServing {
		t.Errorf("%+v", o)
	}
	// Secrets are read one by one: the operator needs no right to list them.
	if !slices.ContainsFunc(o.Client.Cache.DisableFor, func(o client.Object) bool { _, ok := o.(*corev1.Secret); return ok }) {
		t.Error("Secrets are cached")
	}
	if o, err = options(flags{metrics: "0"}, s); err != nil || o.Cache.DefaultNamespaces != nil || o.Metrics.FilterProvider != nil {
		t.Errorf("%+v %v", o, err)
	}
}

func TestFlags(t *testing.T) {
	if got := split(" a, ,b"); !slices.Equal(got, []string{"a", "b"}) {
		t.Error(got)
	}
	for _, f := range []flags{{logLevel: "loud", logFormat: "json"}, {logLevel: "info", logFormat: "xml"}} {
		if _, err := logger(f); err == nil {
			t.Errorf("%+v is accepted", f)
		}
	}
	if _, err := logger(flags{logLevel: "debug", logFormat: "text"}); err != nil {
		t.Error(err)
	}
	cmd := command()
	cmd.SetArgs([]string{"--workers", "0"})
	if err := cmd.Execute(); err == nil {
		t.Error("no workers are accepted")
	}
}
