package table

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/clock"
)

func TestExpiry(t *testing.T) {
	e := newEngine(t, Config{})
	m := chat()
	m.TTL, m.StreamView = "until", "KEYS_ONLY"
	declare(t, e, m)
	now := time.Now().Unix()
	for sk, until := range map[int]string{
		1: fmt.Sprintf(`{"N":"%d"}`, now-5),
		2: fmt.Sprintf(`{"N":"%d.5"}`, now-5),
		3: fmt.Sprintf(`{"N":"%d"}`, now+1000),
		4: fmt.Sprintf(`{"S":"%d"}`, now-5), // not a number: never
		5: `{"N":"17"}`,                     // 1970: not a time
		6: `{"N":"-5"}`,
	} {
		putItem(t, e, fmt.Sprintf(`{"pk":{"S":"a"},"sk":{"N":"%d"},"until":%s}`, sk, until))
	}
	putItem(t, e, `{"pk":{"S":"a"},"sk":{"N":"7"}}`)
	// Due, then renewed: it must stay.
	putItem(t, e, fmt.Sprintf(`{"pk":{"S":"a"},"sk":{"N":"8"},"until":{"N":"%d"}}`, now-5))
	putItem(t, e, fmt.Sprintf(`{"pk":{"S":"a"},"sk":{"N":"8"},"until":{"N":"%d"}}`, now+1000))
	if err := e.expire(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := numbers(t, query(t, e, "", "pk = :p", `{":p":{"S":"a"}}`, nil).Items); got != "3 4 5 6 7 8" {
		t.Fatal(got)
	}
	var expired []string
	for _, r := range records(t, e, "chat") {
		if r.Expired {
			expired = append(expired, r.Event+" "+string(r.Keys))
		}
	}
	if want := []string{`REMOVE {"pk":{"S":"a"},"sk":{"N":"1"}}`, `REMOVE {"pk":{"S":"a"},"sk":{"N":"2"}}`}; !slices.Equal(expired, want) {
		t.Fatal(expired)
	}
}

// TTL switched on for a table that has items already finds them.
func TestExpirySwitchedOnLater(t *testing.T) {
	e := newEngine(t, Config{})
	declare(t, e, chat())
	ctx := context.Background()
	for i := range 3 * expireBatch {
		putItem(t, e, fmt.Sprintf(`{"pk":{"S":"a"},"sk":{"N":"%d"},"until":{"N":"%d"}}`, i, time.Now().Unix()-10))
	}
	if err := e.UpdateTimeToLive(ctx, ptr("chat"), TimeToLive{true, "until"}); err != nil {
		t.Fatal(err)
	}
	if err := e.UpdateTimeToLive(ctx, ptr("chat"), TimeToLive{true, "until"}); err == nil {
		t.Fatal("switched on twice")
	}
	if err := e.expire(ctx); err != nil {
		t.Fatal(err)
	}
	if got := e.Tables()[0].Items; got != 0 {
		t.Fatalf("%d items left", got)
	}
	if err := e.UpdateTimeToLive(ctx, ptr("chat"), TimeToLive{false, "until"}); err != nil {
		t.Fatal(err)
	}
	putItem(t, e, fmt.Sprintf(`{"pk":{"S":"a"},"sk":{"N":"1"},"until":{"N":"%d"}}`, time.Now().Unix()-10))
	if err := e.expire(ctx); err != nil {
		t.Fatal(err)
	}
	if got := e.Tables()[0].Items; got != 1 {
		t.Fatal("an item expired with TTL off")
	}
}

func TestRunExpiresAndStops(t *testing.T) {
	e, done := openAt(t, filepath.Join(t.TempDir(), "state.db"), Config{Clock: clock.Scaled(10_000)})
	defer done()
	m := chat()
	m.TTL, m.StreamView = "until", "KEYS_ONLY"
	declare(t, e, m)
	tail, err := e.Tail(streamOfTable(t, e, "chat"), FromLatest)
	if err != nil {
		t.Fatal(err)
	}
	putItem(t, e, fmt.Sprintf(`{"pk":{"S":"a"},"sk":{"N":"1"},"until":{"N":"%d"}}`, time.Now().Unix()-10))
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error)
	go func() { result <- e.Run(ctx) }()
	for gone := false; !gone; {
		records, err := tail.Next(ctx, 10)
		if err != nil {
			t.Fatal(err)
		}
		gone = records[len(records)-1].Expired
	}
	cancel()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}

func TestTokensAreForgotten(t *testing.T) {
	e := newEngine(t, Config{})
	declare(t, e, chat())
	ctx := context.Background()
	in := &TransactWriteInput{Token: ptr("token"), Fingerprint: []byte("one"), Actions: []TransactAction{{
		Kind: "Update", Table: ptr("chat"), Key: item(t, `{"pk":{"S":"a"},"sk":{"N":"1"}}`),
		Expressions: Expressions{Update: ptr("ADD n :one"), Values: attr.Document{Map: attr.Item(attr.Member{Name: ":one", Value: attr.Number("1")})}},
	}}}
	for range 3 {
		if _, err := e.TransactWriteItems(ctx, in); err != nil {
			t.Fatal(err)
		}
	}
	if got := getItem(t, e, `{"pk":{"S":"a"},"sk":{"N":"1"}}`); got != `{"n":{"N":"1"},"pk":{"S":"a"},"sk":{"N":"1"}}` {
		t.Fatal("a repeated request was carried out again:", got)
	}
	other := *in
	other.Fingerprint = []byte("two")
	if _, err := e.TransactWriteItems(ctx, &other); err == nil {
		t.Fatal("another request with the same token was accepted")
	}
	if err := e.forgetTokens(ctx, time.Now().Add(tokenLife+time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := e.TransactWriteItems(ctx, &other); err != nil {
		t.Fatal("the token outlived its time:", err)
	}
}
