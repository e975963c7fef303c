package wire

// Operation types, as the protocol numbers them.
const (
	OpNotification         int32 = 0
	OpCreate               int32 = 1
	OpDelete               int32 = 2
	OpExists               int32 = 3
	OpGetData              int32 = 4
	OpSetData              int32 = 5
	OpGetACL               int32 = 6
	OpSetACL               int32 = 7
	OpGetChildren          int32 = 8
	OpSync                 int32 = 9
	OpPing                 int32 = 11
	OpGetChildren2         int32 = 12
	OpCheck                int32 = 13
	OpMulti                int32 = 14
	OpCreate2              int32 = 15
	OpReconfig             int32 = 16
	OpCheckWatches         int32 = 17
	OpRemoveWatches        int32 = 18
	OpCreateContainer      int32 = 19
	OpDeleteContainer      int32 = 20
	OpCreateTTL            int32 = 21
	OpMultiRead            int32 = 22
	OpAuth                 int32 = 100
	OpSetWatches           int32 = 101
	OpGetEphemerals        int32 = 103
	OpGetAllChildrenNumber int32 = 104
	OpSetWatches2          int32 = 105
	OpAddWatch             int32 = 106
	OpWhoAmI               int32 = 107
	OpCreateSession        int32 = -10
	OpCloseSession         int32 = -11
	OpError                int32 = -1
)

// Transaction numbers that do not count up.
const (
	XidEvent      int32 = -1
	XidPing       int32 = -2
	XidAuth       int32 = -4
	XidSetWatches int32 = -8
)

// Error codes.
const (
	OK                      int32 = 0
	RuntimeInconsistency    int32 = -2
	MarshallingError        int32 = -5
	Unimplemented           int32 = -6
	BadArguments            int32 = -8
	NoNode                  int32 = -101
	NoAuth                  int32 = -102
	BadVersion              int32 = -103
	NoChildrenForEphemerals int32 = -108
	NodeExists              int32 = -110
	NotEmpty                int32 = -111
	SessionExpired          int32 = -112
	InvalidACL              int32 = -114
	AuthFailed              int32 = -115
	SessionMoved            int32 = -118
	NoWatcher               int32 = -121
	ReconfigDisabled        int32 = -123
	QuotaExceeded           int32 = -125
)

// Watch event types.
const (
	EventCreated         int32 = 1
	EventDeleted         int32 = 2
	EventDataChanged     int32 = 3
	EventChildrenChanged int32 = 4
)

// Create modes.
const (
	Persistent           int32 = 0
	Ephemeral            int32 = 1
	PersistentSequential int32 = 2
	EphemeralSequential  int32 = 3
	Container            int32 = 4
	PersistentTTL        int32 = 5
	PersistentSeqTTL     int32 = 6
)
