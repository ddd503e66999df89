package e2e

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	tablesTarget = "DynamoDB_20120810."
	maxItem      = 400 << 10
	maxTablesReq = 16 << 20

	// hostilePeak is the memory that requests of 16 MB may cost at their worst, several
	// at a time: it must not be that of every value times their number.
	hostilePeak = 512 << 20
)

// tablesCall is a request for the tables, signed as an SDK does it.
func (g *gate) tablesCall(target, body string) *http.Request {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), "POST", g.status.EndpointURL, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	if target != "" {
		req.Header.Set("X-Amz-Target", target)
	}
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(g.t.Context(), localCredentials(), req, hex.EncodeToString(sum[:]), "dynamodb", g.status.Region, time.Now()); err != nil {
		g.t.Fatal(err)
	}
	return req
}

// ask sends one request and checks what every answer must have.
func (g *gate) ask(target, body string) answer {
	g.t.Helper()
	req := g.tablesCall(target, body)
	req.Header.Set("Accept-Encoding", "identity") // the checksum is of the bytes on the wire
	got := send(g.t, req, nil)
	sum := strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(got.Body))), 10)
	if got.Header.Get("X-Amz-Crc32") != sum {
		g.t.Errorf("%s: x-amz-crc32 is %q, the body's is %s: %d %.200s", target, got.Header.Get("X-Amz-Crc32"), sum, got.Status, got.Body)
	}
	if len(got.Header.Get("X-Amzn-Requestid")) < 32 {
		g.t.Errorf("%s: no x-amzn-requestid: %v", target, got.Header)
	}
	return got
}

// serves writes and reads an item: the tables are alive.
func (g *gate) serves() {
	g.t.Helper()
	word := strconv.FormatInt(time.Now().UnixNano(), 36)
	if got := g.ask(tablesTarget+"PutItem", `{"TableName":"rooms","Item":{"room":{"S":"alive"},"seq":{"N":"1"},"word":{"S":"`+word+`"}}}`); got.Status != 200 || got.Body != "{}" {
		g.t.Fatalf("the tables do not serve any more: %d %s", got.Status, got.Body)
	}
	got := g.ask(tablesTarget+"GetItem", `{"TableName":"rooms","Key":{"room":{"S":"alive"},"seq":{"N":"1"}},"ConsistentRead":true}`)
	if got.Status != 200 || !strings.Contains(got.Body, `"`+word+`"`) {
		g.t.Fatalf("the tables do not serve any more: %d %s", got.Status, got.Body)
	}
}

const (
	coral     = "com.amazon.coral.service#"
	validates = "com.amazon.coral.validate#ValidationException"
)

// problem is the body of an error as AWS sends it.
func problem(kind, message string) string {
	if message == "" {
		return `{"__type":"` + kind + `"}`
	}
	return `{"__type":"` + kind + `","message":"` + message + `"}`
}

// nested is an attribute value n lists deep around a string.
func nested(n int) string {
	return strings.Repeat(`{"L":[`, n) + `{"S":"x"}` + strings.Repeat(`]}`, n)
}

// sized is an item of n bytes, by DynamoDB's count: names and values.
func sized(n int) string {
	fixed := len("room") + len("h") + len("seq") + 2 + len("x") // a number of one digit counts 2
	return `{"room":{"S":"h"},"seq":{"N":"1"},"x":{"S":"` + strings.Repeat("x", n-fixed) + `"}}`
}

// spaced is a true expression of n bytes.
func spaced(n int) string {
	const word = "attribute_not_exists(nothing)"
	return word + strings.Repeat(" ", n-len(word))
}

