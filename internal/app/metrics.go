package app

import (
	goruntime "runtime"

	"github.com/livegate/livegate/internal/meter"
)

// metrics are the numbers of one application run. Engines count for themselves;
// what is a field here is counted where engines meet. docs/operations.md lists
// every series, and a test compares.
type metrics struct {
	reg *meter.Registry

	commitSync *meter.Histogram
	function   calls // integrations by what stands behind them
	http       calls
	tables     *operations
	reloads    map[string]map[bool]*meter.Counter // what → succeeded
}

// latencies are the buckets of everything that a client waits for: from what a
// MOCK takes to API Gateway's longest integration time-out.
func latencies() []float64 {
	return []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 29}
}

func (a *App) newMetrics() *metrics {
	reg := meter.New()
	m := &metrics{
		reg:        reg,
		commitSync: reg.Histogram("livegate_storage_sync_seconds", "Time that a commit waited for the disk.", latencies()),
		function:   newCalls(reg, "function"),
		http:       newCalls(reg, "http"),
		tables:     newOperations(reg),
		reloads:    map[string]map[bool]*meter.Counter{},
	}
	for _, what := range []string{"code", "template"} {
		m.reloads[what] = map[bool]*meter.Counter{}
		for ok, result := range map[bool]string{true: "success", false: "failure"} {
			m.reloads[what][ok] = reg.Counter("livegate_reloads_total", "Reloads after an edit.", meter.Label{Name: "what", Value: what}, meter.Label{Name: "result", Value: result})
		}
	}
	reg.GaugeFunc("livegate_build_info", "Always 1; the labels say what runs.", func() float64 { return 1 },
		meter.Label{Name: "version", Value: a.cfg.Version}, meter.Label{Name: "go", Value: goruntime.Version()})
	started := float64(a.started.UnixMilli()) / 1000
	reg.GaugeFunc("livegate_start_time_seconds", "When this application started, as Unix time.", func() float64 { return started })
	reg.GaugeFunc("livegate_ready", "1 while clients are let in: what /readyz says.", func() float64 {
		if a.ready.Load() {
			return 1
		}
		return 0
	})
	return m
}

// reloaded takes note of one reload, of the "code" or the "template".
func (m *metrics) reloaded(what string, err error) { m.reloads[what][err == nil].Inc() }
