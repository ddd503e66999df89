package table

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/livegate/livegate/internal/attr"
)

// naive is the model: a map of items, and functions that go through all of it.
type naive map[string]attr.Map

type machine struct {
	e     *Engine
	items naive
	ctx   context.Context
}

var machineKeys = struct{ pk, sk, g, l []string }{
	[]string{"a", "ab", "b\x00"}, []string{"-1", "0", "2", "10"}, []string{"", "x", "y"}, []string{"", "m", "n"},
}

func drawKey(t *rapid.T) attr.Map {
	return attr.Item(
		attr.Member{Name: "pk", Value: attr.String(rapid.SampledFrom(machineKeys.pk).Draw(t, "pk"))},
		attr.Member{Name: "sk", Value: attr.Number(rapid.SampledFrom(machineKeys.sk).Draw(t, "sk"))},
	)
}

func drawItem(t *rapid.T) attr.Map {
	m := drawKey(t).With("n", attr.Number(strconv.Itoa(rapid.IntRange(0, 3).Draw(t, "n"))))
	if g := rapid.SampledFrom(machineKeys.g).Draw(t, "g"); g != "" {
		m = m.With("g", attr.String(g))
	}
	if l := rapid.SampledFrom(machineKeys.l).Draw(t, "l"); l != "" {
		m = m.With("l", attr.String(l))
	}
	return m
}

func idOf(m attr.Map) string {
	pk, _ := m.Get("pk")
	sk, _ := m.Get("sk")
	return pk.Str + "/" + sk.Str
}

func doc(m attr.Map) attr.Document { return attr.Document{Map: m} }

func values(pairs ...any) attr.Document {
	m := attr.Map{}
	for i := 0; i < len(pairs); i += 2 {
		m = m.With(pairs[i].(string), pairs[i+1].(attr.Value))
	}
	return doc(m)
}

func conditionFailed(t *rapid.T, err error) bool {
	var f *Failure
	if errors.As(err, &f) {
		return true
	}
	if err != nil {
		t.Fatal(err)
	}
	return false
}

// put replaces, perhaps only where there is nothing.
func (m *machine) put(t *rapid.T) {
	it := drawItem(t)
	in := &PutInput{Table: ptr("chat"), Item: doc(it)}
	in.ReturnValues = "ALL_OLD"
	guarded := rapid.Bool().Draw(t, "guarded")
	if guarded {
		in.Condition = ptr("attribute_not_exists(pk)")
	}
	old := m.items[idOf(it)]
	out, err := m.e.PutItem(m.ctx, in)
	if failed := conditionFailed(t, err); failed != (guarded && old != nil) {
		t.Fatalf("condition failed: %v", failed)
	} else if failed {
		return
	}
	same(t, "ALL_OLD", out.Attributes, old)
	m.items[idOf(it)] = it
}

func (m *machine) delete(t *rapid.T) {
	k := drawKey(t)
	in := &DeleteInput{Table: ptr("chat"), Key: doc(k)}
	in.ReturnValues = "ALL_OLD"
	out, err := m.e.DeleteItem(m.ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "ALL_OLD", out.Attributes, m.items[idOf(k)])
	delete(m.items, idOf(k))
}

// update counts up and moves the item in its indexes.
func (m *machine) update(t *rapid.T) {
	k := drawKey(t)
	in := &UpdateInput{Table: ptr("chat"), Key: doc(k)}
	in.ReturnValues = "ALL_NEW"
	in.Expressions = Expressions{Update: ptr("ADD n :one REMOVE l"), Values: values(":one", attr.Number("1"))}
	g := rapid.SampledFrom(machineKeys.g).Draw(t, "g")
	if g != "" {
		in.Expressions = Expressions{Update: ptr("ADD n :one SET g = :g REMOVE l"), Values: values(":one", attr.Number("1"), ":g", attr.String(g))}
	}
	out, err := m.e.UpdateItem(m.ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	m.items[idOf(k)] = m.counted(k, g)
	same(t, "ALL_NEW", out.Attributes, m.items[idOf(k)])
}

func (m *machine) counted(k attr.Map, g string) attr.Map {
	it := m.items[idOf(k)]
	if it == nil {
		it = k
	}
	n, ok := it.Get("n")
	if !ok {
		n = attr.Number("0")
	}
	count, _ := strconv.Atoi(n.Str)
	it = it.With("n", attr.Number(strconv.Itoa(count+1))).Without("l")
	if g != "" {
		it = it.With("g", attr.String(g))
	}
	return it
}

// transact does several writes, all or none.
func (m *machine) transact(t *rapid.T) {
	next := maps.Clone(m.items)
	in := &TransactWriteInput{}
	fails := false
	used := map[string]bool{}
	for range rapid.IntRange(1, 4).Draw(t, "actions") {
		it := drawItem(t)
		key := attr.Item(it[slices.IndexFunc(it, func(e attr.Member) bool { return e.Name == "pk" })], it[slices.IndexFunc(it, func(e attr.Member) bool { return e.Name == "sk" })])
		if used[idOf(it)] {
			continue
		}
		used[idOf(it)] = true
		a := TransactAction{Table: ptr("chat")}
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			a.Kind, a.Item, a.Condition = "Put", doc(it), ptr("attribute_not_exists(pk)")
			fails = fails || m.items[idOf(it)] != nil
			next[idOf(it)] = it
		case 1:
			a.Kind, a.Key = "Delete", doc(key)
			delete(next, idOf(it))
		case 2:
			a.Kind, a.Key, a.Condition = "ConditionCheck", doc(key), ptr("attribute_exists(pk)")
			fails = fails || m.items[idOf(it)] == nil
		}
		in.Actions = append(in.Actions, a)
	}
	_, err := m.e.TransactWriteItems(m.ctx, in)
	if failed := conditionFailed(t, err); failed != fails {
		t.Fatalf("transaction failed: %v", failed)
	} else if !failed {
		m.items = next
	}
}

