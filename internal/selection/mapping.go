package selection

import (
	"fmt"
	"strings"

	"github.com/livegate/livegate/internal/fault"
)

// Mapping is the source of a parameter mapping: "route.request.querystring.x",
// "route.request.body.a.b", "context.connectionId", "stageVariables.x" or
// "'literal'".
type Mapping struct {
	literal string
	v       variable
	static  bool
}

// CompileMapping reads a mapping source. "method.request.…", as CloudFormation's
// older text has it, means the same as "route.request.…".
func CompileMapping(source string) (*Mapping, error) {
	s := strings.TrimSpace(source)
	if len(s) >= 2 && s[0] == '\'' && s[len(s)-1] == '\'' {
		return &Mapping{literal: s[1 : len(s)-1], static: true}, nil
	}
	name := strings.TrimPrefix(s, "$")
	for _, prefix := range []string{"route.", "method."} {
		if rest, ok := strings.CutPrefix(name, prefix); ok && strings.HasPrefix(rest, "request.") {
			name = rest
		}
	}
	v, err := compileVariable(name)
	if err != nil {
		return nil, fault.New(fault.BadRequest, "mapping source %q: %v", source, hint(s, err))
	}
	return &Mapping{v: v}, nil
}

func hint(s string, err error) error {
	if !strings.ContainsAny(s, ".'") {
		return fmt.Errorf("a fixed text needs single quotes: '%s'", s)
	}
	return err
}

// Response reports whether the source is the back end's answer, which is there
// only once a back end has answered.
func (m *Mapping) Response() bool { return !m.static && m.v.root >= rootResponseStatus }

// Value evaluates the mapping; found is false when the source is not there, and
// then the destination must be left out.
func (m *Mapping) Value(vars *Vars) (value string, found bool) {
	if m.static {
		return m.literal, true
	}
	if m.v.root == rootBody && !m.v.whole() && !validJSON(vars.Body) {
		return "", false
	}
	out, found := m.v.append(nil, vars)
	return string(out), found
}
