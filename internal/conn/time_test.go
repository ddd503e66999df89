package conn

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livegate/livegate/internal/clock"
)

// bubble is a server and one client over net.Pipe, inside a synctest bubble: all
// time below is virtual.
type bubble struct {
	*peer
	s    *Server
	rec  *recorder
	conn *Conn
}

func inBubble(t *testing.T, o Options, cfg Config, f func(t *testing.T, b *bubble)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{rec: newRecorder()}
		b.rec.echo = true
		o.Handler = b.rec
		accepted := make(chan *Conn, 1)
		cfg.Upgrade = func(u *Upgrade) {
			c, err := u.Accept(o)
			if err != nil {
				t.Error(err)
			}
			accepted <- c
		}
		b.s = New(cfg)
		server, client := net.Pipe()
		b.s.ServeConn(server, false)
		b.peer = newPeer(t, client)
		client.SetDeadline(time.Time{})
		b.open()
		b.conn = <-accepted
		f(t, b)
		client.Close()
		<-b.rec.done
		b.s.Shutdown(context.Background())
		synctest.Wait()
	})
}

const awsIdle, awsLifetime = 10 * time.Minute, 2 * time.Hour

// Idle for ten minutes: closed 1001, and OnClose says what AWS says.
func TestIdleCloses(t *testing.T) {
	inBubble(t, Options{Limits: Limits{Idle: awsIdle, Lifetime: awsLifetime}}, Config{}, func(t *testing.T, b *bubble) {
		start := time.Now()
		if got := b.next(); got != "close 1001 Going away" {
			t.Error(got)
		}
		if d := time.Since(start); d != awsIdle {
			t.Errorf("after %v", d)
		}
		b.send(bye(1001, ""))
		if got := b.next(); got != "eof" {
			t.Error(got)
		}
		<-b.rec.done
		if got := b.rec.outcome(); got != "1001 Going away" {
			t.Error(got)
		}
	})
}

// What counts as activity: data, ping, Touch. What does not: pong, a frame that
// never completes.
func TestActivityAndIdle(t *testing.T) {
	for _, r := range []struct {
		name   string
		keep   bool
		act    func(b *bubble)
		answer string
	}{
		{"text", true, func(b *bubble) { b.send(text("x")) }, `text "x"`},
		{"fragment", true, func(b *bubble) { b.send(part(0x00, "x")) }, ""},
		{"ping", true, func(b *bubble) { b.send(ping("x")) }, `pong "x"`},
		{"Touch", true, func(b *bubble) { b.conn.Touch() }, ""},
		{"pong", false, func(b *bubble) { b.send(pong("x")) }, ""},
		{"one byte of a frame", false, func(b *bubble) { b.send(text(strings.Repeat("x", 100))[6:7]) }, ""},
	} {
		t.Run(r.name, func(t *testing.T) {
			inBubble(t, Options{Limits: Limits{Idle: awsIdle}}, Config{}, func(t *testing.T, b *bubble) {
				start := time.Now()
				switch r.name {
				case "fragment":
					b.send(part(0x01, ""))
				case "one byte of a frame":
					b.send(text(strings.Repeat("x", 100))[:6])
				}
				for range 3 {
					time.Sleep(9 * time.Minute)
					if d := time.Since(start); !r.keep && d > awsIdle {
						break
					}
					r.act(b)
					if r.answer != "" {
						if got := b.next(); got != r.answer {
							t.Fatal(got)
						}
					}
					if r.keep {
						synctest.Wait()
						if !b.conn.LastActive().Equal(time.Now()) {
							t.Errorf("LastActive %v ago", time.Since(b.conn.LastActive()))
						}
					}
					if !r.keep {
						break
					}
				}
				if got := b.next(); got != "close 1001 Going away" {
					t.Fatal(got)
				}
				want := awsIdle
				if r.keep {
					want += 27 * time.Minute
				}
				if d := time.Since(start); d != want {
					t.Errorf("closed after %v, want %v", d, want)
				}
			})
		})
	}
}

// Two hours of activity: closed 1001 all the same.
func TestLifetimeCloses(t *testing.T) {
	inBubble(t, Options{Limits: Limits{Idle: awsIdle, Lifetime: awsLifetime}}, Config{}, func(t *testing.T, b *bubble) {
		start := time.Now()
		for time.Since(start) < awsLifetime-time.Minute {
			b.send(text("x"))
			if got := b.next(); got != `text "x"` {
				t.Fatal(got, time.Since(start))
			}
			time.Sleep(time.Minute)
		}
		if got := b.next(); got != "close 1001 Going away" {
			t.Error(got)
		}
		if d := time.Since(start); d != awsLifetime {
			t.Errorf("after %v", d)
		}
	})
}

