package integration

import (
	"regexp"
	"strconv"

	"github.com/tidwall/gjson"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/selection"
)

// mockPlan is a compiled MOCK integration.
type mockPlan struct {
	request     *templates
	passthrough string
	keys        *selection.Keys
	responses   []*templates // by integration response
	// fixed is the answer of a mock whose every choice is static, found once; nil
	// when choices depend on the message.
	fixed *Response
}

func compileMock(in *model.Integration) (m *mockPlan, err error) {
	m = &mockPlan{passthrough: in.PassthroughBehavior}
	if m.request, err = compileTemplates("RequestTemplates", in.TemplateSelectionExpression, in.RequestTemplates); err != nil {
		return nil, err
	}
	keys := make([]string, len(in.Responses))
	for i, r := range in.Responses {
		keys[i] = r.Key
		t, err := compileTemplates("integration response "+r.Key, r.TemplateSelectionExpression, r.Templates)
		if err != nil {
			return nil, err
		}
		m.responses = append(m.responses, t)
	}
	if m.keys, err = selection.CompileKeys(keys); err != nil {
		return nil, err
	}
	m.fix()
	return m, nil
}

// fix precomputes the answer when nothing in it depends on the message.
func (m *mockPlan) fix() {
	if !m.request.static() {
		return
	}
	for _, t := range m.responses {
		if !t.static() {
			return
		}
	}
	none := &selection.Vars{}
	text, found := m.request.choose(none)
	if !found {
		return
	}
	status, err := mockStatus(text)
	if err != nil {
		return
	}
	if resp, err := m.respond(status, none); err == nil {
		m.fixed = &resp
	}
}

// mock runs a MOCK integration: the request template gives a status, the status
// an integration response, that one the text.
func (x *Executor) mock(r *Request) (Response, error) {
	m := r.Plan.mock
	if m.fixed != nil {
		return *m.fixed, nil
	}
	vars := r.vars()
	text, found := m.request.choose(vars)
	if !found {
		if m.passthrough == "NEVER" || m.passthrough == "WHEN_NO_TEMPLATES" && len(m.request.byKey) > 0 {
			return Response{}, fault.Typed(fault.BadRequest, UnsupportedMedia, "integration %s: no request template fits and PassthroughBehavior is %s", r.Plan.name, m.passthrough)
		}
		text = string(r.Body)
	}
	status, err := mockStatus(text)
	if err != nil {
		return Response{}, fault.New(fault.Internal, "integration %s: %v", r.Plan.name, err)
	}
	vars.Response = &selection.Response{Status: strconv.Itoa(status)}
	if len(m.responses) == 0 && (!r.TwoWay || r.Type != event.TypeMessage) {
		return Response{Status: status}, nil
	}
	resp, err := m.respond(status, vars)
	if err != nil {
		return Response{}, fault.New(fault.Internal, "integration %s: %v", r.Plan.name, err)
	}
	return resp, nil
}

// UnsupportedMedia is the error type of a message that no template fits (415).
const UnsupportedMedia = "UnsupportedMediaTypeException"

func (m *mockPlan) respond(status int, vars *selection.Vars) (Response, error) {
	i, ok := m.keys.Match(strconv.Itoa(status))
	if !ok {
		return Response{}, malformed("no integration response fits status " + strconv.Itoa(status) + `; add one with the key "$default"`)
	}
	text, _ := m.responses[i].choose(vars)
	return Response{Status: status, Body: []byte(text)}, nil
}

// looseStatus finds the status in the relaxed JSON that the service's own parser
// takes and templates use: {statusCode: 200}.
var looseStatus = regexp.MustCompile(`^\s*\{\s*['"]?statusCode['"]?\s*:\s*['"]?([2-5]\d\d)['"]?\s*[,}]`)

func mockStatus(text string) (int, error) {
	if gjson.Valid(text) {
		if v := gjson.Get(text, "statusCode"); v.Exists() {
			return statusCode(v)
		}
	} else if found := looseStatus.FindStringSubmatch(text); found != nil {
		return strconv.Atoi(found[1])
	}
	return 0, malformed(`the request template must give JSON with a statusCode, such as {"statusCode": 200}; it gives ` + excerpt(text))
}
