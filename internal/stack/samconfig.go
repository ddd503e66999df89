package stack

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/livegate/livegate/internal/cfn"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

// config fills in options from samconfig.toml, what a packager knows, and
// defaults. Explicit options win, then the environment's deploy section, then its
// global section.
func (b *builder) config(p *origin, template string) error {
	b.given = map[string]*cfn.Node{}
	o := &b.opts
	path := o.ConfigFile
	if path == "" {
		path = filepath.Join(filepath.Dir(template), "samconfig.toml")
	} else if !filepath.IsAbs(path) {
		path = filepath.Join(o.Dir, path)
	}
	data, err := b.read(path)
	switch {
	case err == nil:
		b.samconfig(path, data)
	case o.ConfigFile != "":
		return &fault.Error{Kind: fault.NotFound, Msg: "cannot read the configuration file " + path, Err: err}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case o.ConfigEnv != "":
		b.add(Finding{Severity: Warning, Code: "samconfig", Message: fmt.Sprintf("There is no samconfig.toml, so the environment %s is not used.", quote(o.ConfigEnv)), Pos: model.Pos{File: b.shown(path)}})
	}
	for name, v := range o.Parameters {
		b.given[name] = cfn.Text(v, cfn.Pos{})
	}
	if p.stackName == "" {
		p.stackName = filepath.Base(filepath.Dir(template))
		if isDir(template) {
			p.stackName = filepath.Base(template)
		}
	}
	o.StackName = orElse(o.StackName, stackName(p.stackName))
	o.Region = orElse(o.Region, orElse(p.region, defaultRegion))
	o.AccountID = orElse(o.AccountID, orElse(p.account, defaultAccount))
	if len(p.ssm) > 0 {
		values := maps.Clone(p.ssm)
		maps.Copy(values, o.SSM)
		o.SSM = values
	}
	return nil
}

func (b *builder) samconfig(path string, data []byte) {
	at := model.Pos{File: b.shown(path), Line: 1}
	report := func(hint, format string, args ...any) {
		b.add(Finding{Severity: Error, Code: "samconfig", Message: fmt.Sprintf(format, args...), Hint: hint, Pos: at})
	}
	var all map[string]any
	if err := toml.Unmarshal(data, &all); err != nil {
		msg := err.Error()
		if d, ok := errors.AsType[*toml.DecodeError](err); ok {
			at.Line, at.Col = d.Position()
			msg = strings.TrimPrefix(d.Error(), "toml: ")
		}
		report("", "This is not valid TOML: %s.", msg)
		return
	}
	env := b.opts.ConfigEnv
	if env == "" {
		env = "default"
	}
	commands, ok := all[env].(map[string]any)
	if !ok {
		if b.opts.ConfigEnv != "" {
			var known []string
			for name, v := range all {
				if _, ok := v.(map[string]any); ok {
					known = append(known, name)
				}
			}
			report(cfn.DidYouMean(env, known), "There is no environment %s.", quote(env))
		}
		return
	}
	for _, command := range []string{"deploy", "global"} {
		section, _ := commands[command].(map[string]any)
		params, _ := section["parameters"].(map[string]any)
		if b.opts.StackName == "" {
			b.opts.StackName, _ = params["stack_name"].(string)
		}
		if b.opts.Region == "" {
			b.opts.Region, _ = params["region"].(string)
		}
		overrides, err := overrides(params["parameter_overrides"])
		if err != nil {
			at.Line = lineWith(data, env+"."+command, "parameter_overrides")
			report(`Write parameter_overrides = "Name=value Other='two words'".`, "%s: %v.", env+"."+command, err)
		}
		for name, v := range overrides {
			if b.given[name] == nil {
				b.given[name] = cfn.Text(v, cfn.Pos{File: at.File, Line: lineWith(data, env+"."+command, name+"=", "ParameterKey="+name, name, "parameter_overrides")})
			}
		}
	}
}

// lineWith is the first line, from the table header on, that holds the first of
// words found at all: the TOML decoder keeps no positions of values.
func lineWith(data []byte, table string, words ...string) int {
	lines := strings.Split(string(data), "\n")
	start := max(slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(strings.TrimSpace(l), "["+table) }), 0)
	for _, w := range words {
		if i := slices.IndexFunc(lines[start:], func(l string) bool { return strings.Contains(l, w) }); i >= 0 {
			return start + i + 1
		}
	}
	return start + 1
}

// overrides reads parameter_overrides: a string of Name=value words, the same
// as a list, the long form ParameterKey=Name,ParameterValue=value, or a table.
func overrides(v any) (map[string]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return ParseOverrides(v)
	case []any:
		out := map[string]string{}
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, fmt.Errorf("%v is not text", e)
			}
			one, err := parseOverride(s)
			if err != nil {
				if one, err = ParseOverrides(s); err != nil {
					return nil, err
				}
			}
			for k, val := range one {
				out[k] = val
			}
		}
		return out, nil
	case map[string]any:
		out := map[string]string{}
		for k, e := range v {
			out[k] = fmt.Sprint(e)
		}
		return out, nil
	}
	return nil, fmt.Errorf("parameter_overrides must be text or a list, not %T", v)
}

// ParseOverrides reads the argument of --parameter-overrides: words separated by
// spaces, each Name=value or ParameterKey=Name,ParameterValue=value; quotes
// group, a backslash escapes.
func ParseOverrides(s string) (map[string]string, error) {
	out := map[string]string{}
	words, err := shellWords(s)
	if err != nil {
		return nil, err
	}
	for _, w := range words {
		one, err := parseOverride(w)
		if err != nil {
			return nil, err
		}
		for k, v := range one {
			out[k] = v
		}
	}
	return out, nil
}

func parseOverride(w string) (map[string]string, error) {
	if rest, ok := strings.CutPrefix(w, "ParameterKey="); ok {
		name, value, ok := strings.Cut(rest, ",ParameterValue=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%s needs the form ParameterKey=Name,ParameterValue=value", quote(w))
		}
		return map[string]string{name: unquote(value)}, nil
	}
	name, value, ok := strings.Cut(w, "=")
	if !ok || name == "" || strings.ContainsAny(name, " \t\"'") {
		return nil, fmt.Errorf("%s needs the form Name=value", quote(w))
	}
	return map[string]string{name: unquote(value)}, nil
}

// unquote takes off the quotes that a list element may carry around its value.
func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}

func shellWords(s string) ([]string, error) {
	var words []string
	var w strings.Builder
	var q byte
	open := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && q != '\'' && i+1 < len(s):
			i++
			w.WriteByte(s[i])
			open = true
		case q != 0 && c == q:
			q = 0
		case q == 0 && (c == '"' || c == '\''):
			q, open = c, true
		case q == 0 && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			if open {
				words = append(words, w.String())
				w.Reset()
				open = false
			}
		default:
			w.WriteByte(c)
			open = true
		}
	}
	if q != 0 {
		return nil, fmt.Errorf("a quote (%c) is not closed in %s", q, quote(s))
	}
	if open {
		words = append(words, w.String())
	}
	return words, nil
}
