package table

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

// streamed is the chat table with a stream.
func streamed(view string) *model.Table {
	m := chat()
	m.StreamView = view
	return m
}

func streamOfTable(t testing.TB, e *Engine, name string) string {
	t.Helper()
	d, err := e.DescribeTable(&name)
	if err != nil {
		t.Fatal(err)
	}
	return d.LatestStreamArn
}

// failer is what both testing.T and rapid.T can do.
type failer interface {
	Helper()
	Fatal(args ...any)
}

// readShard reads a shard from an iterator to its present end, page by page.
func readShard(t failer, e *Engine, it string, limit int64) (list []*StreamRecord, next string) {
	t.Helper()
	for it != "" {
		page, err := e.GetRecords(&it, &limit)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, page.Records...)
		it = page.Next
		if len(page.Records) == 0 {
			break
		}
	}
	return list, it
}

func iteratorAt(t failer, e *Engine, arn, shard, kind, number string) string {
	t.Helper()
	in := &ShardIteratorInput{StreamArn: &arn, ShardId: &shard, ShardIteratorType: &kind}
	if number != "" {
		in.SequenceNumber = &number
	}
	it, err := e.GetShardIterator(in)
	if err != nil {
		t.Fatal(err)
	}
	return it
}

func shards(t failer, e *Engine, arn string) []ShardDescription {
	t.Helper()
	d, err := e.DescribeStream(&DescribeStreamInput{StreamArn: &arn})
	if err != nil {
		t.Fatal(err)
	}
	return d.Shards
}

// recordsOf reads all shards of a stream from their beginnings.
func recordsOf(t failer, e *Engine, arn string, limit int64) []*StreamRecord {
	t.Helper()
	var list []*StreamRecord
	for _, sh := range shards(t, e, arn) {
		some, _ := readShard(t, e, iteratorAt(t, e, arn, sh.ShardId, FromOldest, ""), limit)
		list = append(list, some...)
	}
	return list
}

func records(t testing.TB, e *Engine, table string) []*StreamRecord {
	t.Helper()
	return recordsOf(t, e, streamOfTable(t, e, table), 1000)
}

func shown(list []*StreamRecord) string {
	var out []string
	for _, r := range list {
		out = append(out, fmt.Sprintf("%s %s %s→%s", r.Event, r.Keys, r.Old, r.New))
	}
	return strings.Join(out, "\n")
}

func TestStreamViews(t *testing.T) {
	const keys, first, second = `{"pk":{"S":"a"},"sk":{"N":"1"}}`, `{"pk":{"S":"a"},"sk":{"N":"1"},"x":{"N":"1"}}`, `{"pk":{"S":"a"},"sk":{"N":"1"},"x":{"N":"2"}}`
	for view, want := range map[string][3]string{
		"KEYS_ONLY":          {"→", "→", "→"},
		"NEW_IMAGE":          {"→" + first, "→" + second, "→"},
		"OLD_IMAGE":          {"→", first + "→", second + "→"},
		"NEW_AND_OLD_IMAGES": {"→" + first, first + "→" + second, second + "→"},
	} {
		e := newEngine(t, Config{})
		declare(t, e, streamed(view))
		putItem(t, e, first)
		putItem(t, e, first) // nothing changes: no record
		if _, err := e.UpdateItem(t.Context(), &UpdateInput{Table: ptr("chat"), Key: item(t, keys), Expressions: Expressions{Update: ptr("SET x = x")}}); err != nil {
			t.Fatal(err)
		}
		putItem(t, e, second)
		for range 2 { // the second deletes nothing
			if _, err := e.DeleteItem(t.Context(), &DeleteInput{Table: ptr("chat"), Key: item(t, keys)}); err != nil {
				t.Fatal(err)
			}
		}
		got := shown(records(t, e, "chat"))
		if want := fmt.Sprintf("INSERT %s %s\nMODIFY %s %s\nREMOVE %s %s", keys, want[0], keys, want[1], keys, want[2]); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", view, got, want)
		}
		for _, r := range records(t, e, "chat") {
			size := len("pka") + len("sk") + 2
			for _, image := range [][]byte{r.New, r.Old} {
				if image != nil {
					m, _ := attr.ParseItem(image)
					size += m.Size()
				}
			}
			if r.Size != size || r.View != view || time.Since(r.At) > time.Minute || len(r.ID) != 32 {
				t.Errorf("%s: %+v, want size %d", view, r, size)
			}
		}
	}
}

