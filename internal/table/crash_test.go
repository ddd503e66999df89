package table

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/storage"
)

// childVar makes the test binary act as the process that gets killed.
const childVar = "TABLE_TEST_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childVar); path != "" {
		fmt.Println("child:", runChild(path))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

const childWriters = 4

// runChild counts up in transactions of two items, beside puts and deletes of
// others, and prints each count after it was acknowledged. It returns only when
// something failed.
func runChild(path string) error {
	db, err := storage.Open(path, storage.Config{})
	if err != nil {
		return err
	}
	e, err := New(Config{Store: Over(db)})
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := e.Declare(ctx, []*model.Table{streamed("NEW_AND_OLD_IMAGES")}); err != nil {
		return err
	}
	failed := make(chan error)
	lines := make(chan string)
	for w := range childWriters {
		go func() {
			for i := 0; ; i++ {
				if err := childStep(ctx, e, w, i); err != nil {
					failed <- err
					return
				}
				lines <- fmt.Sprintf("%d +1", w)
			}
		}()
	}
	for {
		select {
		case err := <-failed:
			return err
		case line := <-lines:
			fmt.Println(line)
		}
	}
}

func childStep(ctx context.Context, e *Engine, w, i int) error {
	run := func(texts ...string) error {
		in := &TransactionInput{}
		for _, text := range texts {
			in.Statements = append(in.Statements, Statement{Text: &text})
		}
		_, err := e.ExecuteTransaction(ctx, in)
		return err
	}
	keys := [2]attr.Map{}
	for n := range keys {
		keys[n] = attr.Item(attr.Member{Name: "pk", Value: attr.String(fmt.Sprint("w", w))}, attr.Member{Name: "sk", Value: attr.Number(fmt.Sprint(n))})
	}
	add := Expressions{Update: ptr("ADD n :one SET g = :g"), Values: values(":one", attr.Number("1"), ":g", attr.String(fmt.Sprint(i%3)))}
	_, err := e.TransactWriteItems(ctx, &TransactWriteInput{Actions: []TransactAction{
		{Kind: "Update", Table: ptr("chat"), Key: doc(keys[0]), Expressions: add},
		{Kind: "Update", Table: ptr("chat"), Key: doc(keys[1]), Expressions: add},
	}})
	if err != nil {
		return err
	}
	// One of six more items comes or goes with its neighbour.
	other := fmt.Sprintf("pk = 'w%d' AND sk = %d", w, 2+i%3)
	if i%6 >= 3 {
		return run("DELETE FROM chat WHERE "+other, fmt.Sprintf("DELETE FROM chat WHERE pk = 'w%d' AND sk = %d", w, 12+i%3))
	}
	for _, sk := range []int{2 + i%3, 12 + i%3} {
		it := attr.Item(attr.Member{Name: "pk", Value: attr.String(fmt.Sprint("w", w))}, attr.Member{Name: "sk", Value: attr.Number(fmt.Sprint(sk))}, attr.Member{Name: "g", Value: attr.String("0")})
		if _, err := e.PutItem(ctx, &PutInput{Table: ptr("chat"), Item: doc(it)}); err != nil {
			return err
		}
	}
	return nil
}

// After SIGKILL at any instant: what was acknowledged is there, both items of a
// transaction say the same, the index agrees with the table, and the stream,
// replayed from its beginning, makes the table.
func TestKillTearsNoStreamFromItsTable(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 2
	}
	path := filepath.Join(t.TempDir(), "x.db")
	var acked [childWriters]int
	for round := range rounds {
		for _, line := range killedRun(t, path, 20+rand.IntN(60)) {
			var w int
			if _, err := fmt.Sscanf(line, "%d +1", &w); err != nil {
				t.Fatalf("round %d: child said %q", round, line)
			}
			acked[w]++
		}
		checkAfterKill(t, path, acked)
	}
}

// killedRun lets the child acknowledge so many steps, kills it a little later,
// and returns all it had said.
func killedRun(t *testing.T, path string, after int) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childVar+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for sc := bufio.NewScanner(out); sc.Scan(); {
		if lines = append(lines, sc.Text()); len(lines) == after {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait() // killed
	if len(lines) < after {
		t.Fatalf("the child stopped by itself: %q", lines)
	}
	return lines
}

func checkAfterKill(t *testing.T, path string, acked [childWriters]int) {
	t.Helper()
	e, done := openAt(t, path, Config{})
	defer done()
	there := map[string]string{}
	scan := func(statement string) []attr.Map {
		var list []attr.Map
		r := attr.NewReader([]byte(mustExecute(t, e, statement)))
		r.Array(func() { list = append(list, r.ReadItem().Map) })
		return list
	}
	counts := map[string]string{}
	for _, it := range scan("SELECT * FROM chat") {
		there[idOf(it)] = string(attr.AppendItem(nil, it))
		n, _ := it.Get("n")
		counts[idOf(it)] = n.Str
	}
	indexed := 0
	for g := range 3 {
		indexed += len(scan(fmt.Sprintf("SELECT sk FROM chat.byG WHERE g = '%d'", g)))
	}
	if indexed != len(there) {
		t.Errorf("%d items in the index, %d in the table", indexed, len(there))
	}
	for w, want := range acked {
		var n int
		_, _ = fmt.Sscan(counts[fmt.Sprintf("w%d/0", w)], &n) // 0 if it is not there
		if n < want || counts[fmt.Sprintf("w%d/0", w)] != counts[fmt.Sprintf("w%d/1", w)] {
			t.Errorf("writer %d: counts %d and %s, %d acknowledged", w, n, counts[fmt.Sprintf("w%d/1", w)], want)
		}
	}
	copied := map[string]string{}
	for _, r := range records(t, e, "chat") {
		key, err := attr.ParseItem(r.Keys)
		if err != nil {
			t.Fatal(err)
		}
		if copied[idOf(key)] != string(r.Old) {
			t.Fatalf("%s: the record's old image is %s, the one before says %s", r.Sequence, r.Old, copied[idOf(key)])
		}
		copied[idOf(key)] = string(r.New)
		if r.Event == eventRemove {
			delete(copied, idOf(key))
		}
	}
	if fmt.Sprint(copied) != fmt.Sprint(there) {
		t.Fatalf("the stream makes\n%s\nthe table holds\n%s", strings.TrimSpace(fmt.Sprint(copied)), fmt.Sprint(there))
	}
}
