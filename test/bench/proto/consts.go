package proto

// Operations.
const (
	OpCreate      int32 = 1
	OpDelete      int32 = 2
	OpExists      int32 = 3
	OpGetData     int32 = 4
	OpSetData     int32 = 5
	OpGetChildren int32 = 8
	OpPing        int32 = 11
	OpMulti       int32 = 14
	OpClose       int32 = -11
	OpError       int32 = -1
)

// Transaction numbers of what is not in the FIFO order of replies.
const (
	XidEvent int32 = -1
	XidPing  int32 = -2
)

// Flags of a create.
const (
	Persistent          int32 = 0
	Ephemeral           int32 = 1
	EphemeralSequential int32 = 3
)

// Error codes that a cell may meet.
const (
	OK         int32 = 0
	NoNode     int32 = -101
	NodeExists int32 = -110
)

// Types of a watch event.
const (
	EventDeleted     int32 = 2
	EventDataChanged int32 = 3
)

// HeaderLen is the length of a request's start: frame length, transaction
// number, operation.
const HeaderLen = 12
