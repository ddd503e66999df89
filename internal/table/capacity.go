package table

import (
	"math"

	"github.com/livegate/livegate/internal/attr"
)

// Capacity is ConsumedCapacity: what an operation would have cost (Developer
// Guide, "Read and write capacity units").
type Capacity struct {
	Table      string
	Units      float64
	ReadUnits  float64 // transactions only
	WriteUnits float64 // transactions only
	Detail     bool    // INDEXES was asked for
	OnTable    float64
	Indexes    []IndexUnits
}

// IndexUnits is one index's share.
type IndexUnits struct {
	Name   string
	Global bool
	Units  float64
}

func (c *Capacity) addIndex(i *index, units float64) {
	c.Units += units
	for n := range c.Indexes {
		if c.Indexes[n].Name == i.name {
			c.Indexes[n].Units += units
			return
		}
	}
	c.Indexes = append(c.Indexes, IndexUnits{i.name, i.global, units})
}

// merge adds another operation on the same table.
func (c *Capacity) merge(o *Capacity) {
	c.Units += o.Units
	c.ReadUnits += o.ReadUnits
	c.WriteUnits += o.WriteUnits
	c.OnTable += o.OnTable
	for _, i := range o.Indexes {
		c.addIndex(&index{name: i.Name, global: i.Global}, 0)
		for n := range c.Indexes {
			if c.Indexes[n].Name == i.Name {
				c.Indexes[n].Units += i.Units
			}
		}
	}
}

func writeUnits(size int) float64 { return math.Max(1, math.Ceil(float64(size)/1024)) }

// readUnits is for size bytes read together.
func readUnits(size int, consistent bool) float64 {
	units := math.Max(1, math.Ceil(float64(size)/4096))
	if !consistent {
		units /= 2
	}
	return units
}

func wantsCapacity(mode string) bool { return mode == "TOTAL" || mode == "INDEXES" }

// capacity is the cost of a finished write; factor is 2 in transactions.
func (w *write) capacity(mode string, factor float64) *Capacity {
	if !wantsCapacity(mode) {
		return nil
	}
	c := &Capacity{Table: w.t.def.Name, Detail: mode == "INDEXES"}
	c.OnTable = factor * writeUnits(max(w.oldSize, w.newSize))
	c.Units = c.OnTable
	for _, i := range w.t.indexes {
		if units := i.writeUnits(w.old, w.new); units > 0 {
			c.addIndex(i, factor*units)
		}
	}
	return c
}

// writeUnits is what keeping the index up to date costs.
func (i *index) writeUnits(old, new attr.Map) float64 {
	from, was := i.key.encode(nil, old)
	to, is := i.key.encode(nil, new)
	a, b := i.shown(old), i.shown(new)
	switch {
	case was && is && string(from) == string(to):
		if sameItem(a, b) {
			return 0
		}
		return writeUnits(max(a.Size(), b.Size()))
	case was && is:
		return writeUnits(a.Size()) + writeUnits(b.Size())
	case was:
		return writeUnits(a.Size())
	case is:
		return writeUnits(b.Size())
	}
	return 0
}

// shown is what the index shows of an item.
func (i *index) shown(item attr.Map) attr.Map {
	if i.projection == nil {
		return item
	}
	return i.projection.Apply(item)
}

// Collection is ItemCollectionMetrics: the partition key and an estimate of its
// collection's size in GB, lower and upper bound.
type Collection struct {
	Key      attr.Map
	Estimate [2]float64
}

// collection exists for tables with local indexes only. The estimate is the
// first bucket: what is stored locally does not come near the next.
func (w *write) collection() *Collection {
	for _, i := range w.t.indexes {
		if !i.global {
			v, _ := w.key.Get(w.t.key.hash)
			return &Collection{Key: attr.Item(attr.Member{Name: w.t.key.hash, Value: v}), Estimate: [2]float64{0, 1}}
		}
	}
	return nil
}
