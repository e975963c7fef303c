package v1alpha1

// Types of conditions. All of them are set on every pass, each with the
// generation it is about.
const (
	// ConditionAvailable is True while clients are served: there is a leader that a
	// quorum confirms, and a member behind the client Service.
	ConditionAvailable = "Available"
	// ConditionProgressing is True while the operator is on its way to what the spec
	// says, and False when it has arrived, is stuck, or is held up; its reason says
	// which.
	ConditionProgressing = "Progressing"
	// ConditionDegraded is True while something is broken that the ensemble works
	// without: fewer failures than promised would stop it.
	ConditionDegraded = "Degraded"
	// ConditionQuorumHealthy is True while a leader is confirmed by a majority of
	// voters, and says how many more may fail.
	ConditionQuorumHealthy = "QuorumHealthy"
	// ConditionMembersInSync is True while every member has applied what the leader
	// has committed, but for the usual few entries. Nothing is restarted or
	// removed on purpose without it.
	ConditionMembersInSync = "MembersInSync"
	// ConditionSessionsSynced is True while status.sessions follows the leader.
	ConditionSessionsSynced = "SessionsSynced"
	// ConditionLeasesSynced is True while every ephemeral node that a rule selects
	// has its Lease, with the right holder.
	ConditionLeasesSynced = "LeasesSynced"
)

// Reasons of Available.
const (
	// ReasonServing (True): there is a leader, and a member to connect to.
	ReasonServing = "Serving"
	// ReasonServingAlone (True): the same, with one voter wanted: it has no
	// PodDisruptionBudget, and is away whenever its pod is.
	ReasonServingAlone = "ServingAlone"
	// ReasonNoLeader (False): no leader is confirmed by a majority.
	ReasonNoLeader = "NoLeader"
	// ReasonNoReadyMember (False): there is a leader, and no member that is ready.
	ReasonNoReadyMember = "NoReadyMember"
	// ReasonNotFounded (False): the ensemble does not exist yet.
	ReasonNotFounded = "NotFounded"
)

// Reasons that several conditions have.
const (
	// ReasonParked (Available, QuorumHealthy, MembersInSync, SessionsSynced,
	// LeasesSynced: False; Progressing, Degraded: False): spec.replicas is 0, all
	// data is kept.
	ReasonParked = "Parked"
	// ReasonDeleting: the CoordinationCluster is being deleted.
	ReasonDeleting = "Deleting"
	// ReasonUnknown (Unknown): no member answers the operator, so that nothing can
	// be said. Clients may be served all the same.
	ReasonUnknown = "Unknown"
)

