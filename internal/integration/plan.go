package integration

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/selection"
)

// Plan is a compiled integration.
type Plan struct {
	name    string // logical id, else id: what messages call it
	kind    model.IntegrationType
	err     error // why it cannot run
	timeout time.Duration

	target stageText // function ARN, or URL
	method string

	mappings []mapping
	decode   bool // CONVERT_TO_BINARY: the message is base64

	mock *mockPlan
}

// mapping is one entry of requestParameters.
type mapping struct {
	place  string // "header", "querystring", "path"
	name   string
	source *selection.Mapping
}

// Compile compiles an integration. A nil integration is a route without target.
func Compile(in *model.Integration) *Plan {
	if in == nil {
		return &Plan{name: "(none)", err: fault.New(fault.Internal, "the route has no integration: set its Target")}
	}
	p := &Plan{name: in.LogicalID, kind: in.Type, timeout: in.Timeout, method: in.Method}
	if p.name == "" {
		p.name = in.ID
	}
	if p.timeout <= 0 {
		p.timeout = model.DefaultIntegrationTimeout
	}
	if err := p.compile(in); err != nil {
		where := ""
		if pos := in.Pos.String(); pos != "" {
			where = " (" + pos + ")"
		}
		p.err = &fault.Error{Kind: fault.KindOf(err), Msg: "integration " + p.name + where + ": " + fault.Message(err), Err: nil}
	}
	return p
}

// Err says why the integration cannot run at all; nil when it can.
func (p *Plan) Err() error { return p.err }

// Instant reports whether a call computes its answer without waiting for anything.
func (p *Plan) Instant() bool { return p.err != nil || p.kind == model.Mock }

// Fixed returns the answer of a plan that has the same one for every message; ok is
// false for all others. Callers on a hot path then need no Request. The body is
// shared: do not write to it.
func (p *Plan) Fixed() (resp Response, ok bool) {
	if p.err != nil || p.mock == nil || p.mock.fixed == nil {
		return Response{}, false
	}
	return *p.mock.fixed, true
}

func (p *Plan) compile(in *model.Integration) (err error) {
	switch in.Type {
	case model.AWSProxy:
		arn, err := functionARN(in.URI)
		if err != nil {
			return err
		}
		p.target, err = compileStageText(arn)
		return err
	case model.HTTPProxy:
		return p.compileHTTP(in)
	case model.Mock:
		p.mock, err = compileMock(in)
		return err
	case model.AWS, model.HTTP:
		return fault.New(fault.Unsupported, "type %s is not supported yet; AWS_PROXY, HTTP_PROXY and MOCK are", in.Type)
	}
	return fault.New(fault.BadRequest, "unknown IntegrationType %q: use AWS_PROXY, HTTP_PROXY or MOCK", in.Type)
}

func (p *Plan) compileHTTP(in *model.Integration) (err error) {
	if p.method == "" || p.method == "ANY" {
		p.method = http.MethodPost
	}
	p.decode = in.ContentHandling == "CONVERT_TO_BINARY"
	if p.target, err = compileStageText(in.URI); err != nil {
		return err
	}
	if p.target.fixed() {
		if err := checkURL(in.URI); err != nil {
			return err
		}
	}
	for dest, source := range in.RequestParameters {
		rest, ok := strings.CutPrefix(dest, "integration.request.")
		place, name, dotted := strings.Cut(rest, ".")
		if !ok || !dotted || !parameterName.MatchString(name) || !slices.Contains([]string{"header", "querystring", "path"}, place) {
			return fault.New(fault.BadRequest, "RequestParameters key %q: want integration.request.header.NAME, .querystring.NAME or .path.NAME", dest)
		}
		m, err := selection.CompileMapping(source)
		if err != nil {
			return fault.New(fault.BadRequest, "RequestParameters %q: %s", dest, fault.Message(err))
		}
		p.mappings = append(p.mappings, mapping{place, name, m})
	}
	slices.SortFunc(p.mappings, func(a, b mapping) int {
		return strings.Compare(a.place+"."+a.name, b.place+"."+b.name)
	})
	return nil
}

// parameterName is PARAM_NAME of "Data mapping for WebSocket APIs".
var parameterName = regexp.MustCompile(`^[a-zA-Z0-9._$-]+$`)

func checkURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fault.New(fault.BadRequest, "IntegrationUri %q is not an http:// or https:// URL", raw)
	}
	return nil
}

// functionARN cuts the function out of
// "arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/{functionArn}/invocations";
// a bare function ARN is taken as it is.
func functionARN(uri string) (string, error) {
	if _, rest, ok := strings.Cut(uri, ":lambda:path/"); ok {
		_, arn, ok := strings.Cut(rest, "/functions/")
		if arn, tail := strings.CutSuffix(arn, "/invocations"); ok && tail && arn != "" {
			return arn, nil
		}
	} else if strings.HasPrefix(uri, "arn:") && strings.Contains(uri, ":lambda:") && strings.Contains(uri, ":function:") {
		return uri, nil
	}
	return "", fault.New(fault.BadRequest, "IntegrationUri %q does not name a function: want arn:aws:apigateway:REGION:lambda:path/2015-03-31/functions/FUNCTION_ARN/invocations", uri)
}

// stageText is text with ${stageVariables.x} in it.
type stageText struct {
	parts []string // literal, variable, literal, …, literal
}

const stageOpen = "${stageVariables."

func compileStageText(s string) (stageText, error) {
	var t stageText
	rest := s
	for {
		before, after, found := strings.Cut(rest, stageOpen)
		t.parts = append(t.parts, before)
		if !found {
			return t, nil
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed || name == "" {
			return t, fault.New(fault.BadRequest, "%q: a stage variable is written ${stageVariables.name}", s)
		}
		t.parts = append(t.parts, name)
		rest = tail
	}
}

func (t *stageText) fixed() bool { return len(t.parts) == 1 }

func (t *stageText) expand(vars map[string]string, stage string) (string, error) {
	if t.fixed() {
		return t.parts[0], nil
	}
	var b strings.Builder
	for i, s := range t.parts {
		if i%2 == 0 {
			b.WriteString(s)
			continue
		}
		v, ok := vars[s]
		if !ok {
			return "", fault.New(fault.Internal, "stage variable %q is not set on stage %q", s, stage)
		}
		b.WriteString(v)
	}
	return b.String(), nil
}
