// Package crd translates between the CoordinationCluster's types and the
// projection's: what spec.leases asks for, and what status says.
//
// In the room: types, conditions' reasons and messages. Not in the room: decisions.
package crd
