package integration

import (
	"context"
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/selection"
)

// mapped is what types with templates have beyond the others: request templates
// and integration responses (§4.6 to §4.8 of the reference).
type mapped struct {
	request     *templates
	passthrough string
	keys        *selection.Keys
	answers     []*answer
	velocity    bool // some template uses Velocity
}

// answer is a compiled integration response.
type answer struct {
	templates *templates
	protocol  *selection.Mapping // of Sec-WebSocket-Protocol; nil: none
	binary    bool               // CONVERT_TO_BINARY
	text      bool               // CONVERT_TO_TEXT
}

func compileMapped(in *model.Integration) (m *mapped, err error) {
	m = &mapped{passthrough: in.PassthroughBehavior}
	if m.request, err = compileTemplates("RequestTemplates", in.TemplateSelectionExpression, in.RequestTemplates); err != nil {
		return nil, err
	}
	m.velocity = m.request.velocity
	keys := make([]string, len(in.Responses))
	for i, r := range in.Responses {
		if r == nil {
			return nil, fault.New(fault.BadRequest, "integration response %d is empty", i+1)
		}
		keys[i] = r.Key
		for _, other := range keys[:i] {
			if other == r.Key || selection.IsDefault(other) && selection.IsDefault(r.Key) {
				return nil, fault.New(fault.BadRequest, "integration response %s%s: there is another with this key; keep one", r.Key, at(r.Pos))
			}
		}
		a, err := compileAnswer(r)
		if err != nil {
			return nil, fault.New(fault.KindOf(err), "integration response %s%s: %s", r.Key, at(r.Pos), fault.Message(err))
		}
		m.velocity = m.velocity || a.templates.velocity
		m.answers = append(m.answers, a)
	}
	m.keys, err = selection.CompileKeys(keys)
	return m, err
}

func compileAnswer(r *model.IntegrationResponse) (a *answer, err error) {
	if err := oneOf("ContentHandlingStrategy", r.ContentHandling, toBinary, toText); err != nil {
		return nil, err
	}
	a = &answer{binary: r.ContentHandling == toBinary, text: r.ContentHandling == toText}
	if a.templates, err = compileTemplates("ResponseTemplates", r.TemplateSelectionExpression, r.Templates); err != nil {
		return nil, err
	}
	for dest, source := range r.Parameters {
		name, ok := strings.CutPrefix(dest, "route.response.header.")
		if !ok || !parameterName.MatchString(name) {
			return nil, fault.New(fault.BadRequest, "ResponseParameters key %q: want route.response.header.NAME", dest)
		}
		m, err := selection.CompileMapping(source)
		if err != nil {
			return nil, fault.New(fault.BadRequest, "ResponseParameters %q: %s", dest, fault.Message(err))
		}
		// Frames have no headers; of a handshake's answer this one counts (§1.3).
		if strings.EqualFold(name, "Sec-WebSocket-Protocol") {
			a.protocol = m
		}
	}
	return a, nil
}

// transform runs an integration with templates.
func (x *Executor) transform(ctx context.Context, r *Request) (Response, error) {
	p := r.Plan
	vars := r.vars()
	payload, err := p.payload(r, vars)
	if err != nil {
		return Response{}, err
	}
	var rep *reply
	switch {
	case p.kind == model.Mock:
		rep, err = mockReply(p, payload)
	case p.kind == model.HTTP:
		rep, err = x.exchange(ctx, r, vars, payload, r.readsAnswer())
	case p.service == nil:
		rep, err = x.lambda(ctx, r, vars, payload)
	default:
		rep, err = x.serve(ctx, r, vars, payload)
	}
	if err != nil {
		return Response{}, err
	}
	if p.kind != model.AWS || p.service != nil {
		rep.selector = strconv.Itoa(rep.status)
	}
	return x.respond(r, vars, rep)
}

// readsAnswer reports whether the answer's body is used: sent, or read by the
// templates that decide about a handshake.
func (r *Request) readsAnswer() bool {
	return r.replies() || r.Type == event.TypeConnect && len(r.Plan.mapped.answers) > 0
}

// payload makes what is sent: a template's text, or the message as it is.
func (p *Plan) payload(r *Request, vars *selection.Vars) ([]byte, error) {
	m := p.mapped
	message := p.message(r)
	if t := m.request.choose(vars); t != nil {
		out, err := t.render(r, message, "")
		if err != nil {
			return nil, err
		}
		return p.convert(out)
	}
	if m.passthrough == never || m.passthrough == whenNoTemplates && len(m.request.byKey) > 0 {
		return nil, fault.Typed(fault.BadRequest, UnsupportedMedia, "integration %s: no request template fits and PassthroughBehavior is %s", p.name, m.passthrough)
	}
	return p.convert(message)
}

