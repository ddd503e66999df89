package terraform

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// functions are Terraform's, but for those of networks, dates and encryption.
func (m *module) functions() map[string]function.Function {
	if m.funcs != nil {
		return m.funcs
	}
	out := map[string]function.Function{
		"abs": stdlib.AbsoluteFunc, "ceil": stdlib.CeilFunc, "chomp": stdlib.ChompFunc, "chunklist": stdlib.ChunklistFunc, "coalesce": stdlib.CoalesceFunc,
		"coalescelist": stdlib.CoalesceListFunc, "compact": stdlib.CompactFunc, "concat": stdlib.ConcatFunc, "contains": stdlib.ContainsFunc, "csvdecode": stdlib.CSVDecodeFunc,
		"distinct": stdlib.DistinctFunc, "element": stdlib.ElementFunc, "flatten": stdlib.FlattenFunc, "floor": stdlib.FloorFunc, "format": stdlib.FormatFunc,
		"formatlist": stdlib.FormatListFunc, "indent": stdlib.IndentFunc, "index": stdlib.IndexFunc, "join": stdlib.JoinFunc, "jsondecode": stdlib.JSONDecodeFunc,
		"jsonencode": stdlib.JSONEncodeFunc, "keys": stdlib.KeysFunc, "length": lengthFunc, "log": stdlib.LogFunc, "lookup": stdlib.LookupFunc, "lower": stdlib.LowerFunc,
		"max": stdlib.MaxFunc, "merge": stdlib.MergeFunc, "min": stdlib.MinFunc, "parseint": stdlib.ParseIntFunc, "pow": stdlib.PowFunc, "range": stdlib.RangeFunc,
		"regex": stdlib.RegexFunc, "regexall": stdlib.RegexAllFunc, "replace": replaceFunc, "reverse": stdlib.ReverseListFunc, "setintersection": stdlib.SetIntersectionFunc,
		"setproduct": productFunc, "setsubtract": stdlib.SetSubtractFunc, "setunion": stdlib.SetUnionFunc, "signum": stdlib.SignumFunc, "slice": stdlib.SliceFunc,
		"sort": stdlib.SortFunc, "split": stdlib.SplitFunc, "strrev": stdlib.ReverseFunc, "substr": stdlib.SubstrFunc, "title": stdlib.TitleFunc, "trim": stdlib.TrimFunc,
		"trimprefix": stdlib.TrimPrefixFunc, "trimspace": stdlib.TrimSpaceFunc, "trimsuffix": stdlib.TrimSuffixFunc, "upper": stdlib.UpperFunc, "values": stdlib.ValuesFunc,
		"zipmap": stdlib.ZipmapFunc, "try": tryfunc.TryFunc, "can": tryfunc.CanFunc,
		"tostring": to(cty.String), "tonumber": to(cty.Number), "tobool": to(cty.Bool), "toset": to(cty.Set(cty.DynamicPseudoType)),
		"tolist": to(cty.List(cty.DynamicPseudoType)), "tomap": to(cty.Map(cty.DynamicPseudoType)), "sensitive": same, "nonsensitive": same, "one": oneFunc,
		"startswith": test(strings.HasPrefix), "endswith": test(strings.HasSuffix), "strcontains": test(strings.Contains),
		"basename": text(func(s string) (string, error) { return path.Base(s), nil }), "dirname": text(func(s string) (string, error) { return path.Dir(s), nil }),
		"abspath": text(func(s string) (string, error) { return m.abs(s), nil }), "pathexpand": text(func(s string) (string, error) { return s, nil }),
		"base64encode": text(func(s string) (string, error) {
			if strings.ContainsRune(s, open) {
				return "", errors.New("the text holds a value that is known only after apply, which cannot be encoded here")
			}
			return base64.StdEncoding.EncodeToString([]byte(s)), nil
		}),
		"filebase64": text(func(s string) (string, error) {
			data, err := m.Read(m.abs(s))
			return base64.StdEncoding.EncodeToString(data), err
		}),
		"base64decode": text(func(s string) (string, error) {
			b, err := base64.StdEncoding.DecodeString(s)
			return string(b), err
		}),
		"md5":    text(func(s string) (string, error) { return hex.EncodeToString(md5sum(s)), nil }),
		"sha1":   text(func(s string) (string, error) { return hex.EncodeToString(sha1sum(s)), nil }),
		"sha256": text(func(s string) (string, error) { return hex.EncodeToString(sha256sum(s)), nil }),
		"base64sha256": text(func(s string) (string, error) {
			return base64.StdEncoding.EncodeToString(sha256sum(s)), nil
		}),
		"file": text(func(s string) (string, error) {
			data, err := m.Read(m.abs(s))
			return string(data), err
		}),
		"fileexists": function.New(&function.Spec{Params: []function.Parameter{{Name: "path", Type: cty.String}}, Type: function.StaticReturnType(cty.Bool),
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				_, err := m.Read(m.abs(args[0].AsString()))
				return cty.BoolVal(err == nil), nil
			}}),
		"fileset": m.fileset(),
	}
	for _, name := range []string{"filemd5", "filesha1", "filesha256", "filebase64sha256", "filesha512", "filebase64sha512"} {
		// The file may be one that apply makes (an archive): its hash decides nothing.
		out[name] = text(func(s string) (string, error) { return m.fingerprint(name, s).AsString(), nil })
	}
	m.funcs = out
	out["templatefile"] = m.templatefile()
	return out
}

func (m *module) abs(p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(m.Dir, filepath.FromSlash(p))
}

