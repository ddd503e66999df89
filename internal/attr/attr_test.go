package attr

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/livegate/livegate/internal/fault"
)

func TestStringKeysOrderAndEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gen := rapid.StringOfN(rapid.SampledFrom([]rune("\x00\x01ab\u00ff\U0010ffff")), 0, 6, -1)
		a, b := gen.Draw(t, "a"), gen.Draw(t, "b")
		ka, kb := AppendKey(nil, String(a)), AppendKey(nil, String(b))
		if bytes.Compare(ka, kb) != strings.Compare(a, b) {
			t.Fatalf("keys of %q and %q: %x %x", a, b, ka, kb)
		}
		if KeyLen(append(bytes.Clone(ka), kb...), S) != len(ka) {
			t.Fatalf("key of %q does not end itself: %x", a, ka)
		}
		if strings.HasPrefix(a, b) != bytes.HasPrefix(ka, AppendKeyPrefix(nil, b)) {
			t.Fatalf("prefix %q of %q: %x", b, a, ka)
		}
	})
}

// genValue draws any value, nested a little.
func genValue(depth int) *rapid.Generator[Value] {
	return rapid.Custom(func(t *rapid.T) Value {
		kinds := []Kind{S, N, B, BOOL, NULL, SS, NS, BS}
		if depth > 0 {
			kinds = append(kinds, M, L)
		}
		text := rapid.StringN(0, 8, 32)
		switch k := rapid.SampledFrom(kinds).Draw(t, "kind"); k {
		case S, B:
			return Value{Kind: k, Str: text.Draw(t, "text")}
		case N:
			return Number(numberText(t, "n"))
		case BOOL:
			return Bool(rapid.Bool().Draw(t, "bool"))
		case NULL:
			return Null()
		case NS:
			return Value{Kind: NS, Set: rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) string { return Number(numberText(t, "n")).Str }), 1, 4, rapid.ID).Draw(t, "set")}
		case SS, BS:
			return Value{Kind: k, Set: rapid.SliceOfNDistinct(text, 1, 4, rapid.ID).Draw(t, "set")}
		case L:
			return Value{Kind: L, List: rapid.SliceOfN(genValue(depth-1), 0, 3).Draw(t, "list")}
		}
		return Value{Kind: M, Map: genItem(depth-1).Draw(t, "map")}
	})
}

func genItem(depth int) *rapid.Generator[Map] {
	return rapid.Custom(func(t *rapid.T) Map {
		m := Map{}
		for name, v := range rapid.MapOfN(rapid.StringN(1, 6, 24), genValue(depth), 0, 5).Draw(t, "item") {
			m = m.With(name, v)
		}
		return m
	})
}

// What is written reads back as it was, from outside and from the store, and is
// JSON that the standard library reads too.
func TestWireRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		item := genItem(3).Draw(t, "item")
		wire := AppendItem(nil, item)
		if !json.Valid(wire) {
			t.Fatalf("not JSON: %s", wire)
		}
		for name, read := range map[string]func([]byte) (Map, error){"ParseItem": ParseItem, "DecodeItem": DecodeItem} {
			back, err := read(wire)
			if err != nil || !Equal(Value{Kind: M, Map: item}, Value{Kind: M, Map: back}) {
				t.Fatalf("%s(%s): %v", name, wire, err)
			}
			if again := AppendItem(nil, back); !bytes.Equal(again, wire) {
				t.Fatalf("%s\n%s", wire, again)
			}
		}
	})
}