// Reasons of Progressing.
const (
	// ReasonSettled (False): all is as the spec says.
	ReasonSettled = "Settled"
	// ReasonPaused (False): spec.paused is set; the message says what waits.
	ReasonPaused = "Paused"
	// ReasonSpecRejected (False): the spec can't be carried out; the message names
	// the field. The cluster stays as it was.
	ReasonSpecRejected = "SpecRejected"
	// ReasonNameTaken (False): an object that the cluster needs exists and belongs to
	// somebody else.
	ReasonNameTaken = "NameTaken"
	// ReasonCreatingObjects (True): Services, StatefulSets and the like are being
	// made, or were changed by somebody and are being repaired.
	ReasonCreatingObjects = "CreatingObjects"
	// ReasonWaitingForPods (True): pods are not running, or not ready yet; the message
	// says which and why.
	ReasonWaitingForPods = "WaitingForPods"
	// ReasonLookingForData (True): every pod is asked whether it has data, before an
	// ensemble is founded.
	ReasonLookingForData = "LookingForData"
	// ReasonFounding (True): the one Bootstrap call is due or under way.
	ReasonFounding = "Founding"
	// ReasonAddingMember (True): a member is added as a learner, or catches up.
	ReasonAddingMember = "AddingMember"
	// ReasonPromotingMember (True): a learner that has caught up becomes a voter.
	ReasonPromotingMember = "PromotingMember"
	// ReasonRemovingMember (True): a member is taken out before its pod goes.
	ReasonRemovingMember = "RemovingMember"
	// ReasonReplacingMember (True): a member that lost its disk, or that the ensemble
	// removed, makes room for a new one under its name.
	ReasonReplacingMember = "ReplacingMember"
	// ReasonMovingLeader (True): leadership is handed over before something else.
	ReasonMovingLeader = "MovingLeader"
	// ReasonRollingOut (True): members are restarted one at a time.
	ReasonRollingOut = "RollingOut"
	// ReasonGrowingVolumes (True): volumes are being made larger.
	ReasonGrowingVolumes = "GrowingVolumes"
	// ReasonParking (True): members are drained and stopped, and nobody is removed.
	ReasonParking = "Parking"
	// ReasonUnparking (True): all voters that the ensemble had are coming back.
	ReasonUnparking = "Unparking"
	// ReasonRecovering (True): the recovery that spec.recovery orders is under way.
	ReasonRecovering = "Recovering"
	// ReasonWaitingForSync (True): a member must be in sync before the next step.
	ReasonWaitingForSync = "WaitingForSync"
	// ReasonWaitingForQuorum (False): a majority is missing; until it is back nothing
	// is restarted, added or removed.
	ReasonWaitingForQuorum = "WaitingForQuorum"
	// ReasonStepStuck (False): a step takes longer than
	// updateStrategy.stepTimeoutSeconds; the message says where it stands.
	ReasonStepStuck = "StepStuck"
	// ReasonRolloutStuck (False): a restarted member does not come back, for example
	// for a bad image. No other member is touched; taking the edit back heals it.
	ReasonRolloutStuck = "RolloutStuck"
	// ReasonVolumeNotResizable (False): the storage class can't make a volume larger.
	ReasonVolumeNotResizable = "VolumeNotResizable"
	// ReasonRecoveryRefused (False): spec.recovery does not fit the situation; the
	// message says what to look at.
	ReasonRecoveryRefused = "RecoveryRefused"
	// ReasonForeignData (False): volumes hold data of more than one ensemble, or of
	// another than the latched one. A person has to decide.
	ReasonForeignData = "ForeignData"
	// ReasonDataMissing (False): the ensemble exists, by the latch in status, and no
	// volume has its data. No new one is founded.
	ReasonDataMissing = "DataMissing"
)

// Reasons of Degraded.
const (
	// ReasonAllWell (False): nothing is broken.
	ReasonAllWell = "AllWell"
	// ReasonMemberDown (True): a member's pod is missing, pending or not ready.
	ReasonMemberDown = "MemberDown"
	// ReasonMemberCrashing (True): a member's container ends again and again.
	ReasonMemberCrashing = "MemberCrashing"
	// ReasonMemberUnschedulable (True): no node takes a member's pod.
	ReasonMemberUnschedulable = "MemberUnschedulable"
	// ReasonMemberRefuses (True): a member refuses to serve, because of what it has on
	// its disk.
	ReasonMemberRefuses = "MemberRefuses"
	// ReasonDiskFailed (True): a member's disk failed it.
	ReasonDiskFailed = "DiskFailed"
	// ReasonDiskSlow (True): a member's disk does not answer.
	ReasonDiskSlow = "DiskSlow"
	// ReasonQuorumLost (True): too few voters are up for a majority.
	ReasonQuorumLost = "QuorumLost"
	// ReasonCertificateInvalid (True): a Secret has certificates that can't be used,
	// and that the operator does not dare to replace.
	ReasonCertificateInvalid = "CertificateInvalid"
	// ReasonBadImage (True): an image can't be pulled.
	ReasonBadImage = "BadImage"
)

// Reasons of QuorumHealthy.
const (
	// ReasonQuorum (True): a majority confirms the leader.
	ReasonQuorum = "Quorum"
	// ReasonElecting (False): enough voters are up, and no leader is confirmed yet.
	ReasonElecting = "Electing"
	// ReasonMajorityDown (False): too few voters are up. Those that are missing come
	// back when their pods do.
	ReasonMajorityDown = "MajorityDown"
	// ReasonMajorityLost (False): too few voters have their data. It does not come
	// back by itself; the message has the evidence, and names spec.recovery.
	ReasonMajorityLost = "MajorityLost"
)

// Reasons of MembersInSync.
const (
	// ReasonInSync (True): every member is in sync.
	ReasonInSync = "InSync"
	// ReasonLagging (False): a member lacks entries, or does not answer.
	ReasonLagging = "Lagging"
	// ReasonCatchingUp (False): a new member is getting the data.
	ReasonCatchingUp = "CatchingUp"
)

