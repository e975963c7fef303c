package membership

// Reason says why a step is planned, or why none is. It appears in status, in
// events and in the table of docs/operations.md.
type Reason string

// Reasons for steps.
const (
	// Creating: the pods are made, or as many as there are volumes to be asked.
	Creating Reason = "Creating"
	// EnsembleFound: members with data were found; theirs is the ensemble.
	EnsembleFound Reason = "EnsembleFound"
	// EnsembleRecovered: the ensemble lost its majority and was made to go on
	// under another id by hand.
	EnsembleRecovered Reason = "EnsembleRecovered"
	// Founding: every pod answered and is empty; the ensemble is made.
	Founding Reason = "Founding"
	// Founded: the ensemble exists, and will never be made again.
	Founded Reason = "Founded"
	// SpecChanged: the spec asks for another size.
	SpecChanged Reason = "SpecChanged"
	// ScalingUp: voters or observers are added.
	ScalingUp Reason = "ScalingUp"
	// ScalingDown: voters or observers are taken out.
	ScalingDown Reason = "ScalingDown"
	// ReplacingMember: a member lost its volume; its pod's new one takes its seat.
	ReplacingMember Reason = "ReplacingMember"
	// CleaningMember: a member returned on data that is not the ensemble's any
	// more, or can't read its data; that is moved aside and the member begins anew.
	CleaningMember Reason = "CleaningMember"
	// RestoringPods: members of the ensemble have no pod.
	RestoringPods Reason = "RestoringPods"
	// Parking: no voters are wanted; the pods go, members and data stay.
	Parking Reason = "Parking"
	// Unparking: the ensemble comes back at the size that it had.
	Unparking Reason = "Unparking"
)

// Reasons to wait or to rest.
const (
	// AtTarget: the ensemble is what the spec asks for, and everybody is in sync.
	AtTarget Reason = "AtTarget"
	// Parked: no voters are wanted, and no pods are there.
	Parked Reason = "Parked"
	// AskingMembers: not every pod has answered yet whether it has data, or nobody
	// what the membership is.
	AskingMembers Reason = "AskingMembers"
	// AwaitingFirstMember: the first member does not answer.
	AwaitingFirstMember Reason = "AwaitingFirstMember"
	// AwaitingPod: a pod that is to join does not run or does not answer.
	AwaitingPod Reason = "AwaitingPod"
	// CatchingUp: a learner copies what the others have.
	CatchingUp Reason = "CatchingUp"
	// AwaitingSecondLearner: a learner has caught up and is promoted together
	// with the next one, so that the number of voters stays odd.
	AwaitingSecondLearner Reason = "AwaitingSecondLearner"
	// PodsLeaving: pods of members that were taken out are terminating.
	PodsLeaving Reason = "PodsLeaving"
	// Draining: clients of a member that goes are let go.
	Draining Reason = "Draining"
	// AwaitingRefusal: a member that was removed has not heard of it yet.
	AwaitingRefusal Reason = "AwaitingRefusal"
	// FormerMemberAnswers: the old process of a server number still answers, so
	// that a new one can't take its seat.
	FormerMemberAnswers Reason = "FormerMemberAnswers"
	// VotersNotInSync: a voter does not answer or lags.
	VotersNotInSync Reason = "VotersNotInSync"
	// ObserversNotInSync: an observer does not answer or lags.
	ObserversNotInSync Reason = "ObserversNotInSync"
	// QuorumAtRisk: after the step, too few voters would answer.
	QuorumAtRisk Reason = "QuorumAtRisk"
	// NoLeader: a majority answers and has no leader yet.
	NoLeader Reason = "NoLeader"
	// QuorumLost: too few voters answer. Nothing is changed until they are back.
	QuorumLost Reason = "QuorumLost"
	// QuorumUnknown: no member of the ensemble answers.
	QuorumUnknown Reason = "QuorumUnknown"
)

// Reasons to hold until a person decides.
const (
	// SeveralEnsembles: members of different ensembles answer.
	SeveralEnsembles Reason = "SeveralEnsembles"
	// OnlyRefusingMembers: the only data there is belongs to members that their
	// ensemble has removed.
	OnlyRefusingMembers Reason = "OnlyRefusingMembers"
	// FirstMemberGone: the member that was to be the first has another id now:
	// its volume was lost around the one call that makes the ensemble.
	FirstMemberGone Reason = "FirstMemberGone"
	// EnsembleLost: every pod answers, and none has the ensemble's data.
	EnsembleLost Reason = "EnsembleLost"
)

// Reasons are all of them.
var Reasons = []Reason{
	Creating, EnsembleFound, EnsembleRecovered, Founding, Founded, SpecChanged, ScalingUp, ScalingDown, ReplacingMember, CleaningMember,
	RestoringPods, Parking, Unparking,
	AtTarget, Parked, AskingMembers, AwaitingFirstMember, AwaitingPod, CatchingUp, AwaitingSecondLearner, PodsLeaving, Draining, AwaitingRefusal,
	FormerMemberAnswers, VotersNotInSync, ObserversNotInSync, QuorumAtRisk, NoLeader, QuorumLost, QuorumUnknown,
	SeveralEnsembles, OnlyRefusingMembers, FirstMemberGone, EnsembleLost,
}
