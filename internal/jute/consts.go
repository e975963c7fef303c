package jute

import "fmt"

// OpCode is the type of a request.
type OpCode int32

// The operations of the client protocol.
const (
	OpNotification         OpCode = 0
	OpCreate               OpCode = 1
	OpDelete               OpCode = 2
	OpExists               OpCode = 3
	OpGetData              OpCode = 4
	OpSetData              OpCode = 5
	OpGetACL               OpCode = 6
	OpSetACL               OpCode = 7
	OpGetChildren          OpCode = 8
	OpSync                 OpCode = 9
	OpPing                 OpCode = 11
	OpGetChildren2         OpCode = 12
	OpCheck                OpCode = 13
	OpMulti                OpCode = 14
	OpCreate2              OpCode = 15
	OpReconfig             OpCode = 16
	OpCheckWatches         OpCode = 17
	OpRemoveWatches        OpCode = 18
	OpCreateContainer      OpCode = 19
	OpDeleteContainer      OpCode = 20
	OpCreateTTL            OpCode = 21
	OpMultiRead            OpCode = 22
	OpAuth                 OpCode = 100
	OpSetWatches           OpCode = 101
	OpSasl                 OpCode = 102
	OpGetEphemerals        OpCode = 103
	OpGetAllChildrenNumber OpCode = 104
	OpSetWatches2          OpCode = 105
	OpAddWatch             OpCode = 106
	OpWhoAmI               OpCode = 107
	OpCreateSession        OpCode = -10
	OpCloseSession         OpCode = -11
	OpError                OpCode = -1
)

var opNames = map[OpCode]string{
	OpNotification: "notification", OpCreate: "create", OpDelete: "delete", OpExists: "exists", OpGetData: "getData",
	OpSetData: "setData", OpGetACL: "getACL", OpSetACL: "setACL", OpGetChildren: "getChildren", OpSync: "sync",
	OpPing: "ping", OpGetChildren2: "getChildren2", OpCheck: "check", OpMulti: "multi", OpCreate2: "create2",
	OpReconfig: "reconfig", OpCheckWatches: "checkWatches", OpRemoveWatches: "removeWatches",
	OpCreateContainer: "createContainer", OpDeleteContainer: "deleteContainer", OpCreateTTL: "createTTL",
	OpMultiRead: "multiRead", OpAuth: "auth", OpSetWatches: "setWatches", OpSasl: "sasl",
	OpGetEphemerals: "getEphemerals", OpGetAllChildrenNumber: "getAllChildrenNumber",
	OpSetWatches2: "setWatches2", OpAddWatch: "addWatch", OpWhoAmI: "whoAmI",
	OpCreateSession: "createSession", OpCloseSession: "closeSession", OpError: "error",
}

// String returns ZooKeeper's name of the operation.
func (o OpCode) String() string {
	if s, ok := opNames[o]; ok {
		return s
	}
	return fmt.Sprintf("op(%d)", int32(o))
}

// Xids with a meaning of their own. Every other request is answered in the
// order in which it was sent.
const (
	XidWatchEvent int32 = -1
	XidPing       int32 = -2
	XidAuth       int32 = -4
	XidSetWatches int32 = -8
)

// ErrCode is the error of a reply; OK is success. Where it travels inside the
// server it is a Go error too.
type ErrCode int32

// The error codes of the protocol (KeeperException.Code).
const (
	OK                         ErrCode = 0
	ErrSystem                  ErrCode = -1
	ErrRuntimeInconsistency    ErrCode = -2
	ErrDataInconsistency       ErrCode = -3
	ErrConnectionLoss          ErrCode = -4
	ErrMarshalling             ErrCode = -5
	ErrUnimplemented           ErrCode = -6
	ErrOperationTimeout        ErrCode = -7
	ErrBadArguments            ErrCode = -8
	ErrUnknownSession          ErrCode = -12
	ErrNewConfigNoQuorum       ErrCode = -13
	ErrReconfigInProgress      ErrCode = -14
	ErrAPI                     ErrCode = -100
	ErrNoNode                  ErrCode = -101
	ErrNoAuth                  ErrCode = -102
	ErrBadVersion              ErrCode = -103
	ErrNoChildrenForEphemerals ErrCode = -108
	ErrNodeExists              ErrCode = -110
	ErrNotEmpty                ErrCode = -111
	ErrSessionExpired          ErrCode = -112
	ErrInvalidCallback         ErrCode = -113
	ErrInvalidACL              ErrCode = -114
	ErrAuthFailed              ErrCode = -115
	ErrSessionMoved            ErrCode = -118
	ErrNotReadOnly             ErrCode = -119
	ErrEphemeralOnLocalSession ErrCode = -120
	ErrNoWatcher               ErrCode = -121
	ErrReconfigDisabled        ErrCode = -123
	ErrSessionClosedSasl       ErrCode = -124
	ErrQuotaExceeded           ErrCode = -125
	ErrThrottledOp             ErrCode = -127
)