func TestHostileTableRequests(t *testing.T) {
	g := startTables(t)
	put := func(item, more string) string { return `{"TableName":"rooms","Item":` + item + more + `}` }
	withX := func(x string) string { return put(`{"room":{"S":"h"},"seq":{"N":"1"},"x":`+x+`}`, "") }
	condition := func(text string) string { return put(sized(100), `,"ConditionExpression":"`+text+`"`) }
	tooDeep := problem(validates, "Nesting Levels have exceeded supported limits")
	for name, c := range map[string]struct {
		op, body string
		status   int
		want     string // the whole body, or the start of it where it ends in …
	}{
		"not JSON":                   {"PutItem", `{"TableName":`, 400, problem(coral+"SerializationException", "")},
		"no JSON at all":             {"PutItem", "\x00\xff\xfe", 400, problem(coral+"SerializationException", "")},
		"text after the object":      {"ListTables", `{} {}`, 400, problem(coral+"SerializationException", "")},
		"an empty body":              {"PutItem", "", 400, problem(coral+"SerializationException", "")},
		"not an object":              {"PutItem", `"TableName"`, 400, `{"__type":"` + coral + `SerializationException"…`},
		"a string that is wrong":     {"GetItem", `{"TableName":["rooms"]}`, 400, `{"__type":"` + coral + `SerializationException"…`},
		"half a surrogate":           {"PutItem", withX("{\"S\":\"\xed\xa0\x80\"}"), 400, `{"__type":"` + coral + `SerializationException"…`},
		"an unknown operation":       {"MakeCoffee", "{}", 400, `{"__type":"` + coral + `UnknownOperationException"…`},
		"an operation in lower case": {"putitem", "{}", 400, `{"__type":"` + coral + `UnknownOperationException"…`},
		"no such table":              {"GetItem", `{"TableName":"nowhere","Key":{"id":{"S":"x"}}}`, 400, problem("com.amazonaws.dynamodb.v20120810#ResourceNotFoundException", "Requested resource not found")},

		"an item of 400 KB":           {"PutItem", put(sized(maxItem), ""), 200, `{}`},
		"an item of 400 KB + 1 byte":  {"PutItem", put(sized(maxItem+1), ""), 400, problem(validates, "Item size has exceeded the maximum allowed size")},
		"32 lists":                    {"PutItem", withX(nested(31)), 200, `{}`},
		"33 lists":                    {"PutItem", withX(nested(33)), 400, tooDeep},
		"33 maps":                     {"PutItem", withX(strings.Repeat(`{"M":{"a":`, 33) + `{"NULL":true}` + strings.Repeat(`}}`, 33)), 400, tooDeep},
		"100 000 lists":               {"PutItem", withX(nested(100_000)), 400, tooDeep},
		"100 000 lists never closed":  {"PutItem", withX(strings.Repeat(`{"L":[`, 100_000)), 400, tooDeep},
		"100 000 brackets in nothing": {"PutItem", `{"Nothing":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`, 400, `{"__type":"…`},
		"a million braces":            {"PutItem", strings.Repeat("{", 1_000_000), 400, problem(coral+"SerializationException", "")},

		"an expression of 4 KB":       {"PutItem", condition(spaced(4096)), 200, `{}`},
		"an expression of 4 KB + 1":   {"PutItem", condition(spaced(4097)), 400, problem(validates, "Invalid ConditionExpression: Expression size has exceeded the maximum allowed size; expression size: 4097")},
		"an expression of 1 MB":       {"PutItem", condition(strings.Repeat("(", 1<<20)), 400, problem(validates, "Invalid ConditionExpression: Expression size has exceeded the maximum allowed size; expression size: 1048576")},
		"4 KB of parentheses":         {"PutItem", condition(strings.Repeat("(", 4096)), 400, `{"__type":"` + validates + `","message":"Invalid ConditionExpression: …`},
		"4 KB of NOT":                 {"PutItem", condition(strings.Repeat("NOT ", 1015) + "attribute_not_exists(nothing)"), 400, `{"__type":"` + validates + `","message":"Invalid ConditionExpression: …`},
		"a number of a megabyte":      {"PutItem", withX(`{"N":"` + strings.Repeat("1", 1<<20) + `"}`), 400, `{"__type":"` + validates + `"…`},
		"an exponent of a megabyte":   {"PutItem", withX(`{"N":"1e` + strings.Repeat("9", 1<<20) + `"}`), 400, `{"__type":"` + validates + `"…`},
		"a statement of 8 KB + 1":     {"ExecuteStatement", `{"Statement":"` + strings.Repeat("x", 8193) + `"}`, 400, `{"__type":"` + validates + `"…`},
		"a scan of too many segments": {"Scan", `{"TableName":"rooms","Segment":0,"TotalSegments":1000001}`, 400, `{"__type":"` + validates + `"…`},
		"a limit beyond all numbers":  {"Scan", `{"TableName":"rooms","Limit":99999999999999999999}`, 400, `{"__type":"…`},
	} {
		t.Run(name, func(t *testing.T) {
			g := g.in(t)
			g.expect(g.ask(tablesTarget+c.op, c.body), c.status, c.want)
			g.serves()
		})
	}
	for name, target := range map[string]string{
		"no version":        "PutItem",
		"another version":   "DynamoDB_20990101.PutItem",
		"another service":   "Kinesis_20131202.PutRecord",
		"a dot":             ".",
		"a target too long": tablesTarget + strings.Repeat("x", 4<<10),
	} {
		t.Run("target: "+name, func(t *testing.T) {
			g := g.in(t)
			g.expect(g.ask(target, "{}"), 400, `{"__type":"`+coral+`UnknownOperationException"…`)
			g.serves()
		})
	}
}

