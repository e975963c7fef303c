package api

// change is an edit, of the spec or of the status, and what the API server says
// to it.
type change struct {
	name     string
	old, new string
	want     string
}

var specChanges = []change{
	{name: "scale up", old: `{replicas: 1}`, new: `{replicas: 7}`},
	{name: "scale down", old: `{replicas: 7}`, new: `{replicas: 1}`},
	{name: "park", old: `{replicas: 3}`, new: `{replicas: 0}`},
	{name: "scale to an even number", old: `{replicas: 3}`, new: `{replicas: 2}`, want: "replicas can't be even"},

	{name: "grow", old: `{storage: {size: 10Gi}}`, new: `{storage: {size: 11Gi}}`},
	{name: "grow in another unit", old: `{storage: {size: 900Mi}}`, new: `{storage: {size: 1Gi}}`},
	{name: "the same in another unit", old: `{storage: {size: 1Gi}}`, new: `{storage: {size: 1024Mi}}`},
	{name: "shrink", old: `{storage: {size: 10Gi}}`, new: `{storage: {size: 9Gi}}`, want: "storage.size can't shrink"},
	{name: "shrink in another unit", old: `{storage: {size: 1Gi}}`, new: `{storage: {size: 1023Mi}}`, want: "storage.size can't shrink"},
	{name: "shrink below the default", old: `{}`, new: `{storage: {size: 9Gi}}`, want: "storage.size can't shrink"},
	{name: "shrink to the default", old: `{storage: {size: 11Gi}}`, new: `{}`, want: "storage.size can't shrink"},
	{name: "grow the log", old: `{storage: {log: {size: 1Gi}}}`, new: `{storage: {log: {size: 2Gi}}}`},
	{name: "shrink the log", old: `{storage: {log: {size: 2Gi}}}`, new: `{storage: {log: {size: 1Gi}}}`, want: "storage.log.size can't shrink"},
	{name: "add a log volume", old: `{}`, new: `{storage: {log: {}}}`, want: "storage.log can't be added or removed later"},
	{name: "remove the log volume", old: `{storage: {log: {}}}`, new: `{}`, want: "storage.log can't be added or removed later"},

	{name: "same class", old: `{storage: {storageClassName: a}}`, new: `{storage: {storageClassName: a, size: 20Gi}}`},
	{name: "another class", old: `{storage: {storageClassName: a}}`, new: `{storage: {storageClassName: b}}`, want: "storage.storageClassName can't be changed"},
	{name: "set the class", old: `{}`, new: `{storage: {storageClassName: b}}`, want: "storage.storageClassName can't be changed, set or removed"},
	{name: "remove the class", old: `{storage: {storageClassName: a}}`, new: `{}`, want: "storage.storageClassName can't be changed, set or removed"},
	{name: "another class for the log", old: `{storage: {log: {storageClassName: a}}}`, new: `{storage: {log: {storageClassName: b}}}`, want: "storage.log.storageClassName can't be changed"},

	{name: "change retention", old: `{}`, new: `{storage: {retention: {whenDeleted: Delete}}}`},
	{name: "add leases", old: `{}`, new: `{leases: {rules: [{name: a, kind: Node, path: /a}]}}`},
	{name: "remove leases", old: `{leases: {rules: [{name: a, kind: Node, path: /a}]}}`, new: `{}`},
	{name: "change nearly everything", old: everything, new: `{storage: {size: 20Gi, storageClassName: fast, log: {size: 5Gi, storageClassName: faster}}}`},
}

const (
	ensembleA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	ensembleB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// Of the status, the latch that keeps an ensemble from being founded twice.
var statusChanges = []change{
	{name: "latch", old: `{}`, new: `{bootstrap: {clusterID: ` + ensembleA + `, memberID: "1", succeeded: false}}`},
	{name: "another latch before the ensemble exists", old: `{bootstrap: {clusterID: ` + ensembleA + `, memberID: "1", succeeded: false}}`,
		new: `{bootstrap: {clusterID: ` + ensembleB + `, memberID: "2", succeeded: false}}`},
	{name: "success", old: `{bootstrap: {clusterID: ` + ensembleA + `, memberID: "1", succeeded: false}}`,
		new: `{bootstrap: {clusterID: ` + ensembleA + `, memberID: "1", succeeded: true}}`},
	{name: "success at once, for an ensemble that was adopted", old: `{}`, new: `{bootstrap: {clusterID: ` + ensembleA + `, memberID: "", adopted: true, succeeded: true}}`},
	{name: "the rest of status moves", old: `{bootstrap: {clusterID: ` + ensembleA + `, memberID: "1", succeeded: true}}`,
		new: `{clusterID: ` + ensembleB + `, replicas: 3, bootstrap: {clusterID: ` + ensembleA + `, memberID: "1", succeeded: true}}`},
	{name: "no success after all", old: `{bootstrap: {clusterID: ` + ensembleA + `, memberID: "1", succeeded: true}}`,
		new: `{bootstrap: {clusterID: ` + ensembleA + `, memberID: "1", succeeded: false}}`, want: "has succeeded and can't be changed"},
	{name: "another ensemble", old: `{bootstrap: {clusterID: ` + ensembleA + `, memberID: "1", succeeded: true}}`,
		new: `{bootstrap: {clusterID: ` + ensembleB + `, memberID: "1", succeeded: true}}`, want: "has succeeded and can't be changed"},
	{name: "forgotten", old: `{bootstrap: {clusterID: ` + ensembleA + `, memberID: "1", succeeded: true}}`,
		new: `{replicas: 3}`, want: "status.bootstrap is kept for good"},
	{name: "no ensemble's id", old: `{}`, new: `{bootstrap: {clusterID: a, memberID: "1", succeeded: true}}`, want: "should match"},
	{name: "21 sessions at risk", old: `{}`, new: `{sessions: {total: 21, connected: 21, connecting: 0, notConnected: 0, closed: 0, expired: 0, ephemerals: 0, watches: 0, atRisk: [` + atRisk(21) + `]}}`,
		want: "must have at most 20 items"},
	{name: "20 sessions at risk", old: `{}`, new: `{sessions: {total: 20, connected: 20, connecting: 0, notConnected: 0, closed: 0, expired: 0, ephemerals: 0, watches: 0, atRisk: [` + atRisk(20) + `]}}`},
}

func atRisk(n int) string {
	text := ""
	for range n {
		text += `{id: "0x1", state: CONNECTED, silenceMilliseconds: 1, timeoutMilliseconds: 4000, ephemerals: 0, pod: {namespace: a, name: b}},`
	}
	return text
}
