// Command parity runs the tests and holds the compatibility table to them.
//
//	go run ./conformance/parity ./...          run go test; fail if a row's ✓ did not pass
//	go run ./conformance/parity -write ./...   … and record what passed, and write the page
//
// What it prints is what go test prints: a line per package, and the output of
// tests that failed.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/parity"
)

const (
	provedFile = "internal/parity/proved.txt"
	pageFile   = "docs/compat/websocket-api.md"
)

func main() {
	write := flag.Bool("write", false, "record what passed in "+provedFile+" and write "+pageFile)
	flag.Parse()
	if err := run(*write, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "parity:", err)
		os.Exit(1)
	}
}

func run(write bool, args []string) error {
	table, err := parity.Rows()
	if err != nil {
		return err
	}
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	r := newReport(parity.Proofs(table))
	readErr := r.read(out, os.Stdout)
	failed := errors.Join(readErr, cmd.Wait())
	if write {
		return errors.Join(failed, r.record())
	}
	if failed != nil {
		return failed
	}
	return r.hold(table)
}

// event is one line of test2json.
type event struct {
	Action, Package, Test, Output, ImportPath string
}

// report follows a test run.
type report struct {
	proofs   []string            // that the table names
	verdicts map[string]string   // proof → pass, fail, skip
	output   map[string][]string // package+test → its output, until it passes
	packages map[string]bool     // base names that were tested
}

func newReport(proofs []string) *report {
	return &report{proofs: proofs, verdicts: map[string]string{}, output: map[string][]string{}, packages: map[string]bool{}}
}

func (r *report) read(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(out, lines.Text()) // not of the test runner
			continue
		}
		r.take(e, out)
	}
	return lines.Err()
}

func (r *report) take(e event, out io.Writer) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		fmt.Fprint(out, e.Output)
	case "output":
		if e.Test != "" {
			r.output[key] = append(r.output[key], e.Output)
		} else if e.Output != "PASS\n" && !strings.HasSuffix(e.Output, "[no test files]\n") {
			fmt.Fprint(out, e.Output)
		}
	case "pass", "fail", "skip":
		r.packages[path.Base(e.Package)] = true
		if e.Test == "" {
			return
		}
		if e.Action == "fail" {
			fmt.Fprint(out, strings.Join(r.output[key], ""))
		}
		delete(r.output, key)
		r.judge(path.Base(e.Package)+"."+e.Test, e.Action)
	}
}

// judge gives the verdict to the proofs that mean this test: its name, or the
// beginning of it up to a "_" or "/" ("TestVectors/A1" is "TestVectors/A1_…").
// Of several the worst counts.
func (r *report) judge(test, verdict string) {
	for _, p := range r.proofs {
		rest, ok := strings.CutPrefix(test, p)
		if !ok || rest != "" && (!strings.Contains(p, "/") || !strings.ContainsAny(rest[:1], "_/,:")) {
			continue
		}
		if old := r.verdicts[p]; old != "fail" && (old != "skip" || verdict == "fail") {
			r.verdicts[p] = verdict
		}
	}
}

// hold compares what the table claims with what passed. Proofs whose package was
// not part of this run are left alone.
func (r *report) hold(table []parity.Row) error {
	var broken []string
	for i := range table {
		row := &table[i]
		if !row.Proved {
			continue
		}
		for _, p := range row.Proofs {
			pkg, _, _ := strings.Cut(p, ".")
			if v := r.verdicts[p]; v != "pass" && r.packages[pkg] {
				if v == "" {
					v = "does not exist"
				}
				broken = append(broken, fmt.Sprintf("row %s (%s): %s: %s", row.ID, row.Behaviour, p, v))
			}
		}
	}
	if len(broken) > 0 {
		return fmt.Errorf("the compatibility table claims what did not pass:\n  %s", strings.Join(broken, "\n  "))
	}
	return nil
}

// record writes what passed, and the page.
func (r *report) record() error {
	var passed []string
	for _, p := range r.proofs {
		switch v := r.verdicts[p]; v {
		case "pass":
			passed = append(passed, p)
		case "":
			fmt.Fprintln(os.Stderr, "parity: no such test was run:", p)
		default:
			fmt.Fprintf(os.Stderr, "parity: %s: %s\n", p, v)
		}
	}
	slices.Sort(passed)
	table, err := parity.With(passed)
	if err != nil {
		return err
	}
	if err := os.WriteFile(provedFile, []byte(strings.Join(passed, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "parity: %d rows, %d of %d proofs passed\n", len(table), len(passed), len(r.proofs))
	return os.WriteFile(pageFile, []byte(parity.Page(table)), 0o644)
}