func TestReadErrors(t *testing.T) {
	deep := func(n int) string {
		return `{"a":` + strings.Repeat(`{"L":[`, n) + `{"S":"x"}` + strings.Repeat(`]}`, n) + `}`
	}
	for in, want := range map[string]string{
		`{"a":{}}`:                     "ValidationException Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
		`{"a":{"X":"1"}}`:              "ValidationException Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
		`{"a":{"S":"1","N":"1"}}`:      "ValidationException Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes",
		`{"a":{"N":"x"}}`:              "ValidationException The parameter cannot be converted to a numeric value: x",
		`{"a":{"NULL":false}}`:         "ValidationException One or more parameter values were invalid: Null attribute value types must have the value of true",
		`{"a":{"SS":[]}}`:              "ValidationException One or more parameter values were invalid: An string set  may not be empty",
		`{"a":{"NS":[]}}`:              "ValidationException One or more parameter values were invalid: An number set  may not be empty",
		`{"a":{"BS":[]}}`:              "ValidationException One or more parameter values were invalid: Binary sets should not be empty",
		`{"a":{"SS":["a","b","a"]}}`:   "ValidationException One or more parameter values were invalid: Input collection [a, b, a] contains duplicates.",
		`{"a":{"NS":["1","1.0"]}}`:     "ValidationException Input collection contains duplicates",
		`{"a":{"BS":["AQ==","AQ=="]}}`: "ValidationException One or more parameter values were invalid: Input collection [AQ==, AQ==]of type BS contains duplicates.",
		deep(33):                       "ValidationException Nesting Levels have exceeded supported limits",
		`{"a":{"S":1}}`:                "SerializationException NUMBER_VALUE cannot be converted to String",
		`{"a":{"S":true}}`:             "SerializationException TRUE_VALUE cannot be converted to String",
		`{"a":{"S":{}}}`:               "SerializationException Start of structure or map found where not expected.",
		`{"a":{"BOOL":"x"}}`:           "SerializationException STRING_VALUE cannot be converted to Boolean",
		`{"a":{"B":"*"}}`:              `SerializationException Invalid Base64: "*" is not base64`,
		`{"a":[1]}`:                    "SerializationException Start of list found where not expected",
		`{"a":{"SS":{}}}`:              "SerializationException Start of structure or map found where not expected.",
		`{"a":5}`:                      "SerializationException Unexpected field type",
		`{`:                            "SerializationException bad request",
		`{"a":{"S":"x"},}`:             "SerializationException bad request",
		`{"a":{"S":"x"}} x`:            "SerializationException bad request",
		"{\"a\":{\"S\":\"\x01\"}}":     "SerializationException bad request",
		"{\"a\":{\"S\":\"\xff\"}}":     "SerializationException bad request",
		`{"a":{"S":"\q"}}`:             "SerializationException bad request",
	} {
		_, err := ParseItem([]byte(in))
		var e *fault.Error
		if !errors.As(err, &e) || e.AWSType()+" "+fault.Message(err) != want {
			t.Errorf("%s: %v, want %s", in, err, want)
		}
	}
	if _, err := ParseItem([]byte(deep(32))); err != nil {
		t.Errorf("32 levels: %v", err)
	}
}

// A broken rule does not stop the reading: what follows in the request is still
// understood, and the finding names the member.
func TestBrokenRuleIsKeptForItsTurn(t *testing.T) {
	r := NewReader([]byte(`[{"ok":{"S":"1"},"bad":{"M":{"x":{"N":"one"}}}}, 7]`))
	var doc Document
	n := int64(0)
	r.Array(func() {
		if r.Peek() == '{' {
			doc = r.ReadItem()
		} else {
			n = r.Int()
		}
	})
	if r.Err() != nil || n != 7 || doc.At != "bad" || doc.Invalid == nil {
		t.Fatal(r.Err(), n, doc)
	}
}

func TestEmptyValuesAreValues(t *testing.T) {
	m, err := ParseItem([]byte(`{"s":{"S":""},"b":{"B":""},"l":{"L":[]},"m":{"M":{}},"null":{"NULL":true},"n":{"N":7}}`))
	if err != nil || len(m) != 6 {
		t.Fatal(m, err)
	}
	if v, _ := m.Get("n"); v.Str != "7" {
		t.Fatal("a JSON number in N:", v)
	}
}

