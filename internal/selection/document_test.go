package selection

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

func TestPaths(t *testing.T) {
	a, err := txtar.ParseFile(filepath.Join("testdata", "path.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range a.Files {
		t.Run(f.Name, func(t *testing.T) {
			line := map[string]string{}
			for l := range strings.Lines(string(f.Data)) {
				key, value, _ := strings.Cut(strings.TrimSuffix(l, "\n"), ":")
				line[key] = strings.TrimPrefix(value, " ")
			}
			p, err := CompilePath(line["path"])
			if want, bad := line["want error"]; bad {
				checkError(t, err, want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			doc := []byte(line["doc"])
			if !ValidJSON(doc) {
				t.Fatalf("%s is no JSON", doc)
			}
			got, found := p.Append([]byte("<"), doc)
			want, there := line["want"]
			if found != there || string(got) != "<"+strings.TrimPrefix(want, " ") {
				t.Fatalf("%s of %s = %q, %v; want %q", line["path"], doc, got, found, want)
			}
		})
	}
}

// The two ways of evaluating agree: a plain path, and the same written so that the
// library has to do it.
func TestFullPathsAgreeWithPlainOnes(t *testing.T) {
	doc := []byte(`{"a":[{"b":[1,"x",null,{"c":true}]},{"b":[]}],"d":{"e":"\ud83d\ude00"}}`)
	for plain, full := range map[string]string{
		"$.a[1].b": "$.a[-1].b", "$.a[0].b[3].c": "$.a[-2].b[-1].c", "$.a[0].b[1]": "$.a[0].b[-3]", "$.a[0].b[2]": "$.a[-2].b[-2]",
	} {
		p, err := CompilePath(plain)
		if err != nil {
			t.Fatal(err)
		}
		q, err := CompilePath(full)
		if err != nil {
			t.Fatal(err)
		}
		one, ok := p.Append(nil, doc)
		other, also := q.Append(nil, doc)
		if !ok || !also || string(one) != string(other) {
			t.Errorf("%s gives %s (%v), %s gives %s (%v)", plain, one, ok, full, other, also)
		}
	}
}

// A mapping source tells whether it needs an answer.
func TestMappingOfResponse(t *testing.T) {
	for source, want := range map[string]bool{
		"integration.response.header.X": true, "integration.response.body.a": true, "integration.response.statuscode": true,
		"'integration.response.header.X'": false, "context.stage": false, "route.request.body": false,
	} {
		m, err := CompileMapping(source)
		if err != nil {
			t.Fatal(err)
		}
		if m.Response() != want {
			t.Errorf("%s: %v", source, m.Response())
		}
	}
}
