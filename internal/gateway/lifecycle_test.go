package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/model"
)

func connectAndDisconnect() []*model.Route {
	return []*model.Route{lambda("$connect", "connect"), lambda("$disconnect", "disconnect")}
}

// raw opens a TCP connection and sends a handshake on it.
func (s *stand) raw() net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "GET /prod HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bW9ja2tleW1vY2trZXkxMg==\r\n\r\n", host)
	return c
}

// gone waits until the server has noticed that the next client went away.
func (s *stand) gone() {
	s.t.Helper()
	select {
	case <-(<-s.upgrades).Done():
	case <-time.After(patience):
		s.t.Fatal("the server does not notice that its client is gone")
	}
}

// A client that gives up while $connect runs has had a connection as far as the
// application knows: its row is in the table, so $disconnect must remove it.
func TestClientVanishesDuringConnect(t *testing.T) {
	release := make(chan struct{})
	journal := &memory{}
	s := newStand(t, map[string]handler{"connect": func(c *call) any {
		<-release
		return map[string]any{"statusCode": 200}
	}}, options{journal: journal}, connectAndDisconnect()...)
	c := s.raw()
	connected := s.next("connect")
	if journal.len() != 1 {
		t.Fatal("nothing is journalled while $connect runs")
	}
	c.Close()
	s.gone()
	close(release)
	d := s.next("disconnect")
	if d.context("disconnectStatusCode") != 1006.0 || d.connectionID() != connected.connectionID() || !d.in.MustRun {
		t.Fatalf("event %s", d.in.Payload)
	}
	if err := s.gateway.Drain(s.context()); err != nil {
		t.Fatal(err)
	}
	if n := s.gateway.Stats(); n.Vanished != 1 || n.Connects != 0 || n.Open != 0 || journal.len() != 0 {
		t.Fatalf("stats %+v, %d journalled", n, journal.len())
	}
}

func TestClientVanishesDuringRefusedConnect(t *testing.T) {
	release := make(chan struct{})
	journal := &memory{}
	s := newStand(t, map[string]handler{"connect": func(c *call) any {
		<-release
		return map[string]any{"statusCode": 403}
	}}, options{journal: journal}, connectAndDisconnect()...)
	c := s.raw()
	s.next("connect")
	c.Close()
	s.gone()
	close(release)
	if err := s.gateway.Drain(s.context()); err != nil {
		t.Fatal(err)
	}
	select {
	case c := <-s.calls:
		t.Fatalf("%s ran although $connect refused", c.function)
	default:
	}
	if journal.len() != 0 {
		t.Fatal("the journal keeps a refused connection")
	}
}

func TestTCPLossIs1006(t *testing.T) {
	s := newStand(t, nil, options{}, connectAndDisconnect()...)
	s.connect().CloseNow()
	if d := s.next("disconnect"); d.context("disconnectStatusCode") != 1006.0 || d.context("disconnectReason") != "" {
		t.Fatalf("event %s", d.in.Payload)
	}
}

// After a kill -9 the next start runs what is owed, once, with the requestId that
// was reserved before $connect ran, so that a function can tell a repetition.
func TestRecoverAfterACrash(t *testing.T) {
	journal := &memory{}
	before := newStand(t, nil, options{journal: journal}, connectAndDisconnect()...)
	before.connect()
	connected := before.next("connect")
	saved, err := journal.Pending() // what the disk holds when the power goes
	if err != nil || len(saved) != 1 {
		t.Fatalf("journal %s, %v", saved, err)
	}
	var rec struct{ ID, Req string }
	if err := json.Unmarshal(saved[0], &rec); err != nil {
		t.Fatal(err)
	}
	disk := &memory{recs: map[string][]byte{rec.ID: saved[0]}}

	after := newStand(t, nil, options{journal: disk}, connectAndDisconnect()...)
	after.connect() // a client of this run is not recovered
	after.next("connect")
	if err := after.gateway.Recover(after.context()); err != nil {
		t.Fatal(err)
	}
	d := after.next("disconnect")
	if d.connectionID() != connected.connectionID() || d.context("disconnectStatusCode") != 1006.0 || d.context("requestId") != rec.Req || d.context("connectedAt") != connected.context("connectedAt") {
		t.Fatalf("event %s, journal %s", d.in.Payload, saved[0])
	}
	select {
	case c := <-after.calls:
		t.Fatalf("%s ran as well", c.function)
	default:
	}
	if disk.len() != 1 {
		t.Fatalf("%d records left, want the live connection's", disk.len())
	}
	if err := after.gateway.Recover(after.context()); err != nil {
		t.Fatal(err)
	}
	select {
	case c := <-after.calls:
		t.Fatalf("%s ran again", c.function)
	default:
	}
}