// expect compares an answer with a status and a body, or the start of one.
func (g *gate) expect(got answer, status int, body string) {
	g.t.Helper()
	start, open := strings.CutSuffix(body, "…")
	if got.Status != status || open && !strings.HasPrefix(got.Body, start) || !open && got.Body != body {
		g.t.Errorf("answered\n%d %.400s, want\n%d %s", got.Status, got.Body, status, body)
	}
}

// A million keys in one request, and requests beyond the largest: refused in AWS's
// words, within a bounded memory, several at a time too.
func TestHostileTableSizes(t *testing.T) {
	g := startTables(t)
	g.serves()
	before := g.peak()
	keys := func(n int) string {
		return `{"RequestItems":{"rooms":{"Keys":[` + strings.Repeat(`{"k":{"S":"1"}},`, n-1) + `{"k":{"S":"1"}}]}}}`
	}
	flood := []struct {
		name, op, body string
		status         int
		want           string
	}{
		{"a million keys", "BatchGetItem", keys(1_000_000), 400, `{"__type":"` + validates + `"…`},
		{"101 keys", "BatchGetItem", keys(101), 400, `{"__type":"` + validates + `"…`},
		{"300 000 deletes", "BatchWriteItem", `{"RequestItems":{"rooms":[` + strings.Repeat(`{"DeleteRequest":{"Key":{"k":{"S":"1"}}}},`, 300_000) + `{}]}}`, 400, `{"__type":"` + validates + `"…`},
		{"300 000 statements", "BatchExecuteStatement", `{"Statements":[` + strings.Repeat(`{"Statement":"SELECT 1"},`, 300_000) + `{}]}`, 400, `{"__type":"` + validates + `"…`},
		{"200 000 reads", "TransactGetItems", `{"TransactItems":[` + strings.Repeat(`{"Get":{"TableName":"rooms","Key":{"k":{"S":"1"}}}},`, 200_000) + `{}]}`, 400, `{"__type":"` + validates + `"…`},
		{"a million values", "Scan", `{"TableName":"rooms","ExpressionAttributeValues":{` + strings.Repeat(`":a":{"N":"1"},`, 1_000_000) + `":b":{"N":"1"}}}`, 400, `{"__type":"` + validates + `"…`},
		{"two million values that are none", "PutItem", `{"TableName":"rooms","Item":{"x":{"L":[` + strings.Repeat(`{},`, 2_000_000) + `{}]}}}`, 400, `{"__type":"…`},
		{"16 MB", "PutItem", `{"TableName":"nowhere"` + strings.Repeat(" ", maxTablesReq-len(`{"TableName":"nowhere"}`)) + `}`, 400, `{"__type":"` + validates + `"…`},
		{"16 MB + 1 byte", "PutItem", strings.Repeat(" ", maxTablesReq+1), 413, `{"__type":"` + coral + `RequestEntityTooLargeException"…`},
	}
	for _, c := range flood {
		t.Run(c.name, func(t *testing.T) {
			g := g.in(t)
			g.expect(g.ask(tablesTarget+c.op, c.body), c.status, c.want)
			t.Logf("largest so far: %d MB", g.peak()>>20)
			g.serves()
		})
	}
	t.Run("40 MB", func(t *testing.T) { // refused before anybody looks for the service
		got := send(t, g.tablesCall(tablesTarget+"PutItem", strings.Repeat(" ", 40<<20)), nil)
		if got.Status != 413 || !strings.Contains(got.Body, `RequestEntityTooLargeException"`) {
			t.Errorf("answered %d %.400s", got.Status, got.Body)
		}
		g.in(t).serves()
	})
	t.Run("four millions of keys at once", func(t *testing.T) {
		g := g.in(t)
		answers := make(chan string)
		for range 4 {
			req := g.tablesCall(tablesTarget+flood[0].op, flood[0].body)
			go func() { answers <- ended(req) }()
		}
		for range 4 {
			if got := <-answers; got != "400 Bad Request" {
				t.Error(got)
			}
		}
		g.serves()
	})
	if after := g.peak(); after > hostilePeak {
		t.Errorf("resident memory grew from %d to %d MB at its largest, want at most %d MB", before>>20, after>>20, hostilePeak>>20)
	}
}