func (m *machine) batch(t *rapid.T) {
	var writes []BatchWrite
	used := map[string]bool{}
	for range rapid.IntRange(1, 5).Draw(t, "writes") {
		it := drawItem(t)
		if used[idOf(it)] {
			continue
		}
		used[idOf(it)] = true
		writes = append(writes, BatchWrite{Put: ptr(doc(it))})
		m.items[idOf(it)] = it
	}
	if _, err := m.e.BatchWriteItem(m.ctx, &BatchWriteInput{Tables: []TableWrites{{"chat", writes}}}); err != nil {
		t.Fatal(err)
	}
}

func same(t *rapid.T, what string, got, want attr.Map) {
	a, b := string(attr.AppendItem(nil, got)), string(attr.AppendItem(nil, want))
	if a != b {
		t.Fatalf("%s: %s, want %s", what, a, b)
	}
}

// lines renders items for comparison.
func lines(items []attr.Map) string {
	out := make([]string, len(items))
	for i, it := range items {
		out[i] = string(attr.AppendItem(nil, it))
	}
	return strings.Join(out, "\n")
}

func parse(t *rapid.T, raw []byte) []attr.Map {
	var out []attr.Map
	r := attr.NewReader(raw)
	r.Array(func() { out = append(out, r.ReadItem().Map) })
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	return out
}

// check compares everything the engine can say with the model.
func (m *machine) check(t *rapid.T) {
	limit := int64(rapid.IntRange(1, 4).Draw(t, "limit"))
	backward := rapid.Bool().Draw(t, "backward")
	for _, pk := range machineKeys.pk {
		m.checkQuery(t, "", "pk", pk, "sk", limit, backward)
		m.checkQuery(t, "byL", "pk", pk, "l", limit, backward)
	}
	for _, g := range machineKeys.g[1:] {
		m.checkQuery(t, "byG", "g", g, "sk", limit, backward)
	}
	m.checkScan(t, limit)
	if got := m.e.Tables()[0].Items; got != int64(len(m.items)) {
		t.Fatalf("%d items counted, %d there", got, len(m.items))
	}
}

func (m *machine) checkQuery(t *rapid.T, index, hash, v, rng string, limit int64, backward bool) {
	var want []attr.Map
	for _, it := range m.items {
		h, _ := it.Get(hash)
		if _, ok := it.Get(rng); ok && h.Str == v {
			if index == "byG" {
				it = it.Without("n").Without("l")
			}
			want = append(want, it)
		}
	}
	var got []attr.Map
	in := &QueryInput{Table: ptr("chat"), Limit: &limit, Backward: backward,
		Expressions: Expressions{KeyCondition: ptr(hash + " = :v"), Values: values(":v", attr.String(v))}}
	if index != "" {
		in.Index = &index
	}
	for {
		page, err := m.e.Query(m.ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, parse(t, page.Items)...)
		if page.LastKey == nil {
			break
		}
		in.StartKey = doc(page.LastKey)
	}
	inOrder := sort.SliceIsSorted(got, func(i, j int) bool {
		a, _ := got[i].Get(rng)
		b, _ := got[j].Get(rng)
		order, _ := attr.Compare(a, b)
		return order < 0 != backward && order != 0
	})
	if !inOrder {
		t.Fatalf("query %s %s is out of order:\n%s", index, v, lines(got))
	}
	byID := func(a, b attr.Map) int { return strings.Compare(idOf(a), idOf(b)) }
	slices.SortFunc(got, byID)
	slices.SortFunc(want, byID)
	if lines(got) != lines(want) {
		t.Fatalf("query %s %s:\n%s\nwant\n%s", index, v, lines(got), lines(want))
	}
}

func (m *machine) checkScan(t *rapid.T, limit int64) {
	segments := int64(rapid.IntRange(1, 5).Draw(t, "segments"))
	var got []attr.Map
	for s := range segments {
		in := &ScanInput{Table: ptr("chat"), Limit: &limit, Segment: &s, TotalSegments: &segments}
		for {
			page, err := m.e.Scan(m.ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, parse(t, page.Items)...)
			if page.LastKey == nil {
				break
			}
			in.StartKey = doc(page.LastKey)
		}
	}
	want := slices.Collect(maps.Values(m.items))
	byID := func(a, b attr.Map) int { return strings.Compare(idOf(a), idOf(b)) }
	slices.SortFunc(got, byID)
	slices.SortFunc(want, byID)
	if lines(got) != lines(want) {
		t.Fatalf("scan in %d segments:\n%s\nwant\n%s", segments, lines(got), lines(want))
	}
}

// Random writes against a naive model; after each, every query and scan agrees.
func TestEngineAgreesWithNaiveModel(t *testing.T) {
	dir := t.TempDir()
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		e, done := openAt(t, filepath.Join(dir, fmt.Sprintf("%d.db", run)), Config{})
		defer done()
		declare(t, e, chat())
		m := &machine{e, naive{}, context.Background()}
		rt.Repeat(map[string]func(*rapid.T){
			"put": m.put, "delete": m.delete, "update": m.update, "transact": m.transact, "batch": m.batch,
			"": m.check,
		})
	})
}
