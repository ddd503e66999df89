package app

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livegate/livegate/internal/fault"
)

func TestHealthNamesWhatItLookedAt(t *testing.T) {
	_, base := managed(t, Config{})
	if _, names, _ := checks(t, base+"/healthz"); !slices.Equal(names, []string{"process", "listener", "loops", "storage"}) {
		t.Errorf("alive: %v", names)
	}
	if _, names, _ := checks(t, base+"/readyz"); !slices.Equal(names, []string{"process", "listener", "loops", "storage", "accepting"}) {
		t.Errorf("ready: %v", names)
	}
}

// Whoever may not read why is told which check fails, and no more: an error can
// name files.
func TestAFailingCheckIsNamed(t *testing.T) {
	e := startEnding(t, Config{})
	if err := e.app.db.Close(); err != nil { // the disk is gone
		t.Fatal(err)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		status, _, failing := checks(t, e.base+path)
		if status != http.StatusServiceUnavailable || len(failing) != 1 || !strings.Contains(failing["storage"], "state.db") {
			t.Errorf("%s: %d %v", path, status, failing)
		}
	}
	e.app.management.token = testToken // as if it had been there from the start
	status, _, failing := checks(t, e.base+"/healthz")
	if text, there := failing["storage"]; status != http.StatusServiceUnavailable || !there || text != "" {
		t.Errorf("to a stranger: %d %v", status, failing)
	}
	e.stop()
	_ = result(t, e.done) // tables.Run may have noticed the closed file first
}

func TestAListenerThatIsNotAcceptedFrom(t *testing.T) {
	e := startEnding(t, Config{})
	e.app.accepting.Add(-1)
	if status, _, failing := checks(t, e.base+"/healthz"); status != http.StatusServiceUnavailable || !strings.Contains(failing["listener"], "not accepted from") {
		t.Errorf("%d %v", status, failing)
	}
	e.stop()
	if err := result(t, e.done); err != nil {
		t.Error(err)
	}
}

// A disk that hangs must not collect one goroutine per question, nor keep those
// who ask.
func TestAProbeThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var asked atomic.Int64
		release := make(chan error)
		p := &probe{name: "disk", ctx: ctx, ask: func(ctx context.Context) error {
			asked.Add(1)
			select {
			case err := <-release:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		began := time.Now()
		var wait sync.WaitGroup
		for range 50 {
			wait.Go(func() {
				if err := p.check(); !fault.Is(err, fault.Timeout) || !strings.Contains(err.Error(), "no answer for 2s") {
					t.Errorf("%v", err)
				}
			})
		}
		wait.Wait()
		if took := time.Since(began); took != probePatience || asked.Load() != 1 {
			t.Errorf("%d asked, after %v", asked.Load(), took)
		}
		// It has been hanging for longer than anybody has patience: no more waiting.
		time.Sleep(time.Minute)
		began = time.Now()
		if err := p.check(); !strings.Contains(err.Error(), "no answer for 1m2s") || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		release <- errors.New("disk full")
		synctest.Wait()
		if err := p.check(); err == nil || err.Error() != "disk full" {
			t.Errorf("the late answer: %v", err)
		}
		// Fresh for a second, then asked again.
		time.Sleep(probeFresh / 2)
		if err := p.check(); err == nil || asked.Load() != 1 {
			t.Errorf("within a second: %v, asked %d times", err, asked.Load())
		}
		time.Sleep(probeFresh)
		go func() { release <- nil }()
		if err := p.check(); err != nil || asked.Load() != 2 {
			t.Errorf("recovered: %v, asked %d times", err, asked.Load())
		}
		cancel()
	})
}
