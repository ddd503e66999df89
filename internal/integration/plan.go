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
)

// Plan is a compiled integration.
type Plan struct {
	name    string // logical id, else id: what messages call it
	pos     model.Pos
	kind    model.IntegrationType
	err     error // why it cannot run
	timeout time.Duration

	target      stageText // function ARN, URL, or path of an AWS service
	credentials stageText // role that AWS would take on
	method      string
	parameters  parameters
	binary      bool // CONVERT_TO_BINARY: the request's payload is base64
	text        bool // CONVERT_TO_TEXT: binary messages become base64

	mapped  *mapped  // types with templates: AWS, HTTP, MOCK
	service *service // type AWS; nil: a function
	fixed   *Response
}

// Compile compiles an integration. A nil integration is a route without target.
func Compile(in *model.Integration) *Plan {
	if in == nil {
		return &Plan{name: "(none)", err: fault.New(fault.Internal, "the route has no integration: set its Target")}
	}
	p := &Plan{name: in.LogicalID, pos: in.Pos, kind: in.Type, timeout: in.Timeout, method: in.Method}
	if p.name == "" {
		p.name = in.ID
	}
	if p.timeout <= 0 {
		p.timeout = model.DefaultIntegrationTimeout
	}
	if err := p.compile(in); err != nil {
		p.err = &fault.Error{Kind: fault.KindOf(err), Msg: "integration " + p.name + at(in.Pos) + ": " + fault.Message(err)}
	}
	return p
}

// at is a position as messages show it: " (template.yaml:12)".
func at(pos model.Pos) string {
	if s := pos.String(); s != "" {
		return " (" + s + ")"
	}
	return ""
}

// Err says why the integration cannot run at all; nil when it can.
func (p *Plan) Err() error { return p.err }

// Instant reports whether a call computes its answer at once: a plan that cannot
// run, and a MOCK without Velocity in any template. What such a MOCK does is
// bounded by the size of the message (one validation of it as JSON, where an
// expression reads it); templates may take [MaxSteps] steps and count as slow.
func (p *Plan) Instant() bool {
	return p.err != nil || p.kind == model.Mock && !p.mapped.velocity
}

// Fixed returns the answer of a plan that has the same one for every message; ok is
// false for all others. Callers on a hot path then need no Request. The body is
// shared: do not write to it.
func (p *Plan) Fixed() (resp Response, ok bool) {
	if p.err != nil || p.fixed == nil {
		return Response{}, false
	}
	return *p.fixed, true
}

// Service names what a plan of type AWS calls: "dynamodb", "PutItem". ok is false
// for all other plans, functions among them. The action is "" where the path says
// what happens.
func (p *Plan) Service() (service, action string, ok bool) {
	if p.err != nil || p.service == nil {
		return "", "", false
	}
	return p.service.name, p.service.action, true
}

func (p *Plan) compile(in *model.Integration) (err error) {
	if err := checkSettings(in); err != nil {
		return err
	}
	p.binary, p.text = in.ContentHandling == toBinary, in.ContentHandling == toText
	if p.credentials, err = compileStageText(in.CredentialsARN); err != nil {
		return err
	}
	switch in.Type {
	case model.AWSProxy:
		// What is mapped for a function is ignored, as on AWS.
		arn, err := functionARN(in.URI)
		if err != nil {
			return err
		}
		p.target, err = compileStageText(arn)
		return err
	case model.HTTPProxy, model.HTTP:
		err = p.compileHTTP(in)
	case model.AWS:
		err = p.compileAWS(in)
	case model.Mock:
		p.parameters, err = compileParameters(in.RequestParameters, nil)
	default:
		return fault.New(fault.BadRequest, "unknown IntegrationType %q: use AWS_PROXY, AWS, HTTP_PROXY, HTTP or MOCK", in.Type)
	}
	if err != nil || in.Type == model.HTTPProxy {
		return err
	}
	if p.mapped, err = compileMapped(in); err != nil {
		return err
	}
	if in.Type == model.Mock {
		p.fix()
	}
	return nil
}

// Values of ContentHandlingStrategy.
const (
	toBinary = "CONVERT_TO_BINARY"
	toText   = "CONVERT_TO_TEXT"
)

// Values of PassthroughBehavior.
const (
	whenNoMatch     = "WHEN_NO_MATCH"
	whenNoTemplates = "WHEN_NO_TEMPLATES"
	never           = "NEVER"
)

func checkSettings(in *model.Integration) error {
	if err := oneOf("ContentHandlingStrategy", in.ContentHandling, toBinary, toText); err != nil {
		return err
	}
	if err := oneOf("PassthroughBehavior", in.PassthroughBehavior, whenNoMatch, whenNoTemplates, never); err != nil {
		return err
	}
	if in.Method != "" && !token.MatchString(in.Method) {
		return fault.New(fault.BadRequest, "IntegrationMethod %q is not an HTTP method: use POST, GET, PUT, PATCH or DELETE", in.Method)
	}
	return nil
}

// token is RFC 9110 §5.6.2.
var token = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

func oneOf(property, value string, allowed ...string) error {
	if value == "" || slices.Contains(allowed, value) {
		return nil
	}
	return fault.New(fault.BadRequest, "%s cannot be %q: use %s", property, value, strings.Join(allowed, " or "))
}

func (p *Plan) compileHTTP(in *model.Integration) (err error) {
	if p.method == "" || p.method == "ANY" {
		p.method = http.MethodPost
	}
	if p.target, err = compileStageText(in.URI); err != nil {
		return err
	}
	if p.target.fixed() {
		if err := checkURL(in.URI); err != nil {
			return err
		}
	}
	p.parameters, err = compileParameters(in.RequestParameters, pathNames(in.URI))
	return err
}

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
