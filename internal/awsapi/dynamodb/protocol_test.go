package dynamodb_test

import (
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/livegate/livegate/internal/table"
)

// call posts a request as no SDK would send it.
func call(t testing.TB, url, target, body string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequest("POST", url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if target != "" {
		req.Header.Set("X-Amz-Target", target)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b), res.Header
}

const (
	v2012     = "DynamoDB_20120810."
	createOne = `{"TableName":"one","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"}],"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}]}`
)

func TestHeaders(t *testing.T) {
	srv, _ := newServer(t)
	status, body, head := call(t, srv.URL, v2012+"ListTables", "{}")
	if status != 200 || body != `{"TableNames":[]}` {
		t.Fatal(status, body)
	}
	if got, want := head.Get("x-amz-crc32"), strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(body))), 10); got != want {
		t.Errorf("crc %s, want %s", got, want)
	}
	if head.Get("Content-Type") != "application/x-amz-json-1.0" || len(head.Get("x-amzn-requestid")) != 36 {
		t.Error(head)
	}
}

func TestBadRequests(t *testing.T) {
	srv, _ := newServer(t)
	if status, body, _ := call(t, srv.URL, v2012+"CreateTable", createOne); status != 200 {
		t.Fatal(body)
	}
	put := func(item string) string { return `{"TableName":"one","Item":` + item + `}` }
	for name, c := range map[string]struct{ target, body, want string }{
		"no target":         {"", "{}", "com.amazon.coral.service#UnknownOperationException"},
		"unknown operation": {v2012 + "MakeCoffee", "{}", `com.amazon.coral.service#UnknownOperationException","Message":"DynamoDB operation \"DynamoDB_20120810.MakeCoffee\"`},
		"other service":     {"Kinesis_20131202.PutRecord", "{}", "UnknownOperationException"},
		"not JSON":          {v2012 + "PutItem", "{", "com.amazon.coral.service#SerializationException"},
		"not an object":     {v2012 + "PutItem", "[]", "SerializationException"},
		"empty body":        {v2012 + "PutItem", "", "SerializationException"},
		"wrong type":        {v2012 + "PutItem", `{"TableName":1}`, "NUMBER_VALUE cannot be converted to String"},
		"control: wrong":    {v2012 + "CreateTable", `{"TableName":1}`, "SerializationException"},
		"no such table":     {v2012 + "GetItem", `{"TableName":"two","Key":{"pk":{"S":"x"}}}`, `{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"Requested resource not found"}`},
		"no key":            {v2012 + "PutItem", put(`{"x":{"S":"1"}}`), `{"__type":"com.amazon.coral.validate#ValidationException","message":"One or more parameter values were invalid: Missing the key pk in the item"}`},
		"item too large":    {v2012 + "PutItem", put(`{"pk":{"S":"k"},"x":{"S":"` + strings.Repeat("x", 400<<10) + `"}}`), "Item size has exceeded the maximum allowed size"},
		"depth bomb":        {v2012 + "PutItem", put(`{"pk":{"S":"k"},"x":` + strings.Repeat(`{"L":[`, 5000)), "Nesting Levels have exceeded supported limits"},
		"long expression":   {v2012 + "PutItem", `{"TableName":"one","Item":{"pk":{"S":"x"}},"ConditionExpression":"pk = pk` + strings.Repeat(" ", 5000) + `"}`, "Expression size has exceeded the maximum allowed size"},
	} {
		status, body, _ := call(t, srv.URL, c.target, c.body)
		if status != 400 || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %s, want %s", name, status, body, c.want)
		}
	}
	if res, err := http.Get(srv.URL); err != nil || res.StatusCode != 400 {
		t.Error("GET", res, err)
	}
}

