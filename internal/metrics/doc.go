// Package metrics is where one member counts and measures, and how that is
// shown to Prometheus.
//
// Every figure is a field of Metrics with a type of its own: whoever measures
// writes to the field, without looking up a name or a label and without
// allocating. A histogram takes some ten nanoseconds for an observation, so
// that each request can be one (BenchmarkHistogram). That, minima and maxima,
// quantiles, and figures that can be reset without counters going backwards
// are why the histogram is written here: a client_golang one takes 24 ns, and
// 60 ns when two cores meet on it.
//
// What a member is, as opposed to what it did, is not counted here: State is
// read from the member when somebody asks.
//
// In the room: cells, names, help texts, the text format, an http.Handler.
// Not in the room: any knowledge of what is being measured, and ZooKeeper's
// names for the same figures, which are package admin's.
package metrics
