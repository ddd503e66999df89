package integration

import (
	"fmt"
	"strconv"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/selection"
	"github.com/livegate/livegate/internal/vtl"
)

// vars is what mappings and selection expressions of this call may read.
// Handshake headers and query parameters exist on $connect only.
func (r *Request) vars() *selection.Vars {
	v := &selection.Vars{Body: r.Body, Context: r.context, StageVariables: r.StageVariables}
	if r.Handshake != nil {
		var headers, query event.List
		v.Header = func(name string) []string {
			if headers == nil {
				headers = event.Headers(r.Conn, r.Handshake)
			}
			return headers.Get(name)
		}
		v.Query = func(name string) []string {
			if query == nil {
				query = event.Query(r.Handshake.Query)
			}
			for _, q := range query {
				if q.Name == name {
					return q.Values
				}
			}
			return nil
		}
	}
	return v
}

func (r *Request) context(path string) (string, bool) {
	return event.Context(r.Conn, &r.Call, r.Type, path)
}

// variables is what a template sees: $input, $context, $stageVariables and $util
// (§5.1 of the reference). payload is the message or the back end's answer, status
// the latter's status, "" before the call.
func variables(r *Request, payload []byte, status string) map[string]any {
	w := &work{MaxWork}
	return map[string]any{
		"input":          &input{r: r, body: payload, work: w},
		"context":        contextValues{r: r, status: status, seen: map[string]any{}},
		"stageVariables": stageValues(r.StageVariables),
		"util":           util{w},
	}
}

// contextValues is $context, or one of its groups: "identity.", "authorizer.",
// "error.". A variable without a value reads as empty text, as in API Gateway
// (other engines print the reference itself).
type contextValues struct {
	r      *Request
	group  string
	status string
	seen   map[string]any // shared by the groups: an authorizer's value is looked up in its JSON
}

// maxSeen bounds the values that one run keeps; get(…) takes any name.
const maxSeen = 256

func (c contextValues) Get(name string) (any, bool) {
	path := c.group + name
	if c.group == "" {
		switch name {
		case "identity", "authorizer", "error", "integration", "authorize", "authenticate", "waf":
			return contextValues{c.r, name + ".", c.status, c.seen}, true
		case "status":
			if c.status != "" {
				return c.status, true
			}
		}
	}
	if v, ok := c.seen[path]; ok {
		return v, true
	}
	v := c.lookup(path)
	if len(c.seen) < maxSeen {
		c.seen[path] = v
	}
	return v, true
}

func (c contextValues) lookup(path string) any {
	value, _ := c.r.context(path)
	switch path {
	case "requestTimeEpoch", "connectedAt":
		// Templates do sums with these: $context.requestTimeEpoch / 1000 + 86400.
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			return n
		}
	}
	return value
}

func (c contextValues) Call(name string, args []any) (any, error) {
	if name == "get" && len(args) == 1 {
		v, _ := c.Get(text(args[0]))
		return v, nil
	}
	return nil, fmt.Errorf("$context has no method %s with %d arguments", name, len(args))
}

// stageValues is $stageVariables.
type stageValues map[string]string

func (s stageValues) Get(name string) (any, bool) {
	v, ok := s[name]
	return v, ok
}

func (s stageValues) Call(name string, args []any) (any, error) {
	if name == "get" && len(args) == 1 {
		if v, ok := s[text(args[0])]; ok {
			return v, nil
		}
		return nil, nil
	}
	return nil, fmt.Errorf("$stageVariables has no method %s with %d arguments", name, len(args))
}

// text is a value as it is printed.
func text(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return string(vtl.AppendString(nil, v))
}

var (
	_ vtl.Object = contextValues{}
	_ vtl.Object = stageValues{}
)