// A cancelled transaction and a failed condition leave nothing in the stream; a
// transaction that succeeds leaves a record per item it changed.
func TestStreamOfTransactions(t *testing.T) {
	e := newEngine(t, Config{})
	declare(t, e, streamed("KEYS_ONLY"))
	put := func(sk string, condition *string) TransactAction {
		return TransactAction{Kind: "Put", Table: ptr("chat"), Item: item(t, `{"pk":{"S":"a"},"sk":{"N":"`+sk+`"}}`), Expressions: Expressions{Condition: condition}}
	}
	if _, err := e.TransactWriteItems(t.Context(), &TransactWriteInput{Actions: []TransactAction{put("1", nil), put("2", nil)}}); err != nil {
		t.Fatal(err)
	}
	_, err := e.TransactWriteItems(t.Context(), &TransactWriteInput{Actions: []TransactAction{put("3", nil), put("1", ptr("attribute_not_exists(pk)"))}})
	if err == nil {
		t.Fatal("the condition held")
	}
	if got := shown(records(t, e, "chat")); got != "INSERT {\"pk\":{\"S\":\"a\"},\"sk\":{\"N\":\"1\"}} →\nINSERT {\"pk\":{\"S\":\"a\"},\"sk\":{\"N\":\"2\"}} →" {
		t.Fatal(got)
	}
}

func TestShardIterators(t *testing.T) {
	e := newEngine(t, Config{})
	declare(t, e, streamed("KEYS_ONLY"))
	arn := streamOfTable(t, e, "chat")
	shard := shards(t, e, arn)[0].ShardId
	latest := iteratorAt(t, e, arn, shard, FromLatest, "")
	for i := range 5 {
		putItem(t, e, fmt.Sprintf(`{"pk":{"S":"a"},"sk":{"N":"%d"}}`, i))
	}
	all, next := readShard(t, e, iteratorAt(t, e, arn, shard, FromOldest, ""), 2)
	if len(all) != 5 || next == "" {
		t.Fatal(len(all), next)
	}
	for i := range all[1:] {
		if all[i].Sequence >= all[i+1].Sequence || len(all[i].Sequence) != 21 {
			t.Error(all[i].Sequence, all[i+1].Sequence)
		}
	}
	for _, c := range []struct {
		it   string
		want int
	}{
		{latest, 5},
		{iteratorAt(t, e, arn, shard, FromLatest, ""), 0},
		{iteratorAt(t, e, arn, shard, "AT_SEQUENCE_NUMBER", all[1].Sequence), 4},
		{iteratorAt(t, e, arn, shard, "AFTER_SEQUENCE_NUMBER", all[1].Sequence), 3},
		{iteratorAt(t, e, arn, shard, "AFTER_SEQUENCE_NUMBER", all[4].Sequence), 0},
	} {
		if got, _ := readShard(t, e, c.it, 1000); len(got) != c.want {
			t.Errorf("%d records, want %d", len(got), c.want)
		}
	}
	putItem(t, e, `{"pk":{"S":"b"},"sk":{"N":"1"}}`)
	if more, _ := readShard(t, e, next, 1000); len(more) != 1 {
		t.Fatal("an iterator at the end does not see what comes")
	}
}

