package integration

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/selection"
	"github.com/livegate/livegate/internal/vtl"
)

// MaxWork bounds what $input and $util do in one run of a template, in bytes that
// are read; what costs more than reading counts several times. Without it a
// #foreach over a client's list that asks for $input.path each time would be quadratic,
// in time that Velocity's own steps do not see. It is worth about a quarter of a second.
const MaxWork = 16 << 20

// Weights of a byte.
const (
	reading   = 1  // JSON walked, text escaped
	building  = 8  // values made of JSON
	searching = 32 // JSONPath with wildcards, filters or descent
)

// work is what is left of MaxWork.
type work struct{ left int }

func (w *work) spend(bytes, weight int) error {
	if w.left -= (bytes + 64) * weight; w.left < 0 {
		return fmt.Errorf("the template reads more JSON and text than it may (%d bytes in all): keep $input.path('$') in a variable", MaxWork)
	}
	return nil
}

// input is $input.
type input struct {
	r     *Request
	body  []byte
	work  *work
	text  *string // body, once a template printed it
	doc   []byte  // body as JSON, once a path was asked for
	paths map[string]*selection.Path

	header, query event.List // of the handshake, made at first use
}

func (in *input) Get(name string) (any, bool) {
	if name == "body" {
		return in.printed(), true
	}
	return nil, false
}

func (in *input) printed() string {
	if in.text == nil {
		s := string(in.body)
		in.text = &s
	}
	return *in.text
}

func (in *input) Call(name string, args []any) (any, error) {
	switch {
	case name == "getBody" && len(args) == 0:
		return in.printed(), nil
	case name == "json" && len(args) == 1:
		raw, err := in.find(text(args[0]))
		if err != nil {
			return nil, err
		}
		if raw == nil {
			return `""`, nil // what API Gateway prints for a path that is not there
		}
		return compact(raw), nil
	case name == "path" && len(args) == 1:
		raw, err := in.find(text(args[0]))
		if err != nil {
			return nil, err
		}
		if raw == nil {
			return "", nil
		}
		if err := in.work.spend(len(raw), building); err != nil {
			return nil, err
		}
		return vtl.FromJSON(raw)
	case name == "params" && len(args) == 0:
		params := in.params()
		if err := in.work.spend(len(params), building); err != nil {
			return nil, err
		}
		return vtl.FromJSON(params)
	case name == "params" && len(args) == 1:
		return in.param(text(args[0])), nil
	}
	return nil, fmt.Errorf("$input has no method %s with %d arguments", name, len(args))
}

// find evaluates a JSONPath; nil when it leads nowhere. Of a body that is not JSON
// there is only the root, its text. No body at all is {}.
func (in *input) find(source string) ([]byte, error) {
	p, err := in.path(source)
	if err != nil {
		return nil, fmt.Errorf("$input: %s", fault.Message(err))
	}
	weight := reading
	if !p.Plain() {
		weight = searching
	}
	if err := in.work.spend(len(in.body), weight); err != nil {
		return nil, err
	}
	if in.doc == nil {
		switch {
		case len(bytes.TrimSpace(in.body)) == 0:
			in.doc = []byte("{}")
		case selection.ValidJSON(in.body):
			in.doc = in.body
		default:
			in.doc = event.AppendString(nil, in.body)
		}
	}
	raw, found := p.Append(nil, in.doc)
	if !found {
		return nil, nil
	}
	return raw, nil
}

// maxPaths bounds the compiled paths that one run keeps: a template makes new ones
// in loops.
const maxPaths = 64

func (in *input) path(source string) (*selection.Path, error) {
	if p := in.paths[source]; p != nil {
		return p, nil
	}
	p, err := selection.CompilePath(source)
	if err != nil {
		return nil, err
	}
	if in.paths == nil {
		in.paths = map[string]*selection.Path{}
	}
	if len(in.paths) < maxPaths {
		in.paths[source] = p
	}
	return p, nil
}

// compact takes the spaces out of JSON.
func compact(raw []byte) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw) // deeper than encoding/json goes
	}
	return b.String()
}

// params is $input.params() as JSON: header and query string of the handshake, the
// last value of each. WebSocket APIs have no path parameters.
func (in *input) params() []byte {
	dst := []byte(`{"path":{},"querystring":`)
	header, query := in.lists()
	dst = appendLast(dst, query)
	dst = append(dst, `,"header":`...)
	return append(appendLast(dst, header), '}')
}

// param is $input.params(name): query string, then header; "" when neither has it.
func (in *input) param(name string) string {
	header, query := in.lists()
	for _, q := range query {
		if q.Name == name {
			return q.Values[len(q.Values)-1]
		}
	}
	if values := header.Get(name); len(values) > 0 {
		return values[len(values)-1]
	}
	return ""
}

func (in *input) lists() (header, query event.List) {
	if in.r.Handshake != nil && in.header == nil {
		in.header, in.query = event.Headers(in.r.Conn, in.r.Handshake), event.Query(in.r.Handshake.Query)
	}
	return in.header, in.query
}

func appendLast(dst []byte, l event.List) []byte {
	dst = append(dst, '{')
	for i, v := range l {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(event.AppendString(dst, v.Name), ':')
		dst = event.AppendString(dst, v.Values[len(v.Values)-1])
	}
	return append(dst, '}')
}

var _ vtl.Object = (*input)(nil)
