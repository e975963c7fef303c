//go:build faults

package faults

const victimVariable = "CONCLAVE_FAULTS_VICTIM"

func runVictim(string) int { return 1 }
