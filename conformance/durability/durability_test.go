package durability

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/client"
)

var (
	kills   = flag.Int("kills", 10, "how often the program is killed")
	seed    = flag.Uint64("seed", 0, "decides what clients do and when kills come; 0 draws one")
	clients = flag.Int("clients", 8, "how many clients write at the same time")
)

// instance is the program under test; its data outlives it.
type instance struct {
	program, template, data string

	cmd *exec.Cmd
	out *bytes.Buffer // owned by cmd until it was waited for
	api *api
}

// start runs the program and waits until it is ready.
func (i *instance) start(ctx context.Context) error {
	i.out = &bytes.Buffer{}
	i.cmd = exec.CommandContext(ctx, i.program, "dev", i.template, "--port", "0", "--data-dir", i.data, "--no-watch")
	i.cmd.Stdout, i.cmd.Stderr = i.out, i.out
	i.cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+filepath.Join(i.data, "home"), "NO_COLOR=1")
	if err := i.cmd.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if run, err := client.ReadRunFile(i.data); err == nil && run.PID == i.cmd.Process.Pid {
			c := client.Client{Run: run}
			if h, err := c.Health(ctx); err == nil && h.Ready {
				i.api = &api{url: run.URL, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: *clients}}}
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			i.kill()
			return fmt.Errorf("not ready: %w\n%s", context.Cause(ctx), i.out)
		}
	}
}

// kill ends the program with SIGKILL; nothing of it runs any more afterwards.
func (i *instance) kill() {
	_ = i.cmd.Process.Kill() // may have ended by itself
	_ = i.cmd.Wait()         // says "killed"
	if i.api != nil {
		i.api.http.CloseIdleConnections()
	}
}

func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "livegate")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../cmd/livegate").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

func TestKilledAtRandomMoments(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the real program many times")
	}
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("seed %d: %d kills, %d clients", *seed, *kills, *clients)
	rng := rand.New(rand.NewPCG(*seed, 0))
	in := &instance{program: build(t), template: t.TempDir(), data: t.TempDir()}
	text, err := os.ReadFile("testdata/template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(in.template, "template.yaml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	workers := make([]*worker, *clients)
	for n := range workers {
		workers[n] = newWorker(n+1, *seed)
	}
	var open, took, slowest int
	streams := []*follower{follow("Items"), follow("Pairs")}
	for kill := 1; kill <= *kills; kill++ {
		begun := time.Now()
		if err := in.start(t.Context()); err != nil {
			t.Fatalf("start after kill %d: %v", kill-1, err)
		}
		slowest = max(slowest, int(time.Since(begun).Milliseconds()))
		if err := verify(t.Context(), in.api, workers, streams); err != nil {
			in.kill()
			t.Fatalf("seed %d, after kill %d: %v\n%s", *seed, kill-1, err, in.out)
		}
		after := time.Duration(1+rng.IntN(250)) * time.Millisecond
		if err := load(t.Context(), in, workers, after); err != nil {
			t.Fatalf("seed %d, before kill %d: %v\n%s", *seed, kill, err, in.out)
		}
		for _, w := range workers {
			if w.open != nil {
				open++
			}
		}
		if took += int(after.Milliseconds()); kill%20 == 0 || kill == *kills {
			t.Logf("kill %d: %s; %d operations cut off", kill, sums(workers), open)
		}
	}
	if err := in.start(t.Context()); err != nil {
		t.Fatalf("start after the last kill: %v", err)
	}
	defer in.kill()
	streams = []*follower{follow("Items"), follow("Pairs")} // from the beginning
	if err := verify(t.Context(), in.api, workers, streams); err != nil {
		t.Fatalf("seed %d, after the last kill: %v\n%s", *seed, err, in.out)
	}
	total := 0
	for _, w := range workers {
		total += w.acks
	}
	if total < *kills || open == 0 {
		t.Errorf("%d operations were acknowledged and %d cut off: the kills came at no interesting moment", total, open)
	}
	t.Logf("nothing lost, nothing torn: %d kills in %.1f s of load, slowest start %d ms; %s; %d stream records make the tables", *kills, float64(took)/1000, slowest, sums(workers), streams[0].count+streams[1].count)
}

func sums(workers []*worker) string {
	var s worker
	for _, w := range workers {
		s.acks += w.acks
		s.puts += w.puts
		s.updates += w.updates
		s.transactions += w.transactions
		s.deletes += w.deletes
	}
	return fmt.Sprintf("%d operations acknowledged (%d puts, %d conditional updates, %d transactions, %d deletes)",
		s.acks, s.puts, s.updates, s.transactions, s.deletes)
}

// load lets the clients work and kills the instance meanwhile.
func load(ctx context.Context, in *instance, workers []*worker, after time.Duration) error {
	errs := make(chan error, len(workers))
	var wg sync.WaitGroup
	for _, w := range workers {
		wg.Go(func() { errs <- w.run(ctx, in.api) })
	}
	timer := time.NewTimer(after)
	defer timer.Stop()
	var first error
	select {
	case <-timer.C:
	case first = <-errs: // a refusal, or the program died by itself
		if first == nil {
			first = fmt.Errorf("the program went away before it was killed")
		}
	}
	in.kill()
	wg.Wait()
	close(errs)
	for err := range errs {
		if first == nil {
			first = err
		}
	}
	return first
}

// verify reads everything and holds it against the ledgers, and indexes and
// streams against the tables.
func verify(ctx context.Context, a *api, workers []*worker, streams []*follower) error {
	stored := map[string]item{}
	byIndex := map[string]item{}
	for _, table := range []string{"Items", "Pairs"} {
		items, err := a.scan(ctx, table, "")
		if err != nil {
			return err
		}
		for _, it := range items {
			stored[table+"/"+it["id"].S] = it
			if table == "Items" {
				byIndex[it["id"].S] = it
			}
		}
	}
	indexed, err := a.scan(ctx, "Items", "byOwner")
	if err != nil {
		return err
	}
	for _, it := range indexed {
		id := it["id"].S
		want, ok := byIndex[id]
		if !ok {
			return fmt.Errorf("the index shows %s, the table does not, or the index shows it twice", id)
		}
		for name, v := range want {
			if it[name] != v {
				return fmt.Errorf("the index shows %s with %s = %v, the table %v", id, name, it[name], v)
			}
		}
		delete(byIndex, id)
	}
	for id := range byIndex {
		return fmt.Errorf("%s is in the table and not in the index", id)
	}
	for _, f := range streams {
		if err := f.catchUp(ctx, a); err != nil {
			return err
		}
		if err := f.compare(stored); err != nil {
			return err
		}
	}
	for _, w := range workers {
		if err := w.settle(stored); err != nil {
			return err
		}
	}
	for key := range stored {
		return fmt.Errorf("%s is there and nobody wrote it, or its deletion was acknowledged", key)
	}
	return nil
}