var errNames = map[ErrCode]string{
	OK: "OK", ErrSystem: "SystemError", ErrRuntimeInconsistency: "RuntimeInconsistency",
	ErrDataInconsistency: "DataInconsistency", ErrConnectionLoss: "ConnectionLoss", ErrMarshalling: "MarshallingError",
	ErrUnimplemented: "Unimplemented", ErrOperationTimeout: "OperationTimeout", ErrBadArguments: "BadArguments",
	ErrUnknownSession: "UnknownSession", ErrNewConfigNoQuorum: "NewConfigNoQuorum",
	ErrReconfigInProgress: "ReconfigInProgress", ErrAPI: "APIError", ErrNoNode: "NoNode", ErrNoAuth: "NoAuth",
	ErrBadVersion: "BadVersion", ErrNoChildrenForEphemerals: "NoChildrenForEphemerals", ErrNodeExists: "NodeExists",
	ErrNotEmpty: "NotEmpty", ErrSessionExpired: "SessionExpired", ErrInvalidCallback: "InvalidCallback",
	ErrInvalidACL: "InvalidACL", ErrAuthFailed: "AuthFailed", ErrSessionMoved: "SessionMoved",
	ErrNotReadOnly: "NotReadOnly", ErrEphemeralOnLocalSession: "EphemeralOnLocalSession", ErrNoWatcher: "NoWatcher",
	ErrReconfigDisabled: "ReconfigDisabled", ErrSessionClosedSasl: "SessionClosedRequireSaslAuth",
	ErrQuotaExceeded: "QuotaExceeded", ErrThrottledOp: "ThrottledOp",
}

func (e ErrCode) Error() string {
	if s, ok := errNames[e]; ok {
		return s
	}
	return fmt.Sprintf("error(%d)", int32(e))
}

// EventType is what a watch event says happened.
type EventType int32

// The event types on the wire.
const (
	EventNone                EventType = -1
	EventNodeCreated         EventType = 1
	EventNodeDeleted         EventType = 2
	EventNodeDataChanged     EventType = 3
	EventNodeChildrenChanged EventType = 4
)

var eventNames = map[EventType]string{EventNone: "None", EventNodeCreated: "NodeCreated", EventNodeDeleted: "NodeDeleted",
	EventNodeDataChanged: "NodeDataChanged", EventNodeChildrenChanged: "NodeChildrenChanged"}

func (t EventType) String() string {
	if s, ok := eventNames[t]; ok {
		return s
	}
	return fmt.Sprintf("event(%d)", int32(t))
}

// StateSyncConnected is the keeper state of every event that a server sends.
const StateSyncConnected int32 = 3

// CreateMode is the flags field of a create.
type CreateMode int32

// The seven create modes.
const (
	ModePersistent           CreateMode = 0
	ModeEphemeral            CreateMode = 1
	ModePersistentSequential CreateMode = 2
	ModeEphemeralSequential  CreateMode = 3
	ModeContainer            CreateMode = 4
	ModeTTL                  CreateMode = 5
	ModeTTLSequential        CreateMode = 6
)

// Valid reports whether m is one of the seven modes.
func (m CreateMode) Valid() bool { return m >= ModePersistent && m <= ModeTTLSequential }

// Sequential reports whether the server appends a counter to the name.
func (m CreateMode) Sequential() bool {
	return m == ModePersistentSequential || m == ModeEphemeralSequential || m == ModeTTLSequential
}

// Ephemeral reports whether the node goes with its session.
func (m CreateMode) Ephemeral() bool { return m == ModeEphemeral || m == ModeEphemeralSequential }

// TTL reports whether the node carries a time to live.
func (m CreateMode) TTL() bool { return m == ModeTTL || m == ModeTTLSequential }

// Perm is a set of ACL permissions.
type Perm int32

// The permissions of an ACL entry.
const (
	PermRead   Perm = 1
	PermWrite  Perm = 2
	PermCreate Perm = 4
	PermDelete Perm = 8
	PermAdmin  Perm = 16
	PermAll    Perm = 31
)

// AddWatchMode is the mode of an addWatch request.
type AddWatchMode int32

// The modes of addWatch.
const (
	AddWatchPersistent          AddWatchMode = 0
	AddWatchPersistentRecursive AddWatchMode = 1
)

// WatcherType selects watches in checkWatches and removeWatches.
type WatcherType int32

// The watcher types of checkWatches and removeWatches.
const (
	WatcherChildren            WatcherType = 1
	WatcherData                WatcherType = 2
	WatcherAny                 WatcherType = 3
	WatcherPersistent          WatcherType = 4
	WatcherPersistentRecursive WatcherType = 5
)

// DefaultMaxBuffer is the largest request that a server takes unless
// jute.maxbuffer says otherwise, in bytes.
const DefaultMaxBuffer = 0xfffff
