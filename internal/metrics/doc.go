// Package metrics is where one member counts and measures, and how that is
// shown to Prometheus.
//
// Every figure is a field of Metrics with a type of its own: whoever measures
// writes to the field, without looking up a name or a label and without
// allocating. An observation in a histogram takes some ten nanoseconds, and
// twenty when two cores meet on it (BenchmarkHistogram), so that every request
// can be one; client_golang's takes 24 and up to 60. Besides, mntr needs minima,
// maxima, quantiles, and figures that can be reset while what Prometheus reads
// only grows. The text format is a page of code, and so is here as well.
//
// What a member is, as opposed to what it did, is not counted here: State is
// read from the member when somebody asks.
//
// In the room: cells, names, help texts, the text format, an http.Handler.
// Not in the room: any knowledge of what is being measured, and ZooKeeper's
// names for the same figures, which are package admin's.
package metrics
