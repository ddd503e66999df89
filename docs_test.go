package livegate_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every compatibility claim names the test that proves it; a renamed test would
// leave a claim that nothing holds up.
func TestEveryProofNamedInDocsExists(t *testing.T) {
	out, err := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "*_test.go").Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Example|Benchmark)\w+)`)
	exists := map[string]bool{} // "package.TestName"
	for _, file := range strings.Fields(string(out)) {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // deleted, not committed yet
		}
		for _, m := range declared.FindAllStringSubmatch(string(text), -1) {
			exists[filepath.Base(filepath.Dir(file))+"."+m[1]] = true
		}
	}
	files, err := filepath.Glob("docs/compat/*.md")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files in docs/compat (%v)", len(files), err)
	}
	// `package.TestName/case`; later names in the same cell may leave the package out.
	proof := regexp.MustCompile("`(?:([a-z0-9]+)\\.)?((?:Test|Fuzz)\\w+)(?:/[^`]*)?`")
	claims := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for n, line := range strings.Split(string(text), "\n") {
			pkg := ""
			for _, m := range proof.FindAllStringSubmatch(line, -1) {
				if m[1] != "" {
					pkg = m[1]
				}
				claims++
				if !exists[pkg+"."+m[2]] {
					t.Errorf("%s:%d names %s.%s, which does not exist", file, n+1, pkg, m[2])
				}
			}
		}
	}
	if claims < 100 {
		t.Errorf("only %d proofs found: has the table's form changed?", claims)
	}
}

func TestEveryDependencyHasItsReason(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	adr, err := os.ReadFile("docs/adr/0002-dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	direct := regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllStringSubmatch(string(mod), -1)
	if len(direct) < 10 {
		t.Fatalf("%d direct dependencies found in go.mod", len(direct))
	}
	for _, m := range direct {
		if !strings.Contains(string(adr), "`"+m[1]+"`") {
			t.Errorf("%s has no line in docs/adr/0002-dependencies.md: why this one?", m[1])
		}
	}
}
