// Command candidate takes part in an election, and is the workload of make demo:
// three of it run as a Deployment, and one of them leads.
//
// It is an ordinary ZooKeeper client, of an ordinary library, and knows nothing of
// Conclave or Kubernetes. The election is ZooKeeper's recipe: every candidate makes an
// ephemeral sequential node below one path, with its own name as the data; the
// lowest leads, and each of the others watches the one before it, so that the end of
// one wakes one.
//
// Run as "candidate crash" it ends the candidate that is its container's first
// process, without a good-bye: the session is left to expire.
//
// In the room: that one recipe, and what goes wrong around it: lost connections,
// expired sessions, an ensemble that is not there yet. Not in the room: anything of
// Conclave's.
package main