// ended sends a request and tells how it ended, for goroutines that cannot fail a test.
func ended(req *http.Request) string {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	resp.Body.Close()
	return resp.Status
}

// peak is the largest resident memory that the process ever had, in bytes.
func (g *gate) peak() int64 {
	g.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
	if err != nil {
		g.t.Skip("no /proc to read the memory from")
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); fields[0] == "VmHWM:" {
			kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				g.t.Fatal(err)
			}
			return kilobytes << 10
		}
	}
	g.t.Fatal("no VmHWM in /proc/pid/status")
	return 0
}

// Heads that lie about their bodies.
func TestHostileTableLengths(t *testing.T) {
	g := startTables(t)
	const body = `{"TableName":"rooms","Key":{"room":{"S":"h"},"seq":{"N":"1"}}}`
	signed := g.tablesCall(tablesTarget+"GetItem", body)
	head := func(lines ...string) string {
		var text strings.Builder
		fmt.Fprintf(&text, "POST / HTTP/1.1\r\nHost: %s\r\n", signed.URL.Host)
		for name := range signed.Header {
			fmt.Fprintf(&text, "%s: %s\r\n", name, signed.Header.Get(name))
		}
		return text.String() + strings.Join(lines, "\r\n") + "\r\n\r\n"
	}
	length := func(n int) string { return "Content-Length: " + strconv.Itoa(n) }
	for name, c := range map[string]struct {
		text string
		ends bool // the client closes its side
		want []int
	}{
		"the truth":              {text: head(length(len(body))) + body, want: []int{200}},
		"chunks":                 {text: head("Transfer-Encoding: chunked") + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body), want: []int{200}},
		"too short":              {text: head(length(10)) + body + "\r\n\r\n", want: []int{400, 400}},
		"too long, then nothing": {text: head(length(len(body)+100)) + body, ends: true, want: []int{400}},
		"nothing of a terabyte":  {text: head("Content-Length: 1099511627776") + body, ends: true, want: []int{400}},
		"negative":               {text: head("Content-Length: -1") + body, want: []int{400}},
		"no number":              {text: head("Content-Length: many") + body, want: []int{400}},
		"beyond 64 bits":         {text: head("Content-Length: 99999999999999999999") + body, want: []int{400}},
		"two that differ":        {text: head(length(len(body)), length(len(body)+1)) + body, want: []int{400}},
		"a length and chunks":    {text: head(length(3), "Transfer-Encoding: chunked") + "0\r\n\r\n", want: []int{400}},
		"a chunk that lies":      {text: head("Transfer-Encoding: chunked") + "3\r\n" + body + "\r\n0\r\n\r\n", want: []int{400}},
		"a chunk of 2^60":        {text: head("Transfer-Encoding: chunked") + "1000000000000000\r\n" + body, ends: true, want: []int{400}},
	} {
		t.Run(name, func(t *testing.T) {
			g := g.in(t)
			conn := g.raw(c.text)
			if c.ends {
				if err := conn.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			for i, want := range c.want {
				got, body, err := readAnswer(conn.r)
				if err != nil || got != want {
					t.Fatalf("answer %d is %d %q %v, want %d", i, got, body, err, want)
				}
			}
			g.serves()
		})
	}
}

func readAnswer(r *bufio.Reader) (int, string, error) {
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}
