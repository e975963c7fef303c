package metrics

// Op is an operation of the client protocol as a small index.
type Op uint8

// The operations that are measured one by one.
const (
	OpOther Op = iota
	OpCreate
	OpDelete
	OpExists
	OpGetData
	OpSetData
	OpGetACL
	OpSetACL
	OpGetChildren
	OpSync
	OpPing
	OpMulti
	OpMultiRead
	OpReconfig
	OpWatches
	OpAuth
	OpGetEphemerals
	OpGetAllChildrenNumber
	OpCreateSession
	OpCloseSession
	numOps
)

// opNames are the values of the label op.
var opNames = [numOps]string{"other", "create", "delete", "exists", "getData", "setData", "getACL", "setACL",
	"getChildren", "sync", "ping", "multi", "multiRead", "reconfig", "watches", "auth", "getEphemerals",
	"getAllChildrenNumber", "createSession", "closeSession"}

func (o Op) String() string { return opNames[o] }

// kind tells what an operation adds to: ZooKeeper's readlatency is of what is
// answered from a member's own tree, updatelatency of what the quorum decides.
type kind uint8

const (
	neither kind = iota
	read
	update
)

var opKinds = [numOps]kind{
	OpCreate: update, OpDelete: update, OpSetData: update, OpSetACL: update, OpMulti: update, OpReconfig: update,
	OpCreateSession: update, OpCloseSession: update,
	OpExists: read, OpGetData: read, OpGetACL: read, OpGetChildren: read, OpMultiRead: read, OpWatches: read,
	OpGetEphemerals: read, OpGetAllChildrenNumber: read,
}

// firstCode is the least operation code of the protocol, that of closeSession.
const firstCode = -11

// opsByCode is indexed by operation code - firstCode.
var opsByCode = [...]Op{
	-11 - firstCode: OpCloseSession,
	-10 - firstCode: OpCreateSession,
	1 - firstCode:   OpCreate,
	2 - firstCode:   OpDelete,
	3 - firstCode:   OpExists,
	4 - firstCode:   OpGetData,
	5 - firstCode:   OpSetData,
	6 - firstCode:   OpGetACL,
	7 - firstCode:   OpSetACL,
	8 - firstCode:   OpGetChildren,
	9 - firstCode:   OpSync,
	11 - firstCode:  OpPing,
	12 - firstCode:  OpGetChildren,
	14 - firstCode:  OpMulti,
	15 - firstCode:  OpCreate,
	16 - firstCode:  OpReconfig,
	17 - firstCode:  OpWatches, // checkWatches
	18 - firstCode:  OpWatches, // removeWatches
	19 - firstCode:  OpCreate,  // createContainer
	20 - firstCode:  OpDelete,  // deleteContainer
	21 - firstCode:  OpCreate,  // createTTL
	22 - firstCode:  OpMultiRead,
	100 - firstCode: OpAuth,
	101 - firstCode: OpWatches, // setWatches
	102 - firstCode: OpAuth,    // sasl
	103 - firstCode: OpGetEphemerals,
	104 - firstCode: OpGetAllChildrenNumber,
	105 - firstCode: OpWatches, // setWatches2
	106 - firstCode: OpWatches, // addWatch
	107 - firstCode: OpAuth,    // whoAmI
}

// OpOf returns the index of an operation code of the protocol, OpOther for one
// that is unknown. Variants of an operation share an index.
func OpOf(code int32) Op {
	if i := int64(code) - firstCode; i >= 0 && i < int64(len(opsByCode)) {
		return opsByCode[i]
	}
	return OpOther
}
