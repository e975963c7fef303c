package projector

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var writes = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "conclave_operator_lease_writes_total",
	Help: "Writes of Leases, by what for and outcome: done, lost (the object was another), failed."}, []string{"why", "outcome"})

func init() { metrics.Registry.MustRegister(writes) }
