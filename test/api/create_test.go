package api

import "strings"

// creation is a spec and what the API server says to it: nothing if it is to be
// accepted, else words of the message.
type creation struct {
	name string
	// object is the cluster's name; "main" if empty.
	object string
	// spec is YAML.
	spec string
	want string
}

var creations = []creation{
	{name: "nothing said", spec: `{}`},
	{name: "everything said", spec: everything},

	{name: "parked", spec: `{replicas: 0}`},
	{name: "one", spec: `{replicas: 1}`},
	{name: "seven", spec: `{replicas: 7}`},
	{name: "two", spec: `{replicas: 2}`, want: "replicas can't be even"},
	{name: "four", spec: `{replicas: 4}`, want: "use 1, 3, 5 or 7"},
	{name: "nine", spec: `{replicas: 9}`, want: "less than or equal to 7"},
	{name: "fewer than none", spec: `{replicas: -1}`, want: "greater than or equal to 0"},
	{name: "observers", spec: `{observers: 32}`},
	{name: "too many observers", spec: `{observers: 33}`, want: "less than or equal to 32"},

	{name: "a name that is too long", object: "a" + strings.Repeat("b", 40), spec: `{}`, want: "metadata.name may have 40 characters"},
	{name: "the longest name", object: "a" + strings.Repeat("b", 39), spec: `{}`},
	{name: "a name with a digit in front", object: "1st", spec: `{}`, want: "metadata.name must begin with a letter"},
	{name: "a name with a dot", object: "a.b", spec: `{}`, want: "it becomes the name of a Service"},
	{name: "a name like another's Service", object: "main-members", spec: `{}`, want: "must not end in -members or -observer"},
	{name: "a name like another's StatefulSet", object: "main-observer", spec: `{}`, want: "must not end in -members or -observer"},

	{name: "image", spec: `{image: "registry.example/conclave:1.0"}`},
	{name: "version", spec: `{version: "1.0.0"}`},
	{name: "image and version", spec: `{image: "a/b:1", version: "1"}`, want: "set image or version, not both"},
	{name: "a version that is no tag", spec: `{version: "a b"}`, want: "should match"},
	{name: "pull policy", spec: `{imagePullPolicy: Sometimes}`, want: `supported values: "Always", "IfNotPresent", "Never"`},

	{name: "a size", spec: `{storage: {size: 1.5Ti, storageClassName: fast, log: {size: 1Gi, storageClassName: faster}}}`},
	{name: "no size", spec: `{storage: {size: "0"}}`, want: "storage.size must be 256Mi or more"},
	{name: "less than the log takes", spec: `{storage: {size: 64Mi}}`, want: "storage.size must be 256Mi or more"},
	{name: "the least size", spec: `{storage: {size: 256Mi, log: {size: 0.25Gi}}}`},
	{name: "no size of the log", spec: `{storage: {log: {size: 0Gi}}}`, want: "storage.log.size must be 256Mi or more"},
	{name: "a size that is none", spec: `{storage: {size: large}}`, want: "should match"},
	{name: "log volume by default", spec: `{storage: {log: {}}}`},
	{name: "retention", spec: `{storage: {retention: {whenDeleted: Delete, whenScaled: Delete}}}`},
	{name: "another retention", spec: `{storage: {retention: {whenDeleted: Recycle}}}`, want: `supported values: "Retain", "Delete"`},

	{name: "timeouts", spec: `{sessions: {tickMilliseconds: 1000, minTimeoutMilliseconds: 1000, maxTimeoutMilliseconds: 1000}}`},
	{name: "min over max", spec: `{sessions: {minTimeoutMilliseconds: 5000, maxTimeoutMilliseconds: 4999}}`, want: "minTimeoutMilliseconds must not be more than"},
	{name: "min over 20 ticks", spec: `{sessions: {minTimeoutMilliseconds: 40001}}`, want: "more than 20 ticks"},
	{name: "min of 20 ticks", spec: `{sessions: {minTimeoutMilliseconds: 40000}}`},
	{name: "min over 20 short ticks", spec: `{sessions: {tickMilliseconds: 100, minTimeoutMilliseconds: 2001}}`, want: "more than 20 ticks"},
	{name: "max under 2 ticks", spec: `{sessions: {maxTimeoutMilliseconds: 3999}}`, want: "less than 2 ticks"},
	{name: "max of 2 ticks", spec: `{sessions: {maxTimeoutMilliseconds: 4000}}`},
	{name: "a tick too short", spec: `{sessions: {tickMilliseconds: 99}}`, want: "greater than or equal to 100"},

	{name: "keys of zoo.cfg", spec: `{server: {config: {snapCount: "1000", autopurge.purgeInterval: "1", 4lw.commands.whitelist: "*", conclave.heartbeatMs: "100"}}}`},
	{name: "a directory", spec: `{server: {config: {dataDir: /tmp}}}`, want: "take the key out"},
	{name: "a member", spec: `{server: {config: {server.1: "a:1:2"}}}`, want: "members are decided by the operator"},
	{name: "an address", spec: `{server: {config: {conclave.adminAddress: ":1"}}}`, want: "take the key out"},
	{name: "TLS", spec: `{server: {config: {conclave.tls.dir: /}}}`, want: "take the key out"},
	{name: "metrics", spec: `{server: {config: {metricsProvider.httpPort: "1"}}}`, want: "take the key out"},
	{name: "tickTime", spec: `{server: {config: {tickTime: "1"}}}`, want: "use spec.sessions"},
	{name: "a secret in the open", spec: `{server: {config: {superDigest: "a:b"}}}`, want: "use server.superDigestSecret"},
	{name: "a secret in the open, its long name", spec: `{server: {config: {DigestAuthenticationProvider.superDigest: "a:b"}}}`, want: "use server.superDigestSecret"},
	{name: "two lines in one", spec: `{server: {config: {snapCount: "1\ndataDir=/tmp"}}}`, want: "a value is one line"},
	{name: "a key with a line in it", spec: `{server: {config: {"a\nb": "1"}}}`, want: "a key is a word"},
	{name: "a key that is more than one", spec: `{server: {config: {"dataDir=/tmp #": "1"}}}`, want: "a key is a word"},
	{name: "log level", spec: `{server: {logLevel: loud}}`, want: `supported values: "debug", "info", "warn", "error"`},

	{name: "pod template", spec: `{podTemplate: {metadata: {labels: {team: a}}, spec: {nodeSelector: {disk: fast}, containers: [{name: server, env: [{name: GOGC, value: "50"}]}]}}}`},
	{name: "spread over nothing", spec: `{topologySpread: []}`},
	{name: "spread twice", spec: `{topologySpread: [{topologyKey: a}, {topologyKey: a}]}`, want: "Duplicate value"},

	{name: "a node port", spec: `{service: {type: NodePort, nodePort: 32181, externalTrafficPolicy: Local}}`},
	{name: "a load balancer", spec: `{service: {type: LoadBalancer, loadBalancerClass: a/b, annotations: {a/b: c}}}`},
	{name: "a node port without nodes", spec: `{service: {nodePort: 32181}}`, want: "service.nodePort needs service.type"},
	{name: "a class without a load balancer", spec: `{service: {type: NodePort, loadBalancerClass: a}}`, want: "service.loadBalancerClass needs service.type LoadBalancer"},
	{name: "outside traffic without an outside", spec: `{service: {externalTrafficPolicy: Local}}`, want: "service.externalTrafficPolicy needs service.type"},
	{name: "no type of service", spec: `{service: {type: ExternalName}}`, want: `supported values: "ClusterIP", "NodePort", "LoadBalancer"`},

	{name: "recovery", spec: `{recovery: {clusterID: 0123456789abcdef0123456789abcdef, survivor: 1f, reason: two disks burnt}}`},
	{name: "recovery without a reason", spec: `{recovery: {clusterID: 0123456789abcdef0123456789abcdef, survivor: 1f}}`, want: "reason: Required value"},
	{name: "recovery of something else", spec: `{recovery: {clusterID: mine, survivor: 1f, reason: a}}`, want: "should match"},
	{name: "recovery while paused", spec: `{paused: true, recovery: {clusterID: 0123456789abcdef0123456789abcdef, survivor: 1f, reason: a}}`, want: "recovery does nothing while the cluster is paused"},

	{name: "leases without rules", spec: `{leases: {}}`, want: "rules: Required value"},
	{name: "leases with no rules", spec: `{leases: {rules: []}}`, want: "should have at least 1 items"},
	{name: "a rule twice", spec: `{leases: {rules: [{name: a, kind: Node, path: /a}, {name: a, kind: Node, path: /b}]}}`, want: "Duplicate value"},
	{name: "a rule's name", spec: `{leases: {rules: [{name: A, kind: Node, path: /a}]}}`, want: "should match"},
	{name: "a rule of another kind", spec: `{leases: {rules: [{name: a, kind: Lock, path: /a}]}}`, want: `supported values: "Node", "Election"`},
	{name: "a duration", spec: `{leases: {durationSeconds: 5, rules: [{name: a, kind: Node, path: /a}]}}`, want: "greater than or equal to 15"},

	{name: "children of an election", spec: rule(`kind: Election, path: /a, children: "*-latch-*"`)},
	{name: "children of a node", spec: rule(`kind: Node, path: /a, children: "*"`), want: "children is for rules of kind Election"},
	{name: "grandchildren", spec: rule(`kind: Election, path: /a, children: "a/*"`), want: "children is the name of a node"},

	{name: "children by another name for here", spec: rule(`kind: Election, path: /a, children: ..`), want: "neither . nor .."},
	{name: "holder from data", spec: rule(`kind: Node, path: /a, holder: {from: Data, jsonField: payload.id}`)},
	{name: "a field of nothing", spec: rule(`kind: Node, path: /a, holder: {jsonField: id}`), want: "set holder.from to Data"},

	{name: "labels", spec: rule(`kind: Node, path: /a, labels: {team: a}, annotations: {a/b: "some words"}`)},
	{name: "our labels", spec: rule(`kind: Node, path: /a, labels: {conclave.dev/cluster: a}`), want: "labels of conclave.dev"},
	{name: "a label's value", spec: rule(`kind: Node, path: /a, labels: {team: "a b"}`), want: "should match"},
	{name: "our annotations", spec: rule(`kind: Node, path: /a, annotations: {conclave.dev/path: a}`), want: "annotations of conclave.dev"},
}

