package meter

import (
	"iter"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Series is one series made of a snapshot of type S. The name decides whether it
// is a counter (_total) or a gauge.
type Series[S any] struct {
	Name, Help string
	Labels     []Label
	Value      func(S) float64
}

// Bind declares the series of an engine. snapshot is called once per scrape, so
// that its numbers belong together, and possibly by several scrapes at once.
func Bind[S any](r *Registry, snapshot func() S, series ...Series[S]) {
	r.reg.MustRegister(newBound(series, nil, func(emit func([]string, S)) { emit(nil, snapshot()) }))
}

// BindEach is Bind for an engine that has several of a kind, such as functions:
// each gives every series once, labelled with its name. The names are those of
// the operator's configuration; of more than [MaxEach], or of two that are
// equal, the later are left out and counted.
func BindEach[S any](r *Registry, label string, each func() iter.Seq2[string, S], series ...Series[S]) {
	BindRows(r, []string{label}, func() iter.Seq2[[]string, S] {
		return func(yield func([]string, S) bool) {
			for name, s := range each() {
				if !yield([]string{name}, s) {
					return
				}
			}
		}
	}, series...)
}

// BindRows is BindEach for what needs several labels to be named: each gives their
// values, in the order of labels.
func BindRows[S any](r *Registry, labels []string, each func() iter.Seq2[[]string, S], series ...Series[S]) {
	r.reg.MustRegister(newBound(series, labels, func(emit func([]string, S)) {
		seen := map[string]bool{}
		for names, s := range each() {
			key := strings.Join(names, "\x00")
			if seen[key] || len(seen) == MaxEach {
				r.cutOff.Inc()
				continue
			}
			seen[key] = true
			emit(names, s)
		}
	}))
}

// bound is the collector of one Bind.
type bound[S any] struct {
	series []Series[S]
	descs  []*prometheus.Desc
	kinds  []prometheus.ValueType
	read   func(emit func(names []string, s S)) // names: none for one snapshot
}

func newBound[S any](series []Series[S], labels []string, read func(func([]string, S))) *bound[S] {
	b := &bound[S]{series: series, read: read}
	for _, s := range series {
		b.descs = append(b.descs, prometheus.NewDesc(checked(s.Name), s.Help, labels, constant(s.Labels)))
		kind := prometheus.GaugeValue
		if grows(s.Name) {
			kind = prometheus.CounterValue
		}
		b.kinds = append(b.kinds, kind)
	}
	return b
}

// Describe implements prometheus.Collector.
func (b *bound[S]) Describe(to chan<- *prometheus.Desc) {
	for _, d := range b.descs {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (b *bound[S]) Collect(to chan<- prometheus.Metric) {
	b.read(func(values []string, s S) {
		for i, d := range b.descs {
			m, err := prometheus.NewConstMetric(d, b.kinds[i], b.series[i].Value(s), values...)
			if err != nil { // a name that is not UTF-8
				m = prometheus.NewInvalidMetric(d, err)
			}
			to <- m
		}
	})
}

var _ prometheus.Collector = (*bound[int])(nil)
