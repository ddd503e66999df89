// Package meter counts and times things and shows them to Prometheus. It is the
// sole importer of the metrics library, so that no engine depends on it.
//
// Two kinds of numbers:
//
//   - engines that count for themselves, in plain or atomic fields, expose a
//     snapshot; [Bind] and [BindEach] declare the series made of it, and read it
//     once per scrape. This is the way for hot paths: between scrapes it costs
//     nothing. [Registry.CounterFunc] and [Registry.GaugeFunc] are the same for a
//     single number;
//   - [Counter], [Gauge] and [Histogram] are updated by whoever holds them, from
//     any goroutine, without blocking and without allocating. The nil pointer of
//     each does nothing, so an engine needs no metrics to run.
//
// Names follow Prometheus' rules (prometheus.io, "Metric and label naming"):
// livegate_ first, the base unit (seconds, bytes) last, and a name ends in _total
// exactly if the number only grows: the name decides the type. Breaking a rule,
// or declaring a name twice, panics: names are constants of the program.
//
// The number of series is bounded by construction. Label values are fixed when a
// metric is declared, or come from a set that the operator's configuration
// names, never from a client; [BindEach] cuts off at [MaxEach] all the same, and
// counts what it left out.
//
// A registry is safe for concurrent use; two never share anything.
package meter

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// MaxEach is how many series one family of [BindEach] may have.
const MaxEach = 1000

// Label is a dimension of a series. Value must not come from a client.
type Label struct{ Name, Value string }

// Registry holds the series of one process, its own (process_*) and the Go
// runtime's (go_*) included.
type Registry struct {
	reg     *prometheus.Registry
	cutOff  *Counter
	handler http.Handler
}

// New returns a registry.
func New() *Registry {
	r := &Registry{reg: prometheus.NewRegistry()}
	r.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	r.cutOff = r.Counter("livegate_metrics_cut_off_total", "Members of a family left out of a scrape because it had too many.")
	r.handler = promhttp.HandlerFor(r.reg, promhttp.HandlerOpts{
		EnableOpenMetrics:   true,
		ErrorHandling:       promhttp.HTTPErrorOnError,
		MaxRequestsInFlight: 4, // a scrape reads every engine; more are answered 503
		OfferedCompressions: []promhttp.Compression{promhttp.Identity, promhttp.Gzip},
	})
	return r
}

// Handler serves the series in the Prometheus text format, or in OpenMetrics
// where the client asks for it, on any path.
func (r *Registry) Handler() http.Handler { return r.handler }

// Counter declares a number that only grows. Its name ends in _total.
func (r *Registry) Counter(name, help string, labels ...Label) *Counter {
	mustBeCounter(name)
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: checked(name), Help: help, ConstLabels: constant(labels)})
	r.reg.MustRegister(c)
	return &Counter{c}
}

// Gauge declares a number that goes up and down.
func (r *Registry) Gauge(name, help string, labels ...Label) *Gauge {
	mustBeGauge(name)
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: checked(name), Help: help, ConstLabels: constant(labels)})
	r.reg.MustRegister(g)
	return &Gauge{g}
}

// Histogram declares a distribution over buckets, given by their upper bounds in
// rising order. Its name ends in _seconds or _bytes.
func (r *Registry) Histogram(name, help string, buckets []float64, labels ...Label) *Histogram {
	if !strings.HasSuffix(name, "_seconds") && !strings.HasSuffix(name, "_bytes") {
		panic(fmt.Sprintf("meter: histogram %s does not end in its base unit, _seconds or _bytes", name))
	}
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: checked(name), Help: help, Buckets: buckets, ConstLabels: constant(labels)})
	r.reg.MustRegister(h)
	return &Histogram{h}
}

// CounterFunc declares a number that somebody else counts; read is called for
// every scrape, possibly by several at once.
func (r *Registry) CounterFunc(name, help string, read func() float64, labels ...Label) {
	mustBeCounter(name)
	r.reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: checked(name), Help: help, ConstLabels: constant(labels)}, read))
}

// GaugeFunc is CounterFunc for a number that goes up and down.
func (r *Registry) GaugeFunc(name, help string, read func() float64, labels ...Label) {
	mustBeGauge(name)
	r.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: checked(name), Help: help, ConstLabels: constant(labels)}, read))
}

// Counter only grows.
type Counter struct{ c prometheus.Counter }

// Inc adds one.
func (c *Counter) Inc() {
	if c != nil {
		c.c.Inc()
	}
}

// Add adds n, which must not be negative.
func (c *Counter) Add(n uint64) {
	if c != nil {
		c.c.Add(float64(n))
	}
}

// Gauge goes up and down.
type Gauge struct{ g prometheus.Gauge }

// Set makes v the value.
func (g *Gauge) Set(v float64) {
	if g != nil {
		g.g.Set(v)
	}
}

// Add adds d, which may be negative.
func (g *Gauge) Add(d float64) {
	if g != nil {
		g.g.Add(d)
	}
}

// Histogram counts observations by size.
type Histogram struct{ h prometheus.Histogram }

// Observe takes note of one observation, in the base unit of the name.
func (h *Histogram) Observe(v float64) {
	if h != nil {
		h.h.Observe(v)
	}
}

// checked refuses names without our prefix, and those that the text format would
// have to quote.
func checked(name string) string {
	if !strings.HasPrefix(name, "livegate_") || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		panic(fmt.Sprintf("meter: %q is not livegate_ and further lower-case letters, digits and underscores", name))
	}
	return name
}

func mustBeCounter(name string) {
	if !grows(name) {
		panic("meter: counter " + name + " does not end in _total")
	}
}

func mustBeGauge(name string) {
	if grows(name) {
		panic("meter: gauge " + name + " ends in _total, which is for what only grows")
	}
}

func grows(name string) bool { return strings.HasSuffix(name, "_total") }

func constant(labels []Label) prometheus.Labels {
	if len(labels) == 0 {
		return nil
	}
	out := prometheus.Labels{}
	for _, l := range labels {
		out[l.Name] = l.Value
	}
	return out
}
