package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	singles    = 10_000 // items that put and get choose from
	partitions = 500    // that query chooses from
	perQuery   = 20     // items in each
)

// wire is one keep-alive connection with requests made by hand, so that the
// generator costs as little as possible beside the server.
type wire struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte
	body []byte
	host string
}

func dial(ctx context.Context, addr string) (*wire, error) {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &wire{conn: conn, in: bufio.NewReaderSize(conn, 64<<10), host: addr}, nil
}

// call sends one operation and returns the answer's body, valid until the next call.
// The signature is well-formed and nobody's: neither server verifies it.
func (c *wire) call(operation string, body []byte) ([]byte, error) {
	c.out = append(c.out[:0], "POST / HTTP/1.1\r\nHost: "...)
	c.out = append(c.out, c.host...)
	c.out = append(c.out, "\r\nContent-Type: application/x-amz-json-1.0\r\nX-Amz-Target: DynamoDB_20120810."...)
	c.out = append(c.out, operation...)
	c.out = append(c.out, "\r\nX-Amz-Date: "...)
	c.out = time.Now().UTC().AppendFormat(c.out, "20060102T150405Z")
	c.out = append(c.out, "\r\nAuthorization: AWS4-HMAC-SHA256 Credential=AKIDBENCH/"...)
	c.out = time.Now().UTC().AppendFormat(c.out, "20060102")
	c.out = append(c.out, "/us-east-1/dynamodb/aws4_request, SignedHeaders=host;x-amz-date;x-amz-target, Signature=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\nContent-Length: "...)
	c.out = strconv.AppendInt(c.out, int64(len(body)), 10)
	c.out = append(append(c.out, "\r\n\r\n"...), body...)
	if _, err := c.conn.Write(c.out); err != nil {
		return nil, err
	}
	return c.answer()
}

func (c *wire) answer() ([]byte, error) {
	status, err := c.in.ReadSlice('\n')
	if err != nil || len(status) < 12 {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	ok := string(status[9:12]) == "200"
	length := -1
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		if name, value, found := bytes.Cut(line, []byte(":")); found && bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return nil, err
			}
		}
	}
	if length < 0 {
		return nil, fmt.Errorf("an answer without a length")
	}
	c.body = slices.Grow(c.body[:0], length)[:length]
	if _, err := io.ReadFull(c.in, c.body); err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%s", c.body)
	}
	return c.body, nil
}

// appendItem is an item of about 250 bytes.
func appendItem(b []byte, pk string, sk int) []byte {
	return fmt.Appendf(b, `{"pk":{"S":"%s"},"sk":{"S":"%06d"},"connectedAt":{"N":"1760000000"},"room":{"S":"general"},"text":{"S":"the quick brown fox jumps over the lazy dog, and then over another one of these dogs"},"tags":{"SS":["a","b"]},"open":{"BOOL":true}}`, pk, sk)
}

// request is an operation on something random, and what its answer must contain.
func request(kind string, rng *rand.Rand, items int, b []byte) (operation string, body []byte, want string) {
	switch kind {
	case "put":
		b = append(b, `{"TableName":"Bench","Item":`...)
		return "PutItem", append(appendItem(b, "p"+strconv.Itoa(rng.IntN(items)), 0), '}'), "{}"
	case "get":
		pk := "p" + strconv.Itoa(rng.IntN(items))
		return "GetItem", fmt.Appendf(b, `{"TableName":"Bench","Key":{"pk":{"S":"%s"},"sk":{"S":"000000"}}}`, pk), `"` + pk + `"`
	}
	pk := "q" + strconv.Itoa(rng.IntN(partitions))
	return "Query", fmt.Appendf(b, `{"TableName":"Bench","KeyConditionExpression":"pk = :p","ExpressionAttributeValues":{":p":{"S":"%s"}}}`, pk), fmt.Sprintf(`"Count":%d`, perQuery)
}

// preload stores the items with numbers from to to, and all partitions of query
// when from is 0.
func preload(ctx context.Context, addr string, from, to, parallel int) error {
	work := make(chan []byte, parallel)
	errs := make(chan error, parallel)
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			c, err := dial(ctx, addr)
			if err != nil {
				errs <- err
				for range work { // so that the feeder goes on
				}
				return
			}
			defer c.conn.Close()
			for body := range work {
				if _, err = c.call("BatchWriteItem", body); err != nil {
					break
				}
			}
			for range work {
			}
			errs <- err
		})
	}
	batch, n := []byte(nil), 0
	add := func(pk string, sk int) {
		if n > 0 {
			batch = append(batch, ',')
		}
		batch = append(appendItem(append(batch, `{"PutRequest":{"Item":`...), pk, sk), `}}`...)
		n++
	}
	flush := func() {
		if n > 0 {
			work <- append(append([]byte(`{"RequestItems":{"Bench":[`), batch...), `]}}`...)
		}
		batch, n = batch[:0], 0
	}
	for i := from; i < to; i++ {
		if add("p"+strconv.Itoa(i), 0); n == 25 {
			flush()
		}
	}
	for p := 0; from == 0 && p < partitions; p++ {
		flush()
		for i := range perQuery {
			add("q"+strconv.Itoa(p), i)
		}
	}
	flush()
	close(work)
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return fmt.Errorf("preload: %w", err)
		}
	}
	return nil
}

// figures of one measurement.
type figures struct {
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	Max       float64 `json:"max_ms"`
}

// drive has every connection ask, and ask again when answered. check is false for
// a server that answers without looking.
func drive(ctx context.Context, addr, kind string, connections, items int, d time.Duration, check bool) (f figures, err error) {
	var mu sync.Mutex
	var all []time.Duration
	var wg sync.WaitGroup
	begun := time.Now()
	for n := range connections {
		wg.Go(func() {
			own, e := loop(ctx, addr, kind, uint64(n), items, begun.Add(d), check)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, own...)
			if e != nil {
				err = e
			}
		})
	}
	wg.Wait()
	took := time.Since(begun).Seconds()
	if err != nil || len(all) == 0 {
		return f, fmt.Errorf("%s: %w", kind, err)
	}
	slices.Sort(all)
	at := func(q float64) float64 { return all[int(q*float64(len(all)-1))].Seconds() * 1000 }
	return figures{PerSecond: float64(len(all)) / took, P50: at(0.5), P99: at(0.99), Max: at(1)}, nil
}

func loop(ctx context.Context, addr, kind string, seed uint64, items int, until time.Time, check bool) (took []time.Duration, err error) {
	c, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer c.conn.Close()
	rng := rand.New(rand.NewPCG(seed, uint64(until.UnixNano())))
	took = make([]time.Duration, 0, 1<<16)
	var b []byte
	for begun := time.Now(); begun.Before(until) && ctx.Err() == nil; begun = time.Now() {
		operation, body, want := request(kind, rng, items, b[:0])
		b = body
		answer, err := c.call(operation, body)
		if err != nil {
			return nil, err
		}
		if check && !bytes.Contains(answer, []byte(want)) {
			return nil, fmt.Errorf("%s was answered with %.200s, without %s", body, answer, want)
		}
		took = append(took, time.Since(begun))
	}
	return took, nil
}