// The sizes are those of the worked examples in DynamoDB's documentation: 3
// bytes for a list or map, one more per element.
func TestSizes(t *testing.T) {
	for wire, want := range map[string]int{
		`{"a":{"S":"äb"}}`:                               1 + 3,
		`{"a":{"N":"0"}}`:                                1 + 1,
		`{"a":{"N":"123"}}`:                              1 + 3,
		`{"a":{"N":"-123"}}`:                             1 + 4,
		`{"a":{"N":"100000"}}`:                           1 + 2,
		`{"a":{"N":"0.0012"}}`:                           1 + 2,
		`{"a":{"B":"AQID"}}`:                             1 + 3,
		`{"a":{"BOOL":true},"b":{"NULL":true}}`:          1 + 1 + 1 + 1,
		`{"a":{"L":[]}}`:                                 1 + 3,
		`{"a":{"L":[{"S":"x"},{"S":"y"}]}}`:              1 + 3 + 2 + 2,
		`{"a":{"M":{"k":{"S":"x"}}}}`:                    1 + 3 + 1 + 1 + 1,
		`{"ab":{"SS":["x","yz"]},"c":{"NS":["1","22"]}}`: 2 + 3 + 1 + 4,
	} {
		m, err := ParseItem([]byte(wire))
		if err != nil || m.Size() != want {
			t.Errorf("%s: %d bytes, want %d (%v)", wire, m.Size(), want, err)
		}
	}
}

func TestEqualIgnoresTheOrderOfSetsOnly(t *testing.T) {
	a := Value{Kind: SS, Set: []string{"x", "y"}}
	b := Value{Kind: SS, Set: []string{"y", "x"}}
	if !Equal(a, b) || Equal(a, Value{Kind: BS, Set: a.Set}) {
		t.Fatal("sets")
	}
	l := Value{Kind: L, List: []Value{String("x"), String("y")}}
	r := Value{Kind: L, List: []Value{String("y"), String("x")}}
	if Equal(l, r) || !Equal(l, l) {
		t.Fatal("lists")
	}
	if Equal(String("1"), Number("1")) {
		t.Fatal("types")
	}
}

func TestWithAndWithoutCopy(t *testing.T) {
	m := Item(Member{"b", String("1")}, Member{"a", String("2")})
	before := AppendItem(nil, m)
	m.With("a", Null())
	m.With("aa", Null())
	m.Without("b")
	if !bytes.Equal(before, AppendItem(nil, m)) {
		t.Fatal("the original changed")
	}
	got := m.With("aa", Null()).Without("b")
	if !reflect.DeepEqual(got, Item(Member{"aa", Null()}, Member{"a", String("2")})) {
		t.Fatal(got)
	}
}

func FuzzParseItem(f *testing.F) {
	for _, s := range []string{`{"a":{"S":"\ud83d\ude00\n"}}`, `{"a":{"M":{"b":{"L":[{"N":"1e5"}]}}}}`, `{"a":{"SS":["x"]},"a":{"NULL":true}}`, `null`, `{"a":{"B":"AA=="}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseItem(b)
		if err != nil {
			return
		}
		if !json.Valid(b) {
			t.Fatalf("accepted what is not JSON: %q", b)
		}
		back, err := DecodeItem(AppendItem(nil, m))
		if err != nil || !Equal(Value{Kind: M, Map: m}, Value{Kind: M, Map: back}) {
			t.Fatalf("%q: %v", b, err)
		}
	})
}

func BenchmarkParseItem(b *testing.B) {
	wire := []byte(`{"pk":{"S":"t17"},"sk":{"S":"conn4711"},"at":{"N":"1700000000"},"who":{"S":"user-4711"}}`)
	for b.Loop() {
		if _, err := ParseItem(wire); err != nil {
			b.Fatal(err)
		}
	}
}
