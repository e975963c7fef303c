// Package cells is what the bench measures: each cell prepares an ensemble,
// lets clients loose on it and returns figures; the runner has the two servers
// take turns, so that the machine's drift hits both.
//
// Cells on standing ensembles come first: both ensembles stay up, the JVM warm,
// and only one of them is used at a time. Then come the cells that need an
// ensemble of their own for each sample, one at a time on the machine. What may
// not enter: bytes on the wire, and how figures are judged.
package cells
