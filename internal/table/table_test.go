package table

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/storage"
)

// openAt opens an engine over a file; the second result closes it.
func openAt(t testing.TB, path string, cfg Config) (*Engine, func()) {
	t.Helper()
	db, err := storage.Open(path, storage.Config{Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Store = Over(db)
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e, func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

func newEngine(t testing.TB, cfg Config) *Engine {
	t.Helper()
	e, done := openAt(t, filepath.Join(t.TempDir(), "state.db"), cfg)
	t.Cleanup(done)
	return e
}

func ptr[T any](v T) *T { return &v }

// item reads wire form; the shortest way to write an item down.
func item(t testing.TB, wire string) attr.Document {
	t.Helper()
	m, err := attr.ParseItem([]byte(wire))
	if err != nil {
		t.Fatalf("%s: %v", wire, err)
	}
	return attr.Document{Map: m}
}

// chat is a table as a template declares it: two keys, a sparse GSI, an LSI.
func chat() *model.Table {
	return &model.Table{
		LogicalID: "Chat", Name: "chat", OnDemand: true,
		Attributes: map[string]string{"pk": "S", "sk": "N", "g": "S", "l": "S"},
		Key:        model.KeySchema{Hash: "pk", Range: "sk"},
		GSIs:       []model.Index{{Name: "byG", Key: model.KeySchema{Hash: "g", Range: "sk"}, Projection: "INCLUDE", NonKey: []string{"shown"}}},
		LSIs:       []model.Index{{Name: "byL", Key: model.KeySchema{Hash: "pk", Range: "l"}, Projection: "ALL"}},
		Pos:        model.Pos{File: "template.yaml", Line: 12},
	}
}

func declare(t testing.TB, e *Engine, tables ...*model.Table) {
	t.Helper()
	if err := e.Declare(context.Background(), tables); err != nil {
		t.Fatal(err)
	}
}

func putItem(t testing.TB, e *Engine, wire string) {
	t.Helper()
	if _, err := e.PutItem(context.Background(), &PutInput{Table: ptr("chat"), Item: item(t, wire)}); err != nil {
		t.Fatalf("put %s: %v", wire, err)
	}
}

func getItem(t testing.TB, e *Engine, key string) string {
	t.Helper()
	out, err := e.GetItem(context.Background(), &GetInput{Table: ptr("chat"), Key: item(t, key)})
	if err != nil {
		t.Fatal(err)
	}
	return string(out.Item)
}

func query(t testing.TB, e *Engine, index, cond string, values string, change func(*QueryInput)) *Page {
	t.Helper()
	in := &QueryInput{Table: ptr("chat"), Expressions: Expressions{KeyCondition: &cond, Values: item(t, values)}}
	if index != "" {
		in.Index = &index
	}
	if change != nil {
		change(in)
	}
	page, err := e.Query(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func TestDeclaredTableKeepsItsItems(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	e, done := openAt(t, path, Config{})
	declare(t, e, chat())
	putItem(t, e, `{"pk":{"S":"a"},"sk":{"N":"1"},"g":{"S":"x"},"shown":{"S":"yes"},"kept":{"S":"no"}}`)
	done()

	e, done = openAt(t, path, Config{})
	defer done()
	m := chat()
	m.TTL = "until"
	m.GSIs[0].Projection, m.GSIs[0].NonKey = "KEYS_ONLY", nil
	m.GSIs = append(m.GSIs, model.Index{Name: "byKept", Key: model.KeySchema{Hash: "kept"}, Projection: "ALL"})
	m.Attributes["kept"] = "S"
	declare(t, e, m)
	want := `{"g":{"S":"x"},"kept":{"S":"no"},"pk":{"S":"a"},"shown":{"S":"yes"},"sk":{"N":"1"}}`
	if got := getItem(t, e, `{"pk":{"S":"a"},"sk":{"N":"1"}}`); got != want {
		t.Fatal(got)
	}
	if p := query(t, e, "byKept", "kept = :v", `{":v":{"S":"no"}}`, nil); p.Count != 1 {
		t.Fatal("a new index was not filled")
	}
	if p := query(t, e, "byG", "g = :v", `{":v":{"S":"x"}}`, nil); string(p.Items) != `[{"g":{"S":"x"},"pk":{"S":"a"},"sk":{"N":"1"}}]` {
		t.Fatalf("%s", p.Items)
	}
	if got := e.Tables(); len(got) != 1 || got[0].Items != 1 || got[0].Bytes == 0 {
		t.Fatal(got)
	}

	// An index under its old name with another key must not keep old entries.
	m.GSIs[0].Key = model.KeySchema{Hash: "kept", Range: "sk"}
	m.Attributes = map[string]string{"pk": "S", "sk": "N", "kept": "S", "l": "S"}
	declare(t, e, m)
	if p := query(t, e, "byG", "kept = :v", `{":v":{"S":"no"}}`, nil); p.Count != 1 {
		t.Fatal("the index was not rebuilt")
	}

	m.Key.Range = "l"
	m.LSIs = nil
	m.GSIs = nil
	m.Attributes = map[string]string{"pk": "S", "l": "S"}
	err := e.Declare(context.Background(), []*model.Table{m})
	if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "livegate reset") || !strings.Contains(err.Error(), "template.yaml:12") {
		t.Fatal(err)
	}
	if got := getItem(t, e, `{"pk":{"S":"a"},"sk":{"N":"1"}}`); got != want {
		t.Fatal("a refused declaration changed the table", got)
	}
}

func TestDeclareRefusesBadTables(t *testing.T) {
	e := newEngine(t, Config{})
	for name, spoil := range map[string]func(*model.Table){
		"unused attribute":  func(m *model.Table) { m.Attributes["zz"] = "S" },
		"undefined key":     func(m *model.Table) { delete(m.Attributes, "sk") },
		"bad type":          func(m *model.Table) { m.Attributes["sk"] = "BOOL" },
		"bad name":          func(m *model.Table) { m.Name = "a b" },
		"duplicate index":   func(m *model.Table) { m.GSIs = append(m.GSIs, m.GSIs[0]) },
		"LSI without range": func(m *model.Table) { m.LSIs[0].Key.Range = "" },
	} {
		m := chat()
		spoil(m)
		err := e.Declare(context.Background(), []*model.Table{m})
		if err == nil || !strings.Contains(err.Error(), "template.yaml:12") || !strings.Contains(err.Error(), "Chat") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(e.Tables()) != 0 {
		t.Fatal("a bad table came into being")
	}
}

// An update that moves an item between index partitions, out of the index and
// back: the index follows in the same transaction.
func TestSparseIndexFollows(t *testing.T) {
	e := newEngine(t, Config{})
	declare(t, e, chat())
	count := func(g string) int { return query(t, e, "byG", "g = :g", `{":g":{"S":"`+g+`"}}`, nil).Count }
	putItem(t, e, `{"pk":{"S":"a"},"sk":{"N":"1"}}`)
	update := func(expr, values string) {
		t.Helper()
		in := &UpdateInput{Table: ptr("chat"), Key: item(t, `{"pk":{"S":"a"},"sk":{"N":"1"}}`), Expressions: Expressions{Update: &expr}}
		if values != "" {
			in.Values = item(t, values)
		}
		if _, err := e.UpdateItem(context.Background(), in); err != nil {
			t.Fatal(err)
		}
	}
	if count("x") != 0 {
		t.Fatal("an item without the key is indexed")
	}
	update("SET g = :g", `{":g":{"S":"x"}}`)
	if count("x") != 1 {
		t.Fatal("not indexed")
	}
	update("SET g = :g", `{":g":{"S":"y"}}`)
	if count("x") != 0 || count("y") != 1 {
		t.Fatal("not moved")
	}
	update("REMOVE g", "")
	if count("y") != 0 {
		t.Fatal("not removed")
	}
	_, err := e.UpdateItem(context.Background(), &UpdateInput{Table: ptr("chat"), Key: item(t, `{"pk":{"S":"a"},"sk":{"N":"1"}}`),
		Expressions: Expressions{Update: ptr("SET g = :g"), Values: item(t, `{":g":{"N":"1"}}`)}})
	if fault.Message(err) != "The update expression attempted to update the secondary index key to unsupported type" {
		t.Fatal(err)
	}
}

func TestQueryConditionsAreRanges(t *testing.T) {
	e := newEngine(t, Config{})
	declare(t, e, chat())
	for i := -3; i <= 3; i++ {
		putItem(t, e, fmt.Sprintf(`{"pk":{"S":"a"},"sk":{"N":"%d"},"l":{"S":"%s"}}`, i*10, strings.Repeat("x", i+4)))
		putItem(t, e, fmt.Sprintf(`{"pk":{"S":"ab"},"sk":{"N":"%d"}}`, i))
	}
	for _, c := range []struct {
		index, cond, values, want string
	}{
		{"", "pk = :p", `{":p":{"S":"a"}}`, "-30 -20 -10 0 10 20 30"},
		{"", "pk = :p AND sk = :v", `{":p":{"S":"a"},":v":{"N":"1e1"}}`, "10"},
		{"", "pk = :p AND sk < :v", `{":p":{"S":"a"},":v":{"N":"-10"}}`, "-30 -20"},
		{"", "pk = :p AND sk <= :v", `{":p":{"S":"a"},":v":{"N":"-10"}}`, "-30 -20 -10"},
		{"", "pk = :p AND sk > :v", `{":p":{"S":"a"},":v":{"N":"-0.5"}}`, "0 10 20 30"},
		{"", "pk = :p AND sk >= :v", `{":p":{"S":"a"},":v":{"N":"20"}}`, "20 30"},
		{"", "pk = :p AND sk BETWEEN :v AND :w", `{":p":{"S":"a"},":v":{"N":"-20"},":w":{"N":"10"}}`, "-20 -10 0 10"},
		{"byL", "pk = :p AND begins_with(l, :v)", `{":p":{"S":"a"},":v":{"S":"xxxxx"}}`, "10 20 30"},
		{"byL", "pk = :p AND l < :v", `{":p":{"S":"a"},":v":{"S":"xxx"}}`, "-30 -20"},
	} {
		page := query(t, e, c.index, c.cond, c.values, nil)
		if got := numbers(t, page.Items); got != c.want {
			t.Errorf("%s: %s, want %s", c.cond, got, c.want)
		}
		page = query(t, e, c.index, c.cond, c.values, func(in *QueryInput) { in.Backward = true })
		back := strings.Fields(c.want)
		slices.Reverse(back)
		if got := numbers(t, page.Items); got != strings.Join(back, " ") {
			t.Errorf("backward %s: %s", c.cond, got)
		}
	}
}

// numbers is the sk of each item of a JSON array.
func numbers(t testing.TB, items []byte) string {
	t.Helper()
	var out []string
	r := attr.NewReader(items)
	r.Array(func() {
		v, _ := r.ReadItem().Map.Get("sk")
		out = append(out, v.Str)
	})
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	return strings.Join(out, " ")
}

func TestLastKeyOutsideTheConditionIsRefused(t *testing.T) {
	e := newEngine(t, Config{})
	declare(t, e, chat())
	for start, want := range map[string]string{
		`{"pk":{"S":"b"},"sk":{"N":"6"}}`: "The provided starting key is outside query boundaries based on provided conditions",
		`{"pk":{"S":"a"},"sk":{"N":"1"}}`: "The provided starting key does not match the range key predicate",
		`{"pk":{"S":"a"}}`:                "The provided starting key is invalid: The provided key element does not match the schema",
	} {
		_, err := e.Query(context.Background(), &QueryInput{Table: ptr("chat"), StartKey: item(t, start),
			Expressions: Expressions{KeyCondition: ptr("pk = :p AND sk > :v"), Values: item(t, `{":p":{"S":"a"},":v":{"N":"5"}}`)}})
		if fault.Message(err) != want {
			t.Errorf("%s: %v", start, err)
		}
	}
}

// A table that is deleted and created again under its name has none of its
// former items, in the table or in an index.
func TestRecreatedTableIsEmpty(t *testing.T) {
	e := newEngine(t, Config{})
	ctx := context.Background()
	declare(t, e, chat())
	putItem(t, e, `{"pk":{"S":"a"},"sk":{"N":"1"},"g":{"S":"x"}}`)
	if _, err := e.DeleteTable(ctx, ptr("chat")); err != nil {
		t.Fatal(err)
	}
	if _, err := e.GetItem(ctx, &GetInput{Table: ptr("chat"), Key: item(t, `{"pk":{"S":"a"},"sk":{"N":"1"}}`)}); fault.Message(err) != "Requested resource not found" {
		t.Fatal(err)
	}
	declare(t, e, chat())
	if got := getItem(t, e, `{"pk":{"S":"a"},"sk":{"N":"1"}}`); got != "" {
		t.Fatal(got)
	}
	if p := query(t, e, "byG", "g = :g", `{":g":{"S":"x"}}`, nil); p.Count != 0 {
		t.Fatal("the index kept an entry")
	}
}

func TestProtectedTableStays(t *testing.T) {
	e := newEngine(t, Config{})
	m := chat()
	m.Protected = true
	declare(t, e, m)
	if _, err := e.DeleteTable(context.Background(), ptr("chat")); err == nil || !strings.Contains(err.Error(), "protected against deletion") {
		t.Fatal(err)
	}
}

// "Create if it is not there": the refused CreateTable put the catalog back to
// what it had seen, after the writer had gone on, and a table created meanwhile
// was not found any more until the next start.
func TestRefusedCreateForgetsNoOtherTable(t *testing.T) {
	create := func(name string) *CreateTableInput {
		return &CreateTableInput{
			TableName: &name, BillingMode: "PAY_PER_REQUEST",
			AttributeDefinitions: []AttributeDefinition{{"pk", "S"}}, KeySchema: []KeySchemaElement{{"pk", "HASH"}},
		}
	}
	db, err := storage.Open(filepath.Join(t.TempDir(), "state.db"), storage.Config{Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	store := &lateStore{Store: Over(db)}
	e, err := New(Config{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.CreateTable(t.Context(), create("there")); err != nil {
		t.Fatal(err)
	}
	store.late = func() {
		if _, err := e.CreateTable(t.Context(), create("meanwhile")); err != nil {
			t.Error(err)
		}
	}
	if _, err := e.CreateTable(t.Context(), create("there")); err == nil {
		t.Error("a table was created twice")
	}
	if e.lookup("meanwhile") == nil {
		t.Error("the table created meanwhile is gone")
	}
	// A commit that fails takes a table back, and only that one.
	store.late = func() {
		if err := e.store.Update(t.Context(), func(tx Tx) error { return tx.Delete(catalogSpace, []byte("lost")) }); err != nil {
			t.Error(err)
		}
	}
	store.fail = true
	if _, err := e.CreateTable(t.Context(), create("lost")); err == nil {
		t.Error("a commit that failed was answered")
	}
	if got := fmt.Sprint(e.Tables()); got != "[{meanwhile 0 0} {there 0 0}]" {
		t.Errorf("tables: %s", got)
	}
}

// lateStore does something before the caller of a failed Update learns of it.
type lateStore struct {
	Store
	late func()
	fail bool // the next Update that worked is said to have failed
}

func (s *lateStore) Update(ctx context.Context, fn func(Tx) error) error {
	err := s.Store.Update(ctx, fn)
	late := s.late
	if s.fail {
		s.fail, err = false, fault.New(fault.Internal, "disk full")
	}
	if err != nil && late != nil {
		s.late = nil
		late()
	}
	return err
}

// An item is checked for depth when it arrives, but updates can build one that
// is deeper: it could be stored and then neither be read nor deleted.
func TestUpdatesCannotNestTooDeep(t *testing.T) {
	e := newEngine(t, Config{})
	declare(t, e, chat())
	deep := attr.String("x")
	for range attr.MaxDepth - 1 {
		deep = attr.Value{Kind: attr.M, Map: attr.Item(attr.Member{Name: "m", Value: deep})}
	}
	key := item(t, `{"pk":{"S":"a"},"sk":{"N":"1"}}`)
	set := func(path string) error {
		_, err := e.UpdateItem(t.Context(), &UpdateInput{Table: ptr("chat"), Key: key, Expressions: Expressions{
			Update: ptr("SET " + path + " = :v"), Values: attr.Document{Map: attr.Item(attr.Member{Name: ":v", Value: deep})},
		}})
		return err
	}
	if err := set("m"); err != nil {
		t.Fatal(err)
	}
	if err := set("m.m"); err != nil { // 32 levels
		t.Fatal(err)
	}
	if err := set("m.m.m"); err == nil || !strings.Contains(fault.Message(err), "Nesting Levels") {
		t.Errorf("33 levels: %v", err)
	}
	if _, err := e.DeleteItem(t.Context(), &DeleteInput{Table: ptr("chat"), Key: key}); err != nil {
		t.Error(err)
	}
}

// An index key of 40 KB was a key that the store cannot hold: an internal error,
// which SDKs try again and again. One of 2 KB and a byte was accepted.
func TestLongIndexKeysAreRefused(t *testing.T) {
	e := newEngine(t, Config{})
	plain := chat()
	plain.GSIs, plain.LSIs, plain.Attributes = nil, nil, map[string]string{"pk": "S", "sk": "N"}
	declare(t, e, plain)
	with := func(name string, n int) string {
		return fmt.Sprintf(`{"pk":{"S":"a"},"sk":{"N":"1"},%q:{"S":%q}}`, name, strings.Repeat("x", n))
	}
	putItem(t, e, with("g", 40_000)) // there before the index is: stays out of it
	declare(t, e, chat())
	if page := query(t, e, "byG", "g = :g", `{":g":{"S":"x"}}`, nil); page.Count != 0 {
		t.Errorf("%d items", page.Count)
	}
	for wire, want := range map[string]string{with("g", 2049): "Size of hashkey", with("g", 40_000): "Size of hashkey", with("l", 1025): "Aggregated size of all range keys"} {
		_, err := e.PutItem(t.Context(), &PutInput{Table: ptr("chat"), Item: item(t, wire)})
		if !strings.Contains(fault.Message(err), want) {
			t.Errorf("err = %v, want %q", err, want)
		}
	}
	putItem(t, e, with("g", 2048))
	putItem(t, e, with("l", 1024))
}