func TestStreamRequestsAreChecked(t *testing.T) {
	e := newEngine(t, Config{})
	declare(t, e, streamed("KEYS_ONLY"))
	arn := streamOfTable(t, e, "chat")
	shard := shards(t, e, arn)[0].ShardId
	iterator := func(arn, shard, kind string, number *string) error {
		_, err := e.GetShardIterator(&ShardIteratorInput{&arn, &shard, &kind, number})
		return err
	}
	get := func(it string, limit int64) error {
		_, err := e.GetRecords(&it, &limit)
		return err
	}
	_, noStream := e.DescribeStream(&DescribeStreamInput{StreamArn: ptr(strings.Replace(arn, "chat", "none", 1))})
	_, noArn := e.DescribeStream(&DescribeStreamInput{})
	_, _, badLimit := e.ListStreams(nil, nil, ptr(int64(101)))
	good := iteratorAt(t, e, arn, shard, FromOldest, "")
	for i, c := range []struct {
		err  error
		want string
	}{
		{noStream, "Requested resource not found: Stream: "},
		{noArn, "Value null at 'streamArn'"},
		{badLimit, "less than or equal to 100"},
		{iterator("arn:aws", shard, FromOldest, nil), "greater than or equal to 37"},
		{iterator(arn, "shardId-00000000000000000000-00000000", FromOldest, nil), "Shard does not exist"},
		{iterator(arn, shard, "OLDEST", nil), "[AFTER_SEQUENCE_NUMBER, LATEST, AT_SEQUENCE_NUMBER, TRIM_HORIZON]"},
		{iterator(arn, shard, "AT_SEQUENCE_NUMBER", nil), "SequenceNumber"},
		{iterator(arn, shard, "AT_SEQUENCE_NUMBER", ptr("100000000000000000000")), "Invalid SequenceNumber"},
		{iterator(arn, shard, "AT_SEQUENCE_NUMBER", ptr("99999999999999999999999999")), "Invalid SequenceNumber"},
		{iterator(arn, shard, FromLatest, ptr("100000000000000000000")), "must not be given"},
		{get("nonsense", 1), "Invalid ShardIterator"},
		{get(good, 0), "greater than or equal to 1"},
		{get(good, 1001), "less than or equal to 1000"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%d: %v, want %s", i, c.err, c.want)
		}
	}
}

// Switching a stream off closes its shard; it can be read to the end for a day.
// Switching it on again is another stream.
func TestStreamSwitchedOffAndOn(t *testing.T) {
	e := newEngine(t, Config{})
	ctx := t.Context()
	declare(t, e, streamed("KEYS_ONLY"))
	first := streamOfTable(t, e, "chat")
	putItem(t, e, `{"pk":{"S":"a"},"sk":{"N":"1"}}`)
	set := func(on bool, view string) error {
		_, err := e.UpdateTable(ctx, &UpdateTableInput{TableName: ptr("chat"), StreamSpecification: &StreamSpecification{&on, view}})
		return err
	}
	if err := set(true, "NEW_IMAGE"); !strings.Contains(fault.Message(err), "already has an enabled stream") {
		t.Fatal(err)
	}
	if err := set(false, ""); err != nil {
		t.Fatal(err)
	}
	if err := set(false, ""); err == nil {
		t.Fatal("switched off twice")
	}
	putItem(t, e, `{"pk":{"S":"a"},"sk":{"N":"2"}}`)
	d, err := e.DescribeStream(&DescribeStreamInput{StreamArn: &first})
	if err != nil || d.StreamStatus != "DISABLED" || len(d.Shards) != 1 || d.Shards[0].SequenceNumberRange.EndingSequenceNumber == "" {
		t.Fatal(d, err)
	}
	if td, _ := e.DescribeTable(ptr("chat")); td.StreamSpecification != nil || td.LatestStreamArn != first {
		t.Fatal(td)
	}
	got, next := readShard(t, e, iteratorAt(t, e, first, d.Shards[0].ShardId, FromOldest, ""), 1000)
	if len(got) != 1 || next != "" {
		t.Fatal(shown(got), next)
	}
	if got, next := readShard(t, e, iteratorAt(t, e, first, d.Shards[0].ShardId, FromLatest, ""), 1000); len(got) != 0 || next != "" {
		t.Fatal(shown(got), next)
	}
	if err := set(true, "NEW_IMAGE"); err != nil {
		t.Fatal(err)
	}
	second := streamOfTable(t, e, "chat")
	list, last, err := e.ListStreams(ptr("chat"), nil, ptr(int64(1)))
	if err != nil || len(list) != 1 || list[0].StreamArn != first || last != first || second == first {
		t.Fatal(list, last, err)
	}
	list, last, err = e.ListStreams(nil, &first, nil)
	if err != nil || len(list) != 1 || list[0].StreamArn != second || last != "" {
		t.Fatal(list, last, err)
	}
	putItem(t, e, `{"pk":{"S":"a"},"sk":{"N":"3"}}`)
	if got := records(t, e, "chat"); len(got) != 1 || got[0].New == nil {
		t.Fatal(shown(got))
	}
	// A table that is gone leaves its stream readable.
	if _, err := e.DeleteTable(ctx, ptr("chat")); err != nil {
		t.Fatal(err)
	}
	if got := recordsOf(t, e, second, 1000); len(got) != 1 {
		t.Fatal(shown(got))
	}
}