// --time-scale 3600: two hours in two seconds.
func TestScaledClock(t *testing.T) {
	inBubble(t, Options{Limits: Limits{Lifetime: awsLifetime}}, Config{Clock: clock.Scaled(3600)}, func(t *testing.T, b *bubble) {
		start := time.Now()
		if got := b.next(); got != "close 1001 Going away" {
			t.Error(got)
		}
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("after %v", d)
		}
	})
}

// Without limits nothing ends a quiet connection.
func TestNoLimits(t *testing.T) {
	inBubble(t, Options{}, Config{}, func(t *testing.T, b *bubble) {
		time.Sleep(1000 * time.Hour)
		b.send(text("still here"))
		if got := b.next(); got != `text "still here"` {
			t.Error(got)
		}
	})
}

// A client that does not answer our close frame loses its socket after
// CloseWait; OnClose still says what Close was given.
func TestCloseWait(t *testing.T) {
	inBubble(t, Options{Limits: Limits{CloseWait: 3 * time.Second}}, Config{}, func(t *testing.T, b *bubble) {
		b.conn.Send([]byte("last"))
		b.conn.Close(1000, "Connection Closed Normally")
		b.conn.Close(1011, "ignored")
		start := time.Now()
		if err := b.conn.Send([]byte("x")); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		for _, want := range []string{`text "last"`, "close 1000 Connection Closed Normally"} {
			if got := b.next(); got != want {
				t.Error(got)
			}
		}
		b.send(text("ignored"), ping("ignored"))
		if got := b.next(); got != "eof" {
			t.Error(got)
		}
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("after %v", d)
		}
		<-b.rec.done
		if got := b.rec.outcome(); got != "1000 Connection Closed Normally" || len(b.rec.got()) != 0 {
			t.Error(got, b.rec.got())
		}
	})
}

// A client that answers is let go at once.
func TestCloseHandshake(t *testing.T) {
	inBubble(t, Options{}, Config{}, func(t *testing.T, b *bubble) {
		start := time.Now()
		b.conn.Close(1000, "ok")
		if got := b.next(); got != "close 1000 ok" {
			t.Error(got)
		}
		b.send(bye(1000, "ok"))
		if got := b.next(); got != "eof" || time.Since(start) != 0 {
			t.Error(got, time.Since(start))
		}
	})
}