func (m *module) templatefile() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "path", Type: cty.String}, {Name: "vars", Type: cty.DynamicPseudoType}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			file := m.abs(args[0].AsString())
			data, err := m.Read(file)
			if err != nil {
				return cty.DynamicVal, err
			}
			if m.loader.depth >= maxDepth {
				return cty.DynamicVal, errors.New("templates include each other too deeply")
			}
			m.loader.depth++
			defer func() { m.loader.depth-- }()
			vars := map[string]cty.Value{}
			if v := args[1]; !v.IsNull() && v.CanIterateElements() && (v.Type().IsObjectType() || v.Type().IsMapType()) {
				vars = v.AsValueMap()
			}
			v, ok := m.template(string(data), file, vars, hcl.Range{Filename: file, Start: hcl.InitialPos})
			if !ok {
				return cty.DynamicVal, fmt.Errorf("%s cannot be rendered", m.Show(file))
			}
			return convert.Convert(v, cty.String)
		}})
}

func (m *module) fileset() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "path", Type: cty.String}, {Name: "pattern", Type: cty.String}},
		Type:   function.StaticReturnType(cty.Set(cty.String)),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			pattern := args[1].AsString()
			if strings.Contains(pattern, "/") {
				return cty.DynamicVal, errors.New("a pattern with directories is not understood")
			}
			names, err := m.List(m.abs(args[0].AsString()))
			if err != nil {
				return cty.DynamicVal, err
			}
			var out []cty.Value
			for _, n := range names {
				if ok, err := path.Match(pattern, n); err != nil {
					return cty.DynamicVal, err
				} else if ok {
					out = append(out, cty.StringVal(n))
				}
			}
			if len(out) == 0 {
				return cty.SetValEmpty(cty.String), nil
			}
			return cty.SetVal(out), nil
		}})
}

// text is a function from text to text.
func text(f func(string) (string, error)) function.Function {
	return function.New(&function.Spec{Params: []function.Parameter{{Name: "text", Type: cty.String}}, Type: function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			s, err := f(args[0].AsString())
			return cty.StringVal(s), err
		}})
}

func test(f func(s, with string) bool) function.Function {
	return function.New(&function.Spec{Params: []function.Parameter{{Name: "text", Type: cty.String}, {Name: "with", Type: cty.String}}, Type: function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.BoolVal(f(args[0].AsString(), args[1].AsString())), nil
		}})
}

func md5sum(s string) []byte    { b := md5.Sum([]byte(s)); return b[:] }
func sha1sum(s string) []byte   { b := sha1.Sum([]byte(s)); return b[:] }
func sha256sum(s string) []byte { b := sha256.Sum256([]byte(s)); return b[:] }

// to converts to a type, or to the collection type that fits.
func to(want cty.Type) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "v", Type: cty.DynamicPseudoType, AllowNull: true}},
		Type: func(args []cty.Value) (cty.Type, error) {
			v, err := convert.Convert(args[0], want)
			if err != nil {
				return cty.NilType, function.NewArgError(0, err)
			}
			return v.Type(), nil
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return convert.Convert(args[0], want) }})
}

var same = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "v", Type: cty.DynamicPseudoType, AllowNull: true}},
	Type:   func(args []cty.Value) (cty.Type, error) { return args[0].Type(), nil },
	Impl:   func(args []cty.Value, _ cty.Type) (cty.Value, error) { return args[0], nil }})

// lengthFunc counts elements, or the characters of a text.
var lengthFunc = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "v", Type: cty.DynamicPseudoType}},
	Type:   function.StaticReturnType(cty.Number),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		switch v := args[0]; {
		case v.Type() == cty.String:
			return stdlib.Strlen(v)
		case v.CanIterateElements():
			return cty.NumberIntVal(int64(v.LengthInt())), nil
		}
		return cty.DynamicVal, function.NewArgErrorf(0, "a text or a collection is needed")
	}})

// oneFunc is the only element of a list, or null.
var oneFunc = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "list", Type: cty.DynamicPseudoType}},
	Type:   function.StaticReturnType(cty.DynamicPseudoType),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		v := args[0]
		if !v.CanIterateElements() || v.LengthInt() > 1 {
			return cty.DynamicVal, function.NewArgErrorf(0, "a list with one element, or none, is needed")
		}
		for it := v.ElementIterator(); it.Next(); {
			_, e := it.Element()
			return e, nil
		}
		return cty.NullVal(cty.DynamicPseudoType), nil
	}})

// replaceFunc takes a pattern between slashes as a regular expression.
var replaceFunc = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "text", Type: cty.String}, {Name: "old", Type: cty.String}, {Name: "new", Type: cty.String}},
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		if old := args[1].AsString(); len(old) > 1 && strings.HasPrefix(old, "/") && strings.HasSuffix(old, "/") {
			return stdlib.RegexReplace(args[0], cty.StringVal(old[1:len(old)-1]), args[2])
		}
		return stdlib.Replace(args[0], args[1], args[2])
	}})

const maxProduct = 10_000 // elements that setproduct makes

// productFunc is setproduct with a bound: three lists of a thousand would be 24 GB.
var productFunc = function.New(&function.Spec{
	VarParam: &function.Parameter{Name: "sets", Type: cty.DynamicPseudoType},
	Type: func(args []cty.Value) (cty.Type, error) {
		total := 1
		for _, a := range args {
			if a.IsKnown() && !a.IsNull() && a.CanIterateElements() {
				total *= a.LengthInt()
			}
			if total > maxProduct {
				return cty.NilType, fmt.Errorf("the product has more than %d elements", maxProduct)
			}
		}
		return stdlib.SetProductFunc.ReturnTypeForValues(args)
	},
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return stdlib.SetProductFunc.Call(args) }})
