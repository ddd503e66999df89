package livegate_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/livegate/livegate/"

// floors lists the packages from the ground up; ARCHITECTURE.md §3 draws the same
// picture. A package may import floors strictly below its own: never upward,
// never sideways.
var floors = [][]string{
	0: {"fault", "id", "clock", "frame", "bound", "topic", "meter", "selection", "attr", "cfn", "sigv4", "localca", "terminal", "parity", "vtl", "iam", "schema"},
	1: {"model", "dynexpr"},
	2: {"event", "client"},
	3: {"conn", "registry", "fanout", "runtime", "integration", "authz", "table", "storage", "stack", "frontdoor"},
	4: {"gateway", "connapi", "awsapi", "intercept", "control", "console", "devguard"},
	5: {"app"},
}

// bedrock lies under floor 0: an error without a kind would have to be classified
// again by everybody above, so the ground packages may use it too (ADR 0001).
const bedrock = "fault"

// soleImporter names the only package that may touch each big dependency, so
// that replacing one is a change in one place.
var soleImporter = map[string]string{
	"go.etcd.io/bbolt":                      "storage",
	"golang.org/x/sys/unix":                 "conn",
	"github.com/evanw/esbuild":              "runtime",
	"go.yaml.in/yaml/v3":                    "cfn",
	"github.com/fsnotify/fsnotify":          "app",
	"github.com/klauspost/compress":         "frame",
	"github.com/prometheus/client_golang":   "meter",
	"github.com/santhosh-tekuri/jsonschema": "schema",
	"github.com/coreos/go-oidc":             "authz",
}

type pkg struct {
	ImportPath string
	Imports    []string
	GoFiles    []string
	Doc        string
}

// list returns the module's packages as the go command sees them, tests excluded.
func list(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,GoFiles,Doc", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []pkg
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// room is the internal package a path belongs to: "awsapi" for
// ".../internal/awsapi/sts"; "" outside internal.
func room(path string) string {
	rest, ok := strings.CutPrefix(path, module+"internal/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

func floorOf(name string) int {
	for n, rooms := range floors {
		if slices.Contains(rooms, name) {
			return n
		}
	}
	return -1
}

func TestPackagesImportStrictlyDownward(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range list(t) {
		from := room(p.ImportPath)
		if from == "" {
			continue // cmd, tests and examples may import anything
		}
		seen[from] = true
		if floorOf(from) < 0 {
			t.Errorf("%s stands on no floor: add it to ARCHITECTURE.md §3 and to this test", p.ImportPath)
		}
		for _, imp := range p.Imports {
			to := room(imp)
			if to == "" || to == from || to == bedrock {
				continue
			}
			if floorOf(to) >= floorOf(from) {
				t.Errorf("%s (floor %d) imports %s (floor %d): imports go strictly downward",
					p.ImportPath, floorOf(from), imp, floorOf(to))
			}
		}
	}
	for n, rooms := range floors {
		for _, name := range rooms {
			if !seen[name] {
				t.Errorf("floor %d lists %q, which does not exist", n, name)
			}
		}
	}
}

func TestOneImporterPerBigDependency(t *testing.T) {
	for _, p := range list(t) {
		for _, imp := range p.Imports {
			for dep, owner := range soleImporter {
				if (imp == dep || strings.HasPrefix(imp, dep+"/")) && room(p.ImportPath) != owner {
					t.Errorf("%s imports %s; only internal/%s may", p.ImportPath, imp, owner)
				}
			}
		}
	}
}

func TestEveryPackageHasOneDoc(t *testing.T) {
	for _, p := range list(t) {
		if room(p.ImportPath) != "" && len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}
