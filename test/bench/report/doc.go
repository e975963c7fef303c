// Package report turns samples into ratios with their spread, holds them against
// the bar, and writes them down: a summary to read, every figure as Markdown, and
// all samples as JSON.
//
// What may not enter: how a sample is taken.
package report