// A template that changes the view begins a new stream; one that does not, keeps
// the old one, also over a restart, with its records and its numbers.
func TestStreamSurvivesReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	e, done := openAt(t, path, Config{})
	declare(t, e, streamed("NEW_IMAGE"))
	arn := streamOfTable(t, e, "chat")
	putItem(t, e, `{"pk":{"S":"a"},"sk":{"N":"1"}}`)
	before := records(t, e, "chat")
	done()
	e, done = openAt(t, path, Config{})
	defer done()
	declare(t, e, streamed("NEW_IMAGE"))
	if streamOfTable(t, e, "chat") != arn {
		t.Fatal("another stream")
	}
	putItem(t, e, `{"pk":{"S":"a"},"sk":{"N":"2"}}`)
	after := records(t, e, "chat")
	if len(after) != 2 || after[0].Sequence != before[0].Sequence || after[0].ID != before[0].ID || after[1].Sequence <= after[0].Sequence {
		t.Fatal(shown(after))
	}
	declare(t, e, streamed("KEYS_ONLY"))
	if streamOfTable(t, e, "chat") == arn || len(records(t, e, "chat")) != 0 || len(recordsOf(t, e, arn, 10)) != 2 {
		t.Fatal("the view changed and the stream did not")
	}
}

// replay applies records to a copy of a table.
func replay(t *rapid.T, copied naive, list []*StreamRecord) {
	parse := func(wire []byte) attr.Map {
		if wire == nil {
			return nil
		}
		m, err := attr.ParseItem(wire)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for _, r := range list {
		key := idOf(parse(r.Keys))
		same(t, "OldImage", parse(r.Old), copied[key])
		switch r.Event {
		case eventInsert, eventModify:
			if (r.Event == eventInsert) != (copied[key] == nil) {
				t.Fatalf("%s of %s", r.Event, key)
			}
			copied[key] = parse(r.New)
		case eventRemove:
			delete(copied, key)
		}
	}
}

// Whatever is written, reading the stream from its beginning makes the table: no
// change is missing, twice, or out of order.
func TestStreamReplaysToTheTable(t *testing.T) {
	dir := t.TempDir()
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		path := filepath.Join(dir, fmt.Sprintf("%d.db", run))
		e, done := openAt(t, path, Config{})
		declare(t, e, streamed("NEW_AND_OLD_IMAGES"))
		arn := streamOfTable(t, e, "chat")
		m := &machine{e, naive{}, context.Background()}
		rt.Repeat(map[string]func(*rapid.T){
			"put": m.put, "delete": m.delete, "update": m.update, "transact": m.transact, "batch": m.batch,
			"roll": func(rt *rapid.T) {
				if err := e.change(m.ctx, func(tx Tx) error {
					s := e.streamOf(&e.lookup("chat").def)
					next := &stream{def: s.def, log: s.log}
					next.closeShard()
					next.openShard(time.Now())
					return e.saveStream(tx, next)
				}); err != nil {
					rt.Fatal(err)
				}
			},
			"reopen": func(*rapid.T) {
				done()
				e, done = openAt(t, path, Config{})
				m.e = e
			},
			"": func(rt *rapid.T) {
				copied := naive{}
				replay(rt, copied, recordsOf(rt, e, arn, int64(rapid.IntRange(1, 5).Draw(rt, "page"))))
				if len(copied) != len(m.items) {
					rt.Fatalf("%d items replayed, %d there", len(copied), len(m.items))
				}
				for key, it := range m.items {
					same(rt, key, copied[key], it)
				}
			},
		})
		done()
	})
}

