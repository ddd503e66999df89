package integration

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

// A back end that answers with a bomb, or with headers without end, costs its own call.
func TestBombsOfBackends(t *testing.T) {
	bomb := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "headers") {
			for i := range 3000 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 3000))
			}
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		zero := make([]byte, 1<<20)
		for range 256 {
			if _, err := z.Write(zero); err != nil {
				return
			}
		}
		_ = z.Close()
	}))
	defer bomb.Close()
	x := New(Config{})
	defer x.http.CloseIdleConnections()
	for _, path := range []string{"/gzip", "/headers"} {
		plan := Compile(&model.Integration{Type: model.HTTPProxy, URI: bomb.URL + path})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := x.Call(t.Context(), request(plan, event.TypeMessage))
		runtime.ReadMemStats(&after)
		if !fault.Is(err, fault.Upstream) {
			t.Errorf("%s: %v", path, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
			t.Errorf("%s: %d bytes", path, n)
		}
	}
}

// An answer that drips is cut off by the integration's time-out; a client that
// vanishes ends the call at once.
func TestDrippingAnswers(t *testing.T) {
	gone := make(chan struct{}, 8)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, "x"); err != nil {
				break
			}
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
		gone <- struct{}{}
	}))
	defer s.Close()
	x := New(Config{})
	defer x.http.CloseIdleConnections()
	plan := Compile(&model.Integration{Type: model.HTTPProxy, URI: s.URL, Timeout: 150 * time.Millisecond})
	began := time.Now()
	_, err := x.Call(t.Context(), request(plan, event.TypeMessage))
	if took := time.Since(began); !fault.Is(err, fault.Timeout) || took < 150*time.Millisecond || took > time.Second {
		t.Errorf("after %v: %v", took, err)
	}
	<-gone
	plan = Compile(&model.Integration{Type: model.HTTPProxy, URI: s.URL})
	ctx, vanish := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer vanish()
	if _, err := x.Call(ctx, request(plan, event.TypeMessage)); err == nil {
		t.Error("no error")
	}
	<-gone
}

// One plan serves every connection of its stage.
func TestPlansAreShared(t *testing.T) {
	b, x := newBackend(t)
	plan := Compile(&model.Integration{Type: model.HTTP, URI: b.URL + "/{a}", TemplateSelectionExpression: "${request.body.kind}",
		RequestParameters: map[string]string{"integration.request.path.a": "route.request.body.n", "integration.request.header.X-N": "route.request.body.n"},
		RequestTemplates:  map[string]string{"$default": `#set($x = $input.path('$.n'))#foreach($i in [1..20])#set($x = "$x.$i")#end$x`},
		Responses:         []*model.IntegrationResponse{{Key: `/2\d\d/`, Templates: map[string]string{"$default": `#set($y = $input.path('$'))${y}-$context.connectionId`}}}})
	if plan.Err() != nil {
		t.Fatal(plan.Err())
	}
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for range 20 {
				r := request(plan, event.TypeMessage)
				r.Conn.ID = fmt.Sprint("c", n)
				r.Body = fmt.Appendf(nil, `{"n":"%d"}`, n)
				if resp, err := x.Call(t.Context(), r); err != nil || string(resp.Body) != "answer-c"+fmt.Sprint(n) {
					t.Errorf("%q, %v", resp.Body, err)
				}
			}
		})
	}
	wg.Wait()
}

// Bytes, marks and odd base64 in every place where text is expected.
func TestOddBytes(t *testing.T) {
	const none fault.Kind = 255
	b, x := newBackend(t)
	for _, v := range []struct {
		handling, answers, body, want string
		answer                        []byte
		kind                          fault.Kind // none: it works
	}{
		{toBinary, "", "!!!", "", nil, fault.Internal},
		{toBinary, "", "YQ", "", nil, fault.Internal},
		{toBinary, "", "\ufeffYQ==", "", nil, fault.Internal},
		{toBinary, "", "YQ==\n", "a", nil, none},
		{"", "", "\x00", "a", nil, none},
		{"", toBinary, "m", "", []byte("!!"), fault.Internal},
		{"", toBinary, "m", "\x00", []byte("AA=="), none},
		{"", toBinary, "m", "", []byte("/w=="), fault.Upstream},
		{"", toText, "m", "/w==", []byte{255}, none},
		{"", "", "m", "", []byte{255}, fault.Upstream},
		{"", "", "m", "\ufeff{}", []byte("\ufeff{}"), none},
		{"", toText, "m", "", nil, none},
	} {
		if v.answer == nil {
			v.answer = []byte(v.want)
		}
		b.answers(func(w http.ResponseWriter) { w.Write(v.answer) })
		plan := Compile(&model.Integration{Type: model.HTTP, URI: b.URL, ContentHandling: v.handling, Responses: []*model.IntegrationResponse{{Key: "$default", ContentHandling: v.answers}}})
		r := request(plan, event.TypeMessage)
		r.Body = []byte(v.body)
		resp, err := x.Call(t.Context(), r)
		if v.kind != none && !fault.Is(err, v.kind) || v.kind == none && (err != nil || string(resp.Body) != v.want) {
			t.Errorf("%+v: %q, %v", v, resp.Body, err)
		}
	}
}
