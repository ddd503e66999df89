package vtl

import (
	"encoding/base64"
	"net/url"
	"strings"
)

// testInput is $input over a parsed body; paths are of the form $.a.b.
type testInput struct{ body any }

func (in *testInput) Get(name string) (any, bool) {
	if name != "body" {
		return nil, false
	}
	b, err := AppendJSON(nil, in.body)
	return string(b), err == nil
}

func (in *testInput) Call(name string, args []any) (any, error) {
	path, ok := one[string](args)
	if !ok {
		return nil, ErrNoMethod
	}
	v := in.body
	for step := range strings.SplitSeq(path, ".") {
		if step == "$" {
			continue
		}
		m, ok := v.(*Map)
		if !ok {
			v = nil
			break
		}
		v, _ = m.Get(step)
	}
	switch name {
	case "path":
		return v, nil
	case "json":
		b, err := AppendJSON(nil, v)
		return string(b), err
	}
	return nil, ErrNoMethod
}

// testUtil is as much of $util as the golden templates need.
type testUtil struct{}

func (testUtil) Get(string) (any, bool) { return nil, false }

func (testUtil) Call(name string, args []any) (any, error) {
	switch {
	case name == "toJson" && len(args) == 1:
		b, err := AppendJSON(nil, args[0])
		return string(b), err
	case name == "isNull" && len(args) == 1:
		return args[0] == nil, nil
	case (name == "qr" || name == "quiet") && len(args) == 1:
		return "", nil
	case name == "nothing" && len(args) == 0:
		return nil, nil
	case name == "defaultIfNull" && len(args) == 2:
		if args[0] == nil {
			return args[1], nil
		}
		return args[0], nil
	}
	s, ok := one[string](args)
	if !ok {
		if len(args) == 1 && args[0] == nil {
			return nil, nil
		}
		return nil, ErrNoMethod
	}
	switch name {
	case "parseJson":
		return FromJSON([]byte(s))
	case "urlEncode":
		return url.QueryEscape(s), nil
	case "base64Encode":
		return base64.StdEncoding.EncodeToString([]byte(s)), nil
	case "escapeJavaScript":
		return strings.NewReplacer(`"`, `\"`, `'`, `\'`, `\`, `\\`, `/`, `\/`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s), nil
	}
	return nil, ErrNoMethod
}
