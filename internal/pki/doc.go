// Package pki is a cluster's certificate authority: who is a member and who is
// the operator, on the admin and peer ports.
//
// In the room: pure functions from keys, certificates and a time to keys and
// certificates. Not in the room: Kubernetes, files, and the clock.
//
// A certificate's role stands in its Subject's Organization. Members have
// certificates that serve and dial, the operator has one that dials, and dialers
// verify one name that all members share: addresses of pods are not in
// certificates.
//
// Certificates are renewed after two thirds of their life, by a mere rewrite of the
// Secret, which members read again. The authority's own is replaced in three
// steps, each a time after the one before, so that at any moment every
// certificate in use verifies against every bundle in use:
//
//  1. the next authority is trusted (Bundle) and signs nothing;
//  2. Policy.Overlap after the members' bundle was seen to have it, in which all of
//     them have read that, it signs, and all certificates are issued anew;
//  3. Policy.Life after that, when everything that the former one signed has
//     expired, the former one is no longer trusted.
package pki
