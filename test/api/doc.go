// Package api tests the CRD: what the API server accepts, refuses with which
// words, and fills in.
//
// The tables run twice: through the API server's own validation as a library, in
// every go test, and against a real API server with the build tag envtest, which
// make test sets.
package api
