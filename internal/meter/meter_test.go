package meter

import (
	"fmt"
	"io"
	"iter"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// engine is a stand-in for one that counts for itself.
type engine struct{ open, seen float64 }

// filled is a registry with one of everything.
func filled() *Registry {
	r := New()
	c := r.Counter("livegate_reloads_total", "Reloads.", Label{"result", "success"})
	r.Counter("livegate_reloads_total", "Reloads.", Label{"result", "failure"}).Add(3)
	c.Inc()
	c.Add(1)
	g := r.Gauge("livegate_ready", "Whether clients are let in.")
	g.Set(2)
	g.Add(-1)
	h := r.Histogram("livegate_commit_duration_seconds", "Commits.", []float64{0.001, 0.01, 0.1})
	for _, v := range []float64{0.0005, 0.001, 0.05, 3} {
		h.Observe(v)
	}
	r.CounterFunc("livegate_sent_bytes_total", "Bytes.", func() float64 { return 1 << 40 })
	r.GaugeFunc("livegate_file_bytes", "A file \"with\" quotes\nand lines.", func() float64 { return 4096 }, Label{"file", `a\b"c`})
	Bind(r, func() engine { return engine{open: 7, seen: 9} },
		Series[engine]{Name: "livegate_connections_open", Help: "Open.", Value: func(e engine) float64 { return e.open }},
		Series[engine]{Name: "livegate_messages_total", Help: "Messages.", Labels: []Label{{"from", "client"}}, Value: func(e engine) float64 { return e.seen }})
	BindEach(r, "function", func() iter.Seq2[string, engine] {
		return func(yield func(string, engine) bool) {
			_ = yield("a", engine{seen: 1}) && yield("b", engine{seen: 2})
		}
	}, Series[engine]{Name: "livegate_invocations_total", Help: "Invocations.", Value: func(e engine) float64 { return e.seen }})
	return r
}

// scrape gets the exposition over HTTP, as Prometheus does.
func scrape(t *testing.T, r *Registry, accept string) (body, contentType string) {
	t.Helper()
	rec := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	r.Handler().ServeHTTP(rec, req)
	if rec.Code != http.StatusOK {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	return rec.Body.String(), rec.Header().Get("Content-Type")
}

// ours leaves out the families of the library's own collectors.
func ours(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, "livegate_") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestExposition(t *testing.T) {
	body, contentType := scrape(t, filled(), "")
	if !strings.HasPrefix(contentType, "text/plain; version=0.0.4") {
		t.Errorf("content type %q", contentType)
	}
	path := filepath.Join("testdata", "exposition.txt")
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := ours(body); got != string(want) {
		t.Errorf("not as in %s:\n%s", path, got)
	}
	for _, family := range []string{"go_goroutines", "process_open_fds", "process_start_time_seconds"} {
		if !strings.Contains(body, "\n"+family+" ") {
			t.Errorf("no %s", family)
		}
	}
}

// What we write, the library's own parser must read, with the values we gave.
func TestExpositionIsReadBack(t *testing.T) {
	body, _ := scrape(t, filled(), "")
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	h := families["livegate_commit_duration_seconds"].GetMetric()[0].GetHistogram()
	if h.GetSampleCount() != 4 || math.Abs(h.GetSampleSum()-3.0515) > 1e-9 {
		t.Errorf("histogram %v", h)
	}
	var cumulative []uint64
	for _, b := range h.GetBucket() {
		cumulative = append(cumulative, b.GetCumulativeCount())
	}
	if !slices.Equal(cumulative, []uint64{2, 2, 3, 4}) { // 0.001 falls into le="0.001"
		t.Errorf("buckets %v", cumulative)
	}
	for name, want := range map[string]dto.MetricType{
		"livegate_connections_open": dto.MetricType_GAUGE, "livegate_messages_total": dto.MetricType_COUNTER,
		"livegate_invocations_total": dto.MetricType_COUNTER, "livegate_file_bytes": dto.MetricType_GAUGE,
	} {
		if f := families[name]; f.GetType() != want {
			t.Errorf("%s is a %v", name, f.GetType())
		}
	}
	if f := families["livegate_file_bytes"]; f.GetHelp() != "A file \"with\" quotes\nand lines." || f.GetMetric()[0].GetLabel()[0].GetValue() != `a\b"c` {
		t.Errorf("escapes: %v", f)
	}
}

func TestOpenMetricsWhenAskedFor(t *testing.T) {
	body, contentType := scrape(t, filled(), "application/openmetrics-text; version=1.0.0")
	if !strings.HasPrefix(contentType, "application/openmetrics-text; version=1.0.0") || !strings.HasSuffix(body, "# EOF\n") {
		t.Errorf("%q ends in %q", contentType, body[len(body)-20:])
	}
	if !strings.Contains(body, "# TYPE livegate_reloads counter\n") || !strings.Contains(body, "livegate_reloads_total{result=\"failure\"} 3.0\n") {
		t.Errorf("counters:\n%s", ours(body))
	}
}

func TestLint(t *testing.T) {
	problems, err := testutil.GatherAndLint(filled().reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// A mistake in a name is one of the program's, and must not wait for a scrape.
func TestBadDeclarationsPanic(t *testing.T) {
	zero := func() float64 { return 0 }
	for name, declare := range map[string]func(*Registry){
		"a counter without _total":      func(r *Registry) { r.Counter("livegate_messages", "x") },
		"a gauge with _total":           func(r *Registry) { r.Gauge("livegate_open_total", "x") },
		"a counter func without _total": func(r *Registry) { r.CounterFunc("livegate_messages", "x", zero) },
		"a gauge func with _total":      func(r *Registry) { r.GaugeFunc("livegate_open_total", "x", zero) },
		"a histogram without unit":      func(r *Registry) { r.Histogram("livegate_latency", "x", []float64{1}) },
		"buckets that fall":             func(r *Registry) { r.Histogram("livegate_latency_seconds", "x", []float64{2, 1}) },
		"a foreign prefix":              func(r *Registry) { r.Gauge("messages", "x") },
		"a name with a space":           func(r *Registry) { r.Gauge("livegate_a b", "x") },
		"the same name twice":           func(r *Registry) { r.Gauge("livegate_a", "x"); r.Gauge("livegate_a", "x") },
		"two helps for one name": func(r *Registry) {
			r.Gauge("livegate_a", "x", Label{"k", "1"})
			r.Gauge("livegate_a", "y", Label{"k", "2"})
		},
		"two label sets for one name": func(r *Registry) {
			r.Gauge("livegate_a", "x", Label{"k", "1"})
			r.Gauge("livegate_a", "x", Label{"l", "2"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("accepted")
				}
			}()
			declare(New())
		})
	}
}

func TestNilDoesNothing(t *testing.T) {
	var c *Counter
	var g *Gauge
	var h *Histogram
	c.Inc()
	c.Add(2)
	g.Set(1)
	g.Add(1)
	h.Observe(1)
}

// However many functions a template declares, a scrape stays bounded, and says
// that it is not whole.
func TestEachIsBounded(t *testing.T) {
	r := New()
	BindEach(r, "function", func() iter.Seq2[string, int] {
		return func(yield func(string, int) bool) {
			for i := range MaxEach + 5 {
				if !yield(fmt.Sprint("f", i), i) || !yield("f0", -1) {
					return
				}
			}
		}
	}, Series[int]{Name: "livegate_x", Help: "x", Value: func(i int) float64 { return float64(i) }})
	first, _ := scrape(t, r, "")
	if n := strings.Count(first, "\nlivegate_x{"); n != MaxEach {
		t.Errorf("%d series", n)
	}
	if !strings.Contains(first, "\nlivegate_x{function=\"f0\"} 0\n") {
		t.Error("a second series of the same name won")
	}
	second, _ := scrape(t, r, "") // the first may have read the counter before it grew
	if !strings.Contains(second, "\nlivegate_metrics_cut_off_total ") || strings.Contains(second, "\nlivegate_metrics_cut_off_total 0\n") {
		t.Error("nothing was counted as cut off")
	}
}

// A scrape that fails must say so: half a page looks like counters that vanished.
func TestANameThatIsNotTextFailsTheScrape(t *testing.T) {
	r := New()
	BindEach(r, "function", func() iter.Seq2[string, int] {
		return func(yield func(string, int) bool) { yield("\xff", 1) }
	}, Series[int]{Name: "livegate_x", Help: "x", Value: func(i int) float64 { return float64(i) }})
	rec := httptest.NewRecorder()
	r.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	if rec.Code != http.StatusInternalServerError {
		t.Errorf("%d", rec.Code)
	}
}

func TestSnapshotIsReadOncePerScrape(t *testing.T) {
	r := New()
	reads := 0
	Bind(r, func() int { reads++; return reads },
		Series[int]{Name: "livegate_a", Help: "a", Value: func(i int) float64 { return float64(i) }},
		Series[int]{Name: "livegate_b", Help: "b", Value: func(i int) float64 { return float64(i) }})
	for n := 1; n <= 3; n++ {
		body, _ := scrape(t, r, "")
		if want := fmt.Sprintf("livegate_a %d\n", n); !strings.Contains(body, want) || !strings.Contains(body, strings.Replace(want, "_a", "_b", 1)) || reads != n {
			t.Errorf("scrape %d: %d reads\n%s", n, reads, ours(body))
		}
	}
}

func TestConcurrency(t *testing.T) {
	r := New()
	c := r.Counter("livegate_a_total", "a")
	g := r.Gauge("livegate_g", "g")
	h := r.Histogram("livegate_h_seconds", "h", []float64{1, 2})
	var wait sync.WaitGroup
	const workers, times = 8, 1000
	for range workers {
		wait.Go(func() {
			for i := range times {
				c.Inc()
				g.Add(1)
				h.Observe(float64(i % 3))
			}
		})
	}
	wait.Go(func() {
		for range 20 {
			rec := httptest.NewRecorder()
			r.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
			if _, err := io.Copy(io.Discard, rec.Body); err != nil || rec.Code != http.StatusOK {
				t.Errorf("%d %v", rec.Code, err)
			}
		}
	})
	wait.Wait()
	body, _ := scrape(t, r, "")
	for _, want := range []string{"livegate_a_total 8000\n", "livegate_g 8000\n", "livegate_h_seconds_count 8000\n", "livegate_h_seconds_bucket{le=\"+Inf\"} 8000\n"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in\n%s", want, ours(body))
		}
	}
}

func TestUpdatesDoNotAllocate(t *testing.T) {
	r := New()
	c := r.Counter("livegate_a_total", "a")
	g := r.Gauge("livegate_g", "g")
	h := r.Histogram("livegate_h_seconds", "h", []float64{0.001, 0.01, 0.1, 1})
	if n := testing.AllocsPerRun(1000, func() { c.Inc(); c.Add(2); g.Set(1); g.Add(1); h.Observe(0.02) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkHistogramObserve(b *testing.B) {
	h := New().Histogram("livegate_h_seconds", "h", []float64{0.0001, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			h.Observe(0.003)
		}
	})
}