func rule(text string) string { return "{leases: {rules: [{name: r, " + text + "}]}}" }

// leasePath is a path pattern, and a name template for its Leases.
type leasePath struct {
	path, leaseName, want string
}

var leasePaths = []leasePath{
	{path: "/a"},
	{path: "/a/b c/ü"},
	{path: "/services/*/instances/*"},
	{path: "/a/b-*-c/*d"},
	{path: "/a/**"},
	{path: "/**"},
	{path: "/*"},
	{path: "/{a}/{b}/c"},
	{path: "/{a}/**"},
	{path: "/zookeepers/a"},
	{path: "/a/...b"},
	{path: "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16"},

	{path: "/", want: "at least 2 chars"},
	{path: "a/b", want: "put a / in front"},
	{path: "/a/", want: "take the / at its end away"},
	{path: "/a//b", want: "write one / instead of two"},
	{path: "/a/./b", want: "no relative paths"},
	{path: "/a/..", want: "no relative paths"},
	{path: "/a/**/b", want: "** stands alone, as the last element"},
	{path: "/a/b**", want: "** stands alone"},
	{path: "/a/**b/c", want: "** stands alone"},
	{path: "/a/**b", want: "** stands alone"},
	{path: "/a/***", want: "** stands alone"},
	{path: "/{a}b", want: "a capture is an element of its own"},
	{path: "/{A}", want: "a capture is an element of its own"},
	{path: "/{a/b}", want: "a capture is an element of its own"},
	{path: "/a}", want: "a capture is an element of its own"},
	{path: "/{}", want: "a capture is an element of its own"},
	{path: "/{a}/{a}", want: "each capture needs a name of its own"},
	{path: "/{hash}", want: "give the capture another name"},
	{path: "/zookeeper", want: "the ensemble's own"},
	{path: "/zookeeper/quota/*", want: "the ensemble's own"},
	{path: "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17", want: "path can have 16 elements"},

	{path: "/a", leaseName: "leader"},
	{path: "/{a}/{b}", leaseName: "x-{a}-{b}"},
	{path: "/*", leaseName: "{rule}.{hash}"},
	{path: "/*", leaseName: "{cluster}-{name}"},
	{path: "/**", leaseName: "{name}"},
	{path: "/a/x-*", leaseName: "{name}"},
	{path: "/{a}/b", leaseName: "{a}.{name}"},
	{path: "/a", leaseName: "{name}"},
	{path: "/*/b", leaseName: "{name}", want: "leaseName is the same for every path"},
	{path: "/{a}/b", leaseName: "{b}", want: "leaseName: a word in braces is"},
	{path: "/{a}/b", leaseName: "x-{path}-{a}", want: "leaseName: a word in braces is"},
	{path: "/a/*", leaseName: "leader", want: "leaseName is the same for every path"},
	{path: "/{a}/b", leaseName: "leader", want: "leaseName is the same for every path"},
	{path: "/{a}/b", leaseName: "Leader-{a}", want: "should match"},
	{path: "/{a}/b", leaseName: "leader-{a", want: "should match"},
}

