package table

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/fault"
)

func execute(e *Engine, text string, params ...attr.Value) (*StatementOutput, error) {
	return e.ExecuteStatement(context.Background(), &Statement{Text: &text, Parameters: params})
}

func mustExecute(t testing.TB, e *Engine, text string, params ...attr.Value) string {
	t.Helper()
	out, err := execute(e, text, params...)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return string(out.Items)
}

func TestPartiQL(t *testing.T) {
	text, err := os.ReadFile("testdata/partiql.txtar")
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, Config{})
	declare(t, e, chat())
	n := 0
	for line := range strings.Lines(string(txtar.Parse(text).Files[0].Data)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		statement, want, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " => ")
		if !ok {
			t.Fatalf("%q has no =>", line)
		}
		n++
		out, err := execute(e, statement)
		var got string
		var f *fault.Error
		switch {
		case errors.As(err, &f):
			got = f.Type + ": " + f.Msg
		case err != nil:
			got = err.Error()
		default:
			got = string(out.Items)
		}
		if got != want {
			t.Errorf("%s:\n%s\nwant\n%s", statement, got, want)
		}
	}
	if n < 40 {
		t.Fatal(n, "statements")
	}
}

// A SELECT goes on where its page ended, over several partitions, in every page
// size; its token fits no other statement.
func TestPartiQLPages(t *testing.T) {
	e := newEngine(t, Config{})
	declare(t, e, chat())
	var want []string
	for _, pk := range []string{"c", "a", "b"} {
		for sk := range 4 {
			mustExecute(t, e, "INSERT INTO chat VALUE {'pk': ?, 'sk': ?}", attr.String(pk), attr.Number(fmt.Sprint(sk)))
			want = append(want, fmt.Sprint(pk, sk))
		}
	}
	const statement = "SELECT * FROM chat WHERE pk IN ['c', 'a', 'none', 'b'] AND sk >= 0"
	var tokens []string
	for limit := int64(1); limit < 15; limit++ {
		in := &Statement{Text: ptr(statement), Limit: &limit}
		var got []string
		for pages := 0; ; pages++ {
			out, err := e.ExecuteStatement(t.Context(), in)
			if err != nil || pages > 20 {
				t.Fatal(pages, err)
			}
			r := attr.NewReader(out.Items)
			r.Array(func() {
				m := r.ReadItem().Map
				got = append(got, strings.ReplaceAll(idOf(m), "/", ""))
			})
			if out.NextToken == "" {
				break
			}
			in.NextToken = &out.NextToken
			tokens = append(tokens, out.NextToken)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("limit %d: %v", limit, got)
		}
	}
	for _, c := range []struct{ statement, token string }{
		{statement + " ", tokens[0]}, {statement, "x"}, {statement, "AAAA"}, {statement, tokens[0][:8]},
	} {
		_, err := e.ExecuteStatement(t.Context(), &Statement{Text: &c.statement, NextToken: &c.token})
		if !strings.HasPrefix(fault.Message(err), "Invalid NextToken") {
			t.Errorf("%q: %v", c, err)
		}
	}
	// A token that names a place outside of the query reads nothing from there.
	narrow := "SELECT * FROM chat WHERE pk = 'a' AND sk > 1"
	sel := &selection{t: e.lookup("chat"), in: &Statement{Text: &narrow}}
	forged := sel.encode(nextToken{0, attr.Item(attr.Member{Name: "pk", Value: attr.String("b")}, attr.Member{Name: "sk", Value: attr.Number("0")})})
	if _, err := e.ExecuteStatement(t.Context(), &Statement{Text: &narrow, NextToken: &forged}); err == nil {
		t.Error("a forged token was taken")
	}
}

