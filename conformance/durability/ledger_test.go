package durability

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
)

// idsOf is how many items of each kind a client writes over and over.
const idsOf = 40

// state is what an item is: its version, 0 for none.
type state int

// pending is an operation whose answer has not come. All keys change, or none.
type pending struct {
	to map[string]state
}

// worker is one client with its ledger. Keys are TABLE/ID; only this client
// writes its ids, and one operation at a time.
type worker struct {
	name  string
	rng   *rand.Rand
	next  int // version of the next write; never used twice
	acked map[string]state
	open  *pending // of the operation that a kill cut off

	acks, puts, updates, transactions, deletes int
}

func newWorker(n int, seed uint64) *worker {
	return &worker{name: fmt.Sprintf("w%d", n), rng: rand.New(rand.NewPCG(seed, uint64(n))), next: 1, acked: map[string]state{}}
}

// thing is the item of a version. The text makes versions differ in size.
func (w *worker) thing(id string, v state) item {
	return item{
		"id": {S: id}, "v": number(int(v)), "owner": {S: fmt.Sprintf("%s-%d", w.name, v%5)},
		"text": {S: fmt.Sprintf("%0*d", 20+int(v)*37%900, int(v))},
	}
}

// run works until the instance is gone, or says something that it must not.
func (w *worker) run(ctx context.Context, a *api) error {
	for {
		operation, in, to, counted := w.choose()
		w.open = &pending{to}
		err := a.call(ctx, operation, in, nil)
		if r, ok := errors.AsType[*refusal](err); ok {
			return fmt.Errorf("%s %s: %w", w.name, operation, r)
		}
		if err != nil {
			return nil // killed: the operation stays open
		}
		for key, v := range to {
			w.acked[key] = v
		}
		w.open = nil
		w.acks++
		*counted++
	}
}

// choose draws the next operation and what it makes of which keys.
func (w *worker) choose() (operation string, in object, to map[string]state, counted *int) {
	v := state(w.next)
	w.next++
	n := w.rng.IntN(idsOf)
	switch w.rng.IntN(10) {
	case 0, 1, 2:
		id := fmt.Sprintf("%s-put-%d", w.name, n)
		return "PutItem", object{"TableName": "Items", "Item": w.thing(id, v)}, map[string]state{"Items/" + id: v}, &w.puts
	case 3:
		id := fmt.Sprintf("%s-put-%d", w.name, n)
		return "DeleteItem", object{"TableName": "Items", "Key": item{"id": {S: id}}}, map[string]state{"Items/" + id: 0}, &w.deletes
	case 4, 5, 6:
		return w.countUp(v)
	}
	id := fmt.Sprintf("%s-both-%d", w.name, n)
	to = map[string]state{"Items/" + id: v, "Pairs/" + id: v}
	put := func(table string) object { return object{"Put": object{"TableName": table, "Item": w.thing(id, v)}} }
	writes := []object{put("Items"), put("Pairs")}
	if w.rng.IntN(4) == 0 {
		to = map[string]state{"Items/" + id: 0, "Pairs/" + id: 0}
		remove := func(table string) object {
			return object{"Delete": object{"TableName": table, "Key": item{"id": {S: id}}}}
		}
		writes = []object{remove("Items"), remove("Pairs")}
	}
	return "TransactWriteItems", object{"TransactItems": writes}, to, &w.transactions
}

// countUp is a conditional update: it goes through only if the last one that was
// acknowledged is still there.
func (w *worker) countUp(v state) (string, object, map[string]state, *int) {
	id := w.name + "-count"
	condition, before := "attribute_not_exists(id)", w.acked["Items/"+id]
	want := w.thing(id, v)
	values := item{":v": want["v"], ":o": want["owner"], ":t": want["text"]}
	if before != 0 {
		condition, values[":before"] = "v = :before", number(int(before))
	}
	return "UpdateItem", object{
		"TableName": "Items", "Key": item{"id": {S: id}},
		"UpdateExpression": "SET v = :v, #o = :o, #t = :t", "ConditionExpression": condition,
		"ExpressionAttributeNames": map[string]string{"#o": "owner", "#t": "text"}, "ExpressionAttributeValues": values,
	}, map[string]state{"Items/" + id: v}, &w.updates
}

// settle holds what is stored against the ledger and takes the outcome of the
// open operation from it. It removes from stored what it has explained.
func (w *worker) settle(stored map[string]item) error {
	has := func(key string) state {
		var v int
		if it, ok := stored[key]; ok {
			_, _ = fmt.Sscan(it["v"].N, &v) // 0 is no version
		}
		return state(v)
	}
	if w.open != nil {
		done, undone := 0, 0
		for key, v := range w.open.to {
			if has(key) == v {
				done++
			}
			if has(key) == w.acked[key] {
				undone++
			}
		}
		switch len(w.open.to) {
		case done:
			for key, v := range w.open.to {
				w.acked[key] = v
			}
		case undone:
		default:
			return fmt.Errorf("%s: torn: %v is there in part: %d done, %d not", w.name, w.open.to, done, undone)
		}
		w.open = nil
	}
	for key, v := range w.acked {
		if has(key) != v {
			return fmt.Errorf("%s: LOST: %s is at version %d, %d was acknowledged", w.name, key, has(key), v)
		}
		if v == 0 {
			continue
		}
		it := stored[key]
		for name, want := range w.thing(it["id"].S, v) {
			if it[name] != want {
				return fmt.Errorf("%s: %s: %s is %v, want %v", w.name, key, name, it[name], want)
			}
		}
		delete(stored, key)
	}
	return nil
}
