package report

// Metric is one kind of figure.
type Metric struct {
	Name string
	Unit string
	// Better says which way is better; figures without a better way are facts
	// beside the others and have no ratio.
	Better Direction
}

// Direction is which of two figures is the better one.
type Direction int

// Directions.
const (
	Neither Direction = iota
	Higher
	Lower
)

// The figures that cells give, in the order of the tables.
var (
	Throughput = Metric{"throughput", "/s", Higher}
	P50        = Metric{"p50", "ms", Lower}
	P99        = Metric{"p99", "ms", Lower}
	P999       = Metric{"p99.9", "ms", Lower}
	Max        = Metric{"max", "ms", Lower}

	// An open loop at the same rate for both servers.
	OpenRate = Metric{"open loop: rate", "/s", Neither}
	OpenP50  = Metric{"open loop: p50", "ms", Lower}
	OpenP99  = Metric{"open loop: p99", "ms", Lower}
	OpenP999 = Metric{"open loop: p99.9", "ms", Lower}
	OpenMax  = Metric{"open loop: max", "ms", Lower}

	// What it costs: the generator's share tells how far it hides the servers.
	GeneratorPerOp = Metric{"generator, per operation", "µs", Neither}
	ServersPerOp   = Metric{"servers, per operation", "µs", Lower}
	GeneratorCPU   = Metric{"generator", "cores", Neither}
	ServersCPU     = Metric{"servers", "cores", Neither}
	OthersCPU      = Metric{"anything else on the machine", "cores", Neither}
	Syncs          = Metric{"log syncs of all members", "/s", Neither}

	DiskP50   = Metric{"disk: p50 of fdatasync by three processes", "ms", Neither}
	DiskP99   = Metric{"disk: p99 of fdatasync by three processes", "ms", Neither}
	RoundTrip = Metric{"round trip: p50 of an exists", "ms", Lower}
	Allowed   = Metric{"twice the disk's p50 and a round trip", "ms", Neither}

	ToldAll     = Metric{"set to all told, p50", "ms", Lower}
	ToldAllP99  = Metric{"set to all told, p99", "ms", Lower}
	ToldEachP50 = Metric{"set to one told, p50", "ms", Lower}
	ToldEachP99 = Metric{"set to one told, p99", "ms", Lower}

	Opened       = Metric{"sessions opened, the first ones", "/s", Higher}
	OpenedAll    = Metric{"sessions opened, to the last one", "/s", Higher}
	OpenedP99    = Metric{"opening a session, p99", "ms", Lower}
	PingP50      = Metric{"ping, p50", "ms", Lower}
	PingP99      = Metric{"ping, p99", "ms", Lower}
	SessionBytes = Metric{"memory of a session", "KiB", Lower}

	ReattachAll = Metric{"all attached again", "ms", Lower}
	ReattachP50 = Metric{"attached again, p50", "ms", Lower}
	ReattachP99 = Metric{"attached again, p99", "ms", Lower}
	Retries     = Metric{"attempts in vain", "", Neither}

	Loaded  = Metric{"nodes created, in transactions of 100", "/s", Higher}
	Memory  = Metric{"memory of three members", "MiB", Lower}
	StartUp = Metric{"start until all serve", "s", Lower}

	Gap              = Metric{"longest time without an acknowledged write", "ms", Lower}
	SessionsLost     = Metric{"sessions lost", "", Neither}
	SurvivorsDropped = Metric{"clients of surviving members disconnected", "", Neither}
)

var order = []Metric{
	Throughput, P50, P99, P999, Max, OpenRate, OpenP50, OpenP99, OpenP999, OpenMax,
	GeneratorPerOp, ServersPerOp, GeneratorCPU, ServersCPU, OthersCPU, Syncs,
	DiskP50, DiskP99, RoundTrip, Allowed, ToldAll, ToldAllP99, ToldEachP50, ToldEachP99,
	Opened, OpenedAll, OpenedP99, PingP50, PingP99, SessionBytes, ReattachAll, ReattachP50, ReattachP99, Retries,
	Loaded, Memory, StartUp, Gap, SessionsLost, SurvivorsDropped,
}

// Bar is what Conclave has to reach in a cell.
type Bar struct {
	Metric Metric
	// Ratio, if not 0, is how many times better than ZooKeeper's the median has
	// to be.
	Ratio float64
	// Below, if not 0, is what no sample may reach. One that broke off may have.
	Below float64
	// Zero: no sample may be anything but 0, nor break off.
	Zero bool
	// NotAbove, if named, is a figure of the same cell that the median must not
	// exceed.
	NotAbove string
}
