package cells

import (
	"fmt"
	"time"

	"github.com/conclave-dev/conclave/test/bench/cluster"
	"github.com/conclave-dev/conclave/test/bench/load"
	"github.com/conclave-dev/conclave/test/bench/prep"
	"github.com/conclave-dev/conclave/test/bench/proto"
	"github.com/conclave-dev/conclave/test/bench/report"
	"github.com/conclave-dev/conclave/test/conformance/wire"
)

const perDir = 1000

// Memory is the cell of very many nodes.
func Memory() Cell {
	return Cell{
		Cell: report.Cell{
			Name:  "nodes",
			About: "memory of the members with very many nodes of 100 bytes, and the time they need to start on them after an orderly stop",
			Bars:  []report.Bar{{Metric: report.Memory, Ratio: 4}, {Metric: report.StartUp, Ratio: 5}},
		},
		Own: true,
		Run: memory,
	}
}

func memory(env *Env, e *cluster.Ensemble, _ int) (report.Values, error) {
	const top = "/bench-nodes"
	var paths []string
	for i := range (env.Nodes-1)/perDir + 1 {
		paths = append(paths, load.ConnDir(top, i))
	}
	if err := prep.Create(e.Addrs()[:1], []string{top}, false); err != nil {
		return nil, err
	}
	if err := prep.Create(e.Addrs()[:1], paths, false); err != nil {
		return nil, err
	}
	path := func(i int) string { return fmt.Sprintf("%s/n%08d", paths[i/perDir], i) }
	value := make([]byte, proto.ValueLen)
	began := time.Now()
	err := prep.Do(e.Addrs(), env.Nodes, func(m *proto.Multi, i int) {
		proto.FillValue(value, uint32(i), 0)
		m.Create(path(i), value, proto.Persistent)
	})
	if err != nil {
		return nil, err
	}
	v := report.Values{}
	v.Set(report.Loaded, float64(env.Nodes)/time.Since(began).Seconds())
	if err := settle(e); err != nil {
		return nil, err
	}
	bytes, err := memoryOf(e)
	if err != nil {
		return nil, err
	}
	v.Set(report.Memory, bytes/(1<<20))
	for _, m := range e.Members {
		if err := m.Stop(); err != nil {
			return nil, err
		}
	}
	began = time.Now()
	if err := e.StartAll(); err != nil {
		return nil, err
	}
	v.Set(report.StartUp, time.Since(began).Seconds())
	// Everything has to be there.
	for _, m := range e.Members {
		if err := spotCheck(m, env.Nodes, path); err != nil {
			return nil, fmt.Errorf("member %d after the restart: %w", m.ID, err)
		}
	}
	return v, nil
}

// spotCheck reads a hundred nodes, the first and the last among them.
func spotCheck(m *cluster.Member, n int, path func(int) string) error {
	c, err := wire.Dial(m.Addr.String(), 10*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Handshake(wire.ConnectRequest{Timeout: 10 * time.Second}); err != nil {
		return err
	}
	for k := range 100 {
		i := k * (n - 1) / 99
		reply, err := c.Call(wire.OpGetData, wire.WatchBody(path(i), false))
		if err != nil || reply.Err != wire.OK {
			return fmt.Errorf("getData of %s: %+v, %w", path(i), reply, err)
		}
		if _, err := proto.CheckValue(wire.NewReader(reply.Body).Buffer(), uint32(i)); err != nil {
			return fmt.Errorf("getData of %s: %w", path(i), err)
		}
	}
	_, err = c.Call(wire.OpCloseSession, nil)
	return err
}
