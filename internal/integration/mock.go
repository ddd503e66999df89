package integration

import (
	"regexp"
	"strconv"

	"github.com/tidwall/gjson"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/selection"
)

// A MOCK integration: the request template gives a status, the status an
// integration response, that one the text.

// mockReply is the answer of a back end that is not there: a status and no body.
func mockReply(p *Plan, payload []byte) (*reply, error) {
	status, err := mockStatus(string(payload))
	if err != nil {
		return nil, fault.New(fault.Internal, "integration %s: %v", p.name, err)
	}
	return &reply{status: status}, nil
}

// fix precomputes the answer when nothing in it depends on the message. A status
// of 400 and more, or one that fits no response, is left to the call, which tells
// one-way from two-way routes.
func (p *Plan) fix() {
	m := p.mapped
	if !m.request.static() || p.binary || p.text {
		return
	}
	for _, a := range m.answers {
		if !a.templates.static() || a.protocol != nil || a.binary || a.text {
			return
		}
	}
	none := &selection.Vars{}
	t := m.request.choose(none)
	if t == nil {
		return
	}
	rep, err := mockReply(p, []byte(t.literal))
	if err != nil {
		return
	}
	rep.selector = strconv.Itoa(rep.status)
	message := &Request{Plan: p, Type: event.TypeMessage, TwoWay: true}
	resp, err := (&Executor{}).respond(message, none, rep)
	if v := member(string(resp.Body), "statusCode"); err != nil || v.Exists() && v.String() != rep.selector {
		return // on $connect such a text decides, on a message it is sent
	}
	p.fixed = &resp
}

// looseStatus finds the status in the relaxed JSON that the service's own parser
// takes and templates use: {statusCode: 200}.
var looseStatus = regexp.MustCompile(`^\s*\{\s*['"]?statusCode['"]?\s*:\s*['"]?([2-5]\d\d)['"]?\s*[,}]`)

func mockStatus(text string) (int, error) {
	if selection.ValidJSON([]byte(text)) {
		if v := member(text, "statusCode"); v.Exists() && v.Type != gjson.Null {
			return statusCode(v)
		}
	} else if found := looseStatus.FindStringSubmatch(text); found != nil {
		return strconv.Atoi(found[1])
	}
	return 0, malformed(`the request template must give JSON with a statusCode, such as {"statusCode": 200}; it gives ` + shape(text))
}

// member is an object's member; of several with one name the last counts, as in the
// service's parser.
func member(text, name string) (found gjson.Result) {
	if doc := gjson.Parse(text); doc.IsObject() {
		doc.ForEach(func(key, value gjson.Result) bool {
			if key.String() == name {
				found = value
			}
			return true
		})
	}
	return found
}
