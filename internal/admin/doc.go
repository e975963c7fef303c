// Package admin is the operations surface of one member: ZooKeeper's
// four-letter words, the HTTP commands of its AdminServer, and the gRPC API
// with its health service for the operator and the kubectl plugin.
//
// All three answer from the same two places: a Source, through which the member
// tells of its present state and takes orders, and metrics.Metrics, where it
// counts and measures. No figure is made up: what a member does not know is
// left out.
//
// In the room: formats, whitelists, listeners for operators, who may call what
// (roles.go), and health. Not in the room: how a member works. This package defines Source and imports
// neither the server nor the replica; besides metrics it knows jute, for the
// names of operations.
package admin