// A dead peer: nothing is read, so the write deadline ends it, as 1006.
func TestStuckClientIsLost(t *testing.T) {
	inBubble(t, Options{Limits: Limits{SendItems: 3}}, Config{}, func(t *testing.T, b *bubble) {
		start := time.Now()
		for range 3 {
			if err := b.conn.Send([]byte("x")); err != nil {
				t.Error(err)
			}
		}
		if err := b.conn.Send([]byte("x")); !errors.Is(err, ErrQueueFull) {
			t.Error(err)
		}
		<-b.rec.done
		if d := time.Since(start); d < 30*time.Second || d > 45*time.Second {
			t.Errorf("after %v", d)
		}
		if got := b.rec.outcome(); got != "1006" {
			t.Error(got)
		}
		if err := b.conn.Send([]byte("x")); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

// A stuck client whose close has begun is not waited for any longer than that,
// and keeps the outcome of the close.
func TestStuckClientWhileClosing(t *testing.T) {
	inBubble(t, Options{}, Config{}, func(t *testing.T, b *bubble) {
		start := time.Now()
		b.conn.Send([]byte("x"))
		synctest.Wait()
		time.Sleep(10 * time.Second)
		b.conn.Close(1000, "bye")
		<-b.rec.done
		if d := time.Since(start); d > 45*time.Second {
			t.Errorf("after %v", d)
		}
		if got := b.rec.outcome(); got != "1000 bye" {
			t.Error(got)
		}
	})
}

// A paused connection reads nothing, yet idles, closes and shuts down.
func TestPause(t *testing.T) {
	inBubble(t, Options{Limits: Limits{Idle: awsIdle}}, Config{}, func(t *testing.T, b *bubble) {
		b.rec.onMessage = func(c *Conn, data []byte) { c.Pause() }
		go b.nc.Write(join(text("1"), text("2"), text("3")))
		if got := b.next(); got != `text "1"` {
			t.Error(got)
		}
		synctest.Wait()
		if got := b.rec.got(); len(got) != 1 {
			t.Fatalf("paused after one message, got %q", got)
		}
		b.conn.Resume()
		if got := b.next(); got != `text "2"` {
			t.Error(got)
		}
		start := time.Now()
		if got := b.next(); got != "close 1001 Going away" {
			t.Error(got)
		}
		if d := time.Since(start); d != awsIdle {
			t.Errorf("after %v", d)
		}
	})
}

func TestShutdownClosesEverybody(t *testing.T) {
	inBubble(t, Options{}, Config{}, func(t *testing.T, b *bubble) {
		done := make(chan error)
		go func() { done <- b.s.Shutdown(context.Background()) }()
		if got := b.next(); got != "close 1001 Going away" {
			t.Error(got)
		}
		b.send(bye(1001, ""))
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := b.rec.outcome(); got != "1001 Going away" {
			t.Error(got)
		}
		_, client := net.Pipe()
		late, _ := net.Pipe()
		b.s.ServeConn(late, false)
		client.Close()
	})
}

// Shutdown's context is the hard stop.
func TestShutdownHardStop(t *testing.T) {
	inBubble(t, Options{Limits: Limits{CloseWait: time.Hour}}, Config{}, func(t *testing.T, b *bubble) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		start := time.Now()
		if err := b.s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		<-b.rec.done
		if d := time.Since(start); d != time.Second {
			t.Errorf("after %v", d)
		}
		if got := b.rec.outcome(); got != "1001 Going away" {
			t.Error(got)
		}
	})
}

// An upgrade that is being decided when Shutdown comes is answered 503, and its
// owner told that the client is gone.
func TestShutdownDuringUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		result := make(chan error, 1)
		s := New(Config{Upgrade: func(u *Upgrade) {
			time.Sleep(time.Second)
			_, err := u.Accept(Options{Handler: newRecorder()})
			result <- err
		}})
		server, client := net.Pipe()
		s.ServeConn(server, false)
		p := newPeer(t, client)
		p.send([]byte(ws(get)))
		synctest.Wait()
		done := make(chan error)
		go func() { done <- s.Shutdown(context.Background()) }()
		if res, _ := p.response(); res.StatusCode != 503 {
			t.Error(res.StatusCode)
		}
		if err := <-result; !errors.Is(err, ErrGone) {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Slowloris: whoever has not sent a whole head in ten seconds is dropped, TLS
// hello included, however busily it sends.
func TestSlowHeadIsDropped(t *testing.T) {
	for name, sent := range map[string]string{
		"nothing":              "",
		"half a request line":  "GET /d",
		"headers for ever":     "GET /dev HTTP/1.1\r\n",
		"half a ClientHello":   "\x16\x03\x01\x02\x00\x01",
		"half of another verb": "POST /dev",
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{TLS: testTLS(t)}
			synctest.Test(t, func(t *testing.T) {
				s := New(cfg)
				server, client := net.Pipe()
				s.ServeConn(server, false)
				start := time.Now()
				if sent != "" {
					client.Write([]byte(sent))
				}
				if name == "headers for ever" {
					for {
						time.Sleep(time.Second)
						if _, err := client.Write([]byte("X: y\r\n")); err != nil {
							break
						}
					}
				} else {
					newBuf := make([]byte, 100)
					for {
						if _, err := client.Read(newBuf); err != nil {
							break
						}
					}
				}
				if d := time.Since(start); d < 10*time.Second || d > 11*time.Second {
					t.Errorf("dropped after %v", d)
				}
				client.Close()
				s.Shutdown(context.Background())
			})
		})
	}
}

// A scaled clock compresses the application's limits, not the network: a head
// may still take its ten seconds.
func TestScaledClockLeavesTheNetworkAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Clock: clock.Scaled(3600), Upgrade: accepting(Options{Handler: newRecorder()})})
		server, client := net.Pipe()
		s.ServeConn(server, false)
		p := newPeer(t, client)
		head := []byte(ws(get))
		p.send(head[:20])
		time.Sleep(9 * time.Second)
		p.send(head[20:])
		if res, _ := p.response(); res.StatusCode != 101 {
			t.Error(res.StatusCode)
		}
		client.Close()
		s.Shutdown(context.Background())
	})
}