// everything sets each field that does not exclude another.
const everything = `
replicas: 5
observers: 2
image: registry.example/conclave@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
imagePullPolicy: IfNotPresent
imagePullSecrets: [{name: pull}]
storage:
  size: 20Gi
  storageClassName: fast
  log: {size: 5Gi, storageClassName: faster}
  retention: {whenDeleted: Delete, whenScaled: Delete}
sessions: {tickMilliseconds: 1000, minTimeoutMilliseconds: 2000, maxTimeoutMilliseconds: 60000, maxPerMember: 10000}
server:
  config: {snapCount: "50000", maxClientCnxns: "0"}
  superDigestSecret: {name: super, key: digest}
  logLevel: debug
resources:
  requests: {cpu: 500m, memory: 1Gi}
  limits: {memory: 1Gi}
podTemplate:
  metadata: {labels: {team: a}}
  spec: {priorityClassName: system-cluster-critical}
topologySpread:
- {topologyKey: topology.kubernetes.io/zone, maxSkew: 2, whenUnsatisfiable: DoNotSchedule}
service: {type: LoadBalancer, port: 2182, nodePort: 32181, labels: {a: b}, annotations: {c: d}, loadBalancerClass: e/f, externalTrafficPolicy: Local}
networkPolicy:
  mode: Managed
  clients: [{podSelector: {matchLabels: {zookeeper: client}}, namespaceSelector: {}}]
updateStrategy: {drainSeconds: 30, stepTimeoutSeconds: 900}
monitoring: {podMonitor: {labels: {release: prometheus}, intervalSeconds: 15}}
leases:
  durationSeconds: 30
  maxLeases: 20000
  rules:
  - name: leaders
    kind: Election
    path: /apps/{app}/leader
    children: "*latch-*"
    holder: {from: Data, jsonField: id}
    leaseName: leader-{app}
    labels: {team: a}
    annotations: {a: b}
  - {name: instances, kind: Node, path: "/services/**", holder: {from: Pod}}
paused: true
`
