package durability

import (
	"strings"
	"testing"
)

// The check must be able to fail: each of these is what a broken store would show.
func TestTheLedgerNotices(t *testing.T) {
	fresh := func() (*worker, map[string]item) {
		w := newWorker(1, 1)
		stored := map[string]item{}
		for i, key := range []string{"Items/a", "Items/b", "Pairs/b"} {
			w.acked[key] = state(i + 1)
			stored[key] = w.thing(key[6:], state(i+1))
		}
		w.acked["Items/gone"] = 0
		return w, stored
	}
	w, stored := fresh()
	if err := w.settle(stored); err != nil || len(stored) != 0 {
		t.Fatalf("a sound store: %v, left %v", err, stored)
	}
	for name, c := range map[string]struct {
		spoil func(*worker, map[string]item)
		want  string
	}{
		"a lost put":        {func(_ *worker, s map[string]item) { delete(s, "Items/a") }, "LOST"},
		"a lost overwrite":  {func(w *worker, s map[string]item) { w.acked["Items/a"] = 9 }, "LOST"},
		"a lost delete":     {func(w *worker, s map[string]item) { s["Items/gone"] = w.thing("gone", 4) }, "LOST"},
		"another attribute": {func(_ *worker, s map[string]item) { s["Items/a"]["text"] = value{S: "x"} }, "text is"},
		"half a transaction": {func(w *worker, s map[string]item) {
			w.open = &pending{map[string]state{"Items/b": 8, "Pairs/b": 8}}
			s["Items/b"] = w.thing("b", 8)
		}, "torn"},
		"neither before nor after": {func(w *worker, s map[string]item) {
			w.open = &pending{map[string]state{"Items/a": 8}}
			s["Items/a"] = w.thing("a", 7)
		}, "torn"},
	} {
		w, stored := fresh()
		c.spoil(w, stored)
		if err := w.settle(stored); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w, stored = fresh()
	w.open = &pending{map[string]state{"Items/b": 8, "Pairs/b": 8}}
	stored["Items/b"], stored["Pairs/b"] = w.thing("b", 8), w.thing("b", 8)
	if err := w.settle(stored); err != nil || w.acked["Pairs/b"] != 8 {
		t.Errorf("a transaction that was done and not answered: %v", err)
	}
}

func TestTheFollowerNotices(t *testing.T) {
	made := func(name string, before, after item) *record {
		r := &record{EventName: name}
		r.Dynamodb.Keys, r.Dynamodb.OldImage, r.Dynamodb.NewImage = item{"id": {S: "a"}}, before, after
		return r
	}
	one, two := item{"id": {S: "a"}, "v": number(1)}, item{"id": {S: "a"}, "v": number(2)}
	sound := []*record{made("INSERT", nil, one), made("MODIFY", one, two)}
	for name, c := range map[string]struct {
		records []*record
		stored  map[string]item
		want    string
	}{
		"a sound stream":     {sound, map[string]item{"Items/a": two, "Pairs/b": one}, ""},
		"a missing record":   {sound[1:], map[string]item{"Items/a": two}, "TORN"},
		"a record twice":     {append(sound, sound[1]), map[string]item{"Items/a": two}, "TORN"},
		"a missing last one": {sound[:1], map[string]item{"Items/a": two}, "LOST"},
		"a missing deletion": {sound, map[string]item{}, "1 items"},
		"a record too many":  {append(sound, made("REMOVE", two, nil)), map[string]item{"Items/a": two}, "LOST"},
	} {
		f := follow("Items")
		var err error
		for _, r := range c.records {
			if err == nil {
				err = f.replay(r)
			}
		}
		if err == nil {
			err = f.compare(c.stored)
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