func TestSequenceNumbers(t *testing.T) {
	for _, seq := range []uint64{0, 1, 1 << 40, 1<<64 - 1} {
		if got, ok := parseSequence(sequenceText(seq)); !ok || got != seq {
			t.Error(seq, got, ok)
		}
	}
	for _, text := range []string{"", "1", "200000000000000000000", "1000000000000000000000", "10000000000000000000x", "199999999999999999999"} {
		if _, ok := parseSequence(text); ok {
			t.Error(text)
		}
	}
	if !slices.IsSorted([]string{sequenceText(9), sequenceText(10), sequenceText(1 << 50)}) {
		t.Error("numbers do not sort as text")
	}
}

// Whatever a client sends as an iterator, and whatever stands in a record, is
// refused or read, and what was read can be asked for again.
func FuzzShardIterator(f *testing.F) {
	e := newEngine(f, Config{})
	declare(f, e, streamed("KEYS_ONLY"))
	arn := streamOfTable(f, e, "chat")
	d, err := e.DescribeStream(&DescribeStreamInput{StreamArn: &arn})
	if err != nil {
		f.Fatal(err)
	}
	it, err := e.GetShardIterator(&ShardIteratorInput{&arn, &d.Shards[0].ShardId, ptr(FromOldest), nil})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(it, []byte{1, 4, 2, '{', '}'})
	f.Add(arn+iteratorMark, []byte{})
	f.Add("", []byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, it string, record []byte) {
		page, err := e.GetRecords(&it, nil)
		if err == nil && page.Next != "" {
			_, err = e.GetRecords(&page.Next, nil)
		}
		if err != nil && fault.KindOf(err) != fault.BadRequest {
			t.Fatal(err)
		}
		s := e.streamOf(&e.lookup("chat").def)
		if r, err := s.decode(1, record); err == nil {
			again, err := s.decode(1, r.encode())
			if err != nil || again.Event != r.Event || string(again.Keys) != string(r.Keys) || string(again.New) != string(r.New) || string(again.Old) != string(r.Old) {
				t.Fatalf("%+v, then %+v, %v", r, again, err)
			}
		}
	})
}

// A store written before there were streams has tables that ask for one: they get
// it when the store is opened.
func TestOldStoreGetsItsStreams(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	e, done := openAt(t, path, Config{})
	declare(t, e, streamed("NEW_IMAGE"))
	if err := e.store.Update(t.Context(), func(tx Tx) error { return tx.Drop(streamsSpace) }); err != nil {
		t.Fatal(err)
	}
	done()
	e, done = openAt(t, path, Config{})
	defer done()
	putItem(t, e, `{"pk":{"S":"a"},"sk":{"N":"1"}}`)
	if got := records(t, e, "chat"); len(got) != 1 {
		t.Fatal(shown(got))
	}
}
