package dynamodb

import (
	"maps"
	"slices"
	"strconv"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/table"
)

// object appends members of a JSON object, with commas where they belong.
type object struct {
	buf   []byte
	first bool
}

func newObject(dst []byte) *object { return &object{append(dst, '{'), true} }

// key appends a member's name.
func (o *object) key(name string) {
	if !o.first {
		o.buf = append(o.buf, ',')
	}
	o.first = false
	o.buf = append(attr.AppendString(o.buf, name), ':')
}

func (o *object) raw(name string, json []byte) {
	o.key(name)
	o.buf = append(o.buf, json...)
}

func (o *object) item(name string, m attr.Map) {
	if m != nil {
		o.key(name)
		o.buf = attr.AppendItem(o.buf, m)
	}
}

func (o *object) text(name, s string) {
	o.key(name)
	o.buf = attr.AppendString(o.buf, s)
}

func (o *object) number(name string, f float64) {
	o.key(name)
	o.buf = strconv.AppendFloat(o.buf, f, 'f', -1, 64)
}

func (o *object) end() []byte { return append(o.buf, '}') }

// capacity appends ConsumedCapacity, if there is any.
func (o *object) capacity(c *table.Capacity) {
	if c != nil {
		o.key("ConsumedCapacity")
		o.buf = appendCapacity(o.buf, c)
	}
}

func (o *object) capacities(list []*table.Capacity) {
	if list == nil {
		return
	}
	o.key("ConsumedCapacity")
	o.buf = append(o.buf, '[')
	for i, c := range list {
		if i > 0 {
			o.buf = append(o.buf, ',')
		}
		o.buf = appendCapacity(o.buf, c)
	}
	o.buf = append(o.buf, ']')
}

func appendCapacity(dst []byte, c *table.Capacity) []byte {
	o := newObject(dst)
	o.text("TableName", c.Table)
	o.number("CapacityUnits", c.Units)
	split := func(o *object) {
		if c.ReadUnits > 0 {
			o.number("ReadCapacityUnits", c.ReadUnits)
		}
		if c.WriteUnits > 0 {
			o.number("WriteCapacityUnits", c.WriteUnits)
		}
	}
	split(o)
	if !c.Detail {
		return o.end()
	}
	o.key("Table")
	inner := newObject(o.buf)
	inner.number("CapacityUnits", c.OnTable)
	if len(c.Indexes) == 0 {
		split(inner)
	}
	o.buf = inner.end()
	o.indexUnits("LocalSecondaryIndexes", c.Indexes, false)
	o.indexUnits("GlobalSecondaryIndexes", c.Indexes, true)
	return o.end()
}

func (o *object) indexUnits(name string, list []table.IndexUnits, global bool) {
	var inner *object
	for _, i := range list {
		if i.Global != global {
			continue
		}
		if inner == nil {
			o.key(name)
			inner = newObject(o.buf)
		}
		inner.key(i.Name)
		units := newObject(inner.buf)
		units.number("CapacityUnits", i.Units)
		inner.buf = units.end()
	}
	if inner != nil {
		o.buf = inner.end()
	}
}

// collection appends ItemCollectionMetrics, if there are any.
func (o *object) collection(c *table.Collection) {
	if c != nil {
		o.key("ItemCollectionMetrics")
		o.buf = appendCollection(o.buf, c)
	}
}

func appendCollection(dst []byte, c *table.Collection) []byte {
	o := newObject(dst)
	o.item("ItemCollectionKey", c.Key)
	o.key("SizeEstimateRangeGB")
	o.buf = append(o.buf, '[')
	o.buf = strconv.AppendFloat(o.buf, c.Estimate[0], 'f', -1, 64)
	o.buf = append(o.buf, ',')
	o.buf = strconv.AppendFloat(o.buf, c.Estimate[1], 'f', -1, 64)
	o.buf = append(o.buf, ']')
	return o.end()
}

func (o *object) collections(byTable map[string][]*table.Collection) {
	if byTable == nil {
		return
	}
	o.key("ItemCollectionMetrics")
	inner := newObject(o.buf)
	for _, name := range slices.Sorted(maps.Keys(byTable)) {
		inner.key(name)
		inner.buf = append(inner.buf, '[')
		for i, c := range byTable[name] {
			if i > 0 {
				inner.buf = append(inner.buf, ',')
			}
			inner.buf = appendCollection(inner.buf, c)
		}
		inner.buf = append(inner.buf, ']')
	}
	o.buf = inner.end()
}