// UnsupportedMedia is the error type of a message that no template fits (415).
const UnsupportedMedia = "UnsupportedMediaTypeException"

// respond maps an answer. On a one-way route nothing is sent whatever is
// configured, but an answer that nobody expected must not be lost: it is an error.
func (x *Executor) respond(r *Request, vars *selection.Vars, rep *reply) (Response, error) {
	p, m := r.Plan, r.Plan.mapped
	resp := Response{Status: rep.status}
	i, found := m.match(rep)
	connect := r.Type == event.TypeConnect
	switch {
	case rep.status >= 400 && !found && p.kind != model.Mock && !(connect && len(m.answers) == 0):
		return Response{}, unexpected(p, rep)
	case !connect && !r.replies():
		return resp, nil
	case connect && len(m.answers) == 0:
		return resp, nil
	case !found:
		return Response{}, fault.New(fault.Internal, "integration %s: no integration response fits %s; add one with the key \"$default\"", p.name, rep)
	}
	a := m.answers[i]
	body := rep.body
	if a.text {
		body = []byte(base64.StdEncoding.EncodeToString(body))
	}
	status := strconv.Itoa(rep.status)
	vars.Response = &selection.Response{Status: status, Body: body, Header: rep.header.Values}
	templated := false
	if t := a.templates.choose(vars); t != nil {
		var err error
		if body, err = t.render(r, body, status); err != nil {
			return Response{}, err
		}
		templated = true
	}
	if connect {
		return resp.handshake(p, a, vars, body, templated)
	}
	if len(body) > MaxResponse {
		return Response{}, fault.New(fault.Upstream, "integration %s: the mapped answer has %d bytes, more than a message may have (%d)", p.name, len(body), MaxResponse)
	}
	resp.Body = body
	err := x.finish(p, a, &resp)
	return resp, err
}

// finish makes bytes of a base64 answer where its response asks for it, and checks
// that the result can be sent.
func (x *Executor) finish(p *Plan, a *answer, resp *Response) error {
	if a.binary && len(resp.Body) > 0 {
		raw, err := base64.StdEncoding.DecodeString(string(resp.Body))
		if err != nil {
			return fault.New(fault.Internal, "integration %s: CONVERT_TO_BINARY, but the answer is not base64", p.name)
		}
		resp.Body = raw
		if x.bytes {
			resp.Binary = true
			return nil
		}
	}
	return x.sendable(p, resp)
}

// handshake is the answer to $connect: the back end's status, unless the template
// writes {"statusCode": …}, and the subprotocol that ResponseParameters choose.
func (resp Response) handshake(p *Plan, a *answer, vars *selection.Vars, body []byte, templated bool) (Response, error) {
	if templated && selection.ValidJSON(body) {
		if v := member(string(body), "statusCode"); v.Exists() {
			n, err := statusCode(v)
			if err != nil || n == 0 {
				return Response{}, fault.New(fault.Internal, "integration %s: the response template gives the statusCode %s, which is not an HTTP status from 200 to 599", p.name, shape(v.Raw))
			}
			resp.Status = n
		}
	}
	if a.protocol != nil {
		value, found := a.protocol.Value(vars)
		if found && !token.MatchString(value) {
			return Response{}, fault.New(fault.Upstream, "integration %s: the value mapped to Sec-WebSocket-Protocol is not the name of a protocol", p.name)
		}
		resp.Protocol = value
	}
	return resp, nil
}

// match finds the integration response of an answer.
func (m *mapped) match(rep *reply) (index int, ok bool) {
	if index, ok = m.keys.Match(rep.selector); ok || rep.selector != "" {
		return index, ok
	}
	// A function that succeeds has no error message to match; keys that name a status
	// mean success then.
	return m.keys.Match(strconv.Itoa(rep.status))
}

// String describes an answer that fits nothing.
func (rep *reply) String() string {
	if rep.failed != "" {
		return "the error " + strconv.Quote(excerpt(rep.failed))
	}
	return "status " + strconv.Itoa(rep.status)
}

// unexpected is the error of a failure that no integration response is for.
func unexpected(p *Plan, rep *reply) error {
	why := rep.failed
	if why == "" {
		why = "status " + strconv.Itoa(rep.status)
		if len(rep.body) > 0 {
			why += ": " + excerpt(strings.TrimSpace(string(rep.body)))
		}
	}
	if len(p.mapped.answers) > 0 {
		why += " (no integration response fits it)"
	}
	return fault.New(fault.Upstream, "integration %s failed: %s", p.name, why)
}
