package dynamodb_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/awsapi"
	"github.com/livegate/livegate/internal/awsapi/dynamodb"
	"github.com/livegate/livegate/internal/storage"
	"github.com/livegate/livegate/internal/table"
)

// answer is a http.ResponseWriter that keeps what is written, and nothing else.
type answer struct {
	head   http.Header
	status int
	body   []byte
}

func (a *answer) Header() http.Header         { return a.head }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { a.body = append(a.body, b...); return len(b), nil }

// asker asks a handler, without a network, and reuses all that is its own.
type asker struct {
	h      http.Handler
	r      *http.Request
	w      answer
	body   *bytes.Reader
	closer io.ReadCloser
}

func newAsker(tb testing.TB, h http.Handler) *asker {
	tb.Helper()
	body := bytes.NewReader(nil)
	r, err := http.NewRequest("POST", "http://127.0.0.1:3001/", body)
	if err != nil {
		tb.Fatal(err)
	}
	r.RequestURI = "/"
	now := time.Now().UTC()
	r.Header.Set("Content-Type", "application/x-amz-json-1.0")
	r.Header.Set("X-Amz-Date", now.Format("20060102T150405Z"))
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIDBENCH/"+now.Format("20060102")+
		"/us-east-1/dynamodb/aws4_request, SignedHeaders=host;x-amz-date;x-amz-target, Signature="+strings.Repeat("0123456789abcdef", 4))
	return &asker{h: h, r: r, w: answer{head: http.Header{}}, body: body, closer: io.NopCloser(body)}
}

func (a *asker) ask(tb testing.TB, operation, body string) string {
	tb.Helper()
	a.body.Reset([]byte(body))
	a.r.Body, a.r.ContentLength = a.closer, int64(len(body))
	a.r.Header["X-Amz-Target"] = []string{v2012 + operation}
	clear(a.w.head)
	a.w.body = a.w.body[:0]
	a.h.ServeHTTP(&a.w, a.r)
	if a.w.status != http.StatusOK {
		tb.Fatalf("%s: %d %s", body, a.w.status, a.w.body)
	}
	return string(a.w.body)
}

// benchTables is a handler behind the front door, and 2 000 items in partitions of 20.
func benchTables(tb testing.TB) http.Handler {
	tb.Helper()
	db, err := storage.Open(filepath.Join(tb.TempDir(), "state.db"), storage.Config{Fast: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { db.Close() })
	engine, err := table.New(table.Config{Store: table.Over(db)})
	if err != nil {
		tb.Fatal(err)
	}
	h := awsapi.New(awsapi.Config{Services: map[string]http.Handler{"dynamodb": dynamodb.New(engine)}})
	a := newAsker(tb, h)
	a.ask(tb, "CreateTable", `{"TableName":"bench","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"},{"AttributeName":"sk","AttributeType":"S"}],"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"sk","KeyType":"RANGE"}]}`)
	for p := range 100 {
		var b []byte
		for i := range 20 {
			b = fmt.Appendf(b, `,{"PutRequest":{"Item":%s}}`, benchItem(p, i))
		}
		a.ask(tb, "BatchWriteItem", `{"RequestItems":{"bench":[`+string(b[1:])+`]}}`)
	}
	return h
}

func benchItem(p, i int) string {
	return fmt.Sprintf(`{"pk":{"S":"q%d"},"sk":{"S":"%06d"},"connectedAt":{"N":"1760000000"},"room":{"S":"general"},"text":{"S":"the quick brown fox jumps over the lazy dog, and then over another one of these dogs"},"tags":{"SS":["a","b"]},"open":{"BOOL":true}}`, p, i)
}

// BenchmarkOperations is operations without a network, on tables that wait for no disk.
func BenchmarkOperations(b *testing.B) {
	h := benchTables(b)
	a := newAsker(b, h)
	run := func(name, operation string, bodies []string, want string) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if got := a.ask(b, operation, bodies[i%len(bodies)]); !strings.Contains(got, want) {
					b.Fatalf("%s, without %s", got, want)
				}
			}
		})
	}
	var gets, queries, puts []string
	for p := range 100 {
		key := `{"S":"q` + strconv.Itoa(p) + `"}`
		gets = append(gets, `{"TableName":"bench","Key":{"pk":`+key+`,"sk":{"S":"000007"}}}`)
		queries = append(queries, `{"TableName":"bench","KeyConditionExpression":"pk = :p","ExpressionAttributeValues":{":p":`+key+`}}`)
		puts = append(puts, `{"TableName":"bench","Item":`+benchItem(p, p%20)+`}`)
	}
	run("get", "GetItem", gets, `"sk":{"S":"000007"}`)
	run("query", "Query", queries, `"Count":20`)
	run("put", "PutItem", puts, "{}")
}