func TestRecoverKeepsWhatItCannotRunYet(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	journal := &memory{recs: map[string][]byte{
		"newer": []byte(`{"v":99,"id":"newer"}`),
		"gone":  []byte(`{"v":1,"id":"` + id.NewConn(id.NewNodeKey()).String() + `","api":"nope","stage":"prod","req":"r"}`),
	}}
	hang := id.NewConn(id.NewNodeKey()).String()
	journal.recs[hang] = []byte(`{"v":1,"id":"` + hang + `","api":"k3v9x1m2qz","stage":"prod","req":"r"}`)
	s := newStand(t, map[string]handler{"disconnect": func(*call) any { <-stop; return nil }}, options{journal: journal}, connectAndDisconnect()...)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { s.next("disconnect"); cancel() }()
	if err := s.gateway.Recover(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("a recovery cut short: %v", err)
	}
	if _, kept := journal.recs[hang]; !kept {
		t.Error("a $disconnect that was cut short is forgotten")
	}
	if _, kept := journal.recs["newer"]; !kept {
		t.Error("a record of a newer version is erased")
	}
	if !strings.Contains(s.logText(), "which is gone") {
		t.Errorf("log: %s", s.logText())
	}
}

func TestNoPromiseNoConnection(t *testing.T) {
	s := newStand(t, nil, options{journal: &memory{fail: errors.New("disk full")}}, connectAndDisconnect()...)
	s.refused("/prod", nil, 500)
	select {
	case c := <-s.calls:
		t.Fatalf("%s ran without a journal record", c.function)
	default:
	}
	if !strings.Contains(s.logText(), "disk full") {
		t.Fatalf("log: %s", s.logText())
	}
}

// An open connection sees the new deployment with its next message, and its own
// old one when its stage goes away.
func TestDeployUnderOpenConnections(t *testing.T) {
	s := newStand(t, map[string]handler{"v1": reply("one"), "v2": reply("two")}, options{}, twoWay(lambda("ping", "v1")), lambda("$disconnect", "bye1"))
	c := s.connect()
	c.send(`{"action":"ping"}`)
	c.expect("one")
	s.deploy(testApp(twoWay(lambda("ping", "v2")), lambda("$disconnect", "bye2")))
	c.send(`{"action":"ping"}`)
	c.expect("two")

	bad := testApp()
	bad.APIs[0].RouteSelectionExpression = "$nope"
	if err := s.gateway.Deploy(bad); err == nil || !strings.Contains(err.Error(), "API Chat") {
		t.Fatalf("Deploy of a broken expression: %v", err)
	}
	c.send(`{"action":"ping"}`)
	c.expect("two")

	gone := testApp()
	gone.APIs[0].Stages = []*model.Stage{{Name: "other", Deployed: true}}
	s.deploy(gone)
	c.expectClose(1001, "Going away")
	if d := s.next("bye2"); d.context("stage") != "prod" || d.context("disconnectStatusCode") != 1001.0 {
		t.Fatalf("event %s", d.in.Payload)
	}
	s.refused("/prod", nil, 403)
}

