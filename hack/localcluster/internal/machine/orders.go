package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/conclave-dev/conclave/hack/localcluster/internal/layout"
)

// An order is what the yard is told through its socket: one per connection.
type order struct {
	// Do is "start" or "stop", said of a node.
	Do   string
	Node layout.Node
}

// An answer is empty if the order was carried out.
type answer struct{ Error string }

// orderPatience bounds how long an order takes.
const orderPatience = 2 * time.Minute

// serve carries out orders one after the other, and returns when l fails.
func (y *yard) serve(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		if err := y.answer(conn); err != nil {
			log.Printf("order: %v", err)
		}
	}
}

func (y *yard) answer(conn net.Conn) error {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(orderPatience)); err != nil {
		return err
	}
	var o order
	if err := json.NewDecoder(conn).Decode(&o); err != nil {
		return err
	}
	var a answer
	if err := y.carryOut(o); err != nil {
		log.Printf("%s %s: %v", o.Do, o.Node.Name(), err)
		a.Error = err.Error()
	}
	return json.NewEncoder(conn).Encode(a)
}

func (y *yard) carryOut(o order) error {
	if o.Node < 1 || int(o.Node) > y.c.Nodes {
		return fmt.Errorf("there is no %s", o.Node.Name())
	}
	switch o.Do {
	case "start":
		return y.startNode(o.Node)
	case "stop":
		return y.stopNode(o.Node)
	}
	return fmt.Errorf("unknown order %q", o.Do)
}

// StartNode tells the yard to start a node. It does not wait for it to be ready.
func StartNode(c *layout.Cluster, n layout.Node) error { return tell(c, order{"start", n}) }

// StopNode tells the yard to kill a node, and returns when it is dead.
func StopNode(c *layout.Cluster, n layout.Node) error { return tell(c, order{"stop", n}) }

func tell(c *layout.Cluster, o order) error {
	conn, err := net.Dial("unix", c.Socket())
	if err != nil {
		return fmt.Errorf("the cluster's yard: %w: does the cluster run? (make cluster-status)", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(orderPatience)); err != nil {
		return err
	}
	if err := json.NewEncoder(conn).Encode(o); err != nil {
		return err
	}
	var a answer
	if err := json.NewDecoder(conn).Decode(&a); err != nil {
		return fmt.Errorf("the cluster's yard: %w", err)
	}
	if a.Error != "" {
		return errors.New(a.Error)
	}
	return nil
}
