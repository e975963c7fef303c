package ensemble

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
)

const (
	// AskTimeout bounds a Status call. A member answers from memory; what takes
	// longer does not come.
	AskTimeout = 3 * time.Second
	// OrderTimeout bounds a call that changes something. Its outcome is unknown
	// then, and the next look at the members shows it.
	OrderTimeout = 15 * time.Second
	// askers bounds how many members are asked at a time.
	askers = 8
)

// Endpoint is where a member is reached.
type Endpoint struct {
	// Pod is the name of its pod.
	Pod string
	// Address is host:port of its admin API; empty if it has none yet.
	Address string
}

// Ensemble gives the admin API of each member of a cluster. *Client is one; tests
// have others.
type Ensemble interface {
	// At returns the admin API of the member at an endpoint. It makes no call.
	At(Endpoint) (adminpb.AdminClient, error)
	// Keep closes the connections to all endpoints but these.
	Keep([]Endpoint)
}

// Answer is what became of asking a member.
type Answer struct {
	// Status is nil if there was no answer.
	Status *adminpb.StatusResponse
	// Err is why there is none.
	Err error
}

// errNoAddress: the pod has no address yet.
var errNoAddress = errors.New("the pod has no address yet")

// Ask asks every member for its status and returns the answers by pod. It returns
// once all have answered or had their time.
func Ask(ctx context.Context, e Ensemble, members []Endpoint) map[string]Answer {
	out := make(map[string]Answer, len(members))
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, askers)
	for _, m := range members {
		if m.Address == "" {
			mu.Lock()
			out[m.Pod] = Answer{Err: errNoAddress}
			mu.Unlock()
			continue
		}
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer func() { <-slots; wg.Done() }()
			st, err := ask(ctx, e, m)
			mu.Lock()
			defer mu.Unlock()
			out[m.Pod] = Answer{st, err}
		}()
	}
	wg.Wait()
	return out
}

func ask(ctx context.Context, e Ensemble, m Endpoint) (*adminpb.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, AskTimeout)
	defer cancel()
	api, err := e.At(m)
	if err != nil {
		return nil, err
	}
	st, err := api.Status(ctx, &adminpb.StatusRequest{})
	if err != nil {
		return nil, noAnswer(err)
	}
	return st, nil
}

// noAnswer says why a member did not answer in the words of whoever knows, without
// the layers in between: it stands in status and in events, once for each member.
func noAnswer(err error) error {
	st := status.Convert(err)
	text := st.Message()
	if _, cause, found := strings.Cut(text, `desc = "transport: `); found {
		text = strings.TrimPrefix(strings.TrimSuffix(cause, `"`), "Error while dialing: ")
	}
	if st.Code() == codes.Unavailable {
		return errors.New(text)
	}
	return fmt.Errorf("%s: %s", st.Code(), text)
}

// Refusal returns why a member decided against an order; ok is false for any other
// error, after which the outcome may be unknown.
func Refusal(err error) (reason adminpb.RefusalReason, ok bool) {
	for _, d := range status.Convert(err).Details() {
		if r, is := d.(*adminpb.Refusal); is {
			return r.GetReason(), true
		}
	}
	return 0, false
}

// Refuse makes the error of a member that decides against an order.
func Refuse(reason adminpb.RefusalReason, format string, args ...any) error {
	st := status.New(codes.FailedPrecondition, fmt.Sprintf(format, args...))
	if with, err := st.WithDetails(&adminpb.Refusal{Reason: reason}); err == nil {
		st = with
	}
	return st.Err()
}

// Client keeps a connection to each member of one cluster. It may be used by
// several goroutines at a time.
type Client struct {
	tls *tls.Config

	mu     sync.Mutex
	conns  map[Endpoint]*grpc.ClientConn
	closed bool
}

// NewClient makes a client. The configuration says whom to trust and who the
// client is: a certificate with the operator's role, and the server name that
// every member's certificate has, whatever its address is. With other
// certificates another client is needed.
func NewClient(t *tls.Config) *Client {
	return &Client{tls: t, conns: make(map[Endpoint]*grpc.ClientConn)}
}

// At implements Ensemble.
func (c *Client) At(e Endpoint) (adminpb.AdminClient, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errors.New("ensemble: the client is closed")
	}
	if conn := c.conns[e]; conn != nil {
		return adminpb.NewAdminClient(conn), nil
	}
	conn, err := grpc.NewClient("passthrough:///"+e.Address,
		grpc.WithTransportCredentials(credentials.NewTLS(c.tls)),
		// A pod that comes back is to be seen soon, whatever was tried before.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
			MinConnectTimeout: AskTimeout,
		}))
	if err != nil {
		return nil, err
	}
	c.conns[e] = conn
	return adminpb.NewAdminClient(conn), nil
}

// Keep implements Ensemble.
func (c *Client) Keep(members []Endpoint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e, conn := range c.conns {
		if !slices.Contains(members, e) {
			conn.Close()
			delete(c.conns, e)
		}
	}
}

// Close closes all connections. Calls under way fail.
func (c *Client) Close() {
	c.Keep(nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}
