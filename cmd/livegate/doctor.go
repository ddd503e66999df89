package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/livegate/livegate/internal/terminal"
)

// States of a check.
const (
	stateOK      = "ok"
	stateMissing = "missing" // fine unless the application needs it
	stateProblem = "problem" // something will not work
)

// check is one thing that doctor looked at.
type check struct {
	Group  string `json:"group"`
	Name   string `json:"name"`
	State  string `json:"state"`
	Detail string `json:"detail"`
	Fix    string `json:"fix"` // "" when there is nothing to do
}

func (c *cli) doctorCommand() *cobra.Command {
	var asJSON bool
	var port int
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check tools, certificates, ports and limits, and say how to fix what is wrong",
		Args:  atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			checks, err := c.examine(cmd.Context(), port)
			if err != nil {
				return err
			}
			bad := 0
			for _, ch := range checks {
				if ch.State == stateProblem {
					bad++
				}
			}
			if asJSON {
				out := json.NewEncoder(c.out)
				out.SetIndent("", "  ")
				out.SetEscapeHTML(false)
				if err := out.Encode(struct {
					OK     bool    `json:"ok"`
					Checks []check `json:"checks"`
				}{bad == 0, checks}); err != nil {
					return err
				}
			} else {
				fmt.Fprint(c.out, diagnosis(c.look(c.out), checks, bad))
			}
			if bad > 0 {
				return errReported
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, `print {"ok": bool, "checks": […]}`)
	cmd.Flags().IntVarP(&port, "port", "p", 3001, "the port that dev will use")
	variable(cmd.Flags(), "port")
	return cmd
}

// examine runs every check, in the order they are shown.
func (c *cli) examine(ctx context.Context, port int) ([]check, error) {
	data, cache, err := c.dirs("")
	if err != nil {
		return nil, err
	}
	t := tools{ctx: ctx}
	list := t.checks()
	list = append(list, c.machine(data, cache, port)...)
	return append(list, c.trust(cache, t)...), nil
}

// diagnosis shows checks by group; fixes stand below what they fix.
func diagnosis(look terminal.Look, checks []check, bad int) string {
	p := page{look: look}
	group := ""
	for _, ch := range checks {
		if ch.Group != group {
			if group != "" {
				p.text("\n")
			}
			group = ch.Group
			p.text(look.Paint(terminal.Bold, group) + "\n")
		}
		mark, paint := "✓", terminal.Green
		switch ch.State {
		case stateMissing:
			mark, paint = "–", terminal.Dim
		case stateProblem:
			mark, paint = "✗", terminal.Red
		}
		t := terminal.Table{Indent: 2, Rows: [][]string{{mark, fmt.Sprintf("%-12s", ch.Name), ch.Detail}}, Paints: []terminal.Paint{paint}}
		p.text(t.Render(look))
		if ch.Fix != "" {
			p.text(terminal.Table{Indent: 5, Rows: [][]string{{"fix: " + ch.Fix}}, Paints: []terminal.Paint{terminal.Yellow}}.Render(look))
		}
	}
	if bad == 0 {
		p.text("\n" + look.Paint(terminal.Green, "Nothing is in the way.") + "\n")
	} else {
		p.text("\n" + look.Paint(terminal.Red, count(bad, "problem")) + " to fix.\n")
	}
	return p.b.String()
}

// tools asks installed programs for their versions.
type tools struct{ ctx context.Context }

// version runs a program and returns the first line it prints; "" when it is not
// installed, failed is why it did not answer.
func (t tools) version(name string, args ...string) (line string, failed error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(t.ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = os.TempDir() // a project's own tool versions must not decide
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	line, _, _ = strings.Cut(strings.TrimSpace(string(out)), "\n")
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", path, err, line)
	}
	return line, nil
}

// checks are the programs that functions and builds may need.
func (t tools) checks() []check {
	var list []check
	for _, tool := range []struct {
		name, need, fix string
		args            []string
		trim            string
	}{
		{"node", "Node.js functions", "install Node.js 18 or newer (nodejs.org, or your package manager)", []string{"--version"}, "v"},
		{"npm", "installing packages of Node.js functions", "install npm (it comes with Node.js)", []string{"--version"}, ""},
		{"python3", "Python functions", "install Python 3.9 or newer", []string{"--version"}, "Python "},
		{"go", "building Go functions", "install Go 1.22 or newer (go.dev/dl)", []string{"version"}, "go version "},
		{"openssl", "looking at certificates by hand", "install openssl", []string{"version"}, ""},
	} {
		ch := check{Group: "Tools", Name: tool.name, State: stateOK}
		line, err := t.version(tool.name, tool.args...)
		switch {
		case err != nil:
			ch.State, ch.Detail, ch.Fix = stateProblem, "does not run: "+err.Error(), "repair or remove this installation"
		case line == "":
			ch.State, ch.Detail, ch.Fix = stateMissing, "not installed; needed for "+tool.need, tool.fix
		default:
			ch.Detail = strings.TrimPrefix(line, tool.trim)
		}
		list = append(list, ch)
	}
	return append(list, t.boto3())
}

// boto3 is not a program; its version also decides whether AWS_ENDPOINT_URL works
// (added in botocore 1.31 / boto3 1.28).
func (t tools) boto3() check {
	ch := check{Group: "Tools", Name: "boto3", State: stateMissing, Detail: "not installed; needed for Python functions that use the AWS SDK and do not ship it",
		Fix: "python3 -m pip install boto3"}
	line, err := t.version("python3", "-c", "import boto3; print(boto3.__version__)")
	if err == nil && line != "" {
		ch.State, ch.Detail, ch.Fix = stateOK, line, ""
	}
	return ch
}
