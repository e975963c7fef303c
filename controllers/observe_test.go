package controllers

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestProblem(t *testing.T) {
	waiting := func(reason, message string, last *corev1.ContainerStateTerminated) corev1.PodStatus {
		return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			State:                corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
			LastTerminationState: corev1.ContainerState{Terminated: last},
		}}}
	}
	for want, status := range map[string]corev1.PodStatus{
		"":                          waiting("ContainerCreating", "", nil),
		"ErrImagePull: no such tag": waiting("ErrImagePull", "no such tag", nil),
		"CrashLoopBackOff: it ended with exit code 137 (OOMKilled)": waiting("CrashLoopBackOff", "back-off 10s",
			&corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"}),
		"CrashLoopBackOff: it ended with exit code 1 (Error): no space left on device": waiting("CrashLoopBackOff", "back-off 10s",
			&corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", Message: "serving\nno space left on device\n"}),
		"Unschedulable: 0/3 nodes": {Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse,
			Reason: corev1.PodReasonUnschedulable, Message: "0/3 nodes"}}},
		"Failed: Evicted": {Phase: corev1.PodFailed, Reason: "Evicted"},
	} {
		if got := problem(&corev1.Pod{Status: status}); got != want {
			t.Errorf("%q, and not %q", got, want)
		}
	}
}
