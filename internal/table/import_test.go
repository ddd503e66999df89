package table

import (
	"fmt"
	"strings"
	"testing"
)

func TestImport(t *testing.T) {
	e := newEngine(t, Config{})
	declare(t, e, streamed("KEYS_ONLY"))
	var text strings.Builder
	for i := range 2*importBatch + 5 {
		if i%2 == 0 {
			fmt.Fprintf(&text, "{\"pk\":{\"S\":\"a\"},\"sk\":{\"N\":\"%d\"}}\n", i)
		} else {
			fmt.Fprintf(&text, "  {\"Item\":{\"pk\":{\"S\":\"a\"},\"sk\":{\"N\":\"%d\"}}}\r\n\n", i)
		}
	}
	text.WriteString(`{"pk":{"S":"a"},"sk":{"N":"0"},"Item":{"S":"an attribute of that name"}}`)
	n, err := e.Import(t.Context(), "chat", strings.NewReader(text.String()))
	if err != nil || n != 2*importBatch+6 {
		t.Fatal(n, err)
	}
	if got := e.Tables()[0].Items; got != 2*importBatch+5 {
		t.Fatal(got)
	}
	if got := getItem(t, e, `{"pk":{"S":"a"},"sk":{"N":"0"}}`); !strings.Contains(got, "of that name") {
		t.Fatal(got)
	}
	if got := len(records(t, e, "chat")); got != 2*importBatch+6 {
		t.Fatal(got, "records")
	}
}

// An error names its line; what stands before it is stored and counted.
func TestImportStopsAtABadLine(t *testing.T) {
	const good = `{"pk":{"S":"a"},"sk":{"N":"1"}}` + "\n\n"
	for bad, want := range map[string]string{
		`{"pk":{"S":"a"}`:                                     "line 3",
		`{"pk":"a"}`:                                          "line 3",
		`{"pk":{"S":"a"}}`:                                    "line 3: Missing the key sk",
		`{"pk":{"S":"a"},"sk":{"S":"1"}}`:                     "line 3: Type mismatch",
		`{"Item":{"pk":{"S":"a"}},"more":{}}`:                 "line 3",
		`{"pk":{"S":"` + strings.Repeat("x", maxLine) + `"}}`: "line 3: bufio.Scanner: token too long",
	} {
		e := newEngine(t, Config{})
		declare(t, e, chat())
		n, err := e.Import(t.Context(), "chat", strings.NewReader(good+bad+"\n"+good))
		line, rest, _ := strings.Cut(want, ": ")
		if n != 1 || err == nil || !strings.Contains(err.Error(), line) || !strings.Contains(err.Error(), rest) {
			t.Errorf("%.60s: %d, %v", bad, n, err)
		}
	}
	e := newEngine(t, Config{})
	if _, err := e.Import(t.Context(), "none", strings.NewReader(good)); !isType(err, "ResourceNotFoundException") {
		t.Error(err)
	}
}