// The largest item DynamoDB takes is taken: 400 KB, names included.
func TestLargestItem(t *testing.T) {
	srv, _ := newServer(t)
	call(t, srv.URL, v2012+"CreateTable", createOne)
	item := func(n int) string {
		return `{"TableName":"one","Item":{"pk":{"S":"k"},"x":{"S":"` + strings.Repeat("x", n) + `"}}}`
	}
	room := table.MaxItem - len("pk") - len("k") - len("x")
	if status, body, _ := call(t, srv.URL, v2012+"PutItem", item(room)); status != 200 {
		t.Fatal(body)
	}
	if status, _, _ := call(t, srv.URL, v2012+"PutItem", item(room+1)); status != 400 {
		t.Fatal("one byte more was accepted")
	}
}

func TestRequestBound(t *testing.T) {
	srv, _ := newServer(t)
	status, body, _ := call(t, srv.URL, v2012+"BatchWriteItem", strings.Repeat(" ", 16<<20+1))
	if status != 413 || !strings.Contains(body, "16 MB") {
		t.Fatal(status, body)
	}
}

// boto3 is the client of the Python samples: resources, conditions built by its
// own classes, paginators, and its CRC check.
func TestBoto3(t *testing.T) {
	if err := exec.Command("python3", "-c", "import boto3").Run(); err != nil {
		t.Skip("python3 with boto3 is not installed")
	}
	srv, _ := newServer(t)
	cmd := exec.CommandContext(t.Context(), "python3", "testdata/client.py", srv.URL)
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local", "AWS_DEFAULT_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true", "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasSuffix(string(out), "ok\n") {
		t.Fatalf("%v\n%s", err, out)
	}
}

func benchmark(b *testing.B, clients int, request func(i int) (target, body string)) {
	srv, _ := newServer(b)
	call(b, srv.URL, v2012+"CreateTable", `{"TableName":"bench","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"},{"AttributeName":"sk","AttributeType":"S"}],"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"sk","KeyType":"RANGE"}]}`)
	for i := range 5000 {
		call(b, srv.URL, v2012+"PutItem", fmt.Sprintf(`{"TableName":"bench","Item":{"pk":{"S":"t%d"},"sk":{"S":"conn%d"},"at":{"N":"%d"},"who":{"S":"user-%d"}}}`, i%100, i, i, i))
	}
	handler := srv.Config.Handler
	next := make(chan int, clients)
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for i := range next {
				target, body := request(i)
				serve(b, handler, target, body)
			}
		})
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		next <- i
		i++
	}
	close(next)
	wg.Wait()
}

// discard is a response writer that keeps the status only: the benchmarks show
// the handler's cost, not net/http's.
type discard struct {
	head   http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.head }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

func serve(b *testing.B, h http.Handler, target, body string) {
	r := &http.Request{Method: "POST", Header: http.Header{"X-Amz-Target": {v2012 + target}}, Body: io.NopCloser(strings.NewReader(body))}
	w := &discard{head: http.Header{}}
	h.ServeHTTP(w, r.WithContext(b.Context()))
	if w.status != 200 {
		b.Errorf("%s: %d", target, w.status)
	}
}

func BenchmarkGet(b *testing.B) {
	benchmark(b, 8, func(i int) (string, string) {
		return "GetItem", fmt.Sprintf(`{"TableName":"bench","Key":{"pk":{"S":"t%d"},"sk":{"S":"conn%d"}}}`, i%100, i%5000)
	})
}

func BenchmarkPutNoSync(b *testing.B) {
	benchmark(b, 8, func(i int) (string, string) {
		return "PutItem", fmt.Sprintf(`{"TableName":"bench","Item":{"pk":{"S":"t%d"},"sk":{"S":"conn%d"},"at":{"N":"%d"},"who":{"S":"user-%d"}}}`, i%100, i, i, i)
	})
}

func BenchmarkQuery(b *testing.B) {
	benchmark(b, 8, func(i int) (string, string) {
		return "Query", fmt.Sprintf(`{"TableName":"bench","KeyConditionExpression":"pk = :p","ExpressionAttributeValues":{":p":{"S":"t%d"}},"Limit":50}`, i%100)
	})
}
