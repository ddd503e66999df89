package stack

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/stack/terraform"
)

// terraform reads a directory of Terraform files as the template that it would
// be.
func (b *builder) terraform(dir string, given map[string]string) (*origin, error) {
	variables := map[string]string{}
	for name, v := range given {
		variables[name] = v
	}
	for name, v := range b.opts.Parameters {
		variables[name] = v
	}
	r := terraform.Load(terraform.Config{
		Dir: dir, Show: b.shown, Variables: variables, Region: b.opts.Region, AccountID: orElse(b.opts.AccountID, defaultAccount),
		Read: b.read,
		List: func(dir string) ([]string, error) {
			entries, err := os.ReadDir(dir)
			var names []string
			for _, e := range entries {
				if !e.IsDir() {
					names = append(names, e.Name())
				}
			}
			return names, err
		},
	})
	for _, p := range r.Problems {
		b.add(fromProblem(p))
	}
	b.opts.Parameters = nil // they were Terraform's
	return &origin{roots: []root{{path: filepath.Join(dir, "main.tf"), tree: r.Tree}}, region: r.Region}, nil
}

// isPlan reports whether a JSON file is a plan as `terraform show -json` prints
// it.
func isPlan(data []byte) bool {
	var p struct {
		FormatVersion string          `json:"format_version"`
		Planned       json.RawMessage `json:"planned_values"`
	}
	return json.Unmarshal(data, &p) == nil && p.FormatVersion != "" && p.Planned != nil
}

// plan reads a plan: the values that it gives to variables, and the configuration
// beside it. A plan alone does not hold the texts around references to what does
// not exist yet ("integrations/${…}"), so it cannot be read without.
func (b *builder) plan(path string, data []byte) (*origin, error) {
	var p struct {
		Variables map[string]struct{ Value json.RawMessage }
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fault.New(fault.BadRequest, "%s is not a plan: %v; print it again: terraform show -json PLAN", b.shown(path), err)
	}
	dir := filepath.Dir(path)
	if found, _ := filepath.Glob(filepath.Join(dir, "*.tf")); len(found) == 0 {
		return nil, fault.New(fault.BadRequest, "%s: the configuration that the plan was made of is not beside it; keep the plan in the directory of the .tf files", b.shown(path))
	}
	given := map[string]string{}
	for name, v := range p.Variables {
		var text string
		if json.Unmarshal(v.Value, &text) != nil {
			text = string(v.Value) // JSON of numbers, booleans and collections is HCL
		}
		if string(v.Value) != "null" && len(v.Value) > 0 {
			given[name] = text
		}
	}
	return b.terraform(dir, given)
}