func TestStageRemovedDuringConnect(t *testing.T) {
	release := make(chan struct{})
	s := newStand(t, map[string]handler{"connect": func(*call) any { <-release; return map[string]any{"statusCode": 200} }}, options{}, connectAndDisconnect()...)
	go func() {
		s.next("connect")
		s.deploy(&model.App{Region: "eu-west-1", URLSuffix: "amazonaws.com"})
		close(release)
	}()
	s.connect().expectClose(1001, "Going away")
	s.next("disconnect")
}

// Ctrl-C: everybody is told, every $disconnect runs, then Drain returns.
func TestDrain(t *testing.T) {
	journal := &memory{}
	s := newStand(t, nil, options{journal: journal}, connectAndDisconnect()...)
	const n = 20
	var clients []*client
	for range n {
		clients = append(clients, s.connect())
	}
	var told sync.WaitGroup
	for _, c := range clients {
		told.Go(func() { c.expectClose(1001, "Going away") })
	}
	if err := s.gateway.Drain(s.context()); err != nil {
		t.Fatal(err)
	}
	told.Wait()
	ran := 0
	for len(s.calls) > 0 {
		if c := <-s.calls; c.function == "disconnect" {
			ran++
		}
	}
	if ran != n || journal.len() != 0 || s.gateway.Stats().Open != 0 {
		t.Fatalf("%d of %d $disconnects, %d journalled, %+v", ran, n, journal.len(), s.gateway.Stats())
	}
	s.refused("/prod", nil, 503)
}

func TestDrainGivesUpAndKeepsTheJournal(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	journal := &memory{}
	s := newStand(t, map[string]handler{"disconnect": func(*call) any { <-stop; return nil }}, options{journal: journal}, connectAndDisconnect()...)
	s.connect().CloseNow()
	s.next("disconnect")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.gateway.Drain(ctx); err == nil || !strings.Contains(err.Error(), "1 connections") {
		t.Fatalf("Drain: %v", err)
	}
	if err := s.gateway.Drain(s.context()); err != nil { // the cancelled call returns
		t.Fatal(err)
	}
	if journal.len() != 1 {
		t.Fatal("the journal forgot a $disconnect that was cut short")
	}
}

// Many clients at once connect, talk, get posts and leave, while the application
// is deployed again and again. For the race detector, and for the pairing of
// $connect and $disconnect.
func TestChurn(t *testing.T) {
	s := newStand(t, map[string]handler{"ping": reply("pong")}, options{journal: &memory{}},
		append(connectAndDisconnect(), twoWay(lambda("ping", "ping")))...)
	app := s.deployed()
	stop := make(chan struct{})
	var wait, deployer sync.WaitGroup
	deployer.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := s.gateway.Deploy(app); err != nil {
					t.Error(err)
				}
				s.gateway.Stats()
			}
		}
	})
	for i := range 16 {
		wait.Go(func() {
			for range 5 {
				c, _, err := s.dial("/prod", nil)
				if err != nil {
					t.Error(err)
					return
				}
				for range 5 {
					c.send(`{"action":"ping"}`)
					c.expect("pong")
				}
				if i%2 == 0 {
					c.CloseNow()
				} else {
					c.Close(1000, "")
				}
			}
		})
	}
	wait.Wait()
	close(stop)
	deployer.Wait()
	if err := s.gateway.Drain(s.context()); err != nil {
		t.Fatal(err)
	}
	seen := map[string][2]int{}
	for len(s.calls) > 0 {
		c := <-s.calls
		n := seen[c.connectionID()]
		switch c.function {
		case "connect":
			n[0]++
		case "disconnect":
			n[1]++
		}
		seen[c.connectionID()] = n
	}
	if len(seen) != 80 {
		t.Fatalf("%d connections, want 80", len(seen))
	}
	for c, n := range seen {
		if n != [2]int{1, 1} {
			t.Errorf("%s: $connect %d times, $disconnect %d times", c, n[0], n[1])
		}
	}
	if n := s.gateway.Stats(); n.Messages != 400 || n.Replies != 400 || n.Open != 0 || n.InFlight != 0 {
		t.Fatalf("stats %+v", n)
	}
}
