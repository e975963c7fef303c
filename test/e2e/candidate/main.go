// Candidate is a client that holds a node or stands in an election, with
// go-zookeeper; beside it are the same in C and in Java, with Curator. It is told
// by lines on its standard input what to do, and says by lines on its standard
// output what happens to it:
//
//	candidate HOSTS TIMEOUT-MILLISECONDS hold|elect PATH NAME
//
//	SESSION 0x...  it is connected (again), with this session
//	LOST           it is not connected
//	EXPIRED        it was told that its session has expired; it makes another
//	LEADS          it is the leader
//	close          ends its session; then it says CLOSED, and ends
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"
)

func main() {
	if len(os.Args) != 6 {
		fmt.Fprintln(os.Stderr, "usage: candidate HOSTS TIMEOUT-MILLISECONDS hold|elect PATH NAME")
		os.Exit(2)
	}
	timeout, err := strconv.Atoi(os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	kind, path, name := os.Args[3], os.Args[4], os.Args[5]
	if name == "$HOSTNAME" {
		name = os.Getenv("HOSTNAME") // a pod's name
	}
	conn, events, err := zk.Connect(strings.Split(os.Args[1], ","), time.Duration(timeout)*time.Millisecond, zk.WithLogInfo(false))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	sessions := make(chan int64, 64)
	go func() {
		for e := range events {
			say(conn, e, sessions)
		}
	}()
	go func() {
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			if lines.Text() == "close" {
				conn.Close()
				fmt.Println("CLOSED")
				os.Exit(0)
			}
		}
		// The input of a pod has ended from the beginning.
	}()
	var had int64
	for session := range sessions {
		if session == had {
			continue
		}
		had = session
		for {
			if kind == "hold" {
				err = hold(conn, path, name)
			} else {
				err = elect(conn, path, name)
			}
			if err == nil || conn.SessionID() != had {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// say says what has become of the session, and passes on which one there is.
func say(conn *zk.Conn, e zk.Event, sessions chan<- int64) {
	if e.Type != zk.EventSession {
		return
	}
	switch e.State {
	case zk.StateHasSession:
		id := conn.SessionID()
		fmt.Printf("SESSION 0x%x\n", uint64(id))
		select {
		case sessions <- id:
		default:
		}
	case zk.StateDisconnected:
		fmt.Println("LOST")
	case zk.StateExpired:
		fmt.Println("EXPIRED")
	}
}

var anybody = zk.WorldACL(zk.PermAll)

// hold makes the node, or waits until who has it is gone.
func hold(conn *zk.Conn, path, name string) error {
	_, err := conn.Create(path, []byte(name), zk.FlagEphemeral, anybody)
	if errors.Is(err, zk.ErrNodeExists) {
		there, stat, ch, err := conn.ExistsW(path)
		if err != nil {
			return err
		}
		if there && stat.EphemeralOwner == conn.SessionID() {
			return nil
		}
		select {
		case <-ch:
		case <-time.After(time.Second):
		}
		return zk.ErrNodeExists
	}
	return err
}

// elect is ZooKeeper's own recipe: a sequential node, and an eye on the one before
// it.
func elect(conn *zk.Conn, parent, name string) error {
	me := conn.SessionID()
	mine, err := standing(conn, parent, me)
	if err != nil {
		return err
	}
	if mine == "" {
		made, err := conn.Create(parent+"/n-", []byte(name), zk.FlagEphemeral|zk.FlagSequence, anybody)
		if err != nil {
			return err
		}
		mine = made[len(parent)+1:]
	}
	for {
		names, _, err := conn.Children(parent)
		if err != nil {
			return err
		}
		slices.SortFunc(names, func(a, b string) int { return strings.Compare(a[len(a)-10:], b[len(b)-10:]) })
		switch i := slices.Index(names, mine); {
		case i < 0:
			return errors.New("my node is gone")
		case i == 0:
			fmt.Println("LEADS")
			return nil
		default:
			there, _, ch, err := conn.ExistsW(parent + "/" + names[i-1])
			if err != nil {
				return err
			}
			if there {
				if e := <-ch; e.Err != nil {
					return e.Err
				}
			}
		}
	}
}

// standing finds a node that was made although the answer was lost.
func standing(conn *zk.Conn, parent string, session int64) (string, error) {
	names, _, err := conn.Children(parent)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		ok, stat, err := conn.Exists(parent + "/" + name)
		if err != nil {
			return "", err
		}
		if ok && stat.EphemeralOwner == session {
			return name, nil
		}
	}
	return "", nil
}
