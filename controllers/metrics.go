package controllers

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

var (
	steps = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "conclave_operator_steps_total",
		Help: "Steps of membership changes and restarts that were tried, by kind and outcome."}, []string{"step", "outcome"})
	condition = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "conclave_cluster_condition",
		Help: "1 if a cluster's condition is True, 0 if it is False, -1 if it is Unknown."}, []string{"namespace", "name", "condition"})
	voters = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "conclave_cluster_voters",
		Help: "Voters of a cluster: wanted, and ready."}, []string{"namespace", "name", "state"})
	stepAge = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "conclave_cluster_step_seconds",
		Help: "For how long the step under way has been; 0 if there is none."}, []string{"namespace", "name"})
)

func init() { metrics.Registry.MustRegister(steps, condition, voters, stepAge) }

// measure brings a cluster's metrics up to date.
func (p *pass) measure() {
	ns, name := p.key.Namespace, p.key.Name
	measureConditions(p.key, p.status.Conditions, slices.DeleteFunc(v1alpha1.Conditions(), func(kind string) bool { return slices.Contains(shownConditions, kind) }))
	voters.WithLabelValues(ns, name, "wanted").Set(float64(want(p.cluster).Voters))
	voters.WithLabelValues(ns, name, "ready").Set(float64(p.status.ReadyReplicas))
	age := 0.0
	if t := p.status.Target; t != nil && t.Step != nil {
		age = p.Now().Sub(t.Step.StartTime.Time).Seconds()
	}
	stepAge.WithLabelValues(ns, name).Set(age)
}

func measureConditions(cluster client.ObjectKey, are []metav1.Condition, kinds []string) {
	for _, kind := range kinds {
		value := -1.0
		switch {
		case meta.IsStatusConditionTrue(are, kind):
			value = 1
		case meta.IsStatusConditionFalse(are, kind):
			value = 0
		}
		condition.WithLabelValues(cluster.Namespace, cluster.Name, kind).Set(value)
	}
}

// forgetMetrics drops those of a cluster that is no more.
func forgetMetrics(cluster client.ObjectKey) {
	labels := prometheus.Labels{"namespace": cluster.Namespace, "name": cluster.Name}
	for _, v := range []*prometheus.GaugeVec{condition, voters, stepAge} {
		v.DeletePartialMatch(labels)
	}
}