// Reasons of SessionsSynced and LeasesSynced.
const (
	// ReasonSynced (True): it follows the leader.
	ReasonSynced = "Synced"
	// ReasonConnecting (False): the stream is being set up, or taken up again; what
	// is shown is as old as observedTime says.
	ReasonConnecting = "Connecting"
	// ReasonNotSupported (False): the members' version has no such stream.
	ReasonNotSupported = "NotSupported"
	// ReasonFrozen (False): there is no quorum, so that nobody knows who holds what:
	// holders stay, renewals have stopped, and Leases run out by themselves.
	ReasonFrozen = "Frozen"
	// ReasonTruncated (False): more nodes match than spec.leases.maxLeases.
	ReasonTruncated = "Truncated"
	// ReasonNameConflict (False): a Lease's name is taken, by a Lease that is not
	// ours or by another path. The others are in sync.
	ReasonNameConflict = "NameConflict"
	// ReasonWritingLeases (False): Leases are being written, within the rate that
	// spares the API server.
	ReasonWritingLeases = "WritingLeases"
	// ReasonNoRules (True): spec.leases is not set, and there are no Leases.
	ReasonNoRules = "NoRules"
)

// conditionReasons is the table of all reasons by condition. What is not in it is
// not set.
var conditionReasons = map[string][]string{
	ConditionAvailable: {ReasonServing, ReasonServingAlone, ReasonNoLeader, ReasonNoReadyMember, ReasonNotFounded,
		ReasonParked, ReasonDeleting, ReasonUnknown},
	ConditionProgressing: {ReasonSettled, ReasonPaused, ReasonSpecRejected, ReasonNameTaken, ReasonCreatingObjects, ReasonWaitingForPods,
		ReasonLookingForData, ReasonFounding, ReasonAddingMember, ReasonPromotingMember, ReasonRemovingMember, ReasonReplacingMember,
		ReasonMovingLeader, ReasonRollingOut, ReasonGrowingVolumes, ReasonParking, ReasonUnparking, ReasonRecovering, ReasonWaitingForSync,
		ReasonWaitingForQuorum, ReasonStepStuck, ReasonRolloutStuck, ReasonVolumeNotResizable, ReasonRecoveryRefused, ReasonForeignData,
		ReasonDataMissing, ReasonParked, ReasonDeleting, ReasonUnknown},
	ConditionDegraded: {ReasonAllWell, ReasonMemberDown, ReasonMemberCrashing, ReasonMemberUnschedulable, ReasonMemberRefuses,
		ReasonDiskFailed, ReasonDiskSlow, ReasonQuorumLost, ReasonCertificateInvalid, ReasonBadImage, ReasonParked, ReasonDeleting, ReasonUnknown},
	ConditionQuorumHealthy: {ReasonQuorum, ReasonElecting, ReasonMajorityDown, ReasonMajorityLost, ReasonNotFounded,
		ReasonParked, ReasonDeleting, ReasonUnknown},
	ConditionMembersInSync: {ReasonInSync, ReasonLagging, ReasonCatchingUp, ReasonNotFounded, ReasonParked, ReasonDeleting, ReasonUnknown},
	ConditionSessionsSynced: {ReasonSynced, ReasonConnecting, ReasonNotSupported, ReasonFrozen, ReasonNotFounded,
		ReasonParked, ReasonDeleting, ReasonUnknown},
	ConditionLeasesSynced: {ReasonSynced, ReasonConnecting, ReasonNotSupported, ReasonFrozen, ReasonTruncated, ReasonNameConflict,
		ReasonWritingLeases, ReasonNoRules, ReasonNotFounded, ReasonParked, ReasonDeleting, ReasonUnknown},
}

// Conditions returns the types of conditions in the order in which they are
// shown.
func Conditions() []string {
	return []string{ConditionAvailable, ConditionProgressing, ConditionDegraded, ConditionQuorumHealthy,
		ConditionMembersInSync, ConditionSessionsSynced, ConditionLeasesSynced}
}

// Reasons returns the reasons that a condition can have.
func Reasons(condition string) []string { return append([]string(nil), conditionReasons[condition]...) }
