// Package prep puts nodes into an ensemble before a cell is measured and takes
// them out afterwards: many at a time, in transactions of a hundred, through all
// members at once.
//
// What may not enter: anything that is measured.
package prep
