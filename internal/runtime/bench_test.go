package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/model"
)

// echoEvent is a MESSAGE event of ordinary size.
var echoEvent = `{"requestContext":{"routeKey":"echo","messageId":"EXAMPLEmsgID000=","eventType":"MESSAGE","extendedRequestId":"EXAMPLEext000000=","requestTime":"22/Nov/2026:18:00:00 +0000","messageDirection":"IN","stage":"Prod","connectedAt":1790000000000,"requestTimeEpoch":1790000000001,"identity":{"sourceIp":"127.0.0.1"},"requestId":"EXAMPLEreq000000=","domainName":"k3v9x1m2qz.execute-api.eu-west-1.amazonaws.com","connectionId":"EXAMPLEconn0000=","apiId":"k3v9x1m2qz"},"body":"` + strings.Repeat("x", 128) + `","isBase64Encoded":false}`

// Echo round trips; µs-cpu/op is user and system time of gateway and worker
// together, the figure of performance.md.
func BenchmarkEcho(b *testing.B) {
	b.Run("node", func(b *testing.B) {
		benchmark(b, "node", map[string]string{"index.js": `exports.handler = async (event) => ({ statusCode: 200, body: event.body });`}, &model.Function{})
	})
	b.Run("python", func(b *testing.B) {
		benchmark(b, "python3", map[string]string{"index.py": `def handler(event, context): return {"statusCode": 200, "body": event["body"]}`}, &model.Function{Runtime: "python3.11"})
	})
	b.Run("go", func(b *testing.B) {
		benchmark(b, "go", map[string]string{"go.mod": "module echo\n\ngo 1.21\n", "main.go": goClient}, &model.Function{Runtime: "provided.al2023"})
	})
}

func benchmark(b *testing.B, tool string, files map[string]string, fn *model.Function) {
	dir := b.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	complete(fn, dir)
	r, err := New(Config{DataDir: b.TempDir(), CacheDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close(b.Context())
	if err := r.Deploy(b.Context(), &model.App{Region: "eu-west-1", Functions: []*model.Function{fn}}); err != nil {
		b.Skipf("%s: %v", tool, err)
	}
	inv := model.Invocation{Function: "fn", Payload: []byte(echoEvent)}
	call := func() {
		if res, err := r.Invoke(b.Context(), inv); err != nil || res.FunctionError != "" {
			b.Fatalf("%s %v", res.Payload, err)
		}
	}
	for range 2000 { // compilers warm up
		call()
	}
	ours, theirs := selfCPU(b), workerCPU(b, r)
	b.ResetTimer()
	for range b.N {
		call()
	}
	b.StopTimer()
	n := float64(b.N) * 1e3
	g, w := float64(selfCPU(b)-ours)/n, float64(workerCPU(b, r)-theirs)/n
	b.ReportMetric(g, "µs-gateway/op")
	b.ReportMetric(w, "µs-worker/op")
	b.ReportMetric(g+w, "µs-cpu/op")
}

func selfCPU(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// workerCPU sums the run time of all threads of all workers.
func workerCPU(b *testing.B, r *Runtime) (sum time.Duration) {
	for _, w := range r.liveWorkers() {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", w.cmd.Process.Pid))
		if err != nil || len(files) == 0 {
			b.Skip("no /proc/PID/task/*/schedstat on this system")
		}
		for _, f := range files {
			var ns, wait, slices int64
			text, err := os.ReadFile(f)
			if err != nil {
				continue // the thread has ended
			}
			if _, err := fmt.Sscan(string(text), &ns, &wait, &slices); err != nil {
				b.Fatal(err)
			}
			sum += time.Duration(ns)
		}
	}
	return sum
}
