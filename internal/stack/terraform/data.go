package terraform

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/livegate/livegate/internal/cfn"
)

// dataValue answers for a data source.
func (i *instance) dataValue(name string) (cty.Value, bool) {
	region, account := i.mod.res.Region, i.mod.AccountID
	fixed := map[string]map[string]string{
		"aws_caller_identity": {"account_id": account, "id": account, "arn": "arn:aws:iam::" + account + ":user/livegate", "user_id": account},
		"aws_region":          {"name": region, "id": region, "region": region, "endpoint": "ec2." + region + ".amazonaws.com", "description": region},
		"aws_partition":       {"partition": "aws", "id": "aws", "dns_suffix": "amazonaws.com", "reverse_dns_prefix": "com.amazonaws"},
	}
	if values, ok := fixed[i.typ]; ok {
		if v, ok := values[name]; ok {
			return cty.StringVal(v), true
		}
	}
	if a := i.block.Body.Attributes[name]; a != nil {
		return i.mod.eval(a.Expr, i.scope)
	}
	switch i.typ {
	case "archive_file":
		return i.mod.fingerprint(name, i.address()), true
	case "aws_iam_policy_document":
		return cty.StringVal(`{"Version":"2012-10-17","Statement":[]}`), true // nothing here decides by it
	case "template_file":
		if name == "rendered" {
			return i.rendered()
		}
	}
	if !strings.HasPrefix(i.typ, "aws_iam_") && i.typ != "aws_availability_zones" && !i.mod.warned["data."+i.typ] {
		i.mod.warned["data."+i.typ] = true
		i.mod.problem(cfn.Warning, "terraform", i.mod.pos(i.block.DefRange()), "Its attributes are made-up values.", "The data source "+i.typ+" is not understood: "+i.address()+".")
	}
	return cty.StringVal(i.madeUp(name)), true
}

// fingerprint stands for a hash of a file that only apply makes.
func (l *loader) fingerprint(kind, of string) cty.Value {
	sum := sha256.Sum256([]byte(of))
	switch {
	case strings.Contains(kind, "base64"):
		return cty.StringVal(base64.StdEncoding.EncodeToString(sum[:]))
	case kind == "output_size":
		return cty.NumberIntVal(0)
	}
	return cty.StringVal(hex.EncodeToString(sum[:]))
}

// rendered is the text of a template_file.
func (i *instance) rendered() (cty.Value, bool) {
	a := i.block.Body.Attributes["template"]
	if a == nil {
		return cty.StringVal(""), true
	}
	v, ok := i.mod.eval(a.Expr, i.scope)
	if !ok || v.Type() != cty.String || v.IsNull() {
		return v, ok
	}
	vars := map[string]cty.Value{}
	if given := i.block.Body.Attributes["vars"]; given != nil {
		g, ok := i.mod.eval(given.Expr, i.scope)
		if !ok {
			return g, false
		}
		if !g.IsNull() && g.CanIterateElements() {
			vars = g.AsValueMap()
		}
	}
	return i.mod.template(v.AsString(), i.mod.Show(a.SrcRange.Filename), vars, a.SrcRange)
}

// template renders text with ${…} and %{…}.
func (m *module) template(text, name string, vars map[string]cty.Value, where hcl.Range) (cty.Value, bool) {
	e, diags := hclsyntax.ParseTemplate([]byte(text), name, hcl.InitialPos)
	if diags.HasErrors() {
		m.diagnostics(diags, where)
		return cty.DynamicVal, false
	}
	v, diags := safely(e, &hcl.EvalContext{Variables: vars, Functions: m.functions()})
	if diags.HasErrors() {
		m.diagnostics(diags, where)
		return cty.DynamicVal, false
	}
	return v, true
}

// generated answers for resources that exist in Terraform's state only. Their
// values depend on the name, so that a restart finds the same.
func (i *instance) generated(name string) (cty.Value, bool) {
	if !strings.HasPrefix(i.typ, "random_") || i.block.Body.Attributes[name] != nil {
		return cty.NilVal, false
	}
	sum := sha256.Sum256([]byte(i.typ + i.mod.name + i.name + i.key))
	number := func(attr string, def int64) int64 {
		if n := i.get(attr); n.Scalar() {
			var v int64
			if _, err := fmt.Sscan(n.Text, &v); err == nil && v > 0 && v <= 1024 {
				return v
			}
		}
		return def
	}
	switch i.typ {
	case "random_string", "random_password":
		if name == "result" || name == "id" {
			return cty.StringVal(letters(sum[:], int(number("length", 16)))), true
		}
	case "random_id":
		n := min(int(number("byte_length", 8)), len(sum))
		switch name {
		case "hex":
			return cty.StringVal(i.plain("prefix") + hex.EncodeToString(sum[:n])), true
		case "dec":
			return cty.StringVal(i.plain("prefix") + new(big.Int).SetBytes(sum[:n]).String()), true
		case "id", "b64_url":
			return cty.StringVal(i.plain("prefix") + base64.RawURLEncoding.EncodeToString(sum[:n])), true
		}
	case "random_pet":
		if name == "id" {
			words := []string{"amber", "brisk", "calm", "dapper", "eager", "fond", "gentle", "hardy"}
			animals := []string{"ant", "bee", "cat", "dove", "elk", "fox", "gull", "hare"}
			pet := words[sum[0]%8] + "-" + animals[sum[1]%8]
			if prefix := i.plain("prefix"); prefix != "" {
				pet = prefix + "-" + pet
			}
			return cty.StringVal(pet), true
		}
	case "random_uuid":
		if name == "id" || name == "result" {
			return cty.StringVal(fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])), true
		}
	case "random_integer":
		if name == "result" || name == "id" {
			return cty.NumberIntVal(number("min", 1)), true
		}
	}
	return cty.NilVal, false
}

func letters(sum []byte, n int) string {
	const from = "abcdefghijklmnopqrstuvwxyz0123456789"
	out := make([]byte, n)
	for k := range out {
		out[k] = from[int(sum[k%len(sum)]+byte(k/len(sum)))%len(from)]
	}
	return string(out)
}