func TestPartiQLRequestsAreChecked(t *testing.T) {
	e := newEngine(t, Config{})
	declare(t, e, chat())
	long := "SELECT * FROM chat WHERE pk = '" + strings.Repeat("x", 8192) + "'"
	for want, in := range map[string]*Statement{
		"Value null at 'statement'":                         {},
		"greater than or equal to 1":                        {Text: ptr("")},
		"less than or equal to 8192":                        {Text: &long},
		"at 'limit'":                                        {Text: ptr("SELECT * FROM chat"), Limit: ptr(int64(0))},
		"at 'returnConsumedCapacity'":                       {Text: ptr("SELECT * FROM chat"), Capacity: "ALL"},
		"Number of parameters in request and statement":     {Text: ptr("SELECT * FROM chat"), Parameters: []attr.Value{attr.Null()}},
		"Strongly consistent read is not supported on Glob": {Text: ptr("SELECT * FROM chat.byG WHERE g = 'x'"), Consistent: true},
	} {
		if _, err := e.ExecuteStatement(t.Context(), in); !strings.Contains(fault.Message(err), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func statements(texts ...string) []Statement {
	var list []Statement
	for _, text := range texts {
		list = append(list, Statement{Text: &text})
	}
	return list
}

func results(out *StatementsOutput) string {
	var parts []string
	for _, r := range out.Results {
		part := r.Table + ":" + r.Code + string(r.Item)
		parts = append(parts, part)
	}
	return strings.Join(parts, " ")
}

// The statements of a batch are independent: those that fail say so, the others
// are done.
func TestPartiQLBatch(t *testing.T) {
	e := newEngine(t, Config{})
	declare(t, e, streamed("KEYS_ONLY"))
	ctx := t.Context()
	out, err := e.BatchExecuteStatement(ctx, statements(
		"INSERT INTO chat VALUE {'pk': 'a', 'sk': 1, 'n': 1}",
		"INSERT INTO chat VALUE {'pk': 'a', 'sk': 1, 'n': 2}",
		"UPDATE chat SET n = 3 WHERE pk = 'a' AND sk = 1 RETURNING MODIFIED NEW *",
		"UPDATE chat SET n = 3 WHERE pk = 'a' AND sk = 2",
		"UPDATE chat SET n = n + q WHERE pk = 'a' AND sk = 1",
		"INSERT INTO none VALUE {'pk': 'a'}",
		"INSERT INTO",
	), "TOTAL")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := results(out), `chat: chat:DuplicateItem chat:{"n":{"N":"3"}} chat:ConditionalCheckFailed chat:ValidationError none:ResourceNotFound :ValidationError`; got != want {
		t.Fatalf("%s\nwant\n%s", got, want)
	}
	if len(out.Capacity) != 1 || out.Capacity[0].Units != 2 {
		t.Fatal(out.Capacity)
	}
	if got := len(records(t, e, "chat")); got != 2 || e.Tables()[0].Items != 1 {
		t.Fatal(got, "stream records,", e.Tables()[0].Items, "items")
	}
	out, err = e.BatchExecuteStatement(ctx, statements(
		"SELECT n FROM chat WHERE pk = 'a' AND sk = 1",
		"SELECT * FROM chat WHERE pk = 'a' AND sk = 9",
		"SELECT * FROM chat WHERE pk = 'a' AND sk = 1 AND n = 99",
		"SELECT * FROM chat WHERE pk = 'a'",
		"SELECT * FROM chat.byG WHERE pk = 'a' AND sk = 1 AND g = 'x'",
	), "")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := results(out), `chat:{"n":{"N":"3"}} chat: chat: chat:ValidationError chat:ValidationError`; got != want {
		t.Fatalf("%s\nwant\n%s", got, want)
	}
	for want, list := range map[string][]Statement{
		"greater than or equal to 1":         {},
		"less than or equal to 25":           statements(slices.Repeat([]string{"SELECT * FROM chat"}, 26)...),
		"Reads and writes cannot be mixed":   statements("SELECT * FROM chat WHERE pk = 'a' AND sk = 1", "DELETE FROM chat WHERE pk = 'a' AND sk = 1"),
		"statements.1.member.statement":      {{}},
		"statements.2.member.statement' fai": {{Text: ptr("SELECT * FROM chat")}, {Text: ptr("")}},
	} {
		if _, err := e.BatchExecuteStatement(ctx, list, ""); !strings.Contains(fault.Message(err), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// A transaction is done as a whole or not at all, and once per token.
func TestPartiQLTransaction(t *testing.T) {
	e := newEngine(t, Config{})
	declare(t, e, chat())
	ctx := t.Context()
	run := func(token *string, texts ...string) (*StatementsOutput, error) {
		return e.ExecuteTransaction(ctx, &TransactionInput{Statements: statements(texts...), Token: token, Fingerprint: []byte(strings.Join(texts, "\n")), Capacity: "TOTAL"})
	}
	const insert, count = "INSERT INTO chat VALUE {'pk': 'a', 'sk': 1, 'n': 0}", "UPDATE chat SET n = n + 1 WHERE pk = 'a' AND sk = 1"
	if _, err := run(nil, insert, "INSERT INTO chat VALUE {'pk': 'a', 'sk': 2}"); err != nil {
		t.Fatal(err)
	}
	_, err := run(nil, "INSERT INTO chat VALUE {'pk': 'a', 'sk': 3}", insert, "EXISTS(SELECT * FROM chat WHERE pk = 'a' AND sk = 2 AND n = 5)", "DELETE FROM chat WHERE pk = 'a'")
	if got := codes(err); got != "None None None ValidationError" {
		t.Fatal(got, err)
	}
	_, err = run(nil, "INSERT INTO chat VALUE {'pk': 'a', 'sk': 3}", insert, "EXISTS(SELECT * FROM chat WHERE pk = 'a' AND sk = 2 AND n = 5)")
	if got := codes(err); got != "None DuplicateItem ConditionalCheckFailed" {
		t.Fatal(got, err)
	}
	if got := mustExecute(t, e, "SELECT sk FROM chat"); got != `[{"sk":{"N":"1"}},{"sk":{"N":"2"}}]` {
		t.Fatal(got)
	}
	for i, want := range []struct{ read, write float64 }{{0, 2}, {2, 0}} {
		out, err := run(ptr("token"), count)
		if err != nil || len(out.Results) != 1 || out.Capacity[0].ReadUnits != want.read || out.Capacity[0].WriteUnits != want.write {
			t.Fatal(i, out, err)
		}
	}
	out, err := run(nil, "SELECT n FROM chat WHERE pk = 'a' AND sk = 1", "SELECT n FROM chat WHERE pk = 'a' AND sk = 9")
	if err != nil || results(out) != `:{"n":{"N":"1"}} :` {
		t.Fatal(out, err)
	}
	if _, err := run(nil, "SELECT n FROM chat WHERE pk = 'a'"); codes(err) != "ValidationError" {
		t.Fatal(err)
	}
	for want, texts := range map[string][]string{
		"Validation failed in TransactStatements[1]: Statement wasn't well formed, can't be processed: Unexpected term": {insert, "DELETE FROM chat WHERE"},
		"Validation failed in TransactStatements[0]: RETURNING clause is not supported in ExecuteTransaction.":          {count + " RETURNING ALL NEW *"},
		"Validation failed in TransactStatements[0]: Reads on indices are not supported within transactions.":           {"SELECT * FROM chat.byG WHERE g = 'x'"},
		"Transaction request cannot include multiple operations on one item":                                            {count, count},
		"Reads and writes cannot be mixed in one ExecuteTransaction request":                                            {count, "SELECT n FROM chat WHERE pk = 'a' AND sk = 1"},
		"Requested resource not found": {"DELETE FROM none WHERE pk = 'a'"},
	} {
		if _, err := run(nil, texts...); fault.Message(err) != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := run(nil); !strings.Contains(fault.Message(err), "greater than or equal to 1") {
		t.Error(err)
	}
}

func codes(err error) string {
	var f *Failure
	if !errors.As(err, &f) {
		return ""
	}
	var list []string
	for _, r := range f.Reasons {
		list = append(list, r.Code)
	}
	return strings.Join(list, " ")
}

// A failed condition can answer with the item that failed it.
func TestPartiQLReturnsTheItemOnFailure(t *testing.T) {
	e := newEngine(t, Config{})
	declare(t, e, chat())
	mustExecute(t, e, "INSERT INTO chat VALUE {'pk': 'a', 'sk': 1}")
	_, err := e.ExecuteStatement(t.Context(), &Statement{Text: ptr("DELETE FROM chat WHERE pk = 'a' AND sk = 1 AND n = 1"), OnFailure: "ALL_OLD"})
	var f *Failure
	if !errors.As(err, &f) || string(f.Item) != `{"pk":{"S":"a"},"sk":{"N":"1"}}` {
		t.Fatal(err)
	}
}

// An item that was stored before an index gave one of its attributes a type can
// still be updated elsewhere.
func TestUpdateLeavesOldIndexKeysAlone(t *testing.T) {
	e := newEngine(t, Config{})
	plain := chat()
	plain.GSIs, plain.LSIs, plain.Attributes = nil, nil, map[string]string{"pk": "S", "sk": "N"}
	declare(t, e, plain)
	mustExecute(t, e, "INSERT INTO chat VALUE {'pk': 'a', 'sk': 1, 'g': 5}")
	declare(t, e, chat())
	mustExecute(t, e, "UPDATE chat SET n = 1 WHERE pk = 'a' AND sk = 1")
	if _, err := execute(e, "UPDATE chat SET g = 6 WHERE pk = 'a' AND sk = 1"); !strings.Contains(fault.Message(err), "unsupported type") {
		t.Fatal(err)
	}
	mustExecute(t, e, "UPDATE chat SET g = 'x' WHERE pk = 'a' AND sk = 1")
	if got := mustExecute(t, e, "SELECT sk FROM chat.byG WHERE g = 'x'"); got != `[{"sk":{"N":"1"}}]` {
		t.Fatal(got)
	}
}

// A reading transaction of more than 4 MB is refused as a whole.
func TestTransactGetIsBounded(t *testing.T) {
	e := newEngine(t, Config{})
	declare(t, e, chat())
	in := &TransactGetInput{}
	tx := &TransactionInput{}
	for i := range 11 {
		putItem(t, e, fmt.Sprintf(`{"pk":{"S":"a"},"sk":{"N":"%d"},"x":{"S":%q}}`, i, strings.Repeat("x", 399<<10)))
		in.Gets = append(in.Gets, TransactGet{Present: true, Table: ptr("chat"), Key: item(t, fmt.Sprintf(`{"pk":{"S":"a"},"sk":{"N":"%d"}}`, i))})
		tx.Statements = append(tx.Statements, statements(fmt.Sprintf("SELECT sk FROM chat WHERE pk = 'a' AND sk = %d", i))...)
	}
	if _, err := e.TransactGetItems(t.Context(), in); !isType(err, "ValidationException") {
		t.Fatal(err)
	}
	if _, err := e.ExecuteTransaction(t.Context(), tx); !isType(err, "ValidationException") {
		t.Fatal(err)
	}
	in.Gets = in.Gets[:10]
	if out, err := e.TransactGetItems(t.Context(), in); err != nil || len(out.Items) != 10 {
		t.Fatal(err)
	}
}
